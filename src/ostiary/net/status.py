"""Status lines."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus


@lru_cache(maxsize=256)
def status_line(status: int, reason: bytes | None = None) -> bytes:
    """`HTTP/1.1 200 OK` with its CRLF; without a reason the standard phrase (RFC 9110 section 15)."""
    if reason is None:
        try:
            reason = HTTPStatus(status).phrase.encode()
        except ValueError:
            reason = b"Unknown"
    return b"HTTP/1.1 %d %b\r\n" % (status, reason)
