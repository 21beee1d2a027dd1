"""The way back from the provider: only this browser's own sign-in is completed, and nobody is led elsewhere.

The input is the callback's query, and also the address to return to.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import envoy_signin
import signin_world
from fuzz.cookies import FLOW_COOKIE, HTTPS, KEY, PENDING, RING
from ostiary.core.decision import Allow, Fetch, FetchFailed, Respond, Start
from ostiary.core.oauth2 import flow
from ostiary.core.oauth2.envoy.codec import base64url
from ostiary.core.oauth2.envoy.state import State, StateError, decode_state, encode_state
from ostiary.core.oauth2.return_url import Origin, return_url, return_url_of_target

ENVOY = envoy_signin.World(envoy_signin.config(allowed_redirect_domains=("app.example", "*.team.example")))
BEGUN = decode_state(ENVOY.begin("/page?a=1")["state"])
ENVOY_COOKIES = dict(ENVOY.cookies)
ORIGINS = (Origin("https", "app.example", 443), Origin("http", "127.0.0.1", 8080))
HOSTS = ("other.example", "*.team.example")
PREFIX = "/.ostiary"

SEEDS = (
    f"code=c0de&state={KEY}".encode(),
    f"code=c0de&state={KEY}&iss=https%3A%2F%2Fidp.example".encode(),
    f"error=access_denied&error_description=no&state={KEY}".encode(),
    f"code=a&code=b&state={KEY}&state=x".encode(),
    f"code=c0de&state=s{'A' * 22}".encode(),
    f"code=c0de&state=r{'A' * 22}".encode(),
    f"code=c0de&state={encode_state(BEGUN)}".encode(),
    f"error=x&state={encode_state(BEGUN)}".encode(),
    b"code=c0de&state=" + base64url(b'{"url":"https://evil.example/","csrf_token":"a.b","flow_id":""}').encode(),
    b'{"url":"https://app.example/\xc3\xa9","csrf_token":"a.b","flow_id":"0123456789abcdef"}',
    b"/page?a=b#c", b"//evil.example/", b"/\\evil.example", b"/.//evil.example", b"https://x.team.example/a",
    b"https://app.example@evil.example/", b"/%2f/evil.example", b"/\t/evil.example", b"/x/../.ostiary/sign_out",
    b"https://app.example.evil.example", b"HTTPS://app.example/\r\nset-cookie: a=b",
)  # fmt: skip
WORDS = (
    b"code=", b"&state=", b"&error=", b"&iss=", b"error_description=", b"%2f", b"%5c", b"//", b"/\\", b"/.", b"/..",
    b"%252f", b"https://", b"http://", b"app.example", b"evil.example", b"x.team.example", b"@", b"#", b"?", b":443",
    b"/.ostiary/", b'"url":"', b'"csrf_token":"', b'"flow_id":"', KEY.encode(), encode_state(BEGUN).encode(), b"\t",
    b"%09", b"[::1]",
)  # fmt: skip


def one(data: bytes) -> None:
    text = data.decode("latin-1")
    _return_addresses(text)
    _native_callback(text)
    _records(text)
    _states(data, text)
    if "\r" not in text and "\n" not in text:
        _envoy_callback(text)


def _host(location: str, base: str) -> tuple[str, str]:
    """Scheme and host to which a browser goes, by the URL standard's rules for "special" schemes."""
    text = location.strip("".join(map(chr, range(0x21)))).translate({9: None, 10: None, 13: None})
    before, _, _ = text.partition("#")
    scheme, colon, rest = before.partition(":")
    if not (colon and scheme.isascii() and scheme[:1].isalpha() and scheme.replace("+", "").replace("-", "").isalnum()):
        scheme, rest = urlsplit(base).scheme, before
        if not rest.replace("\\", "/").startswith("//"):
            return scheme, urlsplit(base).hostname or ""
    elif scheme.lower() not in ("http", "https"):
        return scheme.lower(), ""
    elif scheme.lower() == urlsplit(base).scheme and not rest.replace("\\", "/").startswith("//"):
        return scheme.lower(), urlsplit(base).hostname or ""
    authority = rest.replace("\\", "/").lstrip("/").partition("/")[0].partition("?")[0]
    host = authority.rpartition("@")[2]
    return scheme.lower(), (host if host.startswith("[") else host.partition(":")[0]).lower()


