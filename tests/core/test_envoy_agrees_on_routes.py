"""Paths, matchers, virtual hosts, redirects, rewrites and mutations: what a real Envoy makes of them, and we."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from envoy_json import CATCH_ALL, configuration_json, one_host
from envoy_oracle import Oracle, running_envoy
from ostiary.core.paths import EscapedSlashes, PathRejected, normalise
from ostiary.core.record import Record
from ostiary.core.routing import Router
from ostiary.model.headers import Headers
from ostiary.model.matchers import HeaderMatcher, QueryParameterMatcher, StringMatcher
from ostiary.model.routes import (
    HeaderMutations,
    HeaderValueOption,
    RedirectAction,
    RegexRewrite,
    Route,
    RouteAction,
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
)
from requests_for_tests import make_request

pytestmark = pytest.mark.peer

PATH_OPTIONS: dict[str, tuple[bool, EscapedSlashes]] = {
    "plain": (False, "KEEP_UNCHANGED"),
    "normal": (True, "KEEP_UNCHANGED"),
    "forward": (True, "UNESCAPE_AND_FORWARD"),
    "redirect": (True, "UNESCAPE_AND_REDIRECT"),
    "reject": (True, "REJECT_REQUEST"),
}
PATHS = [
    *(
        "/%",
        "/%4",
        "/%zz",
        "/%%32e%%32e/a",
        "/a/%2e%2E/b",
        "/a/.",
        "/a/..",
        "/..",
        "/a/b/../..",
        "/a//../b",
        "//a",
        "/a///",
    ),
    *(
        "/a\\b",
        "/a/%5c../b",
        "/a/..;/b",
        "/a/..;x/..;y/b",
        "/a%2f..%2fb",
        "/a/%2%66",
        "/a/.%2e/b",
        "/a/...",
        "//",
        "///",
    ),
    *(
        "/a/%00",
        "/a/%2f/../c",
        "/a/%5C..%5Cb",
        "/./",
        "/.a",
        "/a./b",
        "/%C3%A9",
        "/a/.;/b",
        "/a/b;x/..",
        "/a/..%3b/b",
        "/..;/",
    ),
    *(f"/x{chr(code)}y" for code in range(0x21, 0x7F) if chr(code) not in "?#"),
    *(f"/x%{code:02X}y" for code in range(0x01, 0x100, 3)),
]

HEADERS = [
    HeaderMatcher(
        name="x", string_match=StringMatcher("exact", "a"), invert_match=invert, treat_missing_header_as_empty=empty
    )
    for invert in (False, True)
    for empty in (False, True)
] + [
    HeaderMatcher(name="x", present_match=present, invert_match=invert, treat_missing_header_as_empty=empty)
    for present in (False, True)
    for invert in (False, True)
    for empty in (False, True)
]
HEADERS += [
    HeaderMatcher(name="x", range_match=(1, 10)),
    HeaderMatcher(name="x", range_match=(1, 10), invert_match=True),
    HeaderMatcher(name="x", string_match=StringMatcher("safe_regex", "a|b")),
    HeaderMatcher(name="x", string_match=StringMatcher("exact", "a,b")),
    HeaderMatcher(name="x", string_match=StringMatcher("contains", "A", ignore_case=True)),
    HeaderMatcher(name="host", string_match=StringMatcher("exact", "app.test")),
    HeaderMatcher(name=":path", string_match=StringMatcher("suffix", "?q")),
]
VALUES: list[tuple[str, ...]] = [
    (),
    ("a",),
    ("A",),
    ("b",),
    ("a", "b"),
    ("b", "a"),
    ("a,b",),
    ("",),
    ("5",),
    ("+5",),
    ("-5",),
    ("10",),
    ("5", "50"),
]

MATCHES = [
    RouteMatch(
        path="/query", query_parameters=(QueryParameterMatcher(name="a", string_match=StringMatcher("exact", "x%20y")),)
    ),
    RouteMatch(path="/query", query_parameters=(QueryParameterMatcher(name="b"),)),
    RouteMatch(path="/query", query_parameters=(QueryParameterMatcher(name="c", present_match=False),)),
    RouteMatch(path_separated_prefix="/seg"),
    RouteMatch(safe_regex="/re/[0-9]+"),
    RouteMatch(prefix="/UPPER", case_sensitive=False),
    RouteMatch(prefix="/pre"),
]
TARGETS = [
    *(
        "/query?a=x%20y&c",
        "/query?a=x+y&c",
        "/query?b&c",
        "/query?b=1&a=2&c",
        "/query",
        "/query?c=1",
        "/query?x=1&a=x%20y&c",
    ),
    *(
        "/seg",
        "/seg/",
        "/seg/a",
        "/segment",
        "/seg?x",
        "/re/12",
        "/re/12/",
        "/re/12?x",
        "/upper/a",
        "/UPPER",
        "/pre",
        "/prefix?x",
        "/none",
    ),
]

REDIRECTS = [
    Route(match=RouteMatch(prefix=f"/{index}"), action=action)
    for index, action in enumerate(
        (
            RedirectAction(https_redirect=True),
            RedirectAction(host_redirect="other"),
            RedirectAction(port_redirect=8443),
            RedirectAction(scheme_redirect="ftp"),
            RedirectAction(path_redirect="/np"),
            RedirectAction(path_redirect="/np?z=1", strip_query=True),
            RedirectAction(strip_query=True),
            RedirectAction(prefix_rewrite="/X", response_code=302),
            RedirectAction(
                https_redirect=True,
                port_redirect=444,
                host_redirect="z",
                prefix_rewrite="/y",
                strip_query=True,
                response_code=308,
            ),
            RedirectAction(
                regex_rewrite=RegexRewrite(pattern="^/[0-9]/([a-z]*)", substitution="/\\1/r"), response_code=307
            ),
        )
    )
]
ROOTLESS = [
    Route(
        match=RouteMatch(prefix="/old"),
        action=RedirectAction(regex_rewrite=RegexRewrite(pattern="^/old", substitution="")),
    ),
    Route(match=RouteMatch(prefix="/np"), action=RedirectAction(path_redirect="np")),
]
AUTHORITIES = ["h", "h:80", "h:443", "h:8080", "[::1]:80", "[::1]"]

REWRITES = [
    Route(match=RouteMatch(prefix="/a/"), action=RouteAction(cluster="app", prefix_rewrite="/")),
    Route(match=RouteMatch(path_separated_prefix="/s"), action=RouteAction(cluster="app", prefix_rewrite="/t")),
    Route(
        match=RouteMatch(prefix="/star"),
        action=RouteAction(cluster="app", regex_rewrite=RegexRewrite(pattern="x+", substitution="/-")),
    ),
    Route(
        match=RouteMatch(prefix="/g"),
        action=RouteAction(
            cluster="app", regex_rewrite=RegexRewrite(pattern="([a-z])([0-9])", substitution="\\2\\1\\\\")
        ),
    ),
    Route(
        match=RouteMatch(prefix="/strip"),
        action=RouteAction(cluster="app", regex_rewrite=RegexRewrite(pattern="^/strip", substitution="")),
    ),
    Route(match=RouteMatch(prefix="/hh"), action=RouteAction(cluster="app", host_rewrite_header="x-h")),
    Route(
        match=RouteMatch(prefix="/hl"),
        action=RouteAction(cluster="app", host_rewrite_literal="lit", append_x_forwarded_host=True),
    ),
    Route(
        match=RouteMatch(path="/CASE", case_sensitive=False), action=RouteAction(cluster="app", prefix_rewrite="/lower")
    ),
    Route(match=RouteMatch(safe_regex="/full.*"), action=RouteAction(cluster="app", prefix_rewrite="/short")),
]
REWRITTEN = [
    *("/a/b?c", "/a/", "/s", "/s/x?y", "/star/axxb?xx", "/g/a1b2?a1", "/hh", "/hl", "/case?x", "/full/x?y"),
    *("/strip", "/strip?a", "/strip/b?c"),
]


def option(key: str, value: str, action: Any = "APPEND_IF_EXISTS_OR_ADD", keep: bool = False) -> HeaderValueOption:
    return HeaderValueOption(key=key, value=value, append_action=action, keep_empty_value=keep)


MUTATED = HeaderMutations(
    request_headers_to_add=(
        option("x-level", "route"),
        option("x-over", "route", "OVERWRITE_IF_EXISTS_OR_ADD"),
        option("x-path", "%REQ(:PATH)%"),
        option("x-empty", "%REQ(x-none)%"),
        option("x-kept", "%REQ(x-none)%", keep=True),
        option("x-absent", "r", "ADD_IF_ABSENT"),
        option("x-exists", "r", "OVERWRITE_IF_EXISTS"),
        option("x-mixed", "a%REQ(x-none)%b%%"),
        option("user-agent", "r"),
        option("x-forwarded-for", "9.9.9.9"),
        option("x-two", "%REQ(x-two)%"),
    ),
    request_headers_to_remove=("x-gone", "x-level-gone"),
    response_headers_to_add=(
        option("x-app", "route"),
        option("x-once", "route", "OVERWRITE_IF_EXISTS_OR_ADD"),
        option("x-req", "%REQ(x-level)%"),
        option("x-code", "%RESPONSE_CODE%"),
        option("x-kind", "x/y", "ADD_IF_ABSENT"),
    ),
)
GLOBAL = HeaderMutations(
    request_headers_to_add=(option("x-level", "global"), option("x-over", "global", "OVERWRITE_IF_EXISTS_OR_ADD")),
    response_headers_to_add=(option("x-app", "global"),),
)


def mutating(most_specific_wins: bool) -> RouteConfiguration:
    action = RouteAction(cluster="app", host_rewrite_literal="new.host", prefix_rewrite="/p/")
    route = Route(match=RouteMatch(prefix="/"), action=action, mutations=MUTATED)
    return RouteConfiguration(
        virtual_hosts=(VirtualHost(name="v", domains=("*",), routes=(route,)),),
        mutations=GLOBAL,
        most_specific_header_mutations_wins=most_specific_wins,
    )


MUTATION_INPUT = (
    *(("x-level", "client"), ("x-over", "client"), ("x-gone", "1"), ("x-absent", "c"), ("user-agent", "c")),
    *(("x-forwarded-for", "1.1.1.1"), ("x-two", "1"), ("x-two", "2")),
)

SUFFIXES = ("*", "foo.*", "*.foo.com", "*.bar.foo.com", "*-bar.foo.com", "www.foo.com", "www.foo.com:8080")
HOSTS = [
    "www.foo.com",
    "WWW.foo.com",
    "a.foo.com",
    "x.bar.foo.com",
    "x-bar.foo.com",
    "foo.com",
    "bar.com",
    "foo.net",
    ".foo.com",
    "www.foo.com:80",
    "www.foo.com:8080",
]


def host_configuration(**options: bool) -> RouteConfiguration:
    redirects = [
        VirtualHost(
            name=domain,
            domains=(domain,),
            routes=(Route(match=RouteMatch(prefix="/"), action=RedirectAction(path_redirect=f"/{index}")),),
        )
        for index, domain in enumerate(SUFFIXES)
        if not (options and domain.endswith(":8080"))
    ]
    return RouteConfiguration(virtual_hosts=tuple(redirects), **options)


def header_configuration() -> RouteConfiguration:
    return one_host(
        *(
            Route(match=RouteMatch(path=f"/{index}", headers=(matcher,)), action=RouteAction(cluster="app"))
            for index, matcher in enumerate(HEADERS)
        )
    )


def match_configuration() -> RouteConfiguration:
    return one_host(
        *(
            Route(match=match, action=RedirectAction(path_redirect=f"/{index}", strip_query=True))
            for index, match in enumerate(MATCHES)
        )
    )


@pytest.fixture(scope="module")
def envoy() -> Iterator[Oracle]:
    configurations = {
        "headers": header_configuration(),
        "matches": match_configuration(),
        "hosts": host_configuration(),
        "hosts-without-ports": host_configuration(ignore_port_in_host_matching=True),
        "redirects": one_host(*REDIRECTS, *ROOTLESS),
        "tls": one_host(CATCH_ALL, require_tls="ALL"),
        "rewrites": one_host(*REWRITES),
        "mutations": mutating(False),
        "mutations-specific": mutating(True),
    }
    managers: dict[str, dict[str, Any]] = {
        name: {"route_config": configuration_json(configuration)} for name, configuration in configurations.items()
    }
    for name, (on, action) in PATH_OPTIONS.items():
        options = {"normalize_path": on, "merge_slashes": on, "path_with_escaped_slashes_action": action}
        managers[f"path-{name}"] = {"route_config": configuration_json(one_host(CATCH_ALL)), **options}
    with running_envoy(managers) as oracle:
        yield oracle


@pytest.mark.parametrize("name", PATH_OPTIONS)
def test_paths(envoy: Oracle, name: str) -> None:
    on, action = PATH_OPTIONS[name]
    for path in PATHS:
        answer = envoy.get(f"path-{name}", path)
        theirs = {200: answer.upstream.get("target"), 307: f"redirect {answer.get('location')}"}.get(answer.status)
        try:
            normal = normalise(path, normalize=on, merge_slashes=on, escaped_slashes=action)
            ours = f"redirect {normal.path}" if normal.redirect else normal.path
        except PathRejected:
            ours = None
        assert ours == theirs, path


def test_header_matchers(envoy: Oracle) -> None:
    router = Router(header_configuration())
    for index in range(len(HEADERS)):
        for values in VALUES:
            headers = tuple(("x", value) for value in values)
            for target in (f"/{index}", f"/{index}?q"):
                theirs = envoy.get("headers", target, *headers).status == 200
                assert (router.match(make_request(target, *headers)) is not None) == theirs, (HEADERS[index], values)


def test_route_matches(envoy: Oracle) -> None:
    router = Router(match_configuration())
    for target in TARGETS:
        theirs = envoy.get("matches", target).get("location")
        request = make_request(target)
        matched = router.match(request)
        ours = matched.redirector.location(request) if matched and matched.redirector else None
        assert ours == theirs, target


@pytest.mark.parametrize(
    ("listener", "options"), [("hosts", {}), ("hosts-without-ports", {"ignore_port_in_host_matching": True})]
)
def test_virtual_hosts(envoy: Oracle, listener: str, options: dict[str, bool]) -> None:
    router = Router(host_configuration(**options))
    for authority in HOSTS:
        request = make_request("/", authority=authority)
        matched = router.match(request)
        assert matched is not None
        assert matched.redirector is not None
        assert matched.redirector.location(request) == envoy.get(listener, "/", host=authority).get("location"), (
            authority
        )


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("authority", AUTHORITIES)
def test_redirects(envoy: Oracle, scheme: str, authority: str) -> None:
    router = Router(one_host(*REDIRECTS, *ROOTLESS))
    rootless = ("/old", "/old?a", "/old/b?c", "/old.evil.example/", "/old@evil.example/", "/old:80/", "/np?a")
    for target in (*(f"/{index}/a?b" for index in range(len(REDIRECTS))), *rootless):
        answer = envoy.get("redirects", target, ("x-forwarded-proto", scheme), host=authority)
        request = make_request(target, authority=authority, scheme=scheme)
        matched = router.match(request)
        assert matched is not None
        assert matched.redirector is not None
        assert (matched.redirector.status, matched.redirector.location(request)) == (
            answer.status,
            answer.get("location"),
        )


@pytest.mark.parametrize("authority", AUTHORITIES)
def test_required_tls(envoy: Oracle, authority: str) -> None:
    request = make_request("/a?b", authority=authority)
    matched = Router(one_host(CATCH_ALL, require_tls="ALL")).match(request)
    assert matched is not None
    assert matched.redirector is not None
    answer = envoy.get("tls", "/a?b", host=authority)
    assert (matched.redirector.status, matched.redirector.location(request)) == (answer.status, answer.get("location"))


def test_rewrites(envoy: Oracle) -> None:
    router = Router(one_host(*REWRITES))
    for target in REWRITTEN:
        answer = envoy.get("rewrites", target, ("x-h", "named"))
        request = make_request(target, ("x-h", "named"))
        matched = router.match(request)
        assert matched is not None
        assert matched.rewriter is not None
        head = matched.rewriter.apply(request, Record.of(request))
        assert (head.target, [head.authority]) == (answer.upstream["target"], answer.sent("host"))
        for name in ("x-envoy-original-path", "x-envoy-original-host", "x-forwarded-host"):
            assert head.headers.get_all(name) == answer.sent(name)


@pytest.mark.parametrize(("listener", "specific"), [("mutations", False), ("mutations-specific", True)])
def test_mutations(envoy: Oracle, listener: str, specific: bool) -> None:
    answer = envoy.get(listener, "/old?x", *MUTATION_INPUT)
    request = make_request("/old?x", *MUTATION_INPUT)
    matched = Router(mutating(specific)).match(request)
    assert matched is not None
    assert matched.rewriter is not None
    record = Record.of(request)
    head = matched.rewriter.apply(request, record)
    names = {name for name, _ in answer.upstream["headers"]} - {"host", "x-request-id", "x-forwarded-proto"}
    for name in names - {"x-envoy-expected-rq-timeout-ms"}:
        assert head.headers.get_all(name) == answer.sent(name), name
    assert {name for name, _ in head.headers} <= names

    record.request_headers, record.path, record.response_code = head.headers, head.target, 200
    response = Headers([("x-app", "one"), ("x-app", "two"), ("x-once", "first")])
    for mutation in matched.response_mutations:
        mutation.apply(response, record)
    theirs = [item for item in answer.headers if item[0] in ("x-app", "x-once", "x-req", "x-code", "x-kind")]
    assert sorted(response) == sorted(theirs)
    assert response.get_all("x-app") == [value for name, value in theirs if name == "x-app"]


def test_the_path_difference_is_this(envoy: Oracle) -> None:
    """Encoded dots before a path parameter are dots here."""
    assert envoy.get("path-normal", "/a/%2e%2e;x/b").upstream["target"] == "/a/..;x/b"
    assert normalise("/a/%2e%2e;x/b").path == "/b"
