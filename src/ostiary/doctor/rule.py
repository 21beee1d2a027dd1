"""What a rule is: a name, a text that explains it, and a pure function from a case to findings."""

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
    """One kind of cause. The texts are what `--explain` prints and `docs/rules/` holds."""

    name: str
    """As in interfaces: `dns-family-unreachable`."""
    family: Family
    title: str
    """What is wrong, in one line without the names of a case."""
    explanation: str
    """How it comes about, how to recognise it, how to be sure. Markdown paragraphs."""
    example: str
    """Evidence as a user sees it, and the mend: lines of a log, YAML."""
    claims: Confidence
    """The most that it may ever claim."""
    look: Callable[[Case], Iterable[Finding]]
    explains: frozenset[str] = frozenset()
    """General rules whose finding on the same subject says nothing more once this one has found something."""
