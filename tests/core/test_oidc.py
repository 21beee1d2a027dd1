"""What is known of the provider: which documents are believed, and when it is asked again."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey

from ostiary.core.decision import Fetch, Fetched, FetchFailed
from ostiary.core.oauth2.failures import SignInError
from ostiary.core.oidc import DiscoveryInvalid, Provider, discovery_url, parse_discovery
from ostiary.model import limits
from ostiary.model.headers import Headers
from ostiary.model.signin import ProviderConfig

ISSUER = "https://idp.example/realm"
CONFIG = ProviderConfig(issuer=ISSUER, client_id="app")
KEYS = json.dumps({"keys": [ECKey.generate_key("P-256", {"kid": "a"}).as_dict(private=False)]}).encode()
NOW = 1_800_000_000.0

DIRECTORY = "0f4d2a10-6c3b-4f0e-9a53-7d1c0e8b6a21"
OTHER = "99999999-aaaa-bbbb-cccc-dddddddddddd"


def document(**changes: Any) -> bytes:
    good = {
        "issuer": ISSUER,
        "authorization_endpoint": f"{ISSUER}/authorize",
        "token_endpoint": f"{ISSUER}/token",
        "jwks_uri": f"{ISSUER}/jwks",
        **changes,
    }
    return json.dumps({name: value for name, value in good.items() if value is not ...}).encode()


class Site:
    """A provider's two documents, and what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.bodies: dict[str, bytes | None] = {discovery_url(ISSUER): document(), f"{ISSUER}/jwks": KEYS}
        self.status = 200
        self.now = NOW

    def run(self, steps: Generator[Fetch, Fetched, Any]) -> Any:
        try:
            fetch = next(steps)
            while True:
                self.asked.append(fetch.purpose)
                body = self.bodies[fetch.url]
                if body is None:
                    fetch = steps.throw(FetchFailed("connect", "scripted", self.now))
                else:
                    headers = Headers([("content-type", "application/json")])
                    fetch = steps.send(Fetched(status=self.status, headers=headers, body=body, now=self.now))
        except StopIteration as stop:
            return stop.value


@pytest.mark.parametrize(
    ("issuer", "url"),
    [
        ("https://a", "https://a/.well-known/openid-configuration"),
        ("https://a/", "https://a/.well-known/openid-configuration"),
        ("https://a/b", "https://a/b/.well-known/openid-configuration"),
    ],
)
def test_where_discovery_is(issuer: str, url: str) -> None:
    assert discovery_url(issuer) == url


def test_a_good_document() -> None:
    found = parse_discovery(
        document(
            token_endpoint_auth_methods_supported=["client_secret_post", 7],
            authorization_response_iss_parameter_supported=True,
            something_new={"a": 1},
        ),
        CONFIG,
    )
    assert found.token_endpoint == f"{ISSUER}/token"
    assert found.token_endpoint_auth_methods_supported == ("client_secret_post",)
    assert found.authorization_response_iss_parameter_supported


def test_what_is_configured_wins() -> None:
    config = ProviderConfig(issuer=ISSUER, client_id="app", token_endpoint="https://gateway.example/token")
    assert parse_discovery(document(), config).token_endpoint == "https://gateway.example/token"


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": ISSUER + "/"},
        {"issuer": "https://evil.example"},
        {"issuer": ...},
        {"issuer": [ISSUER]},
        {"issuer": "https://idp.example/{tenantid}"},
        {"token_endpoint": ...},
        {"authorization_endpoint": ""},
        {"jwks_uri": ...},
        {"token_endpoint": "http://idp.example/token"},
        {"token_endpoint": "ftp://idp.example"},
        {"token_endpoint": "javascript:alert(1)"},
        {"token_endpoint": "https://user@idp.example/"},
        {"token_endpoint": "https://idp.example/#x"},
        {"token_endpoint": "https://idp.example:0/"},
        {"token_endpoint": "https://idp.example:99999/"},
        {"token_endpoint": "https://[::1/"},
        {"token_endpoint": "https:///token"},
        {"token_endpoint": "https://idp.example/a b"},
        {"token_endpoint": "https://idp.example/\r\nx"},
        {"token_endpoint": 7},
        {"token_endpoint": {"a": 1}},
        {"end_session_endpoint": "http://idp.example/end"},
    ],
)
def test_documents_that_are_not_believed(changes: dict[str, Any]) -> None:
    with pytest.raises(DiscoveryInvalid):
        parse_discovery(document(**changes), CONFIG)


