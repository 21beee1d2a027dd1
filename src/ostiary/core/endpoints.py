"""What DNS has said so far, as endpoints to try: addresses of the name itself, and of services of its HTTPS records.

Hints of a record are answers until its target has some; they stay if there are none. A second answer of one type
replaces the first. The name's own addresses are the last group.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ostiary.core.addresses import (
    TYPE_OF_FAMILY,
    Candidate,
    Destination,
    Family,
    RecordType,
    fallback_lookup,
    first_lookups,
)
from ostiary.model import limits
from ostiary.model.clusters import DnsLookupFamily


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service of an HTTPS record; they come best first."""

    target: str = ""
    """Whose addresses it has; empty: the race's own name."""
    port: int | None = None
    """None: the race's own."""
    hints: tuple[Candidate, ...] = ()


class Answered(NamedTuple):
    """A query has ended, or has an answer that a better one may replace."""

    type: RecordType
    candidates: Sequence[Candidate] = ()
    """None: the answer was empty, negative or an error."""
    name: str = ""
    """As in the query."""
    final: bool = True
    """False: the query goes on (an expired answer, while the servers are asked)."""
    services: Sequence[Service] = ()
    alias: str | None = None
    """HTTPS: the services are those of this name."""


Question = tuple[str, RecordType]
"""Name (empty: the race's own) and type."""


class Endpoints:
    """Names, the answers to what was asked about them, and the list that follows."""

    __slots__ = ("_found", "_services", "_types", "_unasked", "pending")

    def __init__(self, family: DnsLookupFamily) -> None:
        self._types = first_lookups(family)
        self._unasked = fallback_lookup(family)
        """Asked for when there is no address of the first type."""
        self._found: dict[Question, Sequence[Candidate]] = {}
        self._services: Sequence[Service] = ()
        self.pending: set[Question] = set()
        """Asked and not answered."""

    def begin(self, *, service_records: bool) -> list[Question]:
        """What to ask for first."""
        return self._ask("", ("HTTPS", *self._types) if service_records else self._types)

    def given(self, candidates: Sequence[Candidate]) -> None:
        """Ready addresses instead of any question."""
        self._found["", "A"] = candidates

    def take(self, answered: Answered) -> list[Question]:
        """Take in an answer; gives back what to ask for now."""
        key = (answered.name, answered.type)
        if answered.final:
            self.pending.discard(key)
        if answered.type != "HTTPS":
            self._found[key] = answered.candidates
            return []
        self._found[key] = ()
        if answered.alias is not None:
            self._services = (Service(target=answered.alias),)
            followed = sum(record_type == "HTTPS" for _, record_type in self._found)
            types = ("HTTPS", *self._types) if followed <= limits.MAX_SERVICE_ALIASES else self._types
            return self._ask(answered.alias, types)
        if answered.services:
            self._services = answered.services
        return [question for service in self._services for question in self._ask(service.target, self._types)]

    def fallback(self) -> list[Question]:
        """There is no address: what the lookup family says to ask for then."""
        if self._unasked is None or self.required:
            return []
        unasked, self._unasked = self._unasked, None
        self._types = (*self._types, unasked)
        names = dict.fromkeys(("", *(service.target for service in self._services)))
        return [question for name in names for question in self._ask(name, (unasked,))]

    @property
    def required(self) -> bool:
        """Whether addresses of the race's own name may still come: nothing ends without them."""
        return any(not name and record_type != "HTTPS" for name, record_type in self.pending)

    def undecided(self, known: Iterable[Candidate], preferred: Family) -> bool:
        """Whether an answer that is still to come may decide who is first: addresses without a route don't."""
        pending = self.pending
        if not pending:
            return False
        if any(record_type == "HTTPS" for _, record_type in pending):
            return True
        target = self._services[0].target if self._services else ""
        families = {c.destination.family for c in known if c.group == 0 and c.routable}
        if not families:
            return any(name == target for name, _ in pending)
        return preferred not in families and (target, TYPE_OF_FAMILY[preferred]) in pending

    def candidates(self) -> dict[Destination, Candidate]:
        """All endpoints, each in the best of its groups."""
        last = len(self._services)
        listed: dict[Destination, Candidate] = {}
        for group, service in enumerate(self._services):
            for known in self._addresses(service):
                there = Destination(known.destination.address, service.port or known.destination.port)
                listed.setdefault(there, known._replace(destination=there, group=group))
        for (name, _), found in self._found.items():
            for candidate in () if name else found:
                listed.setdefault(candidate.destination, candidate._replace(group=last) if last else candidate)
        return listed

    def _addresses(self, service: Service) -> list[Candidate]:
        found: list[Candidate] = []
        for record_type in self._types:
            hints = [hint for hint in service.hints if TYPE_OF_FAMILY[hint.destination.family] == record_type]
            found += self._found.get((service.target, record_type)) or hints
        return found

    def _ask(self, name: str, types: Iterable[RecordType]) -> list[Question]:
        asked = [(name, t) for t in types if (name, t) not in self.pending and (name, t) not in self._found]
        self.pending.update(asked)
        return asked
