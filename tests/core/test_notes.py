from __future__ import annotations

import pytest

from core.connections import SERVER, V4, V6, attempt, query, trace
from ostiary.core.notes import attempt_label, attempt_note, query_label, query_note, query_outcome


def test_a_name_is_said_when_it_does_not_follow_from_the_target() -> None:
    found = trace(1, [], [])
    assert query_label(query("A", 1, V4), found) == SERVER
    searched = query("A", 1, V4)
    searched.name = "login.example.corp."
    assert query_label(searched, found) == f"login.example.corp. at {SERVER}"
    https = query("HTTPS", 1)
    https.name = "_8443._https.login.example."
    assert query_label(https, found) == SERVER


def test_no_https_record_is_nothing_bad() -> None:
    absent = query("HTTPS", 1, outcome="nxdomain")
    assert (query_outcome(absent), query_note(absent)) == ("empty", "no such record")
    assert query_outcome(query("A", 1, outcome="nxdomain")) == "nxdomain"


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (query("A", 1, V4, "192.0.2.8"), "192.0.2.7, 192.0.2.8"),
        (query("A", 1), "no such record"),
        (query("A", None, outcome="pending"), "no answer by then"),
        (query("A", 1, outcome="failed", message="not a host name"), "not a host name"),
    ],
)
def test_how_a_query_ended(found: object, words: str) -> None:
    assert query_note(found) == words  # type: ignore[arg-type]


def test_how_an_attempt_ended() -> None:
    assert attempt_note(attempt(V6, 0, 1, "cancelled")) == "no answer by then"
    assert attempt_note(attempt(V6, 0, 1, "cancelled", stage="tls")) == "TLS not done by then"
    assert attempt_note(attempt(V6, None, None, "not_started", message="no route")) == "not tried: no route"
    assert attempt_note(attempt(V6, 0, 1, "failed", errno="EPERM", message="forbidden")) == "EPERM: forbidden"
    assert attempt_note(attempt(V6, 0, 1, "timeout", message="no answer")) == "no answer"


def test_a_port_is_said_when_it_is_not_the_targets() -> None:
    found, other = trace(1, [], []), attempt(V6, 0, 1)
    assert attempt_label(other, found) == V6
    other.port = 8443
    assert attempt_label(other, found) == f"[{V6}]:8443"
