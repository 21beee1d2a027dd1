"""Causes in DNS: each rule with a case that it names, a near miss, and a healthy counterpart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from doctor.rules.facts import HOST, TARGET, V4, V6, attempted, cluster, find, looked_up, names, origin, route
from ostiary.doctor.facts.connection import ConnectFailed, NoHealthyHost
from ostiary.doctor.facts.dns import ResolutionFailed, SearchDomains
from ostiary.doctor.facts.sidecar import ClusterCounters

BOTH = (looked_up("A", "answered", V4), looked_up("AAAA", "answered", V6))
NO_IPV6 = (route("v4", ok=True), route("v6", ok=False))


class TestFamilyUnreachable:
    def test_the_incident_from_its_log_alone(self) -> None:
        (found,) = find(attempted(V6, "failed", "ENETUNREACH", target="oauth"))
        assert (found.rule, found.confidence, found.subject) == ("dns-family-unreachable", "likely", "oauth")
        assert V6 in found.cause
        assert "dns_lookup_family: ALL" in found.mend

    def test_the_first_lines_that_anybody_sees_hold_no_address(self) -> None:
        failed = ConnectFailed(origin=origin("Network is unreachable"), target="", errno="ENETUNREACH")
        assert names(failed) == ["dns-family-unreachable"]

    def test_with_its_configuration_the_place_and_the_change_are_known(self) -> None:
        (found,) = find(attempted(V6, "failed", "ENETUNREACH", target="oauth"), cluster())
        assert (found.confidence, found.subject) == ("certain", TARGET)
        assert found.where is not None
        assert (found.where.file, found.where.line) == ("envoyfilter.yaml", 41)
        (edit,) = found.edits
        assert (edit.path, edit.key, edit.value) == ("spec.configPatches[0].patch.value", "dns_lookup_family", "ALL")

    def test_before_anything_failed_probes_foresee_it(self) -> None:
        (found,) = find(cluster(), *BOTH, *NO_IPV6)
        assert (found.rule, found.confidence) == ("dns-family-unreachable", "certain")
        assert found.edits[0].value == "V4_ONLY"
        assert "no IPv6 here" in found.edits[0].comment

    def test_a_probe_from_another_place_that_can_t_resolve_the_name(self) -> None:
        elsewhere = (looked_up("A", "nxdomain", rcode="NXDOMAIN"), looked_up("AAAA", "nxdomain", rcode="NXDOMAIN"))
        assert names(attempted(V6, "failed", "ENETUNREACH"), *elsewhere) == ["dns-family-unreachable"]

    def test_the_other_way_round(self) -> None:
        (found,) = find(cluster(lookup_family="V4_ONLY", family_written=True), *BOTH,
                        route("v4", ok=False), route("v6", ok=True))  # fmt: skip
        assert (found.rule, found.edits[0].value) == ("dns-family-unreachable", "V6_ONLY")
        assert "its dns_lookup_family is V4_ONLY" in found.cause

    def test_both_families_tried_and_unreachable_is_no_route(self) -> None:
        failed = (attempted(V6, "failed", "ENETUNREACH"), attempted(V4, "failed", "ENETUNREACH"))
        assert "dns-family-unreachable" not in names(*failed)

    def test_the_other_family_refused_is_something_else(self) -> None:
        failed = (attempted(V6, "failed", "ENETUNREACH"), attempted(V4, "failed", "ECONNREFUSED"))
        assert "dns-family-unreachable" not in names(*failed)

    def test_no_address_of_the_other_family(self) -> None:
        facts = (looked_up("AAAA", "answered", V6), looked_up("A", "empty"), *NO_IPV6)
        assert "dns-family-unreachable" not in names(cluster(), *facts)

    @pytest.mark.parametrize("family", ["ALL", "V4_ONLY", "V4_PREFERRED"])
    def test_families_that_work_here(self, family: str) -> None:
        assert names(cluster(lookup_family=family, family_written=True), *BOTH, *NO_IPV6) == []

    def test_a_file_that_rules_the_family_out_is_not_what_runs(self) -> None:
        (found,) = find(attempted(V6, "failed", "ENETUNREACH"), cluster(lookup_family="V4_ONLY", family_written=True))
        assert (found.rule, found.confidence, found.edits, found.patch) == (
            "dns-family-unreachable",
            "likely",
            (),
            None,
        )
        assert "another one runs" in found.title
        assert "--explain" in found.mend

    @pytest.mark.parametrize("changes", [{"hosts": (V6,)}, {"lookup_family": "ALL"}, {"origin": origin(kind="admin")}])
    def test_a_cluster_that_may_try_it_is_what_runs(self, changes: dict[str, Any]) -> None:
        seen = replace(cluster(lookup_family="V4_ONLY", family_written=True), **changes)
        assert all(
            "another one runs" not in found.title for found in find(attempted(V6, "failed", "ENETUNREACH"), seen)
        )

    def test_a_race_that_the_other_family_won(self) -> None:
        assert names(attempted(V6, "failed", "ENETUNREACH"), attempted(V4, "connected")) == []

    def test_both_routes(self) -> None:
        assert names(cluster(), *BOTH, route("v4", ok=True), route("v6", ok=True)) == []


class TestNoAddressInFamily:
    def test_probed(self) -> None:
        (found,) = find(cluster(lookup_family="V4_ONLY", family_written=True), looked_up("A", "empty"),
                        looked_up("AAAA", "answered", V6))  # fmt: skip
        assert (found.rule, found.confidence, found.edits[0].value) == ("dns-no-address-in-family", "certain", "ALL")

    def test_from_a_log(self) -> None:
        told = ResolutionFailed(origin=origin("no data"), name=HOST, fault="no-data")
        assert names(told) == ["dns-no-address-in-family"]

    def test_the_other_query_of_a_race_was_empty(self) -> None:
        told = ResolutionFailed(origin=origin("no data"), name=HOST, fault="no-data")
        assert names(told, attempted(V4, "connected", target=HOST)) == []

    def test_the_family_is_there(self) -> None:
        assert names(cluster(lookup_family="V4_ONLY"), looked_up("A", "answered", V4), looked_up("AAAA", "empty")) == []


class TestServers:
    def test_a_name_that_does_not_exist(self) -> None:
        facts = (looked_up("A", "nxdomain", rcode="NXDOMAIN"), looked_up("AAAA", "nxdomain", rcode="NXDOMAIN"))
        (found,) = find(*facts)
        assert (found.rule, found.confidence) == ("dns-name-not-found", "certain")

    def test_a_search_domain_that_does_not_exist(self) -> None:
        assert names(looked_up("A", "nxdomain", name=f"{HOST}.cluster.local", rcode="NXDOMAIN"), *BOTH) == []

    def test_servfail(self) -> None:
        assert names(looked_up("A", "failed", rcode="SERVFAIL")) == ["dns-server-failure"]

    def test_one_server_of_two_fails(self) -> None:
        assert names(looked_up("A", "failed", rcode="SERVFAIL"), looked_up("A", "answered", V4)) == []

    def test_silence(self) -> None:
        assert names(looked_up("A", "timeout"), looked_up("AAAA", "timeout")) == ["dns-no-answer"]

    def test_one_type_is_silent(self) -> None:
        (found,) = find(looked_up("A", "answered", V4), looked_up("AAAA", "timeout"))
        assert found.rule == "dns-type-unanswered"
        assert "V4_ONLY" in found.mend

    def test_empty_is_an_answer(self) -> None:
        assert names(looked_up("A", "answered", V4), looked_up("AAAA", "empty")) == []


class TestNoHost:
    HOSTLESS = NoHealthyHost(origin=origin("no healthy upstream"), target="oauth")

    def test_alone_it_is_a_guess(self) -> None:
        (found,) = find(self.HOSTLESS)
        assert (found.rule, found.confidence) == ("dns-name-not-found", "possible")

    def test_a_counter_makes_it_likely(self) -> None:
        counters = ClusterCounters(origin=origin("update_failure: 39"), cluster="oauth", counters={"update_failure": 3})
        (found,) = find(self.HOSTLESS, counters)
        assert found.confidence == "likely"

    def test_the_reason_in_the_log_is_better(self) -> None:
        told = ResolutionFailed(origin=origin("timed out"), name=HOST, fault="no-answer", cluster="oauth")
        assert names(self.HOSTLESS, told, cluster(lookup_family="ALL")) == ["dns-no-answer"]


class TestSearchDetour:
    DOMAINS = SearchDomains(origin=origin("ndots:5"), ndots=5, search=("cluster.local",))

    def test_a_wildcard_answers(self) -> None:
        detour = looked_up("A", "answered", "10.0.0.1", name=f"{HOST}.cluster.local")
        found = find(self.DOMAINS, cluster(lookup_family="ALL"), detour)[0]
        assert (found.rule, found.severity) == ("dns-search-detour", "error")

    def test_it_costs_only_time(self) -> None:
        detour = looked_up("A", "nxdomain", name=f"{HOST}.cluster.local", rcode="NXDOMAIN")
        found = [f for f in find(self.DOMAINS, cluster(lookup_family="ALL"), detour, *BOTH) if "detour" in f.rule]
        assert [f.severity for f in found] == ["info"]

    def test_a_final_dot(self) -> None:
        detour = looked_up("A", "answered", "10.0.0.1", name=f"{HOST}.cluster.local")
        there = cluster(lookup_family="ALL", hosts=(f"{HOST}.",))
        assert "dns-search-detour" not in names(self.DOMAINS, there, detour)


@pytest.mark.parametrize("setting", ["ALL", "V4_PREFERRED"])
def test_a_cluster_that_asks_for_both_is_not_told_to(setting: str) -> None:
    """Where its other family was not tried, it was not there, or the log ends too early."""
    assert "dns-family-unreachable" not in names(cluster(lookup_family=setting), attempted(V6, "failed", "ENETUNREACH"))
    assert names(cluster(lookup_family="ALL"), attempted(V6, "failed", "ENETUNREACH"), attempted(V4, "connected")) == []
