"""TLS that did not come up, where a line gives no connection to join: quoted errors and Envoy's own verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.tls import HandshakeFailed, PlainTextToTls
from ostiary.doctor.logs.pattern import Found, Pattern
from ostiary.doctor.logs.wording import handshake_fault, tls_detail


def _quoted(found: Found) -> Iterator[Fact]:
    """An old Envoy's answer or an access log: the reason stands in the text that a client saw."""
    if found.record.access or found.record.logger in ("oauth2", "router", "pool", "http"):
        return  # others know the call
    yield HandshakeFailed(
        origin=found.origin, target="", fault=handshake_fault(found["error"]), detail=tls_detail(found["error"])
    )


def _plain_text(found: Found) -> Iterator[Fact]:
    yield PlainTextToTls(origin=found.origin, target=found["host"])


PATTERNS: Final = (
    Pattern(
        words=("TLS.error:",),
        expression=r"transport failure reason: ?(?P<error>TLS.error:.*)",
        facts=_quoted,
    ),
    Pattern(
        words=("The plain HTTP request was sent to HTTPS port", "Client sent an HTTP request to an HTTPS server"),
        expression=r"The plain HTTP request was sent to HTTPS port|Client sent an HTTP request to an HTTPS server",
        facts=_plain_text,
        plain=False,
    ),
)
