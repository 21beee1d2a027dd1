"""Clusters at run time: the real Envoy and Ostiary with the same YAML, the same applications and the same DNS.

Each scenario is one cluster and one script. Scripts never sleep: they wait until a counter says that something has
happened, so that both sides are looked at in the same state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from net.dns_server import Reply
from peers.clusters_bench import Bench, endpoint, hosts, named
from peers.compare import differences
from peers.recorders import Answer
from peers.same_yaml import Tree

Seen = dict[str, Any]
Script = Callable[[Bench, str], Seen]


class Scenario(NamedTuple):
    """A cluster, what is done with it, and which counters are left out because they grow by themselves."""

    cluster: Tree
    script: Script
    growing: tuple[str, ...]
    dns: dict[tuple[str, str], Reply]


SCENARIOS: dict[str, Scenario] = {}
CHECKS = ("health_check.attempt", "health_check.success", "health_check.failure", "health_check.network_failure")
NAMES = ("update_attempt", "update_success", "update_failure", "update_no_rebuild")


def scenario(
    cluster: Callable[[str], Tree], growing: tuple[str, ...] = (), dns: dict[tuple[str, str], Reply] | None = None
) -> Callable[[Script], Script]:
    """Register a script under its own name, which is also its cluster's and part of its paths."""

    def register(script: Script) -> Script:
        name = script.__name__
        records = {(host.replace("@", name), kind): reply for (host, kind), reply in (dns or {}).items()}
        SCENARIOS[name] = Scenario(cluster(name), script, growing, records)
        return script

    return register


def one(**more: Any) -> Callable[[str], Tree]:
    """A cluster of one host."""
    return lambda name: hosts(name, endpoint("@APP0@"), **more)


def several(*endpoints: Tree, **more: Any) -> Callable[[str], Tree]:
    """A cluster of these hosts."""
    return lambda name: hosts(name, *endpoints, **more)


def dns(kind: str, **more: Any) -> Callable[[str], Tree]:
    """A cluster of a name, which is `<scenario>.test`."""
    return lambda name: named(name, f"{name}.test", kind, **more)


HOME = Reply(("127.0.0.1",))
V4: dict[tuple[str, str], Reply] = {("@.test.", "A"): HOME}
TWO = (endpoint("@APP0@"), endpoint("@APP1@"))
THREE = (*TWO, endpoint("@APP2@"))
NO_PANIC = {"healthy_panic_threshold": {"value": 0}}
ALL_MAY_GO = {"max_ejection_percent": 100, "base_ejection_time": "1s", "interval": "0.5s"}


# --- connections and requests


@scenario(one())
def plain(bench: Bench, name: str) -> Seen:
    return {"answers": [bench.get(f"/{name}/{n}") for n in range(3)]}


@scenario(one())
def errors_of_the_application(bench: Bench, name: str) -> Seen:
    bench.apps[0].script.extend(Answer(status) for status in (404, 500, 503, 299))
    return {"answers": [bench.get(f"/{name}/{n}") for n in range(4)]}


@scenario(several(endpoint("@DEAD@")))
def refused(bench: Bench, name: str) -> Seen:
    return {"answer": bench.get(f"/{name}/")}


@scenario(several(endpoint("@SILENT@"), connect_timeout="0.3s"))
def never_connected(bench: Bench, name: str) -> Seen:
    return {"answer": bench.get(f"/{name}/")}


@scenario(
    several(
        endpoint(
            "@DEAD@",
            additional_addresses=[{"address": {"socket_address": {"address": "127.0.0.1", "port_value": "@APP0@"}}}],
        )
    )
)
def the_second_address_works(bench: Bench, name: str) -> Seen:
    return {"answer": bench.get(f"/{name}/")}


@scenario(several())
def no_host(bench: Bench, name: str) -> Seen:
    return {"answer": bench.get(f"/{name}/")}


@scenario(one(common_http_protocol_options={"max_requests_per_connection": 2}))
def two_requests_a_connection(bench: Bench, name: str) -> Seen:
    return {"answers": [bench.get(f"/{name}/{n}") for n in range(3)]}


