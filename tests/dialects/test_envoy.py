from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from envoy_example import BOOTSTRAP, IDP, INCIDENT_CLUSTER, SNI, error, errors, good, loaded, spoilt, warnings
from ostiary.dialects.envoy import load
from ostiary.model.config import Address
from ostiary.model.oauth2 import EnvoyOAuth2, RuntimeFlags


def test_a_bootstrap_becomes_listeners_clusters_and_an_admin_address() -> None:
    config = good()
    assert config.dialect == "envoy"
    assert config.admin == Address(host="127.0.0.1", port=21091)
    assert [found.name for found in config.listeners] == ["ingress"]
    assert [found.name for found in config.clusters] == ["backend", "idp"]


def test_json_is_read_as_well_as_yaml() -> None:
    import json

    config, _ = load([("envoy.json", json.dumps(yaml.safe_load(BOOTSTRAP), indent="\t").encode())])
    assert config == good()


@pytest.mark.parametrize(
    ("written", "family"),
    [("", None), ("    dns_lookup_family: AUTO\n", "AUTO"), ("    dnsLookupFamily: 1\n", "V4_ONLY")],
)
def test_the_incident_family_is_auto_only_where_it_is_written(written: str, family: str | None) -> None:
    config, _ = load([("envoy.yaml", ("static_resources:\n  clusters:\n" + INCIDENT_CLUSTER + written).encode())])
    assert config is not None
    cluster = config.clusters[0]
    assert (cluster.dns_lookup_family, cluster.type, cluster.connect_timeout) == (family, "LOGICAL_DNS", 10.0)
    assert any("no dns_lookup_family" in line for line in config.differences) == (family is None)
    assert any("no trusted_ca" in line for line in config.differences)


def test_every_problem_is_reported_at_its_line_and_column() -> None:
    found = errors(
        ("stat_prefix: ingress", "stat_prefix: 10\n          stat_prefx: ingress"),
        ("connect_timeout: 2s\n    load", "connect_timeout: 2\n    load"),
        (SNI, "        sni: 1\n"),
    )
    http = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config"
    text = "text is expected here, not a number (put it in quotes)"
    assert found == [
        f"12:24: error: {http}.stat_prefix: {text}",
        (
            f"13:11: error: {http}.stat_prefx: HttpConnectionManager has no field 'stat_prefx' "
            "(did you mean 'stat_prefix'?)"
        ),
        "50:22: error: static_resources.clusters[0].connect_timeout: not a duration (write `2s`)",
        f"76:14: error: static_resources.clusters[1].transport_socket.typed_config.sni: {text}",
    ]


def test_what_follows_from_a_reported_problem_is_not_reported_again() -> None:
    message = error(("token_secret: {name: token}", "token_secret: token"))
    assert message.startswith("32:33: error: ")
    assert "token_secret: a mapping is expected here" in message


@pytest.mark.parametrize(
    ("field", "mend"),
    [
        ("lb_subset_config: {fallback_policy: ANY_ENDPOINT}", "write one cluster for each subset"),
        ("lb_policy: MAGLEV", "use one of ROUND_ROBIN, LEAST_REQUEST, RANDOM"),
        ("upstream_bind_config: {freebind: true}", "bind to an address that this host has"),
    ],
)
def test_a_field_that_is_valid_in_envoy_only_is_refused_with_the_nearest_thing(field: str, mend: str) -> None:
    message = error((IDP, f"    {field}\n"))
    assert message.startswith("58:")
    assert "valid in Envoy, not implemented in Ostiary" in message
    assert mend in message


def test_ignoring_the_unsupported_turns_those_errors_into_warnings_and_no_others() -> None:
    unsupported = (IDP, "    upstream_bind_config: {freebind: true}\n")
    config, found = loaded(unsupported, ignore_unsupported=True)
    assert config is not None
    assert [(item.severity, item.line) for item in found] == [("warning", 58)]
    config, _ = loaded((IDP, "    outlier_detectoin: {}\n"), ignore_unsupported=True)
    assert config is None


def test_defaults_written_out_are_not_unsupported() -> None:
    assert (
        warnings((IDP, "    ignore_health_on_host_removal: false\n    filters: []\n    lb_policy: ROUND_ROBIN\n")) == []
    )


def test_a_deprecated_field_is_a_warning() -> None:
    assert "dns_refresh_rate: deprecated in Envoy" in warnings((IDP, "    dns_refresh_rate: 5s\n"))[0]


def test_an_envoy_configuration_is_one_file() -> None:
    config, found = load([("a.yaml", BOOTSTRAP.encode()), ("b.yaml", b"resources: []\n")])
    assert config is None
    assert [item.file for item in found] == ["b.yaml"]
    assert "an Envoy configuration is one bootstrap" in found[0].message


