"""What a rule is: a name, and a pure function from a case to findings. Its text is a page of `rules/pages/`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from ostiary.doctor.case import Case
from ostiary.doctor.finding import Confidence, Finding

Family = Literal[
    "DNS", "Connection", "TLS", "Provider", "Secrets", "Flow", "Cookies", "Tokens", "Configuration", "Browser"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One kind of cause."""

    name: str
    """As others rely on it: `dns-family-unreachable`."""
    family: Family
    look: Callable[[Case], Iterable[Finding]]
    claims: Confidence = "certain"
    """The most that it may ever claim."""
    explains: frozenset[str] = frozenset()
    """General rules whose finding on the same subject says nothing more once this one has found something."""