@given(st.binary(max_size=100))
def test_what_is_no_document(body: bytes) -> None:
    with pytest.raises(DiscoveryInvalid):
        parse_discovery(body, CONFIG)


def test_plain_http_is_for_loopback_or_where_the_configuration_says_so() -> None:
    assert parse_discovery(document(userinfo_endpoint="http://127.0.0.1:9/u"), CONFIG)
    issuer = "http://idp.test:8080"
    named = ProviderConfig(issuer=issuer, client_id="app")
    endpoints = dict.fromkeys(("authorization_endpoint", "token_endpoint", "jwks_uri"), f"{issuer}/x")
    assert parse_discovery(document(issuer=issuer, **endpoints), named)


@pytest.mark.parametrize("tenant", ["common", "organizations", "consumers"])
@pytest.mark.parametrize("host", ["login.microsoftonline.com", "login.microsoftonline.us"])
def test_entra_s_shared_tenants_have_a_template(tenant: str, host: str) -> None:
    config = ProviderConfig(issuer=f"https://{host}/{tenant}/v2.0", client_id="app")
    template = f"https://{host}/{{tenantid}}/v2.0"
    assert parse_discovery(document(issuer=template), config).issuer == template


@pytest.mark.parametrize(
    ("configured", "issuer"),
    [
        ("login.microsoftonline.com/contoso.com/v2.0", f"login.microsoftonline.com/{DIRECTORY}/v2.0"),
        (f"login.microsoftonline.com/{DIRECTORY.upper()}/v2.0", f"login.microsoftonline.com/{DIRECTORY}/v2.0"),
        ("login.microsoftonline.com/consumers/v2.0", f"login.microsoftonline.com/{DIRECTORY}/v2.0"),
        ("login.microsoftonline.com/contoso.com", f"sts.windows.net/{DIRECTORY}/"),
        ("login.microsoftonline.us/organizations", "sts.windows.net/{tenantid}/"),
        ("login.partner.microsoftonline.cn/contoso.cn", f"sts.chinacloudapi.cn/{DIRECTORY}/"),
    ],
)
def test_entra_names_a_directory_by_its_id(configured: str, issuer: str) -> None:
    config = ProviderConfig(issuer=f"https://{configured}", client_id="app")
    assert parse_discovery(document(issuer=f"https://{issuer}"), config).issuer == f"https://{issuer}"


@pytest.mark.parametrize(
    ("configured", "issuer"),
    [
        ("https://idp.example/common/v2.0", "https://idp.example/{tenantid}/v2.0"),
        ("https://login.microsoftonline.com/contoso/v2.0", "https://login.microsoftonline.com/{tenantid}/v2.0"),
        ("https://login.microsoftonline.com/common/v2.0", "https://login.microsoftonline.us/{tenantid}/v2.0"),
        ("https://login.microsoftonline.com/common/v2.0", "https://login.microsoftonline.com/{tenantid}/"),
        (
            "https://login.microsoftonline.com.evil.example/common",
            "https://login.microsoftonline.com.evil.example/{tenantid}",
        ),
        ("https://login.microsoftonline.com/{tenantid}/v2.0", "https://login.microsoftonline.com/{tenantid}/v2.0"),
        ("https://login.microsoftonline.com/common/v2.0", f"https://login.microsoftonline.com/{DIRECTORY}/v2.0"),
        (f"https://login.microsoftonline.com/{OTHER}/v2.0", f"https://login.microsoftonline.com/{DIRECTORY}/v2.0"),
        ("https://login.microsoftonline.com/contoso.com/v2.0", f"https://login.microsoftonline.com/{DIRECTORY}"),
        ("https://login.microsoftonline.com/contoso.com/v2.0", "https://login.microsoftonline.com/other.com/v2.0"),
        ("https://login.microsoftonline.com/contoso.com/v2.0", f"https://sts.windows.net/{DIRECTORY}/"),
        ("https://login.microsoftonline.com/contoso.com", f"https://login.microsoftonline.com/{DIRECTORY}/v2.0"),
        ("https://login.microsoftonline.com/contoso.com", f"https://sts.chinacloudapi.cn/{DIRECTORY}/"),
        ("https://idp.example/contoso.com/v2.0", f"https://idp.example/{DIRECTORY}/v2.0"),
    ],
)
def test_nobody_else_has_one(configured: str, issuer: str) -> None:
    with pytest.raises(DiscoveryInvalid):
        parse_discovery(document(issuer=issuer), ProviderConfig(issuer=configured, client_id="app"))


