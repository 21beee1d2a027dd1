from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envoy_example import BOOTSTRAP
from ostiary.dialects.detect import BOOTSTRAP_KEYS, detect
from ostiary.dialects.schema import schema
from ostiary.model.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        (BOOTSTRAP, "envoy"),
        ("static_resources: {}", "envoy"),
        ('{"staticResources": {}, "admin": {}}', "envoy"),
        ("node: {id: a}\nadmin: {}\n", "envoy"),
        ("listen: 127.0.0.1:8080\nupstream: http://127.0.0.1:9000\nadmin: 127.0.0.1:9901\n", "native"),
        ("provider: {issuer: https://x}\nupsteam: typo\n", "native"),
        ("apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: a}\n", "istio"),
        (
            "apiVersion: v1\nkind: Namespace\n---\napiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\n",
            "istio",
        ),
        (
            "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: networking.istio.io/v1alpha3, kind: EnvoyFilter}\n",
            "istio",
        ),
        ('# a comment\n\nclient_id = "x"\nupstreams = ["http://a"]\n', "oauth2-proxy"),
        ("upstreamConfig: {}\nproviders: []\n", "oauth2-proxy"),
    ],
)
def test_each_dialect_is_told_from_its_content(text: str, dialect: str) -> None:
    assert detect(text.encode(), "f") == dialect


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("", "the file is empty"),
        ("hello", "the file holds text"),
        ("[1, 2]", "the file holds a list"),
        ("admin: {}\n", "no key tells the dialect (the file has: admin)"),
        ("listen: a\nstatic_resources: {}\n", "keys of several dialects: envoy (static_resources); native (listen)"),
        ("client_id: x\ncookie_secret: y\n", "the file has: client_id, cookie_secret"),
        ("apiVersion: v1\nkind: Pod\n", "seen: v1 Pod"),
        ("configs: []\n", "config_dump"),
        ("resources: []\n", "discovery resources"),
        ('[package]\nname = "x"\n', "TOML without any key of oauth2-proxy (it has: package)"),
        ("a = \n", "not TOML"),
        ("a: [\n", "not YAML"),
        ("a: 1\n---\nb: 1\n", "several documents"),
    ],
)
def test_what_can_not_be_told_is_refused_with_what_was_seen(text: str, seen: str) -> None:
    with pytest.raises(ConfigError) as caught:
        detect(text.encode(), "f")
    assert seen in str(caught.value)


def test_misspelt_keys_are_left_to_the_dialect_that_has_them() -> None:
    assert detect(b"upstrem: http://127.0.0.1:9\nlistn: :80\n", "f") == "native"


@given(st.binary(max_size=120) | st.text("abc:=[]{}-\n #'\"", max_size=60).map(str.encode))
def test_no_bytes_raise_anything_but_a_config_error(text: bytes) -> None:
    answer: str
    try:
        answer = detect(text, "f")
    except ConfigError as error:
        answer = str(error)
    assert answer


def test_the_keys_of_a_bootstrap_are_those_of_envoys_api() -> None:
    bootstrap = schema().message("envoy.config.bootstrap.v3.Bootstrap")
    assert bootstrap is not None
    assert frozenset(bootstrap.fields) == BOOTSTRAP_KEYS
