"""Virtual hosts, routes, and what belongs to them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.routing import Router, without_port
from ostiary.model.matchers import HeaderMatcher, QueryParameterMatcher, StringMatcher
from ostiary.model.routes import (
    FilterDisabled,
    Route,
    RouteAction,
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
    WeightedCluster,
)
from requests_for_tests import entropy, make_request


def route(name: str, match: RouteMatch) -> Route:
    return Route(name=name, match=match, action=RouteAction(cluster=name))


def router(*routes: Route) -> Router:
    return Router(RouteConfiguration(virtual_hosts=(VirtualHost(name="v", domains=("*",), routes=routes),)))


def name_of(made: Router, target: str = "/", *headers: tuple[str, str], authority: str = "app.test") -> str | None:
    matched = made.match(make_request(target, *headers, authority=authority))
    return matched.name if matched else None


def hosts(*domains: str, **options: bool) -> Router:
    return Router(
        RouteConfiguration(
            virtual_hosts=tuple(
                VirtualHost(name=domain, domains=(domain,), routes=(route(domain, RouteMatch(prefix="/")),))
                for domain in domains
            ),
            **options,
        )
    )


@pytest.mark.parametrize(
    ("authority", "expected"),
    [
        ("www.foo.com", "www.foo.com"),
        ("WWW.Foo.COM", "www.foo.com"),
        ("a.foo.com", "*.foo.com"),
        ("a.bar.foo.com", "*.bar.foo.com"),
        ("a-bar.foo.com", "*-bar.foo.com"),
        ("foo.com", "foo.*"),
        ("bar.com", "*"),
        (".foo.com", "*"),
        ("foo.net", "foo.*"),
        ("foo.net.x", "foo.*"),
        ("www.foo.com:80", "*"),
        ("www.foo.com:8080", "www.foo.com:8080"),
        ("", "*"),
    ],
)
def test_virtual_hosts(authority: str, expected: str) -> None:
    made = hosts("*", "foo.*", "*.foo.com", "*.bar.foo.com", "*-bar.foo.com", "www.foo.com", "www.foo.com:8080")
    assert name_of(made, authority=authority) == expected


def test_no_virtual_host() -> None:
    assert name_of(hosts("a"), authority="b") is None


def test_ports_can_be_ignored() -> None:
    assert name_of(hosts("a", "[::1]", ignore_port_in_host_matching=True), authority="a:81") == "a"
    assert name_of(hosts("a", "[::1]", ignore_port_in_host_matching=True), authority="[::1]:81") == "[::1]"


@pytest.mark.parametrize(
    ("authority", "expected"),
    [("a", "a"), ("a:1", "a"), ("[::1]", "[::1]"), ("[::1]:1", "[::1]"), ("a:b", "a:b"), ("", "")],
)
def test_without_port(authority: str, expected: str) -> None:
    assert without_port(authority) == expected


@pytest.mark.parametrize("domains", [("a", "A"), ("*", "*"), ("*.a", "*.a"), ("a*b",), ("**",), ("*a*",)])
def test_refused_domains(domains: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"domain|wildcard"):
        hosts(*domains)


@pytest.mark.parametrize(
    ("match", "yes", "no"),
    [
        (RouteMatch(prefix="/a"), ["/a", "/a/b", "/ab", "/a?x"], ["/", "/A"]),
        (RouteMatch(prefix="/A", case_sensitive=False), ["/a", "/AB"], ["/b"]),
        (RouteMatch(path="/a"), ["/a", "/a?x"], ["/a/", "/ab", "/A"]),
        (RouteMatch(path="/A", case_sensitive=False), ["/a"], ["/ab"]),
        (RouteMatch(path_separated_prefix="/a"), ["/a", "/a/", "/a/b", "/a?x"], ["/ab", "/A"]),
        (RouteMatch(path_separated_prefix="/A", case_sensitive=False), ["/a/b"], ["/ab"]),
        (RouteMatch(safe_regex="/a[0-9]+"), ["/a1", "/a12?x"], ["/a", "/a1/b"]),
        (RouteMatch(prefix=""), ["/", "/x"], []),
    ],
)
def test_paths(match: RouteMatch, yes: list[str], no: list[str]) -> None:
    made = router(route("r", match))
    assert [target for target in yes + no if name_of(made, target)] == yes


def test_the_first_route_that_matches_wins() -> None:
    a = HeaderMatcher(name="a", string_match=StringMatcher("exact", "1"))
    q = QueryParameterMatcher(name="q")
    made = router(
        route("header", RouteMatch(prefix="/", headers=(a,))),
        route("query", RouteMatch(prefix="/", query_parameters=(q,))),
        route("both", RouteMatch(prefix="/x", headers=(HeaderMatcher(name="b"),), query_parameters=(q,))),
        route("rest", RouteMatch(prefix="/")),
    )
    assert name_of(made, "/", ("a", "1")) == "header"
    assert name_of(made, "/?q", ("a", "2")) == "query"
    assert name_of(made, "/x?p=q", ("b", "")) == "rest"
    assert not made.is_header_independent
    assert router(route("r", RouteMatch(prefix="/a"))).is_header_independent


def test_matches_are_the_same_object_at_their_index() -> None:
    made = router(route("a", RouteMatch(prefix="/a")), route("b", RouteMatch(prefix="/")))
    first, second = made.match(make_request("/a")), made.match(make_request("/a/b"))
    assert first is second
    assert first is made.routes[first.index]
    assert made.match(make_request("/b")) is made.routes[1]


def test_filter_configs_by_level() -> None:
    off, on = FilterDisabled(), object()
    configured = Route(
        match=RouteMatch(prefix="/a"), action=RouteAction(cluster="c"), typed_per_filter_config={"f": on}
    )
    plain = Route(match=RouteMatch(prefix="/"), action=RouteAction(cluster="c"))
    host = VirtualHost(name="v", domains=("*",), routes=(configured, plain), typed_per_filter_config={"f": off})
    first, second = Router(RouteConfiguration(virtual_hosts=(host,), typed_per_filter_config={"g": off})).routes
    assert first.filter_config("f") is on
    assert first.filter_configs("f") == (on, off)
    assert not first.is_disabled("f")
    assert second.is_disabled("f")
    assert second.is_disabled("g")
    assert second.filter_config("h") is None


def test_clusters() -> None:
    weighted = RouteAction(weighted_clusters=(WeightedCluster(name="a", weight=1), WeightedCluster(name="b", weight=3)))
    made = router(
        Route(match=RouteMatch(path="/w"), action=weighted),
        Route(match=RouteMatch(path="/h"), action=RouteAction(cluster_header="X-Cluster")),
        route("fixed", RouteMatch(prefix="/")),
    )
    by_weight, by_header, fixed = made.routes
    points = [by_weight.pick_cluster(make_request(), lambda size, n=n: n.to_bytes(size, "big")) for n in range(8)]
    assert points == ["a", "b", "b", "b"] * 2
    assert by_header.pick_cluster(make_request("/", ("x-cluster", "c")), entropy) == "c"
    assert by_header.pick_cluster(make_request("/"), entropy) is None
    assert fixed.cluster == fixed.pick_cluster(make_request(), entropy) == "fixed"


@pytest.mark.parametrize(
    ("match", "action"),
    [
        (RouteMatch(), RouteAction(cluster="c")),
        (RouteMatch(prefix="/", path="/"), RouteAction(cluster="c")),
        (RouteMatch(safe_regex="("), RouteAction(cluster="c")),
        (RouteMatch(path_separated_prefix="/a/"), RouteAction(cluster="c")),
        (RouteMatch(prefix="/"), RouteAction()),
        (RouteMatch(prefix="/"), RouteAction(cluster="c", cluster_header="h")),
        (RouteMatch(prefix="/"), RouteAction(weighted_clusters=(WeightedCluster(name="a", weight=0),))),
        (RouteMatch(prefix="/"), RouteAction(weighted_clusters=(WeightedCluster(name="a", weight=-1),))),
    ],
)
def test_a_bad_route_is_refused_by_name(match: RouteMatch, action: RouteAction) -> None:
    with pytest.raises(ValueError, match="virtual host 'v', route r"):
        router(Route(name="r", match=match, action=action))


@pytest.mark.parametrize(
    ("require", "headers", "redirected"),
    [
        ("ALL", (), True),
        ("ALL", (("x-forwarded-proto", "https"),), False),
        ("ALL", (("x-envoy-internal", "true"),), True),
        ("EXTERNAL_ONLY", (), True),
        ("EXTERNAL_ONLY", (("x-envoy-internal", "true"),), False),
        ("NONE", (), False),
    ],
)
def test_required_tls(require: str, headers: tuple[tuple[str, str], ...], redirected: bool) -> None:
    host = VirtualHost(name="v", domains=("*",), routes=(route("r", RouteMatch(prefix="/")),), require_tls=require)  # type: ignore[arg-type]
    request = make_request("/a?b", *headers, authority="h:80")
    matched = Router(RouteConfiguration(virtual_hosts=(host,))).match(request)
    assert matched is not None
    if redirected:
        assert matched.redirector is not None
        assert matched.redirector.location(request) == "https://h:80/a?b"
    else:
        assert matched.name == "r"


LABELS = st.lists(st.sampled_from(["foo", "bar", "a", "com", "FOO"]), max_size=4).map(".".join)


@given(LABELS, st.sampled_from(["", ":80", ":8080"]))
def test_the_most_specific_domain_counts(name: str, port: str) -> None:
    domains = ("foo.com", "*.foo.com", "*.com", "foo.*", "*")
    authority = name + port
    lower = authority.lower()
    wanted = next(
        domain
        for domain in domains
        if domain in (lower, "*")
        or (domain[0] == "*" and lower.endswith(domain[1:]) and len(lower) > len(domain) - 1)
        or (domain[-1] == "*" and lower.startswith(domain[:-1]) and len(lower) > len(domain) - 1)
    )
    assert name_of(hosts(*domains), authority=authority) == wanted


@given(st.text(st.characters(max_codepoint=255), max_size=12))
def test_what_has_no_port_stays_as_it_is(host: str) -> None:
    assert without_port(f"[{host}]") == f"[{host}]"
    if ":" not in host:
        assert without_port(host) == host == without_port(f"{host}:80")