def test_a_provider_is_asked_late_and_once() -> None:
    site, provider = Site(), Provider(CONFIG)
    assert site.asked == [] and not provider.is_ready and provider.due(NOW)
    site.run(provider.refresh(NOW))
    assert site.asked == ["discovery", "jwks"] and provider.is_ready
    assert not provider.due(NOW + limits.DISCOVERY_TTL - 1)
    site.run(provider.refresh(NOW + 1))
    assert site.asked == ["discovery", "jwks"]
    assert provider.due(NOW + limits.DISCOVERY_TTL)


@pytest.mark.parametrize("broken", [None, b"<html>", document(issuer="https://evil.example")])
def test_what_was_good_is_kept_when_the_provider_breaks(broken: bytes | None) -> None:
    site, provider = Site(), Provider(CONFIG)
    site.run(provider.refresh(NOW))
    site.bodies = dict.fromkeys(site.bodies, broken)
    site.now = NOW + limits.DISCOVERY_TTL
    site.run(provider.refresh(site.now))
    assert provider.is_ready and site.asked == ["discovery", "jwks"] * 2
    site.run(provider.refresh(site.now + 1))
    assert site.asked == ["discovery", "jwks"] * 2 and not provider.due(site.now + 1)
    assert provider.due(site.now + limits.PROVIDER_RETRY_DELAY)


@pytest.mark.parametrize(("status", "body"), [(200, None), (500, document()), (404, b"<html>"), (200, b"{}")])
def test_a_failure_is_told_again_without_asking_again(status: int, body: bytes | None) -> None:
    site, provider = Site(), Provider(CONFIG)
    site.status, site.bodies[discovery_url(ISSUER)] = status, body
    said = set()
    for offset in (0.0, 0.5, limits.PROVIDER_RETRY_DELAY - 0.1):
        with pytest.raises(SignInError) as caught:
            site.run(provider.fetch_metadata(NOW + offset))
        said.add((caught.value.code, caught.value.reason))
    assert site.asked == ["discovery"] and len(said) == 1 and said.pop()[0] == "discovery-failed"
    site.status, site.bodies[discovery_url(ISSUER)] = 200, document()
    assert site.run(provider.fetch_metadata(NOW + limits.PROVIDER_RETRY_DELAY))


def test_an_unknown_key_asks_again_but_not_often() -> None:
    site, provider = Site(), Provider(CONFIG)
    site.run(provider.fetch_keys(NOW))
    for offset in (0.0, 1.0, limits.JWKS_MIN_REFETCH - 0.1):
        site.run(provider.fetch_keys(NOW + offset, unknown=True))
    assert site.asked == ["discovery", "jwks", "jwks"]
    site.now = NOW + limits.JWKS_MIN_REFETCH
    site.run(provider.fetch_keys(site.now, unknown=True))
    assert site.asked == ["discovery", "jwks", "jwks", "jwks"]


def test_two_sign_ins_with_a_new_key_at_once_both_get_it() -> None:
    site, provider = Site(), Provider(CONFIG)
    site.run(provider.fetch_keys(NOW))
    first, second = (provider.fetch_keys(NOW + 1, unknown=True) for _ in range(2))
    next(first)
    assert next(second).purpose == "jwks"


def test_an_unknown_key_that_can_not_be_asked_for_is_no_verdict() -> None:
    site, provider = Site(), Provider(CONFIG)
    site.run(provider.fetch_keys(NOW))
    site.now, site.bodies[f"{ISSUER}/jwks"] = NOW + limits.JWKS_MIN_REFETCH, None
    with pytest.raises(SignInError) as caught:
        site.run(provider.fetch_keys(site.now, unknown=True))
    assert caught.value.code == "jwks-fetch-failed"


def test_nothing_is_discovered_where_everything_is_written() -> None:
    config = ProviderConfig(
        kind="oauth2",
        client_id="app",
        authorization_endpoint="https://github.com/a",
        token_endpoint="https://github.com/t",
        userinfo_endpoint="https://api.github.com/user",
    )
    site, provider = Site(), Provider(config)
    assert provider.is_ready and not provider.due(NOW)
    site.run(provider.refresh(NOW))
    assert site.asked == []
