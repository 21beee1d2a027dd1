from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envoy_signin import config
from ostiary.core.oauth2.envoy.authorization_url import AuthorizationUrl


def render(**changes: object) -> str:
    return AuthorizationUrl(config(**changes))(redirect_uri="https://a/cb", code_challenge="cc", state="ss")


def test_parameters_are_sorted_with_the_endpoints_own_and_resources_come_last() -> None:
    assert render(
        authorization_endpoint="https://idp.example.com/a?flag&b=&=x&scope=zz&dup=2&dup=1&c=%20",
        credentials_client_id="client",
        resources=("https://r/1", "r 2"),
    ) == (
        "https://idp.example.com/a?=x&b=&c=%20&client_id=client&code_challenge=cc&code_challenge_method=S256"
        "&dup=2&dup=1&flag=&redirect_uri=https%3A%2F%2Fa%2Fcb&response_type=code&scope=openid%20email&state=ss"
        "&resource=https%3A%2F%2Fr%2F1&resource=r%202"
    )


def test_an_endpoint_without_a_path_gets_one_and_the_default_scope_is_user() -> None:
    assert render(authorization_endpoint="https://idp", auth_scopes=()).startswith("https://idp/?client_id=")
    assert "&scope=user&" in render(auth_scopes=())


@pytest.mark.parametrize("client_id", ["a~b@d", "api://x/y", "1.apps.example"])
def test_an_ordinary_client_id_is_raw_as_in_envoy(client_id: str) -> None:
    assert f"client_id={client_id}&" in render(credentials_client_id=client_id)


def test_a_client_id_adds_no_parameter() -> None:
    assert "client_id=a%26prompt=none%20%23&" in render(credentials_client_id="a&prompt=none #")


@pytest.mark.parametrize(
    "endpoint", ["", "idp/authorize", "/authorize", "https://idp/a#f", "https:///a", "https://i p/"]
)
def test_an_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match="invalid authorization endpoint URL"):
        render(authorization_endpoint=endpoint)


WIRE = st.text(st.characters(max_codepoint=255), max_size=20)


@given(WIRE, st.text(max_size=12), st.lists(st.text(max_size=8), max_size=2).map(tuple))
def test_every_parameter_arrives_once(redirect_uri: str, client_id: str, resources: tuple[str, ...]) -> None:
    made = AuthorizationUrl(config(credentials_client_id=client_id, resources=resources))
    url = made(redirect_uri=redirect_uri, code_challenge="cc", state="ss")
    assert url.isascii() and url.isprintable()
    found = parse_qsl(urlsplit(url).query, keep_blank_values=True, encoding="latin-1")
    names = [name for name, _ in found]
    assert sorted(set(names)) == sorted(names[: len(names) - len(resources)] + ["resource"] * bool(resources))
    params = dict(found)
    assert params["redirect_uri"] == redirect_uri and (params["code_challenge"], params["state"]) == ("cc", "ss")
    assert params["client_id"].encode("latin-1").decode() == client_id
    sent = [value.encode("latin-1").decode() for name, value in found if name == "resource"]
    assert tuple(sent) == resources
