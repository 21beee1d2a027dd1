"""What `ostiary convert` writes runs where it is for, and people sign in."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
import yaml

from ostiary.testing.provider import DemoClient, DemoProvider
from peers.demo_provider import demo_provider
from peers.mesh import ostiary
from peers.person import Page, Person
from peers.proxies import Proxy, envoy_arguments, ostiary_arguments
from peers.recorders import Application
from ports import free_port
from waiting import PATIENCE

pytestmark = pytest.mark.peer
CLIENT = DemoClient(client_id="shop", client_secret="a-plain-secret")
AUTHORITY = trustme.CA()


@pytest.fixture
def provider() -> Iterator[DemoProvider]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("localhost").configure_cert(tls)
    port = free_port()
    with demo_provider(port, tls=tls, issuer=f"https://localhost:{port}", clients=(CLIENT,)) as running:
        yield running


@pytest.fixture
def app() -> Iterator[Application]:
    with Application() as running:
        yield running


def native(folder: Path, provider: DemoProvider, app: Application, port: int, admin: int) -> Path:
    """A native configuration of that world."""
    AUTHORITY.cert_pem.write_to_path(str(folder / "ca.pem"))
    (folder / "client").write_text(CLIENT.client_secret)
    (folder / "session").write_text("0123456789abcdef0123456789abcdef")
    document = {
        "listen": f"127.0.0.1:{port}",
        "admin": f"127.0.0.1:{admin}",
        "upstream": f"http://127.0.0.1:{app.port}",
        "public": ["/open"],
        "provider": {
            "issuer": provider.issuer,
            "client_id": CLIENT.client_id,
            "client_secret_file": str(folder / "client"),
            "ca_file": str(folder / "ca.pem"),
        },
        "secret_file": str(folder / "session"),
        "pass": {"authorization": True},
        "access": "anyone",
    }
    path = folder / "ostiary.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def sign_in(folder: Path, url: str) -> tuple[Person, Page]:
    person = Person(ssl.create_default_context(cafile=str(folder / "ca.pem")))
    page = person.open(url)
    _, headers, _ = person.step(page.url, form={"username": "ada"})
    return person, person.open(dict(headers)["location"])


def check(folder: Path, proxy: Proxy, app: Application, url: str) -> None:
    """Ada reaches the application, with a token and no header that she made up."""
    person, page = sign_in(folder, f"{url}/reports?a=1")
    assert (page.status, page.url) == (200, f"{url}/reports?a=1"), proxy.output()[-3000:]
    [reached] = app.drain()
    assert (reached.get("authorization") or "").startswith("Bearer ")
    spoofed = {"X-Forwarded-User": "root", "Accept": "text/html"}
    assert person.step(f"{url}/", headers=spoofed)[0] == 200
    assert app.drain()[0].get("x-forwarded-user") != "root"
    assert Person().step(f"{url}/open/x")[0] == 200
    assert Person().step(f"{url}/openly")[0] == 302
    assert [each.target for each in app.drain()] == ["/open/x"]


def test_there_and_back_again(envoy: Path, provider: DemoProvider, app: Application, tmp_path: Path) -> None:
    """Native to Envoy, which signs in; and that to native again, which signs in under the same callback."""
    port, admin = free_port(), free_port()
    source = native(tmp_path, provider, app, port, admin)
    done = ostiary("convert", str(source), "--to", "envoy")
    assert [line.partition("warning: ")[2][:30] for line in done.stderr.splitlines()] == [
        "provider: Envoy's filter verif",
        "pass: no identity headers (X-F",
    ]
    bootstrap = tmp_path / "envoy.yaml"
    bootstrap.write_text(done.stdout)
    checked = [*envoy_arguments(bootstrap), "--mode", "validate"]
    valid = subprocess.run(checked, check=False, capture_output=True, text=True, timeout=PATIENCE)
    assert valid.returncode == 0, valid.stderr[-3000:]
    with_envoy = Proxy("envoy", envoy_arguments(bootstrap), (port,), admin, tmp_path / "envoy.log").start()
    try:
        check(tmp_path, with_envoy, app, f"http://127.0.0.1:{port}")
    finally:
        with_envoy.stop()

    back = ostiary("convert", str(bootstrap), "--to", "native", "--issuer", provider.issuer)
    document = yaml.safe_load(back.stdout)
    assert document.pop("prefix", "/.ostiary") == "/.ostiary"
    document["public"] = ["/open"]  # told as lost: a regular expression is no path
    assert "pass_through_matcher[0]: passed without a sign-in, and now needs one" in back.stderr
    again = tmp_path / "again.yaml"
    again.write_text(yaml.safe_dump(document))
    own = Proxy("ostiary", ostiary_arguments(again), (port,), admin, tmp_path / "ostiary.log").start()
    try:
        check(tmp_path, own, app, f"http://127.0.0.1:{port}")
    finally:
        own.stop()
