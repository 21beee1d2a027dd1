"""What `ostiary envoyfilter` prints, in the real Envoy: people sign in, and nothing else gets by."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme
import yaml

from ostiary.testing.provider import DEMO_CLIENT, DemoClient, DemoProvider
from peers.demo_provider import demo_provider
from peers.mesh import Objects, envoy_runs, generated, ports, sidecar
from peers.person import Page, Person
from peers.proxies import Proxy, ostiary_arguments
from peers.rawhttp import exchange, request
from peers.recorders import Application
from peers.strict_provider import CLIENT_SECRET, Place, sign_in
from ports import free_port

pytestmark = pytest.mark.peer
WHERE = ("--namespace", "httpbin", "--selector", "app=httpbin", "--generate-hmac")
AUTHORITY = trustme.CA()


@contextmanager
def tls_provider(name: str = "localhost", port: int = 0) -> Iterator[DemoProvider]:
    """At https://localhost, with a certificate for `name`."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(name).configure_cert(tls)
    port = port or free_port()
    with demo_provider(port, tls=tls, issuer=f"https://localhost:{port}") as provider:
        yield provider


def files(directory: Path) -> tuple[str, ...]:
    """The CA for discovery from here and for the proxy, and the client's secret."""
    AUTHORITY.cert_pem.write_to_path(str(directory / "ca.pem"))
    (directory / "client").write_text(DEMO_CLIENT.client_secret + "\n")
    ca = str(directory / "ca.pem")
    return ("--ca", ca, "--trusted-ca", ca, "--client-secret-file", str(directory / "client"))


@pytest.fixture
def app() -> Iterator[Application]:
    with Application() as running:
        yield running


def walk(person: Person, url: str) -> Page:
    """Open a page, and sign in as Ada where that is asked."""
    page = person.open(url)
    status, headers, _ = person.step(page.url, form={"username": "ada"})
    assert status == 303
    return person.open(dict(headers)["location"])


def trusting(directory: Path) -> Person:
    return Person(ssl.create_default_context(cafile=str(directory / "ca.pem")))


def jwks(directory: Path, provider: DemoProvider) -> str:
    status, _, text = trusting(directory).step(f"{provider.issuer}/jwks")
    assert status == 200
    return text


def make(provider: DemoProvider, directory: Path, port: int, *more: str) -> Objects:
    url = ("--external-url", f"http://127.0.0.1:{port}")
    client = ("--issuer", provider.issuer, "--client-id", DEMO_CLIENT.client_id)
    objects = generated(*client, *WHERE, *files(directory), *url, *more)
    objects.files(directory)
    return objects


def test_people_sign_in_and_the_token_is_verified_after_it(envoy: Path, app: Application, tmp_path: Path) -> None:
    port, admin = ports()
    with tls_provider() as provider:
        more = ("--request-authentication", "--pass-through", "/healthz", "--pass-through", "/public/*")
        objects = make(provider, tmp_path, port, *more)
        with envoy_runs(sidecar(objects, tmp_path, app.port, port, admin, jwks(tmp_path, provider)), tmp_path) as proxy:
            person = trusting(tmp_path)
            page = walk(person, f"http://127.0.0.1:{port}/reports?year=2026")
            assert (page.status, urlsplit(page.url).path) == (200, "/reports"), proxy.output()[-2000:]
            [reached] = app.drain()
            assert reached.target == "/reports?year=2026"
            assert (reached.get("authorization") or "").startswith("Bearer ")
            assert len(provider.token_requests) == 1

            tampered = person.cookie_header(page.url).replace("IdToken=", "IdToken=x").replace("RefreshToken=", "x=")
            assert ask(port, "/reports", cookie=tampered) == 302
            assert ask(port, "/reports") == 302
            assert ask(port, "/api", ("sec-fetch-mode", "cors")) == 401
            assert ask(port, "/api", ("x-requested-with", "XMLHttpRequest")) == 401
            assert app.drain() == []
            assert [ask(port, path) for path in ("/healthz", "/healthz?a=/../b", "/public/a/b.css?v=1")] == [200] * 3
            app.drain()
            closed = ("/healthz/x", "/healthzz", "/public", "/public/../admin", "/public/a/../../admin")
            encoded = ("/public/%2e%2e/admin", "/public/..%2fadmin", "/public/a%2f..%2fadmin")
            for path in (*closed, *encoded, "/public/.git", "//public/a"):
                assert (path, ask(port, path)) == (path, 302)
            assert app.drain() == []


def ask(port: int, target: str, *fields: tuple[str, str], cookie: str = "") -> int:
    given = (*fields, ("cookie", cookie)) if cookie else fields
    return exchange(port, request("GET", target, given, host=f"127.0.0.1:{port}")).status


