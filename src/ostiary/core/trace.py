"""The timeline of a connection, and of anything else that unfolds in time: one record for logs, pages and the doctor.

Times are seconds of one clock (monotonic for connections); the JSON form gives milliseconds from the start. A trace
holds names, addresses, outcomes and error texts, never payload: nothing that could be a secret has a field here, and a
span takes scalars only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from ostiary.core.addresses import Family, RecordType
from ostiary.model import limits
from ostiary.model.clusters import DnsLookupFamily

QueryOutcome = Literal["answered", "empty", "nxdomain", "failed", "timeout", "pending"]
Stage = Literal["route", "tcp", "tls"]
AttemptOutcome = Literal["won", "failed", "cancelled", "timeout", "not_started"]
Scalar: TypeAlias = "str | int | float | bool | None"


@dataclass(slots=True, kw_only=True)
class DnsQuery:
    """One question to one server."""

    name: str
    """As asked, absolute (`login.example.`)."""
    type: RecordType
    server: str
    """`10.77.0.1:53`; or `hosts` (the hosts file), `cache`, `cache (expired)`, `system` (the system's resolver),
    `resolv.conf` (it says that this type is not asked for)."""
    started: float
    ended: float | None = None
    rcode: str | None = None
    ttl: int | None = None
    """Seconds: the smallest along the answer's chain."""
    answers: tuple[str, ...] = ()
    """Addresses; of HTTPS the records as in a zone file (`1 . alpn=h2 ipv4hint=192.0.2.1`)."""
    outcome: QueryOutcome = "pending"
    message: str = ""
    """What went wrong, if the rcode doesn't say it."""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One address: from the first system call to a complete connection, or to its end."""

    address: str
    port: int
    family: Family | Literal["unix"]
    source: str | None = None
    started: float | None = None
    """None: not started."""
    connected: float | None = None
    """When TCP was up; None: it never was."""
    ended: float | None = None
    stage: Stage = "tcp"
    """How far it came: `route` failed within this host, `tcp` before and `tls` after the TCP handshake."""
    outcome: AttemptOutcome = "not_started"
    errno: str | None = None
    """`ECONNREFUSED`; for TLS the library's reason (`CERTIFICATE_VERIFY_FAILED`)."""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """What the handshake of the winner agreed on."""

    version: str
    sni: str | None
    alpn: str | None
    peer: str
    """The certificate's subject, most specific part first."""
    not_after: str
    """ISO 8601, UTC."""
    verified: bool
    """The chain was checked against trusted roots."""
    cipher: str = ""


@dataclass(slots=True, kw_only=True)
class ConnectTrace:
    """Everything that happened while connecting to one target."""

    target: str
    """`host:port`, or a Unix socket's path."""
    started: float
    ended: float | None = None
    timeout: float = 0.0
    dns_lookup_family: DnsLookupFamily = "ALL"
    dns: list[DnsQuery] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    """In the order in which they started; those that did not start come last."""
    winner: Attempt | None = None
    tls: Tls | None = None
    error: str | None = None
    other_family: tuple[str, ...] = ()
    """After a failure: addresses of the family that the lookup family kept out, where this host has a route."""
    number: int = 0
    """What logs know the connection by."""
    _summary: str | None = None

    @property
    def summary(self) -> str:
        """What happened, in a sentence that a person understands. Put together when first asked for."""
        if self._summary is None:
            from ostiary.core.explain import summarize

            self._summary = summarize(self)
        return self._summary

    @summary.setter
    def summary(self, text: str) -> None:
        self._summary = text

    @property
    def ok(self) -> bool:
        """Whether there is a connection."""
        return self.winner is not None

    @property
    def hurried(self) -> bool:
        """Whether the deadline left the attempts less than the usual delay between them."""
        return 0 < self.timeout < 2 * limits.CONNECTION_ATTEMPT_DELAY and len(self.attempts) > 1

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds from the start to the end; 0 while it runs."""
        return _ms(self.ended, self.started) or 0.0

    def as_dict(self) -> dict[str, Any]:
        """The JSON document of `ostiary connect --json`."""
        winner = self.winner
        return {
            "target": self.target,
            "ok": self.ok,
            "elapsed_ms": self.elapsed_ms,
            "winner": winner and {"address": winner.address, "port": winner.port, "family": winner.family},
            "dns": [self._query(query) for query in self.dns],
            "attempts": [self._attempt(attempt) for attempt in self.attempts],
            "tls": self.tls
            and {
                "version": self.tls.version,
                "sni": self.tls.sni,
                "alpn": self.tls.alpn,
                "peer": self.tls.peer,
                "not_after": self.tls.not_after,
                "verified": self.tls.verified,
            },
            "error": self.error,
            "summary": self.summary,
        }

    def _query(self, query: DnsQuery) -> dict[str, Any]:
        return {
            "name": query.name,
            "type": query.type,
            "server": query.server,
            "started_ms": _ms(query.started, self.started),
            "ended_ms": _ms(query.ended, self.started),
            "rcode": query.rcode,
            "ttl": query.ttl,
            "answers": list(query.answers),
            "outcome": query.outcome,
        }

    def _attempt(self, attempt: Attempt) -> dict[str, Any]:
        return {
            "address": attempt.address,
            "port": attempt.port,
            "family": attempt.family,
            "source": attempt.source,
            "started_ms": _ms(attempt.started, self.started),
            "ended_ms": _ms(attempt.ended, self.started),
            "stage": attempt.stage,
            "outcome": attempt.outcome,
            "errno": attempt.errno,
            "message": attempt.message,
        }


def _ms(moment: float | None, origin: float) -> float | None:
    """Milliseconds from the origin; what began before it (a query shared with an earlier connection) counts as 0."""
    return None if moment is None else max(0.0, round((moment - origin) * 1000, 3))
