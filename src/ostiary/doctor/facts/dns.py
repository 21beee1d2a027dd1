"""Facts about names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ostiary.core.trace import QueryOutcome
from ostiary.doctor.facts.origin import Fact

ResolutionFault = Literal["not-found", "server-failure", "refused", "no-answer", "no-data", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedUp(Fact):
    """One question to one server, and its answer."""

    name: str
    """Without the final dot."""
    type: Literal["A", "AAAA"]
    server: str
    outcome: QueryOutcome
    rcode: str = ""
    answers: tuple[str, ...] = ()
    took: float | None = None
    """Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolutionFailed(Fact):
    """A program could not resolve a name; often it doesn't say which record types it asked for."""

    name: str
    """Empty where the source doesn't say."""
    fault: ResolutionFault
    cluster: str = ""
    who: str = "envoy"
    """The program: `envoy`, `oauth2-proxy`, `istiod`, `nginx`, `ostiary`, ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchDomains(Fact):
    """resolv.conf of the place that looks names up."""

    ndots: int
    search: tuple[str, ...]
