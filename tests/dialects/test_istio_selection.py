"""Istio's own tables of which EnvoyFilters reach a proxy, and in which order (pilot/pkg/model/*_test.go)."""

from __future__ import annotations

from typing import Any

import pytest

from ostiary.dialects.istio_objects import EnvoyFilter, Match, Patch, ProxyMatch, TargetRef
from ostiary.dialects.istio_selection import Proxy, in_order, select
from ostiary.dialects.yaml_nodes import parse

PLACE = parse(b"{}", "ef.yaml")
VERSION = r"1\.4.*"
GATEWAY_LABEL = "gateway.networking.k8s.io/gateway-name"


def filters(name: str, apply_to: str, *, namespace: str, version: str = "", **more: Any) -> EnvoyFilter:
    match = Match(proxy=ProxyMatch(version=version) if version else None)
    keys = {"patch": PLACE, "applyTo": PLACE}
    patch = Patch(index=0, place=PLACE, apply_to=apply_to, operation="REMOVE", match=match, keys=keys)
    return EnvoyFilter(name=name, namespace=namespace, place=PLACE, patches=(patch,), **more)


def ref(kind: str, name: str) -> tuple[TargetRef, ...]:
    return (TargetRef(group="gateway.networking.k8s.io", kind=kind, name=name),)


def world() -> list[EnvoyFilter]:
    found = []
    for namespace in ("istio-system", "test-ns"):
        found += [
            filters("ef1", "LISTENER", namespace=namespace, version=VERSION, selector={"app": "v1"}),
            filters("ef2", "CLUSTER", namespace=namespace, version=VERSION, selector={"app": "v1"}),
            filters("ef-with-target-ref", "CLUSTER", namespace=namespace, version=VERSION,
                    target_refs=ref("Gateway", "gateway-1")),
            filters("ef-for-waypoint", "CLUSTER", namespace=namespace, target_refs=ref("Gateway", "waypoint")),
        ]  # fmt: skip
    root = {"namespace": "istio-system", "version": VERSION, "target_refs": ref("GatewayClass", "istio-waypoint")}
    return [*found, filters("ef-gatewayclass-root", "HTTP_FILTER", **root)]


@pytest.mark.parametrize(
    ("kind", "labels", "version", "namespace", "reached"),
    [
        ("sidecar", {"app": "v1"}, "1.4.0", "test-ns", (2, 2, 0)),
        ("sidecar", {"app": "v1"}, "1.4.0", "istio-system", (1, 1, 0)),
        ("sidecar", {"app": "v2"}, "1.4.0", "test-ns", (0, 0, 0)),
        ("sidecar", {"app": "v1"}, "1.4.0", "test-n2", (1, 1, 0)),
        ("sidecar", {"app": "v1"}, "1.3.0", "test-ns", (0, 0, 0)),
        # Istio's test has the objects of test-ns in its index of istio-system too, and so counts 2 clusters here
        ("sidecar", {GATEWAY_LABEL: "gateway-1"}, "1.4.0", "test-ns", (0, 1, 0)),
        ("waypoint", {GATEWAY_LABEL: "waypoint"}, "1.4.0", "test-ns", (0, 1, 1)),
        ("waypoint", {GATEWAY_LABEL: "istio-waypoint"}, "1.4.0", "test-ns", (0, 0, 1)),
    ],
)
def test_which_patches_reach_a_proxy(
    kind: Any, labels: dict[str, str], version: str, namespace: str, reached: tuple[int, int, int]
) -> None:
    proxy = Proxy(kind=kind, labels=labels, version=version, namespace=namespace)
    reaching, left_out = select(world(), proxy)
    kinds = [active.patch.apply_to for active in reaching]
    assert (kinds.count("LISTENER"), kinds.count("CLUSTER"), kinds.count("HTTP_FILTER")) == reached
    assert len(reaching) + len(left_out) == len(world())


