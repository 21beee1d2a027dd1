"""Facts that a running proxy's admin API states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ostiary.doctor.facts.origin import Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class NotReady(Fact):
    """/ready says no."""

    state: str
    """`PRE_INITIALIZING`, `INITIALIZING`, `DRAINING`; `unreachable` where nothing answers."""
    waits_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Warming(Fact):
    """A resource that was asked for and has not arrived or is not usable yet."""

    what: Literal["cluster", "listener", "secret"]
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRejected(Fact):
    """A configuration update that the proxy refused; the one before it serves on."""

    what: Literal["cluster", "listener", "secret", "route"]
    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterCounters(Fact):
    """Counters of one cluster that are not zero, by Envoy's names (`upstream_cx_connect_fail`)."""

    cluster: str
    counters: Mapping[str, int] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    """Addresses that its name resolved to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterCounters(Fact):
    """Counters of the OAuth2 filter (`oauth_failure`)."""

    prefix: str
    counters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceholderKeys(Fact):
    """istiod could not fetch the keys of an issuer and sent a placeholder."""

    issuer: str
