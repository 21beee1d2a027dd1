"""Entra ID in depth: issuers of one and many directories, both versions, clouds, groups beyond 200, client proofs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from costumes import CONSUMERS, OTHER_TENANT, STAFF, TENANT, Entra, parameters
from provider_world import quickstart, world
from wire import scenario

CLIENT = "11111111-2222-3333-4444-555555555555"
ANYONE = [{"domains": ["contoso.com"]}]


class ById(Entra):
    asked = TENANT


class Organizations(Entra):
    asked = "organizations"
    named = "{tenantid}"


class Consumers(Entra):
    asked = "consumers"
    named = CONSUMERS


class UsGovernment(ById):
    host = "login.microsoftonline.us"
    graph = "graph.microsoft.us"


class Dod(UsGovernment):
    graph = "dod-graph.microsoft.us"


class China(ById):
    host = "login.partner.microsoftonline.cn"
    graph = "microsoftgraph.chinacloudapi.cn"


class First(Entra):
    sts = "sts.windows.net"
    refreshes = True


class FirstOfMany(First):
    asked = "common"
    named = "{tenantid}"


class FirstInChina(China):
    sts = "sts.chinacloudapi.cn"


def entra(access: Any = ANYONE, **keys: str) -> dict[str, Any]:
    """The quickstart's file for another tenant."""
    document = quickstart("Entra ID")
    document["provider"]["entra"] |= keys
    return {**document, "access": access}


@pytest.mark.parametrize(
    ("costume", "keys", "email"),
    [
        (Entra, {}, True),
        (ById, {"tenant": TENANT}, True),
        (ById, {"tenant": TENANT.upper()}, True),
        (UsGovernment, {"tenant": TENANT, "cloud": "us"}, True),
        (Dod, {"tenant": TENANT, "cloud": "us-dod"}, True),
        (China, {"tenant": TENANT, "cloud": "china"}, True),
        (First, {"version": "1"}, True),
        (FirstInChina, {"tenant": TENANT, "cloud": "china", "version": "1"}, True),
        (Organizations, {"tenant": "organizations"}, False),
        (Consumers, {"tenant": "consumers"}, False),
        (FirstOfMany, {"tenant": "common", "version": "1"}, False),
    ],
)
@scenario
async def test_every_kind_of_tenant(costume: type[Entra], keys: dict[str, str], email: bool, tmp_path: Path) -> None:
    if "tenant" in keys and keys["tenant"] != costume.asked:
        costume = type("Asked", (costume,), {"asked": keys["tenant"]})
    provider = costume(CLIENT)
    if costume is Consumers:
        provider.claims["ada"] = {"tid": CONSUMERS}
    access = ANYONE if email else [{"claims": {"tid": [TENANT, CONSUMERS]}}]
    async with world(provider, entra(access, **keys), tmp_path) as here:
        assert (await here.browser().sign_in()).status == 200
        assert here.received["user"] == "ada-pairwise"
        assert here.received.get("email") == ("ada@contoso.com" if email else None)
        asked = parameters(await here.browser().to_provider())
        assert asked.get("resource") == (f"https://{provider.graph}" if provider.sts else None)


@pytest.mark.parametrize("costume", [Entra, First])
@scenario
async def test_a_token_of_another_directory_is_not_believed(costume: type[Entra], tmp_path: Path) -> None:
    provider = costume(CLIENT)
    provider.claims["ada"] = {"tid": OTHER_TENANT}
    provider.claims["ada"]["iss"] = provider.token_issuer(OTHER_TENANT)
    async with world(provider, entra(**({"version": "1"} if provider.sts else {})), tmp_path) as here:
        answer = await here.browser().sign_in()
        assert answer.status == 502
        assert b"jwt-issuer" in answer.body
        assert here.app.heard == []


