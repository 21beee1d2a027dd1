"""Parts of a config dump; whatever a query says, nothing raises."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ostiary.admin.field_mask import is_valid, trimmed
from ostiary.admin.page import Request
from ostiary.admin.pages.config_dump import shown

ADMIN = "type.googleapis.com/envoy.admin.v3."
CLUSTER = {
    "cluster": {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": "app",
        "load_assignment": {"cluster_name": "app", "endpoints": [{"lb_endpoints": []}]},
    },
    "last_updated": "now",
}
DUMP: list[dict[str, Any]] = [
    {"@type": f"{ADMIN}BootstrapConfigDump", "bootstrap": {"node": {"id": "x"}, "admin": {}}, "last_updated": "now"},
    {"@type": f"{ADMIN}ClustersConfigDump", "static_clusters": [CLUSTER]},
    {"@type": f"{ADMIN}SecretsConfigDump"},
]
FIELDS = {"cluster": "google.protobuf.Any", "last_updated": ""}
NAMES = st.sampled_from(
    ["static_clusters", "cluster", "name", "bootstrap", "node", "admin", "", "load_assignment", "é", "*"]
)


def test_paths_lead_through_messages_and_end_at_lists() -> None:
    assert is_valid("cluster.name", CLUSTER, FIELDS)
    assert is_valid("cluster.load_assignment.endpoints", CLUSTER, FIELDS)
    assert is_valid("cluster.eds_cluster_config.service_name", CLUSTER, FIELDS), "a field that isn't written"
    for wrong in (
        "bogus",
        "cluster.bogus",
        "cluster.load_assignment.endpoints.lb_endpoints",
        "last_updated.x",
        "cluster.",
    ):
        assert not is_valid(wrong, CLUSTER, FIELDS), wrong


def test_what_is_named_stays_with_its_type() -> None:
    assert trimmed(CLUSTER, ["cluster.name", "cluster.load_assignment.cluster_name"]) == {
        "cluster": {
            "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            "name": "app",
            "load_assignment": {"cluster_name": "app"},
        }
    }
    assert trimmed(CLUSTER, ["cluster", "cluster.name"]) == {"cluster": CLUSTER["cluster"]}
    deep = {"bootstrap": {"node": {"id": "x", "cluster": "y", "metadata": {}}, "admin": {}}}
    paths = ["bootstrap.node.id", "bootstrap.node.cluster"]
    assert trimmed(deep, paths) == {"bootstrap": {"node": {"id": "x", "cluster": "y"}}}


@given(st.lists(st.lists(NAMES, max_size=4).map(".".join), max_size=3).map(",".join), NAMES, st.text(max_size=8))
def test_any_query_gets_an_answer(mask: str, resource: str, name_regex: str) -> None:
    query = f"/config_dump?mask={mask}&resource={resource}&name_regex={name_regex}"
    reply = shown(DUMP, Request("GET", query))
    assert reply.status in (200, 400, 404)
    if reply.status == 200:
        assert isinstance(json.loads(reply.body), dict)
