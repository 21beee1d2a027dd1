"""Plays scripts against one proxy and writes down everything that can be seen.

An observation has a path: `2.response.status`, `2.app.0.headers.cookie`, `2.idp.0.body`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from peers import rawhttp, sealed
from peers.normal import CookieReader, normal_form, normal_header, normal_location
from peers.proxies import Proxy
from peers.recorders import Application, Provider
from peers.same_yaml import HMAC_SECRET, HOST

IDP_HEADERS = ("host", "content-type", "accept", "authorization")
IGNORED_RESPONSE_HEADERS = {"date", "server", "content-length", "connection", "transfer-encoding"}
IGNORED_APP_HEADERS = {"x-case"}
LATER = str(int(time.time()) + 86_400)
"""When sessions end that are made here: the same for both sides, and after the tests."""


@dataclass(slots=True)
class Side:
    """One proxy with an application and a provider of its own."""

    name: str
    proxy: Proxy
    app: Application
    idp: Provider
    access_log: Path
    port: int


@dataclass(slots=True)
class Flow:
    """A sign-in under way: what a browser holds after the redirect."""

    state: str
    flow_id: str
    csrf: str
    url: str


class Client:
    """Plays one script against one side and writes down what can be seen."""

    def __init__(self, side: Side, case: str, names: Mapping[str, str], domain: str) -> None:
        self.side = side
        self.case = case
        self.cookies = CookieReader(names, domain)
        self.names = self.cookies.names
        self.domain = domain
        self.jar: dict[str, str] = {}
        self.seen: dict[str, object] = {}
        self.step = 0
        self.app = side.app
        self.idp = side.idp

    # --- talking

    def send(
        self,
        method: str = "GET",
        target: str = "/page",
        *headers: tuple[str, str],
        body: bytes = b"",
        cookie: str | None = None,
        host: str | None = HOST,
    ) -> rawhttp.Response:
        """One request; its cookies come from the jar unless `cookie` gives the header ("" = none)."""
        line = "; ".join(f"{k}={v}" for k, v in self.jar.items()) if cookie is None else cookie
        sent = (("x-case", self.case), *headers, *((("cookie", line),) if line else ()))
        data = rawhttp.request(method, target, sent, body, host=host)
        return self.raw(data, head_request=method == "HEAD")

    def raw(self, data: bytes, *, head_request: bool = False) -> rawhttp.Response:
        """Bytes as they are; the response and what it caused behind the proxy are written down."""
        self.step += 1
        response = rawhttp.exchange(self.side.port, data, head_request=head_request)
        self.record(response)
        return response

    def record(self, response: rawhttp.Response) -> None:
        """Write down a response and what arrived behind the proxy since the last one."""
        place = f"{self.step}."
        self.seen[place + "response.status"] = response.status
        self.seen[place + "response.body"] = response.body.decode("latin-1")
        location = response.get("location")
        if location is not None:
            self.seen[place + "response.location"] = normal_location(location)
        cookies = self.cookies.normal(response.get_all("set-cookie"), self.jar)
        self.seen[place + "response.set_cookie"] = cookies
        for name, value in response.headers:
            low = name.lower()
            if low not in IGNORED_RESPONSE_HEADERS | {"set-cookie", "location"}:
                self.seen[place + f"response.headers.{low}"] = normal_header(low, value)
        for line in response.get_all("set-cookie"):
            self._store(line)
        self._record_behind(place)

    def _record_behind(self, place: str) -> None:
        for number, got in enumerate(self.app.drain()):
            at = f"{place}app.{number}."
            self.seen[at + "line"] = got.request_line
            self.seen[at + "body"] = (len(got.body), got.body[:200])
            names = dict.fromkeys(name.lower() for name, _ in got.headers)
            for name in names:
                if name == "cookie":
                    self.seen[at + "headers.cookie"] = sorted(_pairs(got.get_all(name)))
                elif name not in IGNORED_APP_HEADERS:
                    values = [normal_header(name, v) for v in got.get_all(name)]
                    self.seen[at + f"headers.{name}"] = values
        for number, got in enumerate(self.idp.drain()):
            at = f"{place}idp.{number}."
            self.seen[at + "line"] = got.request_line
            for name in IDP_HEADERS:
                self.seen[at + f"headers.{name}"] = got.get_all(name)
            self.seen[at + "body"] = normal_form(got)

    def _store(self, line: str) -> None:
        name, _, rest = line.partition("=")
        value = rest.split(";")[0]
        if value == "deleted" or "max-age=0;" in line.lower():
            self.jar.pop(name, None)
        else:
            self.jar[name] = value

    # --- what a browser does

    def start(self, target: str = "/page", *headers: tuple[str, str]) -> Flow:
        """Ask for a page without a session and follow nothing."""
        return flow_of(self.send("GET", target, *headers))

    def callback(
        self, flow: Flow, *headers: tuple[str, str], code: str = "code-1", state: str | None = None
    ) -> rawhttp.Response:
        """Come back from the provider."""
        return self.send("GET", f"/callback?code={code}&state={flow.state if state is None else state}", *headers)

    def sign_in(self, target: str = "/page", *headers: tuple[str, str]) -> rawhttp.Response:
        """The whole way; the jar holds the session afterwards."""
        return self.callback(self.start(target, *headers), *headers)

    def session(
        self,
        access: str = "access-1",
        identity: str = "id-1",
        refresh: str = "",
        *,
        expires: str | None = None,
        mode: str = "cbc",
        domain: str | None = None,
        secret: str = HMAC_SECRET,
        legacy: bool = False,
        mac: str | None = None,
    ) -> None:
        """Put a session into the jar that was made elsewhere. `mode` is cbc, gcm or plain."""
        expires = LATER if expires is None else expires
        tokens = {"bearer_token": access, "id_token": identity, "refresh_token": refresh}
        mac = mac or sealed.session_hmac(
            secret, domain or self.domain or HOST, expires.strip(' "'), access, identity, refresh, legacy=legacy
        )
        self.jar[self.names["oauth_hmac"]] = mac
        self.jar[self.names["oauth_expires"]] = expires
        seal = {"cbc": sealed.encrypt_cbc, "gcm": sealed.encrypt_gcm, "plain": lambda text, _: text}[mode]
        for kind, token in tokens.items():
            if token:
                self.jar[self.names[kind]] = seal(token, secret)

    def flow_cookies(self, url: str, *, nonce: str = "00000000075bcd15", flow_id: str | None = None) -> Flow:
        """Put a flow into the jar that was started elsewhere."""
        csrf, flow = sealed.csrf_token(HMAC_SECRET, nonce), nonce if flow_id is None else flow_id
        verifier = sealed.encrypt_cbc("v" * 43, HMAC_SECRET)
        suffixes = [f".{flow}", ""] if flow else [""]
        for name, value in ((self.names["oauth_nonce"], csrf), (self.names["code_verifier"], verifier)):
            for suffix in suffixes:
                self.jar[name + suffix] = value
        return Flow(sealed.state(url, csrf, flow), flow, csrf, url)


def asking(
    target: str = "/page", *headers: tuple[str, str], method: str = "GET", **more: Any
) -> Callable[[Client], None]:
    """The script that sends one request; `more` are arguments of Client.send."""

    def script(client: Client) -> None:
        client.send(method, target, *headers, **more)

    return script


def flow_of(response: rawhttp.Response) -> Flow:
    """The flow that a redirect to the provider started."""
    location = response.get("location") or ""
    state = dict(parse_qsl(location.partition("?")[2])).get("state", "")
    assert state, f"no redirect to a provider: {response.status} {location} {response.body[:100]!r}"
    document = json.loads(sealed.unb64url(state))
    return Flow(state, document["flow_id"], document["csrf_token"], document["url"])


def _pairs(lines: list[str]) -> list[str]:
    return [pair for line in lines for pair in line.split("; ")]
