"""From the core's answers to bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from ostiary.app.narrate import answered
from ostiary.core.decision import Respond
from ostiary.net.exchange import Exchange
from ostiary.net.log import log

_LOG: Final = log("oauth2")
_WHITESPACE: Final = re.compile(r"\s")


def response_lines(items: Iterable[tuple[str, str]]) -> bytes:
    """Header lines, each with its CRLF."""
    return b"".join(pairs(items))


def pairs(items: Iterable[tuple[str, str]]) -> list[bytes]:
    """One wire line per header."""
    return [f"{name}: {value}\r\n".encode("latin-1", "replace") for name, value in items]


def local_reply(exchange: Exchange, answer: Respond) -> None:
    """Send what a filter answered. The code by which /flights finds it is in the log, with the reason."""
    details = _WHITESPACE.sub("_", answer.details)
    told = answered(exchange, answer)
    note = answer.note
    if note is not None:
        said = f"{note.code}: {note.reason}" if note.code else note.reason or answer.details
        quiet = told or note.kind == "turned-away"
        say = _LOG.debug if quiet else _LOG.warning if note.outcome == "failed" else _LOG.info
        say("code %s: %s answered with %d: %s", note.flight, exchange.method.decode("latin-1"), answer.status, said)
    if answer.flight:
        details = f"{details}_({answer.flight})"
    exchange.health_check = answer.health_check
    headers = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in answer.headers]
    exchange.respond(answer.status, headers, answer.body, details)