@scenario(one(common_http_protocol_options={"idle_timeout": "0.3s"}))
def idle_connections_are_closed(bench: Bench, name: str) -> Seen:
    answer = bench.get(f"/{name}/")
    bench.wait(bench.reaches(f"{name}.upstream_cx_idle_timeout", 1))
    return {"answer": answer}


@scenario(one())
def the_application_closes(bench: Bench, name: str) -> Seen:
    bench.apps[0].script.append(Answer(headers=(("connection", "close"),)))
    return {"answers": [bench.get(f"/{name}/{n}") for n in range(2)]}


@scenario(one())
def half_an_answer(bench: Bench, name: str) -> Seen:
    bench.apps[0].script.append(Answer(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", close=True))
    return {"answer": bench.get(f"/{name}/")}


@scenario(one())
def no_answer(bench: Bench, name: str) -> Seen:
    bench.apps[0].script.append(Answer(raw=b"", close=True))
    return {"answer": bench.get(f"/{name}/")}


@scenario(one())
def nonsense(bench: Bench, name: str) -> Seen:
    bench.apps[0].script.append(Answer(raw=b"what?\r\n\r\n", close=True))
    return {"answer": bench.get(f"/{name}/")}


@scenario(one())
def too_late(bench: Bench, name: str) -> Seen:
    bench.apps[0].script.append(Answer(delay=1.5))
    return {"answer": bench.get(f"/{name}/")}


@scenario(one())
def the_client_leaves(bench: Bench, name: str) -> Seen:
    bench.apps[0].script.append(Answer(delay=0.8))
    bench.leave(f"/{name}/", bench.reaches(f"{name}.upstream_rq_active", 1))
    bench.wait(bench.reaches(f"{name}.upstream_cx_destroy", 1))
    return {}


@scenario(several(endpoint("@SILENT@"), connect_timeout="0.5s"))
def the_client_leaves_before_there_is_a_connection(bench: Bench, name: str) -> Seen:
    bench.leave(f"/{name}/", bench.reaches(f"{name}.upstream_rq_pending_active", 1))
    bench.wait(bench.reaches(f"{name}.upstream_rq_cancelled", 1))
    return {"pending": bench.stat(f"{name}.upstream_rq_pending_active")}


# --- circuit breakers


@scenario(one(circuit_breakers={"thresholds": [{"max_pending_requests": 0, "track_remaining": True}]}))
def nobody_may_wait(bench: Bench, name: str) -> Seen:
    return {"answer": bench.get(f"/{name}/")}


def _two_at_once(bench: Bench, name: str) -> Seen:
    bench.apps[0].script.append(Answer(delay=0.6))
    with bench.asking(f"/{name}/first", bench.reaches(f"{name}.upstream_rq_active", 1)) as first:
        second = bench.get(f"/{name}/second")
        between = bench.stats(name)
    return {"first": first, "second": second, "between": between}


@scenario(one(circuit_breakers={"thresholds": [{"max_requests": 1, "track_remaining": True, "max_retries": 7}]}))
def one_request_at_a_time(bench: Bench, name: str) -> Seen:
    return _two_at_once(bench, name)


@scenario(one(circuit_breakers={"thresholds": [{"max_connections": 1}]}))
def one_connection(bench: Bench, name: str) -> Seen:
    return _two_at_once(bench, name)


@scenario(one(circuit_breakers={"per_host_thresholds": [{"max_connections": 1}]}))
def one_connection_a_host(bench: Bench, name: str) -> Seen:
    return _two_at_once(bench, name)


@scenario(one(circuit_breakers={"thresholds": [{"max_connections": 1, "max_pending_requests": 1}]}))
def one_connection_and_one_who_waits(bench: Bench, name: str) -> Seen:
    bench.apps[0].script.append(Answer(delay=0.6))
    with (
        bench.asking(f"/{name}/", bench.reaches(f"{name}.upstream_rq_active", 1)) as first,
        bench.asking(f"/{name}/", bench.reaches(f"{name}.upstream_rq_pending_active", 1)) as second,
    ):
        third = bench.get(f"/{name}/")
        between = bench.stats(name)
    return {"answers": [first, second, third], "between": between}


# --- balancing


@scenario(several(*THREE))
def in_turn(bench: Bench, name: str) -> Seen:
    bench.served()
    answers = Counter(bench.get(f"/{name}/")[0] for _ in range(9))
    return {"answers": answers, "served": bench.served()}


@scenario(several(endpoint("@APP0@", load_balancing_weight=3), endpoint("@APP1@"), endpoint("@APP2@")))
def by_weight(bench: Bench, name: str) -> Seen:
    bench.served()
    for _ in range(20):
        bench.get(f"/{name}/")
    return {"served": bench.served()}


WEIGHED = (endpoint("@APP0@", load_balancing_weight=5), endpoint("@APP1@"))


@scenario(several(*WEIGHED, lb_policy="LEAST_REQUEST"))
def by_weight_where_nobody_is_busy(bench: Bench, name: str) -> Seen:
    bench.served()
    for _ in range(24):
        bench.get(f"/{name}/")
    return {"served": bench.served()}


def _policy(name: str, **settings: Any) -> Tree:
    kind = f"type.googleapis.com/envoy.extensions.load_balancing_policies.{name}"
    extension = {"name": "x", "typed_config": {"@type": kind, **settings}}
    return {"load_balancing_policy": {"policies": [{"typed_extension_config": extension}]}}


@scenario(several(*TWO, **_policy("round_robin.v3.RoundRobin"), lb_policy="RANDOM"))
def the_newer_spelling_of_a_policy_goes_first(bench: Bench, name: str) -> Seen:
    bench.served()
    answers = [bench.get(f"/{name}/")[0] for _ in range(6)]
    return {"answers": answers, "served": bench.served()}


@scenario(several(*THREE, lb_policy="LEAST_REQUEST", least_request_lb_config={"choice_count": 30}))
def to_the_least_busy(bench: Bench, name: str) -> Seen:
    bench.served()
    bench.apps[0].script.append(Answer(delay=0.8))
    while True:
        with bench.asking(f"/{name}/", bench.more(f"{name}.upstream_rq_total")):
            bench.wait(lambda: any(app.received for app in bench.apps))
            if bench.apps[0].received:  # it is the busy one
                bench.served()
                for _ in range(9):
                    bench.get(f"/{name}/")
                return {"served by the busy one": bench.served()[0], "growing": True}
        bench.served()


def _levels(*levels: list[Tree]) -> Tree:
    return {"endpoints": [{"priority": number, "lb_endpoints": level} for number, level in enumerate(levels)]}


@scenario(several(load_assignment=_levels([endpoint("@APP0@")], [endpoint("@APP1@")])))
def the_first_priority_takes_all(bench: Bench, name: str) -> Seen:
    bench.served()
    answers = [bench.get(f"/{name}/")[0] for _ in range(6)]
    return {"answers": answers, "served": bench.served()}


@scenario(several(load_assignment=_levels([endpoint("@APP0@", health_status="UNHEALTHY")], [endpoint("@APP1@")])))
def the_second_priority_takes_over(bench: Bench, name: str) -> Seen:
    bench.served()
    answers = [bench.get(f"/{name}/")[0] for _ in range(6)]
    return {"answers": answers, "served": bench.served(), "flags": bench.flags(name)}


@scenario(several(endpoint("@APP0@"), endpoint("@APP1@", health_status="DRAINING")))
def who_drains_gets_nothing(bench: Bench, name: str) -> Seen:
    bench.served()
    answers = [bench.get(f"/{name}/")[0] for _ in range(4)]
    return {"answers": answers, "served": bench.served(), "flags": bench.flags(name)}


@scenario(several(endpoint("@APP0@"), *(endpoint(f"@APP{n}@", health_status="UNHEALTHY") for n in (1, 2))))
def panic(bench: Bench, name: str) -> Seen:
    bench.served()
    answers = [bench.get(f"/{name}/")[0] for _ in range(6)]
    return {"answers": answers, "served": bench.served(), "flags": bench.flags(name)}


@scenario(several(endpoint("@APP0@", health_status="TIMEOUT"), common_lb_config=NO_PANIC))
def no_panic(bench: Bench, name: str) -> Seen:
    return {"answer": bench.get(f"/{name}/"), "flags": bench.flags(name)}


# --- outlier detection


@scenario(several(*TWO, outlier_detection={**ALL_MAY_GO, "consecutive_5xx": 3}, common_lb_config=NO_PANIC))
def an_outlier_goes_and_comes_back(bench: Bench, name: str) -> Seen:
    bench.apps[0].script.extend([Answer(500)] * 3)
    ejections = bench.reaches(f"{name}.outlier_detection.ejections_active", 1)
    while not ejections():
        bench.get(f"/{name}/")
    gone = bench.flags(name)
    bench.served()
    answers = [bench.get(f"/{name}/")[0] for _ in range(4)]
    served = bench.served()
    bench.wait(lambda: not ejections())
    back = [bench.get(f"/{name}/")[0] for _ in range(4)]
    healthy = bench.flags(name)
    return {
        "gone": gone,
        "answers": answers,
        "served": served,
        "back": [back, bench.served(), healthy],
        "growing": True,
    }


def _ejected(bench: Bench, name: str) -> None:
    """Envoy's workers tell its main thread, which may take a moment."""
    bench.wait(lambda: any("failed_outlier_check" in flags for flags in bench.flags(name).values()))


def _fail_all(bench: Bench, name: str, answers: list[Answer], *, ejects: bool = False) -> Seen:
    bench.apps[0].script.extend(answers)
    seen = [bench.get(f"/{name}/") for _ in answers]
    bench.apps[0].script.clear()
    if ejects:
        _ejected(bench, name)
    return {"answers": seen, "flags": bench.flags(name), "after": bench.get(f"/{name}/")}


@scenario(one(outlier_detection={**ALL_MAY_GO, "base_ejection_time": "30s"}))
def the_only_host_is_used_in_panic(bench: Bench, name: str) -> Seen:
    return _fail_all(bench, name, [Answer(500)] * 5, ejects=True)


@scenario(one(outlier_detection={**ALL_MAY_GO, "base_ejection_time": "30s"}, common_lb_config=NO_PANIC))
def the_only_host_is_gone(bench: Bench, name: str) -> Seen:
    return _fail_all(bench, name, [Answer(500)] * 5, ejects=True)


@scenario(one(outlier_detection={}))
def ten_percent_of_one_is_nobody(bench: Bench, name: str) -> Seen:
    return _fail_all(bench, name, [Answer(502)] * 5)


@scenario(one(outlier_detection={"always_eject_one_host": True}))
def one_may_always_go(bench: Bench, name: str) -> Seen:
    return _fail_all(bench, name, [Answer(503)] * 5, ejects=True)


@scenario(one(outlier_detection={**ALL_MAY_GO, "consecutive_gateway_failure": 2, "consecutive_5xx": 0}))
def gateway_errors_are_only_noted(bench: Bench, name: str) -> Seen:
    return _fail_all(bench, name, [Answer(502), Answer(500), Answer(503), Answer(504)])


@scenario(
    one(
        outlier_detection={
            **ALL_MAY_GO,
            "base_ejection_time": "30s",
            "consecutive_gateway_failure": 2,
            "enforcing_consecutive_gateway_failure": 100,
        }
    )
)
def gateway_errors_eject(bench: Bench, name: str) -> Seen:
    return _fail_all(bench, name, [Answer(502), Answer(503)], ejects=True)


@scenario(one(outlier_detection={**ALL_MAY_GO, "consecutive_5xx": 2, "enforcing_consecutive_5xx": 0}))
def detected_but_not_enforced(bench: Bench, name: str) -> Seen:
    return _fail_all(bench, name, [Answer(500)] * 4)


@scenario(several(endpoint("@DEAD@"), outlier_detection={**ALL_MAY_GO, "base_ejection_time": "30s"}))
def refusals_count_as_errors(bench: Bench, name: str) -> Seen:
    answers = [bench.get(f"/{name}/") for _ in range(5)]
    _ejected(bench, name)
    return {"answers": answers, "flags": bench.flags(name)}


@scenario(
    several(
        endpoint("@DEAD@"),
        outlier_detection={
            **ALL_MAY_GO,
            "base_ejection_time": "30s",
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 2,
        },
    )
)
def refusals_count_on_their_own(bench: Bench, name: str) -> Seen:
    answers = [bench.get(f"/{name}/") for _ in range(2)]
    _ejected(bench, name)
    return {"answers": [*answers, bench.get(f"/{name}/")], "flags": bench.flags(name)}


# --- health checks


def check(*, panic: bool = True, **more: Any) -> Tree:
    """A check every 0.2 s, also of a cluster that nobody has used. Envoy's workers learn of changes at once."""
    times = {"timeout": "1s", "interval": "0.2s", "no_traffic_interval": "0.2s"}
    return {
        "health_checks": [{**times, "unhealthy_threshold": 2, "healthy_threshold": 2, **more}],
        "common_lb_config": {"update_merge_window": "0s", **({} if panic else NO_PANIC)},
    }


HTTP = {"http_health_check": {"path": "/health", "host": "check.example"}}


def _away_and_back(bench: Bench, name: str) -> Seen:
    flags = lambda: bench.flags(name)["app3"]  # noqa: E731
    bench.wait(lambda: flags() == "healthy")
    before = bench.get(f"/{name}/")[0]
    bench.apps[3].health = 503
    try:
        bench.wait(lambda: flags() != "healthy")
        while_away = bench.get(f"/{name}/"), flags(), bench.stat(f"{name}.membership_healthy")
    finally:
        bench.apps[3].health = 200
    bench.wait(lambda: flags() == "healthy")
    return {"before": before, "away": while_away, "after": bench.get(f"/{name}/")}


@scenario(several(endpoint("@APP3@"), **check(panic=False, **HTTP)), growing=CHECKS)
def a_host_fails_its_checks_and_recovers(bench: Bench, name: str) -> Seen:
    return _away_and_back(bench, name)


@scenario(several(endpoint("@APP3@"), **check(**HTTP)), growing=CHECKS)
def a_failed_host_is_used_in_panic(bench: Bench, name: str) -> Seen:
    return _away_and_back(bench, name)


@scenario(
    several(
        endpoint("@APP3@"),
        **check(
            reuse_connection=False,
            http_health_check={
                "path": "/health?a=b",
                "method": "POST",
                "send": {"text": "6869"},
                "expected_statuses": [{"start": 200, "end": 600}],
                "request_headers_to_add": [{"header": {"key": "X-Check", "value": "yes"}}],
            },
        ),
    ),
    growing=CHECKS,
)
def what_a_check_sends(bench: Bench, name: str) -> Seen:
    bench.apps[3].checks.clear()
    bench.wait(lambda: any(each.get("x-check") for each in bench.apps[3].checks))
    got = next(each for each in bench.apps[3].checks if each.get("x-check"))
    headers = {key.lower(): value for key, value in got.headers}
    return {"line": got.request_line, "headers": headers, "body": got.body, "answer": bench.get(f"/{name}/")}


@scenario(several(endpoint("@DEAD@"), endpoint("@APP3@"), **check(tcp_health_check={})), growing=CHECKS)
def a_check_of_the_port_alone(bench: Bench, name: str) -> Seen:
    bench.wait(lambda: bench.flags(name) == {"dead": "/failed_active_hc", "app3": "healthy"})
    bench.served()
    answers = [bench.get(f"/{name}/")[0] for _ in range(4)]
    return {"answers": answers, "served": bench.served()[3]}


@scenario(
    several(
        endpoint("@APP3@"),
        **check(
            panic=False,
            tcp_health_check={"send": {"text": b"GET /health HTTP/1.1\r\n\r\n".hex()}, "receive": [{"text": "323030"}]},
        ),
    ),
    growing=CHECKS,
)
def a_check_that_sends_and_listens(bench: Bench, name: str) -> Seen:
    bench.wait(lambda: bench.flags(name) == {"app3": "healthy"})
    return {"answer": bench.get(f"/{name}/")}


@scenario(
    several(endpoint("@APP3@", health_check_config={"port_value": "@DEAD@"}), **check(tcp_health_check={})),
    growing=CHECKS,
)
def a_check_of_another_port(bench: Bench, name: str) -> Seen:
    bench.wait(lambda: bench.flags(name) == {"app3": "/failed_active_hc"})
    return {"answer": bench.get(f"/{name}/")[0]}


# --- names


@scenario(dns("LOGICAL_DNS", dns_lookup_family="V4_ONLY"), NAMES, V4)
def a_logical_name_moves(bench: Bench, name: str) -> Seen:
    before = bench.get(f"/{name}/")
    bench.dns.records[f"{name}.test.", "A"] = Reply(("127.0.0.3",))
    bench.wait(bench.reaches(f"{name}.membership_change", 2))
    return {"before": before, "after": bench.get(f"/{name}/")[0], "hosts": sorted(bench.flags(name))}


@scenario(dns("STRICT_DNS", dns_lookup_family="V4_ONLY"), NAMES, {("@.test.", "A"): Reply(("127.0.0.1", "127.0.0.5"))})
def hosts_of_a_strict_name_come_and_go(bench: Bench, name: str) -> Seen:
    before = sorted(bench.flags(name))
    bench.dns.records[f"{name}.test.", "A"] = Reply(("127.0.0.1", "127.0.0.6"))
    bench.wait(bench.reaches(f"{name}.membership_change", 2))
    return {"before": before, "after": sorted(bench.flags(name))}


def _empty(bench: Bench, name: str, counter: str, reply: Reply) -> Seen:
    before = bench.get(f"/{name}/")
    bench.dns.records[f"{name}.test.", "A"] = reply
    bench.wait(bench.more(f"{name}.{counter}"))
    return {"before": before, "hosts": sorted(bench.flags(name)), "after": bench.get(f"/{name}/")}


@scenario(dns("LOGICAL_DNS", dns_lookup_family="V4_ONLY"), NAMES, V4)
def an_empty_answer_to_a_logical_name(bench: Bench, name: str) -> Seen:
    return _empty(bench, name, "update_failure", Reply())


@scenario(dns("STRICT_DNS", dns_lookup_family="V4_ONLY"), NAMES, V4)
def an_empty_answer_to_a_strict_name(bench: Bench, name: str) -> Seen:
    return _empty(bench, name, "membership_change", Reply())


@scenario(dns("STRICT_DNS", dns_lookup_family="V4_ONLY"), NAMES, V4)
def a_failing_server_changes_nothing(bench: Bench, name: str) -> Seen:
    return _empty(bench, name, "update_failure", Reply(rcode="SERVFAIL"))


@scenario(dns("LOGICAL_DNS", dns_lookup_family="V4_ONLY"), NAMES)
def no_such_logical_name(bench: Bench, name: str) -> Seen:
    bench.wait(bench.reaches(f"{name}.update_failure", 1))
    return {"answer": bench.get(f"/{name}/"), "hosts": bench.flags(name)}


@scenario(dns("STRICT_DNS", dns_lookup_family="V4_ONLY"), NAMES)
def no_such_strict_name(bench: Bench, name: str) -> Seen:
    bench.wait(bench.reaches(f"{name}.update_success", 1))
    return {"answer": bench.get(f"/{name}/"), "hosts": bench.flags(name)}


@scenario(dns("STRICT_DNS", dns_lookup_family="V6_ONLY"), NAMES, V4)
def a_name_without_the_only_family(bench: Bench, name: str) -> Seen:
    bench.wait(bench.reaches(f"{name}.update_success", 1))
    return {"answer": bench.get(f"/{name}/"), "hosts": bench.flags(name)}


@scenario(dns("STRICT_DNS", dns_lookup_family="AUTO"), NAMES, V4)
def the_other_family_where_the_first_is_empty(bench: Bench, name: str) -> Seen:
    return {"answer": bench.get(f"/{name}/"), "hosts": sorted(bench.flags(name))}


BOTH = {("@.test.", "A"): HOME, ("@.test.", "AAAA"): Reply(("::1", "::2"))}


@scenario(dns("STRICT_DNS", dns_lookup_family="ALL"), NAMES, BOTH)
def all_addresses_are_hosts(bench: Bench, name: str) -> Seen:
    return {"hosts": sorted(bench.flags(name))}


@scenario(dns("STRICT_DNS", dns_lookup_family="V4_PREFERRED"), NAMES, BOTH)
def one_family_where_it_is_preferred(bench: Bench, name: str) -> Seen:
    return {"answer": bench.get(f"/{name}/"), "hosts": sorted(bench.flags(name))}


@scenario(dns("DnsCluster", dns_lookup_family="ALL", all_addresses_in_single_endpoint=True), NAMES, BOTH)
def one_host_of_all_addresses(bench: Bench, name: str) -> Seen:
    return {"hosts": len(bench.flags(name)), "answer": bench.get(f"/{name}/"), "growing": True}


@scenario(dns("DnsCluster", dns_lookup_family="V4_ONLY", dns_failure_refresh_rate={"base_interval": "0.1s"}), NAMES)
def failures_are_repeated_sooner(bench: Bench, name: str) -> Seen:
    bench.dns.records[f"{name}.test.", "A"] = Reply(rcode="SERVFAIL")
    bench.wait(bench.more(f"{name}.update_failure", 2))
    bench.dns.records[f"{name}.test.", "A"] = HOME
    bench.wait(bench.reaches(f"{name}.membership_total", 1))
    return {"answer": bench.get(f"/{name}/")}


# --- the comparison


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, Bench]]:
    """Both proxies, running."""
    folder = tmp_path_factory.mktemp("clusters")
    clusters = [each.cluster for each in SCENARIOS.values()]
    records = {key: reply for each in SCENARIOS.values() for key, reply in each.dns.items()}
    envoy, ostiary = (Bench(kind, clusters, records, folder) for kind in ("envoy", "ostiary"))
    try:
        for bench in (envoy, ostiary):
            bench.proxy.start()
        yield envoy, ostiary
    finally:
        envoy.close()
        ostiary.close()


