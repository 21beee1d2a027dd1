"""Where patches go in a configuration: bootstraps, and the shapes in which an admin port dumps one."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from ostiary.dialects.istio_findings import Outcome
from ostiary.dialects.istio_proxy import facts, patch_config
from ostiary.dialects.istio_reader import read_objects
from ostiary.dialects.istio_selection import Proxy
from ostiary.dialects.yaml_nodes import parse
from ostiary.dialects.yaml_write import value
from ostiary.model.errors import ConfigError

ADMIN = "type.googleapis.com/envoy.admin.v3."
HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
CLUSTER = {"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "outbound|80||a", "type": "EDS"}
NODE = {
    "id": "router~10.1.2.3~gw-1.edge~edge.svc.cluster.local",
    "metadata": {
        "NAMESPACE": "edge",
        "ISTIO_VERSION": "1.29.1",
        "LABELS": {"istio": "gw"},
        "INTERCEPTION_MODE": "NONE",
    },
}


def listener(name: str, **more: Any) -> dict[str, Any]:
    manager = {"@type": HCM, "http_filters": [{"name": "envoy.filters.http.router"}], **more}
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": name,
        "filter_chains": [{"filters": filters}],
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": 8080}},
    }


def dump() -> dict[str, Any]:
    """A gateway's, in short."""
    rejected = {"name": "rejected", "error_state": {"details": "no"}}
    active = {"name": "0.0.0.0_8080", "active_state": {"version_info": "1", "listener": listener("0.0.0.0_8080")}}
    route = {"name": "http.8080", "virtual_hosts": [{"name": "*:8080", "domains": ["*"]}]}
    return {
        "configs": [
            {"@type": f"{ADMIN}BootstrapConfigDump", "bootstrap": {"node": NODE, "static_resources": {"clusters": []}}},
            {
                "@type": f"{ADMIN}ClustersConfigDump",
                "static_clusters": [{"cluster": {"name": "prometheus_stats"}}],
                "dynamic_active_clusters": [{"version_info": "1", "cluster": CLUSTER, "last_updated": "then"}],
            },
            {"@type": f"{ADMIN}ListenersConfigDump", "dynamic_listeners": [active, rejected]},
            {"@type": f"{ADMIN}RoutesConfigDump", "dynamic_route_configs": [{"route_config": route}]},
            {"@type": f"{ADMIN}SecretsConfigDump", "static_secrets": [{"name": "a"}]},
        ]
    }


def applied(config: Any, *patches: Any, kind: Any = None, target: Any = None) -> tuple[Any, list[Outcome]]:
    spec = {"configPatches": list(patches)} | ({"targetRefs": [target]} if target else {})
    text = {"apiVersion": "networking.istio.io/v1", "kind": "EnvoyFilter", "metadata": {"name": "a"}, "spec": spec}
    filters, _ = read_objects(json.dumps(text).encode(), "ef.yaml")
    root = parse(json.dumps(config).encode(), "dump.json")
    known = facts(root)
    proxy = Proxy(kind=kind or known.kind or "sidecar", namespace=known.namespace, labels=known.labels)
    patched = patch_config(root, filters, proxy)
    return value(patched.after), list(patched.outcomes)


def patch(apply_to: str, operation: str, written: Any, **match: Any) -> dict[str, Any]:
    return {"applyTo": apply_to, "match": match, "patch": {"operation": operation, "value": written}}


def test_the_node_says_what_the_proxy_is() -> None:
    found = facts(parse(json.dumps(dump()).encode(), "dump.json"))
    assert (found.kind, found.namespace, found.labels, found.version) == ("gateway", "edge", {"istio": "gw"}, "1.29.1")
    assert found.metadata is not None
    assert found.metadata["INTERCEPTION_MODE"] == "NONE"
    assert facts(parse(b"static_resources: {}", "b.yaml")).kind is None


