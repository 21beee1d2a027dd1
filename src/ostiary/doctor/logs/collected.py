"""Facts counted: one for each distinct message, with its number and the times of its first and last line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import fields, replace
from functools import cache
from typing import Any, Final, TypeGuard, final

from ostiary.doctor.facts.connection import Attempted, ConnectFailed
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.signin import SignInFailed
from ostiary.doctor.facts.tls import HandshakeFailed
from ostiary.doctor.logs.formats import parse
from ostiary.model import limits

_COOKIES: Final = 5
"""Cookies that can't be opened, from which on something else than a stray client is behind it."""


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind) if each.name != "origin")


def content_of(fact: Fact) -> Hashable:
    """What a fact says, wherever it was said."""
    kind: Any = type(fact)
    return (kind, *(getattr(fact, name) for name in _names(kind)))


@final
class Counted:
    """A distinct fact."""

    __slots__ = ("_latest", "_until", "count", "fact")

    def __init__(self, fact: Fact) -> None:
        self.fact = fact
        self.count = 0
        self._until = ""
        self._latest = b""

    def again(self, when: str) -> None:
        """One more line that says it."""
        self.count += 1
        self._until = when
        self._latest = b""

    def once_more(self, line: bytes) -> None:
        """One more line, which need not be taken apart unless it is the last."""
        self.count += 1
        self._latest = line

    def result(self) -> Fact:
        """The fact of the first line, with the count."""
        if self.count == 1:
            return self.fact
        until = parse(self._latest.decode("utf-8", "replace")).when if self._latest else self._until
        return replace(self.fact, origin=replace(self.fact.origin, count=self.count, until=until))


@final
class Collected:
    """The distinct facts of a log, in the order of their first lines."""

    def __init__(self) -> None:
        self._counted: dict[Hashable, Counted] = {}
        self._kinds: Counter[type[Fact]] = Counter()
        self.left_out = 0
        """Lines whose fact was one too many (`MAX_LOG_FACTS`)."""

    def add(self, fact: Fact) -> Counted | None:
        """One more; None if it was left out."""
        key = content_of(fact)
        counted = self._counted.get(key)
        if counted is None:
            if self._kinds[type(fact)] >= limits.MAX_LOG_FACTS:
                self.left_out += 1
                return None
            self._kinds[type(fact)] += 1
            counted = self._counted[key] = Counted(fact)
        counted.again(fact.origin.when)
        return counted

    def facts(self) -> list[Fact]:
        """All but those that mean nothing beside the others: a failure without a reason where one with a reason is
        told of the same target, and a few cookies that can't be opened (anybody can send such)."""
        facts = [counted.result() for counted in self._counted.values()]
        told = {target for fact in facts if (target := _failed_target(fact)) is not None}
        return [
            fact for fact in facts if not (_says_little(fact) and told & {fact.target, ""}) and not _anybody_s(fact)
        ]


def _failed_target(fact: Fact) -> str | None:
    """Whose connection failed, if the fact says why."""
    match fact:
        case Attempted(outcome="failed" | "timeout") | HandshakeFailed():
            return fact.target
        case ConnectFailed(for_provider=True) if fact.errno:
            return fact.target
    return None


def _anybody_s(fact: Fact) -> bool:
    return isinstance(fact, SignInFailed) and fact.step == "decrypt" and fact.origin.count < _COOKIES


def _says_little(fact: Fact) -> TypeGuard[ConnectFailed]:
    return isinstance(fact, ConnectFailed) and fact.for_provider and not fact.errno
