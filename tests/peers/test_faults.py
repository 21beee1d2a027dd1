"""What breaks in real life, done on purpose: no hang, no leak, no wrong answer."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ostiary.testing.provider import DemoProvider
from peers import rawhttp
from peers.demo_provider import demo_provider, holding, settings_for
from peers.doorkeeper import ask, doorkeeper
from peers.doors import CLIENT, POOLED, PROFILES, descriptors, door, settles_at, sign_in
from peers.person import Page, Person
from peers.proxies import Proxy
from peers.recorders import Answer, Application
from peers.relay import MODES, STALLING, Relay
from peers.same_yaml import HOST
from ports import free_port
from waiting import PATIENCE, until

pytestmark = pytest.mark.peer
Step = tuple[int, tuple[tuple[str, str], ...], str]
"""What a person's step gives: status, headers, body."""


@pytest.fixture
def app() -> Iterator[Application]:
    """The recording application."""
    with Application() as running:
        yield running


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
            until(lambda: ask(proxy.ports[0], "GET", "/.ostiary/ready")[0] == 200, proxy.output)
            assert sign_in(Person(), url).status == 200


def test_the_provider_dies_and_sessions_live_on(app: Application, tmp_path: Path) -> None:
    port = free_port()
    with demo_provider(port, access_token_lifetime=2.0) as provider:
        keeper = doorkeeper(tmp_path, settings_for(provider.issuer), app.port)
        proxy = keeper.__enter__()
        url = f"http://localhost:{proxy.ports[0]}/"
        person, other = Person(), Person()
        assert sign_in(person, url).status == 200
        assert sign_in(other, url).status == 200
    try:
        while not any(n.endswith("refreshtoken_failure") and v for n, v in proxy.counters().items()):  # due after 1 s
            assert person.open(url).status == 200
            time.sleep(0.1)
        assert person.open(url).status == 200
        status, _, _ = Person().step(url)
        assert status in {302, 503}, "a newcomer is told, or sent to a provider that may be back by then"
        with demo_provider(again=provider):
            assert sign_in(Person(), url).status == 200
    finally:
        keeper.__exit__(None, None, None)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_slow_provider_slows_nobody_else(profile: str, app: Application, tmp_path: Path) -> None:
    with demo_provider(clients=(CLIENT,)) as provider, door(profile, tmp_path, app.port, provider.issuer) as proxy:
        url = f"http://localhost:{proxy.ports[0]}/"
        signed_in = Person()
        assert sign_in(signed_in, url).status == 200
        late = Person()
        page = late.open(url)
        _, headers, _ = late.step(page.url, form={"username": "ada"})
        answer: list[Page] = []
        waiting = threading.Thread(target=lambda: answer.append(late.open(dict(headers)["location"])))
        with holding(provider) as asked:
            waiting.start()
            assert asked.wait(PATIENCE), "no token request"
            assert signed_in.open(url).status == 200
            assert not answer
        waiting.join(PATIENCE)
        assert answer[0].status == 200


def test_a_provider_that_never_answers_is_given_up(app: Application, tmp_path: Path) -> None:
    with demo_provider() as provider, doorkeeper(tmp_path, settings_for(provider.issuer), app.port) as proxy:
        url = f"http://localhost:{proxy.ports[0]}/"
        person = Person()
        page = person.open(url)
        status, headers, _ = person.step(f"{page.url}", form={"username": "ada"})
        back = dict(headers)["location"]
        provider.faults.delay = 3600.0
        status, _, text = person.step(back)
        assert 500 <= status < 600
        assert "<html" in text.lower()
        provider.faults.delay = 0.0


@contextmanager
def behind_a_relay(**settings: Any) -> Iterator[tuple[DemoProvider, Relay]]:
    """A provider that everybody reaches through a wire that can break."""
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    with demo_provider(issuer=issuer, clients=(CLIENT,), **settings) as provider, Relay(provider.port, port) as relay:
        yield provider, relay


