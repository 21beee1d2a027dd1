"""Component loggers with Envoy's names, levels and formats, on top of the standard library's logging.

`logger("oauth2").debug(...)` writes a line such as
`[2026-11-23 09:09:29.287][2609][debug][oauth2] [source/...] text`; Istio's tab-separated format and JSON carry the same
parts. A library's own loggers (asyncio) come out under `main`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from ostiary.net.sink import Sink

COMPONENTS: Final = (
    "access_log", "admin", "client", "config", "connection", "dns", "filter", "forward_proxy", "happy_eyeballs",
    "http", "jwt", "main", "oauth2", "pool", "router", "secret", "tls", "upstream",
)  # fmt: skip
TRACE: Final = 5
_LEVELS: Final = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "off": logging.CRITICAL + 10,
}
_NAMES: Final = {
    TRACE: "trace",
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warning",
    logging.ERROR: "error",
    logging.CRITICAL: "critical",
}
_ROOT: Final = "ostiary"


def logger(component: str) -> logging.Logger:
    """The logger of one component."""
    return logging.getLogger(f"{_ROOT}.{component}")


def _component(record: logging.LogRecord) -> str:
    return record.name.removeprefix(_ROOT + ".") if record.name.startswith(_ROOT + ".") else "main"


class _Lines(logging.Formatter):
    """A record on one line: a line break in a message can't forge another record."""

    def text(self, record: logging.LogRecord) -> str:
        """The message, with the traceback if there is one."""
        message = record.getMessage()
        if record.exc_info and record.exc_info[0] is not None:
            message += "\n" + self.formatException(record.exc_info)
        return message.replace("\r", "\\r").replace("\n", "\\n")


class EnvoyFormat(_Lines):
    """Envoy's default: `[%Y-%m-%d %T.%e][%t][%l][%n] [%g:%#] %v`."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%d %H:%M:%S")
        level = _NAMES.get(record.levelno, "info")
        return (
            f"[{when}.{int(record.msecs):03d}][{record.process}][{level}][{_component(record)}] "
            f"[{record.module}.py:{record.lineno}] {self.text(record)}"
        )


class IstioFormat(_Lines):
    """Istio's: time, level, `envoy component`, place, message and thread, separated by tabs."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        level = _NAMES.get(record.levelno, "info")
        place = f"{record.module}.py:{record.lineno}"
        parts = (when, level, f"envoy {_component(record)} {place}", self.text(record), f"thread={record.process}")
        return "\t".join(parts)


class JsonFormat(_Lines):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": _NAMES.get(record.levelno, "info"),
            "component": _component(record),
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


class _SinkHandler(logging.Handler):
    """Lines to a Sink."""

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._sink.write(f"{self.format(record)}\n".encode("utf-8", "backslashreplace"))
        except Exception:  # noqa: BLE001 - as every logging.Handler
            self.handleError(record)


@contextlib.contextmanager
def in_background() -> Iterator[None]:
    """Within the block nobody who logs waits for stderr. For a process that forks no more; after `configure`."""
    (before,) = logging.getLogger(_ROOT).handlers
    sink = Sink(sys.stderr.fileno(), owned=False, report=lambda what: logger("main").warning("stderr %s", what))
    handler = _SinkHandler(sink)
    handler.setFormatter(before.formatter)
    _use(handler)
    try:
        yield
    finally:
        _use(before if sink.close() else logging.NullHandler())


def _use(handler: logging.Handler) -> None:
    for each in (logging.getLogger(_ROOT), logging.getLogger()):
        each.handlers[:] = [handler]


def configure(level: str, components: Mapping[str, str], style: str) -> None:
    """Write to stderr in `style` (`envoy`, `istio`, `json`) at `level`, components at their own. Raises KeyError."""
    formats: dict[str, type[logging.Formatter]] = {"envoy": EnvoyFormat, "istio": IstioFormat, "json": JsonFormat}
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formats[style]())
    _use(handler)
    root = logging.getLogger(_ROOT)
    root.propagate = False
    root.setLevel(_LEVELS[level])
    for name in COMPONENTS:
        logger(name).setLevel(logging.NOTSET)
    for name, own in components.items():
        logger(name).setLevel(_LEVELS[own])
    others = logging.getLogger()
    others.setLevel(logging.WARNING)
    if os.environ.get("PYTHONASYNCIODEBUG"):
        others.setLevel(logging.DEBUG)
