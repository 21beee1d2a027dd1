"""Cross-origin requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.cors import CorsFilter
from ostiary.core.decision import FOREVER, Allow, Counter, Respond
from ostiary.model.matchers import StringMatcher
from ostiary.model.routes import CorsPolicy
from requests_for_tests import make_request

OK = StringMatcher("exact", "http://ok")
POLICY = CorsPolicy(
    allow_origin_string_match=(OK,),
    allow_methods="GET",
    expose_headers="x-a",
    max_age="5",
    allow_credentials=True,
    allow_private_network_access=True,
)
PREFLIGHT = ("access-control-request-method", "GET")


def decide(policies: tuple[CorsPolicy, ...], *headers: tuple[str, str], method: str = "GET") -> Allow | Respond:
    decision = CorsFilter(policies).decide(make_request("/", *headers, method=method), 0.0)
    assert isinstance(decision, Allow | Respond)
    return decision


def test_an_allowed_origin_gets_its_headers_instead_of_the_applications() -> None:
    allow = decide((POLICY,), ("origin", "http://ok"))
    assert isinstance(allow, Allow)
    assert dict(allow.response_set) == {
        "access-control-allow-origin": "http://ok",
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": "x-a",
    }
    assert set(dict(allow.response_set)) <= allow.response_remove
    assert allow.valid_until == 0.0


@pytest.mark.parametrize("origin", ["http://bad", "null", "http://ok.evil", "HTTP://OK"])
def test_other_origins_get_nothing(origin: str) -> None:
    allow = decide((POLICY,), ("origin", origin))
    assert isinstance(allow, Allow)
    assert (allow.response_set, allow.valid_until) == ((), 0.0)


@pytest.mark.parametrize("headers", [(), (("origin", ""),)])
def test_without_an_origin_the_answer_holds_forever(headers: tuple[tuple[str, str], ...]) -> None:
    allow = decide((POLICY,), *headers, PREFLIGHT, method="OPTIONS")
    assert isinstance(allow, Allow)
    assert allow.valid_until == FOREVER


def test_a_preflight_is_answered() -> None:
    private = ("access-control-request-private-network", "true")
    respond = decide((POLICY,), ("origin", "http://ok"), PREFLIGHT, private, method="OPTIONS")
    assert isinstance(respond, Respond)
    assert respond.status == 200
    assert dict(respond.headers) == {
        "access-control-allow-origin": "http://ok",
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": "x-a",
        "access-control-allow-methods": "GET",
        "access-control-max-age": "5",
        "access-control-allow-private-network": "true",
    }


def test_options_without_a_requested_method_is_no_preflight() -> None:
    assert isinstance(decide((POLICY,), ("origin", "http://ok"), method="OPTIONS"), Allow)


def test_a_preflight_of_another_origin_goes_on_or_not() -> None:
    bad = ("origin", "http://bad")
    assert isinstance(decide((POLICY,), bad, PREFLIGHT, method="OPTIONS"), Allow)
    stop = CorsPolicy(allow_origin_string_match=(OK,), allow_methods="GET", forward_not_matching_preflights=False)
    respond = decide((stop,), bad, PREFLIGHT, method="OPTIONS")
    assert isinstance(respond, Respond)
    assert "access-control-allow-origin" not in dict(respond.headers)


def test_a_star_allows_and_echoes_every_origin() -> None:
    allow = decide((CorsPolicy(allow_origin_string_match=(StringMatcher("exact", "*"),)),), ("origin", "http://any"))
    assert isinstance(allow, Allow)
    assert allow.response_set == (("access-control-allow-origin", "http://any"),)


def test_what_a_route_leaves_open_its_host_fills_in() -> None:
    host = CorsPolicy(
        allow_origin_string_match=(StringMatcher("exact", "*"),), allow_headers="x-h", allow_credentials=True
    )
    route = CorsPolicy(allow_origin_string_match=(OK,))
    respond = decide((route, host), ("origin", "http://ok"), PREFLIGHT, method="OPTIONS")
    assert isinstance(respond, Respond)
    assert dict(respond.headers) == {"access-control-allow-origin": "http://ok", "access-control-allow-headers": "x-h"}


def test_without_a_policy_it_does_nothing() -> None:
    allow = decide((), ("origin", "http://ok"))
    assert isinstance(allow, Allow)
    assert (allow.response_set, allow.valid_until) == ((), FOREVER)


def test_counters() -> None:
    valid, invalid = Counter("valid"), Counter("invalid")
    cors = CorsFilter((POLICY,), origin_valid=valid, origin_invalid=invalid)
    for origin in ("http://ok", "http://bad", "http://bad"):
        cors.decide(make_request("/", ("origin", origin)), 0.0)
    assert (valid.value, invalid.value) == (1, 2)
    assert cors.is_ordinary("/")
    assert not cors.request_headers_to_strip()


@given(
    st.text(st.characters(max_codepoint=255), max_size=12) | st.sampled_from(["http://ok", "http://ok.evil", "null"])
)
def test_only_a_listed_origin_is_named(origin: str) -> None:
    for method, headers in (("GET", ()), ("OPTIONS", (PREFLIGHT,))):
        answer = decide((POLICY,), ("origin", origin), *headers, method=method)
        fields = dict(answer.response_set if isinstance(answer, Allow) else answer.headers)
        assert fields.get("access-control-allow-origin") == ("http://ok" if origin == "http://ok" else None)
