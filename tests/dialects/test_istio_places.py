"""The path of a finding leads through the EnvoyFilter that somebody wrote."""

from __future__ import annotations

import pytest
import yaml

from istio_example import GOOD
from ostiary.dialects.istio import load

VALUE = "spec.configPatches[1].patch.value"
OAUTH2 = {"@type": "type.googleapis.com/envoy.extensions.filters.http.oauth2.v3.OAuth2"}
LUA = {"@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"}
JWT = {
    "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
    "providers": {"a.b": {"from_cookies": ["a"]}},
}


def patch(typed: dict[str, object] | None) -> dict[str, object]:
    value = {"name": "x", "typed_config": typed} if typed else {"name": "x"}
    return {
        "applyTo": "HTTP_FILTER",
        "match": {"context": "SIDECAR_INBOUND"},
        "patch": {"operation": "INSERT_FIRST", "value": value},
    }


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        (LUA, f"{VALUE}.typed_config"),
        (None, f"{VALUE}.typed_config"),
        (JWT, f"{VALUE}.typed_config.providers.a.b"),
        (OAUTH2 | {"config": {"forwardBearerToken": True}}, f"{VALUE}.typed_config.config.token_endpoint"),
        (
            OAUTH2 | {"config": {"authType": "TLS_CLIENT_AUTH", "credentials": {"clientId": ""}}},
            f"{VALUE}.typed_config.config.credentials.clientId",
        ),
    ],
)
def test_every_finding_has_its_place_and_its_path_in_the_object(typed: dict[str, object] | None, path: str) -> None:
    tree = list(yaml.safe_load_all(GOOD))
    tree[0]["spec"]["configPatches"].insert(1, patch(typed))
    text = yaml.safe_dump_all(tree, sort_keys=False).encode()
    config, found = load([("ef.yaml", text)], flags={"upstream": "http://127.0.0.1:8080"}, env={}, read=None)
    assert config is None
    assert path in {each.path for each in found}
    assert not [each.path for each in found if each.path.startswith("static_resources")]
