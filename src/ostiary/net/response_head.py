"""The head of an answer, forwarded or our own: the lines that pass, what the route makes of them, what we add."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ostiary.core.header_lines import CONTENT_LENGTH, SERVER
from ostiary.core.response import ResponseHead
from ostiary.model.headers import Headers
from ostiary.net.status import PLAIN_TEXT, status_line

if TYPE_CHECKING:
    from ostiary.net.exchange import Exchange

_DEFAULT: Final = ("content-type", "text/plain")
"""The type of our bodies, where the route gives them none."""


def response_lines(exchange: Exchange, head: ResponseHead) -> list[bytes]:
    """Status line and header lines, without framing and the empty line. The answer's first byte is timed already."""
    downstream = exchange.downstream
    settings = downstream.service.settings
    if exchange.rewrite_response is None:
        keep = settings.keep
        lines = head.lines
        if exchange.response_drop:
            lines = [line for line in lines if line.name not in exchange.response_drop]
        wire = [line.wire for line in lines if keep[line.kind]]
        if head.status == 204 and head.content_length is not None:
            wire = [line.wire for line in lines if keep[line.kind] and line.kind != CONTENT_LENGTH]
    else:
        drop = exchange.response_drop
        passed = [line.pair for line in head.lines if settings.keep[line.kind] and line.name not in drop]
        headers = Headers.of(passed)
        exchange.rewrite_response(exchange, headers)
        wire = _lines(headers)
    wire.insert(0, status_line(head.status, head.reason))
    if not head.dated:
        wire.append(b"date: %b\r\n" % downstream.ticker.date)
    if settings.via_line:
        wire.append(settings.via_line)
    if settings.service_time:
        took = int((exchange.first_byte - exchange.started) * 1000)
        wire.append(b"x-envoy-upstream-service-time: %d\r\n" % took)
    if not settings.server_if_absent or all(line.kind != SERVER for line in head.lines):
        wire.append(settings.server_line)
    if exchange.response_extra:
        wire.append(exchange.response_extra)
    return wire


def local_lines(exchange: Exchange, fields: Sequence[tuple[bytes, bytes]], body: bytes) -> list[bytes]:
    """Status line and header lines of an answer of our own, without framing and the empty line."""
    downstream = exchange.downstream
    items = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
    headers = exchange.response_headers = Headers.of(items)
    exchange.local = True
    if exchange.rewrite_response is not None:
        headers = Headers.of([item for item in items if item != _DEFAULT])
        exchange.rewrite_response(exchange, headers)
        if not body:
            headers.remove("content-type")
        elif _DEFAULT in items and "content-type" not in headers:
            headers.add(*_DEFAULT)
    wire = [status_line(exchange.status), *_lines(headers)]
    wire.append(b"date: %b\r\n" % downstream.ticker.date)
    wire.append(downstream.service.settings.server_line)
    wire.append(exchange.response_extra)
    return wire


def _lines(headers: Headers) -> list[bytes]:
    return [f"{name}: {value}\r\n".encode("latin-1", "replace") for name, value in headers]


def informational_head(head: ResponseHead) -> bytes:
    """A 1xx answer, whole."""
    lines = [line.wire for line in head.lines if not line.kind]
    return b"".join((status_line(head.status, head.reason), *lines, b"\r\n"))


def upgrade_head(head: ResponseHead, extra: bytes) -> bytes:
    """A 101 answer, whole, with `extra` header lines."""
    lines = [line.wire for line in head.lines if not line.kind or line.name in (b"upgrade", b"date")]
    return b"".join((status_line(101), *lines, b"connection: upgrade\r\n", extra, b"\r\n"))


def upstream_failure(flag: str, reason: str, tell: bool) -> tuple[int, Sequence[tuple[bytes, bytes]], bytes]:
    """(status, headers, body) where there is no answer, by response flag; `tell` of a limit with Envoy's header."""
    body = b"upstream connect error or disconnect/reset before headers. reset reason: " + reason.encode()
    if flag == "UH":
        body = b"no healthy upstream"
    headers = (*PLAIN_TEXT, (b"x-envoy-overloaded", b"true")) if tell and flag == "UO" else PLAIN_TEXT
    return 502 if flag == "UPE" else 503, headers, body
