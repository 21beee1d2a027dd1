"""The heads of answers: of a forwarded one the upstream's lines that pass, and what the listener adds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ostiary.core.header_lines import CONTENT_LENGTH, SERVER
from ostiary.core.response import ResponseHead
from ostiary.net.status import status_line

if TYPE_CHECKING:
    from ostiary.net.exchange import Exchange


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
        wire = exchange.rewrite_response(exchange, head)
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


def local_lines(exchange: Exchange, headers: Iterable[tuple[bytes, bytes]], length: int) -> list[bytes]:
    """Status line and header lines of an answer of our own with a body of `length` bytes."""
    downstream, status = exchange.downstream, exchange.status
    wire = [status_line(status)]
    wire += [b"%b: %b\r\n" % item for item in headers]
    if status >= 200 and status != 204:
        wire.append(b"content-length: %d\r\n" % length)
    wire.append(b"date: %b\r\n" % downstream.ticker.date)
    wire.append(downstream.service.settings.server_line)
    wire.append(exchange.response_extra)
    return wire


def informational_head(head: ResponseHead) -> bytes:
    """A 1xx answer, whole."""
    lines = [line.wire for line in head.lines if not line.kind]
    return b"".join((status_line(head.status, head.reason), *lines, b"\r\n"))


def upgrade_head(head: ResponseHead, extra: bytes) -> bytes:
    """A 101 answer, whole, with `extra` header lines."""
    lines = [line.wire for line in head.lines if not line.kind or line.name in (b"upgrade", b"date")]
    return b"".join((status_line(101), *lines, b"connection: upgrade\r\n", extra, b"\r\n"))
