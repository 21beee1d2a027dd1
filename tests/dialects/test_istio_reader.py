"""What the API server says to the form of an EnvoyFilter (Istio's CustomResourceDefinition), each at its place."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ostiary.dialects.istio_reader import read_objects

REF = {"kind": "Gateway", "name": "a"}


def said(spec: dict[str, Any], version: str = "networking.istio.io/v1alpha3") -> list[str]:
    text = {"apiVersion": version, "kind": "EnvoyFilter", "metadata": {"name": "a"}, "spec": spec}
    (owner,), _ = read_objects(yaml.safe_dump(text).encode(), "ef.yaml")
    return [str(problem) for problem in owner.problems]


def patch(**match: Any) -> dict[str, Any]:
    return {"configPatches": [{"applyTo": "HTTP_FILTER", "match": match, "patch": {"operation": "REMOVE"}}]}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"filters": []}, "spec.filters: no such field in an EnvoyFilter"),
        ({"workloadLabels": {"a": "b"}}, "(write workloadSelector: {labels: {...}})"),
        ({"workloadSelector": {"labels": {"a": "b" * 64}}}, "a label's value has 63 characters at most"),
        ({"targetRefs": [REF] * 17}, "spec.targetRefs: there may be 16 at most"),
        ({"targetRefs": [{"kind": "Gateway"}]}, "spec.targetRefs[0].name: name is required"),
        ({"targetRefs": [REF | {"namespace": "b"}]}, "a targetRef can't name another namespace"),
        ({"targetRefs": [REF], "workloadSelector": {"labels": {}}}, "only one of targetRefs and workloadSelector"),
        (patch(waypoint={}), "a waypoint match needs the context WAYPOINT"),
        (patch(context="WAYPOINT", waypoint={"portNumber": 65536}), "a port from 1 to 65535"),
        (patch(context="WAYPOINT", waypoint={"filter": {"subfilter": {}}}), "did you mean 'subFilter'?"),
        (patch(listener={}, cluster={}), "only one of listener and cluster may be set"),
    ],
)  # fmt: skip
def test_what_the_api_server_refuses(spec: dict[str, Any], message: str) -> None:
    found = said(spec)
    assert any(message in each for each in found), found


@pytest.mark.parametrize(
    "spec",
    [
        {"targetRefs": [REF | {"group": "gateway.networking.k8s.io"}] * 16},
        patch(context="WAYPOINT", waypoint={"portNumber": 80, "filter": {"name": "a", "subFilter": {"name": "b"}}}),
        patch(listener={"filterChain": {"transportSocket": "tls"}}),
    ],
)
def test_what_it_takes(spec: dict[str, Any]) -> None:
    assert said(spec) == []


def test_a_version_that_is_missing() -> None:
    (owner,), _ = read_objects(b"kind: EnvoyFilter\nspec: {}\n", "ef.yaml")
    assert [str(problem) for problem in owner.problems] == [
        "ef.yaml:1:1: error: apiVersion: missing (write networking.istio.io/v1alpha3)"
    ]


def test_another_version_is_none() -> None:
    (found,) = said({}, "networking.istio.io/v1")
    assert "warning: apiVersion: the API server has no EnvoyFilter of this version" in found
