"""Failures that a sign-in outlived: a log is long, and what was broken in the morning may be mended by now.

Only if nobody had signed in before: what fails between two successes fails now and then, which is another thing. And
only for what everybody's sign-in needs, the way to the provider and its answer; a lost cookie is one browser's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from ostiary.doctor.facts.connection import Attempted, ConnectFailed, NoHealthyHost, Overflowed
from ostiary.doctor.facts.dns import ResolutionFailed
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.provider import Answered, FetchFailed, NotAnswered, ProtocolMismatch, TokensMissing
from ostiary.doctor.facts.signin import SignedIn, SignInFailed
from ostiary.doctor.facts.tls import HandshakeFailed

_EVERYBODY_S: Final = (
    Answered, Attempted, ConnectFailed, FetchFailed, HandshakeFailed, NoHealthyHost, NotAnswered, Overflowed,
    ProtocolMismatch, ResolutionFailed, TokensMissing,
)  # fmt: skip
_TIME: Final = re.compile(r"(\d{4})[-/](\d\d)[-/](\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?")


def outlived(facts: Sequence[Fact]) -> list[Fact]:
    """The facts of one log, those marked that were over before somebody signed in for the first time."""
    times = [when for fact in facts if isinstance(fact, SignedIn) if (when := _moment(fact.origin.when))]
    if not times:
        return list(facts)
    first = min(times)
    return [_marked(fact, first) if _matters(fact) else fact for fact in facts]


def _marked(fact: Fact, first: str) -> Fact:
    last = _moment(fact.origin.until or fact.origin.when)
    if not last or last >= first:
        return fact
    return replace(fact, origin=replace(fact.origin, outlived=True))


def _matters(fact: Fact) -> bool:
    return isinstance(fact, _EVERYBODY_S) or (isinstance(fact, SignInFailed) and fact.step == "token-exchange")


def _moment(when: str) -> str:
    """A time that can be compared as text; empty if it has no date."""
    found = _TIME.search(when)
    return "".join(found.groups("")[:6]) + (found[7] or "").ljust(9, "0") if found is not None else ""
