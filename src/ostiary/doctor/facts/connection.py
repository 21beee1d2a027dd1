"""Facts about connecting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ostiary.core.addresses import Family
from ostiary.core.trace import Stage
from ostiary.doctor.facts.origin import Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted(Fact):
    """One address was tried."""

    address: str
    port: int
    family: Family
    outcome: Literal["connected", "failed", "timeout", "started"]
    """`started`: a log says that it began, and not how it ended."""
    stage: Stage = "tcp"
    errno: str = ""
    """`ENETUNREACH`; empty unless it failed with one."""
    target: str = ""
    """The cluster or `host:port` it was for, where known."""
    took: float | None = None
    """Seconds, where the source says."""
    refused_by: str = ""
    """The address of the router or firewall that said no (ICMP), where known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectFailed(Fact):
    """A connection could not be made; the source doesn't say to which address."""

    target: str
    """The cluster or `host:port`; empty where unknown."""
    errno: str
    """`ECONNREFUSED`, `ENETUNREACH`, `ETIMEDOUT`, `ECONNRESET`; empty: the source gives no reason."""
    established: bool = False
    """It was up, and the peer ended it before it answered."""
    for_provider: bool = True
    """False: it was for the application or something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSeen(Fact):
    """Whether this place has a route for a family to public addresses, asked of the kernel without a packet."""

    family: Family
    ok: bool
    source: str = ""
    """The source address it would use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoHealthyHost(Fact):
    """A cluster had no host to send to: its name never resolved, or all hosts are out."""

    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overflowed(Fact):
    """A circuit breaker refused."""

    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressRefused(Fact):
    """A mesh's or network's policy let it not out."""

    target: str
    how: Literal["black-hole", "prohibited", "policy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyVariable(Fact):
    """HTTPS_PROXY or the like is set where a program runs that does not read it (Envoy)."""

    variable: str
    host: str
