"""`ostiary run -c envoyfilter.yaml`: patches on a sidecar's inbound chain, in full or refused at their place."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from istio_example import AUTHENTICATION, CLUSTER, FILTER, GOOD, HEAD, JWT, ROUTER
from ostiary.dialects.istio import load
from ostiary.model.config import Address, Config, Cors, Router
from ostiary.model.errors import Diagnostic
from ostiary.model.oauth2 import EnvoyOAuth2

SECRET = b"""\
resources:
- '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
  name: NAME
  generic_secret: {secret: {inline_string: 0123456789abcdef0123456789abcdef}}
"""


def read(path: str) -> bytes:
    return SECRET.replace(b"NAME", path.rpartition("/")[2].removesuffix(".yaml").encode())


def loaded(text: str, **flags: str) -> tuple[Config | None, list[Diagnostic]]:
    given = {"upstream": "http://127.0.0.1:8080", **flags}
    return load([("ef.yaml", text.encode())], flags=given, env={}, read=read)


def good(text: str = GOOD, **flags: str) -> Config:
    config, found = loaded(text, **flags)
    assert config is not None, "\n".join(map(str, found))
    return config


def errors(text: str, **flags: str) -> list[str]:
    config, found = loaded(text, **flags)
    assert config is None
    return [str(each) for each in found if each.severity == "error"]


def kinds(config: Config) -> list[type]:
    return [type(each.config) for each in config.listeners[0].http.http_filters]


def test_the_patches_stand_before_the_application() -> None:
    config = good(listen="127.0.0.1:4180", admin="127.0.0.1:9901")
    assert config.dialect == "istio"
    assert (config.listeners[0].address, config.admin) == (
        Address(host="127.0.0.1", port=4180),
        Address(host="127.0.0.1", port=9901),
    )
    assert kinds(config) == [Cors, EnvoyOAuth2, Router]
    assert [(each.name, each.type, each.connect_timeout) for each in config.clusters] == [
        ("inbound|8080||", "STATIC", 5.0),
        ("oauth", "LOGICAL_DNS", 10.0),
    ]
    assert "the EnvoyFilters are applied to a sidecar's inbound chain for port 8080" in "\n".join(config.differences)
    assert "cluster 'oauth': no dns_lookup_family" in "\n".join(config.differences)


@pytest.mark.parametrize(
    "anchor", [JWT, "istio_authn", "envoy.filters.http.rbac", "istio.stats", "envoy.filters.http.fault"]
)
def test_a_filter_of_istio_is_there_to_be_named_and_does_not_run(anchor: str) -> None:
    config, found = loaded(HEAD + CLUSTER + FILTER.replace("ANCHOR", anchor))
    assert config is not None
    assert kinds(config) == [EnvoyOAuth2, Cors, Router]
    assert f"only there to be named, and don't run: {anchor}" in config.differences[-1]
    (line,) = [each.line for each in found if each.severity == "warning"] or [24]
    assert line == 24


def test_an_anchor_that_needs_another_object_is_a_warning_where_there_is_none() -> None:
    text = HEAD + CLUSTER + FILTER.replace("ANCHOR", JWT)
    _, found = loaded(text)
    assert [each.message for each in found if each.severity == "warning"] == [
        f"Istio makes {JWT} only where there is a RequestAuthentication: without one this patch does nothing in a mesh"
    ]
    _, found = loaded(text + AUTHENTICATION)
    assert [each.message for each in found if each.severity == "warning"] == [
        "RequestAuthentication jwt is not enforced by `ostiary run`: only the EnvoyFilters are"
    ]


def test_sign_in_after_the_verification_of_tokens_is_refused() -> None:
    (message,) = errors(GOOD + AUTHENTICATION)
    assert "oauth2 comes after jwt_authn" in message


@pytest.mark.parametrize(
    ("listener", "port"),
    [
        ("portNumber: 80", 80),
        ("portNumber: 8080", 8080),
        ("name: virtualInbound", 8080),
        ("portNumber: 15006", None),
        ("name: virtualOutbound", None),
    ],
)
def test_the_usual_matches_find_the_chain(listener: str, port: int | None) -> None:
    text = GOOD.replace("      listener:\n", f"      listener:\n        {listener}\n")
    if port is None:
        (message,) = errors(text)
        assert "does nothing: " in message
    else:
        assert good(text).clusters[0].name == f"inbound|{port}||"


def test_patches_for_a_gateway_are_applied_to_one() -> None:
    config = good(GOOD.replace("SIDECAR_INBOUND", "GATEWAY"))
    assert kinds(config) == [Cors, EnvoyOAuth2, Router]
    assert "applied to a gateway" in "\n".join(config.differences)


@pytest.mark.parametrize(
    "match",
    [
        "{filterChain: {sni: app.example, FILTER}}",
        "{name: 0.0.0.0_8443, filterChain: {sni: app.example, transportProtocol: tls, FILTER}}",
        "{filterChain: {name: 0.0.0.0_8443, applicationProtocols: 'http/1.1,h2', FILTER}}",
    ],
)
@pytest.mark.parametrize("context", ["GATEWAY", "SIDECAR_INBOUND"])
def test_the_chain_is_the_one_that_is_matched_on(match: str, context: str) -> None:
    tree = list(yaml.safe_load_all(GOOD))
    text = match.replace("FILTER", "filter: {name: envoy.filters.network.http_connection_manager}")
    for patch in tree[0]["spec"]["configPatches"]:
        if patch["applyTo"] == "HTTP_FILTER":
            patch["match"] = {"context": context, "listener": yaml.safe_load(text)}
            if context == "SIDECAR_INBOUND":
                patch["match"]["listener"].pop("name", None)
            patch["patch"]["operation"] = "INSERT_FIRST"
    assert kinds(good(yaml.safe_dump_all(tree))) == [EnvoyOAuth2, Cors, Router]
    more = {"context": context, "listener": {"filterChain": {"sni": "other.example"}}}
    tree[0]["spec"]["configPatches"].append(
        {"applyTo": "FILTER_CHAIN", "match": more, "patch": {"operation": "REMOVE"}}
    )
    if "sni" in match:
        assert "hasn't sni other.example" in errors(yaml.safe_dump_all(tree))[0]


def test_patches_for_another_proxy_are_left_out_with_a_warning() -> None:
    other = FILTER.replace("ANCHOR", ROUTER).replace("SIDECAR_INBOUND", "SIDECAR_OUTBOUND")
    for context in ("SIDECAR_OUTBOUND", "GATEWAY"):
        config, found = loaded(GOOD + other.replace("SIDECAR_OUTBOUND", context))
        assert config is not None
        assert any(each.severity == "warning" and each.message.startswith("left out: ") for each in found)
        assert kinds(config) == [Cors, EnvoyOAuth2, Router]


@pytest.mark.parametrize("context", ["GATEWAY", "WAYPOINT", "SIDECAR_OUTBOUND"])
def test_a_sign_in_that_is_left_out_is_no_warning(context: str) -> None:
    """Whatever else the EnvoyFilters do before the application, it would be open."""
    other = """\
  - applyTo: VIRTUAL_HOST
    match: {context: SIDECAR_INBOUND}
    patch: {operation: MERGE, value: {request_headers_to_remove: [x-secret]}}
