"""Cookies: what nobody here wrote opens no door, ours never reach the application, the application's pass unchanged.

The input is a Cookie header.
"""

from __future__ import annotations

import re

import envoy_signin
import signin_world
from ostiary.core.decision import Allow, Respond
from ostiary.core.oauth2 import flow
from ostiary.core.oauth2.cookies import CookiePolicy, parse_cookies, without_ours
from ostiary.core.oauth2.envoy.codec import DecryptError, TokenCipher
from ostiary.core.oauth2.envoy.cookies import RequestCookies
from ostiary.core.oauth2.session import KeyRing, Session, open_sealed, seal
from ostiary.model import limits
from ostiary.model.errors import LimitExceeded
from ostiary.model.headers import Headers

HTTPS = CookiePolicy(base="ostiary", secure=True)
POLICIES = (HTTPS, CookiePolicy(base="ostiary", secure=False, domain="example.com"))
RING = KeyRing([signin_world.SECRET])
SESSION = Session(
    id="i", subject="ada", email="ada@example.com", created=signin_world.START, last_seen=signin_world.START
)


def _entropy(count: int) -> bytes:
    return b"0123456789abcdef0123456789abcdef"[:count]


SEALED = seal(SESSION, "session", HTTPS.session, RING, _entropy)
KEY = flow.new_key(_entropy, restarted=False)
PENDING = flow.new_pending(
    _entropy, KEY, return_url="/back", redirect_uri=signin_world.CALLBACK, now=signin_world.START
)
FLOW_COOKIE = flow.store(KEY, PENDING, HTTPS, RING, _entropy).partition(";")[0]

NATIVE = signin_world.World()
ENVOY = envoy_signin.World()
ENVOY.sign_in()
ENVOY_COOKIES = dict(ENVOY.cookies)
CIPHERS = [TokenCipher(b"key", gcm=gcm, cbc_compat=compat) for gcm in (True, False) for compat in (True, False)]
GCM = TokenCipher(b"key", gcm=True, cbc_compat=False).encrypt("a token", _entropy)
_ENVOY_NAMES = ("BearerToken", "OauthHMAC", "OauthExpires", "IdToken", "RefreshToken", "OauthNonce", "CodeVerifier")
_SEPARATE = ("OauthNonce.", "CodeVerifier.")
_OURS = re.compile(r"(?:__Host-)?ostiary(?:|\.[0-9]+|-flow\..*)", re.DOTALL)

SEEDS = (
    f"a=b; __Host-ostiary=1{SEALED}; c=d; e".encode(),
    f'__Host-ostiary=2{SEALED[:60]}; theme="dark"; __Host-ostiary.1={SEALED[60:]}'.encode(),
    f"ostiary=1{SEALED}; __Host-ostiary=1{SEALED[:-3]}; __Host-ostiary=1{SEALED}".encode(),
    f"{FLOW_COOKIE}; __Host-ostiary-flow.sAAAAAAAAAAAAAAAAAAAAAA=x; ostiary-flow.=; ostiary.9=; ostiaryx=1".encode(),
    "; ".join(f"{name}={value}" for name, value in ENVOY_COOKIES.items()).encode(),
    f"OauthHMAC={ENVOY_COOKIES['OauthHMAC']}; OauthExpires=1; BearerToken=the-access-token; a = b;;c".encode(),
    f'BearerToken={GCM}; BearerToken=2; BearerToken =3; OauthNonce.1=x; "q"="v"'.encode(),
    b"a=\xe9; \xa0ostiary=1; =x; ;",
)
WORDS = (
    b"; ", b"=", b"__Host-ostiary=1", b"__Host-ostiary.1=", b"ostiary=", b"ostiary-flow.", b"OauthHMAC=",
    b"OauthExpires=", b"BearerToken=", b"IdToken=", b"RefreshToken=", b"OauthNonce.", b"CodeVerifier.", b"gcm.",
    SEALED.encode(), GCM.encode(), *(value.encode() for value in ENVOY_COOKIES.values()),
)  # fmt: skip


def one(data: bytes) -> None:
    header = data.decode("latin-1")
    for policy in POLICIES:
        _native(header, policy)
    _sealing(header)
    _envoy(header)
    _ciphers(header)


