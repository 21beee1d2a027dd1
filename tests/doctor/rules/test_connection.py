"""Causes between an address and a TCP connection: a case, a near miss, and a healthy counterpart for each rule."""

from __future__ import annotations

from dataclasses import replace

import pytest

from doctor.rules.facts import TARGET, V4, V6, attempted, cluster, find, looked_up, names, origin, route
from ostiary.doctor.facts.connection import ConnectFailed, EgressRefused, Overflowed, ProxyVariable
from ostiary.doctor.facts.provider import Answered
from ostiary.doctor.facts.sidecar import ClusterCounters

ALL = cluster(lookup_family="ALL", family_written=True)
OTHER = "20.190.151.8"


def counters(**counted: int) -> ClusterCounters:
    values = {name.replace("__", "."): value for name, value in counted.items()}
    return ClusterCounters(origin=origin(str(values), "admin"), cluster="oauth", counters=values)


def failure(errno: str, *, for_provider: bool = True) -> ConnectFailed:
    return ConnectFailed(origin=origin(errno), target="oauth", errno=errno, for_provider=for_provider)


@pytest.mark.parametrize(
    ("rule", "errno"),
    [
        ("tcp-refused", "ECONNREFUSED"),
        ("tcp-timeout", "ETIMEDOUT"),
        ("tcp-reset", "ECONNRESET"),
        ("no-route", "EACCES"),
    ],
)
class TestErrno:
    def test_an_attempt(self, rule: str, errno: str) -> None:
        (found,) = find(attempted(V4, "failed", errno), ALL)
        sure = "likely" if rule == "no-route" else "certain"
        assert (found.rule, found.confidence, found.severity, found.subject) == (rule, sure, "error", TARGET)

    def test_without_an_address(self, rule: str, errno: str) -> None:
        assert names(failure(errno), ALL) == [rule]

    def test_now_and_then(self, rule: str, errno: str) -> None:
        found = find(attempted(V4, "failed", errno), attempted(OTHER, "connected"), ALL)
        assert [f.severity for f in found] == ([] if rule == "no-route" else ["warning"])

    def test_it_connects(self, rule: str, errno: str) -> None:
        assert names(attempted(V4, "connected"), ALL) == []

    def test_the_application(self, rule: str, errno: str) -> None:
        (found,) = find(failure(errno, for_provider=False))
        assert found.rule == rule
        assert "oauth" in found.title


def test_who_refused() -> None:
    (found,) = find(attempted(V4, "failed", "ECONNREFUSED", refused_by="10.0.0.1"))
    assert "10.0.0.1" in found.cause


def test_a_timeout_that_only_counters_tell() -> None:
    assert names(counters(upstream_cx_connect_fail=2, upstream_cx_connect_timeout=2)) == ["tcp-timeout"]
    assert names(counters(upstream_cx_total=2)) == []


def test_both_families_without_a_route() -> None:
    failed = (attempted(V6, "failed", "ENETUNREACH"), attempted(V4, "failed", "ENETUNREACH"))
    (found,) = find(*failed, ALL)
    assert (found.rule, found.confidence) == ("no-route", "certain")


def test_counters_of_a_cluster_with_ipv6_addresses_only() -> None:
    seen = ClusterCounters(origin=origin("connect_fail"), cluster="oauth", counters={"upstream_cx_connect_fail": 3},
                           hosts=(f"[{V6}]:443",))  # fmt: skip
    assert names(seen, cluster()) == ["dns-family-unreachable"]
    tls = ClusterCounters(origin=origin("connect_fail"), cluster="oauth", hosts=(f"[{V6}]:443",),
                          counters={"upstream_cx_connect_fail": 3, "ssl.connection_error": 3})  # fmt: skip
    assert "dns-family-unreachable" not in names(tls, cluster())


class TestRaceImpossible:
    STRICT = cluster(type="STRICT_DNS", lookup_family="ALL", family_written=True)

    def test_one_family_has_no_route(self) -> None:
        (found,) = find(self.STRICT, route("v4", ok=True), route("v6", ok=False), looked_up("A", "answered", V4))
        assert (found.rule, found.confidence, found.edits[0].value) == ("race-impossible", "certain", "LOGICAL_DNS")

    def test_both_have(self) -> None:
        assert names(self.STRICT, route("v4", ok=True), route("v6", ok=True)) == []

    def test_logical_dns_races(self) -> None:
        assert names(ALL, route("v4", ok=True), route("v6", ok=False)) == []


class TestConnectTimeout:
    HURRIED = cluster(lookup_family="ALL", connect_timeout=0.25)

    def test_a_connection_from_here_took_longer(self) -> None:
        (found,) = find(self.HURRIED, attempted(V4, "connected", took=0.4))
        assert (found.rule, found.confidence, found.edits[0].value) == ("connect-timeout-too-short", "certain", "10s")

    def test_timeouts_now_and_then(self) -> None:
        found = find(self.HURRIED, attempted(V4, "timeout"), attempted(V4, "connected", took=0.1))
        assert [f.rule for f in found] == ["connect-timeout-too-short"]

    def test_long_enough(self) -> None:
        assert names(ALL, attempted(V4, "connected", took=0.4)) == []


def test_egress() -> None:
    (found,) = find(EgressRefused(origin=origin("BlackHoleCluster"), target="login.example.com", how="black-hole"))
    assert found.rule == "egress-blocked"
    assert "ServiceEntry" in found.mend


def test_a_proxy_variable_matters_only_where_direct_connections_fail() -> None:
    variable = ProxyVariable(origin=origin("HTTPS_PROXY"), variable="HTTPS_PROXY", host="proxy.corp:3128")
    assert names(variable, attempted(V4, "timeout"), ALL) == ["http-proxy-ignored"]
    assert names(variable, attempted(V4, "connected"), ALL) == []


def test_overflow() -> None:
    assert names(Overflowed(origin=origin("overflow"), target="oauth")) == ["upstream-overflow"]
    assert names(counters(upstream_rq_pending_overflow=1)) == ["upstream-overflow"]
    assert names(counters(upstream_rq_pending_overflow=0)) == []


def test_what_fails_for_the_application_never_stands_before_what_fails_for_the_provider() -> None:
    app, provider = (
        failure("ECONNREFUSED", for_provider=False),
        Answered(origin=origin("401"), endpoint="token", target="", status=401, error="invalid_client"),
    )
    assert [(each.rule, each.severity) for each in find(app, provider)] == [
        ("client-rejected", "error"), ("tcp-refused", "warning"),
    ]  # fmt: skip


def test_a_connection_that_the_application_closes_now_and_then() -> None:
    reset = failure("ECONNRESET", for_provider=False)
    assert [each.severity for each in find(reset)] == ["info"]
    often = replace(reset, origin=replace(reset.origin, count=50))
    assert [each.severity for each in find(often)] == ["warning"]
