"""Many users at once on the same connections: nobody may ever get what is another's.

The relay remembers judged heads and cookies; this looks for the one mistake such a memory can make. Every request says
in its target whose it is, and the application answers with who the doorkeeper said it was.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from ostiary.core.oauth2.cookies import CookiePolicy
from ostiary.core.oauth2.session import KeyRing, Session, audience_of, seal
from ostiary.model.secret import Secret
from ostiary.model.signin import ProviderConfig
from ostiary.testing.provider import DEMO_CLIENT
from peers import rawhttp, sealed
from peers.demo_provider import settings_for
from peers.doorkeeper import doorkeeper
from peers.proxies import Proxy, ostiary_arguments
from peers.recorders import Answer, Application, Received
from peers.same_yaml import HMAC_SECRET, HOST, bootstrap, fill, oauth2_config
from ports import free_port

pytestmark = pytest.mark.peer

USERS = 12
CONNECTIONS = 8
REQUESTS = 150  # on each connection
CLOCK_TICK = 0.5
"""Seconds that the relay may be behind: it looks at the clock a few times a second, not at every request."""


ISSUER = "http://127.0.0.1:1"
AUDIENCE = audience_of(ProviderConfig(issuer=ISSUER, client_id=DEMO_CLIENT.client_id))


class WhoAmI(Application):
    """Answers with the identity it was given, and with the request's own target, cookie and body length."""

    header = "x-forwarded-user"

    def usual(self, received: Received) -> Answer:
        user = (received.get(self.header) or "").removeprefix("Bearer ")
        cookie = received.get("cookie") or ""
        return Answer(body=f"{received.target}|{user}|{cookie}|{len(received.body)}".encode())


@dataclass(frozen=True, slots=True)
class Sent:
    """One request and what its answer has to be."""

    data: bytes
    head_request: bool
    allowed: bool
    answer: str


def native_session(secret: str, user: str) -> str:
    """The session cookie of Ostiary's own profile, over plain HTTP."""
    now = time.time()
    session = Session(id=user, subject=user, email=f"{user}@example.com", created=now, last_seen=now)
    policy = CookiePolicy(base="ostiary", secure=False)
    value = seal(session, "session", policy.session, KeyRing([Secret(secret)], AUDIENCE), os.urandom)
    return "; ".join(line.partition(";")[0] for line in policy.split(value, 600))


def envoy_session(user: str, expires: str = "") -> str:
    """The session cookies of Envoy's filter; the access token is the user."""
    expires = expires or str(int(time.time()) + 600)
    mac = sealed.session_hmac(HMAC_SECRET, HOST, expires, user)
    return f"OauthHMAC={mac}; OauthExpires={expires}; BearerToken={sealed.encrypt_cbc(user, HMAC_SECRET)}"


def make_request(rng: random.Random, number: str, sessions: dict[str, str], left: Callable[[str], str]) -> Sent:
    """A request of somebody, or of nobody, with the heads that browsers and scripts send."""
    user = rng.choice([*sessions, ""])
    method = rng.choice(["GET", "GET", "GET", "POST", "HEAD", "PUT"])
    target = f"/{user or 'nobody'}/{number}" if rng.random() < 0.5 else f"/same/{user or 'nobody'}"
    own = rng.choice(["", "theme=dark", "a=1; b=2"])
    cookies = [c for c in (own, sessions.get(user, "")) if c]
    if rng.random() < 0.3:
        cookies.reverse()
    headers = [("accept", "*/*"), ("sec-fetch-mode", "cors")]
    if cookies:
        headers.append(("cookie", "; ".join(cookies)))
    if rng.random() < 0.5:
        headers.append(("traceparent", f"00-{number:0>32}-00f067aa0ba902b7-01"))
    if rng.random() < 0.3:
        headers.append(("x-forwarded-user", "root"))
        headers.append(("authorization", "Bearer root"))
    body = b"b" * rng.choice([0, 10, 70_000]) if method in {"POST", "PUT"} else b""
    data = rawhttp.request(method, target, tuple(headers), body, host=HOST)
    answer = f"{target}|{user}|{left(user) if not own else _with(own, left(user))}|{len(body)}"
    return Sent(data, method == "HEAD", bool(user), answer)


