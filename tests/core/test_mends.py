from __future__ import annotations

import pytest

from core.connections import V4, V6, attempt, dead_v6, query, trace
from ostiary.core.mends import mends, split


def test_a_connection_needs_no_mend() -> None:
    assert mends(dead_v6()) == ()


def test_the_lookup_family_that_kept_the_working_addresses_out_is_the_mend() -> None:
    found = trace(
        2,
        [query("AAAA", 1, V6)],
        [attempt(V6, 1, 2, "failed", stage="route", errno="ENETUNREACH", message="Network is unreachable")],
        dns_lookup_family="AUTO",
        other_family=(V4,),
    )
    assert mends(found)[0].startswith("set dns_lookup_family: ALL")
    sentence, named = split(found.summary)
    assert "Mend" not in sentence and sentence.endswith("because a connection failed.")
    assert named == mends(found)


@pytest.mark.parametrize(
    ("told", "step"),
    [
        ({"errno": "ECONNREFUSED", "message": "Connection refused"}, "runs and listens"),
        ({"stage": "route", "errno": "ENETUNREACH", "message": "Network is unreachable"}, "ip -6 route"),
        ({"stage": "tls", "errno": "CERTIFICATE_VERIFY_FAILED", "message": "self-signed certificate"}, "--ca FILE"),
        ({"stage": "tls", "errno": "CERTIFICATE_VERIFY_FAILED", "message": "Hostname mismatch, for 'x'"}, "--sni"),
        ({"stage": "tls", "errno": "CERTIFICATE_VERIFY_FAILED", "message": "certificate has expired"}, "renew"),
        ({"stage": "tls", "errno": "WRONG_VERSION_NUMBER", "message": "wrong version number"}, "--no-tls"),
    ],
)
def test_every_kind_of_failure_has_a_next_step(told: dict[str, str], step: str) -> None:
    (found,) = mends(trace(2, [query("AAAA", 1, V6)], [attempt(V6, 1, 2, "failed", **told)]))
    assert step in found


def test_silence_has_one_too() -> None:
    silent = trace(900, [query("A", 1, V4)], [attempt(V4, 1, 900, "timeout", message="no answer")])
    assert "firewall that drops" in mends(silent)[0]
    silent = trace(900, [query("A", 1, V4)], [attempt(V4, 1, 900, "timeout", stage="tls", message="no end")])
    assert "TCP works" in mends(silent)[0]


@pytest.mark.parametrize(
    ("outcome", "step"),
    [("timeout", "UDP and TCP 53"), ("nxdomain", "spelling"), ("failed", "operator"), ("empty", "--dns-lookup-family")],
)
def test_names_that_give_no_address_have_one(outcome: str, step: str) -> None:
    assert step in mends(trace(9, [query("A", 8, outcome=outcome)], []))[0]


def test_what_nobody_knows_has_none() -> None:
    odd = trace(2, [query("A", 1, V4)], [attempt(V4, 1, 2, "failed", errno="ENOTSUP", message="?")])
    assert mends(odd) == ()
