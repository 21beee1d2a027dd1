"""Istio's own tables of what a match matches (.../envoyfilter/{cluster,rc}_patch_test.go)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ostiary.dialects import istio_match
from ostiary.dialects.istio_findings import Active
from ostiary.dialects.istio_match import Run
from ostiary.dialects.istio_message import read
from ostiary.dialects.istio_objects import VALUE_TYPES
from ostiary.dialects.istio_reader import read_objects
from ostiary.dialects.istio_routes import gateway_route, patch_routes
from ostiary.dialects.schema_values import plain
from ostiary.dialects.yaml_nodes import parse

FULL = {"portNumber": 80, "service": "foo.bar", "subset": "v1"}


def active(apply_to: str, match: Any, operation: str = "REMOVE", value: Any = None) -> Active:
    patch = {"applyTo": apply_to, "match": match, "patch": {"operation": operation, "value": value}}
    text = {"apiVersion": "networking.istio.io/v1", "kind": "EnvoyFilter", "spec": {"configPatches": [patch]}}
    (owner,), _ = read_objects(json.dumps(text).encode(), "ef.yaml")
    message = None if value is None else read(parse(json.dumps(value).encode(), "v.yaml"), VALUE_TYPES[apply_to])
    return Active(owner, owner.patches[0], message)


@pytest.mark.parametrize(
    ("name", "match", "hosts", "expected"),
    [
        ("scrappy", {"name": "scooby"}, (), False),
        ("outbound|80|v2|foo.bar", FULL, (), False),
        ("outbound|80|v1|google.com", FULL, (), False),
        ("inbound|80||", {"service": "foo.bar"}, ("foo.bar",), True),
        ("outbound|90|v1|foo.bar", FULL, (), False),
        ("outbound|80|v1|foo.bar", FULL, (), True),
        ("outbound_.80_.v1_.foo.bar", FULL, (), True),
        ("oauth", {"service": "oauth"}, (), False),
    ],
)
def test_clusters(name: str, match: Any, hosts: tuple[str, ...], expected: bool) -> None:
    found = read(parse(json.dumps({"name": name}).encode(), "c.yaml"), VALUE_TYPES["CLUSTER"])
    assert istio_match.cluster(active("CLUSTER", {"cluster": match}), found, hosts) is expected


def hit(apply_to: str, context: str, match: Any, routes: Any) -> bool:
    """Whether a patch changes a route configuration."""
    value = {"ROUTE_CONFIGURATION": {"name": "hit"}, "VIRTUAL_HOST": {"name": "hit"}, "HTTP_ROUTE": {"name": "hit"}}[
        apply_to
    ]
    found = read(parse(json.dumps(routes).encode(), "r.yaml"), VALUE_TYPES["ROUTE_CONFIGURATION"])
    patch_routes(Run(context, [active(apply_to, {"routeConfiguration": match}, "MERGE", value)]), found)
    return "hit" in json.dumps(plain(found.node()))


@pytest.mark.parametrize(
    ("context", "match", "name", "expected"),
    [
        ("SIDECAR_OUTBOUND", {}, "80", True),
        ("SIDECAR_OUTBOUND", {"name": "scooby.80"}, "scooby.90", False),
        ("SIDECAR_OUTBOUND", {"portNumber": 80}, "80", True),
        ("SIDECAR_OUTBOUND", {"portNumber": 80}, "90", False),
        ("SIDECAR_INBOUND", {"portNumber": 8080}, "inbound|8080||", True),
        ("GATEWAY", {"portNumber": 443, "portName": "app1", "gateway": "ns1/gw1"}, "https.443.app1.gw1.ns1", True),
        ("GATEWAY", {"portNumber": 443, "portName": "app1", "gateway": "ns1/gw1"}, "http.80", False),
        ("GATEWAY", {"portNumber": 9090}, "http.9090", True),
        ("GATEWAY", {"portNumber": 80}, "http.8080", True),  # the Gateway's port and the pod's
        ("GATEWAY", {"portNumber": 81}, "http.8080", False),
        ("GATEWAY", {"portNumber": 443}, "https.8443.app1.gw1.ns1", False),
    ],
)
def test_route_configurations(context: str, match: Any, name: str, expected: bool) -> None:
    assert hit("ROUTE_CONFIGURATION", context, match, {"name": name}) is expected


@pytest.mark.parametrize(
    ("match", "host", "expected"),
    [
        ({"name": "scooby"}, {"name": "scooby"}, True),
        ({"name": "scooby"}, {"name": "scrappy"}, False),
        ({"domainName": "a.b"}, {"name": "scooby", "domains": ["a.b"]}, True),
        ({"name": "scooby", "domainName": "a.b"}, {"name": "scooby", "domains": ["a.b"]}, True),
        ({"domainName": "a.b"}, {"name": "scooby", "domains": ["c.d"]}, False),
        ({"name": "x", "domainName": "a.b"}, {"name": "scooby", "domains": ["a.b"]}, False),
        ({"name": "scooby", "domainName": "x"}, {"name": "scooby", "domains": ["a.b"]}, False),
    ],
)
def test_virtual_hosts(match: Any, host: Any, expected: bool) -> None:
    assert hit("VIRTUAL_HOST", "SIDECAR_OUTBOUND", {"vhost": match}, {"virtual_hosts": [host]}) is expected


@pytest.mark.parametrize(
    ("match", "route", "expected"),
    [
        ({"name": "scooby"}, {"name": "scooby"}, True),
        ({"action": "REDIRECT"}, {"redirect": {}}, True),
        ({"action": "ROUTE"}, {"redirect": {}}, False),
        ({"action": "ROUTE"}, {"non_forwarding_action": {}}, True),
    ],
)
def test_routes(match: Any, route: Any, expected: bool) -> None:
    routes = {"virtual_hosts": [{"name": "v", "routes": [route]}]}
    assert hit("HTTP_ROUTE", "SIDECAR_OUTBOUND", {"vhost": {"route": match}}, routes) is expected


@pytest.mark.parametrize(("operation", "domains"), [("MERGE", ["a", "b"]), ("MERGE_AND_REPLACE_LIST", ["b"])])
def test_lists_of_a_virtual_host(operation: str, domains: list[str]) -> None:
    routes = {"name": "inbound|http|80", "virtual_hosts": [{"name": "vhost1", "domains": ["a"]}]}
    found = read(parse(json.dumps(routes).encode(), "r.yaml"), VALUE_TYPES["ROUTE_CONFIGURATION"])
    match = {"routeConfiguration": {"vhost": {"name": "vhost1"}}}
    patch_routes(Run("SIDECAR_INBOUND", [active("VIRTUAL_HOST", match, operation, {"domains": ["b"]})]), found)
    assert found.messages("virtual_hosts")[0].texts("domains") == domains


def test_the_names_of_a_gateways_routes() -> None:
    assert gateway_route("http.80") == (80, "", "")
    assert gateway_route("https.443.app1.gw1.ns1") == (443, "app1", "ns1/gw1")
    assert gateway_route("https.443.app1.gw1.ns1.1.2.3.4") == gateway_route("http.80.1.2.3.4") == (0, "", "")
    assert gateway_route("anything.80") == (0, "", "")
