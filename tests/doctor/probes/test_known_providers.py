"""Providers that Ostiary knows by name, at their own addresses: what each says to a client that is right, or wrong."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from costumes import SECRET, Auth0, Cognito, Costume, Entra, GitLab, Google, Keycloak, Okta
from doctor.probes.probing import rules
from ostiary.doctor.examine import Question, examine
from ostiary.doctor.report import Report
from ostiary.testing.dns_server import DnsServer
from ostiary.testing.provider_server import ProviderServer, Reply
from provider_world import CA, PROVIDERS_ADDRESS, quickstart

PROVIDERS: dict[str, type[Costume]] = {
    "Entra ID": Entra, "Google": Google, "Keycloak": Keycloak, "GitLab": GitLab, "Okta": Okta, "Auth0": Auth0,
    "Amazon Cognito": Cognito,
}  # fmt: skip
NOT_REGISTERED = "The redirect URI 'https://elsewhere.example' specified in the request does not match"


def html(text: str, status: int = 400) -> Reply:
    page = f"<!doctype html><html><body><h1>Sorry</h1><p>{text}</p></body></html>"
    return Reply(status=status, headers=(("content-type", "text/html"),), body=page.encode())


def hidden(error: str) -> str:
    return base64.urlsafe_b64encode(b"\n\x15" + error.encode() + b"\x12\x08whatever").decode()


REFUSALS: Mapping[str, Reply] = {
    "Entra ID": html(f"<script>$Config={{strServiceExceptionMessage:\"AADSTS50011: {NOT_REGISTERED}\"}}</script>", 200),
    "Google": Reply.redirect("https://accounts.google.com/signin/oauth/error?"
                             + urlencode({"authError": hidden("redirect_uri_mismatch")})),
    "Keycloak": html("Invalid parameter: redirect_uri"),
    "GitLab": html("The redirect URI included is not valid.", 200),
    "Okta": html("The 'redirect_uri' parameter must be a Login redirect URI in the client app settings"),
    "Auth0": html("Callback URL mismatch.", 403),
    "Amazon Cognito": Reply.redirect("https://pool.example/error?error=redirect_mismatch"),
}  # fmt: skip
"""What each shows for a redirect URI that it does not know."""


@contextlib.asynccontextmanager
async def served(provider: Costume, section: str, refuses: bool) -> AsyncIterator[tuple[str, int]]:
    async def answer(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        if refuses and "redirect_uri=" in url and "elsewhere.example" in url:
            return REFUSALS[section]
        return provider.handle(method, url, headers, body)

    server = ProviderServer(answer)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert(*sorted(provider.names)).configure_cert(tls)
    dns = DnsServer(dict.fromkeys(provider.names, (PROVIDERS_ADDRESS,)))
    try:
        await server.start(PROVIDERS_ADDRESS, 443, tls)
    except OSError as error:
        if os.environ.get("OSTIARY_REQUIRE_PEERS") == "1":
            raise
        pytest.skip(f"the providers' real port can't be had here: {error}")
    await dns.start()
    try:
        yield dns.address
    finally:
        dns.stop()
        await server.stop()


def look(
    section: str, directory: Path, *, secret: str = SECRET, external_url: str = "https://app.example.com"
) -> Report:
    document = quickstart(section)
    (directory / "ca.pem").write_bytes(CA.cert_pem.bytes())

    async def run() -> Report:
        provider = PROVIDERS[section](document["provider"]["client_id"])
        async with served(provider, section, external_url != "https://app.example.com") as (host, port):
            known: dict[str, Any] = {
                **{key: value for key, value in document["provider"].items() if not key.endswith("_file")},
                "client_secret": secret, "ca_file": str(directory / "ca.pem"), "dns_resolvers": f"{host}:{port}",
            }  # fmt: skip
            others = {key: value for key, value in document.items() if not key.endswith("_file")}
            config = {**others, "upstream": "http://127.0.0.1:9", "provider": known, "external_url": external_url,
                      "secret": "0123456789abcdef0123456789abcdef"}  # fmt: skip
            text = yaml.safe_dump(config).encode()
            return await examine(Question(configurations=(("ostiary.yaml", text),)))

    return asyncio.run(run())


@pytest.mark.parametrize("section", PROVIDERS)
def test_the_quickstart_s_client_is_fine(section: str, tmp_path: Path) -> None:
    report = look(section, tmp_path)
    assert rules(report) == [], report.as_dict()
    assert any("authorization answers" in each.summary for each in report.evidence)


@pytest.mark.parametrize("section", PROVIDERS)
def test_a_secret_that_is_wrong(section: str, tmp_path: Path) -> None:
    assert rules(look(section, tmp_path, secret="something else")) == ["client-rejected"]


@pytest.mark.parametrize("section", PROVIDERS)
def test_a_redirect_uri_that_is_not_registered(section: str, tmp_path: Path) -> None:
    report = look(section, tmp_path, external_url="https://elsewhere.example")
    assert rules(report) == ["redirect-uri-mismatch"], report.as_dict()
    assert "https://elsewhere.example/.ostiary/callback" in report.findings[0].cause