def _native(header: str, policy: CookiePolicy) -> None:
    cookies = parse_cookies(header)
    foreign = [pair for pair in cookies if any(pair) and not _OURS.fullmatch(pair[0] or pair[1])]
    assert [pair for pair in parse_cookies(without_ours(header, policy)) if any(pair)] == foreign
    sealed = list(policy.join(cookies))
    assert len(sealed) <= limits.MAX_COOKIE_DUPLICATES
    opened = [open_sealed(text, Session, "session", policy.session, RING) for text in sealed]
    assert all(session in (None, SESSION) for session in opened)
    deleted = flow.surplus(cookies, policy, RING)
    assert set(deleted) <= {name for name, _ in cookies}
    assert len(policy.flow_keys(cookies)) - len(deleted) < limits.MAX_PENDING_FLOWS
    if policy is HTTPS:
        found = flow.find(KEY, cookies, policy, RING)
        assert found in (None, PENDING)
        _native_door(header, SESSION in opened)


def _native_door(header: str, has_session: bool) -> None:
    request = signin_world.Browser(NATIVE).request("/page", cookie=header)
    answer = NATIVE.filter.decide(request, signin_world.START)
    if isinstance(answer, Allow):
        assert has_session and answer.user == SESSION.email
        assert not any(_OURS.fullmatch(name) for name, _ in parse_cookies(answer.cookie or ""))
    elif isinstance(answer, Respond):
        assert not answer.details.startswith("internal-error"), answer.details


def _sealing(text: str) -> None:
    """Any text comes back out of a session, and any value out of its pieces."""
    session = Session(id="i", subject=text, groups=(text, ""), claims={text: [text]}, created=1.0, last_seen=2.0)
    sealed = seal(session, "session", HTTPS.session, RING, _entropy)
    assert open_sealed(sealed, Session, "session", HTTPS.session, RING) == session
    assert open_sealed(sealed, Session, "flow", HTTPS.session, RING) is None
    assert open_sealed(sealed, Session, "session", "ostiary", RING) is None
    value = re.sub(r"[^A-Za-z0-9_-]", "", text) * 40
    try:
        lines = HTTPS.split(value, 60.0, [name for name, _ in parse_cookies(text)])
    except LimitExceeded:
        assert len(value) > (limits.MAX_COOKIE_PIECES - 1) * limits.MAX_COOKIE_BYTES * 0.9
        return
    assert all(len(line) <= limits.MAX_COOKIE_BYTES for line in lines)
    kept = [line.partition(";")[0].partition("=")[::2] for line in lines if "; Max-Age=0;" not in line]
    assert list(HTTPS.join(kept)) == [value]


def _envoy(header: str) -> None:
    cookies = RequestCookies(Headers([("cookie", header)]))
    rewritten = cookies.rewritten({"BearerToken": "checked"}, _ENVOY_NAMES, _SEPARATE)
    pieces = [piece.strip() for piece in rewritten.split(";")]
    owned = [piece for piece in pieces if _is_envoys(piece.partition("=")[0].strip())]
    assert owned == ["BearerToken=checked"]
    foreign = [piece for piece in (part.strip(" \t\v\f") for part in header.split(";")) if piece]
    foreign = [piece for piece in foreign if not _is_envoys(piece.partition("=")[0].strip())]
    assert [piece for piece in rewritten.split("; ") if piece != "BearerToken=checked"] == foreign
    request = ENVOY.request(cookie=header)
    if header and isinstance(ENVOY.filter.decide(request, ENVOY.now), Allow):
        assert cookies.get("OauthHMAC") == ENVOY_COOKIES["OauthHMAC"]
        assert cookies.get("OauthExpires") == ENVOY_COOKIES["OauthExpires"]


def _is_envoys(name: str) -> bool:
    return name in _ENVOY_NAMES or name.startswith(_SEPARATE)


def _ciphers(text: str) -> None:
    plain = re.sub("[\r\n\0]", "", text)
    for value in [text, *(value for _, value in parse_cookies(text))]:
        for cipher in CIPHERS:
            try:
                opened = cipher.decrypt(value)
            except DecryptError:
                continue
            assert not {"\r", "\n", "\0"} & set(opened)
            if value.startswith("gcm."):
                assert value == GCM and opened == "a token"
    for cipher in (CIPHERS[0], CIPHERS[2]):
        if plain or cipher is CIPHERS[2]:
            assert cipher.decrypt(cipher.encrypt(plain, _entropy)) == plain