@scenario
async def test_of_many_directories_rules_choose_by_tid_and_a_typed_address_proves_nothing(tmp_path: Path) -> None:
    provider = Organizations(CLIENT)
    provider.claims["bob"] = {"tid": OTHER_TENANT, "email": "ada@contoso.com"}
    provider.claims["bob"]["iss"] = provider.token_issuer(OTHER_TENANT)
    access = [{"paths": ["/mail"], "domains": ["contoso.com"]}, {"claims": {"tid": [TENANT]}}]
    async with world(provider, entra(access, tenant="organizations"), tmp_path) as here:
        assert (await here.browser().sign_in()).status == 200
        stranger = here.browser()
        assert (await stranger.sign_in("bob")).status == 403
        assert (await stranger.get("/mail")).status == 403


@scenario
async def test_who_claims_another_directory_than_the_issuer_names_is_not_believed(tmp_path: Path) -> None:
    provider = Organizations(CLIENT)
    provider.claims["bob"] = {"tid": TENANT, "iss": provider.token_issuer(OTHER_TENANT)}
    async with world(provider, entra([{"claims": {"tid": [TENANT]}}], tenant="organizations"), tmp_path) as here:
        answer = await here.browser().sign_in("bob")
        assert (answer.status, here.app.heard) == (502, [])


@scenario
async def test_entra_refuses_who_is_not_of_the_directory_and_the_page_says_so(tmp_path: Path) -> None:
    provider = Entra(CLIENT)
    provider.faults.authorize_error = "access_denied"
    async with world(provider, entra(), tmp_path) as here:
        answer = await here.browser().sign_in()
        assert answer.status == 403
        assert b"sign-in-declined" in answer.body


# --- groups


@scenario
async def test_groups_come_with_the_token_and_graph_is_not_asked(tmp_path: Path) -> None:
    provider = Entra(CLIENT)
    async with world(provider, entra([{"groups": [STAFF]}]), tmp_path) as here:
        assert (await here.browser().sign_in()).status == 200
        assert here.received["groups"].split(",")[0] == STAFF
        assert (await here.browser().sign_in("bob")).status == 403
        assert provider.count("/graph") == 0
        assert provider.last("/authorize")["scope"] == "openid profile email offline_access User.Read"


@scenario
async def test_too_many_groups_for_a_token_are_asked_for_at_graph_page_by_page(tmp_path: Path) -> None:
    provider = Entra(CLIENT)
    provider.overage = True
    provider.groups = [*(f"group-{n}" for n in range(2500)), STAFF]
    access = [{"paths": ["/admin"], "groups": ["group-7", "nobody"]}, {"groups": [STAFF]}]
    async with world(provider, entra(access), tmp_path) as here:
        browser = here.browser()
        assert (await browser.sign_in()).status == 200
        assert provider.count("/graph") == 3
        assert set(here.received["groups"].split(",")) == {"group-7", STAFF}, "those that rules name"
        assert (await browser.get("/admin")).status == 200
        provider.groups = ["group-8"]
        assert (await here.browser().sign_in()).status == 403


@scenario
async def test_a_header_of_groups_gets_them_all(tmp_path: Path) -> None:
    provider = Entra(CLIENT)
    provider.overage = True
    provider.groups = [f"group-{n}" for n in range(201)]
    document = {**entra(), "pass": {"claims": {"X-Entra-Groups": "groups"}}}
    async with world(provider, document, tmp_path) as here:
        assert (await here.browser().sign_in()).status == 200
        assert here.app.heard[-1].get(b"x-entra-groups") == ",".join(provider.groups).encode()


@scenario
async def test_where_nothing_looks_at_groups_graph_is_not_asked(tmp_path: Path) -> None:
    provider = Entra(CLIENT)
    provider.overage = True
    async with world(provider, entra(), tmp_path) as here:
        assert (await here.browser().sign_in()).status == 200
        assert (provider.count("/graph"), here.received.get("groups")) == (0, None)


