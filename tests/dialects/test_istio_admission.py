"""Istio's own table of what its webhook says (pkg/config/validation/envoyfilter/envoyfilter_test.go), and more."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ostiary.dialects.istio_admission import admit
from ostiary.dialects.istio_findings import Finding
from ostiary.dialects.istio_reader import read_objects

HCM = "envoy.filters.network.http_connection_manager"


def admitted(spec: dict[str, Any]) -> list[Finding]:
    written = {"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter", "metadata": {"name": "foo"}}
    (owner,), _ = read_objects(yaml.safe_dump({**written, "spec": spec}).encode(), "ef.yaml")
    return [finding for active in admit(owner) for finding in active.findings]


def said(apply_to: str, match: Any, patch: Any) -> list[str]:
    """The messages about one patch that refuse it or warn, with their code."""
    found = admitted({"configPatches": [{"applyTo": apply_to, "match": match, "patch": patch}]})
    return [f"{finding.code}: {finding.message}" for finding in found if finding.severity != "info"]


def subfilter(name: str, **sub: str) -> Any:
    return {"listener": {"filterChain": {"filter": {"name": name, "subFilter": sub}}}}


REMOVE = {"operation": "REMOVE"}


def add(**value: Any) -> Any:
    return {"operation": "ADD", "value": value}


@pytest.mark.parametrize(
    ("apply_to", "match", "patch", "message"),
    [
        (None, None, None, "refused: refused by Istio's webhook: missing applyTo"),
        ("LISTENER", None, None, "missing patch"),
        ("LISTENER", None, {}, "missing patch operation"),
        ("LISTENER", None, {"operation": "ADD"}, "missing patch value for an operation other than REMOVE"),
        ("LISTENER", {"proxy": {"proxyVersion": "%#@~++==`24c234`"}}, REMOVE, "invalid regular expression"),
        ("LISTENER", {"proxy": {"proxyVersion": r"release-1\.2-23434"}}, REMOVE, None),
        ("LISTENER", {"proxy": {"proxyVersion": "a{100}" * 200}}, REMOVE, "admission-warning: a proxyVersion of more"),
        ("LISTENER", {"cluster": {}}, REMOVE, "applyTo LISTENER can't have a match of cluster"),
        (
            "NETWORK_FILTER",
            {"listener": {"filterChain": {"sni": "124", "filter": {}}}},
            REMOVE,
            "has no name to match on",
        ),
        ("NETWORK_FILTER", subfilter("random"), REMOVE, "can be used with applyTo HTTP_FILTER only"),
        ("HTTP_FILTER", subfilter("random"), REMOVE, f"requires a filter match with {HCM}"),
        ("HTTP_FILTER", subfilter(HCM), REMOVE, "the subFilter match has no name to match on"),
        ("VIRTUAL_HOST", {"cluster": {}}, REMOVE, "applyTo VIRTUAL_HOST can't have a match of cluster"),
        ("CLUSTER", {"listener": {}}, REMOVE, "applyTo CLUSTER can't have a match of listener"),
        ("CLUSTER", {"cluster": {}}, add(name=False), "refused: refused: text is expected here"),
        ("CLUSTER", {"cluster": {}}, add(lb_policy="RING_HASH"), None),
        (
            "NETWORK_FILTER",
            {"listener": {"filterChain": {"name": "envoy.tcp_proxy"}}},
            {
                "operation": "INSERT_FIRST",
                "value": {
                    "typed_config": {"@type": "type.googleapis.com/envoy.config.filter.network.ext_authz.v2.ExtAuthz"}
                },
            },
            "could not resolve Any message type",
        ),
        (
            "HTTP_FILTER",
            {"listener": {"filterChain": {"filter": {"name": "envoy.http_connection_manager"}}}},
            {"operation": "INSERT_FIRST", "value": {}},
            f"admission-warning: 'envoy.http_connection_manager' is a name of old: Istio's filter is called {HCM}",
        ),
        ("CLUSTER", None, add(dns_refresh_rate="500ms"), None),
        (
            "LISTENER",
            {"listener": {"filterChain": {"filter": {"name": HCM}}}},
            REMOVE,
            "no-effect: a filter match has no",
        ),
    ],
)
def test_what_the_webhook_says(apply_to: Any, match: Any, patch: Any, message: str | None) -> None:
    found = said(apply_to, match, patch)
    if message is None:
        assert found == []
    else:
        assert any(message in each for each in found), found


def test_objects_without_patches_and_selectors_without_labels_pass() -> None:
    assert admitted({}) == []
    (found,) = admitted({"workloadSelector": {}, "configPatches": [{"applyTo": "CLUSTER", "patch": REMOVE}]})
    assert (found.code, found.severity) == ("admission-warning", "warning")
    found = admitted(
        {"workloadSelector": {"labels": {"app": "*"}}, "configPatches": [{"applyTo": "CLUSTER", "patch": REMOVE}]}
    )[0]
    assert "a wildcard or an empty key" in found.message


@pytest.mark.parametrize(
    ("written", "sent"),
    [("500ms", "0.5s"), ("1m30s", "90s"), ("1.5h", "5400s"), ("10s", "10s"), ("1us", "0.000001s"), ("0s", "0s")],
)
def test_durations_are_gos(written: str, sent: str) -> None:
    patch = {"applyTo": "CLUSTER", "patch": add(connect_timeout=written)}
    text = {"apiVersion": "networking.istio.io/v1", "kind": "EnvoyFilter", "spec": {"configPatches": [patch]}}
    (owner,), _ = read_objects(yaml.safe_dump(text).encode(), "ef.yaml")
    (active,) = admit(owner)
    assert active.value is not None
    assert active.value.text("connect_timeout") == sent


@pytest.mark.parametrize("written", ["10", "ten", "-1s", "1s2", "", "s"])
def test_what_is_no_duration_is_refused(written: str) -> None:
    assert said("CLUSTER", None, add(connect_timeout=written))[0].startswith("refused: ")
