"""Unary gRPC calls without I/O: how a message is framed, and what became of a call.

Written after "gRPC over HTTP2" of the gRPC project. A call is a POST whose body is one message behind five bytes. How
it went is in the trailers, or in the head of an answer that has nothing else ("trailers-only"). Who speaks no gRPC says
neither: then the HTTP status is all there is, and means what gRPC says it does.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from ostiary.core.decision import Fetched

CODES: Final = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
"""By number (google.rpc.Code)."""
_BY_HTTP: Final = {
    400: "INTERNAL",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "UNIMPLEMENTED",
    429: "UNAVAILABLE",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "UNAVAILABLE",
}
"""For an answer without a status of gRPC's."""
_HEAD: Final = 5
_MAX_SAID: Final = 500
"""Characters of a server's message that are worth telling."""


class Outcome(msgspec.Struct, frozen=True):
    """How a call ended."""

    code: str
    """One of CODES."""
    said: str
    """What the server says about it, or what it said instead; may be empty."""

    @property
    def is_ok(self) -> bool:
        """It was done."""
        return self.code == "OK"

    def __str__(self) -> str:
        return f"{self.code}: {self.said}" if self.said else self.code


def framed(message: bytes, *, compressed: bool = False) -> bytes:
    """A message as the body of a call; `compressed` by what `grpc-encoding` names."""
    return b"%c%b%b" % (compressed, len(message).to_bytes(4, "big"), message)


def message_of(body: bytes) -> bytes:
    """The one message of an answer that is not compressed; empty if that is not what it has."""
    size = int.from_bytes(body[1:_HEAD], "big")
    return body[_HEAD:] if body[:1] == b"\0" and len(body) == _HEAD + size else b""


def timeout_value(seconds: float) -> str:
    """`grpc-timeout`: at most eight digits."""
    milliseconds = max(1, round(seconds * 1000))
    return f"{milliseconds}m" if milliseconds < 10**8 else f"{min(milliseconds // 1000, 10**8 - 1)}S"


def outcome(answer: Fetched) -> Outcome:
    """What became of the call that was answered so."""
    fields = answer.trailers if answer.trailers.get("grpc-status") is not None else answer.headers
    status = fields.get("grpc-status")
    if status is None:
        kind = answer.headers.get("content-type") or ""
        if answer.status == 200 and kind.startswith("application/grpc"):
            return Outcome("UNKNOWN", "the answer has no grpc-status")
        said = f"HTTP status {answer.status} without gRPC{f', {kind[:64]!r}' if kind else ''}"
        return Outcome(_BY_HTTP.get(answer.status, "UNKNOWN"), said)
    number = int(status) if status.isascii() and status.isdigit() and len(status) < 3 else len(CODES)
    said = unquote_to_bytes((fields.get("grpc-message") or "").encode("latin-1")).decode("utf-8", "replace")
    return Outcome(CODES[number] if number < len(CODES) else "UNKNOWN", said[:_MAX_SAID])
