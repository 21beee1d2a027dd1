"""Health checks that are answered here."""

from __future__ import annotations

from ostiary.core.decision import FOREVER, Allow, Respond
from ostiary.core.health_check import HealthCheckFilter
from ostiary.model.config import HealthCheck
from ostiary.model.matchers import HeaderMatcher, StringMatcher
from requests_for_tests import make_request

PATH = HeaderMatcher(name=":path", string_match=StringMatcher("exact", "/healthz"))
AGENT = HeaderMatcher(name="user-agent", string_match=StringMatcher("prefix", "probe"))


def test_a_check_is_answered_and_anything_else_goes_on() -> None:
    check = HealthCheckFilter(HealthCheck(headers=(PATH,), cluster="here"))
    answer = check.decide(make_request("/healthz"), 0.0)
    assert isinstance(answer, Respond)
    assert (answer.status, answer.headers) == (200, (("x-envoy-upstream-healthchecked-cluster", "here"),))
    for target in ("/healthz?x", "/healthz/", "/"):
        assert isinstance(check.decide(make_request(target), 0.0), Allow)


def test_an_answer_is_reused_only_where_the_path_decides() -> None:
    by_path = HealthCheckFilter(HealthCheck(headers=(PATH, AGENT)))
    assert not by_path.is_ordinary("/healthz")
    assert by_path.is_ordinary("/")
    allow = by_path.decide(make_request("/"), 0.0)
    assert isinstance(allow, Allow)
    assert allow.valid_until == FOREVER
    by_agent = HealthCheckFilter(HealthCheck(headers=(AGENT,)))
    assert not by_agent.is_ordinary("/")
    allow = by_agent.decide(make_request("/", ("user-agent", "curl")), 0.0)
    assert isinstance(allow, Allow)
    assert allow.valid_until == 0.0


def test_all_conditions_must_hold() -> None:
    check = HealthCheckFilter(HealthCheck(headers=(PATH, AGENT)))
    assert isinstance(check.decide(make_request("/healthz"), 0.0), Allow)
    assert isinstance(check.decide(make_request("/healthz", ("user-agent", "probe/1")), 0.0), Respond)
    assert not check.request_headers_to_strip()