def _with(own: str, left: str) -> str:
    return f"{own}; {left}" if left else own


def run_connection(port: int, seed: int, sessions: dict[str, str], left: Callable[[str], str]) -> int:
    """One connection after the other, some requests sent before the last answer; the number of allowed ones."""
    rng = random.Random(seed)
    todo = [make_request(rng, f"{seed}-{n}", sessions, left) for n in range(REQUESTS)]
    allowed = sum(sent.allowed for sent in todo)
    while todo:
        with rawhttp.Connection(port) as connection:
            open_still = True
            while todo and open_still:
                burst = todo[: rng.choice([1, 1, 1, 4])]
                connection.send(b"".join(sent.data for sent in burst))
                for sent in burst:
                    response = connection.receive(head_request=sent.head_request)
                    check(sent, response)
                    todo.pop(0)
                    if response.get("connection") == "close":  # what was sent after it was not looked at
                        open_still = False
                        break
    return allowed


def check(sent: Sent, response: rawhttp.Response) -> None:
    """Raises AssertionError if the answer is not what this very request had to get."""
    assert (response.status == 200) is sent.allowed, (response.status, sent.data[:300])
    if sent.allowed and not sent.head_request:
        assert _fields(response.body.decode()) == _fields(sent.answer)


def _fields(answer: str) -> list[object]:
    target, user, cookie, length = answer.split("|")
    return [target, user, sorted(cookie.split("; ")), length]


def hammer(port: int, sessions: dict[str, str], left: Callable[[str], str]) -> None:
    """All connections at once."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        futures = [pool.submit(run_connection, port, seed, sessions, left) for seed in range(CONNECTIONS)]
        assert sum(future.result() for future in futures) > CONNECTIONS * REQUESTS / 2


@pytest.fixture
def app() -> Iterator[WhoAmI]:
    """The application."""
    with WhoAmI() as running:
        yield running


def test_native_profile_under_mixed_traffic(app: WhoAmI, tmp_path: Path) -> None:
    secret = "ab" * 32
    (tmp_path / "session-secret").write_text(secret)
    with doorkeeper(tmp_path, settings_for(ISSUER), app.port) as proxy:
        users = [f"user-{n}" for n in range(USERS)]
        hammer(proxy.ports[0], {user: native_session(secret, user) for user in users}, lambda _: "")


@pytest.fixture
def envoy_profile(app: WhoAmI, tmp_path: Path) -> Iterator[int]:
    """Ostiary with Envoy's configuration; its port."""
    app.header = "authorization"
    denied = [{"name": "sec-fetch-mode", "string_match": {"exact": "cors"}}]
    port, admin = free_port(), free_port()
    values = {"PORT": port, "ADMIN": admin, "APP": app.port, "IDP": 1, "LOG": str(tmp_path / "access.log")}
    config = tmp_path / "envoy.yaml"
    config.write_text(yaml.safe_dump(fill(bootstrap(oauth2=oauth2_config(deny_redirect_matcher=denied)), values)))
    proxy = Proxy("ostiary", ostiary_arguments(config), (port,), admin, tmp_path / "ostiary.log").start()
    yield port
    assert proxy.stop() == 0


def test_envoy_profile_under_mixed_traffic(envoy_profile: int) -> None:
    users = [f"user-{n}" for n in range(USERS)]
    sessions = {user: envoy_session(user) for user in users}
    hammer(envoy_profile, sessions, lambda user: f"BearerToken={user}")


def test_a_session_that_expires_is_not_opened_from_memory(envoy_profile: int) -> None:
    expires = int(time.time()) + 2
    cookie = envoy_session("jane", str(expires))
    head = rawhttp.request("GET", "/", (("cookie", cookie), ("accept", "text/html")), host=HOST)
    with rawhttp.Connection(envoy_profile) as connection:
        while True:
            before = time.time()
            connection.send(head)
            status = connection.receive().status
            if status != 200:
                break
            assert before < expires + CLOCK_TICK, "opened although it had expired"
            time.sleep(0.02)
    assert status == 302
    assert time.time() >= expires, "ended before its time"
