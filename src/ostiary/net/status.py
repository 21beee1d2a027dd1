"""Status lines."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from typing import Final

PLAIN_TEXT: Final = ((b"content-type", b"text/plain"),)


def reason_phrase(status: int) -> bytes:
    """The standard phrase (RFC 9110 section 15)."""
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"Unknown"


@lru_cache(maxsize=256)
def status_line(status: int, reason: bytes | None = None) -> bytes:
    """`HTTP/1.1 200 OK` with its CRLF; without a reason the standard phrase."""
    return b"HTTP/1.1 %d %b\r\n" % (status, reason_phrase(status) if reason is None else reason)
