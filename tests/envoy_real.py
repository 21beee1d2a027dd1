"""The real Envoy and this checkout's filter under one secret, asked the same and seen the same way."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envoy_signin import World, config, set_cookies
from ostiary.core.decision import Allow, Fetched, Respond, Start
from ostiary.core.oauth2.envoy.codec import DecryptError, TokenCipher, base64url, csrf_token, session_mac
from ostiary.model.headers import Headers
from ostiary.model.matchers import HeaderMatcher, StringMatcher
from ostiary.model.oauth2 import CookieConfig, CookieConfigs, CookieNames, HttpUri
from peers.proxies import Proxy, envoy_arguments
from peers.rawhttp import exchange, request
from peers.recorders import Answer, Application, Provider, Received, tokens
from peers.same_yaml import HMAC_SECRET, HOST, TOKEN_SECRET, bootstrap, fill, header, oauth2_config
from ports import free_port
from waiting import PATIENCE

SECRET = HMAC_SECRET.encode()
FLOW = "0123456789abcdef"
NONCE = csrf_token(SECRET, FLOW)
VERIFIER = "v" * 43
LATER = str(int(time.time()) + 86_400)
CIPHER = TokenCipher(SECRET, gcm=False, cbc_compat=True)
GCM = TokenCipher(SECRET, gcm=True, cbc_compat=True)
SEALED_VERIFIER = CIPHER.encrypt(VERIFIER, bytes)
FLOW_COOKIES = f"OauthNonce.{FLOW}={NONCE}; CodeVerifier.{FLOW}={SEALED_VERIFIER}; V.{FLOW}={SEALED_VERIFIER}"
SETTINGS: dict[str, Any] = {
    "deny_redirect_matcher": [header(":path", prefix="/deny")],
    "allow_failed_matcher": [header(":path", prefix="/open")],
    "pass_through_matcher": [header(":path", prefix="/public")],
    "end_session_endpoint": "https://idp.example.com/end",
}


def starts_with(path: str) -> tuple[HeaderMatcher, ...]:
    return (HeaderMatcher(name=":path", string_match=StringMatcher("prefix", path)),)


def our_world(changes: dict[str, Any] | None = None, **flags: bool) -> World:
    """Our filter under the same configuration as `oauth2_config(**SETTINGS)`, with changes."""
    settings: dict[str, Any] = {
        "token_endpoint": HttpUri(uri="https://idp.example.com/oauth/token", cluster="idp", timeout=5.0),
        "authorization_endpoint": "https://idp.example.com/oauth/authorize",
        "forward_bearer_token": True,
        "auth_scopes": ("openid", "profile"),
        "credentials_client_id": "client-1",
        "deny_redirect_matcher": starts_with("/deny"),
        "allow_failed_matcher": starts_with("/open"),
        "pass_through_matcher": starts_with("/public"),
        "end_session_endpoint": "https://idp.example.com/end",
    }
    world = World(config(**{**settings, **(changes or {})}), **flags)
    world.secrets.hmac, world.secrets.token = SECRET, TOKEN_SECRET.encode()
    world.now = time.time()
    return world


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a client, an application and a provider see of one request, randomness taken out."""

    status: int
    details: str
    body: bytes = b""
    set_cookies: tuple[str, ...] = ()
    location: str = ""
    upstream: dict[str, str] | None = None
    token_requests: tuple[tuple[str, bytes], ...] = ()
    """Authorization and body."""
    counters: dict[str, int] = field(default_factory=dict)
    """By how much each counter of the filter moved."""


def steady(text: str) -> str:
    """Without a redirect's random parts."""
    text = re.sub(r"(state|code_challenge)=[A-Za-z0-9_\-]+", r"\1=*", text)
    return re.sub(r"^(OauthNonce|V|CodeVerifier)\.[0-9a-f]{16}", r"\1.*", text)


def steady_cookie(line: str) -> str:
    """A Set-Cookie line with its value opened."""
    pair, semicolon, attributes = line.partition(";")
    name, _, value = pair.partition("=")
    if name.startswith("OauthNonce"):
        value = "deleted" if value == "deleted" else "nonce"
    elif name in {"OauthHMAC", "OauthExpires"}:
        value = "deleted" if value == "deleted" else "ours"
    else:
        try:
            value = CIPHER.decrypt(value)
        except DecryptError:
            value = f"not encrypted: {value}"
        value = "verifier" if name.startswith(("CodeVerifier", "V")) and len(value) == 43 else value
    return steady(f"{name}={value}{semicolon}{attributes}")


IDENTITY = ("authorization", "x-id-token", "x-envoy-oauth-status", "x-envoy-oauth-failure-reason")


def upstream_view(headers: list[tuple[str, str]]) -> dict[str, str]:
    """What matters of a request that reached the application; cookies as a set, since Envoy shuffles them."""
    seen = {name: value for name, value in headers if name in IDENTITY}
    for name, value in headers:
        if name == "cookie":
            seen["cookie"] = "; ".join(sorted(value.split("; ")))
    return seen


