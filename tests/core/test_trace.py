from __future__ import annotations

import json

from ostiary.core.trace import Attempt, ConnectTrace, DnsQuery, Tls


def test_the_json_form_is_the_documented_one() -> None:
    trace = ConnectTrace(target="login.example:443", started=100.0, ended=100.0124)
    trace.dns.append(
        DnsQuery(name="login.example.", type="AAAA", server="10.77.0.1:53", started=100.0001, ended=100.0012,
                 rcode="NOERROR", ttl=30, answers=("2606:4700::6810:a016",), outcome="answered")
    )  # fmt: skip
    trace.attempts.append(
        Attempt(address="2606:4700::6810:a016", port=443, family="v6", started=100.0013, ended=100.0014,
                stage="route", outcome="failed", errno="ENETUNREACH", message="Network is unreachable")
    )  # fmt: skip
    winner = Attempt(address="20.190.151.7", port=443, family="v4", started=100.002, ended=100.012, outcome="won")
    trace.attempts.append(winner)
    trace.winner = winner
    trace.tls = Tls(version="TLSv1.3", sni="login.example", alpn="http/1.1", peer="CN=login.example",
                    not_after="2027-01-01T00:00:00Z", verified=True)  # fmt: skip
    trace.summary = "Connected."
    document = json.loads(json.dumps(trace.as_dict()))
    assert document["elapsed_ms"] == 12.4
    assert document["winner"] == {"address": "20.190.151.7", "port": 443, "family": "v4"}
    assert document["dns"] == [
        {
            "name": "login.example.", "type": "AAAA", "server": "10.77.0.1:53", "started_ms": 0.1, "ended_ms": 1.2,
            "rcode": "NOERROR", "ttl": 30, "answers": ["2606:4700::6810:a016"], "outcome": "answered",
        }
    ]  # fmt: skip
    assert document["attempts"][0] == {
        "address": "2606:4700::6810:a016", "port": 443, "family": "v6", "source": None, "started_ms": 1.3,
        "ended_ms": 1.4, "stage": "route", "outcome": "failed", "errno": "ENETUNREACH",
        "message": "Network is unreachable",
    }  # fmt: skip
    assert document["tls"] == {
        "version": "TLSv1.3", "sni": "login.example", "alpn": "http/1.1", "peer": "CN=login.example",
        "not_after": "2027-01-01T00:00:00Z", "verified": True,
    }  # fmt: skip
    assert (document["ok"], document["error"], document["summary"]) == (True, None, "Connected.")


def test_what_has_not_ended_has_no_end_and_what_began_earlier_begins_at_zero() -> None:
    trace = ConnectTrace(target="x:1", started=10.0)
    trace.dns.append(DnsQuery(name="x.", type="A", server="10.0.0.1:53", started=9.0))
    query = trace.as_dict()["dns"][0]
    assert (query["started_ms"], query["ended_ms"], query["outcome"]) == (0.0, None, "pending")
