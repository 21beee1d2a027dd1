"""The vectors are constants of Envoy itself: its tests run with one fixed random number under one fixed secret."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.oauth2.envoy.codec import (
    DecryptError,
    TokenCipher,
    base64url,
    code_challenge,
    csrf_token,
    csrf_token_is_ours,
    decode_base64url,
    is_flow_id,
    new_code_verifier,
    new_flow_id,
    same_text,
    session_mac,
    session_mac_matches,
)

SECRET = b"asdf_token_secret_fdsa"
NONCE = "00000000075bcd15"
CSRF = f"{NONCE}.na6kru4x1pHgocSIeU/mdtHYn58Gh1bqweS4XXoiqVg="
VERIFIER = "Fc1bBwAAAAAVzVsHAAAAABXNWwcAAAAAFc1bBwAAAAA"
HEADER_TEXT = st.text(st.characters(max_codepoint=255, blacklist_characters="\x00\r\n"), max_size=200)


def fixed_entropy(count: int) -> bytes:
    return (b"\x15\xcd\x5b\x07\x00\x00\x00\x00" * 8)[:count]


def cipher(*, gcm: bool = False, cbc_compat: bool = True, secret: bytes = SECRET) -> TokenCipher:
    return TokenCipher(secret, gcm=gcm, cbc_compat=cbc_compat)


def test_flow_id_csrf_token_and_verifier_are_envoys() -> None:
    assert new_flow_id(fixed_entropy) == NONCE
    assert csrf_token(SECRET, NONCE) == CSRF
    assert new_code_verifier(fixed_entropy) == VERIFIER
    assert code_challenge(VERIFIER) == "YRQaBq_UpkWzfr6JvtNnh7LMfmPVcIKVYdV98ugwmLY"


@pytest.mark.parametrize(
    ("plain", "encrypted"),
    [
        (VERIFIER, "Fc1bBwAAAAAVzVsHAAAAABjf6i_Hvf8T2dEuEhPhhDNMlp16az-0dxisL-TzJKaZjOMF8nov_pG377FHmpKcsA"),
        ("access_code", "Fc1bBwAAAAAVzVsHAAAAAHDCo6XWwdgw5IYsxjfymIQ"),
        ("some-id-token", "Fc1bBwAAAAAVzVsHAAAAAJohQ-XDfnYLdgIQ2yJfRZQ"),
        ("some-refresh-token", "Fc1bBwAAAAAVzVsHAAAAAERBBlyQ3ASXvDHzyIRDhLwvl1w07AKhjwBz1s4wJGX8"),
    ],
)
def test_cbc_values_are_envoys(plain: str, encrypted: str) -> None:
    assert cipher().encrypt(plain, fixed_entropy) == encrypted
    assert cipher().decrypt(encrypted) == plain


def test_gcm_values_are_envoys_whatever_the_flags() -> None:
    stored = "gcm.AAAAAAAAAAAAAAAAXKvqQaYSMR-WpXHLNyAmsF4A95dUO3Xxogek"
    assert cipher(gcm=False).decrypt(stored) == "access_code"
    assert cipher(gcm=True, cbc_compat=False).decrypt(stored) == "access_code"
    assert cipher(gcm=True).encrypt("access_code", lambda n: bytes(n)) == stored


@pytest.mark.parametrize(
    ("domain", "expires", "access", "id_token", "refresh", "mac"),
    [
        (
            "traffic.example.com",
            "1600",
            "access_code",
            "some-id-token",
            "some-refresh-token",
            "4TKyxPV/F7yyvr0XgJ2bkWFOc8t4IOFen1k29b84MAQ=",
        ),
        (
            "example.com",
            "5",
            "Fc1bBwAAAAAVzVsHAAAAAHDCo6XWwdgw5IYsxjfymIQ",
            "",
            "",
            "PHLtlCLTIjfuAocmHmW8QzM3YSTRF6L+E3o6a1+TiS4=",
        ),
    ],
)
def test_session_mac_is_envoys(domain: str, expires: str, access: str, id_token: str, refresh: str, mac: str) -> None:
    fields = {"domain": domain, "expires": expires, "access": access, "id_token": id_token, "refresh": refresh}
    assert session_mac(SECRET, **fields) == mac
    assert session_mac_matches(SECRET, mac, **fields)
    assert not session_mac_matches(b"another", mac, **fields)


def test_session_mac_of_older_envoys_is_accepted() -> None:
    digest = hmac.new(SECRET, b"host\n9\na\ni\nr", hashlib.sha256).hexdigest()
    older = base64.b64encode(digest.encode()).decode()
    assert session_mac_matches(SECRET, older, domain="host", expires="9", access="a", id_token="i", refresh="r")


def test_session_mac_keeps_fields_apart() -> None:
    mac = session_mac(SECRET, domain="host:10", expires="15", access="a", id_token="", refresh="")
    assert not session_mac_matches(SECRET, mac, domain="host:101", expires="5", access="a", id_token="", refresh="")
    assert not session_mac_matches(SECRET, mac, domain="host:10", expires="15", access="", id_token="a", refresh="")


@pytest.mark.parametrize("gcm", [False, True])
@given(plain=HEADER_TEXT.filter(bool), secret=st.binary(min_size=1, max_size=80))
def test_what_is_encrypted_decrypts(gcm: bool, plain: str, secret: bytes) -> None:
    stored = cipher(gcm=gcm, secret=secret).encrypt(plain, fixed_entropy)
    assert stored.startswith("gcm.") == gcm
    assert cipher(secret=secret).decrypt(stored) == plain


@given(stored=st.text(max_size=120), compat=st.booleans())
def test_garbage_never_decrypts_to_anything_but_a_header_value(stored: str, compat: bool) -> None:
    for value in (stored, "gcm." + stored):
        try:
            plain = cipher(cbc_compat=compat).decrypt(value)
        except DecryptError:
            continue
        assert not set(plain) & {"\x00", "\r", "\n"}


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ("", "Invalid encrypted data"),
        ("plain-text", "Invalid encrypted data"),
        (base64url(bytes(16)), "Invalid encrypted data"),
        (base64url(bytes(31)), "failed to finalize decryption"),
        (base64url(bytes(32)), "failed to finalize decryption"),
        ("gcm." + base64url(bytes(28)), "Invalid encrypted data"),
        ("gcm." + base64url(bytes(29)), "failed to finalize decryption"),
        ("GCM.AAAAAAAAAAAAAAAAXKvqQaYSMR-WpXHLNyAmsF4A95dUO3Xxogek", "Invalid encrypted data"),
    ],
)
def test_what_is_wrong_with_a_value(stored: str, message: str) -> None:
    with pytest.raises(DecryptError) as caught:
        cipher().decrypt(stored)
    assert str(caught.value) == message


def test_without_the_compatibility_cbc_is_not_read() -> None:
    with pytest.raises(DecryptError, match="legacy CBC decryption is disabled"):
        cipher(cbc_compat=False).decrypt("Fc1bBwAAAAAVzVsHAAAAAHDCo6XWwdgw5IYsxjfymIQ")


def test_a_decrypted_line_break_is_a_failure() -> None:
    with pytest.raises(DecryptError, match="not a valid header value"):
        cipher().decrypt(cipher().encrypt("a\nset-cookie: x", fixed_entropy))


def _flipped_bits(data: bytes) -> list[bytes]:
    return [
        data[:index] + bytes([data[index] ^ (1 << bit)]) + data[index + 1 :]
        for index in range(len(data))
        for bit in range(8)
    ]


def test_every_bit_of_a_gcm_value_counts() -> None:
    data = decode_base64url(cipher(gcm=True).encrypt("access_code", fixed_entropy)[4:])
    assert data is not None
    for tampered in _flipped_bits(data):
        with pytest.raises(DecryptError):
            cipher().decrypt("gcm." + base64url(tampered))


@pytest.mark.parametrize(
    ("text", "accepts"),
    [
        (CSRF, lambda text: csrf_token_is_ours(SECRET, text)),
        (
            "4TKyxPV/F7yyvr0XgJ2bkWFOc8t4IOFen1k29b84MAQ=",
            lambda text: session_mac_matches(
                SECRET,
                text,
                domain="traffic.example.com",
                expires="1600",
                access="access_code",
                id_token="some-id-token",
                refresh="some-refresh-token",
            ),
        ),
    ],
)
def test_every_bit_of_a_mac_counts(text: str, accepts: Callable[[str], bool]) -> None:
    assert accepts(text)
    for tampered in _flipped_bits(text.encode()):
        assert not accepts(tampered.decode("latin-1"))
    for length in range(len(text)):
        assert not accepts(text[:length])


@given(data=st.binary(max_size=100))
def test_base64url_round_trip(data: bytes) -> None:
    assert decode_base64url(base64url(data)) == data


@pytest.mark.parametrize("text", ["QQ==", "QR", "Q", "Q Q", "Q%65", "é", "+/", "QUI\n", "QUI="])
def test_only_the_canonical_spelling_is_base64url(text: str) -> None:
    assert decode_base64url(text) is None


@pytest.mark.parametrize("text", ["", "0" * 15, "0" * 17, "00000000075BCD15", "00000000075bcd1g", "00000000075bcd15\n"])
def test_flow_ids_have_one_form(text: str) -> None:
    assert not is_flow_id(text)
    assert is_flow_id(NONCE)


@given(left=st.text(), right=st.text())
def test_same_text_takes_any_text(left: str, right: str) -> None:
    assert same_text(left, right) == (left == right)
    assert same_text(left + "\ud800", left + "\ud800")