@dataclass(frozen=True, slots=True)
class Case:
    """One request."""

    target: str
    cookie: str = ""
    answer: Answer | None = None
    host: str = HOST
    headers: tuple[tuple[str, str], ...] = field(default=())


class RealEnvoy:
    """A running Envoy with its application and its provider."""

    def __init__(self, folder: Path, proxy: Proxy, application: Application, provider: Provider) -> None:
        self.folder = folder
        self.proxy = proxy
        self.application = application
        self.provider = provider
        self._count = 0

    def ask(self, case: Case) -> tuple[Outcome, list[str]]:
        """The outcome, and the Set-Cookie lines as they are."""
        self._count += 1
        marker = f"case-{self._count}"
        if case.answer is not None:
            self.provider.script.append(case.answer)
        before = self._counters()
        fields = [("x-forwarded-proto", "https"), ("x-case", marker), *case.headers]
        if case.cookie:
            fields.append(("cookie", case.cookie))
        response = exchange(self.proxy.ports[0], request("GET", case.target, tuple(fields), host=case.host))
        lines = response.get_all("set-cookie")
        reached: list[Received] = self.application.drain()
        outcome = Outcome(
            status=response.status,
            details=self._details(marker),
            body=b"" if reached else response.body,
            set_cookies=tuple(map(steady_cookie, lines)),
            location=steady(response.get("location") or ""),
            upstream=upstream_view([(n.lower(), v) for n, v in reached[0].headers]) if reached else None,
            token_requests=tuple((each.get("authorization") or "", each.body) for each in self.provider.drain()),
            counters={name: value - before[name] for name, value in self._counters().items() if value != before[name]},
        )
        return outcome, lines

    def _counters(self) -> dict[str, int]:
        return {
            name.rpartition(".")[2]: value
            for name, value in self.proxy.counters().items()
            if name.startswith("http.ing.oauth_")
        }

    def _details(self, marker: str) -> str:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for line in (self.folder / "access.log").read_text().splitlines():
                if line.startswith(marker + " "):
                    return line.split(" ")[2]
            time.sleep(0.01)
        raise AssertionError(f"no access log line for {marker}")


def ask_ours(world: World, case: Case) -> tuple[Outcome, list[str]]:
    """The same request through our filter."""
    asked = world.request(case.target, cookie=case.cookie, host=case.host, headers=case.headers)
    decision = world.filter.decide(asked, world.now)
    token_requests: tuple[tuple[str, bytes], ...] = ()
    if isinstance(decision, Start):
        answer = case.answer or tokens(**Provider.TOKENS)
        decision = world.drive(decision, fetched(answer, world.now))
        token_requests = tuple((dict(fetch.headers).get("authorization", ""), fetch.body) for fetch in world.asked)
    world.keep(decision)
    lines = set_cookies(decision)
    cookies = tuple(map(steady_cookie, lines))
    if isinstance(decision, Respond):
        fields = dict(decision.headers)
        details = re.sub(r"\s", "_", decision.details)
        return (
            Outcome(
                status=decision.status,
                details=details,
                body=decision.body,
                set_cookies=cookies,
                location=steady(fields.get("location", "")),
                token_requests=token_requests,
                counters=world.counts(),
            ),
            lines,
        )
    return (
        Outcome(
            status=200,
            details="via_upstream",
            set_cookies=cookies,
            upstream=upstream_view(forwarded(asked.headers, decision)),
            token_requests=token_requests,
            counters=world.counts(),
        ),
        lines,
    )


def forwarded(headers: Headers, allow: Allow) -> list[tuple[str, str]]:
    kept = [item for item in headers if item[0] not in allow.remove]
    if allow.cookie is not None:
        kept = [*(item for item in kept if item[0] != "cookie"), ("cookie", allow.cookie)]
    return [*kept, *allow.set]


def fetched(answer: Answer, now: float) -> Fetched:
    return Fetched(status=answer.status, headers=Headers(answer.headers), body=answer.body, now=now)


