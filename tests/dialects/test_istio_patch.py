"""Every trap of EnvoyFilters: what comes of each patch, and what is said about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ostiary.dialects.istio_findings import Outcome
from ostiary.dialects.istio_proxy import facts, patch_config
from ostiary.dialects.istio_reader import read_objects
from ostiary.dialects.istio_selection import Proxy
from ostiary.dialects.yaml_nodes import parse
from ostiary.dialects.yaml_write import value

FOLDER = Path(__file__).parent / "istio_traps"
TRAPS = yaml.safe_load((FOLDER / "traps.yaml").read_text())


def envoy_filter(case: dict[str, Any], name: str) -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": name, "namespace": case.get("namespace", "default")},
        "spec": {**case.get("spec", {}), "configPatches": case["patches"]},
    }


def patched(objects: list[dict[str, Any]]) -> tuple[Any, list[Outcome]]:
    """sidecar.yaml with the objects applied, and the outcomes."""
    filters, _ = read_objects(yaml.safe_dump_all(objects).encode(), "envoyfilter.yaml")
    root = parse((FOLDER / "sidecar.yaml").read_bytes(), "sidecar.yaml")
    known = facts(root)
    proxy = Proxy(namespace=known.namespace, labels=known.labels, version=known.version, metadata=known.metadata or {})
    found = patch_config(root, filters, proxy)
    return value(found.after), list(found.outcomes)


def at(tree: Any, path: str) -> Any:
    for step in path.split("."):
        tree = tree[int(step)] if isinstance(tree, list) else tree[step]
    return tree


@pytest.mark.parametrize("case", TRAPS, ids=[case["name"] for case in TRAPS])
def test_trap(case: dict[str, Any]) -> None:
    objects = [envoy_filter(case, "one"), *(envoy_filter(each, "two") for each in case.get("more", ()))]
    result, outcomes = patched(objects)
    by_name = sorted(outcomes, key=lambda found: (found.owner.name, found.patch.index))
    assert [sorted(found.code for found in outcome.findings) for outcome in by_name] == case["codes"]
    assert [outcome.applied for outcome in by_name] == case["applied"]
    said = [str(found.diagnostic()) for outcome in by_name for found in outcome.findings]
    assert case.get("says", "") in "\n".join(said)
    for path, expected in case.get("see", {}).items():
        assert at(result["static_resources"], path) == expected