"""
    text = HEAD + CLUSTER + FILTER.replace("ANCHOR", ROUTER).replace("SIDECAR_INBOUND", context) + other
    assert any("this sign-in is not applied" in each or "does nothing" in each for each in errors(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace(ROUTER, "envoy.filters.http.nope"), "ef.yaml:24:"),
        (GOOD.replace("INSERT_BEFORE", "ADD"), "the filter comes after the router"),
        (GOOD.replace("auth_scopes", "auth_scope"), "did you mean 'auth_scopes'?"),
        (GOOD.replace("connect_timeout: 10s", "connect_timeout: 10"), "ef.yaml:14:26: error: "),
        (GOOD.replace("type: LOGICAL_DNS", "type: LOGICAL_DNS\n        lb_policy: MAGLEV"), "ef.yaml:14:9: error: "),
        (HEAD + CLUSTER, "no patch changes what stands before the application"),
        (HEAD.replace("configPatches:", "configPatches: []"), "there is no EnvoyFilter with a patch in it"),
        (GOOD.replace("auth_scopes: [openid]", "use_refresh_token: maybe"), "refused: true or false is expected here"),
    ],
)
def test_what_would_do_nothing_or_something_else_is_refused_at_its_place(text: str, message: str) -> None:
    assert any(message in each for each in errors(text)), errors(text)


def test_a_filter_without_config_is_refused_because_it_lets_everybody_in() -> None:
    objects = yaml.safe_load(GOOD)
    del objects["spec"]["configPatches"][1]["patch"]["value"]["typed_config"]["config"]
    assert any("every request goes through unauthenticated" in each for each in errors(yaml.safe_dump(objects)))


def test_the_address_is_what_listen_says() -> None:
    patch = """\
  - applyTo: LISTENER
    match: {context: SIDECAR_INBOUND}
    patch: {operation: MERGE, value: {address: {socket_address: {port_value: 81}}}}
