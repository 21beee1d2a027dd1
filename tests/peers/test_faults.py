"""What breaks in real life, done on purpose: no hang, no leak, no wrong answer."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from peers import rawhttp, sealed
from peers.demo_provider import demo_provider, settings_for
from peers.doorkeeper import ask, doorkeeper
from peers.person import Page, Person
from peers.proxies import Proxy, ostiary_arguments
from peers.recorders import Answer, Application
from peers.same_yaml import HMAC_SECRET, HOST, bootstrap, fill, oauth2_config
from ports import free_port

pytestmark = pytest.mark.peer

POOLED = 4
"""Descriptors that may stay: connections to the application that are kept for the next request."""


@pytest.fixture
def app() -> Iterator[Application]:
    """The recording application."""
    with Application() as running:
        yield running


def sign_in(person: Person, url: str, user: str = "ada") -> Page:
    """Through the demo provider's page."""
    page = person.open(url)
    return person.submit(page, username=user)


def descriptors(proxy: Proxy) -> int:
    """Open files and sockets of the process and its workers."""
    total = 0
    pids = [proxy.pid]
    for pid in pids:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            pids += [int(child) for child in children.read_text().split()]
        total += len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return total


def settles_at(proxy: Proxy, limit: int, seconds: float = 10.0) -> bool:
    """Whether the number of descriptors comes down to `limit` in time."""
    deadline = time.monotonic() + seconds
    while descriptors(proxy) > limit:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


# --- the provider


def test_the_provider_is_down_at_the_start(app: Application, tmp_path: Path) -> None:
    port = free_port()
    with doorkeeper(tmp_path, settings_for(f"http://127.0.0.1:{port}"), app.port, public=["/open"]) as proxy:
        url = f"http://localhost:{proxy.ports[0]}/"
        assert ask(proxy.ports[0], "GET", "/.ostiary/live")[0] == 200
        assert ask(proxy.ports[0], "GET", "/.ostiary/ready")[0] == 503
        assert ask(proxy.ports[0], "GET", "/open/x")[0] == 200
        status, headers, text = Person().step(url)
        assert (status, "retry-after" in dict(headers)) == (503, True)
        assert "not available" in text
        assert len(app.drain()) == 1
        with demo_provider(port):
            deadline = time.monotonic() + 10
            while ask(proxy.ports[0], "GET", "/.ostiary/ready")[0] != 200:
                assert time.monotonic() < deadline, "it must recover by itself"
                time.sleep(0.2)
            assert sign_in(Person(), url).status == 200


def test_the_provider_dies_and_sessions_live_on(app: Application, tmp_path: Path) -> None:
    port = free_port()
    with demo_provider(port, access_token_lifetime=4.0) as provider:
        keeper = doorkeeper(tmp_path, settings_for(provider.issuer), app.port)
        proxy = keeper.__enter__()
        url = f"http://localhost:{proxy.ports[0]}/"
        person, other = Person(), Person()
        assert sign_in(person, url).status == 200
        assert sign_in(other, url).status == 200
    try:
        deadline = time.monotonic() + 3.5  # a refresh is due after 2 s, and can't be had
        while time.monotonic() < deadline:
            assert person.open(url).status == 200
            time.sleep(0.2)
        status, _, _ = Person().step(url)
        assert status in {302, 503}, "a newcomer is told, or sent to a provider that may be back by then"
        with demo_provider(again=provider):
            assert sign_in(Person(), url).status == 200
    finally:
        keeper.__exit__(None, None, None)


def test_a_slow_provider_slows_nobody_else(app: Application, tmp_path: Path) -> None:
    with demo_provider() as provider:
        settings = settings_for(provider.issuer)
        with doorkeeper(tmp_path, settings, app.port) as proxy:
            url = f"http://localhost:{proxy.ports[0]}/"
            signed_in = Person()
            assert sign_in(signed_in, url).status == 200
            late = Person()
            page = late.open(url)
            answer: list[Page] = []
            waiting = threading.Thread(target=lambda: answer.append(late.submit(page, username="ada")))
            provider.faults.delay = 1.2
            try:
                waiting.start()
                time.sleep(1.4)  # the form itself was slow; the token request is under way now
                began = time.monotonic()
                assert signed_in.open(url).status == 200
                assert time.monotonic() - began < 1.0
                waiting.join(20)
            finally:
                provider.faults.delay = 0.0
            assert answer[0].status == 200


