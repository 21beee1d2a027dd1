"""Every provider of the quickstart, signed in at with the file of the quickstart, at its own addresses over TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from costumes import Auth0, Cognito, Costume, Entra, GitHub, GitLab, Google, Keycloak, Okta, OktaCustom, parameters
from provider_world import Browser, World, quickstart, world
from wire import scenario

ADA_AT = {
    "Entra ID": {"user": "ada-pairwise", "email": "ada@contoso.com", "preferred-username": "ada@contoso.com"},
    "Google": {"user": "110169484474386276334", "email": "ada@example.com"},
    "Keycloak": {"user": "ada", "email": "ada@example.com", "preferred-username": "ada", "groups": "/staff"},
    "GitLab": {"user": "4711", "email": "ada@example.com", "groups": "acme/platform"},
    "Okta": {
        "user": "00u-ada",
        "email": "ada@example.com",
        "preferred-username": "ada@example.com",
        "groups": "staff,engineers",
    },
    "Auth0": {"user": "auth0|ada", "email": "ada@example.com"},
    "Amazon Cognito": {"user": "ada-uuid", "email": "ada@example.com", "groups": "staff,engineers"},
}
COSTUMES: dict[str, type[Costume]] = {
    "Entra ID": Entra,
    "Google": Google,
    "Keycloak": Keycloak,
    "GitLab": GitLab,
    "Okta": Okta,
    "Auth0": Auth0,
    "Amazon Cognito": Cognito,
}
SCOPES = {"Entra ID": "openid profile email offline_access", "Okta": "openid profile email groups"}


def costume_of(section: str) -> Costume:
    document = quickstart(section)
    return COSTUMES.get(section, GitHub)(document["provider"]["client_id"])


async def refreshed(here: World, browser: Browser) -> None:
    """Keep asking until the doorkeeper has asked for new tokens."""
    here.provider.expires_in = 3600
    while here.provider.token_requests[-1]["grant_type"] != "refresh_token":
        assert (await browser.get("/again")).status == 200
    assert here.provider.token_requests[-1]["status"] == 200


@pytest.mark.parametrize("section", COSTUMES)
@scenario
async def test_the_quickstart_signs_in(section: str, tmp_path: Path) -> None:
    provider = costume_of(section)
    async with world(provider, quickstart(section), tmp_path) as here:
        browser = here.browser()
        location = await browser.to_provider("/page?x=1")
        address, _, _ = location.partition("?")
        asked = parameters(location)
        assert address == provider.endpoints["authorization_endpoint"]
        assert asked["redirect_uri"] == "https://app.example.com/.ostiary/callback"
        assert asked["scope"] == SCOPES.get(section, "openid profile email")
        assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
        assert asked["nonce"] and asked["state"]
        assert (await browser.sign_in()).status == 200
        known = ADA_AT[section]
        if section == "Entra ID":
            known = {**known, "groups": ",".join(provider.profile(provider.users["ada"], ())["groups"])}
        assert here.received == known
        assert here.app.heard[-1].line == b"GET /page?x=1 HTTP/1.1"


@pytest.mark.parametrize("section", ["Entra ID", "Google", "Keycloak", "GitLab", "Amazon Cognito"])
@scenario
async def test_a_session_is_refreshed(section: str, tmp_path: Path) -> None:
    provider = costume_of(section)
    provider.expires_in = 0.001
    async with world(provider, quickstart(section), tmp_path) as here:
        browser = here.browser()
        await browser.sign_in()
        await refreshed(here, browser)
        assert here.received["email"].startswith("ada@")


STANDARD = ("id_token_hint", "post_logout_redirect_uri")


@pytest.mark.parametrize(
    ("section", "address", "words"),
    [
        ("Entra ID", "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/logout", STANDARD),
        ("Keycloak", "https://sso.example.com/realms/main/protocol/openid-connect/logout", STANDARD),
        ("Okta", "https://example.okta.com/oauth2/v1/logout", STANDARD),
        ("Auth0", "https://example.eu.auth0.com/v2/logout", ("returnTo",)),
        ("Amazon Cognito", "https://auth.example.com/logout", ("logout_uri",)),
    ],
)
@scenario
async def test_signing_out_ends_the_providers_session(
    section: str, address: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    provider = costume_of(section)
    async with world(provider, quickstart(section), tmp_path) as here:
        browser = here.browser()
        assert (await browser.sign_in()).status == 200
        location = (await browser.sign_out()).get("location") or ""
        assert browser.cookies == {}
        assert location.partition("?")[0] == address
        sent = parameters(location)
        assert set(sent) == {"client_id", *words}
        assert (sent["client_id"], sent[words[-1]]) == (provider.client_id, "https://app.example.com/")
        revocable = provider.refreshes and "revocation_endpoint" in provider.endpoints
        assert provider.revoked == (1 if revocable else 0)


@pytest.mark.parametrize("section", ["Google", "GitHub", "GitLab"])
@scenario
async def test_who_can_not_be_signed_out_at_the_provider_is_told_so_here(section: str, tmp_path: Path) -> None:
    async with world(costume_of(section), quickstart(section), tmp_path) as here:
        browser = here.browser()
        assert (await browser.sign_in()).status == 200
        answer = await browser.sign_out()
        assert (answer.status, answer.get("location"), browser.cookies) == (200, None, {})
        assert b"signed out" in answer.body


@pytest.mark.parametrize("section", ["Google", "Keycloak", "GitHub", "GitLab", "Okta", "Auth0", "Amazon Cognito"])
@scenario
async def test_who_is_none_of_the_organisation_may_not_enter(section: str, tmp_path: Path) -> None:
    async with world(costume_of(section), quickstart(section), tmp_path) as here:
        answer = await here.browser().sign_in("bob")
        assert answer.status == 403
        assert b"but this page is not open to that account" in answer.body and b"access-denied" in answer.body
        assert here.app.heard == []


# --- Google


@scenario
async def test_google_is_asked_for_its_domain_and_for_a_refresh_token(tmp_path: Path) -> None:
    provider = Google("1234567890-abc.apps.googleusercontent.com")
    provider.short_issuer = True
    async with world(provider, quickstart("Google"), tmp_path) as here:
        asked = parameters(await here.browser().to_provider())
        assert (asked["hd"], asked["access_type"]) == ("example.com", "offline")
        assert (await here.browser().sign_in()).status == 200
        again = here.browser()
        assert (await again.sign_in()).status == 200, "without a refresh token this time"
        assert (await again.get("/more")).status == 200


@scenario
async def test_the_hint_hd_taken_out_of_the_address_lets_nobody_in(tmp_path: Path) -> None:
    provider = Google("1234567890-abc.apps.googleusercontent.com")
    async with world(provider, quickstart("Google"), tmp_path) as here:
        browser = here.browser()
        location = (await browser.to_provider()).replace("&hd=example.com", "")
        reply = provider.handle("POST", location, {}, b"username=bob")
        callback = dict(reply.headers)["location"].removeprefix("https://app.example.com")
        assert (await browser.get(callback)).status == 302
        answer = await browser.get("/")
        assert (answer.status, here.app.heard) == (403, [])


# --- GitHub


@scenario
async def test_github_signs_in_and_its_organisations_and_teams_are_groups(tmp_path: Path) -> None:
    provider = costume_of("GitHub")
    document = quickstart("GitHub")
    document["access"] = [{"groups": ["octo/platform"]}]
    async with world(provider, document, tmp_path) as here:
        asked = parameters(await here.browser().to_provider())
        assert asked["scope"] == "read:user user:email read:org"
        assert "nonce" not in asked
        assert (await here.browser().sign_in()).status == 200
        groups = here.received.pop("groups").split(",")
        assert (groups[0], groups[-1], len(groups)) == ("acme", "octo/platform", 152)
        assert {k: v for k, v in here.received.items() if k != "groups"} == {
            "user": "1815",
            "email": "ada@example.com",
            "preferred-username": "ada",
        }
        sent = provider.last("/token")
        assert sent["client_secret"] and sent["code_verifier"]


@scenario
async def test_without_rules_on_groups_github_is_not_asked_for_them(tmp_path: Path) -> None:
    provider = costume_of("GitHub")
    async with world(provider, {**quickstart("GitHub"), "access": [{"emails": ["ada@example.com"]}]}, tmp_path) as here:
        assert (await here.browser().sign_in()).status == 200
        assert provider.last("/authorize")["scope"] == "read:user user:email"
        assert not any(name.endswith(("/orgs", "/teams")) for name, _ in provider.seen)


@scenario
async def test_githubs_errors_come_with_status_200(tmp_path: Path) -> None:
    provider = GitHub("Ov23li0123456789abcd")
    async with world(provider, quickstart("GitHub"), tmp_path) as here:
        provider.faults.token_error = "bad_verification_code"
        answer = await here.browser().sign_in()
        assert answer.status == 400
        assert b"grant-rejected" in answer.body
        provider.faults.token_error, provider.secret = "", "another"
        answer = await here.browser().sign_in()
        assert answer.status == 500
        assert b"client-rejected" in answer.body


# --- Okta, Auth0, Keycloak: where groups come from


@scenario
async def test_a_custom_authorization_server_of_okta_has_its_own_issuer_and_scopes(tmp_path: Path) -> None:
    document = quickstart("Okta")
    document["provider"]["okta"]["authorization_server"] = "default"
    provider = OktaCustom(document["provider"]["client_id"])
    async with world(provider, document, tmp_path) as here:
        assert (await here.browser().sign_in()).status == 200
        assert here.received["groups"] == "staff,engineers"
        assert provider.last("/authorize")["scope"] == "openid profile email"


@scenario
async def test_okta_refreshes_with_offline_access(tmp_path: Path) -> None:
    document = quickstart("Okta")
    document["provider"]["scopes"] = "openid profile email groups offline_access"
    provider = Okta(document["provider"]["client_id"])
    provider.expires_in = 0.001
    async with world(provider, document, tmp_path) as here:
        browser = here.browser()
        assert (await browser.sign_in()).status == 200
        await refreshed(here, browser)
        assert here.received["groups"] == "staff,engineers"


@pytest.mark.parametrize("status", [200, 500, 403])
@scenario
async def test_an_address_that_only_userinfo_tells_is_asked_for_and_its_lack_keeps_nobody_out(
    status: int, tmp_path: Path
) -> None:
    provider = Okta("0oa1b2c3d4e5f6g7h8i9")
    provider.userinfo_status = status
    async with world(provider, {**quickstart("Okta"), "access": "anyone"}, tmp_path) as here:
        assert (await here.browser().sign_in()).status == 200
        assert here.received.get("email") == ("ada@example.com" if status == 200 else None)
    async with world(provider, {**quickstart("Okta"), "access": [{"domains": ["example.com"]}]}, tmp_path) as here:
        expected = {200: 200, 500: 503, 403: 502}[status]
        assert (await here.browser().sign_in()).status == expected


@pytest.mark.parametrize(
    ("section", "claim", "groups"),
    [
        ("Auth0", "https://example.com/roles", "staff,engineers"),
        ("Keycloak", "realm_access.roles", "operator"),
        ("Keycloak", "resource_access.my-app.roles", "editor"),
    ],
)
@scenario
async def test_groups_of_another_claim(section: str, claim: str, groups: str, tmp_path: Path) -> None:
    document = quickstart(section)
    document["provider"]["groups_claim"] = claim
    document["access"] = [{"groups": [groups.partition(",")[0]]}]
    async with world(costume_of(section), document, tmp_path) as here:
        assert (await here.browser().sign_in()).status == 200
        assert here.received["groups"] == groups


@scenario
async def test_auth0_signs_out_by_the_standard_where_its_document_says_so(tmp_path: Path) -> None:
    provider = costume_of("Auth0")
    provider.endpoints = {**provider.endpoints, "end_session_endpoint": "https://example.eu.auth0.com/oidc/logout"}
    async with world(provider, quickstart("Auth0"), tmp_path) as here:
        browser = here.browser()
        await browser.sign_in()
        location = (await browser.sign_out()).get("location") or ""
        assert location.startswith("https://example.eu.auth0.com/oidc/logout?id_token_hint=")
        assert parameters(location)["post_logout_redirect_uri"] == "https://app.example.com/"
