"""Verdicts on one token: each provider of jwt_authn gives its own, and one that knows the token is enough."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import final

from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.logs.recent import Recent
from ostiary.doctor.logs.record import Record


@final
class Tokens:
    """Refusals that wait for the verdict of all, by the thread that checks."""

    def __init__(self) -> None:
        self._waiting: Recent[tuple[str, str], dict[str, Fact]] = Recent()

    def refused_by(self, record: Record, provider: str, fact: Fact) -> Iterator[Fact]:
        """One provider's refusal. What waits is told if this one has spoken already: it is another token's turn."""
        key = (record.place, record.thread)
        waiting = self._waiting.get(key, {})
        if provider in waiting:
            yield from waiting.values()
            waiting = {}
        self._waiting[key] = {**waiting, provider: fact}

    def refused(self, record: Record) -> Iterable[Fact]:
        """All of them refused it."""
        return self._waiting.pop((record.place, record.thread), {}).values()

    def accepted(self, record: Record) -> None:
        """One of them knows it: that others don't is nothing wrong."""
        self._waiting.pop((record.place, record.thread), None)

    def finish(self) -> Iterator[Fact]:
        """Older Envoys give no verdict of all."""
        for waiting in self._waiting.values():
            yield from waiting.values()
