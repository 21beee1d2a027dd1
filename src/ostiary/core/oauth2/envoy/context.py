"""One OAuth2 filter's configuration, compiled once, and the answers that every part of it gives."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ostiary.core.decision import Allow, Counter, Entropy, Request, Respond
from ostiary.core.flights.note import Kind, Note, flight_of, spelled
from ostiary.core.formatter import Format, compile_format
from ostiary.core.matching import any_of, string_matcher
from ostiary.core.oauth2.envoy.authorization_url import AuthorizationUrl
from ostiary.core.oauth2.envoy.codec import TokenCipher, outcome_key
from ostiary.core.oauth2.envoy.cookies import CookieWriter, RequestCookies
from ostiary.core.oauth2.envoy.token_request import TokenEndpoint
from ostiary.core.oauth2.envoy.urls import AllowedDomains
from ostiary.core.record import Record
from ostiary.core.regex import wire_text
from ostiary.model import limits
from ostiary.model.oauth2 import OAuth2Config, RuntimeFlags

STATUS_HEADERS: Final = frozenset({"x-envoy-oauth-status", "x-envoy-oauth-failure-reason"})
"""What the filter tells the application; never believed from a client."""

_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")
_FORBIDDEN_ID_TOKEN_HEADERS: Final = frozenset({"host", "cookie"}) | STATUS_HEADERS


class SecretSource(Protocol):
    """The filter's two secrets as they are now; None or empty while they have not been delivered."""

    def token_secret(self) -> bytes | None:
        """The client secret, or the PEM private key with PRIVATE_KEY_JWT."""

    def hmac_secret(self) -> bytes | None:
        """The key of everything that is signed or encrypted."""


@dataclass(frozen=True, slots=True, eq=False)
class Keys:
    """What the secrets of one moment unlock."""

    hmac_secret: bytes = field(repr=False)
    client_secret: bytes = field(repr=False)
    cipher: TokenCipher
    outcome_cipher: AESGCM
    """For what other processes are told."""


class Counters:
    """Envoy's counters of the filter (`ALL_OAUTH_FILTER_STATS`)."""

    def __init__(self, counter: Callable[[str], Counter]) -> None:
        self.unauthorized_rq = counter("oauth_unauthorized_rq")
        self.failure = counter("oauth_failure")
        self.success = counter("oauth_success")
        self.passthrough = counter("oauth_passthrough")
        self.refresh_success = counter("oauth_refreshtoken_success")
        self.refresh_failure = counter("oauth_refreshtoken_failure")
        self.allow_failed = counter("oauth_allow_failed_passthrough")
        self.legacy_cbc_decrypt = counter("oauth_legacy_cbc_decrypt")


def printable(text: str) -> str:
    """Hostile text for a log line or a header: other characters escaped, MAX_SHOWN_CHARS at most."""
    short = text if len(text) <= limits.MAX_SHOWN_CHARS else text[: limits.MAX_SHOWN_CHARS] + "..."
    return _UNPRINTABLE.sub(lambda match: f"\\x{ord(match[0]):02x}", short)


