"""The flight recorder keeps the newest, and never more than its limits."""

from __future__ import annotations

import json
import sys
from typing import Any, cast

import pytest

from ostiary.app.flights import Recorder, load
from ostiary.core.decision import Request
from ostiary.core.flights.note import Note
from ostiary.core.flights.parts import Call
from ostiary.core.trace import Attempt, ConnectTrace
from ostiary.model import limits
from ostiary.model.headers import Headers
from ostiary.net.exchange import Exchange


class _Exchange:
    """What the recorder looks at."""

    started = 100.0
    method = b"GET"
    request_id = b"r1"

    def __init__(self, agent: str = "browser") -> None:
        self.request_headers = Request(
            method="GET",
            target="/x?secret=1",
            path="/x",
            query="secret=1",
            scheme="https",
            authority="app.example",
            headers=Headers([("user-agent", agent), ("cookie", "session=secret")]),
            client="203.0.113.9",
        )


def note(recorder: Recorder, kind: str = "departure", flight: str = "f", **rest: Any) -> None:
    told = Note(kind=kind, flight=flight, outcome="away", **rest)  # type: ignore[arg-type]
    recorder.note(cast(Exchange, _Exchange(rest.pop("agent", "x" * 9999))), told, 302, "ostiary")


def kept(recorder: Recorder) -> list[str]:
    (recorded,) = load([json.loads(json.dumps(recorder.export()))])
    return [part.flight for part in recorded.parts]


def test_the_newest_are_kept_and_no_kind_pushes_out_another() -> None:
    recorder = Recorder()
    note(recorder, "arrival", "callback")
    for number in range(limits.MAX_FLIGHTS + 50):
        note(recorder, "departure", f"d{number}")
        note(recorder, "access", f"a{number}")
    flights = kept(recorder)
    assert "callback" in flights and "d49" not in flights and f"d{limits.MAX_FLIGHTS + 49}" in flights
    assert len(flights) == 1 + limits.MAX_FLIGHTS + limits.MAX_SIDE_FLIGHTS


def test_large_flights_are_bounded_by_their_bytes() -> None:
    trace = ConnectTrace(target="t" * 120, started=1.0, ended=2.0)
    trace.attempts = [Attempt(address="2001:db8::" + "1" * 20, port=443, family="v6", message="m" * 200)] * 24
    call = Call(purpose="token", method="POST", url="u", started=1.0, ended=2.0, connects=(trace,) * 4)
    recorder = Recorder()
    for number in range(200):
        note(recorder, "arrival", f"f{number}", calls=(call,) * 5)
    exported = recorder.export()
    assert sum(map(len, exported["parts"])) <= limits.MAX_FLIGHT_BYTES * 4 / 3 + 4 * limits.MAX_FLIGHTS
    assert 0 < len(exported["parts"]) < 200 and kept(recorder)[-1] == "f199"


def test_a_flood_of_one_failure_is_one_entry_and_causes_are_bounded() -> None:
    recorder = Recorder()
    for number in range(3 * limits.MAX_UNREACHABLE):
        for error in ("refused", f"odd {number}"):
            recorder.connect_failed("app", ConnectTrace(target="app:80", started=1.0, ended=1.1, error=error))
    (recorded,) = load([recorder.export()])
    assert len(recorded.unreachable) == limits.MAX_UNREACHABLE
    counts = {cause.error: cause.count for cause in recorded.unreachable}
    assert counts["refused"] == 3 * limits.MAX_UNREACHABLE and counts[f"odd {3 * limits.MAX_UNREACHABLE - 1}"] == 1


def test_what_is_written_down_of_a_request() -> None:
    recorder = Recorder(7)
    note(recorder, asked="/page?token=secret", user="ada@example.com")
    exported = recorder.export()
    (recorded,) = load([exported])
    (part,) = recorded.parts
    assert (part.path, part.asked, part.client, part.host, part.worker, part.user) == (
        "/x", "/page", "203.0.113.9", "app.example", 7, "ada@example.com",
    )  # fmt: skip
    assert len(part.agent) == limits.MAX_FLIGHT_TEXT and "secret" not in repr(part)


def test_users_can_be_left_out_and_a_worker_that_did_not_answer_is() -> None:
    recorder = Recorder(with_users=False)
    note(recorder, user="ada@example.com")
    (recorded,) = load([recorder.export(), None])
    assert recorded.parts[0].user == ""


@pytest.mark.parametrize("most", [0, 1, 3])
def test_no_more_than_asked_for_is_exported(most: int) -> None:
    recorder = Recorder()
    for number in range(5):
        note(recorder, flight=f"f{number}")
    (recorded,) = load([recorder.export(most)])
    assert [part.flight for part in recorded.parts] == [f"f{number}" for number in range(5 - most, 5)]
    (recorded,) = load([recorder.export(flight="f3")])
    assert [part.flight for part in recorded.parts] == ["f3"]


def test_a_process_that_records_nothing_imports_nothing() -> None:
    import subprocess

    code = "import sys, ostiary.app.lifecycle; print([m for m in sys.modules if m.startswith('ostiary.core.flights')])"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "['ostiary.core.flights', 'ostiary.core.flights.note']"