@scenario
async def test_roles_are_not_looked_for_among_groups(tmp_path: Path) -> None:
    provider = Entra(CLIENT)
    provider.overage, provider.groups = True, ["editor"]
    provider.claims["bob"] = {"roles": ["editor"]}
    document = entra([{"groups": ["editor"]}])
    document["provider"]["groups_claim"] = "roles"
    async with world(provider, document, tmp_path) as here:
        assert (await here.browser().sign_in("ada")).status == 403
        assert (await here.browser().sign_in("bob")).status == 200
        assert (provider.count("/graph"), here.received["groups"]) == (0, "editor")


@pytest.mark.parametrize(("status", "groups"), [(403, 1), (401, 1), (200, 10_000)])
@scenario
async def test_what_graph_does_not_tell_ends_in_a_page_that_says_why(status: int, groups: int, tmp_path: Path) -> None:
    provider = Entra(CLIENT)
    provider.overage, provider.graph_status = True, status
    provider.groups = [STAFF] * groups
    async with world(provider, entra([{"groups": [STAFF]}]), tmp_path) as here:
        answer = await here.browser().sign_in()
        assert answer.status == 403
        assert b"group-overage" in answer.body and b"You are in too many groups" in answer.body
        assert here.app.heard == []


@scenario
async def test_graph_being_down_is_not_the_users_fault(tmp_path: Path) -> None:
    provider = Entra(CLIENT)
    provider.overage, provider.graph_status = True, 503
    async with world(provider, entra([{"groups": [STAFF]}]), tmp_path) as here:
        answer = await here.browser().sign_in()
        assert answer.status == 503
        assert b"idp-server-error" in answer.body


# --- who the client is


@pytest.mark.parametrize("one_file", [True, False])
@scenario
async def test_a_certificate_instead_of_a_secret(one_file: bool, tmp_path: Path) -> None:
    issued = trustme.CA(key_type=trustme.KeyType.RSA).issue_cert("app.example.com", key_type=trustme.KeyType.RSA)
    key, chain = issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes()
    certificate = x509.load_pem_x509_certificate(chain)
    provider = Entra(CLIENT)
    public = certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    provider.certificate = (public, certificate.public_bytes(Encoding.DER))
    (tmp_path / "key.pem").write_bytes(key + chain if one_file else key)
    (tmp_path / "cert.pem").write_bytes(chain)
    document = entra()
    document["provider"]["client_secret_file"] = str(tmp_path / "key.pem")
    if not one_file:
        document["provider"]["client_certificate_file"] = str(tmp_path / "cert.pem")
    async with world(provider, document, tmp_path) as here:
        assert (await here.browser().sign_in()).status == 200
        assert "client_secret" not in provider.last("/token")
        provider.certificate = (public, b"another certificate")
        answer = await here.browser().sign_in()
        assert answer.status == 500
        assert b"client-rejected" in answer.body


@scenario
async def test_workload_identity_the_projected_token_is_read_again(tmp_path: Path) -> None:
    projected = tmp_path / "azure-identity-token"
    projected.write_text("header.first.signature\n")
    document = entra()
    del document["provider"]["client_secret_file"]
    document["provider"]["client_assertion_file"] = str(projected)
    provider = Entra(CLIENT)
    provider.assertion = "header.first.signature"
    async with world(provider, document, tmp_path) as here:
        assert (await here.browser().sign_in()).status == 200
        assert provider.last("/token")["client_id"] == CLIENT
        projected.write_text("header.second-one.signature\n")
        provider.assertion = "header.second-one.signature"
        while (await here.browser().sign_in()).status != 200:
            pass
        assert provider.last("/token")["client_assertion"] == "header.second-one.signature"


@scenario
async def test_a_projected_token_that_is_none_is_not_sent(tmp_path: Path) -> None:
    projected = tmp_path / "azure-identity-token"
    projected.write_text("not a token")
    document = entra()
    del document["provider"]["client_secret_file"]
    document["provider"]["client_assertion_file"] = str(projected)
    provider = Entra(CLIENT)
    async with world(provider, document, tmp_path) as here:
        answer = await here.browser().sign_in()
        assert answer.status == 500
        assert b"secret-invalid" in answer.body
        assert provider.count("/token") == 0
