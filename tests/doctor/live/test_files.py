"""A dump in a file says what the proxy itself would: what warms, was refused, is not there."""

# ruff: noqa: E501 - dumps as proxies write them

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from doctor.rules.facts import find
from ostiary.doctor.configuration.read import read
from ostiary.doctor.live.files import dump_facts

TYPE = "type.googleapis.com/envoy.admin.v3."
OAUTH2 = {
    "@type": "type.googleapis.com/envoy.extensions.filters.http.oauth2.v3.OAuth2",
    "config": {
        "token_endpoint": {"cluster": "oauth", "uri": "https://login.example/token"},
        "redirect_uri": "https://a/c",
    },
}
LISTENER: dict[str, Any] = {
    "name": "in", "filter_chains": [{"filters": [{"typed_config": {"http_filters": [{"name": "o", "typed_config": OAUTH2}]}}]}]
}  # fmt: skip
WARMING = {
    "@type": f"{TYPE}SecretsConfigDump",
    "dynamic_warming_secrets": [{"name": "token", "version_info": "uninitialized"}],
}
REFUSED = {
    "@type": f"{TYPE}ListenersConfigDump",
    "dynamic_listeners": [
        {"name": "in", "error_state": {"details": "OAuth2 filter: unknown cluster 'oauth' in config."}}
    ],
}
RUNNING = {
    "@type": f"{TYPE}ListenersConfigDump",
    "dynamic_listeners": [{"name": "in", "active_state": {"listener": LISTENER}}],
}
OTHER = {
    "@type": f"{TYPE}ClustersConfigDump",
    "dynamic_active_clusters": [{"cluster": {"name": "other", "type": "STATIC", "connect_timeout": "1s"}}],
}


def camel(data: Any) -> Any:
    if isinstance(data, dict):
        head = {key: key.split("_")[0] + "".join(map(str.capitalize, key.split("_")[1:])) for key in data}
        return {head[key]: camel(value) for key, value in data.items()}
    return [camel(each) for each in data] if isinstance(data, list) else data


@pytest.mark.parametrize(("configs", "rule"), [
    ([WARMING], "secret-not-delivered"),
    ([REFUSED], "cluster-unknown"),
    ([RUNNING, OTHER], "cluster-unknown"),
    ([OTHER], "none"),
], ids=["a secret that warms", "a listener that was refused", "no such cluster", "nothing"])  # fmt: skip
@pytest.mark.parametrize("form", [
    json.dumps,
    lambda dump: json.dumps(camel(dump)),
    lambda dump: yaml.safe_dump({"xds": {"default": {"envoy-1": camel(dump)}}}),
], ids=["Envoy's", "istioctl's", "egctl's"])  # fmt: skip
def test_a_dump(configs: list[Any], rule: str, form: Any) -> None:
    content = form({"configs": configs}).encode()
    facts = read([("dump", content)], env={})
    found = find(*facts, *dump_facts("dump", content, facts))
    assert (found[0].rule if found else "none") == rule


@pytest.mark.parametrize(
    "text", ["ConfigDump", "{ConfigDump: [", "a: &a [ConfigDump]\nconfigs: [*a]", "[" * 5000 + "ConfigDump"]
)
def test_what_is_no_dump(text: str) -> None:
    assert dump_facts("f", text.encode(), []) == []