def test_of_a_dump_what_istiod_sends_is_patched_and_all_else_stays() -> None:
    on_port = {"portNumber": 8080}
    after, outcomes = applied(
        dump(),
        patch("CLUSTER", "MERGE", {"connect_timeout": "1s"}),
        patch("CLUSTER", "ADD", {"name": "oauth", "type": "STATIC"}),
        patch("LISTENER", "MERGE", {"stat_prefix": "x"}, listener=on_port),
        patch("LISTENER", "ADD", {"name": "new"}),
        patch(
            "VIRTUAL_HOST", "MERGE", {"include_request_attempt_count": True}, routeConfiguration={"portNumber": 8080}
        ),
    )
    assert [outcome.applied for outcome in outcomes] == [True] * 5
    before = dump()["configs"]
    assert [after["configs"][index] for index in (0, 4)] == [before[0], before[4]]
    clusters = after["configs"][1]
    assert clusters["static_clusters"] == before[1]["static_clusters"]
    assert clusters["dynamic_active_clusters"] == [
        {"version_info": "1", "cluster": {**CLUSTER, "connect_timeout": "1s"}, "last_updated": "then"},
        {"cluster": {"name": "oauth", "type": "STATIC"}},
    ]
    first, rejected, new = after["configs"][2]["dynamic_listeners"]
    assert first["active_state"]["listener"]["stat_prefix"] == "x"
    assert rejected == before[2]["dynamic_listeners"][1]
    assert new == {"name": "new", "active_state": {"listener": {"name": "new"}}}
    (host,) = after["configs"][3]["dynamic_route_configs"][0]["route_config"]["virtual_hosts"]
    assert host["include_request_attempt_count"] is True


def test_what_is_still_warming_is_patched_too() -> None:
    """As long as a secret or an address is missing there is nothing active, and that is when people look."""
    merge = patch("CLUSTER", "MERGE", {"connect_timeout": "1s"})
    warming = {"name": "virtualInbound", "warming_state": {"listener": listener("virtualInbound")}}
    updating = {"active_state": {"listener": listener("a")}, "warming_state": {"listener": listener("a")}}
    clusters = {
        "@type": f"{ADMIN}ClustersConfigDump",
        "dynamic_active_clusters": [{"cluster": {"name": "a"}}],
        "dynamic_warming_clusters": [{"cluster": {"name": "a"}}, {"cluster": {"name": "b"}}],
    }
    listeners = {"@type": f"{ADMIN}ListenersConfigDump", "dynamic_listeners": [warming, updating]}
    after, outcomes = applied(
        {"configs": [clusters, listeners]}, merge, patch("LISTENER", "MERGE", {"stat_prefix": "x"})
    )
    assert [len(outcome.hits) for outcome in outcomes] == [2, 2]
    first, second = after["configs"]
    assert first["dynamic_warming_clusters"] == [
        {"cluster": {"name": "a"}}, {"cluster": {"name": "b", "connect_timeout": "1s"}}
    ]  # fmt: skip
    one, two = second["dynamic_listeners"]
    assert one["warming_state"]["listener"]["stat_prefix"] == two["active_state"]["listener"]["stat_prefix"] == "x"
    assert two["warming_state"] == updating["warming_state"]


def test_a_dump_of_a_plain_envoy_has_its_static_resources_patched() -> None:
    static = {"@type": f"{ADMIN}ClustersConfigDump", "static_clusters": [{"cluster": {"name": "a"}}]}
    after, _ = applied({"configs": [static]}, patch("CLUSTER", "MERGE", {"connect_timeout": "1s"}))
    assert after["configs"][0]["static_clusters"] == [{"cluster": {"name": "a", "connect_timeout": "1s"}}]


@pytest.mark.parametrize(
    ("kind", "item", "written"),
    [
        ("ClustersConfigDump.DynamicCluster", {"cluster": CLUSTER}, patch("CLUSTER", "MERGE", {"name": "new"})),
        (
            "ListenersConfigDump.DynamicListener",
            {"active_state": {"listener": listener("a")}},
            patch("LISTENER", "MERGE", {"name": "new"}),
        ),
    ],
)
def test_an_answer_with_one_kind_of_resource(kind: str, item: Any, written: Any) -> None:
    after, (outcome,) = applied({"configs": [{"@type": ADMIN + kind, **item}]}, written)
    assert outcome.applied
    assert '"new"' in json.dumps(after)


