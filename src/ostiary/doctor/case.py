"""Everything known about one case: facts by their type, in the order in which they were found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar, final

from ostiary.doctor.facts.origin import Fact

F = TypeVar("F", bound=Fact)


@final
class Case:
    """The facts of one case."""

    __slots__ = ("_by_type",)

    def __init__(self, facts: Iterable[Fact] = ()) -> None:
        self._by_type: dict[type[Fact], list[Fact]] = {}
        for fact in facts:
            self.add(fact)

    def add(self, fact: Fact) -> None:
        """One more fact."""
        self._by_type.setdefault(type(fact), []).append(fact)

    def all(self, kind: type[F]) -> list[F]:
        """Facts of this very type, in order."""
        return self._by_type.get(kind, [])  # type: ignore[return-value] # filed under its own type

    def first(self, kind: type[F], fits: Callable[[F], bool] = lambda _: True) -> F | None:
        """The first fact of this type that fits, or None."""
        return next((fact for fact in self.all(kind) if fits(fact)), None)

    def without(self, leave_out: Callable[[Fact], bool]) -> Case:
        """The same without some facts."""
        return Case(fact for facts in self._by_type.values() for fact in facts if not leave_out(fact))

    def kinds(self) -> list[type[Fact]]:
        """The types of which there are facts."""
        return list(self._by_type)

    def __len__(self) -> int:
        return sum(map(len, self._by_type.values()))