def test_the_order_within_a_namespace() -> None:
    written = [
        ("default-priority", "testns-1", 0, 0.0), ("default-priority", "testns", 0, 0.0),
        ("b-medium-priority", "testns-1", 10, 5.0), ("a-medium-priority", "testns-1", 10, 5.0),
        ("b-medium-priority", "testns", 10, 5.0), ("a-medium-priority", "testns", 10, 5.0),
        ("a-low-priority", "testns", 20, 6.0), ("b-low-priority", "testns", 20, 5.0),
        ("high-priority", "testns", -1, 0.0), ("super-high-priority", "testns", -10, 0.0),
        ("default-priority", "istio-system", 0, 9.0),
    ]  # fmt: skip
    found = [filters(name, "CLUSTER", namespace=ns, priority=p, created=at) for name, ns, p, at in written]
    assert [each.full_name for each in in_order(found, "istio-system") if each.namespace != "testns-1"] == [
        "testns/super-high-priority", "testns/high-priority", "istio-system/default-priority",
        "testns/default-priority", "testns/a-medium-priority", "testns/b-medium-priority", "testns/b-low-priority",
        "testns/a-low-priority",
    ]  # fmt: skip


def test_the_priority_decides_across_namespaces() -> None:
    found = [
        filters("filter-2", "CLUSTER", namespace="istio-system", priority=-1),
        filters("filter-1", "CLUSTER", namespace="test-ns", priority=-5),
    ]
    assert [each.name for each in in_order(found, "istio-system")] == ["filter-1", "filter-2"]


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        (
            r"^1\.19.*",
            {"1.19": True, "1.19.0": True, "1.19-dev.foo": True, "1.5": False, "11.19": False, "foo1.19": False},
        ),
        (
            r"1\.19.*",
            {"1.19": True, "1.19.0": True, "1.19-dev.foo": True, "1.5": False, "11.19": True, "foo1.19": True},
        ),
        ("foobar", {"1.19": False, "1.19.0": False, "1.19-dev.foo": False, "foobar": True}),
        ("a{100}" * 200, {"1.19": False, "1.19.0": False, "foobar": False, "": False}),
    ],
)
def test_versions(expression: str, matches: dict[str, bool]) -> None:
    found = [filters("a", "CLUSTER", namespace="a", version=expression)]
    for version, expected in matches.items():
        reaching, _ = select(found, Proxy(namespace="a", labels={}, version=version))
        assert bool(reaching) is expected, version


def test_what_nobody_knows_of_a_proxy_is_not_looked_at() -> None:
    found = [filters("a", "CLUSTER", namespace="a", version="nope", selector={"app": "x"})]
    (active,), _ = select(found, Proxy(namespace=None, labels=None, version=None, metadata=None))
    assert {finding.code for finding in active.findings} == {"not-checked"}


@pytest.mark.parametrize(
    ("kind", "labels", "given", "code"),
    [
        ("gateway", {GATEWAY_LABEL: "edge", "app": "v1"}, {"selector": {"app": "v1"}}, None),
        ("gateway", {GATEWAY_LABEL: "edge"}, {}, None),
        ("gateway", {GATEWAY_LABEL: "edge"}, {"selector": {"app": "v1"}}, "selector-mismatch"),
        ("gateway", {GATEWAY_LABEL: "edge"}, {"target_refs": ref("Gateway", "other")}, "selector-mismatch"),
        ("waypoint", {GATEWAY_LABEL: "edge", "app": "v1"}, {"selector": {"app": "v1"}}, "no-target-ref"),
        ("sidecar", {"app": "v1"}, {"target_refs": ref("Gateway", "edge")}, "target-refs-ignored"),
        ("gateway", None, {"target_refs": ref("Gateway", "edge")}, None),  # it may be the one that is meant
    ],
)
def test_a_gateway_takes_selectors_too_and_a_waypoint_references_only(
    kind: Any, labels: Any, given: Any, code: str | None
) -> None:
    """Istio's default: ENABLE_SELECTOR_BASED_K8S_GATEWAY_POLICY is on."""
    proxy = Proxy(kind=kind, labels=labels, namespace="ns")
    reaching, left_out = select([filters("one", "CLUSTER", namespace="ns", **given)], proxy)
    assert len(reaching) == (code is None)
    assert [found.code for active in left_out for found in active.findings] == ([code] if code else [])


def test_an_envoyfilter_for_a_service_is_for_nobody() -> None:
    """istiod asks without the services of the waypoint (push_context.go, getMatchedEnvoyFilters)."""
    proxy = Proxy(kind="waypoint", labels={GATEWAY_LABEL: "edge"}, namespace="ns")
    service = (TargetRef(kind="Service", name="web"),)
    reaching, (active,) = select([filters("one", "CLUSTER", namespace="ns", target_refs=service)], proxy)
    assert reaching == []
    assert "istiod looks at Gateway and GatewayClass only" in active.findings[0].message
