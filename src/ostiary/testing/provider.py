"""A small OpenID provider: for `ostiary demo`, and for tests that need one which misbehaves on request.

It does what a strict provider does (PKCE demanded, codes and refresh tokens good for one use, reuse ends the family,
`iss` in the callback) and keeps everything in memory. `handle` answers one request without a socket; `start` puts it
behind one. `faults` makes it wrong in one way at a time. There are no passwords: whoever reaches the page may pick a
user, so it belongs on loopback.

Sources: OpenID Connect Core, Discovery and RP-Initiated Logout 1.0; RFC 6749, 7009, 7636, 9207.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

from ostiary.testing.provider_faults import Faults
from ostiary.testing.provider_keys import SigningKeys
from ostiary.testing.provider_pages import login_page, message_page
from ostiary.testing.provider_people import ADA, BOB, DEMO_CLIENT, DemoClient, DemoUser
from ostiary.testing.provider_server import ProviderServer, Reply

CODE_LIFETIME: Final = 60.0
SSO_COOKIE: Final = "demo-provider"
MAX_RECORDED: Final = 1000
__all__ = ["ADA", "BOB", "DEMO_CLIENT", "DemoClient", "DemoProvider", "DemoUser", "Refused"]


@dataclass(slots=True)
class _Family:
    """Everything that grew out of one sign-in."""

    user: DemoUser
    client_id: str
    scope: str
    nonce: str
    auth_time: float
    alive: bool = True


@dataclass(slots=True)
class _Code:
    family: _Family
    redirect_uri: str
    challenge: str
    expires: float
    used: bool = False


class Refused(Exception):
    """An OAuth 2.0 error answer."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error, self.description, self.status = error, description, status


