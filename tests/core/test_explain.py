from __future__ import annotations

import errno

from ostiary.core.explain import error_text, summarize, telling_errno
from ostiary.core.trace import Attempt, ConnectTrace, DnsQuery, Tls

SERVER = "10.0.0.10:53"


def query(record_type: str, outcome: str, *answers: str, rcode: str | None = None) -> DnsQuery:
    return DnsQuery(name="login.example.", type=record_type, server=SERVER, started=0.0, ended=0.001, rcode=rcode,
                    answers=answers, outcome=outcome)  # type: ignore[arg-type] # fmt: skip


def attempt(address: str, outcome: str, name: str | None = None, stage: str = "tcp", message: str = "") -> Attempt:
    return Attempt(address=address, port=443, family="v6" if ":" in address else "v4", started=0.0, ended=0.25,
                   stage=stage, outcome=outcome, errno=name, message=message)  # type: ignore[arg-type] # fmt: skip


def trace(*parts: DnsQuery | Attempt, **more: object) -> ConnectTrace:
    made = ConnectTrace(target="login.example:443", started=0.0, ended=0.3, timeout=5.0, **more)  # type: ignore[arg-type]
    made.dns = [p for p in parts if isinstance(p, DnsQuery)]
    made.attempts = [p for p in parts if isinstance(p, Attempt)]
    made.winner = next((a for a in made.attempts if a.outcome == "won"), None)
    return made


def test_the_incident_in_one_sentence_with_its_mend() -> None:
    incident = trace(
        query("AAAA", "answered", "2606:4700::6810:a016", "2606:4700::6810:a116"),
        attempt("2606:4700::6810:a016", "failed", "ENETUNREACH", "route"),
        attempt("2606:4700::6810:a116", "failed", "ENETUNREACH", "route"),
        dns_lookup_family="AUTO",
        other_family=("20.190.151.7",),
    )
    assert summarize(incident) == (
        "Can't connect to login.example:443: IPv6 failed: this host has no route for it, ENETUNREACH "
        "([2606:4700::6810:a016]:443, [2606:4700::6810:a116]:443). "
        "1 IPv4 address with a route from here (20.190.151.7) was not tried because dns_lookup_family is AUTO: "
        "AUTO takes IPv6 if the name has any, and never falls back because a connection failed. "
        "Mend: set dns_lookup_family: ALL (both families race), or V4_ONLY where IPv6 can't come."
    )
    assert telling_errno(incident) == errno.ENETUNREACH
    assert error_text(incident).startswith("ENETUNREACH")


def test_success_tells_what_was_passed_over() -> None:
    passed = trace(
        query("AAAA", "answered", "2001:db8::1"),
        query("A", "answered", "192.0.2.1"),
        attempt("2001:db8::1", "cancelled"),
        attempt("192.0.2.1", "won", stage="tls"),
        tls=Tls(version="TLSv1.3", sni="login.example", alpn=None, peer="", not_after="", verified=False),
    )
    assert summarize(passed) == (
        "Connected to login.example:443 at 192.0.2.1:443 over IPv4 with TLSv1.3 (the certificate was NOT verified) "
        "in 300 ms. [2001:db8::1]:443 had not answered by then."
    )


def test_a_missing_address_in_the_only_family_asked_for() -> None:
    text = summarize(trace(query("AAAA", "empty"), dns_lookup_family="V6_ONLY", other_family=("192.0.2.1",)))
    assert "login.example. has no IPv6 (AAAA) address" in text
    assert "V6_ONLY asks for IPv6 (AAAA) alone" in text
    assert "Mend: set dns_lookup_family: ALL" in text


def test_dns_failures_name_server_type_and_code() -> None:
    text = summarize(trace(query("AAAA", "failed", rcode="SERVFAIL"), query("A", "pending")))
    assert f"SERVFAIL from {SERVER} (AAAA)" in text
    assert f"the A query for login.example. was not answered by {SERVER}" in text


def test_the_most_telling_failure_is_the_error() -> None:
    refused = attempt("192.0.2.1", "failed", "ECONNREFUSED")
    unreachable = attempt("2001:db8::1", "failed", "ENETUNREACH", "route")
    silent = attempt("192.0.2.2", "timeout")
    untrusted = attempt("192.0.2.3", "failed", "CERTIFICATE_VERIFY_FAILED", "tls", "certificate verify failed: expired")
    assert telling_errno(trace(silent, unreachable, refused)) == errno.ECONNREFUSED
    assert telling_errno(trace(silent, unreachable)) == errno.ENETUNREACH
    assert telling_errno(trace(silent)) is None
    assert error_text(trace(silent)) == "timeout in tcp"
    assert error_text(trace(refused, untrusted)).startswith("CERTIFICATE_VERIFY_FAILED")


def test_addresses_without_a_turn_are_counted() -> None:
    late = trace(attempt("192.0.2.1", "timeout"), attempt("192.0.2.2", "not_started"))
    assert "1 more address had no turn within 5 s." in summarize(late)