@dataclass(frozen=True, slots=True)
class Setup:
    """One configuration in both forms."""

    envoys: dict[str, Any] = field(default_factory=dict)
    ours: dict[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


SETUPS = {
    "as usual": Setup(),
    "gcm": Setup(flags=("oauth2_use_gcm_encryption",)),
    "dressed up": Setup(
        {
            "auth_type": "BASIC_AUTH",
            "resources": ["https://r/a b", "urn:x"],
            "disable_token_encryption": True,
            "forward_id_token": {"header": "X-Id-Token"},
            "csrf_token_expires_in": "77.9s",
            "default_refresh_token_expires_in": "99s",
            "default_expires_in": "55s",
            "post_logout_redirect_uri": {"uri": "https://%REQ(:authority)%/bye?%REQ(x-none)%"},
            "original_request_uri": "https://%REQ(:authority)%:8443",
            "cookie_configs": {
                "oauth_hmac_cookie_config": {"same_site": "LAX", "path": "/"},
                "oauth_nonce_cookie_config": {"same_site": "NONE", "path": "/callback"},
                "id_token_cookie_config": {"same_site": "STRICT"},
            },
            "credentials": {
                "client_id": "client-1",
                "token_secret": {"name": "token"},
                "hmac_secret": {"name": "hmac"},
                "cookie_domain": HOST,
                "cookie_names": {"code_verifier": "V"},
            },
        },
        {
            "auth_type": "BASIC_AUTH",
            "resources": ("https://r/a b", "urn:x"),
            "disable_token_encryption": True,
            "forward_id_token_header": "X-Id-Token",
            "csrf_token_expires_in": 77.9,
            "default_refresh_token_expires_in": 99.0,
            "default_expires_in": 55.0,
            "post_logout_redirect_uri": "https://%REQ(:authority)%/bye?%REQ(x-none)%",
            "original_request_uri": "https://%REQ(:authority)%:8443",
            "cookie_configs": CookieConfigs(
                oauth_hmac=CookieConfig(same_site="LAX", path="/"),
                oauth_nonce=CookieConfig(same_site="NONE", path="/callback"),
                id_token=CookieConfig(same_site="STRICT"),
            ),
            "credentials_cookie_domain": HOST,
            "credentials_cookie_names": CookieNames(code_verifier="V"),
        },
    ),
    "little kept": Setup(
        {
            "auth_type": "TLS_CLIENT_AUTH",
            "forward_bearer_token": False,
            "preserve_authorization_header": True,
            "use_refresh_token": False,
            "disable_id_token_set_cookie": True,
            "disable_access_token_set_cookie": True,
            "post_logout_redirect_uri": {"disabled": True},
            "allowed_redirect_domains": [HOST, "*.other.example.com"],
        },
        {
            "auth_type": "TLS_CLIENT_AUTH",
            "forward_bearer_token": False,
            "preserve_authorization_header": True,
            "use_refresh_token": False,
            "disable_id_token_set_cookie": True,
            "disable_access_token_set_cookie": True,
            "post_logout_redirect_uri_disabled": True,
            "allowed_redirect_domains": (HOST, "*.other.example.com"),
        },
    ),
}


def running(setup: Setup, folder: Path) -> Iterator[RealEnvoy]:
    runtime = {f"envoy.reloadable_features.{flag}": True for flag in setup.flags}
    tree = bootstrap(oauth2=oauth2_config(**{**SETTINGS, **setup.envoys}), runtime=runtime)
    with Application() as application, Provider() as provider:
        port, admin = free_port(), free_port()
        values = {"PORT": port, "ADMIN": admin, "APP": application.port, "IDP": provider.port}
        path = folder / "envoy.json"
        path.write_text(json.dumps(fill(tree, {**values, "LOG": str(folder / "access.log")})))
        proxy = Proxy("envoy", envoy_arguments(path), (port,), admin, folder / "output").start()
        try:
            yield RealEnvoy(folder, proxy, application, provider)
        finally:
            proxy.stop()


def session(
    *, expires: str = LATER, access: str = "at", id_token: str = "it", refresh: str = "", seal: Callable[[str], str]
) -> str:
    mac = session_mac(SECRET, domain=HOST, expires=expires, access=access, id_token=id_token, refresh=refresh)
    kept = {"BearerToken": access, "IdToken": id_token, "RefreshToken": refresh}
    stored = [f"{name}={seal(token)}" for name, token in kept.items() if token]
    return "; ".join([f"OauthHMAC={mac}", f"OauthExpires={expires}", *stored])


def cbc(text: str) -> str:
    return CIPHER.encrypt(text, lambda count: b"i" * count)


def gcm(text: str) -> str:
    return GCM.encrypt(text, lambda count: b"n" * count)


def plain(text: str) -> str:
    return text


def callback(url: str = f"https://{HOST}/page?a=1", *, csrf: str = NONCE, flow_id: str = FLOW, query: str = "") -> str:
    state = base64url(json.dumps({"url": url, "csrf_token": csrf, "flow_id": flow_id}).encode())
    return f"/callback?code=c%2B1;x&state={state}{query}"


TOKENS = {"access_token": "at", "id_token": "it", "refresh_token": "rt", "expires_in": 3600}
SIGNED_IN = {"authorization": "Bearer at", "cookie": "BearerToken=at; IdToken=it"}
SESSION = session(seal=cbc)
REFRESHABLE = f"RefreshToken={cbc('rt')}"


def token_members(**changes: object) -> Answer:
    return tokens(**{name: value for name, value in {**TOKENS, **changes}.items() if value is not ...})