def _return_addresses(wanted: str) -> None:
    for origin in ORIGINS:
        accepted = return_url(wanted, origin, HOSTS, PREFIX)
        interrupted = return_url_of_target(wanted, origin, PREFIX)
        assert interrupted.startswith("/")
        for location in (accepted, interrupted):
            if location is None:
                continue
            assert location.isascii() and location.isprintable() and " " not in location
            scheme, host = _host(location, f"{origin}{PREFIX}/callback")
            assert host in (origin.host, "other.example") or host.rstrip(".").endswith(".team.example")
            assert scheme == origin.scheme or (origin.scheme, scheme) == ("http", "https")
            assert return_url(location, origin, HOSTS, PREFIX) == location


class _Provider(signin_world.World):
    """Discovery and keys as always; a code that reaches it is written down and refused."""

    def fetch(self, fetch: Fetch) -> Any:
        if fetch.purpose == "token":
            self.fetched.append("token")
            raise FetchFailed("connect", "scripted", self.now)
        return super().fetch(fetch)


def _ready() -> _Provider:
    world = _Provider()
    steps = world.filter.maintenance(world.now)
    assert steps is not None
    world.drive(steps)
    return world


NATIVE = _ready()


def _native_callback(query: str) -> None:
    NATIVE.fetched.clear()
    request = signin_world.Browser(NATIVE).request(f"{PREFIX}/callback?{query}", cookie=FLOW_COOKIE)
    answer = NATIVE.settle(NATIVE.filter.decide(request, signin_world.START))
    assert isinstance(answer, Respond) and not answer.details.startswith("internal-error"), answer
    params = parse_qs(query, keep_blank_values=True, errors="replace")
    ours = params.get("state") == [KEY]
    if NATIVE.fetched:
        assert NATIVE.fetched == ["token"] and ours and len(params["code"]) == 1 and "error" not in params
    for name, value in answer.headers:
        assert not {"\r", "\n", "\0"} & set(value)
        if name == "location":
            assert value.startswith((f"{signin_world.ISSUER}/", PENDING.return_url))
        if name == "set-cookie" and value.startswith(FLOW_COOKIE.partition("=")[0]):
            assert ours and "Max-Age=0" in value


def _records(text: str) -> None:
    """A sign-in comes back from its cookie as it was, under its own name only."""
    pending = flow.PendingSignIn(verifier=text, nonce="n", return_url=text, redirect_uri=text, created=1.5, flight="f")
    line = flow.store(KEY, pending, HTTPS, RING, lambda count: b"x" * count)
    name, _, value = line.partition(";")[0].partition("=")
    assert flow.find(KEY, [(name, value)], HTTPS, RING) == pending
    other = KEY[:-1] + ("A" if KEY[-1] != "A" else "B")
    assert flow.find(other, [(HTTPS.flow(other), value)], HTTPS, RING) is None


def _states(data: bytes, text: str) -> None:
    for state in (text, base64url(data)):
        try:
            found = decode_state(state)
        except StateError:
            continue
        assert isinstance(json.loads(data) if state != text else {}, dict)
        assert base64url(json.dumps({"url": found.url}).encode())  # text that can be written
    written = State(text, text, "0123456789abcdef")
    try:
        as_utf_8 = data.decode()
    except UnicodeDecodeError:
        return  # JSON can't say it; nothing that isn't UTF-8 gets into a state, see `ascii_target`
    assert decode_state(encode_state(written)) == State(as_utf_8, as_utf_8, "0123456789abcdef")


def _envoy_callback(text: str) -> None:
    led = encode_state(State(text, BEGUN.csrf_token, BEGUN.flow_id))
    for query in (text, f"code=c0de&state={led}"):
        ENVOY.cookies = dict(ENVOY_COOKIES)
        decision = ENVOY.filter.decide(ENVOY.request(f"/callback?{query}"), ENVOY.now)
        assert not isinstance(decision, Allow)
        if isinstance(decision, Start):
            decision = ENVOY.drive(decision, ENVOY.token_answer())
        for name, value in decision.headers:
            assert not {"\r", "\n", "\0"} & set(value)
            if name == "location":
                scheme, host = _host(value, "https://app.example/callback")
                if scheme not in ("http", "https"):  # as in Envoy: the list is about hosts
                    host = urlsplit(value).hostname or ""
                assert host == "app.example" or host.endswith(".team.example")
                assert _state_of(query).csrf_token == BEGUN.csrf_token


def _state_of(query: str) -> State:
    pairs = [pair.partition("=")[::2] for pair in query.split("&")]
    return decode_state(next(value for name, value in pairs if name == "state"))
