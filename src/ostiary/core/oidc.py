"""What is known of the provider: discovery, keys, and when to ask again.

Lazy: nothing is fetched before someone signs in (or `/ready` is asked), so the listener starts without the provider.
Kept: what was read once is used until something better was read; a provider that is down takes nothing away. Bounded: a
failure is remembered for PROVIDER_RETRY_DELAY. An unknown `kid` asks for the keys again at once, for they may have been
rotated a moment after they were read, but not again within JWKS_MIN_REFETCH of an answer that did not help, so that
forged tokens don't turn into requests to the provider.

Fetching is written as generators that yield `Fetch`; each returns its result and the time it ended.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from ostiary.core.decision import Fetch, Fetched, FetchFailed
from ostiary.core.jose import KeySet, KeySetInvalid, parse_key_set
from ostiary.core.oauth2.failures import SignInError
from ostiary.model import limits
from ostiary.model.errors import OstiaryError
from ostiary.model.signin import ProviderConfig

_MICROSOFT: Final = re.compile(
    r"https://(login\.microsoftonline\.(?:com|us)|login\.partner\.microsoftonline\.cn)/([^/]+)(/v2\.0)?"
)
_STS: Final = {"login.partner.microsoftonline.cn": "sts.chinacloudapi.cn"}
"""Who issues Entra's v1 tokens where it isn't sts.windows.net."""
_OPEN: Final = ("common", "organizations")
"""Tenants that stand for any directory: no single one may answer in their name."""
_DIRECTORY: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LOOPBACK: Final = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|::1")
_JSON: Final = (("accept", "application/json"),)

T = TypeVar("T")
Answer = Generator[Fetch, Fetched, Fetched]


class DiscoveryInvalid(OstiaryError):
    """A discovery document that must not be used; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderMetadata:
    """What sign-ins need to know of a provider (OpenID Connect Discovery section 3, RFC 8414 section 2)."""

    issuer: str
    """May be Entra's template, with `{tenantid}`."""
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str = ""
    userinfo_endpoint: str = ""
    end_session_endpoint: str = ""
    revocation_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ()
    authorization_response_iss_parameter_supported: bool = False


_ENDPOINTS: Final = tuple(f.name for f in fields(ProviderMetadata) if f.name.endswith(("_endpoint", "_uri")))


def discovery_url(issuer: str) -> str:
    """Where the provider's document is (OpenID Connect Discovery section 4)."""
    return issuer.removesuffix("/") + "/.well-known/openid-configuration"