def test_a_provider_that_never_answers_is_given_up(app: Application, tmp_path: Path) -> None:
    with demo_provider() as provider, doorkeeper(tmp_path, settings_for(provider.issuer), app.port) as proxy:
        url = f"http://localhost:{proxy.ports[0]}/"
        person = Person()
        page = person.open(url)
        status, headers, _ = person.step(f"{page.url}", form={"username": "ada"})
        back = dict(headers)["location"]
        provider.faults.delay = 30.0
        began = time.monotonic()
        status, _, text = person.step(back)
        assert 500 <= status < 600
        assert 1.0 < time.monotonic() - began < 8.0, "the provider's timeout is 2 s"
        assert "<html" in text.lower()
        provider.faults.delay = 0.0


# --- the application


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + b"x" * 100,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n64\r\n" + b"x" * 100 + b"\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n64\r\n" + b"x" * 10,
    ],
    ids=["length", "between-chunks", "inside-a-chunk"],
)
def test_the_application_dies_inside_a_body(response: bytes, app: Application, tmp_path: Path) -> None:
    settings = settings_for("http://127.0.0.1:1")
    with doorkeeper(tmp_path, settings, app.port, public=["/open"]) as proxy:
        ask(proxy.ports[0], "GET", "/open")
        before = descriptors(proxy)
        for _ in range(10):
            app.script.append(Answer(raw=response, close=True))
            with pytest.raises(ConnectionError):
                rawhttp.exchange(proxy.ports[0], rawhttp.request("GET", "/open/broken", host=HOST))
        assert ask(proxy.ports[0], "GET", "/open/fine")[0] == 200
        assert settles_at(proxy, before + POOLED)


def test_the_application_is_not_there(tmp_path: Path) -> None:
    with doorkeeper(tmp_path, settings_for("http://127.0.0.1:1"), 1, public=["/open"]) as proxy:
        began = time.monotonic()
        status, text = ask(proxy.ports[0], "GET", "/open", {"Accept": "text/html"})
        assert status == 503
        assert text
        assert time.monotonic() - began < 5


def test_the_application_is_back_after_a_restart(tmp_path: Path) -> None:
    port = free_port()
    with doorkeeper(tmp_path, settings_for("http://127.0.0.1:1"), port, public=["/open"]) as proxy:
        for _ in range(3):
            with Application(port):
                for _ in range(3):
                    assert ask(proxy.ports[0], "GET", "/open/x")[0] == 200
            assert ask(proxy.ports[0], "GET", "/open/x")[0] == 503


# --- the client


def test_the_client_leaves_inside_its_body(app: Application, tmp_path: Path) -> None:
    with doorkeeper(tmp_path, settings_for("http://127.0.0.1:1"), app.port, public=["/open"]) as proxy:
        ask(proxy.ports[0], "GET", "/open")
        before = descriptors(proxy)
        for _ in range(20):
            with rawhttp.Connection(proxy.ports[0]) as connection:
                head = rawhttp.request("POST", "/open/upload", (("content-length", "100000"),), host=HOST)
                connection.send(head + b"x" * 1000)
        assert ask(proxy.ports[0], "GET", "/open/fine")[0] == 200
        assert settles_at(proxy, before + POOLED)


def test_the_client_leaves_inside_the_response(app: Application, tmp_path: Path) -> None:
    body = b"y" * (20 * 2**20)
    with doorkeeper(tmp_path, settings_for("http://127.0.0.1:1"), app.port, public=["/open"]) as proxy:
        ask(proxy.ports[0], "GET", "/open")
        before = descriptors(proxy)
        for _ in range(10):
            app.script.append(Answer(body=body))
            with rawhttp.Connection(proxy.ports[0]) as connection:
                connection.send(rawhttp.request("GET", "/open/big", host=HOST))
                assert connection.socket.recv(1000)
        assert ask(proxy.ports[0], "GET", "/open/fine")[0] == 200
        assert settles_at(proxy, before + POOLED)


def test_a_client_that_does_not_read_holds_no_memory(app: Application, tmp_path: Path) -> None:
    body = b"y" * (64 * 2**20)
    with doorkeeper(tmp_path, settings_for("http://127.0.0.1:1"), app.port, public=["/open"]) as proxy:
        ask(proxy.ports[0], "GET", "/open")
        before = resident(proxy)
        app.script.append(Answer(body=body))
        with rawhttp.Connection(proxy.ports[0]) as connection:
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            connection.send(rawhttp.request("GET", "/open/big", host=HOST))
            assert connection.socket.recv(1000)
            time.sleep(0.5)
            assert resident(proxy) - before < 16 * 2**20, "a body is relayed, not collected"


