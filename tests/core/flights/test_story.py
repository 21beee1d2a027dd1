"""From parts of any worker to flights: what belongs together, what it came to, what is found."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from ostiary.core.flights.document import flight_document, list_document, steps
from ostiary.core.flights.parts import Call, Part, Unreachable
from ostiary.core.flights.story import Flight, Query, Recorded, assemble
from ostiary.core.trace import Attempt, ConnectTrace
from ostiary.model import limits

NOW = 1_800_000_000.0


def part(kind: str, outcome: str, at: float = 0.0, **rest: Any) -> Part:
    rest = {"flight": "f1", "seconds": 0.01, "path": "/report", "method": "GET", **rest}
    return Part(kind=kind, outcome=outcome, at=NOW + at, clock=100.0 + at, **rest)  # type: ignore[arg-type]


def departure(at: float = 0.0, **rest: Any) -> Part:
    return part("departure", "away", at, worker=1, asked="/report", **rest)


def arrival(at: float = 20.0, outcome: str = "signed-in", **rest: Any) -> Part:
    return part("arrival", outcome, at, **{"worker": 2, "user": "ada@example.com", **rest})


def one(*parts: Part, now: float = NOW + 30) -> Flight:
    (flight,) = assemble([Recorded(parts)], now)
    return flight


def unreachable(count: int = 1, first: float = 0.0, last: float = 0.0, error: str = "refused") -> Unreachable:
    trace = ConnectTrace(target="app:80", started=1.0, ended=1.1, error=error)
    trace.attempts = [Attempt(address="10.0.0.1", port=80, family="v4", started=1.0, ended=1.1, outcome="failed",
                              errno="ECONNREFUSED", message="refused")]  # fmt: skip
    times = {"first": NOW + first, "last": NOW + last}
    return Unreachable(cluster="app", target="app:80", error=error, count=count, trace=trace, **times)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_halves_of_different_workers_are_one_flight(order: tuple[int, ...]) -> None:
    parts = [departure(), arrival(), arrival(21.0)]
    (flight,) = assemble([Recorded([parts[n]]) for n in order], NOW + 30)
    assert (flight.outcome, flight.kind, flight.user, flight.path) == (
        "signed-in", "sign-in", "ada@example.com", "/report",
    )  # fmt: skip
    assert flight.away_ms == pytest.approx(19_990)
    assert [step["step"] for step in steps(flight)] == ["redirect", "away", "callback", "callback"]
    assert "20 s at the provider" in flight.summary


@pytest.mark.parametrize(("age", "outcome"), [(5.0, "away"), (limits.FLOW_LIFETIME + 1, "abandoned")])
def test_who_does_not_come_back_is_away_and_then_gone(age: float, outcome: str) -> None:
    flight = one(departure(), now=NOW + age)
    assert (flight.outcome, flight.ended, flight.away_ms) == (outcome, None, None)
    assert flight_document(flight)["duration_ms"] is None


def test_a_callback_whose_redirect_was_forgotten_knows_when_it_was() -> None:
    flight = one(arrival(20.0, left_at=NOW))
    assert flight.away_ms == pytest.approx(20_000) and flight.started == NOW
    assert [(step["step"], step.get("started_ms")) for step in steps(flight)] == [("away", 0.0), ("callback", 20_000.0)]


def test_a_reload_after_success_does_not_make_it_a_failure() -> None:
    assert one(departure(), arrival(), arrival(25.0, "failed", code="grant-rejected")).outcome == "signed-in"
    assert one(departure(), arrival(20.0, "failed", code="idp-timeout"), arrival(25.0)).outcome == "signed-in"


def test_a_lost_cookie_is_told_by_the_flight_that_lost_it() -> None:
    again = departure(20.0, flight="f2", restart_of="f1", reason="the callback came without its cookie")
    found = assemble([Recorded([departure()]), Recorded([again])], NOW + 30)
    first, second = sorted(found, key=lambda flight: flight.id)
    assert (first.outcome, first.id, second.outcome, second.id) == ("restarted", "f1", "away", "f2")
    assert first.away_ms == pytest.approx(19_990)


def test_a_failure_says_what_and_what_to_do() -> None:
    call = Call(purpose="token", method="POST", url="https://idp/token", started=120.001, ended=120.009, status=400,
                error="invalid_client", error_description="wrong secret")  # fmt: skip
    flight = one(departure(), arrival(20.0, "failed", code="client-rejected", reason="it said no", calls=(call,)))
    assert flight.summary == "The sign-in failed when the browser came back: it said no."
    assert any("client_id" in step for step in flight.mends)
    found = list(steps(flight))[-1]
    assert (found["purpose"], found["error"], found["started_ms"], found["ended_ms"]) == (
        "token", "invalid_client", 20_001.0, 20_009.0,
    )  # fmt: skip


def test_failed_connects_are_counted_over_workers() -> None:
    recorded = [Recorded((), [unreachable(3, -9, -5)]), Recorded((), [unreachable(4, -7, -1), unreachable(error="x")])]
    documents = sorted((flight_document(flight) for flight in assemble(recorded, NOW)), key=lambda each: each["count"])
    assert [each["count"] for each in documents] == [1, 7]
    document = documents[1]
    assert (document["count"], document["outcome"], document["started"]) == (
        7,
        "unreachable",
        "2027-01-15T07:59:51.000Z",
    )
    assert document["connection"]["attempts"][0]["errno"] == "ECONNREFUSED"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (Query(), "f1 f2 f3 app"),
        (Query(outcome="problem"), "f2 f3 app"),
        (Query(outcome="signed-in"), "f1"),
        (Query(outcome="connect"), "app"),
        (Query(outcome="access"), "f3"),
        (Query(code="F2"), "f2"),
        (Query(code="grant-rejected"), "f2"),
        (Query(text="ADA@"), "f1"),
        (Query(text="app:80"), "app"),
        (Query(text="10.1.2.3"), "f3"),
        (Query(since=NOW + 30), "f3"),
        (Query(outcome="failed", text="nobody"), ""),
    ],
)
def test_what_is_looked_for_is_found(query: Query, found: str) -> None:
    parts = [
        departure(), arrival(),
        arrival(25.0, "failed", flight="f2", user="", code="grant-rejected"),
        part("access", "denied", 40.0, flight="f3", client="10.1.2.3", code="access-denied"),
    ]  # fmt: skip
    flights = assemble([Recorded(parts, [unreachable()])], NOW + 50)
    names = {flight.id if flight.unreachable is None else "app" for flight in flights if query.matches(flight)}
    assert names == set(found.split())


def test_the_newest_come_first_and_no_more_than_asked_for() -> None:
    flights = assemble([Recorded([departure(n, flight=f"f{n}") for n in range(9)])], NOW + 50)
    document = list_document(flights, Query(limit=3), NOW, total=9, workers=2)
    assert [each["id"] for each in document["flights"]] == ["f8", "f7", "f6"]
    assert (document["matching"], document["total"], document["workers"]) == (9, 9, 2)
