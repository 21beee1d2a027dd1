"""A session is valid if and only if its MAC is ours and it has not expired."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envoy_signin import NOW, World, config, cookie_names, set_cookies
from ostiary.core.decision import Allow, Request, Respond
from ostiary.core.oauth2.envoy.codec import TokenCipher, session_mac
from ostiary.core.oauth2.envoy.session import SessionCache
from ostiary.model import limits
from ostiary.model.oauth2 import CookieConfig, CookieConfigs

SECRET = b"asdf_token_secret_fdsa"
LATER = str(int(NOW) + 60)


def cookie(expires: str = LATER, *, access: str = "", id_token: str = "", refresh: str = "", more: str = "") -> str:
    """Cookies with plain tokens and a MAC that is right."""
    mac = session_mac(SECRET, domain="app.example", expires=expires, access=access, id_token=id_token, refresh=refresh)
    tokens = {"BearerToken": access, "IdToken": id_token, "RefreshToken": refresh}
    parts = [f"OauthHMAC={mac}", f"OauthExpires={expires}", *(f"{n}={v}" for n, v in tokens.items() if v)]
    return "; ".join([*parts, more] if more else parts)


def is_valid(cookies: str, world: World | None = None) -> bool:
    world = world or World(config(use_refresh_token=False))
    return isinstance(world.filter.decide(world.request(cookie=cookies), world.now), Allow)


@pytest.mark.parametrize(
    ("expires", "valid"),
    [
        (LATER, True),
        (str(int(NOW) + 1), True),
        (str(int(NOW)), False),
        ("0", False),
        ("", False),
        (f" {LATER} ", True),
        (f"+{LATER}", True),
        (f"000{LATER}", True),
        (f"{LATER}x", False),
        (f"{LATER}.5", False),
        (f"0x{LATER}", False),
        (f"-{LATER}", False),
        (f"{LATER} {LATER}", False),
        ("١٢٣٤٥٦٧٨٩٠١٢".encode().decode("latin-1"), False),
        (str(2**63 - 1), True),
        (str(2**63), False),
        (str(2**64), False),
        ("9" * 400, False),
    ],
)
def test_expiry_is_read_as_envoy_reads_it(expires: str, valid: bool) -> None:
    mac = session_mac(SECRET, domain="app.example", expires=expires, access="", id_token="", refresh="")
    assert is_valid(f'OauthHMAC={mac}; OauthExpires="{expires}"') == valid


def test_plain_tokens_under_a_good_mac_are_a_session_even_with_encryption_on() -> None:
    assert is_valid(cookie(access="a", id_token="i", refresh="r"))


def test_the_mac_of_older_envoys_is_a_session() -> None:
    digest = hmac.new(SECRET, f"app.example\n{LATER}\n\n\n".encode(), hashlib.sha256).hexdigest()
    older = base64.b64encode(digest.encode()).decode()
    assert is_valid(f"OauthHMAC={older}; OauthExpires={LATER}")


@pytest.mark.parametrize("name", ["BearerToken", "IdToken", "RefreshToken"])
def test_a_token_too_many_or_too_few_ends_the_session(name: str) -> None:
    assert is_valid(cookie())
    assert not is_valid(cookie(more=f"{name}=injected"))
    world = World(config(use_refresh_token=False))
    world.sign_in()
    del world.cookies[name if name != "RefreshToken" else "BearerToken"]
    assert not is_valid("; ".join(f"{n}={v}" for n, v in world.cookies.items()), world)


def test_a_disabled_cookie_still_counts_while_it_is_there() -> None:
    world = World(config(use_refresh_token=False, disable_id_token_set_cookie=True))
    assert is_valid(cookie(id_token="i"), world)
    assert not is_valid(cookie(more="IdToken=i"), world)


@pytest.mark.parametrize("gcm", [False, True])
def test_every_bit_of_every_cookie_counts(gcm: bool) -> None:
    world = World(config(use_refresh_token=False), oauth2_use_gcm_encryption=gcm)
    world.sign_in()
    assert is_valid("; ".join(f"{n}={v}" for n, v in world.cookies.items()), world)
    for name, value in world.cookies.items():
        for index in range(len(value)):
            for bit in range(8):
                char = chr(ord(value[index]) ^ (1 << bit))
                tampered = {**world.cookies, name: value[:index] + char + value[index + 1 :]}
                assert not is_valid("; ".join(f"{n}={v}" for n, v in tampered.items()), world), (name, index, bit)


def test_swapped_cookies_are_no_session() -> None:
    world = World(config(use_refresh_token=False))
    world.sign_in()
    swapped = {**world.cookies, "BearerToken": world.cookies["IdToken"], "IdToken": world.cookies["BearerToken"]}
    assert not is_valid("; ".join(f"{n}={v}" for n, v in swapped.items()), world)


def test_a_session_of_a_gcm_envoy_is_read_without_the_flag() -> None:
    sealed = TokenCipher(SECRET, gcm=True, cbc_compat=False).encrypt("a", lambda n: b"n" * n)
    mac = session_mac(SECRET, domain="app.example", expires=LATER, access="a", id_token="", refresh="")
    assert is_valid(f"OauthHMAC={mac}; OauthExpires={LATER}; BearerToken={sealed}")


@pytest.mark.parametrize("gcm", [False, True])
def test_cookies_are_as_encrypted_as_configured(gcm: bool) -> None:
    world = World(oauth2_use_gcm_encryption=gcm)
    world.sign_in()
    assert world.cookies["BearerToken"].startswith("gcm.") == gcm
    plain = World(config(disable_token_encryption=True))
    plain.begin()
    assert TokenCipher(SECRET, gcm=False, cbc_compat=True).decrypt(plain.cookies["CodeVerifier"])
    plain.sign_in()
    assert plain.cookies["BearerToken"] == "the-access-token"


def test_without_cbc_cookies_are_gcm_so_that_a_sign_in_can_end() -> None:
    world = World(oauth2_legacy_cbc_decrypt_compat=False)
    assert world.sign_in().details == "oauth.logged_in"
    assert world.cookies["BearerToken"].startswith("gcm.")


@pytest.mark.parametrize(
    ("changes", "tokens", "names"),
    [
        ({}, {"id_token": None, "refresh_token": None}, ["BearerToken"]),
        ({"use_refresh_token": False}, {}, ["BearerToken", "IdToken"]),
        ({"disable_refresh_token_set_cookie": True}, {}, ["BearerToken", "IdToken"]),
        ({"disable_access_token_set_cookie": True}, {}, ["IdToken", "RefreshToken"]),
        ({"disable_id_token_set_cookie": True}, {}, ["BearerToken", "RefreshToken"]),
        ({}, {"access_token": ""}, ["IdToken", "RefreshToken"]),
    ],
)
def test_which_tokens_are_kept(changes: dict[str, Any], tokens: dict[str, Any], names: list[str]) -> None:
    world = World(config(**changes))
    answer = world.sign_in(**tokens)
    kept = [name for name in cookie_names(answer)[2:] if not name.startswith(("OauthNonce", "CodeVerifier"))]
    assert kept == names
    assert not isinstance(world.decide(world.request()), Respond), "the session is valid with the tokens it has"


def test_a_token_that_is_not_kept_ends_the_cookie_of_an_older_one() -> None:
    world = World(config(disable_id_token_set_cookie=True, use_refresh_token=False))
    world.cookies |= {"IdToken": "old", "RefreshToken": "old"}
    answer = world.sign_in()
    assert cookie_names(answer)[2:5] == ["BearerToken", "IdToken", "RefreshToken"]
    assert {"IdToken", "RefreshToken"} <= set(world.deleted)


def jwt(exp: int) -> str:
    part = [base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in ({}, {"exp": exp})]
    return f"{part[0]}.{part[1]}.c2ln"


def test_lifetimes_come_from_the_tokens() -> None:
    world = World()
    now = int(world.now)
    answer = world.sign_in(id_token=jwt(now + 50), refresh_token=jwt(now + 70))
    ages = {line.partition("=")[0]: line.partition("Max-Age=")[2].partition(";")[0] for line in set_cookies(answer)}
    assert (ages["IdToken"], ages["RefreshToken"], ages["BearerToken"]) == ("50", "70", "3600")
    answer = World(config(use_access_token_expiry_for_id_token_cookie=True)).sign_in(id_token=jwt(now + 50))
    assert "Max-Age=3600" in set_cookies(answer)[3]
    assert "Max-Age=0;" in set_cookies(World().sign_in(id_token=jwt(now - 1)))[3]


def test_every_cookie_has_its_own_attributes() -> None:
    configs = CookieConfigs(oauth_hmac=CookieConfig(same_site="LAX"), code_verifier=CookieConfig(path="/callback"))
    world = World(config(cookie_configs=configs, credentials_cookie_domain="example"))
    begun = world.decide(world.request())
    assert isinstance(begun, Respond)
    redirect = set_cookies(begun)
    assert [";domain=example;path=/callback;" in line for line in redirect] == [False, False, True, True]
    assert set_cookies(world.sign_in())[0].endswith(";domain=example;path=/;Max-Age=3600;secure;HttpOnly;SameSite=Lax")


def request(number: int, size: int = 0) -> Request:
    return World().request(cookie=f"n={number}{'x' * size}")


def test_the_cache_forgets_the_oldest_first_and_holds_so_many_bytes() -> None:
    world = World()
    keys = world.filter._context.keys()
    assert keys is not None
    cache = SessionCache()
    size = limits.SESSION_CACHE_BYTES // 8
    for number in range(10):
        assert cache.get(request(number, size), keys, 0.0) is None
        cache.put(request(number, size), Allow(valid_until=1.0))
        cache.put(request(number, size), Allow(valid_until=1.0))
    held = [number for number in range(10) if cache.get(request(number, size), keys, 0.0)]
    assert held == [3, 4, 5, 6, 7, 8, 9]
    assert cache.get(request(9, size), keys, 1.0) is None


def test_the_cache_holds_so_many_sessions() -> None:
    keys = World().filter._context.keys()
    assert keys is not None
    cache = SessionCache()
    cache.get(request(0), keys, 0.0)
    one = World().request()
    for number in range(limits.SESSION_CACHE_ENTRIES + 2):
        one.authority = str(number)
        cache.put(one, Allow(valid_until=1.0))
    held = []
    for number in (0, 1, 2, 3):
        one.authority = str(number)
        held.append(cache.get(one, keys, 0.0) is not None)
    assert held == [False, False, True, True]


TOKENS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=';"'), max_size=20)


@given(TOKENS, TOKENS, TOKENS, st.booleans())
def test_a_stored_session_is_read_again(access: str, id_token: str, refresh: str, gcm: bool) -> None:
    world = World(config(use_refresh_token=True), oauth2_use_gcm_encryption=gcm)
    answer = world.sign_in(access_token=access, id_token=id_token, refresh_token=refresh)
    assert answer.status == 302
    decision = world.decide(world.request())
    assert isinstance(decision, Allow) and decision.cookie is not None
    sent = dict(pair.partition("=")[::2] for pair in decision.cookie.split("; "))
    assert sent.get("BearerToken", "") == access and sent.get("IdToken", "") == id_token


@given(st.data())
def test_no_changed_character_of_a_session_opens_the_door(data: st.DataObject) -> None:
    world = World(config(use_refresh_token=False))
    world.sign_in()
    name = data.draw(st.sampled_from(["OauthHMAC", "OauthExpires", "BearerToken", "IdToken"]))
    value = world.cookies[name]
    position = data.draw(st.integers(0, len(value) - 1))
    character = data.draw(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=";"))
    changed = value[:position] + character + value[position + 1 :]
    world.cookies[name] = changed
    assert isinstance(world.decide(world.request()), Allow) == (changed == value)