class DemoProvider:
    """The provider. `token_requests` records what came to the token endpoint, without secrets."""

    def __init__(
        self,
        host: str | Sequence[str] = "127.0.0.1",
        port: int = 0,
        issuer: str | None = None,
        *,
        users: Sequence[DemoUser] = (ADA, BOB),
        clients: Sequence[DemoClient] = (DEMO_CLIENT,),
        algorithm: str = "ES256",
        access_token_lifetime: float = 300.0,
        clock: Callable[[], float] = time.time,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.hosts = (host,) if isinstance(host, str) else tuple(host)
        self.port = port
        self._issuer = issuer
        self.users = {user.username: user for user in users}
        self.clients = {client.client_id: client for client in clients}
        self.keys = SigningKeys(algorithm)
        self.access_token_lifetime = access_token_lifetime
        self.clock = clock
        self.faults = Faults()
        self.token_requests: list[dict[str, Any]] = []
        self.revoked = 0
        self._tls = tls
        self._servers: list[ProviderServer] = []
        self._sso: dict[str, tuple[DemoUser, float]] = {}
        self._codes: dict[str, _Code] = {}
        self._refresh_tokens: dict[str, tuple[_Family, bool]] = {}
        self._access_tokens: dict[str, tuple[_Family, float]] = {}

    @property
    def issuer(self) -> str:
        """The issuer; made of the first address unless it was given."""
        if self._issuer is not None:
            return self._issuer
        host = f"[{self.hosts[0]}]" if ":" in self.hosts[0] else self.hosts[0]
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    async def start(self) -> None:
        """Listen on every address, all with the same port. Raises OSError."""
        for host in self.hosts:
            server = ProviderServer(self._slowly)
            self.port = await server.start(host, self.port, self._tls)
            self._servers.append(server)

    async def stop(self) -> None:
        """Stop listening; connections are closed."""
        servers, self._servers = self._servers, []
        await asyncio.gather(*(server.stop() for server in servers))

    async def __aenter__(self) -> DemoProvider:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def rotate_keys(self, *, keep_old: bool = True) -> None:
        """Sign with a new key from now on."""
        self.keys.rotate(keep_old=keep_old)

    def handle(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        """Answer one request. `url` may be a target or absolute; header names are lower case."""
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)) if method == "POST" else {}
        host = parts.netloc or headers.get("host", "")
        return self.answer(method, self.endpoint_at(host, parts.path), query, form, headers)

    def endpoint_at(self, host: str, path: str) -> str:  # noqa: ARG002 - for providers of several hosts
        """Which endpoint an address is."""
        return path.removeprefix(urlsplit(self.issuer).path.rstrip("/"))

    def answer(
        self, method: str, endpoint: str, query: Mapping[str, str], form: Mapping[str, str], headers: Mapping[str, str]
    ) -> Reply:
        """Answer at one endpoint, by its path under the issuer."""
        route = (method, endpoint)
        if route == ("GET", "/.well-known/openid-configuration"):
            return self.faults.discovery(self.discovery())
        if route == ("GET", "/jwks"):
            return self.faults.jwks() or Reply.json(self.keys.public())
        if route in (("GET", "/authorize"), ("POST", "/authorize")):
            return self._authorize(query, form, headers)
        if route == ("POST", "/token"):
            return self._token(form, headers)
        if route in (("GET", "/userinfo"), ("POST", "/userinfo")):
            return self._userinfo(headers)
        if route == ("POST", "/revoke"):
            return self._revoke(form, headers)
        if route in (("GET", "/end_session"), ("POST", "/end_session")):
            return self._end_session({**query, **form}, headers)
        return message_page(404, "Nothing here", f"{method} {endpoint} is no endpoint of this provider.")

    async def _slowly(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        if self.faults.delay:
            await asyncio.sleep(self.faults.delay)
        return self.handle(method, url, headers, body)

    # --- metadata

    def discovery(self) -> dict[str, Any]:
        """The discovery document."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/jwks",
            "revocation_endpoint": f"{self.issuer}/revoke",
            "end_session_endpoint": f"{self.issuer}/end_session",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self.keys.algorithm],
            "scopes_supported": ["openid", "profile", "email", "groups", "offline_access"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }

    # --- the browser

    def _authorize(self, query: Mapping[str, str], form: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        client = self.clients.get(query.get("client_id", ""))
        redirect_uri = query.get("redirect_uri", "")
        if client is None or not client.allows(redirect_uri):
            return message_page(400, "This sign-in can't go on", "The client or its redirect_uri is not registered.")
        try:
            self._check_authorization(query)
            user, auth_time, cookie = self._who(query, form, headers)
        except Refused as refused:
            return self._back(redirect_uri, query, error=refused.error, error_description=refused.description)
        if user is None:
            return login_page(self.users.values(), urlencode(query), client.client_id)
        code = secrets.token_urlsafe(24)
        family = _Family(user, client.client_id, query.get("scope", ""), query.get("nonce", ""), auth_time)
        expires = self.clock() + CODE_LIFETIME
        self._codes[code] = _Code(family, redirect_uri, query["code_challenge"], expires)
        return self._back(redirect_uri, query, code=code).with_cookie(cookie)

    def _check_authorization(self, query: Mapping[str, str]) -> None:
        if self.faults.authorize_error:
            raise Refused(self.faults.authorize_error, "as asked")
        if query.get("response_type") != "code":
            raise Refused("unsupported_response_type", "only code")
        if query.get("code_challenge_method") != "S256" or not query.get("code_challenge"):
            raise Refused("invalid_request", "PKCE with S256 is required")
        if "openid" not in query.get("scope", "").split():
            raise Refused("invalid_scope", "scope openid is required")

    def _who(
        self, query: Mapping[str, str], form: Mapping[str, str], headers: Mapping[str, str]
    ) -> tuple[DemoUser | None, float, str]:
        """The user, when they signed in, and the cookie to set; no user: the page has to be shown."""
        if "decline" in form:
            raise Refused("access_denied", "the user declined")
        if "username" in form:
            user = self.users.get(form["username"])
            token, now = secrets.token_urlsafe(16), self.clock()
            if user is not None:
                self._sso[token] = (user, now)
                return user, now, f"{SSO_COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax"
        known = self._sso.get(_cookie(headers, SSO_COOKIE))
        prompt = query.get("prompt", "")
        if known is not None and prompt not in ("login", "select_account"):
            return known[0], known[1], ""
        if prompt == "none":
            raise Refused("login_required", "nobody is signed in")
        return None, 0.0, ""

    def _back(self, redirect_uri: str, query: Mapping[str, str], **params: str) -> Reply:
        state = {"state": query["state"]} if "state" in query else {}
        issuer = {} if self.faults.no_iss_parameter else {"iss": self.faults.iss_parameter or self.issuer}
        separator = "&" if "?" in redirect_uri else "?"
        return Reply.redirect(f"{redirect_uri}{separator}{urlencode({**params, **state, **issuer})}")

    # --- tokens

    def _token(self, form: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        client_id, how = _client_of(form, headers)
        record = {"grant_type": form.get("grant_type", ""), "client_id": client_id, "auth": how, "status": 200}
        self.token_requests.append(record)
        del self.token_requests[:-MAX_RECORDED]
        try:
            reply = self.faults.token() or self._grant(form, headers)
        except Refused as refused:
            document = {"error": refused.error, "error_description": refused.description}
            reply = Reply.json(document, status=refused.status)
        record["status"] = reply.status
        return reply

    def _grant(self, form: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        client = self.authenticate(form, headers)
        kind = form.get("grant_type")
        if kind == "authorization_code":
            return self._tokens(self._redeem_code(form, client), with_nonce=True)
        if kind == "refresh_token":
            return self._tokens(self._redeem_refresh_token(form, client), with_nonce=False)
        raise Refused("unsupported_grant_type", "authorization_code and refresh_token only")

    def authenticate(self, form: Mapping[str, str], headers: Mapping[str, str]) -> DemoClient:
        """The client that asks for tokens, once it has proved who it is. Raises Refused."""
        client_id, how = _client_of(form, headers)
        client = self.clients.get(client_id)
        if client is None:
            raise Refused("invalid_client", "unknown client", 401)
        given = form.get("client_secret", "") if how == "post" else _basic(headers)[1]
        if client.client_secret and not hmac.compare_digest(given.encode(), client.client_secret.encode()):
            raise Refused("invalid_client", "wrong client secret", 401)
        return client

    def _redeem_code(self, form: Mapping[str, str], client: DemoClient) -> _Family:
        code = self._codes.get(form.get("code", ""))
        if code is None or code.family.client_id != client.client_id:
            raise Refused("invalid_grant", "unknown code")
        if code.used:
            code.family.alive = False
            raise Refused("invalid_grant", "code used twice")
        code.used = True
        if not self.clock() < code.expires:
            raise Refused("invalid_grant", "code expired")
        if form.get("redirect_uri") != code.redirect_uri:
            raise Refused("invalid_grant", "redirect_uri differs")
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=")
        if not hmac.compare_digest(challenge, code.challenge.encode()):
            raise Refused("invalid_grant", "code_verifier doesn't fit")
        return code.family

    def _redeem_refresh_token(self, form: Mapping[str, str], client: DemoClient) -> _Family:
        family, used = self._refresh_tokens.get(form.get("refresh_token", ""), (None, True))
        if family is None or family.client_id != client.client_id:
            raise Refused("invalid_grant", "unknown refresh token")
        if used:
            family.alive = False
        if not family.alive:
            raise Refused("invalid_grant", "refresh token used twice, or revoked")
        self._refresh_tokens[form["refresh_token"]] = (family, True)
        return family

    def _tokens(self, family: _Family, *, with_nonce: bool) -> Reply:
        access_token, refresh_token = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        self._access_tokens[access_token] = (family, self.clock() + self.access_token_lifetime)
        self._refresh_tokens[refresh_token] = (family, False)
        now = int(self.clock())
        claims = {
            "iss": self.issuer,
            "sub": family.user.username,
            "aud": family.client_id,
            "exp": now + 300,
            "iat": now,
            "auth_time": int(family.auth_time),
            "at_hash": self.keys.at_hash(access_token),
            **self.profile(family.user, family.scope.split()),
        }
        if with_nonce and family.nonce:
            claims["nonce"] = family.nonce
        document = {
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": self.access_token_lifetime,
            "refresh_token": refresh_token,
            "id_token": self.faults.id_token(claims, self.keys),
            "scope": family.scope,
        }
        return Reply.json(self.faults.tokens(document))

    def profile(self, user: DemoUser, scopes: Sequence[str]) -> dict[str, Any]:
        """What a user's claims say about them, in ID tokens and at userinfo."""
        claims: dict[str, Any] = {"groups": list(user.groups)}
        if "profile" in scopes:
            claims |= {"name": user.name, "preferred_username": user.username}
        if "email" in scopes:
            claims |= {"email": user.email, "email_verified": user.email_verified}
        return claims

    def _userinfo(self, headers: Mapping[str, str]) -> Reply:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        family, expires = self._access_tokens.get(token, (None, 0.0))
        if scheme.lower() != "bearer" or family is None or not family.alive or not self.clock() < expires:
            return Reply.json({"error": "invalid_token"}, status=401)
        return self.userinfo(family.user, family.scope.split())

    def userinfo(self, user: DemoUser, scopes: Sequence[str]) -> Reply:
        """What userinfo says of the user of a valid access token."""
        return Reply.json({"sub": user.username, **self.profile(user, scopes)})

    def _revoke(self, form: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        try:
            self.authenticate(form, headers)
        except Refused as refused:
            return Reply.json({"error": refused.error}, status=refused.status)
        token = form.get("token", "")
        family = self._refresh_tokens.get(token, self._access_tokens.get(token, (None, 0.0)))[0]
        if family is not None:
            family.alive = False
            self.revoked += 1
        return Reply.json({})

    def _end_session(self, params: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        self._sso.pop(_cookie(headers, SSO_COOKIE), None)
        gone = f"{SSO_COOKIE}=; Path=/; Max-Age=0"
        client = self.clients.get(params.get("client_id", ""))
        target = params.get("post_logout_redirect_uri", "")
        if client is not None and client.allows(target):
            return Reply.redirect(target).with_cookie(gone)
        return message_page(200, "Signed out", "You are signed out of the demo provider.").with_cookie(gone)


def _client_of(form: Mapping[str, str], headers: Mapping[str, str]) -> tuple[str, str]:
    if "authorization" in headers:
        return _basic(headers)[0], "basic"
    return form.get("client_id", ""), "post" if "client_secret" in form else "none"


def _basic(headers: Mapping[str, str]) -> tuple[str, str]:
    """RFC 6749 section 2.3.1: both halves are form-encoded."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    try:
        joined = base64.b64decode(value, validate=True).decode() if scheme.lower() == "basic" else ":"
    except ValueError:
        joined = ":"
    user, _, password = joined.partition(":")
    return unquote_plus(user), unquote_plus(password)


def _cookie(headers: Mapping[str, str], name: str) -> str:
    pairs = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
    return next((value for key, _, value in pairs if key == name), "")
