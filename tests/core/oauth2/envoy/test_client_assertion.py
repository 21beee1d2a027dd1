from __future__ import annotations

import json
from typing import get_args

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from ostiary.core.oauth2.envoy.client_assertion import ClientAssertion, ClientCredentialError
from ostiary.core.oauth2.envoy.codec import decode_base64url
from ostiary.model.oauth2 import PrivateKeyJwtConfig, SigningAlgorithm

RSA = rsa.generate_private_key(65537, 2048)
CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def pem(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


EC_PEM = pem(ec.generate_private_key(ec.SECP256R1()))


def assertion(algorithm: SigningAlgorithm, lifetime: float = 90.0) -> ClientAssertion:
    config = PrivateKeyJwtConfig(signing_algorithm=algorithm, assertion_lifetime=lifetime)
    return ClientAssertion("client", "idp.example/token", config)


def entropy(count: int) -> bytes:
    return bytes(range(count))


@pytest.mark.parametrize("algorithm", get_args(SigningAlgorithm))
def test_assertions_verify_and_say_who_for_whom_and_how_long(algorithm: SigningAlgorithm) -> None:
    curve = CURVES.get(algorithm)
    key = RSA if curve is None else ec.generate_private_key(curve)
    token = assertion(algorithm)(pem(key), 1000.9, entropy)
    public = RSAKey.import_key(pem(key)) if curve is None else ECKey.import_key(pem(key))
    verified = jws.deserialize_compact(token, public, algorithms=[algorithm])
    assert verified.headers() == {"alg": algorithm, "typ": "JWT"}
    assert json.loads(verified.payload) == {
        "iss": "client",
        "sub": "client",
        "aud": "idp.example/token",
        "exp": 1090,
        "iat": 1000,
        "nbf": 1000,
        "jti": "00010203-0405-4607-8809-0a0b0c0d0e0f",
    }


@pytest.mark.parametrize(
    ("algorithm", "key", "message"),
    [
        ("RS256", b"not a key", "Failed to parse private key PEM for JWT signing"),
        ("RS256", b"", "Failed to parse private key PEM for JWT signing"),
        ("RS256", pem(ec.generate_private_key(ec.SECP256R1())), "signing algorithm RS256 requires an RSA private key"),
        ("ES256", pem(RSA), "signing algorithm ES256 requires an EC private key on secp256r1"),
        ("ES256", pem(ec.generate_private_key(ec.SECP384R1())), "requires an EC private key on secp256r1"),
        ("ES256", pem(ed25519.Ed25519PrivateKey.generate()), "requires an EC private key on secp256r1"),
    ],
)
def test_a_key_that_does_not_fit(algorithm: SigningAlgorithm, key: bytes, message: str) -> None:
    with pytest.raises(ClientCredentialError, match=message):
        assertion(algorithm)(key, 0.0, entropy)


def test_a_new_secret_is_used_at_once() -> None:
    sign = assertion("RS256")
    other = rsa.generate_private_key(65537, 2048)
    first, second = sign(pem(RSA), 0.0, entropy), sign(pem(other), 0.0, entropy)
    assert first.rpartition(".")[0] == second.rpartition(".")[0]
    assert decode_base64url(first.rpartition(".")[2]) != decode_base64url(second.rpartition(".")[2])
    jws.deserialize_compact(second, RSAKey.import_key(pem(other)), algorithms=["RS256"])


@given(st.text(max_size=20), st.text(max_size=20), st.floats(0, 4e9))
def test_any_name_is_signed_as_it_is(client: str, audience: str, now: float) -> None:
    config = PrivateKeyJwtConfig(signing_algorithm="ES256", assertion_lifetime=60)
    token = ClientAssertion(client, audience, config)(EC_PEM, now, entropy)
    said = json.loads(jws.deserialize_compact(token, ECKey.import_key(EC_PEM), algorithms=["ES256"]).payload)
    assert (said["iss"], said["sub"], said["aud"], said["iat"], said["exp"]) == (
        *(client, client, audience),
        *(int(now), int(now) + 60),
    )
