"""Changes the levels of a running proxy through its admin API, and puts them back exactly.

A change is made as a whole or not at all: what an answer doesn't confirm is undone. What the levels were before the
first change is remembered (app/level_memory.py) until they are that again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, final

from ostiary.app.level_memory import LevelMemory, Remembered
from ostiary.core.level_change import (
    Levels,
    Wanted,
    changes,
    knows_paths,
    one_by_one,
    parse_listing,
    started_with,
    together,
)
from ostiary.model import limits
from ostiary.net.admin_client import AdminClient, AdminError

_NO_INFO: Final[Mapping[str, Any]] = {}


@final
@dataclass(frozen=True, slots=True)
class Changed:
    """What a change came to."""

    before: Levels
    asked: Levels
    """The loggers whose level is another now."""
    why: str = ""
    """Of a reset: what it went back to."""

    @property
    def now(self) -> dict[str, str]:
        """All levels."""
        return {**self.before, **self.asked}


@final
class LevelSession:
    """The levels of one proxy."""

    def __init__(self, client: AdminClient, memory: LevelMemory) -> None:
        self._client = client
        self._memory = memory

    async def read(self) -> dict[str, str]:
        """The present levels, in the proxy's order. Raises AdminError."""
        return self._listing(*await self._post("logging"))

    async def change(self, wanted: Wanted) -> Changed:
        """Set levels. Raises LevelError before anything is changed, AdminError after everything is undone."""
        before = await self.read()
        asked = changes(wanted, before)
        if asked:
            started = _start_of(await self._info())
            known = self._memory.load()
            if known is None or not known.is_of(started):
                known = Remembered(before, started)
                self._memory.save(known)
            await self._apply(asked, before)
            if known.levels == {**before, **asked}:
                self._memory.forget()
        return Changed(before, asked)

    async def reset(self) -> Changed:
        """Back to what was before the first change, or else to what the proxy was started with."""
        before = await self.read()
        info = await self._info()
        known = self._memory.load()
        options = info.get("command_line_options")
        if known is not None and known.is_of(_start_of(info)):
            target, why = known.levels, "as before the first change"
        elif isinstance(options, dict):
            target, why = started_with(options, before), "as it was started"
        else:
            raise AdminError(
                f"nothing is remembered of {self._client.where}, and its /server_info doesn't say how it began"
            )
        asked = {name: level for name, level in target.items() if before.get(name, level) != level}
        if asked:
            await self._apply(asked, before)
        self._memory.forget()
        return Changed(before, asked, why)

    async def put_back(self, changed: Changed) -> None:
        """The changed loggers as they were; the others are nobody's business here. Raises AdminError."""
        asked = {name: changed.before[name] for name in changed.asked}
        for tries_left in reversed(range(limits.PUT_BACK_TRIES)):
            try:
                await self._apply(asked, changed.now, undo=False)
                break
            except AdminError:
                if not tries_left:
                    raise
        known = self._memory.load()
        if known is not None and known.levels == changed.before:
            self._memory.forget()

    async def _apply(self, asked: Levels, current: Levels, *, undo: bool = True) -> None:
        try:
            status, text = await self._post(together(asked, current))
            if status >= 400 and not knows_paths(text):
                for path in one_by_one(asked):
                    status, text = await self._post(path)
                    if status >= 400:
                        break
            listed = self._listing(status, text)
            wrong = [name for name, level in asked.items() if listed.get(name) != level]
            if wrong:
                raise AdminError(f"{self._client.where} did not set {', '.join(wrong[:3])}")
        except BaseException:
            if undo:  # whatever happened, and whoever interrupts it
                with suppress(AdminError):
                    await self._apply({name: current[name] for name in asked}, {**current, **asked}, undo=False)
            raise

    async def _post(self, path: str) -> tuple[int, str]:
        answer = await self._client.request(path, "POST")
        return answer.status, answer.text

    def _listing(self, status: int, text: str) -> dict[str, str]:
        said = (text.strip().splitlines() or [""])[0][:200]
        if status >= 400:
            raise AdminError(f"{self._client.where} answered /logging with {status}: {said or 'nothing'}")
        try:
            return parse_listing(text)
        except ValueError:
            raise AdminError(f"{self._client.where} is no admin API of Envoy's kind: /logging says {said!r}") from None

    async def _info(self) -> Mapping[str, Any]:
        """`/server_info`; empty where there is none."""
        with suppress(AdminError, ValueError):
            answer = await self._client.request("server_info")
            document = json.loads(answer.body)
            if answer.status == 200 and isinstance(document, dict):
                return document
        return _NO_INFO


def _start_of(info: Mapping[str, Any]) -> float | None:
    """When this life of the proxy began, in Unix time."""
    uptime = str(info.get("uptime_current_epoch", "")).removesuffix("s")
    return time.time() - float(uptime) if uptime.isdigit() else None
