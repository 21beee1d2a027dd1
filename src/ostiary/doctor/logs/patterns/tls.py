"""TLS that did not come up, where a line gives no connection to join: quoted errors and Envoy's own verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.doctor.facts.connection import ConnectFailed
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.tls import HandshakeFailed, PlainTextToTls
from ostiary.doctor.logs.pattern import Found, Pattern
from ostiary.doctor.logs.wording import errno_of, handshake_fault, speaks_of_tls, tls_detail


def _quoted(found: Found) -> Iterator[Fact]:
    """An old Envoy's answer, which somebody pasted: the reason stands in the text that a client saw."""
    error, origin = found["error"], found.origin
    errno = errno_of(error)
    if errno:
        yield ConnectFailed(origin=origin, target="", errno=errno)
    elif speaks_of_tls(error):
        yield HandshakeFailed(origin=origin, target="", fault=handshake_fault(error), detail=tls_detail(error))


def _plain_text(found: Found) -> Iterator[Fact]:
    yield PlainTextToTls(origin=found.origin, target=found["host"])


PATTERNS: Final = (
    Pattern(
        words=("upstream connect error or disconnect",),
        expression=r"^upstream connect error or disconnect/reset before headers\. .*?"
        r"transport failure reason: ?(?P<error>.+)",
        facts=_quoted,
        plain=False,
    ),
    Pattern(
        words=("The plain HTTP request was sent to HTTPS port", "Client sent an HTTP request to an HTTPS server"),
        expression=r"The plain HTTP request was sent to HTTPS port|Client sent an HTTP request to an HTTPS server",
        facts=_plain_text,
        plain=False,
    ),
)
