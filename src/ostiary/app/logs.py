"""Where the process's log goes, and at which levels. Levels may change at any time: `set_levels`.

Every component of Envoy's has a level of its own, from the start: what can be read out can so be put back exactly. The
levels lie in memory that all workers share, so that one that is started later begins with those that hold by then.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Final

from ostiary.app.log_formats import FORMATS
from ostiary.model.process import LOG_COMPONENTS, LOG_LEVELS, LogLevel
from ostiary.net import log
from ostiary.net.sink import Sink

_LEVELS: Final[Mapping[str, int]] = {
    "trace": log.TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "off": logging.CRITICAL + 10,
}
_shared: Final = mmap.mmap(-1, len(LOG_COMPONENTS))
"""For each component, in order, its level's place in LOG_LEVELS."""


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
    set_levels(levels())
    (before,) = logging.getLogger(log.ROOT).handlers
    sink = Sink(sys.stderr.fileno(), owned=False, report=lambda what: log.log("main").warning("stderr %s", what))
    handler = _SinkHandler(sink)
    handler.setFormatter(before.formatter)
    _use(handler)
    try:
        yield
    finally:
        before.setFormatter(handler.formatter)
        _use(before if sink.close() else logging.NullHandler())


def _use(handler: logging.Handler) -> None:
    for each in (logging.getLogger(log.ROOT), logging.getLogger()):
        each.handlers[:] = [handler]


def configure(level: LogLevel, components: Mapping[str, LogLevel], style: str) -> None:
    """Write to stderr in `style` (`envoy`, `istio`, `json`) at `level`, components at their own. Raises KeyError."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FORMATS[style]())
    _use(handler)
    logging.getLogger(log.ROOT).propagate = False
    others = logging.getLogger()
    others.setLevel(logging.DEBUG if os.environ.get("PYTHONASYNCIODEBUG") else logging.WARNING)
    set_levels(dict.fromkeys(LOG_COMPONENTS, level) | dict(components))


def set_format(style: str) -> None:
    """Write in another style from the next line on. Raises KeyError."""
    for handler in logging.getLogger(log.ROOT).handlers:
        handler.setFormatter(FORMATS[style]())


def levels() -> dict[str, LogLevel]:
    """Each component's level, in the order in which Envoy lists them."""
    return {name: LOG_LEVELS[_shared[at]] for at, name in enumerate(LOG_COMPONENTS)}


def set_levels(changes: Mapping[str, LogLevel]) -> None:
    """Component -> its level from now on. Raises KeyError, and changes nothing, for an unknown component or level."""
    numbers = {name: _LEVELS[level] for name, level in changes.items() if name in LOG_COMPONENTS}
    if len(numbers) != len(changes):
        raise KeyError(*(changes.keys() - numbers.keys()))
    for name, number in numbers.items():
        logging.getLogger(f"{log.ROOT}.{name}").setLevel(number)
        _shared[LOG_COMPONENTS.index(name)] = LOG_LEVELS.index(changes[name])
    log.refresh()


def follow() -> None:
    """Use the levels that other processes have set: for the workers' parent, whom no request reaches."""
    for at, name in enumerate(LOG_COMPONENTS):
        number = _LEVELS[LOG_LEVELS[_shared[at]]]
        logger = logging.getLogger(f"{log.ROOT}.{name}")
        if logger.level != number:
            logger.setLevel(number)
    log.refresh()
