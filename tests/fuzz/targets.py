"""What every fuzz target is, and which there are.

A target is a module here with

- `one(data)`: takes any bytes and states what has to hold of them; AssertionError, or anything else that gets out, is
  a finding;
- `SEEDS`: readable examples from which the fuzzer starts, and which tests/fuzz/test_targets.py runs each time;
- `WORDS`: what the fuzzer would take long to invent, for its dictionary.

Its argument alone decides what `one` does: no clock, no randomness, and nothing remembered that could change the next
call.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Protocol, cast

NAMES = (
    "heads",
    "bodies",
    "answers",
    "cookies",
    "state",
    "tokens",
    "paths",
    "formats",
    "configuration",
    "envoyfilters",
    "oauth2_proxy",
    "logs",
)


class Target(Protocol):
    """The shape of those modules."""

    SEEDS: Sequence[bytes]
    WORDS: Sequence[bytes]

    def one(self, data: bytes) -> None:
        """Judge one input."""


def target(name: str) -> Target:
    """The target of that name."""
    return cast(Target, importlib.import_module(f"fuzz.{name}"))


_CUTS = 20


def pieces(data: bytes) -> list[list[bytes]]:
    """The same bytes as a network may deliver them: one by one, and cut in two wherever a reader changes its state."""
    near = {at + offset for at in _ends(data) for offset in (-1, 0, 1, 2, 3)}
    cuts = sorted(at for at in near if 0 < at < len(data))
    cuts = cuts[:: len(cuts) // _CUTS + 1]
    return [[data[i : i + 1] for i in range(len(data))], *([data[:at], data[at:]] for at in cuts)]


def _ends(data: bytes) -> list[int]:
    return [at for at in range(len(data)) if data.startswith((b"\r", b"\n"), at)]
