"""Istio's own tests of its patch engine, as data: the same patches on the same objects give the same objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ostiary.dialects.istio_clusters import added_clusters, patch_cluster
from ostiary.dialects.istio_listeners import patch_listeners
from ostiary.dialects.istio_match import Run
from ostiary.dialects.istio_message import Message, read
from ostiary.dialects.istio_objects import VALUE_TYPES
from ostiary.dialects.istio_reader import read_objects
from ostiary.dialects.istio_routes import patch_routes
from ostiary.dialects.istio_selection import Proxy, select
from ostiary.dialects.schema_values import plain
from ostiary.dialects.yaml_nodes import parse

FOLDER = Path(__file__).parent / "istio_cases"
TYPES = {"clusters": "CLUSTER", "listeners": "LISTENER", "routes": "ROUTE_CONFIGURATION"}
TABLES = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))}
CASES = [(name, case["name"]) for name, table in TABLES.items() for case in table["cases"]]
METADATA = {"foo": "sidecar", "bar": "proxy"}


def messages(written: list[Any], kind: str) -> list[Message]:
    return [read(parse(yaml.safe_dump(item).encode(), "input.yaml"), VALUE_TYPES[TYPES[kind]]) for item in written]


def as_json(found: list[Message]) -> list[Any]:
    return [spelt(plain(message.node())) for message in found]


def spelt(value: Any) -> Any:
    """Leaves as text: a number may be quoted."""
    if isinstance(value, dict):
        return {key: spelt(item) for key, item in value.items()}
    return [spelt(item) for item in value] if isinstance(value, list) else str(value)


def patched(table: dict[str, Any], case: dict[str, Any]) -> list[Message]:
    kind = table["kind"]
    filters, _ = read_objects(yaml.safe_dump_all(table["filters"]).encode(), "filters.yaml")
    proxy = Proxy(kind=case["proxy"], namespace="not-default", labels={}, version="1.2.2", metadata=METADATA)
    reaching, _ = select(filters, proxy)
    run = Run(case["context"], reaching)
    found = messages(case["input"], kind)
    if kind == "listeners":
        return patch_listeners(run, found, skip_adds=case.get("skip_adds", False))
    if kind == "routes":
        for each in found:
            patch_routes(run, each)
        return found
    kept = [patch_cluster(run, each, case.get("hosts", ())) for each in found]
    return [each for each in kept if each is not None] + added_clusters(run)


@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name}: {case}" for name, case in CASES])
def test_istio_own_case(name: str, case: str) -> None:
    table = TABLES[name]
    found = next(each for each in table["cases"] if each["name"] == case)
    assert as_json(patched(table, found)) == as_json(messages(found["expected"], table["kind"]))