def parse_discovery(body: bytes, config: ProviderConfig) -> ProviderMetadata:
    """Read and judge a discovery document; endpoints that are configured win. Raises DiscoveryInvalid."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise DiscoveryInvalid("the answer is not a JSON object")
    issuer = document.get("issuer")
    if not (isinstance(issuer, str) and _is_issuer_of(issuer, config)):
        same = isinstance(issuer, str) and issuer.rstrip("/") == config.issuer.rstrip("/")
        slash = " (they differ in the slash at the end: write it as the provider does)" if same else ""
        raise DiscoveryInvalid(f"its `issuer` is {str(issuer)[:200]!r}, the configured one is {config.issuer!r}{slash}")
    methods = document.get("token_endpoint_auth_methods_supported")
    return _complete(
        config,
        issuer,
        {name: document.get(name, "") for name in _ENDPOINTS},
        tuple(m for m in methods if isinstance(m, str)) if isinstance(methods, list) else (),
        document.get("authorization_response_iss_parameter_supported") is True,
    )


def written_metadata(config: ProviderConfig) -> ProviderMetadata | None:
    """The metadata if the configuration alone names every endpoint, so that there is nothing to discover."""
    needed = [config.authorization_endpoint, config.token_endpoint]
    needed.append(config.userinfo_endpoint if config.kind == "oauth2" else config.jwks_uri)
    return _complete(config, config.issuer, {}, (), False) if all(needed) else None


class Provider:
    """The provider as far as it is known, for one worker."""

    def __init__(self, config: ProviderConfig) -> None:
        self.config = config
        self.metadata = written_metadata(config)
        """The last good metadata; None before the first."""
        self._written = self.metadata is not None
        self._metadata_at = 0.0
        self._metadata_failed: tuple[float, SignInError] | None = None
        self._keys: KeySet | None = None
        self._keys_at = 0.0
        self._asked_again_at = float("-inf")
        """The last answer for a token with an unknown key."""
        self._keys_failed: tuple[float, SignInError] | None = None

    @property
    def needs_keys(self) -> bool:
        """Whether ID tokens are verified at all: not with plain OAuth 2.0."""
        return self.config.kind == "oidc"

    @property
    def is_ready(self) -> bool:
        """Whether a sign-in could be completed with what is known now."""
        return self.metadata is not None and (self._keys is not None or not self.needs_keys)

    def due(self, now: float) -> bool:
        """Whether `refresh` has work: something is missing or old, and nothing failed within PROVIDER_RETRY_DELAY."""
        if self._failed_lately(self._metadata_failed, now) or self._failed_lately(self._keys_failed, now):
            return False
        return not self.is_ready or self._metadata_stale(now) or self._keys_stale(now)

    def refresh(self, now: float) -> Generator[Fetch, Fetched, float]:
        """Read anew what is due; failures keep the last good. Returns the time. Raises SignInError without one."""
        _, now = yield from self.fetch_metadata(now)
        if self.needs_keys:
            _, now = yield from self.fetch_keys(now)
        return now

    def fetch_metadata(self, now: float) -> Generator[Fetch, Fetched, tuple[ProviderMetadata, float]]:
        """The metadata, asked for if missing or stale. Raises SignInError("discovery-failed")."""
        if self.metadata is not None and not self._metadata_stale(now):
            return self.metadata, now
        if self._failed_lately(self._metadata_failed, now):
            return self._last_good(self.metadata, self._metadata_failed), now
        url = discovery_url(self.config.issuer)
        try:
            answer = yield from ask(self._get(url, "discovery"), "discovery-failed", now)
            self.metadata = _checked(answer, url, "discovery-failed", lambda body: parse_discovery(body, self.config))
            self._metadata_at, self._metadata_failed = answer.now, None
            return self.metadata, answer.now
        except SignInError as error:
            now = max(now, getattr(error, "now", now))
            self._metadata_failed = (now, error)
            return self._last_good(self.metadata, self._metadata_failed), now

    def fetch_keys(self, now: float, *, unknown: bool = False) -> Generator[Fetch, Fetched, tuple[KeySet, float]]:
        """The verification keys; `unknown`: a token named one they lack, so that the last good don't do.

        Raises SignInError("jwks-fetch-failed").
        """
        metadata, now = yield from self.fetch_metadata(now)
        wanted = self._keys_stale(now) or (unknown and now >= self._asked_again_at + limits.JWKS_MIN_REFETCH)
        if self._keys is not None and not wanted:
            return self._keys, now
        if self._failed_lately(self._keys_failed, now):
            return self._last_good(None if unknown else self._keys, self._keys_failed), now
        try:
            answer = yield from ask(self._get(metadata.jwks_uri, "jwks"), "jwks-fetch-failed", now)
            self._keys = _checked(answer, metadata.jwks_uri, "jwks-fetch-failed", parse_key_set)
            self._keys_at, self._keys_failed = answer.now, None
            if unknown:  # only now: a second sign-in during this one must not fail for the old keys
                self._asked_again_at = answer.now
            return self._keys, answer.now
        except SignInError as error:
            now = max(now, getattr(error, "now", now))
            self._keys_failed = (now, error)
            return self._last_good(None if unknown else self._keys, self._keys_failed), now

    def _get(self, url: str, purpose: str) -> Fetch:
        return Fetch(method="GET", url=url, headers=_JSON, timeout=self.config.timeout, retries=1, purpose=purpose)

    def _metadata_stale(self, now: float) -> bool:
        return not self._written and not now < self._metadata_at + limits.DISCOVERY_TTL

    def _keys_stale(self, now: float) -> bool:
        return self.needs_keys and not now < self._keys_at + limits.JWKS_TTL

    @staticmethod
    def _failed_lately(failed: tuple[float, SignInError] | None, now: float) -> bool:
        return failed is not None and now < failed[0] + limits.PROVIDER_RETRY_DELAY

    @staticmethod
    def _last_good(value: T | None, failed: tuple[float, SignInError] | None) -> T:
        if value is not None:
            return value
        if failed is None:
            raise SignInError("discovery-failed", "nothing is known of the provider")
        raise SignInError(failed[1].code, failed[1].reason)


class ProviderUnreachable(SignInError):
    """No answer at all: a reason to keep what there is, never to end it."""

    def __init__(self, code: str, reason: str, now: float) -> None:
        super().__init__(code, reason)
        self.now = now


def ask(fetch: Fetch, code: str, now: float) -> Answer:
    """The provider's answer. Raises ProviderUnreachable with `code` (the doctor's `idp-timeout` for a timeout)."""
    try:
        return (yield fetch)
    except FetchFailed as failed:
        chosen = "idp-timeout" if failed.kind == "timeout" else code
        raise ProviderUnreachable(chosen, f"{fetch.purpose}: {failed.reason}", max(now, failed.now)) from failed


def _checked(answer: Fetched, url: str, code: str, parse: Callable[[bytes], T]) -> T:
    if answer.status != 200:
        raise ProviderUnreachable(code, f"{url} answered {answer.status}", answer.now)
    try:
        return parse(answer.body)
    except (DiscoveryInvalid, KeySetInvalid) as error:
        raise ProviderUnreachable(code, f"{url}: {error}", answer.now) from error


def _is_issuer_of(issuer: str, config: ProviderConfig) -> bool:
    """Exactly the configured one (section 4.3), or one of Entra's.

    Entra names a directory by its id however it was asked for, so that a tenant given by domain has an issuer of its
    own, and answers for many directories with the template `{tenantid}`. Version 1 has another issuer's name.
    """
    if issuer == config.issuer:
        return "{" not in issuer
    entra = _MICROSOFT.fullmatch(config.issuer)
    if entra is None:
        return False
    host, tenant, version = entra[1], entra[2].lower(), entra[3]
    before, after = (f"https://{host}/", "/v2.0") if version else (f"https://{_STS.get(host, 'sts.windows.net')}/", "/")
    directory = issuer.removeprefix(before).removesuffix(after)
    if issuer != f"{before}{directory}{after}":
        return False
    if directory == "{tenantid}":
        return tenant in (*_OPEN, "consumers")
    known = _DIRECTORY.fullmatch(tenant)
    return _DIRECTORY.fullmatch(directory) is not None and (directory == tenant if known else tenant not in _OPEN)


def _complete(
    config: ProviderConfig, issuer: str, found: Mapping[str, Any], methods: tuple[str, ...], iss_parameter: bool
) -> ProviderMetadata:
    endpoints = {name: getattr(config, name) or found.get(name, "") for name in _ENDPOINTS}
    for name, url in endpoints.items():
        if url and not _is_endpoint(url, config):
            raise DiscoveryInvalid(f"`{name}` is not an https:// URL: {str(url)[:200]!r}")
    missing = [n for n in ("authorization_endpoint", "token_endpoint") if not endpoints[n]]
    if config.kind == "oidc" and not endpoints["jwks_uri"]:
        missing.append("jwks_uri")
    if missing:
        raise DiscoveryInvalid(f"it lacks {', '.join(missing)}")
    return ProviderMetadata(
        issuer=issuer,
        token_endpoint_auth_methods_supported=methods,
        authorization_response_iss_parameter_supported=iss_parameter,
        **endpoints,
    )


def _is_endpoint(url: object, config: ProviderConfig) -> bool:
    """https; plain http only on loopback, or where the configuration itself names the provider by http."""
    if not isinstance(url, str) or not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or parts.username is not None or parts.fragment or port == 0:
        return False
    named_by_http = (config.issuer or config.authorization_endpoint).startswith("http://")
    return parts.scheme == "https" or (
        parts.scheme == "http" and (named_by_http or _LOOPBACK.fullmatch(host) is not None)
    )
