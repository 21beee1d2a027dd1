"""From the core's answers to bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from logging import INFO, WARNING
from typing import Final

from ostiary.app.logs import logger
from ostiary.core.decision import Respond
from ostiary.net.exchange import Exchange

_log = logger("oauth2")
_WHITESPACE: Final = re.compile(r"\s")


def response_lines(items: Iterable[tuple[str, str]]) -> bytes:
    """Header lines, each with its CRLF."""
    return b"".join(pairs(items))


def pairs(items: Iterable[tuple[str, str]]) -> list[bytes]:
    """One wire line per header."""
    return [f"{name}: {value}\r\n".encode("latin-1", "replace") for name, value in items]


def local_reply(exchange: Exchange, answer: Respond) -> None:
    """Send what a filter answered. The code that a page shows is in the log, with the reason."""
    details = _WHITESPACE.sub("_", answer.details)
    if answer.flight:
        level = WARNING if answer.status >= 500 else INFO
        method = exchange.method.decode("latin-1")
        _log.log(level, "code %s: %s answered with %d: %s", answer.flight, method, answer.status, answer.details)
        details = f"{details}_({answer.flight})"
    exchange.health_check = answer.health_check
    headers = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in answer.headers]
    exchange.respond(answer.status, headers, answer.body, details)
