"""Reading the configuration again: on SIGHUP, and when its files change.

A Kubernetes ConfigMap changes by a swapped symlink, an editor by a new file or in several writes: a file has changed if
it is another one than the one that was read, and has stayed so for a look. What can't be read or built is refused with
its reason in the log, and what runs goes on.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterable, Sequence
from typing import Final, Protocol, final

from ostiary.app import logs
from ostiary.app.files import Signature, signature
from ostiary.app.metrics import Stats
from ostiary.model.config import Config
from ostiary.model.errors import Diagnostic
from ostiary.model.process import LOG_COMPONENTS, Process
from ostiary.net.log import log

_LOG: Final = log("config")


class Loaded(Protocol):
    """What a source gives; `config` and `process` are None if it can't be run."""

    @property
    def config(self) -> Config | None: ...
    @property
    def process(self) -> Process | None: ...
    @property
    def diagnostics(self) -> Sequence[Diagnostic]: ...


class Source(Protocol):
    """Where the configuration comes from: the same files, flags and environment each time."""

    @property
    def files(self) -> Sequence[str]:
        """Those that can change."""

    def load(self) -> Loaded:
        """Read it. Raises nothing for what it holds."""


@final
class Watch:
    """Whether files have changed, and stopped changing."""

    def __init__(self, files: Sequence[str]) -> None:
        self._files = files
        self._read = self._seen = self._look()

    def _look(self) -> list[Signature | None]:
        return [signature(name) for name in self._files]

    def changed(self) -> bool:
        """Once a second: True when there is something new to read, once for each change."""
        before, self._seen = self._seen, self._look()
        if self._seen == self._read or self._seen != before or None in self._seen:
            return False
        self._read = self._seen
        return True

    def note(self) -> None:
        """They are read now."""
        self._read = self._seen = self._look()


_MENDS: Final = {
    errno.EADDRINUSE: "choose another address, or end the program that listens there: `ss -ltnp` names it",
    errno.EADDRNOTAVAIL: "no interface here has that address: `ip address` lists those that there are",
    errno.EACCES: "ports below 1024 need root or CAP_NET_BIND_SERVICE: choose one above",
}


def reason(error: Exception) -> str:
    """Why a configuration can't be used, for a person."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    mend = _MENDS.get(error.errno or 0) if isinstance(error, OSError) and text.startswith("can't listen on") else None
    return f"{text} ({mend})" if mend and "unix:" not in text else text


def loaded(source: Source, why: str) -> tuple[Config, Process] | None:
    """Read the configuration; None, and the reasons in the log, if it can't be run."""
    _LOG.info("%s: reading the configuration again", why)
    try:
        found = source.load()
    except Exception:  # noqa: BLE001 - a defect of ours must not end what runs
        _LOG.exception("the configuration could not be read")
        return None
    for diagnostic in found.diagnostics:
        (_LOG.error if diagnostic.severity == "error" else _LOG.warning)("%s", diagnostic)
    if found.config is None or found.process is None:
        return None
    return found.config, found.process


def refuse(reason: object) -> None:
    """Say that what runs goes on."""
    _LOG.error("the new configuration is refused and the last one stays in use: %s", reason)


def accept(said: str, seconds: float, restart: Iterable[str]) -> None:
    """Say what is new, and what needs a `restart` (app/changes.py)."""
    _LOG.info("the new configuration is in use after %.2f s: %s", seconds, said)
    for what in restart:
        _LOG.warning("%s", what)


def set_log(before: Process, after: Process) -> None:
    """The log's format; and its levels, if the configuration says others than before; else those stay that were set
    meanwhile."""
    if before.log_format != after.log_format:
        logs.set_format(after.log_format)
    if (before.log_level, before.component_log_level) != (after.log_level, after.component_log_level):
        logs.set_levels(dict.fromkeys(LOG_COMPONENTS, after.log_level) | dict(after.component_log_level))


@final
class Count:
    """Envoy's counters of configurations that were offered."""

    def __init__(self, stats: Stats) -> None:
        counter = stats.scope("listener_manager.lds")
        self._attempt, self._success, self._rejected = (
            counter(name) for name in ("update_attempt", "update_success", "update_rejected")
        )
        self._update_time, self._reload_time = counter("update_time"), counter("config_reload_time_seconds")

    def rejected(self) -> None:
        """One that can't be used."""
        self._attempt.inc()
        self._rejected.inc()

    def accepted(self) -> None:
        """One that is in use now."""
        self._attempt.inc()
        self._success.inc()
        now = time.time()
        self._update_time.value, self._reload_time.value = round(now * 1000), round(now)
