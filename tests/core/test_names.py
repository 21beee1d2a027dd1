"""What may be a host."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.http1 import TOKEN
from ostiary.core.names import is_token, is_valid_authority


@pytest.mark.parametrize(
    "authority", ["a", "a.b:80", "[::1]", "[::1]:8080", "a_b", "xn--a", "a%41", "127.0.0.1:65535", "a:"]
)
def test_authorities(authority: str) -> None:
    assert is_valid_authority(authority)


@pytest.mark.parametrize(
    "authority",
    ["", ":80", "a:65536", "a:b", "a:8:0", "[::1", "::1", "[]:80", "[::1]x", "a[b", "a\\b", "a?b", "a#b", "é", "a:٥"],
)
def test_refused_authorities(authority: str) -> None:
    assert not is_valid_authority(authority)


@given(st.text(alphabet="a1.-_%[]:@/\\?#é ", max_size=12))
def test_a_valid_authority_is_one_for_every_url_parser(authority: str) -> None:
    if is_valid_authority(authority):
        parts = urlsplit(f"http://{authority}/path")
        assert parts.netloc == authority and parts.path == "/path" and parts.username is None
        assert parts.hostname
        assert parts.port is None or 0 <= parts.port <= 65535


@given(st.text(max_size=8))
def test_a_token_is_one_for_the_reader_of_heads(text: str) -> None:
    as_a_name = bool(text) and text.isascii() and not text.encode().translate(None, TOKEN)
    assert is_token(text) == as_a_name
