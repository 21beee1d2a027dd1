"""A log record as a line, in the three shapes that people's tools read: Envoy's default, Istio's text, Istio's JSON.

    [2026-11-23 09:09:29.287][2609][debug][pool] [ostiary/net/pool.py:219] [Tags: "ConnectionId":"6"] text
    2026-11-23T09:09:29.287153Z <tab> debug <tab> envoy pool ostiary/net/pool.py:219 <tab> text <tab> thread=2609

The thread is the process: each worker has one. `core/log_line.py` reads all three.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Final

from ostiary.net.log import ROOT, TRACE

_NAMES: Final = {
    TRACE: "trace",
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warning",
    logging.ERROR: "error",
    logging.CRITICAL: "critical",
}
_CONTROLS: Final = (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
"""What ends a line for some reader, or means something to a terminal. A tab may stay."""
_SPELT: Final = {"\r": "\\r", "\n": "\\n"}
_ESCAPED: Final = {
    code: _SPELT.get(chr(code), f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}") for code in _CONTROLS if code != 9
}
_ESCAPED_IN_JSON: Final = {code: f"\\u{code:04x}" for code in _CONTROLS if code >= 0x7F}
"""The others are escaped by `json`."""
_TAGS: Final = (("ConnectionId", "connection"), ("StreamId", "stream"))


def _component(record: logging.LogRecord) -> str:
    """A library's own loggers (asyncio) come out under `main`."""
    return record.name.removeprefix(f"{ROOT}.") if record.name.startswith(f"{ROOT}.") else "main"


def _place(record: logging.LogRecord) -> str:
    """`ostiary/net/pool.py:219`, wherever it is installed."""
    parts = PurePath(record.pathname).parts
    start = len(parts) - parts[::-1].index(ROOT) - 1 if ROOT in parts else -2
    return f"{'/'.join(parts[start:])}:{record.lineno}"


def _tags(record: logging.LogRecord) -> dict[str, str]:
    """The numbers of the connection and of the request that a line is about."""
    found = {name: getattr(record, attribute, 0) for name, attribute in _TAGS}
    if not found["StreamId"]:  # a request always comes with its connection: 0 for those of our own
        del found["StreamId"]
    return {name: str(number) for name, number in found.items()} if any(found.values()) else {}


def _text(record: logging.LogRecord) -> str:
    """The message, with the traceback if there is one."""
    message = record.getMessage()
    if record.exc_info and record.exc_info[0] is not None:
        message += "\n" + logging.Formatter().formatException(record.exc_info)
    return message


def _line(record: logging.LogRecord) -> str:
    """Text after its tags, on one line: nothing in a message can forge another record."""
    tags = ",".join(f'"{name}":"{number}"' for name, number in _tags(record).items())
    text = _text(record)
    text = text if text.isprintable() else text.translate(_ESCAPED)
    return f"[Tags: {tags}] {text}" if tags else text


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class EnvoyFormat(logging.Formatter):
    """Envoy's default: `[%Y-%m-%d %T.%e][%t][%l][%n] [%g:%#] %v`."""

    def format(self, record: logging.LogRecord) -> str:
        when = _time(record)
        level = _NAMES.get(record.levelno, "info")
        return (
            f"[{when[:10]} {when[11:23]}][{record.process}][{level}][{_component(record)}] "
            f"[{_place(record)}] {_line(record)}"
        )


class IstioFormat(logging.Formatter):
    """Istio's: `%Y-%m-%dT%T.%fZ\\t%l\\tenvoy %n %g:%#\\t%v\\tthread=%t`."""

    def format(self, record: logging.LogRecord) -> str:
        level = _NAMES.get(record.levelno, "info")
        where = f"envoy {_component(record)} {_place(record)}"
        text = _line(record).replace("\t", "\\t")
        return "\t".join((_time(record), level, where, text, f"thread={record.process}"))


class JsonFormat(logging.Formatter):
    """Istio's with `logAsJson`: one object a line, the tags as keys of their own."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _time(record),
            "level": _NAMES.get(record.levelno, "info"),
            "scope": f"envoy {_component(record)}",
            "msg": _text(record),
            "caller": _place(record),
            "thread": str(record.process),
        }
        line = json.dumps(entry | _tags(record), ensure_ascii=False)
        return line if line.isprintable() else line.translate(_ESCAPED_IN_JSON)


FORMATS: Final[dict[str, type[logging.Formatter]]] = {"envoy": EnvoyFormat, "istio": IstioFormat, "json": JsonFormat}
