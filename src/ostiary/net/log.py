"""Component loggers with Envoy's names, on top of the standard library's logging: `ostiary.oauth2`, `ostiary.dns`, ...

`debugs` and `traces` say whether a line of that level is wanted: plain attributes, so that a logger that is off costs
the hot path one look. Who changes levels calls `refresh`. Lines about a connection or a request carry its number as a
tag, as Envoy's do.
"""

from __future__ import annotations

import itertools
import logging
import os
from typing import Final, final

TRACE: Final = 5
"""Below DEBUG; the standard library has no name for it."""
ROOT: Final = "ostiary"
logging.getLogger(ROOT).addHandler(logging.NullHandler())  # whoever uses us as a library sets up logs, or hears nothing

next_connection_id: Final = itertools.count(1).__next__
"""Numbers connections, clients' and upstreams' alike."""
_MASK: Final = (1 << 64) - 1
_ODD: Final = 0x9E3779B97F4A7C15


@final
class Log:
    """The logger of one component. Texts are formats of `%`, filled in only if the line is written."""

    __slots__ = ("_logger", "debugs", "traces")

    def __init__(self, component: str) -> None:
        self._logger = logging.getLogger(f"{ROOT}.{component}")
        self.debugs = self.traces = False
        self.refresh()

    def refresh(self) -> None:
        """Levels may have changed."""
        self.debugs = self._logger.isEnabledFor(logging.DEBUG)
        self.traces = self._logger.isEnabledFor(TRACE)

    def trace(self, text: str, *args: object, connection: int = 0, stream: int = 0) -> None:
        """What only developers of a proxy want to know."""
        if self.traces:
            self._logger.log(TRACE, text, *args, extra=_tags(connection, stream), stacklevel=2)

    def debug(self, text: str, *args: object, connection: int = 0, stream: int = 0) -> None:
        """What helps in an incident."""
        if self.debugs:
            self._logger.debug(text, *args, extra=_tags(connection, stream), stacklevel=2)

    def info(self, text: str, *args: object, connection: int = 0, stream: int = 0) -> None:
        """What happens rarely, and as it should."""
        self._logger.info(text, *args, extra=_tags(connection, stream), stacklevel=2)

    def warning(self, text: str, *args: object, connection: int = 0, stream: int = 0) -> None:
        """Somebody should look at this."""
        self._logger.warning(text, *args, extra=_tags(connection, stream), stacklevel=2)

    def error(self, text: str, *args: object, connection: int = 0, stream: int = 0) -> None:
        """Something does not work."""
        self._logger.error(text, *args, extra=_tags(connection, stream), stacklevel=2)

    def exception(self, text: str, *args: object) -> None:
        """A defect of ours, with its traceback."""
        self._logger.exception(text, *args, stacklevel=2)


def _tags(connection: int, stream: int) -> dict[str, int] | None:
    return {"connection": connection, "stream": stream} if connection or stream else None


_LOGS: Final[dict[str, Log]] = {}


def log(component: str) -> Log:
    """The logger of one component (see model.process.LOG_COMPONENTS)."""
    found = _LOGS.get(component)
    if found is None:
        found = _LOGS[component] = Log(component)
    return found


def refresh() -> None:
    """Levels have changed: every logger looks again whether it is on."""
    for each in _LOGS.values():
        each.refresh()


def stream_id(connection: int, request: int) -> int:
    """A number for one request of one connection, unlike those of other processes: 64 bits, as Envoy's."""
    return ((connection << 24) + request) * _ODD + os.getpid() * 0xC2B2AE3D27D4EB4F & _MASK
