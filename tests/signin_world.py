"""A browser, the native filter and the demo provider, without a socket and with a clock that only tests move."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

from msgspec.structs import replace

from ostiary.core.decision import Allow, Counter, Decision, Fetch, Fetched, FetchFailed, Request, Respond, Start
from ostiary.core.oauth2.failures import FAILURES
from ostiary.core.oauth2.filter import SignInFilter
from ostiary.core.oauth2.session import KeyRing
from ostiary.model.headers import Headers
from ostiary.model.secret import Secret
from ostiary.model.signin import AccessRule, ProviderConfig, SessionConfig, SignIn
from ostiary.model.tls import DataSource
from ostiary.pages import render
from ostiary.testing.provider import DEMO_CLIENT, DemoClient, DemoProvider

START = 1_800_000_000.0
ISSUER = "https://idp.example"
APP = "https://app.example"
CALLBACK = f"{APP}/.ostiary/callback"
SECRET = Secret(b"0123456789abcdef0123456789abcdef!")
NAVIGATION = {
    "accept": "text/html,application/xhtml+xml,*/*;q=0.8",
    "sec-fetch-mode": "navigate",
    "sec-fetch-site": "none",
}
FETCH = {"accept": "*/*", "sec-fetch-mode": "cors", "sec-fetch-site": "same-origin"}


def sign_in_config(**changes: Any) -> SignIn:
    """A configuration that fits the demo provider; `provider_*` and `session_*` reach into its parts."""
    provider = {k.removeprefix("provider_"): v for k, v in changes.items() if k.startswith("provider_")}
    session = {k.removeprefix("session_"): v for k, v in changes.items() if k.startswith("session_")}
    rest = {k: v for k, v in changes.items() if not k.startswith(("provider_", "session_"))}
    return SignIn(
        provider=ProviderConfig(
            **{
                "issuer": ISSUER,
                "client_id": DEMO_CLIENT.client_id,
                "client_secret": DataSource(inline=Secret(DEMO_CLIENT.client_secret)),
                **provider,
            }
        ),
        session=SessionConfig(**{"secrets": (DataSource(inline=SECRET),), **session}),
        **{"rules": (AccessRule(),), **rest},
    )


class World:
    """Everything together. `now` is the time; `down` cuts the way to the provider."""

    def __init__(self, config: SignIn | None = None, *, seed: int = 1, **provider: Any) -> None:
        self.now = START
        client = DemoClient(
            client_id=DEMO_CLIENT.client_id,
            client_secret=DEMO_CLIENT.client_secret,
            redirect_uris=(CALLBACK, f"{APP}/", "http://127.0.0.1:8080/.ostiary/callback"),
        )
        self.provider = DemoProvider(
            issuer=ISSUER, clients=(client,), clock=lambda: self.now, **{"access_token_lifetime": 300.0, **provider}
        )
        self.config = config or sign_in_config()
        self.down: str = ""
        self.fetched: list[str] = []
        self.counters: dict[str, Counter] = {}
        self.secret: Secret | None = Secret(DEMO_CLIENT.client_secret)
        self.ring = KeyRing([SECRET])
        self.look_again: Callable[[], bool] = lambda: False
        self.entropy = random.Random(seed).randbytes
        self.filter = self.new_filter()

    def new_filter(self) -> SignInFilter:
        """A doorkeeper that was just started."""
        return SignInFilter(
            self.config,
            client_secret=lambda: self.secret,
            keys=lambda: self.ring,
            entropy=self.entropy,
            counter=lambda name: self.counters.setdefault(name, Counter(name)),
            render=render,
            look_again=lambda: self.look_again(),
        )

    def count(self, name: str) -> int:
        return self.counters[name].value

    def drive(self, steps: Generator[Fetch, Fetched, Any]) -> Any:
        """What the shell does with a flow."""
        try:
            fetch = next(steps)
            while True:
                try:
                    answer = self.fetch(fetch)
                except FetchFailed as failed:
                    fetch = steps.throw(failed)
                else:
                    fetch = steps.send(answer)
        except StopIteration as stop:
            return stop.value

    def fetch(self, fetch: Fetch) -> Fetched:
        assert fetch.url.startswith("https://")
        self.fetched.append(fetch.purpose)
        if self.down:
            raise FetchFailed(self.down, "scripted", self.now)
        reply = self.provider.handle(fetch.method, fetch.url, dict(fetch.headers), fetch.body)
        return Fetched(status=reply.status, headers=Headers(reply.headers), body=reply.body, now=self.now)

    def settle(self, decision: Decision) -> Allow | Respond:
        return self.drive(decision.flow) if isinstance(decision, Start) else decision

    def ask(self, request: Request) -> Allow | Respond:
        return self.settle(self.filter.decide(request, self.now))


class Browser:
    """Keeps cookies as browsers do (name, prefix rules, Secure, Max-Age) and follows redirects."""

    def __init__(self, world: World, origin: str = APP) -> None:
        self.world = world
        self.origin = origin
        self.cookies: dict[str, str] = {}
        self.provider_cookies: dict[str, str] = {}
        self.extra_cookies = ""

    def request(self, target: str, method: str = "GET", **headers: str) -> Request:
        """A request of this browser; header names with `_` for `-`."""
        parts = urlsplit(self.origin)
        fields = {**NAVIGATION, **{name.replace("_", "-"): value for name, value in headers.items()}}
        pairs = [(name, value) for name, value in fields.items() if value]
        jar = [f"{name}={value}" for name, value in self.cookies.items()]
        if self.extra_cookies:
            jar.insert(len(jar) // 2, self.extra_cookies)
        if jar:
            pairs.append(("cookie", "; ".join(jar)))
        path, _, query = target.partition("?")
        return Request(
            method=method,
            target=target,
            path=path,
            query=query,
            scheme=parts.scheme,
            authority=parts.netloc,
            headers=Headers(pairs),
        )

    def get(self, target: str, method: str = "GET", **headers: str) -> Allow | Respond:
        """One request, one answer, cookies kept."""
        answer = self.world.ask(self.request(target, method, **headers))
        self.keep(answer)
        return answer

    def keep(self, answer: Allow | Respond) -> None:
        headers = answer.response_set if isinstance(answer, Allow) else answer.headers
        for name, value in headers:
            if name == "set-cookie":
                self._store(value)

    def follow(self, location: str, user: str = "ada") -> str:
        """At the provider: sign in as `user` (empty: only if signed in already); returns the callback's target."""
        form = urlencode({"username": user}).encode() if user else b""
        headers = {"cookie": "; ".join(f"{k}={v}" for k, v in self.provider_cookies.items())}
        reply = self.world.provider.handle("POST" if user else "GET", location, headers, form)
        assert reply.status == 303, (reply.status, reply.body)
        fields = dict(reply.headers)
        if "set-cookie" in fields:
            name, _, value = fields["set-cookie"].partition(";")[0].partition("=")
            self.provider_cookies[name] = value
        parts = urlsplit(urljoin(location, fields["location"]))
        assert f"{parts.scheme}://{parts.netloc}" == self.origin
        return f"{parts.path}?{parts.query}"

    def sign_in(self, target: str = "/", user: str = "ada") -> Respond:
        """All the way; returns the callback's answer."""
        answer = self.get(target)
        assert isinstance(answer, Respond) and answer.status == 302, answer
        done = self.get(self.follow(location(answer), user))
        assert isinstance(done, Respond)
        return done

    def _store(self, cookie: str) -> None:
        pair, *attributes = [part.strip() for part in cookie.split(";")]
        name, _, value = pair.partition("=")
        known = {key.lower(): val for key, _, val in (attribute.partition("=") for attribute in attributes)}
        assert len(cookie) <= 4096
        assert "httponly" in known and known["samesite"] in ("Lax", "Strict", "None")
        if "secure" in known and not self.origin.startswith("https"):
            return
        if name.startswith("__Host-"):
            assert "secure" in known and "domain" not in known and known["path"] == "/"
        if int(known["max-age"]) <= 0:
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value


def location(answer: Allow | Respond) -> str:
    """Where a redirect leads."""
    assert isinstance(answer, Respond), answer
    return dict(answer.headers)["location"]


def sent(answer: Allow | Respond) -> dict[str, str]:
    """The request headers the application gets."""
    assert isinstance(answer, Allow), answer
    return dict(answer.set)


def changed(config: SignIn, **changes: Any) -> SignIn:
    return replace(config, **changes)


def respond(answer: Allow | Respond) -> Respond:
    """The answer, which must be one."""
    assert isinstance(answer, Respond), answer
    return answer


def page(answer: Allow | Respond, code: str) -> str:
    """The text of a failure's page, which must carry its code and a flight code."""
    answer = respond(answer)
    assert (answer.status, answer.details.partition(":")[0]) == (FAILURES[code].status, code), answer.details
    text = answer.body.decode()
    assert code in text and len(answer.flight) == 8 and answer.flight in text
    assert FAILURES[code].title.replace("'", "&#39;") in text
    return text


def query(url: str) -> dict[str, list[str]]:
    """The parameters of a URL."""
    return parse_qs(urlsplit(url).query)
