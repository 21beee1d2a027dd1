"""Whole sign-ins at a provider that Ostiary knows by name, at its real addresses.

The names of the provider lead to an address of this machine by a DNS server of the test's, where a TLS server with the
certificate of a CA of the test's speaks for the provider. Between the two is nothing of ours but the doorkeeper, with
the file of the quickstart as it stands: only ports, files, `ca_file` and `dns_resolvers` are the test's.
"""

from __future__ import annotations

import contextlib
import os
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import trustme
import yaml

from app.harness import running
from costumes import SECRET, Costume
from ostiary.dialects import native
from ostiary.testing.dns_server import DnsServer
from ostiary.testing.provider_server import ProviderServer, Reply
from wire import Answer, Client, Upstream

HOST = "app.example.com"
NAVIGATION = ("Accept: text/html", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Site: none", "X-Forwarded-Proto: https")
PROVIDERS_ADDRESS = f"127.44.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
"""Of this process alone, so that its port 443 is free."""
QUICKSTART = Path(__file__).parents[1] / "docs" / "quickstart.md"
CA = trustme.CA()


def quickstart(section: str) -> dict[str, Any]:
    """The file of a provider, out of the documentation."""
    text = QUICKSTART.read_text().partition(f"\n## {section}\n")[2]
    found = re.search(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    document: dict[str, Any] = yaml.safe_load(found[1])
    return document


@dataclass
class World:
    """The provider, the application, and the doorkeeper between them."""

    provider: Costume
    app: Upstream
    address: str

    def browser(self) -> Browser:
        return Browser(self)

    @property
    def received(self) -> dict[str, str]:
        """What the application was told of the user with the last request."""
        names = ("user", "email", "preferred-username", "groups")
        heard = self.app.heard[-1]
        found = {name: heard.get(f"x-forwarded-{name}".encode()) for name in names}
        return {name: value.decode() for name, value in found.items() if value is not None}


@contextlib.asynccontextmanager
async def world(provider: Costume, document: dict[str, Any], directory: Path) -> AsyncIterator[World]:
    """Everything together, running."""

    async def answer(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
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
    try:
        await dns.start()
        async with Upstream().running() as app:
            config = configured(document, directory, app.port, dns.address)
            async with running(config) as doorkeeper:
                yield World(provider, app, doorkeeper.addresses["ostiary"][0])
    finally:
        dns.stop()
        await server.stop()


def configured(document: dict[str, Any], directory: Path, app_port: int, dns: tuple[str, int]) -> Any:
    """The documentation's file with this test's ports and files."""
    files = {"ca.pem": CA.cert_pem.bytes(), "client": SECRET.encode(), "ostiary": b"0123456789abcdef0123456789abcdef"}
    for name, content in files.items():
        (directory / name).write_bytes(content)
    provider = {"ca_file": str(directory / "ca.pem"), "dns_resolvers": f"{dns[0]}:{dns[1]}", **document["provider"]}
    if provider.get("client_secret_file") == "/run/secrets/client":
        provider["client_secret_file"] = str(directory / "client")
    here = {"listen": "127.0.0.1:0", "upstream": f"http://127.0.0.1:{app_port}", "provider": provider}
    text = yaml.safe_dump({**document, **here, "secret_file": str(directory / "ostiary"), "access_log": "off"})
    loaded = native.load_all([("ostiary.yaml", text.encode())], flags={}, env={}, read=lambda n: Path(n).read_bytes())
    assert [str(each) for each in loaded.diagnostics] == []
    return loaded.config


@dataclass
class Browser:
    """Somebody's browser: over the network to the doorkeeper, straight to the provider's pages."""

    world: World
    cookies: dict[str, str] = field(default_factory=dict)

    async def get(self, target: str = "/") -> Answer:
        """One request to the application's address."""
        client = await Client.connect(self.world.address)
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = await client.get(target, *NAVIGATION, *([f"Cookie: {cookie}"] if cookie else []), host=HOST)
        client.close()
        for line in answer.all("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
            if "Max-Age=0" in line:
                del self.cookies[name]
        return answer

    async def to_provider(self, target: str = "/") -> str:
        """Open a page; where the sign-in begins."""
        answer = await self.get(target)
        assert answer.status == 302, answer
        return answer.get("location") or ""

    async def sign_in(self, user: str = "ada", target: str = "/page?x=1") -> Answer:
        """All the way, and back at the page that was asked for; the last answer, whatever it is."""
        location = await self.to_provider(target)
        form = urlencode({"username": user}).encode()
        reply = self.world.provider.handle("POST", location, {}, form)
        assert reply.status == 303, reply.body.decode()
        callback = urlsplit(dict(reply.headers)["location"])
        assert f"{callback.scheme}://{callback.netloc}" == f"https://{HOST}"
        answer = await self.get(f"{callback.path}?{callback.query}")
        return await self.get(answer.get("location") or "") if answer.status == 302 else answer

    async def sign_out(self) -> Answer:
        return await self.get("/.ostiary/sign_out")
