"""A provider at its own addresses, in a network of its own, and what `ostiary envoyfilter` prints for it.

    unshare --net --mount python envoyfilter_world.py FOLDER PROVIDER

A sidecar with the patches and with what istiod makes of the RequestAuthentication is run by the real Envoy, a person
signs in through it, and what came of it is printed as JSON.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' directory is not a package

from costumes import (
    SECRET,
    Auth0,
    Authentik,
    Cognito,
    Costume,
    Dex,
    Entra,
    GitLab,
    Google,
    Keycloak,
    Okta,
    OktaCustom,
    Zitadel,
)
from net.dns_server import DnsServer
from net.dns_server import Reply as Answer
from ostiary.testing.provider import DemoClient
from ostiary.testing.provider_server import ProviderServer, Reply
from peers.in_thread import serving
from peers.mesh import Objects, envoy_runs, ostiary, sidecar
from peers.person import Person
from peers.recorders import Application

PORT, ADMIN = 4180, 4181
URL = f"http://127.0.0.1:{PORT}"
PROVIDERS: tuple[type[Costume], ...] = (
    Entra, Google, Keycloak, Okta, OktaCustom, Auth0, Dex, Cognito, Authentik, Zitadel, GitLab,
)  # fmt: skip


def prepare(folder: Path, names: set[str]) -> dict[tuple[str, str], Answer]:
    """This network: its loopback, and every provider's name in DNS."""
    resolv = folder / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\n")
    for command in (["mount", "--bind", str(resolv), "/etc/resolv.conf"], ["ip", "link", "set", "lo", "up"]):
        subprocess.run(command, check=True)
    return {
        (f"{name}.", kind): Answer(("127.0.0.1",) if kind == "A" else ()) for name in names for kind in ("A", "AAAA")
    }


@asynccontextmanager
async def served(provider: Costume, tls: ssl.SSLContext) -> AsyncIterator[None]:
    async def answer(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        return provider.handle(method, url, headers, body)

    server = ProviderServer(answer)
    await server.start("127.0.0.1", 443, tls)
    try:
        yield
    finally:
        await server.stop()


def sign_in(folder: Path, provider: Costume, app: Application, trusts: ssl.SSLContext) -> dict[str, Any]:
    """What is printed for the provider, and what a person sees who uses it."""
    roots, who = str(folder / "roots.pem"), ("--namespace", "httpbin", "--selector", "app=httpbin")
    (folder / "client").write_text(SECRET + "\n")
    secrets = ("--client-secret-file", str(folder / "client"), "--generate-hmac")
    more = ("--external-url", URL, "--ca", roots, "--trusted-ca", roots, "--request-authentication")
    arguments = ("--issuer", provider.issuer_url, "--client-id", provider.client_id, *who, *secrets, *more)
    done = ostiary("envoyfilter", *arguments)
    assert done.returncode == 0, done.stderr
    objects = Objects({each["kind"]: each for each in yaml.safe_load_all(done.stdout)})
    objects.files(folder)
    person = Person(trusts)
    keys = person.step(provider.endpoints["jwks_uri"])[2]
    with envoy_runs(sidecar(objects, folder, app.port, PORT, ADMIN, keys), folder) as envoy:
        page = person.open(f"{URL}/reports?year=2026")
        asked = {key: value[0] for key, value in parse_qs(urlsplit(page.url).query).items()}
        status, headers, text = person.step(page.url, form={"username": "ada"})
        if status in (302, 303):
            back = person.open(dict(headers)["location"])
            status, text = back.status, back.text
        reached = [(each.target, (each.get("authorization") or "").partition(" ")[0]) for each in app.drain()]
        signed_out = person.step(f"{URL}/oauth2/sign_out")
        return {
            "asked": asked, "endpoint": page.url.partition("?")[0], "status": status, "text": text,
            "reached": reached, "objects": objects.by_kind, "log": envoy.output()[-3000:],
            "token": provider.last("/token") if provider.count("/token") else None,
            "signed_out": {name.lower(): value for name, value in signed_out[1]}.get("location", ""),
            "stderr": done.stderr,
        }  # fmt: skip


def main(folder: Path, name: str) -> None:
    """Everything, and what came of it."""
    provider = next(kind for kind in PROVIDERS if kind.__name__ == name)("my-app")
    provider.clients["my-app"] = DemoClient(
        client_id="my-app", client_secret=SECRET, redirect_uris=(f"{URL}/oauth2/callback", f"{URL}/")
    )
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "roots.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*sorted(provider.names)).configure_cert(tls)
    records = prepare(folder, provider.names)
    with serving(DnsServer(records, port=53)), Application() as app, serving(served(provider, tls)):
        trusts = ssl.create_default_context(cafile=str(folder / "roots.pem"))
        print(json.dumps(sign_in(folder, provider, app, trusts)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