def while_broken(relay: Relay, steps: dict[str, Callable[[], Step]]) -> dict[str, Step]:
    """Mode -> what its step gives while the wire breaks like that. Those that stall do so beside each other."""
    found = {}
    with ThreadPoolExecutor(len(STALLING)) as pool:
        waiting = {}
        for mode in STALLING:
            before, relay.mode = relay.stalled, mode
            waiting[mode] = pool.submit(steps[mode])
            until(lambda before=before: relay.stalled > before)  # type: ignore[misc]
        found = {mode: each.result() for mode, each in waiting.items()}
    for mode in MODES:
        if mode not in STALLING:
            relay.mode = mode
            found[mode] = steps[mode]()
    relay.mode = "pass"
    return found


@pytest.mark.parametrize("profile", PROFILES)
def test_the_provider_breaks_off_inside_a_sign_in(profile: str, app: Application, tmp_path: Path) -> None:
    with (
        behind_a_relay() as (provider, relay),
        door(profile, tmp_path, app.port, provider.issuer, timeout="2s") as proxy,
    ):
        url = f"http://127.0.0.1:{proxy.ports[0]}/"
        assert sign_in(Person(), url).status == 200
        app.drain()
        before = descriptors(proxy)
        callbacks = {}
        for mode in MODES:
            person = Person()
            _, headers, _ = person.step(person.open(url).url, form={"username": "ada"})
            callbacks[mode] = partial(person.step, dict(headers)["location"])
        for mode, (status, _, text) in while_broken(relay, callbacks).items():
            if profile == "envoy":
                assert (status, text) == (401, "OAuth flow failed."), mode
            else:
                assert (status in {502, 503, 504}, "<html" in text.lower()) == (True, True), (mode, status)
        assert app.drain() == []
        assert sign_in(Person(), url).status == 200
        assert settles_at(proxy, before + POOLED)


@pytest.mark.parametrize(("profile", "expected"), [("native", 200), ("envoy", 302)])
def test_the_provider_breaks_off_inside_a_refresh(
    profile: str, expected: int, app: Application, tmp_path: Path
) -> None:
    """The native profile lets the session live on; Envoy's filter sends people to sign in again."""
    with (
        behind_a_relay(access_token_lifetime=1.0) as (provider, relay),
        door(profile, tmp_path, app.port, provider.issuer, timeout="2s") as proxy,
    ):
        url = f"http://127.0.0.1:{proxy.ports[0]}/"
        people = {mode: Person() for mode in MODES}
        for person in people.values():
            assert sign_in(person, url).status == 200
        before = descriptors(proxy)
        time.sleep(1.1)
        seen = while_broken(relay, {mode: partial(person.step, url) for mode, person in people.items()})
        assert {mode: status for mode, (status, _, _) in seen.items()} == dict.fromkeys(MODES, expected)
        assert {person.open(url).status for person in people.values()} == {200}
        assert settles_at(proxy, before + POOLED)


def test_envoys_filter_starts_before_its_provider(app: Application, tmp_path: Path) -> None:
    port = free_port()
    with door("envoy", tmp_path, app.port, f"http://127.0.0.1:{port}") as proxy:
        url = f"http://127.0.0.1:{proxy.ports[0]}/"
        assert ask(proxy.ports[0], "GET", "/open/x")[0] == 200
        assert Person().step(url)[0] == 302
        with demo_provider(port, clients=(CLIENT,)) as provider:
            person = Person()
            assert sign_in(person, url).status == 200
            late = Person()
            page = late.open(url)
            _, headers, _ = late.step(page.url, form={"username": "ada"})
        assert late.step(dict(headers)["location"])[0] == 401, "the provider died in the middle of this one"
        assert person.step(url)[0] == 200, "a session needs no provider"
        with demo_provider(again=provider):
            assert sign_in(Person(), url).status == 200


