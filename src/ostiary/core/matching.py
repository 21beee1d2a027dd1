"""Matchers compiled to callables: Envoy's StringMatcher, HeaderMatcher and QueryParameterMatcher.

Values off the wire are latin-1 `str`; a configured value is brought into the same form once (`regex.wire_text`), so
that a match compares the bytes that Envoy compares. Case is ignored for ASCII letters only.

A repeated header matches if one of its values does (Envoy since `match_headers_individually`); `invert_match` turns
the result of the whole. A header that is missing matches nothing, inverted or not, unless the matcher is about
presence or `treat_missing_header_as_empty` is on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ostiary.core.decision import Request
from ostiary.core.regex import Regex, octets, wire_text
from ostiary.model.matchers import HeaderMatcher, QueryParameterMatcher, StringMatcher

StringPredicate = Callable[[str], bool]
RequestPredicate = Callable[[Request], bool]

_INT64_DIGITS = 19


def string_matcher(matcher: StringMatcher) -> StringPredicate:
    """A predicate over one string. Raises ValueError for an unknown kind or a pattern RE2 refuses."""
    if matcher.kind == "safe_regex":
        if matcher.ignore_case:
            raise ValueError("ignore_case has no effect for safe_regex; write (?i) into the pattern")
        return Regex(matcher.value).fullmatch
    if matcher.ignore_case:
        return _string_matcher_without_case(matcher)
    expected = wire_text(matcher.value)
    match matcher.kind:
        case "exact":
            return expected.__eq__
        case "prefix":
            return lambda value: value.startswith(expected)
        case "suffix":
            return lambda value: value.endswith(expected)
        case "contains":
            return lambda value: expected in value
    raise ValueError(f"unknown string matcher {matcher.kind!r}")


def _string_matcher_without_case(matcher: StringMatcher) -> StringPredicate:
    expected = matcher.value.encode("utf-8").lower()
    match matcher.kind:
        case "exact":
            return lambda value: octets(value).lower() == expected
        case "prefix":
            return lambda value: octets(value).lower().startswith(expected)
        case "suffix":
            return lambda value: octets(value).lower().endswith(expected)
        case "contains":
            return lambda value: expected in octets(value).lower()
    raise ValueError(f"unknown string matcher {matcher.kind!r}")


def header_matcher(matcher: HeaderMatcher) -> RequestPredicate:
    """A predicate over a request's head. Raises ValueError for a matcher that can't be compiled."""
    given = (matcher.string_match, matcher.present_match, matcher.range_match)
    if sum(specifier is not None for specifier in given) > 1:
        raise ValueError(
            f"header matcher {matcher.name!r}: string_match, present_match and range_match exclude each other"
        )
    values = header_values(matcher.name)
    invert = matcher.invert_match
    if matcher.string_match is None and matcher.range_match is None:
        expected = (matcher.present_match is not False) != invert
        if matcher.treat_missing_header_as_empty:
            return lambda _request: expected
        return lambda request: bool(values(request)) == expected
    holds = _value_predicate(matcher)
    when_missing = (holds("") != invert) if matcher.treat_missing_header_as_empty else False

    def matches(request: Request) -> bool:
        found = values(request)
        if not found:
            return when_missing
        for value in found:
            if holds(value):
                return not invert
        return invert

    return matches


def any_of(matchers: Iterable[HeaderMatcher]) -> RequestPredicate:
    """True if one of them matches; no matchers: never."""
    predicates = tuple(header_matcher(matcher) for matcher in matchers)
    if not predicates:
        return lambda _request: False
    if len(predicates) == 1:
        return predicates[0]
    return lambda request: any(predicate(request) for predicate in predicates)


def all_of(matchers: Iterable[HeaderMatcher]) -> RequestPredicate:
    """True if every one of them matches; no matchers: always."""
    predicates = tuple(header_matcher(matcher) for matcher in matchers)
    if len(predicates) == 1:
        return predicates[0]
    return lambda request: all(predicate(request) for predicate in predicates)


def query_parameter_matcher(matcher: QueryParameterMatcher) -> Callable[[dict[str, str]], bool]:
    """A predicate over `first_parameters(query)`. Raises ValueError for a pattern RE2 refuses."""
    name = wire_text(matcher.name)
    if matcher.string_match is not None:
        holds = string_matcher(matcher.string_match)

        def matches(parameters: dict[str, str]) -> bool:
            value = parameters.get(name)
            return value is not None and holds(value)

        return matches
    expected = matcher.present_match is not False
    return lambda parameters: (name in parameters) == expected


def first_parameters(query: str) -> dict[str, str]:
    """Parameter -> its first value, undecoded, as Envoy's routes read a query."""
    parameters: dict[str, str] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if part:
            parameters.setdefault(name, value)
    return parameters


def header_values(name: str) -> Callable[[Request], list[str]]:
    """Every value of a header or pseudo-header; a pseudo-header has one. Raises ValueError for an unknown one."""
    name = name.lower()
    match name:
        case ":path":
            return lambda request: [request.target]
        case ":method":
            return lambda request: [request.method]
        case ":authority" | "host":
            return lambda request: [request.authority]
        case ":scheme":
            return lambda request: [request.scheme]
    if name.startswith(":"):
        raise ValueError(
            f"header matcher: unknown pseudo-header {name!r}; there are :path, :method, :authority, :scheme"
        )
    return lambda request: request.headers.get_all(name)


def _value_predicate(matcher: HeaderMatcher) -> StringPredicate:
    if matcher.string_match is not None:
        return string_matcher(matcher.string_match)
    assert matcher.range_match is not None
    start, end = matcher.range_match

    def in_range(value: str) -> bool:
        number = _decimal(value)
        return number is not None and start <= number < end

    return in_range


def _decimal(text: str) -> int | None:
    digits = text.strip(" \t")
    sign = digits[:1]
    if sign in ("-", "+"):
        digits = digits[1:]
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _INT64_DIGITS):
        return None
    return -int(digits) if sign == "-" else int(digits)