def resident(proxy: Proxy) -> int:
    """Resident bytes."""
    pages = int(Path(f"/proc/{proxy.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# --- secrets and signals


def test_a_session_secret_is_replaced_under_load(app: Application, tmp_path: Path) -> None:
    new, old = tmp_path / "session-secret", tmp_path / "old-secret"
    new.write_text("11" * 32)
    old.write_text("22" * 32)
    with demo_provider() as provider:
        settings = settings_for(provider.issuer)
        with doorkeeper(tmp_path, settings, app.port, secret_file=[str(new), str(old)]) as proxy:
            url = f"http://localhost:{proxy.ports[0]}/"
            person = Person()
            assert sign_in(person, url).status == 200
            cookie = person.cookie_header(url)
            stop = threading.Event()

            def load() -> set[int]:
                seen = set()
                while not stop.is_set():
                    seen.add(
                        ask(proxy.ports[0], "GET", "/", {"Cookie": cookie, "Host": f"localhost:{proxy.ports[0]}"})[0]
                    )
                return seen

            with ThreadPoolExecutor(4) as pool:
                loads = [pool.submit(load) for _ in range(4)]
                replace(old, "11" * 32)
                time.sleep(2)
                replace(new, "33" * 32)
                time.sleep(2)
                stop.set()
                assert set().union(*(load.result() for load in loads)) == {200}
            fresh = Person()
            assert sign_in(fresh, url).status == 200
            replace(old, "44" * 32)
            deadline = time.monotonic() + 10
            while person.step(url)[0] == 200:
                assert time.monotonic() < deadline, "what the dropped secret sealed must not open any more"
                time.sleep(0.2)
            assert fresh.step(url)[0] == 200


def replace(path: Path, text: str) -> None:
    """As `kubectl` and careful people do: a new file over the old one."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def test_an_hmac_secret_of_envoys_is_replaced_under_load(app: Application, tmp_path: Path) -> None:
    secret_file = tmp_path / "hmac.yaml"

    def write(value: str) -> None:
        resource = {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            "name": "hmac",
            "generic_secret": {"secret": {"inline_string": value}},
        }
        replace(secret_file, yaml.safe_dump({"resources": [resource]}))

    write(HMAC_SECRET)
    sds = {"name": "hmac", "sds_config": {"path_config_source": {"path": str(secret_file)}}}
    tree = bootstrap(oauth2=oauth2_config(credentials={"hmac_secret": sds}))
    port, admin = free_port(), free_port()
    values = {"PORT": port, "ADMIN": admin, "APP": app.port, "IDP": 1, "LOG": str(tmp_path / "access.log")}
    config = tmp_path / "envoy.yaml"
    config.write_text(yaml.safe_dump(fill(tree, values)))
    proxy = Proxy("ostiary", ostiary_arguments(config), (port,), admin, tmp_path / "ostiary.log").start()

    def status(secret: str) -> int:
        expires = str(int(time.time()) + 600)
        mac = sealed.session_hmac(secret, HOST, expires, "a")
        cookie = f"OauthHMAC={mac}; OauthExpires={expires}; BearerToken={sealed.encrypt_cbc('a', secret)}"
        return rawhttp.exchange(port, rawhttp.request("GET", "/", (("cookie", cookie),), host=HOST)).status

    try:
        assert (status(HMAC_SECRET), status("the next secret")) == (200, 302)
        write("the next secret")
        deadline = time.monotonic() + 10
        seen = set()
        while (now := (status(HMAC_SECRET), status("the next secret"))) != (302, 200):
            seen.add(now)
            assert time.monotonic() < deadline, f"not read again: {seen}"
            time.sleep(0.05)
        assert seen <= {(200, 302), (200, 200)}, "one secret or the other, never neither"
    finally:
        assert proxy.stop() == 0


def test_sigterm_lets_the_running_request_finish(app: Application, tmp_path: Path) -> None:
    with doorkeeper(tmp_path, settings_for("http://127.0.0.1:1"), app.port, public=["/open"]) as proxy:
        app.script.append(Answer(delay=1.0, body=b"finished"))
        with rawhttp.Connection(proxy.ports[0]) as connection:
            connection.send(rawhttp.request("GET", "/open/slow", host=HOST))
            deadline = time.monotonic() + 5
            while not app.received:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert proxy.process is not None
            proxy.process.terminate()
            response = connection.receive()
            assert (response.status, response.body) == (200, b"finished")
            assert connection.closed_within(5)
        assert proxy.process.wait(10) == 0