"""
    (message,) = errors(GOOD + patch)
    assert message.startswith("ef.yaml:44:78: error: the listener's address can't be patched here")


def test_an_extension_configuration_goes_to_the_filter_that_asks_for_it() -> None:
    objects = yaml.safe_load(GOOD)
    value = objects["spec"]["configPatches"][1]["patch"]["value"]
    sent = {"name": value["name"], "typed_config": value.pop("typed_config")}
    value["config_discovery"] = {
        "config_source": {"ads": {}, "initial_fetch_timeout": "0s"},
        "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.oauth2.v3.OAuth2"],
    }
    patch: dict[str, Any] = {"applyTo": "EXTENSION_CONFIG", "patch": {"operation": "ADD", "value": sent}}
    objects["spec"]["configPatches"].append(patch)
    assert kinds(good(yaml.safe_dump(objects))) == [Cors, EnvoyOAuth2, Router]


@pytest.mark.parametrize(
    ("upstream", "address", "port", "tls"),
    [
        ("https://app.example", "app.example", 443, True),
        ("h2c://app.example:50051", "app.example", 50051, False),
        ("unix:/run/it's.sock", "", 0, False),
    ],
)
def test_the_application_may_be_anywhere(upstream: str, address: str, port: int, tls: bool) -> None:
    cluster = good(upstream=upstream).clusters[0]
    (endpoint,) = cluster.endpoints
    assert (endpoint.address, endpoint.port, cluster.transport_socket is not None) == (address, port, tls)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"upstream": ""}, "--upstream: error: an EnvoyFilter doesn't say where the application is"),
        ({"upstream": "ftp://a"}, "--upstream: error: not an http://, https:// or unix: address"),
        ({"listen": "nowhere"}, "--listen: error: not an address to listen on"),
    ],
)
def test_flags_say_what_an_envoyfilter_cannot(flags: dict[str, str], message: str) -> None:
    (found,) = errors(GOOD, **flags)
    assert found.startswith(message)


def test_several_files_and_lists_are_one_configuration() -> None:
    items = [yaml.safe_load(HEAD + CLUSTER), yaml.safe_load(HEAD + FILTER.replace("ANCHOR", ROUTER))]
    as_list = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": items})
    assert kinds(good(as_list)) == [Cors, EnvoyOAuth2, Router]
    files = [(f"{index}.yaml", yaml.safe_dump(item).encode()) for index, item in enumerate(items)]
    config, _ = load(files, flags={"upstream": "http://127.0.0.1:1"}, env={}, read=read)
    assert config is not None
    assert kinds(config) == [Cors, EnvoyOAuth2, Router]