def test_an_extension_configuration_is_sent_for_a_filter_that_asks_for_it() -> None:
    asking = dump()
    filters = asking["configs"][2]["dynamic_listeners"][0]["active_state"]["listener"]["filter_chains"][0]["filters"]
    filters[0]["typed_config"]["http_filters"].insert(0, {"name": "mine", "config_discovery": {}})
    after, (first, second) = applied(
        asking, patch("EXTENSION_CONFIG", "ADD", {"name": "mine"}), patch("EXTENSION_CONFIG", "ADD", {"name": "other"})
    )
    assert (first.applied, second.applied) == (True, False)
    assert after["configs"][-1] == {
        "@type": f"{ADMIN}EcdsConfigDump",
        "ecds_filters": [{"ecds_filter": {"name": "mine"}}],
    }


def test_a_removed_resource_is_gone() -> None:
    remove = {"applyTo": "CLUSTER", "patch": {"operation": "REMOVE"}, "match": {"cluster": {"service": "a"}}}
    after, _ = applied(dump(), remove)
    assert after["configs"][1]["dynamic_active_clusters"] == []


def test_camel_case_is_read_and_what_nobody_knows_is_kept() -> None:
    config = {"staticResources": {"clusters": [{"name": "a", "connectTimeout": "5s", "novelty": {"x": [1]}}]}, "my": 1}
    after, _ = applied(config, patch("CLUSTER", "MERGE", {"connect_timeout": "1s"}))
    assert after == {
        "staticResources": {"clusters": [{"name": "a", "connect_timeout": "1s", "novelty": {"x": [1]}}]},
        "my": 1,
    }


@pytest.mark.parametrize("config", [{"a": 1}, [], yaml.safe_load("kind: EnvoyFilter")])
def test_what_is_no_configuration_of_a_proxy_is_refused(config: Any) -> None:
    with pytest.raises(ConfigError):
        applied(config, patch("CLUSTER", "MERGE", {"connect_timeout": "1s"}))


def waypoint(*routes: str) -> dict[str, Any]:
    """What istiod makes for one, in short."""
    host = {"name": "inbound|http|80", "routes": [{"name": name} for name in routes]}
    clusters = [{"name": name} for name in ("outbound|80||a", "inbound-vip|80|http|a", "encap")]
    inner = listener("main_internal", route_config={"name": "inbound-vip|80|http|a", "virtual_hosts": [host]})
    return {"static_resources": {"clusters": clusters, "listeners": [inner, listener("connect_originate")]}}


WAYPOINT = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "w"}


def test_routes_of_a_virtual_service_at_a_waypoint_are_not_patched() -> None:
    merge = patch("VIRTUAL_HOST", "MERGE", {"include_request_attempt_count": True}, context="SIDECAR_INBOUND")
    _, (outcome,) = applied(waypoint("reviews"), merge, kind="waypoint", target=WAYPOINT)
    assert not outcome.applied
    assert "those that a VirtualService makes" in outcome.findings[0].message


def test_what_patches_do_to_a_waypoint() -> None:
    added = {"name": "oauth", "type": "STATIC"}
    after, outcomes = applied(
        waypoint("default"),
        patch("CLUSTER", "MERGE", {"connect_timeout": "1s"}),
        patch("CLUSTER", "ADD", added),
        patch("CLUSTER", "ADD", added | {"name": "outer"}, context="SIDECAR_OUTBOUND"),
        patch("CLUSTER", "ADD", added | {"name": "inner"}, context="SIDECAR_INBOUND"),
        patch("LISTENER", "MERGE", {"stat_prefix": "x"}, context="SIDECAR_INBOUND"),
        patch("LISTENER", "MERGE", {"stat_prefix": "y"}, context="GATEWAY"),
        patch("VIRTUAL_HOST", "MERGE", {"include_request_attempt_count": True}, context="SIDECAR_INBOUND"),
        kind="waypoint",
        target=WAYPOINT,
    )
    assert [outcome.applied for outcome in outcomes] == [True, False, False, True, True, False, True]
    static = after["static_resources"]
    assert static["clusters"] == [
        {"name": "outbound|80||a", "connect_timeout": "1s"}, {"name": "inbound-vip|80|http|a"}, {"name": "encap"},
        {"name": "inner", "type": "STATIC"},
    ]  # fmt: skip
    assert [each["stat_prefix"] for each in static["listeners"]] == ["x", "x"]


