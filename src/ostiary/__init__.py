"""Ostiary: signs users in, in front of any HTTP application, and says exactly why when it can't.

Importing this package costs nothing: each name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from ostiary._version import __version__

if TYPE_CHECKING:
    from ostiary.core.trace import ConnectTrace
    from ostiary.doctor.ask import diagnose
    from ostiary.doctor.report import Report
    from ostiary.net.connect_error import ConnectError, ConnectTimeoutError
    from ostiary.net.connector import Connector
    from ostiary.net.stream import Connection, connect

_HOMES: Final = {
    "ConnectError": "ostiary.net.connect_error",
    "ConnectTimeoutError": "ostiary.net.connect_error",
    "ConnectTrace": "ostiary.core.trace",
    "Connection": "ostiary.net.stream",
    "Connector": "ostiary.net.connector",
    "Report": "ostiary.doctor.report",
    "connect": "ostiary.net.stream",
    "diagnose": "ostiary.doctor.ask",
}

__all__ = [
    "ConnectError",
    "ConnectTimeoutError",
    "ConnectTrace",
    "Connection",
    "Connector",
    "Report",
    "__version__",
    "connect",
    "diagnose",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'ostiary' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
