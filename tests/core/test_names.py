"""What may be a host."""

import pytest

from ostiary.core.names import is_valid_authority


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