def test_what_istiod_makes_after_patching_stays_as_it_is() -> None:
    static = {"clusters": [{"name": "main_internal"}], "listeners": [listener("connect_originate")]}
    after, outcomes = applied(
        {"static_resources": static},
        patch("CLUSTER", "MERGE", {"connect_timeout": "1s"}),
        patch("LISTENER", "MERGE", {"stat_prefix": "x"}),
    )
    assert [outcome.applied for outcome in outcomes] == [False, False]
    assert after == {"static_resources": static}


def test_a_chain_without_filters() -> None:
    """One that is added isn't sent; one whose last filter is removed stays, and closes its connections."""
    name = "envoy.filters.network.http_connection_manager"
    only = {"filterChain": {"filter": {"name": name}}}
    after, outcomes = applied(
        {"static_resources": {"listeners": [listener("a")]}},
        patch("NETWORK_FILTER", "REMOVE", None, listener=only),
        patch("FILTER_CHAIN", "ADD", {"name": "empty"}),
    )
    assert [outcome.applied for outcome in outcomes] == [True, False]
    assert after["static_resources"]["listeners"][0]["filter_chains"] == [{"filters": []}]


def test_a_virtual_host_that_is_added_under_the_name_of_a_removed_one_goes_with_it() -> None:
    routes = {"name": "inbound|80||", "virtual_hosts": [{"name": "v", "domains": ["*"]}]}
    after, outcomes = applied(
        {"static_resources": {"listeners": [listener("a", route_config=routes)]}},
        patch("VIRTUAL_HOST", "REMOVE", None, routeConfiguration={"vhost": {"name": "v"}}),
        patch("VIRTUAL_HOST", "ADD", {"name": "v", "domains": ["*"]}),
    )
    assert [outcome.applied for outcome in outcomes] == [True, False]
    assert outcomes[1].findings[0].code == "duplicate-name"
    (chain,) = after["static_resources"]["listeners"][0]["filter_chains"]
    assert chain["filters"][0]["typed_config"]["route_config"] == {"name": "inbound|80||"}


def test_a_panic_leaves_the_whole_connection_manager_unpatched() -> None:
    """Also the filters that were merged before the one that panics."""
    cors, buffer = (f"type.googleapis.com/envoy.extensions.filters.http.{each}" for each in (
        "cors.v3.Cors", "buffer.v3.Buffer"))  # fmt: skip
    http = [{"name": "b", "typed_config": {"@type": buffer, "max_request_bytes": 1}},
            {"name": "c", "typed_config": {"@type": cors}}]  # fmt: skip
    config = {"static_resources": {"listeners": [listener("a", http_filters=http)]}}
    value = {"typed_config": {"@type": buffer, "max_request_bytes": 2}}
    after, outcomes = applied(config, patch("HTTP_FILTER", "MERGE", value))
    assert (outcomes[0].applied, outcomes[0].panics) == (False, True)
    assert after == config


def test_a_merge_into_a_filter_of_istios_own_type() -> None:
    stats = {"@type": "type.googleapis.com/stats.PluginConfig", "metrics": [{"name": "a"}]}
    config = {"static_resources": {"listeners": [listener("a", http_filters=[{"name": "s", "typed_config": stats}])]}}
    value = {"typed_config": {"@type": stats["@type"], "disable_host_header_fallback": True}}
    after, outcomes = applied(config, patch("HTTP_FILTER", "MERGE", value))
    assert [found.code for found in outcomes[0].findings] == ["not-checked"]
    (chain,) = after["static_resources"]["listeners"][0]["filter_chains"]
    (link,) = chain["filters"][0]["typed_config"]["http_filters"]
    assert link["typed_config"] == stats | {"disable_host_header_fallback": True}


def test_a_certificate_authority_without_a_name_lets_any_of_its_certificates_pass() -> None:
    tls = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
    san = {"san_type": "DNS", "matcher": {"exact": "a"}}
    found = []
    for more in ({}, {"match_typed_subject_alt_names": [san]}):
        context = {"trusted_ca": {"filename": "/ca.pem"}, **more}
        typed = {"@type": tls, "common_tls_context": {"validation_context": context}}
        value = {"name": "a", "type": "STATIC", "transport_socket": {"name": "tls", "typed_config": typed}}
        _, (outcome,) = applied({"static_resources": {"clusters": []}}, patch("CLUSTER", "ADD", value))
        found.append([each.message for each in outcome.findings])
    assert found == [["cluster a verifies who issued a certificate, but not whose it is: any name passes"], []]
