"""Sessions in cookies: reading and judging them, and writing those of a new one.

Reading costs two or three decryptions and a MAC, so the answer to a valid session is remembered for as long as the
same Cookie header comes with the same Host under the same keys. Only valid sessions are remembered: nobody without
one can fill the cache.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from ostiary.core.decision import Allow, Request
from ostiary.core.oauth2.envoy.codec import DecryptError, is_cbc, session_mac, session_mac_matches
from ostiary.core.oauth2.envoy.context import Context, Keys
from ostiary.core.oauth2.envoy.cookies import RequestCookies
from ostiary.core.oauth2.envoy.token_response import TokenResponse, seconds_left
from ostiary.model import limits

_UINT: Final = re.compile(r"[ \t\n\v\f\r]*\+?0*([0-9]{1,20})[ \t\n\v\f\r]*")
_TOKEN_TEXT: Final = re.compile(r"[\x20-\x7e]+")
_INT64: Final = 1 << 63


@dataclass(frozen=True, slots=True)
class Session:
    """What a request's cookies say, tokens in plain text; nothing of it is true unless `authentic`."""

    access_token: str = field(repr=False)
    id_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    authentic: bool
    """The MAC is ours."""
    expires: int
    """Unix seconds; 0 if unreadable."""
    refreshable: bool
    """The refresh token was written by us: under the MAC, or decrypted, or there is no encryption to tell."""
    cbc_reads: int

    def valid(self, now: float) -> bool:
        """True while it opens the door."""
        return self.authentic and self.expires > now


def read_session(context: Context, keys: Keys, cookies: RequestCookies, request: Request) -> Session:
    """Open the session's cookies, whatever they hold."""
    names = context.names
    stored = [cookies.get(name) for name in (names.bearer_token, names.id_token, names.refresh_token)]
    plain: list[str] = []
    opened: list[bool] = []
    cbc_reads = 0
    for value in stored:
        text = None if context.config.disable_token_encryption or not value else _decrypt(keys, value)
        cbc_reads += text is not None and is_cbc(value)
        plain.append(value if text is None else text)
        opened.append(text is not None)
    access_token, id_token, refresh_token = plain
    expires = cookies.get(names.oauth_expires)
    authentic = session_mac_matches(
        keys.hmac_secret,
        cookies.get(names.oauth_hmac),
        domain=context.domain(request),
        expires=expires,
        access=access_token,
        id_token=id_token,
        refresh=refresh_token,
    )
    written_by_us = authentic or opened[2] or context.config.disable_token_encryption
    return Session(
        access_token=access_token,
        id_token=id_token,
        refresh_token=refresh_token,
        authentic=authentic,
        expires=_unix_seconds(expires),
        refreshable=written_by_us and _TOKEN_TEXT.fullmatch(refresh_token) is not None,
        cbc_reads=cbc_reads,
    )


def _decrypt(keys: Keys, value: str) -> str | None:
    try:
        return keys.cipher.decrypt(value)
    except DecryptError:
        return None


def _unix_seconds(text: str) -> int:
    """Envoy's reading of OauthExpires: an unsigned 64-bit decimal; what a signed one can't hold has expired."""
    match = _UINT.fullmatch(text)
    value = int(match[1]) if match else 0
    return value if value < _INT64 else 0


def allow_session(context: Context, cookies: RequestCookies, session: Session) -> Allow:
    """The application sees the access and the ID token, decrypted; everything else of ours stays here."""
    names = context.names
    plain = {
        names.bearer_token: session.access_token,
        names.id_token: session.id_token,
    }
    if not context.cleanup_cookies:
        plain[names.refresh_token] = session.refresh_token
    values = {name: value for name, value in plain.items() if name in cookies}
    forwarded = token_headers(context, session.access_token, session.id_token)
    count = context.count
    return Allow(
        remove=context.stripped_with_authorization - {name for name, _ in forwarded},
        set=forwarded,
        cookie=context.cookies_for_application(cookies, values),
        keep_empty_cookie=True,
        counters=(count.success, *(count.legacy_cbc_decrypt,) * session.cbc_reads),
        valid_until=float(session.expires),
        via="session",
    )


