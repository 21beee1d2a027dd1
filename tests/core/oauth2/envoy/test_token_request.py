from __future__ import annotations

from base64 import b64decode
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envoy_signin import config
from ostiary.core.decision import Fetch
from ostiary.core.oauth2.envoy.token_request import TokenEndpoint
from ostiary.model import limits
from ostiary.model.oauth2 import HttpUri
from ostiary.model.routes import RetryPolicy

SECRET = b"s%cr t&+"


def endpoint(**changes: Any) -> TokenEndpoint:
    settings = config(**changes)
    assert settings.token_endpoint is not None
    return TokenEndpoint(settings, settings.token_endpoint)


def exchange(secret: bytes = SECRET, **changes: Any) -> Fetch:
    return endpoint(**changes).exchange(
        "co%2Bde;a", redirect_uri="https://a/cb?x=1", verifier="vvv", secret=secret, now=0.0, entropy=bytes
    )


def refresh(secret: bytes = SECRET, **changes: Any) -> Fetch:
    return endpoint(**changes).refresh("r+&=% t", secret=secret, now=0.0, entropy=bytes)


CODE = "grant_type=authorization_code&code=co%2Bde;a"
REDIRECT = "&redirect_uri=https%3A%2F%2Fa%2Fcb%3Fx%3D1&code_verifier=vvv"
REFRESH = "grant_type=refresh_token&refresh_token=r%2B%26%3D%25%20t"


@pytest.mark.parametrize(
    ("auth_type", "credentials"),
    [
        ("URL_ENCODED_BODY", "&client_id=my%20client&client_secret=s%25cr%20t%26%2B"),
        ("TLS_CLIENT_AUTH", "&client_id=my%20client"),
        ("BASIC_AUTH", ""),
    ],
)
def test_bodies_have_envoys_order(auth_type: str, credentials: str) -> None:
    code, again = exchange(auth_type=auth_type), refresh(auth_type=auth_type)
    assert code.body.decode() == CODE + credentials + REDIRECT
    assert again.body.decode() == REFRESH + credentials


def test_basic_authentication_is_raw() -> None:
    for fetch in (exchange(auth_type="BASIC_AUTH"), refresh(auth_type="BASIC_AUTH")):
        scheme, _, value = dict(fetch.headers)["authorization"].partition(" ")
        assert (scheme, b64decode(value)) == ("Basic", b"my client:s%cr t&+")


def test_a_broken_private_key_is_told_apart() -> None:
    from ostiary.core.oauth2.envoy.client_assertion import ClientCredentialError

    with pytest.raises(ClientCredentialError):
        exchange(auth_type="PRIVATE_KEY_JWT")


def test_the_request_goes_to_the_cluster_with_the_uris_host_and_path() -> None:
    fetch = exchange()
    assert (fetch.method, fetch.cluster, fetch.authority, fetch.path, fetch.url) == (
        "POST",
        "idp",
        "idp.example",
        "/token?tenant=1",
        "",
    )
    assert fetch.headers == (
        ("content-type", "application/x-www-form-urlencoded"),
        ("accept", "application/json"),
    )


def test_time_and_retries_are_as_configured_and_never_unbounded() -> None:
    plain = exchange()
    assert (plain.timeout, plain.retries) == (5.0, 0)
    policy = RetryPolicy(num_retries=2, base_interval=1.0, max_interval=0.5)
    uri = HttpUri(uri="idp/token", cluster="idp", timeout=0.0)
    patient = exchange(retry_policy=policy, token_endpoint=uri)
    assert (patient.timeout, patient.retries) == (limits.PROVIDER_TIMEOUT, 2)
    assert (patient.retry_base_interval, patient.retry_max_interval) == (1.0, 1.0)


def test_no_secret_is_printed() -> None:
    shown = repr(exchange()) + repr(refresh(auth_type="BASIC_AUTH"))
    assert "s%cr" not in shown
    assert "Basic" not in shown
    assert "co%2Bde" not in shown


WIRE = st.text(st.characters(max_codepoint=255), max_size=20)


@given(WIRE, st.binary(min_size=1, max_size=20))
def test_every_value_arrives_and_adds_no_other(text: str, secret: bytes) -> None:
    client = endpoint(auth_type="URL_ENCODED_BODY")
    code = client.exchange("c0de", redirect_uri=text, verifier="vvv", secret=secret, now=0.0, entropy=bytes)
    again = client.refresh(text, secret=secret, now=0.0, entropy=bytes)
    for fetch, name, names in (
        (code, "redirect_uri", {"grant_type", "code", "client_id", "client_secret", "redirect_uri", "code_verifier"}),
        (again, "refresh_token", {"grant_type", "refresh_token", "client_id", "client_secret"}),
    ):
        found = parse_qsl(fetch.body.decode("ascii"), keep_blank_values=True, encoding="latin-1")
        params = dict(found)
        assert set(params) == names and len(found) == len(names)
        assert params[name] == text and params["client_secret"].encode("latin-1") == secret
