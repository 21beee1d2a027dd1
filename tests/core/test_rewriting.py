"""Header mutations, rewrites, redirects."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.record import Record
from ostiary.core.rewriting import (
    Mutations,
    Redirector,
    RequestRewriter,
    Rewritten,
    request_mutations,
    response_mutations,
    with_host,
)
from ostiary.model.headers import Headers
from ostiary.model.routes import (
    AppendAction,
    HeaderMutations,
    HeaderValueOption,
    RedirectAction,
    RegexRewrite,
    RouteAction,
    RouteMatch,
)
from requests_for_tests import make_request

ROOT = RouteMatch(prefix="/")


def option(
    key: str, value: str, action: AppendAction = "APPEND_IF_EXISTS_OR_ADD", keep: bool = False
) -> HeaderValueOption:
    return HeaderValueOption(key=key, value=value, append_action=action, keep_empty_value=keep)


def mutate(headers: Headers, *options: HeaderValueOption, remove: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    record = Record.of(make_request("/p?q"))
    record.request_headers = headers
    Mutations(options, remove).apply(headers, record)
    return list(headers)


@pytest.mark.parametrize(
    ("action", "present", "absent"),
    [
        ("APPEND_IF_EXISTS_OR_ADD", ["old", "new"], ["new"]),
        ("ADD_IF_ABSENT", ["old"], ["new"]),
        ("OVERWRITE_IF_EXISTS_OR_ADD", ["new"], ["new"]),
        ("OVERWRITE_IF_EXISTS", ["new"], []),
    ],
)
def test_append_actions(action: AppendAction, present: list[str], absent: list[str]) -> None:
    assert [value for _, value in mutate(Headers([("x", "old")]), option("X", "new", action))] == present
    assert [value for _, value in mutate(Headers(), option("X", "new", action))] == absent


def test_values_are_rendered_before_anything_changes() -> None:
    headers = Headers([("a", "1"), ("b", "2")])
    swap: AppendAction = "OVERWRITE_IF_EXISTS_OR_ADD"
    mutated = mutate(headers, option("a", "%REQ(b)%", swap), option("b", "%REQ(a)%", swap))
    assert sorted(mutated) == [("a", "2"), ("b", "1")]


def test_a_removed_header_has_no_value_left() -> None:
    headers = Headers([("a", "1")])
    assert mutate(headers, option("b", "[%REQ(a)%]"), remove=("a",)) == [("b", "[]")]


def test_a_level_sees_what_the_one_before_it_added() -> None:
    levels = [HeaderMutations(request_headers_to_add=(option("a", "1"),)),
              HeaderMutations(request_headers_to_add=(option("b", "%REQ(a)%2"),))]  # fmt: skip
    request = make_request("/")
    rewriter = RequestRewriter(ROOT, RouteAction(cluster="c"), request_mutations(levels, False))
    assert list(rewriter.apply(request, Record.of(request)).headers) == [("a", "1"), ("b", "12")]


def test_an_empty_value_adds_nothing_unless_it_is_kept() -> None:
    assert mutate(Headers(), option("x", "%REQ(none)%")) == []
    assert mutate(Headers(), option("x", "%REQ(none)%", keep=True)) == [("x", "")]


def test_an_addition_extends_what_may_stand_on_one_line_only() -> None:
    assert mutate(Headers([("user-agent", "a")]), option("user-agent", "b")) == [("user-agent", "a,b")]
    assert mutate(Headers([("set-cookie", "a")]), option("set-cookie", "b")) == [
        ("set-cookie", "a"),
        ("set-cookie", "b"),
    ]


def test_a_value_can_not_add_a_line() -> None:
    assert mutate(Headers([("x", "a\r\nb: c")]), option("y", "%REQ(x)%"))[-1] == ("y", "a\\x0D\\x0Ab: c")


@pytest.mark.parametrize("name", [":path", "Host", "content-length", "Transfer-Encoding", "connection"])
def test_what_frames_or_addresses_a_message_is_not_mutated(name: str) -> None:
    with pytest.raises(ValueError, match="can't be"):
        Mutations((option(name, "x"),), ())
    with pytest.raises(ValueError, match="can't be"):
        Mutations((), (name,))


def test_a_bad_format_is_named_with_its_header() -> None:
    with pytest.raises(ValueError, match=r"'x-a'.*NOPE"):
        Mutations((option("x-a", "%NOPE%"),), ())


@pytest.mark.parametrize(("most_specific_wins", "expected"), [(False, "host"), (True, "route")])
def test_levels(most_specific_wins: bool, expected: str) -> None:
    options = [(option("x", level, "OVERWRITE_IF_EXISTS_OR_ADD"),) for level in ("route", "host")]
    levels = [HeaderMutations(request_headers_to_add=each, response_headers_to_add=each) for each in options]
    for compile_levels in (request_mutations, response_mutations):
        headers = Headers()
        for mutation in compile_levels([*levels, HeaderMutations()], most_specific_wins):
            mutation.apply(headers, Record())
        assert headers.get("x") == expected


@pytest.mark.parametrize(
    ("match", "action", "target", "expected"),
    [
        (RouteMatch(prefix="/a/"), RouteAction(cluster="c", prefix_rewrite="/"), "/a/b?c", "/b?c"),
        (RouteMatch(path_separated_prefix="/s"), RouteAction(cluster="c", prefix_rewrite="/t"), "/s/x?y", "/t/x?y"),
        (
            RouteMatch(path="/CASE", case_sensitive=False),
            RouteAction(cluster="c", prefix_rewrite="/l"),
            "/case?x",
            "/l?x",
        ),
        (RouteMatch(safe_regex="/f.*"), RouteAction(cluster="c", prefix_rewrite="/s"), "/full/x?y", "/s?y"),
        (
            ROOT,
            RouteAction(cluster="c", regex_rewrite=RegexRewrite(pattern="([a-z])([0-9])", substitution="\\2\\1")),
            "/g/a1?a1",
            "/g/1a?a1",
        ),
    ],
)
def test_path_rewrites(match: RouteMatch, action: RouteAction, target: str, expected: str) -> None:
    request = make_request(target)
    rewriter = RequestRewriter(match, action, ())
    assert not rewriter.is_identity
    head = rewriter.apply(request, Record.of(request))
    assert head.target == expected
    assert head.headers.get("x-envoy-original-path") == target
    assert len(request.headers) == 0, "the request itself is left alone"


@pytest.mark.parametrize(
    ("action", "authority"),
    [
        (RouteAction(cluster="c", host_rewrite_literal="new"), "new"),
        (RouteAction(cluster="c", host_rewrite_header="X-H"), "named"),
        (RouteAction(cluster="c", host_rewrite_header="x-none"), "app.test"),
    ],
)
def test_host_rewrites(action: RouteAction, authority: str) -> None:
    request = make_request("/", ("x-h", "named"))
    head = RequestRewriter(ROOT, action, ()).apply(request, Record.of(request))
    assert head.authority == authority
    assert head.headers.get("x-envoy-original-host") == ("app.test" if authority != "app.test" else None)


@pytest.mark.parametrize("value", ["a b", "user@evil", "a/b", "", "é"])
def test_a_host_from_a_header_must_be_one(value: str) -> None:
    request = make_request("/", ("x-h", value))
    action = RouteAction(cluster="c", host_rewrite_header="x-h")
    assert RequestRewriter(ROOT, action, ()).apply(request, Record.of(request)).authority == "app.test"


@pytest.mark.parametrize("text", ["/a b", "/a\r\nx: y", "/é", "\x00"])
def test_a_rewrite_can_not_break_the_head(text: str) -> None:
    for action in (
        RouteAction(cluster="c", prefix_rewrite=text),
        RouteAction(cluster="c", host_rewrite_literal=text),
        RouteAction(cluster="c", regex_rewrite=RegexRewrite(pattern="a", substitution=text)),
    ):
        with pytest.raises(ValueError, match="visible ASCII"):
            RequestRewriter(ROOT, action, ())
    for redirect in (RedirectAction(path_redirect=text), RedirectAction(host_redirect=text)):
        with pytest.raises(ValueError, match="visible ASCII"):
            Redirector(ROOT, redirect)


@pytest.mark.parametrize(("key", "value"), [("x", "a\r\nb: c"), ("x", "\x00"), ("x y", "a"), ("", "a"), ("x:", "a")])
def test_a_mutation_can_not_break_the_head(key: str, value: str) -> None:
    with pytest.raises(ValueError, match="header"):
        Mutations((option(key, value),), ())


def test_the_former_host_can_be_forwarded() -> None:
    head = Rewritten("/", "old", Headers([("x-forwarded-host", "first")]))
    assert with_host(head, "new", True).headers.get("x-forwarded-host") == "first,old"
    assert head.headers.get("x-forwarded-host") == "first", "the head itself is left alone"


def test_envoys_own_headers_can_be_suppressed() -> None:
    action = RouteAction(cluster="c", host_rewrite_literal="new", prefix_rewrite="/x/")
    request = make_request("/a")
    head = RequestRewriter(ROOT, action, (), keep_original=False).apply(request, Record.of(request))
    assert (head.target, head.authority, list(head.headers)) == ("/x/a", "new", [])


def test_a_route_that_changes_nothing_says_so() -> None:
    assert RequestRewriter(ROOT, RouteAction(cluster="c"), ()).is_identity


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (RedirectAction(https_redirect=True), "https://app.test/p/a?b"),
        (RedirectAction(host_redirect="h2"), "http://h2/p/a?b"),
        (RedirectAction(port_redirect=8443), "http://app.test:8443/p/a?b"),
        (RedirectAction(path_redirect="/np"), "http://app.test/np?b"),
        (RedirectAction(path_redirect="/np?z", strip_query=True), "http://app.test/np?z"),
        (RedirectAction(strip_query=True), "http://app.test/p/a"),
        (RedirectAction(prefix_rewrite="/x"), "http://app.test/x/a?b"),
        (
            RedirectAction(regex_rewrite=RegexRewrite(pattern="^/p/(.*)", substitution="/\\1")),
            "http://app.test/a?b",
        ),
    ],
)
def test_redirects(action: RedirectAction, expected: str) -> None:
    assert Redirector(RouteMatch(prefix="/p"), action).location(make_request("/p/a?b")) == expected


@pytest.mark.parametrize(
    ("authority", "scheme", "expected"),
    [
        ("h:80", "http", "https://h/"),
        ("h:80", "https", "https://h:80/"),
        ("h:443", "http", "https://h:443/"),
        ("h:8080", "http", "https://h:8080/"),
        ("[::1]:80", "http", "https://[::1]/"),
        ("[::1]", "http", "https://[::1]/"),
    ],
)
def test_a_redirect_to_https_leaves_the_old_default_port_behind(authority: str, scheme: str, expected: str) -> None:
    request = make_request("/", authority=authority, scheme=scheme)
    assert Redirector(ROOT, RedirectAction(https_redirect=True)).location(request) == expected


@pytest.mark.parametrize(
    "action",
    [
        RedirectAction(path_redirect="/a", prefix_rewrite="/b"),
        RedirectAction(https_redirect=True, scheme_redirect="http"),
        RedirectAction(prefix_rewrite="/b", regex_rewrite=RegexRewrite(pattern="a", substitution="b")),
        RedirectAction(regex_rewrite=RegexRewrite(pattern="(", substitution="b")),
    ],
)
def test_contradictions_are_refused(action: RedirectAction) -> None:
    with pytest.raises(ValueError, match=r"exclude|regular expression"):
        Redirector(ROOT, action)


def test_two_host_rewrites_are_refused() -> None:
    with pytest.raises(ValueError, match="exclude"):
        RequestRewriter(ROOT, RouteAction(cluster="c", host_rewrite_literal="a", auto_host_rewrite=True), ())


PATTERNS = st.sampled_from(["^/a", "^/", "/", ".*", "a+", "^/a/?", "[^/]*$", "(a)(b)?", "^.", "//"])
REWRITES = st.one_of(
    st.builds(
        RegexRewrite, pattern=PATTERNS, substitution=st.sampled_from(["", "/", "x", "\\0", "//", ".evil.example"])
    ),
    st.sampled_from(["/", "x", "/x", "//x", ".evil.example", "@evil.example", ":1"]),
)
TARGETS = st.text(alphabet="/a.b@:?x%2f", max_size=12).map(lambda tail: "/a" + tail)


@given(REWRITES, TARGETS)
def test_no_rewrite_leads_to_another_host_or_to_no_target(rewrite: RegexRewrite | str, target: str) -> None:
    by_regex = isinstance(rewrite, RegexRewrite)
    match = RouteMatch(prefix="/a")
    fields = {"regex_rewrite": rewrite} if by_regex else {"prefix_rewrite": rewrite}
    request = make_request(target)
    location = Redirector(match, RedirectAction(**fields)).location(request)
    assert urlsplit(location)[:2] == ("http", "app.test")
    sent = RequestRewriter(match, RouteAction(cluster="c", **fields), ()).apply(request, Record.of(request))
    assert (
        sent.target.startswith("/") and sent.target.isascii() and sent.target.isprintable() and " " not in sent.target
    )
    assert sent.authority == request.authority
    assert sent.headers.get("x-envoy-original-path") in (None, target)
    if not by_regex:
        assert sent.target.endswith(target.removeprefix("/a"))