def token_headers(context: Context, access_token: str, id_token: str) -> tuple[tuple[str, str], ...]:
    """The headers by which tokens are forwarded as configured."""
    headers = []
    if context.config.forward_bearer_token and access_token:
        headers.append(("authorization", f"Bearer {access_token}"))
    if context.id_token_header and id_token:
        bearer = "Bearer " if context.id_token_header == "authorization" else ""
        headers.append((context.id_token_header, bearer + id_token))
    return tuple(headers)


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session about to be stored: the values of its cookies, and the Set-Cookie headers that store it."""

    access_token: str = field(repr=False)
    id_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires: str
    mac: str = field(repr=False)
    set_cookies: tuple[tuple[str, str], ...] = field(repr=False)


def new_session(
    context: Context, keys: Keys, cookies: RequestCookies, request: Request, tokens: TokenResponse
) -> NewSession:
    """Store `tokens`. A cookie that the request had and the session has not is ended."""
    config, names, writer = context.config, context.names, context.writer
    access_token = "" if config.disable_access_token_set_cookie else tokens.access_token
    id_token = "" if config.disable_id_token_set_cookie else tokens.id_token
    keeps_refresh_token = config.use_refresh_token and not config.disable_refresh_token_set_cookie
    refresh_token = tokens.refresh_token if keeps_refresh_token else ""
    lifetime, now = tokens.expires_in, tokens.received
    expires = str(int(now) + lifetime)
    mac = session_mac(
        keys.hmac_secret,
        domain=context.domain(request),
        expires=expires,
        access=access_token,
        id_token=id_token,
        refresh=refresh_token,
    )
    id_token_age = lifetime
    if not config.use_access_token_expiry_for_id_token_cookie:
        id_token_age = seconds_left(id_token, now, lifetime)
    refresh_age = seconds_left(refresh_token, now, int(config.default_refresh_token_expires_in))
    lines = [writer.set(names.oauth_hmac, mac, lifetime), writer.set(names.oauth_expires, expires, lifetime)]
    for name, token, age in (
        (names.bearer_token, access_token, lifetime),
        (names.id_token, id_token, id_token_age),
        (names.refresh_token, refresh_token, refresh_age),
    ):
        if token:
            stored = token if config.disable_token_encryption else keys.cipher.encrypt(token, context.entropy)
            lines.append(writer.set(name, stored, age))
        elif name in cookies:
            lines.append(writer.delete(name))
    return NewSession(access_token, id_token, refresh_token, expires, mac, tuple(lines))


class SessionCache:
    """The answers to valid sessions, first in first out, bounded in number and in characters."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, ...], Allow] = {}
        self._keys: Keys | None = None
        self._size = 0

    def get(self, request: Request, keys: Keys, now: float) -> Allow | None:
        """The answer remembered for these cookies, while it is good."""
        if self._keys is not keys:
            self._answers.clear()
            self._size = 0
            self._keys = keys
        allow = self._answers.get(self._key(request))
        return allow if allow is not None and allow.valid_until > now else None

    def put(self, request: Request, allow: Allow) -> None:
        """Remember an answer made under the keys of the last `get`."""
        key = self._key(request)
        self._forget(key)
        self._answers[key] = allow
        self._size += self._weight(key, allow)
        while len(self._answers) > limits.SESSION_CACHE_ENTRIES or self._size > limits.SESSION_CACHE_BYTES:
            self._forget(next(iter(self._answers)))

    def _forget(self, key: tuple[str, ...]) -> None:
        allow = self._answers.pop(key, None)
        if allow is not None:
            self._size -= self._weight(key, allow)

    @staticmethod
    def _key(request: Request) -> tuple[str, ...]:
        return (request.authority, *request.headers.get_all("cookie"))

    @staticmethod
    def _weight(key: tuple[str, ...], allow: Allow) -> int:
        return sum(map(len, key)) + len(allow.cookie or "") + sum(len(value) for _, value in allow.set)
