"""The documents of an admin API, in Envoy's shapes, and what they say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from doctor.rules.facts import find
from ostiary.doctor.case import Case
from ostiary.doctor.configuration.read import walk_files
from ostiary.doctor.configuration.walk import Walked
from ostiary.doctor.facts.configuration import ClusterSeen, ConfigurationProblem, OAuth2Seen
from ostiary.doctor.facts.connection import NoHealthyHost
from ostiary.doctor.facts.sidecar import (
    ClusterCounters,
    FilterCounters,
    NotReady,
    PlaceholderKeys,
    UpdateRejected,
    Warming,
)
from ostiary.doctor.facts.signin import SignedIn
from ostiary.doctor.live import read
from ostiary.doctor.live.fetch import Documents

NOTHING = Walked([], [], [])
CLUSTER = {
    "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "idp", "type": "LOGICAL_DNS",
    "load_assignment": {"cluster_name": "idp", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {
        "socket_address": {"address": "login.example", "port_value": 443}}}}]}]},
    "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": {"sni": "login.example"}},
}  # fmt: skip
OAUTH2 = {
    "name": "envoy.filters.http.oauth2",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.oauth2.v3.OAuth2",
        "config": {
            "token_endpoint": {"uri": "https://login.example/token", "cluster": "idp"}, "redirect_uri": "https://a/cb"},
    },
}  # fmt: skip


def listener(*filters: dict[str, Any]) -> dict[str, Any]:
    manager = {"typed_config": {"stat_prefix": "ingress", "http_filters": list(filters)}}
    return {"name": "app", "active_state": {"listener": {"name": "app", "filter_chains": [{"filters": [manager]}]}}}


def dump(**sections: list[dict[str, Any]]) -> bytes:
    return json.dumps({"configs": [sections]}).encode()


def case(written: Walked = NOTHING, **bodies: bytes) -> Case:
    defaults = {"ready": b"LIVE\n", "cluster_dump": dump(static_clusters=[{"cluster": CLUSTER}]),
                "listener_dump": dump(dynamic_listeners=[listener(OAUTH2)])}  # fmt: skip
    return Case(read(Documents("http://127.0.0.1:15000", {**defaults, **bodies}), written).facts)


def stats(**counted: int) -> bytes:
    pairs = [{"name": name.replace("__", "."), "value": value} for name, value in counted.items()]
    return json.dumps({"stats": pairs}).encode()


def hosts(*addresses: str, **counted: str) -> bytes:
    statuses = [{"address": {"socket_address": {"address": address, "port_value": 443}},
                 "stats": [{"name": name, "value": value} for name, value in counted.items()]}
                for address in addresses]  # fmt: skip
    return json.dumps({"cluster_statuses": [{"name": "idp", "host_statuses": statuses}]}).encode()


def test_what_runs() -> None:
    found = case()
    (cluster,) = found.all(ClusterSeen)
    assert (cluster.name, cluster.hosts, cluster.for_provider, cluster.origin.kind) == ("idp", ("login.example",), True,
                                                                                        "admin")  # fmt: skip
    (oauth2,) = found.all(OAuth2Seen)
    assert oauth2.token_cluster == "idp"


@pytest.mark.parametrize("state", ["PRE_INITIALIZING", "INITIALIZING", "DRAINING"])
def test_not_ready_and_what_it_waits_for(state: str) -> None:
    waits = {"unready_targets_dumps": [{"name": "m", "target_names": ["shared target SdsApi token"]}]}
    (found,) = case(ready=f"{state}\n".encode(), init_dump=json.dumps(waits).encode()).all(NotReady)
    assert (found.state, found.waits_for) == (state, ("shared target SdsApi token",))


def test_nobody_there() -> None:
    (found,) = read(Documents("http://127.0.0.1:1", {}, "nothing listens"), NOTHING).facts
    assert isinstance(found, NotReady)
    assert found.state == "unreachable"


def test_what_has_not_come() -> None:
    secrets = dump(dynamic_warming_secrets=[{"name": "token", "version_info": "uninitialized"}])
    clusters = dump(dynamic_warming_clusters=[{"cluster": CLUSTER}])
    found = case(secret_dump=secrets, cluster_dump=clusters).all(Warming)
    assert {(each.what, each.name) for each in found} == {("secret", "token"), ("cluster", "idp")}


def test_a_refused_update_says_its_last_line_once() -> None:
    error = {"details": "goo.gle/debugstr\nconfig {\n}\n: Proto constraint validation failed (X: is required)",
             "failed_configuration": {"name": "app"}}  # fmt: skip
    nameless = {"error_state": error}
    (found,) = case(listener_dump=dump(dynamic_listeners=[{"name": "app", "error_state": error}, nameless])).all(
        UpdateRejected
    )
    assert (found.name, found.reason) == ("app", "Proto constraint validation failed (X: is required).")


def test_keys_that_istiod_could_not_fetch() -> None:
    jwks = {"name": "app", "n": "RXJyb3ItSXN0aW9kRmFpbGVkVG9GZXRjaEp3a3NVcmktabc"}
    assert case(listener_dump=dump(dynamic_listeners=[jwks])).all(PlaceholderKeys)


def test_addresses_and_what_was_counted_of_hosts() -> None:
    (found,) = case(clusters=hosts("2606:4700::1", cx_connect_fail="3", cx_total="3")).all(ClusterCounters)
    assert found.hosts == ("[2606:4700::1]:443",)
    assert found.counters == {"upstream_cx_connect_fail": 3, "upstream_cx_total": 3}


def test_the_incident_from_an_admin_port_alone() -> None:
    found = find(*read_facts(clusters=hosts("2606:4700::1", cx_connect_fail="3")))
    assert found[0].rule == "dns-family-unreachable"
    assert found[0].where is not None
    assert found[0].where.file == "running/idp.yaml"


def read_facts(**bodies: bytes) -> list[Any]:
    whole = case(**bodies)
    return [fact for kind in whole.kinds() for fact in whole.all(kind)]


def test_a_cluster_without_an_address() -> None:
    assert case(clusters=hosts()).all(NoHealthyHost)[0].target == "idp"
    assert case(clusters=hosts("192.0.2.1")).all(NoHealthyHost) == []


def test_counters_of_clusters_and_filters() -> None:
    found = case(stats=stats(cluster__idp__ssl__fail_verify_error=2, cluster__other__ssl__fail_verify_error=1,
                             http__ingress__oauth_failure=4))  # fmt: skip
    (cluster,) = found.all(ClusterCounters)
    assert cluster.counters == {"ssl.fail_verify_error": 2}
    (counted,) = found.all(FilterCounters)
    assert (counted.prefix, counted.counters) == ("http.ingress", {"oauth_failure": 4})
    assert found.all(SignedIn) == []
    assert case(stats=stats(http__ingress__oauth_success=4)).all(SignedIn)


WRITTEN = """\
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: sign-in}
spec:
  configPatches:
  - applyTo: CLUSTER
    patch:
      operation: ADD
      value:
        name: idp
        type: LOGICAL_DNS
        lb_policy: ROUND_ROBIN
        dns_lookup_family: V4_ONLY
"""


def test_a_file_s_cluster_that_runs_otherwise() -> None:
    written = walk_files([("f.yaml", WRITTEN.encode())])
    (found,) = case(written).all(ConfigurationProblem)
    assert (found.kind, found.subject) == ("patch-nothing", "dns_lookup_family")
    assert found.where is not None
    assert (found.where.line, found.where.path) == (13, "spec.configPatches[0].patch.value.dns_lookup_family")


def test_a_file_s_cluster_that_does_not_run() -> None:
    written = walk_files([("f.yaml", WRITTEN.replace("name: idp", "name: gone").encode())])
    (found,) = case(written).all(ConfigurationProblem)
    assert "no cluster gone" in found.message


def test_what_is_no_json_says_nothing() -> None:
    assert len(case(cluster_dump=b"<html>", listener_dump=b"\xff", stats=b"[", clusters=b"null")) == 0
