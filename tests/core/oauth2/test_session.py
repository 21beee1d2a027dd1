"""Sealed sessions: what comes back, and that nothing else does."""

from __future__ import annotations

import base64
import os
import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.oauth2.session import (
    KeyRing,
    SecretInvalid,
    Session,
    audience_of,
    open_sealed,
    parse_secret,
    seal,
    session_key,
)
from ostiary.model import limits
from ostiary.model.secret import Secret
from ostiary.model.signin import ProviderConfig

OLD, NEW = Secret(b"o" * 32), Secret(b"n" * 32)
RING = KeyRing([NEW])
NAME = "__Host-ostiary"

sessions = st.builds(
    Session,
    id=st.text(max_size=22),
    subject=st.text(max_size=40),
    email=st.text(max_size=40),
    groups=st.lists(st.text(max_size=20), max_size=20).map(tuple),
    claims=st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers(-(2**62), 2**62), max_size=4),
    created=st.floats(0, 4e9),
    last_seen=st.floats(0, 4e9),
    access_token=st.text(max_size=500),
    access_expires=st.none() | st.floats(0, 4e9),
    id_token=st.text(max_size=500),
)
SESSION = Session(id="i", subject="ada", created=1.0, last_seen=2.0, access_token="secret-token" * 50)


@given(sessions)
def test_what_is_sealed_is_what_opens(session: Session) -> None:
    sealed = seal(session, "session", NAME, RING, os.urandom)
    assert open_sealed(sealed, Session, "session", NAME, RING) == session
    assert set(sealed) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@given(st.data())
def test_no_changed_byte_opens(data: st.DataObject) -> None:
    raw = bytearray(base64.urlsafe_b64decode(_padded(seal(SESSION, "session", NAME, RING, os.urandom))))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    forged = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    assert open_sealed(forged, Session, "session", NAME, RING) is None


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_anything_else_is_no_session(text: str) -> None:
    assert open_sealed(text, Session, "session", NAME, RING) is None


@pytest.mark.parametrize(("ours", "other"), [("-", "+"), ("_", "/")])
def test_only_the_url_safe_alphabet_opens(ours: str, other: str) -> None:
    sealed = next(s for s in iter(lambda: seal(SESSION, "session", NAME, RING, os.urandom), "") if ours in s)
    assert open_sealed(sealed.replace(ours, other), Session, "session", NAME, RING) is None


def test_cut_short_it_does_not_open() -> None:
    sealed = seal(SESSION, "session", NAME, RING, os.urandom)
    assert all(open_sealed(sealed[:length], Session, "session", NAME, RING) is None for length in range(len(sealed)))


def test_it_opens_only_for_its_cookie_and_purpose() -> None:
    sealed = seal(SESSION, "session", NAME, RING, os.urandom)
    assert open_sealed(sealed, Session, "session", "ostiary", RING) is None
    assert open_sealed(sealed, Session, "flow", NAME, RING) is None


@pytest.mark.parametrize(
    "other",
    [
        ProviderConfig(issuer="https://b.example", client_id="app"),
        ProviderConfig(issuer="https://a.example", client_id="other"),
        ProviderConfig(kind="oauth2", token_endpoint="https://a.example/token", client_id="app"),
    ],
)
def test_it_opens_only_where_the_same_provider_is_asked_for_the_same_client(other: ProviderConfig) -> None:
    mine = KeyRing([NEW], audience_of(ProviderConfig(issuer="https://a.example", client_id="app")))
    sealed = seal(SESSION, "session", NAME, mine, os.urandom)
    assert open_sealed(sealed, Session, "session", NAME, mine) == SESSION
    assert open_sealed(sealed, Session, "session", NAME, KeyRing([NEW], audience_of(other))) is None


def test_the_first_key_seals_and_all_open() -> None:
    sealed = seal(SESSION, "session", NAME, KeyRing([OLD]), os.urandom)
    assert open_sealed(sealed, Session, "session", NAME, KeyRing([NEW, OLD])) == SESSION
    assert open_sealed(sealed, Session, "session", NAME, KeyRing([NEW])) is None
    renewed = seal(SESSION, "session", NAME, KeyRing([NEW, OLD]), os.urandom)
    assert open_sealed(renewed, Session, "session", NAME, KeyRing([OLD])) is None


def test_it_compresses_when_that_helps() -> None:
    assert len(seal(SESSION, "session", NAME, RING, os.urandom)) < 200


def test_a_bomb_inside_an_authentic_cookie_is_not_unpacked() -> None:
    plain = zlib.compress(b"\0" * (limits.MAX_SESSION_BYTES * 100))
    context = b"\0".join((b"ostiary", b"\x02", b"session", NAME.encode()))
    sealed = b"\x02" + b"n" * 12 + RING.sealing("session").encrypt(b"n" * 12, plain, context)
    text = base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()
    assert open_sealed(text, Session, "session", NAME, RING) is None


def test_an_authentic_cookie_of_another_shape_is_no_session() -> None:
    class Other(msgspec.Struct):
        i: int = 7

    assert open_sealed(seal(Other(), "session", NAME, RING, os.urandom), Session, "session", NAME, RING) is None


def test_nothing_secret_is_shown() -> None:
    assert "token" not in repr(SESSION)
    assert "n" * 8 not in repr(RING)


RAW = bytes(range(7, 39))


@pytest.mark.parametrize(
    "written",
    [
        RAW,
        RAW.hex().encode(),
        RAW.hex().upper().encode() + b"\n",
        base64.b64encode(RAW) + b"\r\n",
        base64.urlsafe_b64encode(RAW).rstrip(b"="),
    ],
)
def test_a_secret_may_be_raw_hex_or_base64(written: bytes) -> None:
    assert parse_secret(Secret(written)) == RAW


@pytest.mark.parametrize("written", [b"", b"short", b"x" * 31, RAW[:31].hex().encode()[:31]])
def test_a_short_secret_is_refused_without_being_shown(written: bytes) -> None:
    with pytest.raises(SecretInvalid) as caught:
        KeyRing([Secret(written)])
    assert not written or written.decode() not in str(caught.value)


def test_no_secret_at_all_is_refused() -> None:
    with pytest.raises(SecretInvalid):
        KeyRing([])


def test_a_refresh_is_known_by_session_and_token() -> None:
    first = msgspec.structs.replace(SESSION, refresh_token="r1")
    assert session_key(first) == session_key(msgspec.structs.replace(first, last_seen=9.0))
    assert session_key(first) != session_key(msgspec.structs.replace(first, refresh_token="r2"))
    assert session_key(first) != session_key(msgspec.structs.replace(first, id="j"))


def _padded(text: str) -> str:
    return text + "=" * (-len(text) % 4)


@given(st.binary(min_size=32, max_size=64))
def test_a_secret_may_be_written_in_hex_or_base64(raw: bytes) -> None:
    url_safe = base64.urlsafe_b64encode(raw)
    for written in (
        raw.hex().encode(),
        raw.hex().upper().encode() + b"\n",
        base64.b64encode(raw),
        url_safe.rstrip(b"="),
    ):
        assert parse_secret(Secret(written)) == raw


@given(st.binary(max_size=60))
def test_a_secret_is_long_enough_or_refused_without_being_shown(raw: bytes) -> None:
    if len(raw) >= 32:
        assert len(parse_secret(Secret(raw))) >= 32
    else:
        with pytest.raises(SecretInvalid, match=f"^a session secret has {len(raw)} bytes, it needs 32 or more"):
            parse_secret(Secret(raw))
