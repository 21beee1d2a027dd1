"""String, header and query parameter matchers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.matching import (
    all_of,
    any_of,
    first_parameters,
    header_matcher,
    query_parameter_matcher,
    string_matcher,
)
from ostiary.model.matchers import HeaderMatcher, QueryParameterMatcher, StringMatcher, StringMatchKind
from requests_for_tests import make_request

A = StringMatcher("exact", "a")


@pytest.mark.parametrize(
    ("kind", "value", "yes", "no"),
    [
        ("exact", "abc", "abc", "abcd"),
        ("prefix", "ab", "abc", "cab"),
        ("suffix", "bc", "abc", "bca"),
        ("contains", "b", "abc", "ac"),
        ("safe_regex", "a.c", "abc", "abcd"),
    ],
)
def test_every_kind(kind: StringMatchKind, value: str, yes: str, no: str) -> None:
    matches = string_matcher(StringMatcher(kind, value))
    assert matches(yes)
    assert not matches(no)
    assert not matches(yes.upper()), "case matters unless it is said not to"
    if kind != "safe_regex":
        assert string_matcher(StringMatcher(kind, value.upper(), ignore_case=True))(yes)


def test_case_is_ignored_for_ascii_only() -> None:
    matches = string_matcher(StringMatcher("exact", "É", ignore_case=True))
    assert matches("É".encode().decode("latin-1"))
    assert not matches("é".encode().decode("latin-1"))


def test_ignore_case_says_nothing_about_a_regex() -> None:
    with pytest.raises(ValueError, match="ignore_case"):
        string_matcher(StringMatcher("safe_regex", "a", ignore_case=True))


@given(st.text(max_size=20))
def test_no_text_makes_a_matcher_raise(value: str) -> None:
    kinds: tuple[StringMatchKind, ...] = ("exact", "prefix", "suffix", "contains")
    for kind in kinds:
        assert string_matcher(StringMatcher(kind, "é", ignore_case=True))(value) in (True, False)
    assert string_matcher(StringMatcher("safe_regex", "é.*"))(value) in (True, False)


def holds(matcher: HeaderMatcher, *values: str) -> bool:
    return header_matcher(matcher)(make_request("/", *(("x", value) for value in values)))


def test_each_value_of_a_repeated_header_is_judged_on_its_own() -> None:
    exact = HeaderMatcher(name="X", string_match=A)
    assert holds(exact, "a", "b")
    assert holds(exact, "b", "a")
    assert not holds(exact, "b")
    assert not holds(HeaderMatcher(name="x", string_match=StringMatcher("exact", "a,b")), "a", "b")
    assert holds(HeaderMatcher(name="x", string_match=StringMatcher("exact", "a,b")), "a,b")


def test_inversion_is_of_the_whole_and_says_nothing_about_a_missing_header() -> None:
    inverted = HeaderMatcher(name="x", string_match=A, invert_match=True)
    assert holds(inverted, "b")
    assert not holds(inverted, "a")
    assert not holds(inverted, "b", "a")
    assert not holds(inverted)
    as_empty = HeaderMatcher(name="x", string_match=A, invert_match=True, treat_missing_header_as_empty=True)
    assert holds(as_empty)


@pytest.mark.parametrize(
    ("present", "invert", "with_header", "without"),
    [
        (True, False, True, False),
        (True, True, False, True),
        (False, False, False, True),
        (False, True, True, False),
        (None, False, True, False),
    ],
)
def test_presence(present: bool | None, invert: bool, with_header: bool, without: bool) -> None:
    matcher = HeaderMatcher(name="x", present_match=present, invert_match=invert)
    assert holds(matcher, "") is with_header
    assert holds(matcher) is without


@pytest.mark.parametrize("value", ["1", "+5", " 9", "9\t"])
def test_in_range(value: str) -> None:
    assert holds(HeaderMatcher(name="x", range_match=(1, 10)), value)


@pytest.mark.parametrize("value", ["0", "10", "-5", "", "five", "5.0", "0x5", "5_0", "٥", "5" * 30, "--5", "+"])
def test_out_of_range(value: str) -> None:
    assert not holds(HeaderMatcher(name="x", range_match=(1, 10)), value)


@pytest.mark.parametrize(
    ("name", "value"),
    [(":path", "/p?q"), (":method", "GET"), (":authority", "app.test"), ("host", "app.test"), (":scheme", "http")],
)
def test_pseudo_headers(name: str, value: str) -> None:
    assert header_matcher(HeaderMatcher(name=name, string_match=StringMatcher("exact", value)))(make_request("/p?q"))


def test_what_can_not_be_compiled() -> None:
    with pytest.raises(ValueError, match=":status"):
        header_matcher(HeaderMatcher(name=":status", present_match=True))
    with pytest.raises(ValueError, match="exclude"):
        header_matcher(HeaderMatcher(name="x", present_match=True, string_match=A))


def test_any_and_all() -> None:
    a, b = HeaderMatcher(name="a"), HeaderMatcher(name="b")
    only_a, both = make_request("/", ("a", "")), make_request("/", ("a", ""), ("b", ""))
    assert any_of([a, b])(only_a)
    assert not all_of([a, b])(only_a)
    assert all_of([a, b])(both)
    assert not any_of([])(both)
    assert all_of([])(both)


@pytest.mark.parametrize(
    ("matcher", "query", "expected"),
    [
        (QueryParameterMatcher(name="a", string_match=StringMatcher("exact", "x%20y")), "a=x%20y", True),
        (QueryParameterMatcher(name="a", string_match=StringMatcher("exact", "x y")), "a=x%20y", False),
        (QueryParameterMatcher(name="a", string_match=A), "a=b&a=a", False),
        (QueryParameterMatcher(name="a", string_match=A), "", False),
        (QueryParameterMatcher(name="a"), "a", True),
        (QueryParameterMatcher(name="a", present_match=True), "b=a", False),
        (QueryParameterMatcher(name="a", present_match=False), "b=a", True),
    ],
)
def test_query_parameters(matcher: QueryParameterMatcher, query: str, expected: bool) -> None:
    assert query_parameter_matcher(matcher)(first_parameters(query)) is expected
