"""RE2 patterns and substitutions of users."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.regex import Regex, Substitution, octets, wire_text
from ostiary.model import limits


def test_the_whole_text_must_match() -> None:
    assert Regex("/api/[0-9]+").fullmatch("/api/12")
    assert not Regex("/api/[0-9]+").fullmatch("/api/12/x")
    assert not Regex("b").fullmatch("abc")


def test_utf8_off_the_wire_is_text_to_the_pattern() -> None:
    wire = "é".encode().decode("latin-1")
    assert Regex("é").fullmatch(wire)
    assert Regex(".").fullmatch(wire)
    assert not Regex(".").fullmatch("\xff"), "a byte that is not UTF-8 is no character"


@pytest.mark.parametrize("pattern", ["a(", "[", "(?P<n>a", r"(a)\1", "a{2000}"])
def test_a_bad_pattern_is_refused_by_name(pattern: str) -> None:
    with pytest.raises(ValueError, match="regular expression") as caught:
        Regex(pattern)
    assert repr(pattern) in str(caught.value)


def test_a_pattern_has_a_bound() -> None:
    with pytest.raises(ValueError, match="limit"):
        Regex("a" * (limits.MAX_REGEX_LENGTH + 1))


@pytest.mark.parametrize(
    ("pattern", "replacement", "text", "expected"),
    [
        ("^/service/([^/]+)(/.*)$", r"\2/instance/\1", "/service/foo/v1/api", "/v1/api/instance/foo"),
        ("one", "two", "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/two/zzz"),
        ("x*", "-", "/r/axxb", "-/-r-/-a-b-"),
        ("([a-z])([0-9])", r"\2\1", "/g/a1b2", "/g/1a2b"),
        ("a", r"\\\0", "a", "\\a"),
        ("(a)|(b)", r"[\1\2]", "ab", "[a][b]"),
        ("nothing", "x", "/path", "/path"),
        ("a", "", "banana", "bnn"),
    ],
)
def test_replace_all_is_re2s(pattern: str, replacement: str, text: str, expected: str) -> None:
    assert Substitution(pattern, replacement).replace_all(text) == expected


@pytest.mark.parametrize("replacement", ["\\", "\\x", r"\2"])
def test_a_bad_substitution_is_refused(replacement: str) -> None:
    with pytest.raises(ValueError, match="substitution"):
        Substitution("(a)", replacement)


@given(st.text(alphabet=st.characters(max_codepoint=255)))
def test_wire_text_survives_a_replacement(text: str) -> None:
    assert Substitution("(.)", r"\1").replace_all(text) == text


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_configured_text_becomes_its_utf8_bytes(text: str) -> None:
    assert octets(wire_text(text)) == text.encode()
