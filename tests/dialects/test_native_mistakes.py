"""The native dialect: what is said about bad files, whatever is in them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialects.native_files import MINIMAL, good, load_all, sign_in, told
from ostiary.dialects import native
from ostiary.dialects.native_schema import FLAGS, KEYS
from ostiary.dialects.native_values import Value, at_path, from_node, overlay
from ostiary.dialects.yaml_nodes import parse_all
from ostiary.model.signin import AccessRule

# --- mistakes, each with its place and its mend


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("listn: :80", "o.yaml:6:1: error: listn: unknown key (did you mean listen?)"),
        ("session:\n  liftime: 8h", "o.yaml:7:3: error: session.liftime: unknown key (did you mean lifetime?)"),
        ("session: 8h", "o.yaml:6:10: error: session: a mapping is needed, not a text (keys: cookie_name, "),
        ("listen: nowhere", "o.yaml:6:9: error: listen: 'nowhere' is not an address to listen on (write it as 127"),
        ("listen: [':1', ':1']", "o.yaml:6:16: error: listen[1]: ':1' is written twice"),
        ("trusted_hops: -1", "o.yaml:6:15: error: trusted_hops: '-1' is not a whole number from 0 to 20"),
        ("workers: 0", "o.yaml:6:10: error: workers: '0' is not a whole number from 1 to 256"),
        (
            "session: {lifetime: 3 days}",
            "o.yaml:6:21: error: session.lifetime: '3 days' is not a duration (write 30s, ",
        ),
        ("session: {lifetime: 1s}", "o.yaml:6:21: error: session.lifetime: '1s' is too short (at least 60s)"),
        ("session: {idle_lifetime: 30d}", "o.yaml:6:26: error: session.idle_lifetime: longer than lifetime"),
        ("session: {same_site: laxx}", "o.yaml:6:22: error: session.same_site: 'laxx' is not one of lax, strict, none"),
        ("session: {keep_id_token: 7}", "o.yaml:6:26: error: session.keep_id_token: '7' is neither true nor false"),
        ("session: {cookie_name: __Host-x}", "o.yaml:6:24: error: session.cookie_name: '__Host-x' can't be used"),
        ("public: [/]", "o.yaml:6:9: error: public: / would make everything public"),
        ("public: [/a/../b]", "o.yaml:6:10: error: public[0]: '/a/../b' is not normalised"),
        ("public: [/%61]", "o.yaml:6:10: error: public[0]: '/%61' is not a plain path"),
        ("access: [{domains: []}]", "o.yaml:6:20: error: access[0].domains: an empty list (leave the key out"),
        ("access: [{emails: [joe]}]", "o.yaml:6:19: error: access[0].emails: 'joe' is not an e-mail address"),
        ("access: [{hosts: ['a:80']}]", "o.yaml:6:19: error: access[0].hosts[0]: 'a:80' is not a host"),
        ("access: [{public: true, deny: true}]", "o.yaml:6:31: error: access[0].deny: a public rule asks nobody"),
        ("access: [{claims: [a]}]", "o.yaml:6:19: error: access[0].claims: a mapping is needed, not a list"),
        ("access: everyone", "o.yaml:6:9: error: access: a mapping is needed, not a text"),
        ("access: [{}, {deny: true}]", "o.yaml:6:14: warning: access[1]: never reached"),
        ("secret_file: f", "o.yaml:5:9: error: secret: both secret and secret_file are given (keep secret_file)"),
        ("prefix: /", "o.yaml:6:9: error: prefix: can't be the whole site (for example /.ostiary)"),
        ("external_url: example.com", "o.yaml:6:15: error: external_url: not an absolute address"),
        ("external_url: https://e.com/app", "o.yaml:6:15: error: external_url: more than a scheme, a host and a port"),
        ("external_url: http://e.com", "o.yaml:6:15: warning: external_url: browsers send cookies over plain http"),
        ("sign_out_redirect: //evil", "o.yaml:6:20: error: sign_out_redirect: '//evil' is neither a path nor"),
        ("redirect_hosts: [https://x]", "o.yaml:6:18: error: redirect_hosts[0]: 'https://x' is not a domain"),
        ("pass: {claims: {host: x}}", "o.yaml:6:16: error: pass.claims: host belongs to the protocol"),
        ("pass: {claims: {'a b': x}}", "o.yaml:6:16: error: pass.claims: 'a b' can't be a header's name"),
        ("admin: 0.0.0.0:9901", "o.yaml:6:8: warning: admin: whoever can connect to the admin address can stop"),
        ("log: {level: loud}", "o.yaml:6:14: error: log.level: 'loud' is not one of trace, debug"),
        (
            "log: {components: 'oauth:debug'}",
            "o.yaml:6:19: error: log.components: 'oauth' is no component (did you mean oauth2?)",
        ),
        ("log: {components: 'dns:loud'}", "o.yaml:6:19: error: log.components: dns: 'loud' is not a level"),
        ("access_log: {format: x, json: {a: b}}", "o.yaml:6:31: error: access_log.json: both format and json"),
        ("access_log: {format: '%REQ%%'}", "o.yaml:6:22: error: access_log.format: "),
        ("access_log: {json: {a: {b: '%NOPE%'}}}", "o.yaml:6:28: error: access_log.json.a.b: "),
        ("tls: {}", "o.yaml:6:6: error: tls.certificate_file: missing (the certificate chain, PEM)"),
        ("routes: [{path: /x}]", "o.yaml:6:10: error: routes[0].upstream: a route needs either upstream or redirect"),
        ("routes: [{redirect: 'ftp://x'}]", "o.yaml:6:21: error: routes[0].redirect: not a path and not an http(s)"),
        ("workers: 1\nworkers: 2", "o.yaml:7:1: error: the key 'workers' is written twice"),
        ("timeouts: {idle: [1]}", "o.yaml:6:18: error: timeouts.idle: a single value is needed, not a list"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_its_mend(more: str, expected: str) -> None:
    lines = told(MINIMAL + more + "\n")
    assert [line for line in lines if line.startswith(expected)], lines


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        ("{client_id: app}", "o.yaml:1:11: error: provider.issuer: missing (name a provider (entra, google, "),
        ("{issuer: https://i}", "o.yaml:1:11: error: provider.client_id: missing (the id under which"),
        ("{issuer: http://i, client_id: a}", "o.yaml:1:20: error: provider.issuer: plain http:// would carry"),
        ("{issuer: i.example, client_id: a}", "o.yaml:1:20: error: provider.issuer: not an absolute https:// address"),
        ("{issuer: 'https://u:p@i', client_id: a}", "o.yaml:1:20: error: provider.issuer: an address must not carry"),
        ("{google: , github: , client_id: a}", "o.yaml:1:30: error: provider.github: both google and github are given"),
        ("{keycloak: {url: https://k}, client_id: a}", "o.yaml:1:22: error: provider.keycloak.realm: missing"),
        ("{entra: {tenant: a/b}, client_id: a}", "o.yaml:1:28: error: provider.entra.tenant: 'a/b' can't be part"),
        ("{issuer: https://i, client_id: a, scopes: email}", "o.yaml:1:53: error: provider.scopes: openid is missing"),
        (
            "{issuer: https://i, client_id: a, id_token_algorithms: [HS256]}",
            "o.yaml:1:66: error: provider.id_token_algorithms: 'HS256' is not accepted",
        ),
        (
            "{issuer: https://i, client_id: a, client_auth_method: client_secret_post}",
            "o.yaml:1:11: error: provider.client_secret_file: missing",
        ),
    ],
)
def test_a_mistake_in_the_provider_is_told(provider: str, expected: str) -> None:
    lines = told(f"provider: {provider}\nupstream: http://a\n")
    assert [line for line in lines if line.startswith(expected)], lines


@pytest.mark.parametrize(
    ("flags", "env", "expected"),
    [
        ({"listen": "x"}, {}, "--listen: error: listen: 'x' is not an address"),
        ({}, {"OSTIARY_UPSTREAM": "x"}, "OSTIARY_UPSTREAM: error: upstream: not an http://"),
        (
            {"set sesion.lifetime": "8h"},
            {},
            "--set sesion.lifetime: error: sesion: unknown key (did you mean session?)",
        ),
        (
            {"set access.7.domains": "[a]"},
            {},
            "--set access.7.domains: error: access.7.domains: there is no such place",
        ),
        ({"set secret": "x"}, {}, "--set secret: error: secret: a secret on the command line can be read by everyone"),
        ({"set public": "[/a"}, {}, "--set public: error: public: not YAML"),
        ({}, {"OSTIARY_LISTN": "x"}, "OSTIARY_LISTN: warning: this environment variable is not read (did you mean"),
    ],
)
def test_a_mistake_on_the_command_line_names_its_flag(
    flags: dict[str, str], env: dict[str, str], expected: str
) -> None:
    lines = told(MINIMAL, flags=flags, env=env)
    assert [line for line in lines if line.startswith(expected)], lines


def test_variables_that_kubernetes_makes_up_for_a_service_are_nobodys_mistake() -> None:
    env = {"OSTIARY_SERVICE_HOST": "10.0.0.1", "OSTIARY_PORT": "tcp://10.0.0.1:80", "OSTIARY_PORT_80_TCP_PORT": "80"}
    assert told(MINIMAL, env=env) == []


def test_set_reaches_into_lists_and_appends() -> None:
    text = MINIMAL + "access: [{domains: [a.example]}]\n"
    config = good(text, flags={"set access.0.paths": "[/x]", "set access.1.groups": "admins"})
    assert sign_in(config).rules == (
        AccessRule(paths=("/x",), domains=("a.example",)),
        AccessRule(groups=("admins",)),
    )


def test_every_error_is_told_in_one_run() -> None:
    lines = told("listn: 1\nworkers: x\nupstream: ftp://a\nprovider: {issuer: x}\n")
    assert {line.split(":")[1] for line in lines if " error: " in line} == {"1", "2", "3", "4"}


# --- whatever it is given


_TEXT = st.text(max_size=20)
_TREES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), _TEXT),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(_TEXT, st.sampled_from(sorted({k for keys in KEYS.values() for k in keys}))), inner),
    ),
    max_leaves=25,
)


@given(st.binary(max_size=400))
def test_arbitrary_bytes_never_raise(data: bytes) -> None:
    loaded = native.load_all([("f", data)], flags={}, env={})
    assert loaded.config is None
    assert any(d.severity == "error" for d in loaded.diagnostics)


@given(st.dictionaries(st.sampled_from(KEYS[""]), _TREES, max_size=8))
def test_arbitrary_documents_made_of_known_keys_never_raise(document: dict[str, Any]) -> None:
    import json

    loaded = native.load_all([("f", json.dumps(document).encode())], flags={}, env={})
    assert (loaded.config is None) == any(d.severity == "error" for d in loaded.diagnostics)


@given(st.sampled_from([*FLAGS, "set session.lifetime", "set access.0.x", "set .", "set a.b.c"]), _TEXT)
def test_arbitrary_flags_never_raise(flag: str, value: str) -> None:
    loaded = load_all(MINIMAL, flags={flag: value})
    assert (loaded.config is None) == any(d.severity == "error" for d in loaded.diagnostics)


@given(
    st.integers(1, 10_000), st.sampled_from([("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600), ("d", 86400), ("", 1)])
)
def test_a_duration_is_its_number_in_its_unit(number: int, unit: tuple[str, float]) -> None:
    name, seconds = unit
    loaded = load_all(MINIMAL + f"timeouts: {{drain: '{number}{name}'}}\n")
    assert loaded.process is not None and loaded.process.drain_timeout == number * seconds


@given(st.text(st.characters(codec="ascii"), max_size=20) | st.from_regex(r"[0-9.]{1,5}(ms|s|d)?", fullmatch=True))
def test_any_text_is_a_duration_or_refused_in_its_place(text: str) -> None:
    import json

    loaded = load_all(MINIMAL + f"timeouts: {json.dumps({'drain': text})}\n")
    if loaded.process is None:
        assert [(d.path, d.line) for d in loaded.diagnostics] == [("timeouts.drain", 6)]
    else:
        assert loaded.process.drain_timeout >= 0


@given(st.lists(st.sampled_from(["a", "b", "0", "1"]), min_size=1, max_size=4), _TEXT)
def test_a_value_that_is_placed_is_there_and_nothing_else_changes(steps: list[str], text: str) -> None:
    root = from_node(parse_all(b"a: {b: x, a: [y]}\nb: z\n", "f")[0])
    placed = at_path(root, ".".join(steps), Value(text, "--set"))
    if placed is None:
        return
    assert overlay(root, root) == root
    found: Any = placed
    for step in steps:
        found = found.content[int(step)] if isinstance(found.content, tuple) else found.content[step]
    assert found == Value(text, "--set")
    other = "b" if steps[0] == "a" else "a"
    assert placed.content[other] == root.content[other]  # type: ignore[index]
