"""Which host of a cluster takes the next request, as Envoy's load balancers choose.

Hosts stand in priorities. The first one takes everything as long as enough of it is healthy: with the overprovisioning
factor of 1.4, that is 72 %. What it can't take goes to the next. Where fewer hosts than the panic threshold are
healthy, health is not looked at any more: a health check that is wrong about everybody must not end the service.

ROUND_ROBIN and LEAST_REQUEST with different weights choose by earliest deadline (EDF): every host has a deadline, the
next pick is the earliest, and its next one is 1/weight later. LEAST_REQUEST with equal weights takes the less busy one
of `choice_count` hosts chosen at random. RANDOM knows no weights. Localities play no part, as in an Envoy that has no
cluster of its own.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar, final

from ostiary.model.clusters import LbPolicy, LoadBalancing

_ALL: Final = 100


class Member(Protocol):
    """A host, as far as balancing is concerned."""

    weight: int
    priority: int

    @property
    def excluded(self) -> bool:
        """Not counted at all, neither as healthy nor as a host."""

    @property
    def healthy(self) -> bool:
        """Whether it may get requests."""

    @property
    def busy(self) -> int:
        """Requests that run on it."""


H = TypeVar("H", bound=Member)


def priority_loads(
    healthy: Sequence[int], total: Sequence[int], everyone: Sequence[int], factor: int, panic: float
) -> tuple[list[int], list[bool]]:
    """(percent of the load, whether it panics) of each priority. `total` leaves out what is excluded."""
    health = [min(_ALL, factor * h // t) if t else 0 for h, t in zip(healthy, total, strict=True)]
    available = min(_ALL, sum(health))
    loads = [0] * len(health)
    if available:
        left = _ALL
        for index, each in enumerate(health):
            loads[index] = min(left, each * _ALL // available)
            left -= loads[index]
        loads[next(index for index, load in enumerate(loads) if load)] += left
    if panic == 0 and available == 0:
        loads[0] = _ALL
        return loads, [False] * len(loads)
    panics = [available < _ALL and (_ALL * h / t if t else 0.0) < panic for h, t in zip(healthy, total, strict=True)]
    if all(panics):
        loads = _by_size(everyone)
    return loads, panics


def _by_size(total: Sequence[int]) -> list[int]:
    """Where everything panics, the number of hosts decides."""
    hosts = sum(total)
    if not hosts:
        return [_ALL, *[0] * (len(total) - 1)]
    loads = [_ALL * each // hosts for each in total]
    loads[next(index for index, each in enumerate(total) if each)] += _ALL - sum(loads)
    return loads


@final
class Deadlines(Generic[H]):
    """Earliest deadline first."""

    __slots__ = ("_heap", "_number", "_weight")

    def __init__(self, hosts: Sequence[H], weight: Callable[[H], float], skip: int) -> None:
        self._weight = weight
        self._heap = [(1.0 / weight(host), number, host) for number, host in enumerate(hosts)]
        heapq.heapify(self._heap)
        self._number = len(hosts)
        for _ in range(skip):
            self.pick()

    def pick(self) -> H:
        """The next host."""
        deadline, _, host = self._heap[0]
        self._number += 1
        heapq.heapreplace(self._heap, (deadline + 1.0 / self._weight(host), self._number, host))
        return host


@final
class _Chooser(Generic[H]):
    """One policy over one list of hosts."""

    __slots__ = ("_bias", "_choices", "_deadlines", "_full", "_hosts", "_next", "_policy", "_random")

    def __init__(
        self, hosts: Sequence[H], policy: LbPolicy, config: LoadBalancing, random: Callable[[], float]
    ) -> None:
        self._hosts = hosts
        self._policy = policy
        self._random = random
        self._choices = config.choice_count
        self._full = config.full_scan
        self._bias = config.active_request_bias
        self._next = int(random() * len(hosts)) if hosts else 0
        self._deadlines: Deadlines[H] | None = None
        if policy != "RANDOM" and len({host.weight for host in hosts}) > 1:
            weight = self._dynamic if policy == "LEAST_REQUEST" else _static
            self._deadlines = Deadlines(hosts, weight, self._next)

    def _dynamic(self, host: H) -> float:
        return float(host.weight / (host.busy + 1) ** self._bias)

    def pick(self) -> H | None:
        hosts = self._hosts
        if not hosts:
            return None
        if self._deadlines is not None:
            return self._deadlines.pick()
        count = len(hosts)
        if self._policy == "ROUND_ROBIN":
            self._next = (self._next + 1) % count
            return hosts[self._next]
        if self._policy == "RANDOM":
            return hosts[int(self._random() * count)]
        return self._least(hosts, count)

    def _least(self, hosts: Sequence[H], count: int) -> H:
        if self._full:
            return min(hosts, key=_busy_of)
        best = hosts[int(self._random() * count)]
        for _ in range(self._choices - 1):
            other = hosts[int(self._random() * count)]
            if other.busy < best.busy:
                best = other
        return best


def _static(host: Member) -> float:
    return float(host.weight)


def _busy_of(host: Member) -> int:
    return host.busy


@final
class Balancer(Generic[H]):
    """Chooses among the hosts of one cluster. `update` it whenever hosts come, go, or change their health."""

    __slots__ = ("_choosers", "_config", "_loads", "_panics", "_policy", "_random", "panicked", "single")

    def __init__(self, policy: LbPolicy, config: LoadBalancing, random: Callable[[], float]) -> None:
        """`random` gives floats in [0, 1)."""
        self._policy: LbPolicy = policy
        self._config = config
        self._random = random
        self._choosers: list[_Chooser[H]] = []
        self._loads: list[int] = []
        self._panics: list[bool] = []
        self.single: H | None = None
        """Who takes everything, where there is nothing to choose: then nobody need ask `pick`."""
        self.panicked = 0
        """Picks that did not look at health."""

    def update(self, hosts: Sequence[H]) -> None:
        """These are the hosts now."""
        count = max((host.priority for host in hosts), default=0) + 1
        levels = [[host for host in hosts if host.priority == level] for level in range(count)]
        usable = [[host for host in level if host.healthy and not host.excluded] for level in levels]
        counted = [sum(not host.excluded for host in level) for level in levels]
        self._loads, self._panics = priority_loads(
            [len(level) for level in usable],
            counted,
            [len(level) for level in levels],
            self._config.overprovisioning_factor,
            self._config.healthy_panic_threshold,
        )
        self._choosers = [
            _Chooser(everyone if panics else good, self._policy, self._config, self._random)
            for everyone, good, panics in zip(levels, usable, self._panics, strict=True)
        ]
        loaded = [index for index, load in enumerate(self._loads) if load]
        only = usable[loaded[0]] if len(loaded) == 1 and not self._panics[loaded[0]] else []
        self.single = only[0] if len(only) == 1 else None

    def pick(self) -> H | None:
        """The host for the next request; None if there is none."""
        level = 0
        if len(self._loads) > 1:
            point = int(self._random() * _ALL)
            for level, load in enumerate(self._loads):  # noqa: B007 - the last one is what is left
                if point < load:
                    break
                point -= load
        if not self._choosers:
            return None
        if self._panics[level]:
            self.panicked += 1
        return self._choosers[level].pick()