class Context:
    """Raises ValueError for a configuration that could only fail later, with every request."""

    def __init__(
        self,
        config: OAuth2Config,
        *,
        runtime: RuntimeFlags,
        secrets: SecretSource,
        entropy: Entropy,
        counter: Callable[[str], Counter],
        known_cluster: Callable[[str], bool],
    ) -> None:
        self.config = config
        self.entropy = entropy
        self.count = Counters(counter)
        self.cleanup_cookies = runtime.oauth2_cleanup_cookies
        self._runtime = runtime
        self._secrets = secrets
        self._keys: Keys | None = None

        self.client_id = wire_text(config.credentials.client_id)
        self.cookie_domain = wire_text(config.credentials.cookie_domain)
        self.names = config.credentials.cookie_names
        self.writer = CookieWriter(self.names, config.cookie_configs, self.cookie_domain)
        self._owned = frozenset(
            (
                self.names.bearer_token,
                self.names.oauth_hmac,
                self.names.oauth_expires,
                self.names.id_token,
                self.names.refresh_token,
                self.names.oauth_nonce,
                self.names.code_verifier,
            )
        )
        self._owned_prefixes = (self.names.oauth_nonce + ".", self.names.code_verifier + ".")

        self.is_callback = string_matcher(config.redirect_path_matcher)
        self.is_signout = string_matcher(config.signout_path)
        self.allow_failed = any_of(config.allow_failed_matcher)
        self.deny_redirect = any_of(config.deny_redirect_matcher)
        self.domains = AllowedDomains(config.allowed_redirect_domains)
        self.authorization_url = AuthorizationUrl(config)
        self._redirect_uri = compile_format(config.redirect_uri)
        self._original_request_uri = _format(config.original_request_uri)
        self._post_logout_redirect_uri = _format(config.post_logout_redirect_uri)

        endpoint = config.token_endpoint
        known = endpoint is not None and known_cluster(endpoint.cluster)
        self.token_address = f"{endpoint.cluster} {endpoint.uri}" if endpoint is not None else ""
        """What outcomes of flows belong to, besides secrets and client: several filters may share them."""
        self.token_endpoint = TokenEndpoint(config, endpoint) if endpoint is not None and known else None

        self.id_token_header = config.forward_id_token_header.lower()
        if self.id_token_header in _FORBIDDEN_ID_TOKEN_HEADERS or self.id_token_header.startswith(":"):
            raise ValueError(
                f"forward_id_token: header {config.forward_id_token_header!r} can not be used to forward the ID token"
            )
        stripped = {self.id_token_header} - {"", "authorization"}
        self.stripped = STATUS_HEADERS | stripped
        self.stripped_with_authorization = (
            self.stripped if config.preserve_authorization_header else self.stripped | {"authorization"}
        )

    def keys(self) -> Keys | None:
        """The keys of now; the same object until a secret changes. None while a required secret is missing."""
        hmac_secret = self._secrets.hmac_secret()
        client_secret = b"" if self.config.auth_type == "TLS_CLIENT_AUTH" else self._secrets.token_secret()
        if not hmac_secret or client_secret is None:
            return None
        if not client_secret and self.config.auth_type != "TLS_CLIENT_AUTH":
            return None
        keys = self._keys
        if keys is None or keys.hmac_secret != hmac_secret or keys.client_secret != client_secret:
            keys = self._keys = Keys(
                hmac_secret, client_secret, self._cipher(hmac_secret), AESGCM(outcome_key(hmac_secret))
            )
        return keys

    def _cipher(self, hmac_secret: bytes) -> TokenCipher:
        cbc_compat = self._runtime.oauth2_legacy_cbc_decrypt_compat
        # Without the compatibility a CBC value could be written but never read: no sign-in would ever end.
        return TokenCipher(
            hmac_secret, gcm=self._runtime.oauth2_use_gcm_encryption or not cbc_compat, cbc_compat=cbc_compat
        )

    def domain(self, request: Request) -> str:
        """What the session MAC is bound to: the cookie's domain, else the Host as it was sent."""
        return self.cookie_domain or request.authority

    def origin(self, request: Request) -> str:
        """`<scheme>://<authority>` of the request; everything but http counts as https."""
        return f"{'http' if request.scheme.lower() == 'http' else 'https'}://{request.authority}"

    def redirect_uri(self, request: Request) -> str:
        """Our callback, as this request's headers name it."""
        return self._redirect_uri.render(Record.of(request))

    def original_base(self, request: Request) -> str:
        """What a request's target is appended to, to name the page a person wanted."""
        configured = self._original_request_uri
        return self.origin(request) if configured is None else configured.render(Record.of(request))

    def after_logout(self, request: Request) -> str:
        """Where the provider should send a person who signed out."""
        configured = self._post_logout_redirect_uri
        return self.origin(request) + "/" if configured is None else configured.render(Record.of(request))

    def cookies_for_application(self, cookies: RequestCookies, values: dict[str, str]) -> str | None:
        """The Cookie header to forward, the filter's own replaced by `values`; None if there was and is none."""
        if not cookies.present and not values:
            return None
        if self.cleanup_cookies:
            return cookies.rewritten(values, self._owned, self._owned_prefixes)
        return cookies.rewritten(values, (), ())

    def unauthorized(
        self,
        cause: str,
        code: str,
        reason: str = "",
        *,
        flow_id: str | None = None,
        kind: Kind = "access",
        claimed: str = "",
    ) -> Respond:
        """401. `flow_id` (not None once the CSRF check has passed) ends that sign-in's cookies.

        `cause` is Envoy's text, for its access log. `code` and `reason` are for operators: the reason holds nothing of
        what the browser sent; empty, it is the cause. `claimed` is a flow that the browser names without proof.
        """
        self.count.failure.inc()
        note = Note(
            kind=kind if flow_id is None else "arrival",
            flight=flight_of(flow_id or claimed) if flow_id or claimed else spelled(self.entropy(5)),
            outcome="unauthenticated" if kind == "turned-away" else "failed",
            code=code,
            reason=reason or cause,
        )
        deletions = self.writer.delete_flow(flow_id) if flow_id else []
        return Respond(
            status=401,
            headers=(*deletions, ("content-type", "text/plain")),
            body=b"OAuth flow failed.",
            details=printable(cause),
            local_reply=True,
            note=note,
        )

    def turned_away(self, cause: str, reason: str) -> Respond:
        """401 for whoever must not be redirected (`deny_redirect_matcher`)."""
        return self.unauthorized(cause, "", reason, kind="turned-away")

    def not_ready(self) -> Respond:
        """503: a secret has not been delivered."""
        self.count.failure.inc()
        return Respond(
            status=503,
            headers=(("content-type", "text/plain"),),
            body=b"Service Unavailable",
            details="OAuth2 secrets are not ready",
            local_reply=True,
            note=Note(
                kind="other",
                flight=spelled(self.entropy(5)),
                outcome="failed",
                code="secret-not-delivered",
                reason="the client secret or the HMAC secret is missing or empty",
            ),
        )

    def anonymous(self, cookies: RequestCookies, reason: str) -> Allow:
        """`allow_failed_matcher`: go on without a user, and say why."""
        if cookies.present:
            forwarded = cookies.rewritten({}, self._owned, self._owned_prefixes)
        else:
            forwarded = None
        return Allow(
            remove=self.stripped_with_authorization - STATUS_HEADERS,
            set=(("x-envoy-oauth-status", "failed"), ("x-envoy-oauth-failure-reason", printable(reason))),
            cookie=forwarded,
            keep_empty_cookie=True,
            counters=(self.count.allow_failed,),
            via="allow_failed",
        )


def _format(source: str | None) -> Format | None:
    return compile_format(source) if source else None
