"""ID tokens: what is believed, and every forgery that is not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from ostiary.core.jose import (
    IdTokenPolicy,
    KeySetInvalid,
    TokenRefused,
    UnknownKey,
    is_issuer,
    parse_key_set,
    verify_id_token,
)
from ostiary.model import limits

NOW = 1_800_000_000.0
ISSUER = "https://idp.example"
CLIENT = "app"
EC = ECKey.generate_key("P-256", {"kid": "ec"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
STRANGER = ECKey.generate_key("P-256", {"kid": "ec"})
ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
TEMPLATE = "https://login.microsoftonline.com/{tenantid}/v2.0"
TENANT = "9188040d-6c67-4c5b-b112-36a304b66dad"


def jwks(*keys: Any, **members: Any) -> bytes:
    return json.dumps({"keys": [{**key.as_dict(private=False), **members} for key in keys]}).encode()


KEYS = parse_key_set(jwks(EC, RSA, ED))
POLICY = IdTokenPolicy(issuer=ISSUER, client_id=CLIENT, algorithms=ALGORITHMS, keys=KEYS, nonce="n-0S6")


def claims(**changes: Any) -> dict[str, Any]:
    good = {"iss": ISSUER, "sub": "ada", "aud": CLIENT, "exp": NOW + 300, "iat": NOW, "nonce": "n-0S6", **changes}
    return {name: value for name, value in good.items() if value is not ...}


def segment(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(key: Any = EC, alg: str = "ES256", header: dict[str, Any] | None = None, **changes: Any) -> str:
    members = {"alg": alg, "kid": key.kid, **(header or {})}
    present = {name: value for name, value in members.items() if value is not ...}
    return jwt.encode(present, claims(**changes), key, algorithms=[alg])


def refused(token: str, policy: IdTokenPolicy = POLICY, now: float = NOW) -> TokenRefused:
    with pytest.raises(TokenRefused) as caught:
        verify_id_token(token, policy, now)
    return caught.value


@pytest.mark.parametrize(("key", "alg"), [(EC, "ES256"), (RSA, "RS256"), (RSA, "PS256"), (ED, "Ed25519")])
def test_a_good_token_is_believed(key: Any, alg: str) -> None:
    policy = replace(POLICY, algorithms=(*ALGORITHMS, "Ed25519"))
    assert verify_id_token(signed(key, alg), policy, NOW)["sub"] == "ada"


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": [CLIENT]},
        {"aud": [CLIENT, "other"], "azp": CLIENT},
        {"azp": CLIENT},
        {"exp": NOW + 0.5, "iat": NOW - 0.25},
        {"nbf": NOW},
        {"iat": NOW + limits.CLOCK_LEEWAY},
        {"exp": NOW - limits.CLOCK_LEEWAY + 1},
        {"auth_time": 1.5},
    ],
)
def test_what_providers_may_write(changes: dict[str, Any]) -> None:
    assert verify_id_token(signed(**changes), POLICY, NOW)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"iss": ISSUER + "/"}, "jwt-issuer"),
        ({"iss": "https://idp.example.evil"}, "jwt-issuer"),
        ({"iss": ...}, "jwt-issuer"),
        ({"iss": [ISSUER]}, "jwt-issuer"),
        ({"aud": "other"}, "jwt-audience"),
        ({"aud": ...}, "jwt-audience"),
        ({"aud": []}, "jwt-audience"),
        ({"aud": {"app": 1}}, "jwt-audience"),
        ({"aud": [CLIENT, "other"]}, "jwt-audience"),
        ({"azp": "other"}, "jwt-audience"),
        ({"exp": NOW - limits.CLOCK_LEEWAY}, "jwt-expired"),
        ({"exp": ...}, "jwt-malformed"),
        ({"exp": str(NOW + 9)}, "jwt-malformed"),
        ({"exp": True}, "jwt-malformed"),
        ({"exp": None}, "jwt-malformed"),
        ({"exp": 10**400}, "jwt-malformed"),
        ({"iat": ...}, "jwt-malformed"),
        ({"iat": NOW + limits.CLOCK_LEEWAY + 1}, "clock-skew"),
        ({"nbf": NOW + limits.CLOCK_LEEWAY + 1}, "clock-skew"),
        ({"nbf": "soon"}, "clock-skew"),
        ({"nonce": "other"}, "jwt-nonce"),
        ({"nonce": ...}, "jwt-nonce"),
        ({"nonce": ["n-0S6"]}, "jwt-nonce"),
        ({"sub": ...}, "jwt-malformed"),
        ({"sub": ""}, "jwt-malformed"),
        ({"sub": 7}, "jwt-malformed"),
        ({"sub": "x" * 256}, "jwt-malformed"),
    ],
)
def test_claims_that_are_not_good_are_refused(changes: dict[str, Any], code: str) -> None:
    assert refused(signed(**changes)).code == code


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_times_that_are_no_finite_numbers_are_refused(number: bytes) -> None:
    body = json.dumps(claims(exp=0)).encode().replace(b'"exp": 0', b'"exp": ' + number)
    signing_input = f"{segment({'alg': 'ES256', 'kid': 'ec'})}.{segment(body)}"
    token = signed().rsplit(".", 1)
    forged = f"{signing_input}.{token[1]}"
    assert refused(forged).code in ("jwt-malformed", "jwt-signature")


def test_an_unsigned_token_is_refused() -> None:
    for alg in ("none", "None", "NONE", "nOnE"):
        token = f"{segment({'alg': alg})}.{segment(claims())}."
        assert refused(token).code == "jwt-algorithm"
        assert refused(token + "AAAA").code == "jwt-algorithm"
    assert refused(f"{segment({'alg': 'none'})}.{segment(claims())}.AA", replace(POLICY, algorithms=("none",))).code


@pytest.mark.parametrize("secret", [RSA.as_pem(private=False), EC.as_pem(private=False), b""])
def test_an_hmac_keyed_with_a_public_key_is_refused_even_if_hmac_is_allowed(secret: bytes) -> None:
    for kid in ({"kid": "rsa"}, {"kid": "ec"}, {}):
        signing_input = f"{segment({'alg': 'HS256', **kid})}.{segment(claims())}"
        forged = f"{signing_input}.{segment(hmac.new(secret, signing_input.encode(), hashlib.sha256).digest())}"
        assert refused(forged).code == "jwt-algorithm"
        assert refused(forged, replace(POLICY, algorithms=("HS256",))).code == "jwt-algorithm"


def test_a_signature_by_another_key_of_that_id_is_refused() -> None:
    assert refused(signed(STRANGER)).code == "jwt-signature"


def test_a_key_inside_the_header_is_not_used() -> None:
    public = STRANGER.as_dict(private=False)
    token = signed(STRANGER, header={"jwk": public})
    assert refused(token).code == "jwt-signature"


def test_an_unknown_key_id_asks_for_fresh_keys() -> None:
    error = refused(signed(header={"kid": "new"}))
    assert isinstance(error, UnknownKey) and error.code == "jwt-key"


def test_a_known_id_of_another_key_type_is_unknown() -> None:
    assert isinstance(refused(signed(header={"kid": "rsa"})), UnknownKey)


def test_without_a_key_id_the_keys_that_fit_are_tried() -> None:
    keys = parse_key_set(jwks(STRANGER, RSA, EC))
    assert verify_id_token(signed(header={"kid": ...}), replace(POLICY, keys=keys), NOW)
    error = refused(signed(STRANGER, header={"kid": ...}))
    assert isinstance(error, UnknownKey) and error.code == "jwt-signature"


@pytest.mark.parametrize("header", [{"crit": ["exp"], "exp": 1}, {"kid": 7}])
def test_headers_that_demand_or_confuse_are_refused(header: dict[str, Any]) -> None:
    token = signed()
    parts = token.split(".")
    assert refused(f"{segment({'alg': 'ES256', 'kid': 'ec', **header})}.{parts[1]}.{parts[2]}").code == "jwt-malformed"


@pytest.mark.parametrize("alg", ["RS384", "ES512", "", 7, None, ["ES256"], "ES256 "])
def test_algorithms_that_were_not_asked_for_are_refused(alg: Any) -> None:
    parts = signed().split(".")
    assert refused(f"{segment({'alg': alg, 'kid': 'ec'})}.{parts[1]}.{parts[2]}").code == "jwt-algorithm"


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a",
        "a.b",
        "a.b.c",
        "....",
        "a.b.c.d.e",
        "é.é.é",
        signed() + "=",
        signed() + ".",
        signed().replace(".", ".."),
    ],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    assert refused(token).code == "jwt-malformed"


def test_a_token_that_is_too_long_is_refused_unread() -> None:
    assert refused("a" * (limits.MAX_TOKEN_BYTES + 1)).code == "jwt-malformed"


def test_at_hash_binds_the_access_token() -> None:
    digest = hashlib.sha256(b"the-token").digest()[:16]
    token = signed(at_hash=segment(digest))
    assert verify_id_token(token, replace(POLICY, access_token="the-token"), NOW)
    assert refused(token, replace(POLICY, access_token="another")).code == "jwt-access-token"
    assert refused(signed(at_hash=7), replace(POLICY, access_token="the-token")).code == "jwt-access-token"


def test_a_refresh_needs_the_same_user_and_no_nonce() -> None:
    policy = replace(POLICY, nonce=None, subject="ada")
    assert verify_id_token(signed(nonce=...), policy, NOW)
    assert refused(signed(nonce=..., sub="eve"), policy).code == "jwt-subject"


def test_entra_template_takes_the_tenant_of_the_token() -> None:
    policy = replace(POLICY, issuer=TEMPLATE)
    good = TEMPLATE.replace("{tenantid}", TENANT)
    assert verify_id_token(signed(iss=good, tid=TENANT), policy, NOW)
    for iss, tid in [(good, "other"), (good, ...), (TEMPLATE, "{tenantid}"), (good, f"{TENANT}/v2.0"), (good, 7)]:
        assert refused(signed(iss=iss, tid=tid), policy).code == "jwt-issuer"


def test_a_key_that_signs_for_one_issuer_only_is_not_used_for_another() -> None:
    keys = parse_key_set(jwks(EC, issuer="https://elsewhere.example"))
    assert refused(signed(), replace(POLICY, keys=keys)).code == "jwt-issuer"
    keys = parse_key_set(jwks(EC, issuer=ISSUER))
    assert verify_id_token(signed(), replace(POLICY, keys=keys), NOW)


@pytest.mark.parametrize(
    "member",
    [
        {"use": "enc"},
        {"key_ops": ["encrypt"]},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "AKP"},
        {"x": 7},
        {"crv": "P-999"},
        {"x": "AAAA"},
    ],
)
def test_keys_that_can_not_verify_are_left_out(member: dict[str, Any]) -> None:
    with pytest.raises(KeySetInvalid):
        parse_key_set(jwks(EC, **member))
    document = json.loads(jwks(RSA))
    document["keys"].append({**EC.as_dict(private=False), **member})
    assert [key.kid for key in parse_key_set(json.dumps(document).encode()).keys] == ["rsa"]


def test_short_rsa_keys_are_left_out() -> None:
    short = {"kty": "RSA", "n": segment(b"\xff" * 128), "e": "AQAB"}
    with pytest.raises(KeySetInvalid):
        parse_key_set(json.dumps({"keys": [short]}).encode())


def test_a_key_for_another_algorithm_is_not_used() -> None:
    keys = parse_key_set(jwks(RSA, alg="PS256"))
    assert isinstance(refused(signed(RSA, "RS256"), replace(POLICY, keys=keys)), UnknownKey)


def test_symmetric_keys_never_verify() -> None:
    secret = OctKey.generate_key(256, {"kid": "oct"})
    document = {"keys": [EC.as_dict(private=False), {**secret.as_dict(private=True)}]}
    keys = parse_key_set(json.dumps(document).encode())
    forged = jwt.encode({"alg": "HS256", "kid": "oct"}, claims(), secret)
    assert refused(forged, replace(POLICY, keys=keys, algorithms=("HS256", "ES256"))).code == "jwt-algorithm"


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[]}', b"<html>", b"[" * 5000, b"\xff"])
def test_what_is_no_key_set_is_refused(body: bytes) -> None:
    with pytest.raises(KeySetInvalid):
        parse_key_set(body)


def test_too_many_keys_are_refused() -> None:
    key = EC.as_dict(private=False)
    with pytest.raises(KeySetInvalid, match="MAX_JWKS_KEYS"):
        parse_key_set(json.dumps({"keys": [key] * (limits.MAX_JWKS_KEYS + 1)}).encode())


GOOD = signed()


@given(st.integers(0, len(GOOD) - 1), st.characters(codec="ascii"))
def test_no_single_change_survives(position: int, character: str) -> None:
    """Unless it decodes to the very same bytes."""
    forged = GOOD[:position] + character + GOOD[position + 1 :]
    try:
        assert verify_id_token(forged, POLICY, NOW) == claims()
        assert forged == GOOD or position == len(GOOD) - 1
    except TokenRefused:
        assert forged != GOOD


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(["iss", "aud", "azp", "exp", "iat", "nbf", "nonce", "sub", "at_hash", "tid"]), JSON)
def test_no_value_of_a_claim_raises_anything_else(name: str, value: Any) -> None:
    try:
        token = signed(**{name: value})
    except ValueError:
        return
    try:
        believed = verify_id_token(token, replace(POLICY, access_token="t"), NOW)
    except TokenRefused as error:
        said = error.reason
    else:
        said = ""
        assert believed["iss"] == ISSUER and believed["nonce"] == "n-0S6" and believed["exp"] > NOW - 61
    assert token.split(".")[1] not in said


def test_google_alone_may_leave_the_scheme_out_of_its_name() -> None:
    assert is_issuer("accounts.google.com", "https://accounts.google.com", None)
    assert not is_issuer("idp.example", "https://idp.example", None)
    assert not is_issuer("accounts.google.com", "https://idp.example", None)


MEMBERS = st.sampled_from(["kty", "n", "e", "crv", "x", "y", "use", "alg", "kid", "key_ops", "d", "issuer"])
WORDS = st.sampled_from(["RSA", "EC", "OKP", "oct", "AQAB", "P-256", "Ed25519", "sig", "enc", "verify", "A" * 43, ""])


@given(JSON | st.fixed_dictionaries({"keys": st.lists(st.dictionaries(MEMBERS, WORDS | JSON), max_size=3) | JSON}))
def test_any_document_is_a_key_set_or_refused(document: Any) -> None:
    body = json.dumps(document).encode()
    try:
        keys = parse_key_set(body).keys
    except KeySetInvalid:
        return
    assert 0 < len(keys) <= len(document["keys"])
    assert all(key.kty in ("RSA", "EC", "OKP") and not key.key.is_private for key in keys)


def _is_finite(value: Any) -> bool:
    return not {"NaN", "Infinity", "-Infinity"} & set(re.findall(r"-?\w+", json.dumps(value)))


@given(st.permutations([EC, RSA, ED]), st.lists(JSON.filter(_is_finite), max_size=3))
def test_good_keys_are_found_whatever_stands_beside_them(keys: list[Any], beside: list[Any]) -> None:
    members = [*beside, *json.loads(jwks(*keys))["keys"]]
    assert [key.kid for key in parse_key_set(json.dumps({"keys": members}).encode()).keys] == [k.kid for k in keys]