def observed(bench: Bench, name: str) -> Seen:
    """What a script sees, and what is there to see afterwards."""
    played = SCENARIOS[name]
    bench.wait(lambda: f"{name}::observability_name::" in bench.proxy.admin("/clusters"))
    for app in bench.apps:
        app.drain()
        app.script.clear()
    seen = played.script(bench, name)
    growing = seen.pop("growing", False)
    stats = bench.stats(name)
    if growing:  # how often it took to get there is chance
        # ... and so is the order in which answers arrive; where it changes, Envoy counts a change, a listed difference.
        wanted = {"membership_total", "membership_healthy", "membership_degraded", "membership_excluded"}
        stats = {key: value for key, value in stats.items() if key in wanted}
    seen["stats"] = {key: value for key, value in stats.items() if key not in played.growing}
    if not growing:
        seen["hosts of /clusters"] = bench.hosts(name)
    return seen


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_cluster_means_the_same(name: str, benches: tuple[Bench, Bench], tally: Counter[str]) -> None:
    envoy, ostiary = (observed(bench, name) for bench in benches)
    tally["scripts"] += 1
    tally["observations"] += len(envoy) - 2 + len(envoy["stats"])
    found = differences(flat(envoy), flat(ostiary))
    assert not found, "\n".join(f"{k}: {e!r} != {o!r}" for k, (e, o) in found.items())


def flat(seen: Any, path: str = "") -> dict[str, Any]:
    """Nested observations by path."""
    if not isinstance(seen, dict):
        return {path: seen}
    return {k: v for key, value in seen.items() for k, v in flat(value, f"{path}.{key}".lstrip(".")).items()}


def test_the_document_of_clusters_has_the_same_shape(benches: tuple[Bench, Bench], tally: Counter[str]) -> None:
    for name in ("by_weight", "the_second_priority_takes_over", "who_drains_gets_nothing", "panic", "no_host"):
        envoy, ostiary = (_without_numbers(bench.status(name)) for bench in benches)
        tally["observations"] += 1
        assert ostiary == envoy


def _without_numbers(status: Any) -> Any:
    if isinstance(status, dict):
        left_out = ("port_value", "value", "ostiary")  # the last holds what Envoy doesn't say
        return {key: _without_numbers(value) for key, value in status.items() if key not in left_out}
    return [_without_numbers(each) for each in status] if isinstance(status, list) else status
