"""How the client authenticates, byte by byte."""

from __future__ import annotations

import base64
import datetime
import os
from urllib.parse import unquote_plus

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from ostiary.core.oauth2.client_auth import ASSERTION_TYPE, authenticate, choose_method
from ostiary.core.oauth2.failures import SignInError
from ostiary.model.secret import Secret
from ostiary.model.signin import ClientAuthMethod

ENDPOINT = "https://idp.example/token"
NOW = 1_800_000_000.0


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


EC = pem(ec.generate_private_key(ec.SECP256R1()))
RSA_KEY = rsa.generate_private_key(65537, 2048)
RSA = pem(RSA_KEY)


@pytest.mark.parametrize(
    ("wanted", "secret", "supported", "expected"),
    [
        ("auto", b"s", (), "client_secret_basic"),
        ("auto", b"s", ("client_secret_post", "client_secret_basic"), "client_secret_basic"),
        ("auto", b"s", ("client_secret_post",), "client_secret_post"),
        ("auto", None, ("client_secret_basic",), "none"),
        ("auto", EC, ("client_secret_basic",), "private_key_jwt"),
        ("client_secret_post", b"s", (), "client_secret_post"),
        ("none", b"s", (), "none"),
    ],
)
def test_the_method(wanted: ClientAuthMethod, secret: bytes | None, supported: tuple[str, ...], expected: str) -> None:
    assert choose_method(wanted, None if secret is None else Secret(secret), supported) == expected


def test_basic_encodes_both_halves_before_it_joins_them() -> None:
    auth = authenticate("client_secret_basic", "my app", Secret("a%b c+d:e/ü"), ENDPOINT, NOW, os.urandom)
    assert auth.params == ()
    ((name, value),) = auth.headers
    assert name == "authorization"
    assert base64.b64decode(value.removeprefix("Basic ")) == b"my+app:a%25b+c%2Bd%3Ae%2F%C3%BC"


def test_post_and_none() -> None:
    post = authenticate("client_secret_post", "app", Secret("s"), ENDPOINT, NOW, os.urandom)
    assert (post.headers, post.params) == ((), (("client_id", "app"), ("client_secret", "s")))
    none = authenticate("none", "app", None, ENDPOINT, NOW, os.urandom)
    assert (none.headers, none.params) == ((), (("client_id", "app"),))


@pytest.mark.parametrize(("key", "kind", "alg"), [(EC, ECKey, "ES256"), (RSA, RSAKey, "RS256")])
def test_a_private_key_signs_an_assertion_for_one_use(key: bytes, kind: type[ECKey | RSAKey], alg: str) -> None:
    first, second = (
        dict(authenticate("private_key_jwt", "app", Secret(key), ENDPOINT, NOW, os.urandom).params) for _ in "ab"
    )
    assert first["client_assertion_type"] == ASSERTION_TYPE and first["client_id"] == "app"
    token = jwt.decode(first["client_assertion"], kind.import_key(key), algorithms=[alg])
    claims = dict(token.claims)
    assert len(claims.pop("jti")) == 32
    issued = int(NOW)
    assert claims == {"iss": "app", "sub": "app", "aud": ENDPOINT, "iat": issued, "nbf": issued, "exp": issued + 60}
    assert first["client_assertion"] != second["client_assertion"]


@pytest.mark.parametrize("certificate_first", [True, False])
def test_a_certificate_beside_the_key_names_it(certificate_first: bool) -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "app")])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(RSA_KEY.public_key())
    dated = builder.serial_number(1).not_valid_before(start).not_valid_after(start + datetime.timedelta(days=9))
    certificate = dated.sign(RSA_KEY, hashes.SHA256())
    text = certificate.public_bytes(serialization.Encoding.PEM)
    bundle = text + RSA if certificate_first else RSA + text
    params = dict(authenticate("private_key_jwt", "app", Secret(bundle), ENDPOINT, NOW, os.urandom).params)
    header = jwt.decode(params["client_assertion"], RSAKey.import_key(RSA), algorithms=["RS256"]).header
    digest = base64.urlsafe_b64encode(certificate.fingerprint(hashes.SHA256())).rstrip(b"=").decode()
    assert header["x5t#S256"] == digest and len(header["x5t"]) == 27


@pytest.mark.parametrize(
    ("method", "secret", "code"),
    [
        ("client_secret_basic", None, "secret-not-delivered"),
        ("client_secret_post", b"", "secret-not-delivered"),
        ("client_secret_basic", b"\xff\xfe", "secret-invalid"),
        ("private_key_jwt", b"not a key", "secret-invalid"),
        ("private_key_jwt", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "secret-invalid"),
        ("private_key_jwt", EC + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "secret-invalid"),
        ("private_key_jwt", pem(ec.generate_private_key(ec.SECP256K1())), "secret-invalid"),
    ],
)
def test_a_secret_that_can_not_do_it_is_named_but_not_shown(
    method: ClientAuthMethod, secret: bytes | None, code: str
) -> None:
    with pytest.raises(SignInError) as caught:
        authenticate(method, "app", None if secret is None else Secret(secret), ENDPOINT, NOW, os.urandom)
    assert caught.value.code == code
    assert "AAAA" not in caught.value.reason and "MIG" not in caught.value.reason


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_basic_is_read_back_as_the_standard_says(client_id: str, secret: str) -> None:
    ((_, value),) = authenticate("client_secret_basic", client_id, Secret(secret), ENDPOINT, NOW, os.urandom).headers
    name, colon, password = base64.b64decode(value.removeprefix("Basic ")).decode().partition(":")
    assert colon and (unquote_plus(name), unquote_plus(password)) == (client_id, secret)


@given(st.text(max_size=20), st.text(max_size=20))
def test_an_assertion_says_what_it_was_told(client_id: str, endpoint: str) -> None:
    params = dict(authenticate("private_key_jwt", client_id, Secret(EC), endpoint, NOW, os.urandom).params)
    said = jwt.decode(params["client_assertion"], ECKey.import_key(EC), algorithms=["ES256"]).claims
    assert (said["iss"], said["sub"], said["aud"]) == (client_id, client_id, endpoint)