def test_no_file_is_an_error_not_an_exception() -> None:
    assert load([])[0] is None


def test_the_filters_runtime_flags_are_read_with_dots_or_nested_and_later_layers_win() -> None:
    layers = (
        "{name: a, static_layer: {envoy.reloadable_features.oauth2_use_gcm_encryption: false}}, "
        "{name: b, static_layer: {envoy: {reloadable_features: {oauth2_use_gcm_encryption: true, "
        "oauth2_cleanup_cookies: 'false'}}}}, {name: c, admin_layer: {}}"
    )
    config = good(("static_resources:\n", f"layered_runtime: {{layers: [{layers}]}}\nstatic_resources:\n"))
    oauth2 = config.listeners[0].http.http_filters[0].config
    assert isinstance(oauth2, EnvoyOAuth2)
    assert oauth2.runtime == RuntimeFlags(oauth2_use_gcm_encryption=True, oauth2_cleanup_cookies=False)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            "static_layer: {re2.max_program_size.error_level: 100}",
            '["re2.max_program_size.error_level"]: valid in Envoy',
        ),
        ("static_layer: {envoy.reloadable_features.oauth2_use_gcm: true}", "did you mean"),
        ("static_layer: {envoy.reloadable_features.oauth2_cleanup_cookies: 3}", "true or false is expected"),
        ("disk_layer: {symlink_root: /x}", "disk_layer: valid in Envoy"),
    ],
)
def test_other_runtime_is_refused(layer: str, message: str) -> None:
    layers = f"layered_runtime: {{layers: [{{name: a, {layer}}}]}}\nstatic_resources:\n"
    assert message in error(("static_resources:\n", layers))


def test_what_is_harmless_is_accepted() -> None:
    node = "node: {id: a, cluster: b, metadata: {x: 1}}\nstats_flush_interval: 5s\nstatic_resources:\n"
    assert warnings(("static_resources:\n", node)) == []


def test_a_finding_is_one_line_whatever_a_key_holds() -> None:
    _, found = load([("f", b'{"static_resources": {"a\\nf:1:1: error: b\\u001b": 1}}')])
    (line,) = [str(item) for item in found if item.severity == "error"]
    assert line.startswith("f:1:23: error: ") and "a\\nf:1:1: error: b\\x1b" in line and line.isprintable()


def test_nothing_served_is_a_warning() -> None:
    config, found = load([("f", b"static_resources: {}\n")])
    assert config is not None
    assert [(item.severity, item.path) for item in found] == [("warning", "static_resources")]


def test_no_diagnostic_and_no_repr_shows_a_secret() -> None:
    spoil = (
        "generic_secret: {secret: {inline_string: s3cret}}",
        "generic_secret: {secret: {inline_string: [hunter2]}}",
    )
    assert "hunter2" not in "".join(errors(spoil))
    assert "s3cret" not in repr(good())


TREE = yaml.safe_load(BOOTSTRAP)
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=6), st.just({}), st.just([]), st.just("1s"),
    st.just({"@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"}), st.just({"name": "hmac"}),
    st.just([[]]), st.just({"prefix": "/"}), st.just("%REQ(x)%"), st.floats(),
)  # fmt: skip


def places(node: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    inner = list(node.items()) if isinstance(node, dict) else list(enumerate(node)) if isinstance(node, list) else []
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def changed(node: object, path: tuple[object, ...], value: object) -> object:
    if not path:
        return value
    if isinstance(node, dict):
        return {key: changed(inner, path[1:], value) if key == path[0] else inner for key, inner in node.items()}
    assert isinstance(node, list)
    return [changed(inner, path[1:], value) if index == path[0] else inner for index, inner in enumerate(node)]


@given(st.lists(st.tuples(st.sampled_from(places(TREE)), JUNK), min_size=1, max_size=3), st.booleans())
def test_whatever_stands_anywhere_there_is_an_answer(
    changes: list[tuple[tuple[object, ...], object]], ignore: bool
) -> None:
    tree: object = TREE
    for path, value in changes:
        try:
            tree = changed(tree, path, value)
        except AssertionError:
            continue  # an earlier change removed the place
    text = yaml.safe_dump(tree, default_flow_style=ignore)
    config, found = load([("f", text.encode())], ignore_unsupported=ignore)
    assert (config is None) == any(item.severity == "error" for item in found)
    assert all(item.line >= 1 and item.column >= 1 for item in found)


@given(st.binary(max_size=100))
def test_no_bytes_raise(text: bytes) -> None:
    config, found = load([("f", text)])
    assert config is not None or found


def test_the_example_is_what_the_other_tests_take_it_for() -> None:
    assert spoilt() == BOOTSTRAP
    assert warnings() == []
