"""Matchers, with the names of Envoy's `type.matcher.v3` and `config.route.v3`; `core/matching.py` compiles them."""

from __future__ import annotations

from typing import Literal

import msgspec

StringMatchKind = Literal["exact", "prefix", "suffix", "contains", "safe_regex"]


class StringMatcher(msgspec.Struct, frozen=True):
    """type.matcher.v3.StringMatcher. `safe_regex` is RE2 and matches the whole string."""

    kind: StringMatchKind
    value: str
    ignore_case: bool = False


class HeaderMatcher(msgspec.Struct, frozen=True, kw_only=True):
    """config.route.v3.HeaderMatcher: exactly one of `string_match`, `present_match`, `range_match`.

    All three None means "present", as in Envoy. `name` may be a pseudo-header (`:path`, `:method`, `:authority`,
    `:scheme`); `:path` is the raw target with its query.
    """

    name: str
    string_match: StringMatcher | None = None
    present_match: bool | None = None
    range_match: tuple[int, int] | None = None
    """Half-open [start, end), decimal integers."""
    invert_match: bool = False
    treat_missing_header_as_empty: bool = False


class QueryParameterMatcher(msgspec.Struct, frozen=True, kw_only=True):
    """config.route.v3.QueryParameterMatcher; neither match means "present"."""

    name: str
    string_match: StringMatcher | None = None
    present_match: bool | None = None