def test_ostiary_runs_it_too(app: Application, tmp_path: Path) -> None:
    port, admin = ports()
    with tls_provider() as provider:
        # Ostiary encodes a client secret for itself, so only one that needs no encoding is the same for both.
        provider.clients["plain"] = DemoClient(client_id="plain", client_secret="a-plain-secret")
        (tmp_path / "plain").write_text("a-plain-secret")
        given = ("--client-id", "plain", "--client-secret-file", str(tmp_path / "plain"))
        objects = make(provider, tmp_path, port, *given)
        config = tmp_path / "envoyfilter.yaml"
        config.write_text(yaml.safe_dump(objects.by_kind["EnvoyFilter"]))
        flags = ("--upstream", f"http://127.0.0.1:{app.port}", "--listen", f"127.0.0.1:{port}")
        argv = [*ostiary_arguments(config), *flags, "--admin", f"127.0.0.1:{admin}"]
        proxy = Proxy("ostiary", argv, (port,), admin, tmp_path / "log").start()
        try:
            page = walk(trusting(tmp_path), f"http://127.0.0.1:{port}/reports")
            assert (page.status, urlsplit(page.url).path) == (200, "/reports"), proxy.output()[-2000:]
            assert ask(port, "/api", ("sec-fetch-mode", "cors")) == 401
        finally:
            proxy.stop()


def test_signing_out_ends_the_session_at_the_provider_too(envoy: Path, app: Application, tmp_path: Path) -> None:
    port, admin = ports()
    with tls_provider() as provider:
        objects = make(provider, tmp_path, port, "--no-bearer-token")
        with envoy_runs(sidecar(objects, tmp_path, app.port, port, admin), tmp_path):
            person = trusting(tmp_path)
            assert walk(person, f"http://127.0.0.1:{port}/").status == 200
            [reached] = app.drain()
            assert (reached.get("authorization"), person.value("BearerToken")) == (None, None)
            assert person.value("IdToken") is not None
            status, headers, _ = person.step(f"http://127.0.0.1:{port}/oauth2/sign_out")
            location = next(value for name, value in headers if name.lower() == "location")
            assert (status, location.partition("?")[0]) == (302, f"{provider.issuer}/end_session")
            assert f"post_logout_redirect_uri=http%3A%2F%2F127.0.0.1%3A{port}%2F" in location
            assert person.step(location)[0] in {302, 303}
            page = person.open(f"http://127.0.0.1:{port}/")
            assert page.url.startswith(provider.issuer), "signed in again without being asked"


@pytest.mark.parametrize("wrong", ["name", "authority"])
def test_a_certificate_that_is_not_the_providers_is_not_believed(
    wrong: str, envoy: Path, app: Application, tmp_path: Path
) -> None:
    port, admin = ports()
    with tls_provider() as provider:
        objects = make(provider, tmp_path, port)
    if wrong == "authority":
        trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    name = "localhost" if wrong == "authority" else "other.test"
    with (
        tls_provider(name, provider.port) as impostor,
        envoy_runs(sidecar(objects, tmp_path, app.port, port, admin), tmp_path),
    ):
        page = walk(Person(ssl._create_unverified_context()), f"http://127.0.0.1:{port}/")
        assert (page.status, page.text) == (401, "OAuth flow failed.")
        assert (impostor.token_requests, app.drain()) == ([], [])


def test_a_secret_that_was_not_filled_in_lets_nobody_in(envoy: Path, app: Application, tmp_path: Path) -> None:
    port, admin = ports()
    endpoints = ("--authorization-endpoint", "https://localhost:1/a", "--token-endpoint", "https://localhost:1/t")
    ca = files(tmp_path)[2:4]
    objects = generated(*endpoints, "--client-id", "c", "--scope", "openid", *WHERE[:-1], *ca)
    objects.files(tmp_path)
    with envoy_runs(sidecar(objects, tmp_path, app.port, port, admin), tmp_path):
        assert ask(port, "/") == 503
        assert app.drain() == []


def test_a_certified_provider_takes_what_envoy_sends(envoy: Path, place: Place, tmp_path: Path) -> None:
    """Its client secret has characters that Envoy would send unencoded."""
    _, admin = ports()
    (tmp_path / "client").write_text(CLIENT_SECRET)
    arguments = ("--issuer", place.issuer, "--client-id", "ostiary", *WHERE, "--external-url", place.url)
    paths = ("--callback-path", "/.ostiary/callback", "--client-secret-file", str(tmp_path / "client"))
    objects = generated(*arguments, *paths)
    objects.files(tmp_path)
    with envoy_runs(sidecar(objects, tmp_path, place.app.port, place.port, admin), tmp_path):
        page = sign_in(Person(), f"{place.url}/reports", "jane")
        assert (page.status, page.url) == (200, f"{place.url}/reports")
        assert [each["status"] for each in place.token_requests()] == [200]