# --- the application


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + b"x" * 100,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n64\r\n" + b"x" * 100 + b"\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n64\r\n" + b"x" * 10,
    ],
    ids=["length", "between-chunks", "inside-a-chunk"],
)
def test_the_application_dies_inside_a_body(response: bytes, profile: str, app: Application, tmp_path: Path) -> None:
    with door(profile, tmp_path, app.port) as proxy:
        ask(proxy.ports[0], "GET", "/open")
        before = descriptors(proxy)
        for _ in range(10):
            app.script.append(Answer(raw=response, close=True))
            with pytest.raises(ConnectionError):
                rawhttp.exchange(proxy.ports[0], rawhttp.request("GET", "/open/broken", host=HOST))
        assert ask(proxy.ports[0], "GET", "/open/fine")[0] == 200
        assert settles_at(proxy, before + POOLED)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_application_is_not_there(profile: str, tmp_path: Path) -> None:
    with door(profile, tmp_path, 1) as proxy:
        status, text = ask(proxy.ports[0], "GET", "/open", {"Accept": "text/html"})
        assert status == 503
        assert text


@pytest.mark.parametrize("profile", PROFILES)
def test_the_application_is_back_after_a_restart(profile: str, tmp_path: Path) -> None:
    port = free_port()
    with door(profile, tmp_path, port) as proxy:
        for _ in range(3):
            with Application(port):
                for _ in range(3):
                    assert ask(proxy.ports[0], "GET", "/open/x")[0] == 200
            assert ask(proxy.ports[0], "GET", "/open/x")[0] == 503


# --- the client


@pytest.mark.parametrize("profile", PROFILES)
def test_the_client_leaves_inside_its_body(profile: str, app: Application, tmp_path: Path) -> None:
    with door(profile, tmp_path, app.port) as proxy:
        ask(proxy.ports[0], "GET", "/open")
        before = descriptors(proxy)
        for _ in range(20):
            with rawhttp.Connection(proxy.ports[0]) as connection:
                head = rawhttp.request("POST", "/open/upload", (("content-length", "100000"),), host=HOST)
                connection.send(head + b"x" * 1000)
        assert ask(proxy.ports[0], "GET", "/open/fine")[0] == 200
        assert settles_at(proxy, before + POOLED)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_client_leaves_inside_the_response(profile: str, app: Application, tmp_path: Path) -> None:
    body = b"y" * (20 * 2**20)
    with door(profile, tmp_path, app.port) as proxy:
        ask(proxy.ports[0], "GET", "/open")
        before = descriptors(proxy)
        for _ in range(10):
            app.script.append(Answer(body=body))
            with rawhttp.Connection(proxy.ports[0]) as connection:
                connection.send(rawhttp.request("GET", "/open/big", host=HOST))
                assert connection.socket.recv(1000)
        assert ask(proxy.ports[0], "GET", "/open/fine")[0] == 200
        assert settles_at(proxy, before + POOLED)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_client_that_does_not_read_holds_no_memory(profile: str, app: Application, tmp_path: Path) -> None:
    body = b"y" * (64 * 2**20)
    with door(profile, tmp_path, app.port) as proxy:
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


@pytest.mark.parametrize("profile", PROFILES)
def test_sigterm_lets_the_running_request_finish(profile: str, app: Application, tmp_path: Path) -> None:
    with door(profile, tmp_path, app.port) as proxy:
        app.script.append(Answer(delay=1.0, body=b"finished"))
        with rawhttp.Connection(proxy.ports[0]) as connection:
            connection.send(rawhttp.request("GET", "/open/slow", host=HOST))
            until(lambda: app.received)
            assert proxy.process is not None
            proxy.process.terminate()
            response = connection.receive()
            assert (response.status, response.body) == (200, b"finished")
            assert connection.closed_within(PATIENCE)
        assert proxy.process.wait(PATIENCE) == 0
