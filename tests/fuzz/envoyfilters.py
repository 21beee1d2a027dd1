"""EnvoyFilters: whatever they hold, they are read, applied and explained, or refused at their place.

The input is a file of Kubernetes objects. It is applied to a sidecar as `ostiary patch` does it, and run as
`ostiary run` does it.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from fuzz.configuration import _can_start, _have_places, _read
from istio_example import AUTHENTICATION, GOOD
from ostiary.dialects import istio
from ostiary.dialects.istio_proxy import patch_config
from ostiary.dialects.istio_reader import read_objects
from ostiary.dialects.istio_selection import Proxy
from ostiary.dialects.yaml_nodes import parse
from ostiary.dialects.yaml_write import to_json, to_yaml

FOLDER = Path(__file__).parents[1] / "dialects"
SIDECAR = parse((FOLDER / "istio_traps" / "sidecar.yaml").read_bytes(), "sidecar.yaml")
PROXY = Proxy(namespace="default", labels={"app": "httpbin", "version": "v1"}, version="1.29.1")
FILE = "file.yaml"


def _seed(case: dict) -> bytes:  # type: ignore[type-arg]
    head = {"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter"}
    spec = {**case.get("spec", {}), "configPatches": case["patches"]}
    return yaml.safe_dump({**head, "metadata": {"name": "a", "namespace": "default"}, "spec": spec}).encode()


TRAPS = yaml.safe_load((FOLDER / "istio_traps" / "traps.yaml").read_text())
SEEDS = (
    GOOD.encode(),
    (GOOD + AUTHENTICATION).encode(),
    *(_seed(case) for case in TRAPS[::6]),
    b"kind: List\nitems:\n- {apiVersion: networking.istio.io/v1, kind: EnvoyFilter, spec: {configPatches: 1}}\n",
    b"apiVersion: networking.istio.io/v1\nkind: EnvoyFilter\nspec: {configPatches: [{patch: {}}, 1, {match: 1}]}\n",
)
WORDS = (
    b"applyTo: ", b"HTTP_FILTER", b"CLUSTER", b"operation: ", b"MERGE", b"REMOVE", b"REPLACE", b"match: ", b"value: ",
    b"'@type': ", b"type.googleapis.com/google.protobuf.Any", b"typed_config: ", b"{}", b"[]", b"null", b"*a", b"&a ",
)  # fmt: skip


def one(data: bytes) -> None:
    found = _read(lambda: read_objects(data, FILE), data)
    if isinstance(found, tuple) and found[0]:
        _applied(found[0], data)
    if len(data) < 100_000:
        _runs(data)


def _applied(filters: list, data: bytes) -> None:  # type: ignore[type-arg]
    """Each patch has one outcome: it hit something, or there is an error that says why not."""
    patched = patch_config(SIDECAR, filters, PROXY)
    assert len(patched.outcomes) == sum(len(each.patches) for each in filters)
    for outcome in patched.outcomes:
        assert outcome.applied or any(finding.severity == "error" for finding in outcome.findings)
        _have_places([finding.diagnostic() for finding in outcome.findings], data)
    changed = to_json(patched.before) != to_json(patched.after)
    assert any(outcome.applied or outcome.panics for outcome in patched.outcomes) or not changed
    again = parse(to_yaml(patched.after).encode(), FILE, merge=False)
    assert to_json(again) == to_json(patched.after)


def _runs(data: bytes) -> None:
    flags = {"upstream": "http://127.0.0.1:1"}
    config, found = istio.load([(FILE, data)], flags=flags, env={}, read=_file)
    assert (config is None) == any(each.severity == "error" for each in found)
    mine = [each for each in found if each.file == FILE]
    _have_places(mine, data)
    if config is not None:
        _can_start(config)


def _file(name: str) -> bytes:
    raise FileNotFoundError(2, "No such file or directory", name)
