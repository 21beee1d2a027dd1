"""Targets and paths: what is read, what is normal, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.paths import EscapedSlashes, PathRejected, normalise, split_absolute, split_target, strict
from ostiary.model import limits

ACTIONS: tuple[EscapedSlashes, ...] = ("KEEP_UNCHANGED", "UNESCAPE_AND_FORWARD", "UNESCAPE_AND_REDIRECT")
TRAVERSALS = [
    "/public/../admin",
    "/public/%2e%2e/admin",
    "/public/%2E%2e/admin",
    "/public/.%2e/admin",
    "/public/..;/admin",
    "/public/..;a=b/admin",
    "/public/%2e%2e;x/admin",
    "/public/x/../../admin",
    "/public/./../admin",
    "/public/..//admin",
    "/public\\..\\admin",
    "/public/..\\admin",
    "/public/..%2fadmin",
    "/public%2f..%2fadmin",
    "/public/%2e%2e%2fadmin",
    "/public/..%5cadmin",
    "/public%5C..%5Cadmin",
    "/../admin",
    "/../../../admin",
    "//admin",
    "/%2fadmin",
    "/.//admin",
    "/%61dmin",
    "/public/..%2Fadmin",
    "/public/%2e%2e%5c%61dmin",
]


@pytest.mark.parametrize("path", TRAVERSALS)
def test_a_rule_for_admin_sees_admin(path: str) -> None:
    seen = strict(path)
    assert seen.path == "/admin"
    assert path in seen.readings, "what an application may take literally must be allowed as well"


@pytest.mark.parametrize(
    "path", ["/", "/a", "/a/b.c", "/a/.b", "/a;v=1/b", "/~user/@x:y", "/a%20b", "/%C3%A9", "/a/b/"]
)
def test_an_ordinary_path_has_one_reading(path: str) -> None:
    assert strict(path).readings == (path,)


@pytest.mark.parametrize(
    "path", ["/%00", "/a%0d%0ab", "/%7f", "/%", "/%4", "/%zz", "/%u002e", "/a%%32e", "/\x00", "/\x7f", "/é"]
)
def test_a_strict_path_refuses_what_has_no_one_meaning(path: str) -> None:
    with pytest.raises(PathRejected):
        strict(path)


@pytest.mark.parametrize("path", ["", "a", "*", "%2fa", "host:443"])
def test_a_path_starts_with_a_slash(path: str) -> None:
    with pytest.raises(PathRejected):
        strict(path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a/.", "/a/"),
        ("/a/..", "/"),
        ("/a/b/../..", "/"),
        ("/a//../b", "/a/b"),
        ("/a///", "/a/"),
        ("/a/...", "/a/..."),
        ("/.a/a.", "/.a/a."),
        ("/%7Euser/%41", "/~user/A"),
        ("/%2f%5C", "/%2f%5C"),
        ('/"<>^`{|}', "/%22%3C%3E%5E%60%7B%7C%7D"),
        ("/%", "/%"),
        ("/%zz", "/%zz"),
        ("/%%32e", "/%252e"),
        ("/%2%66", "/%252f"),
        ("/%%30%30", "/%2500"),
    ],
)
def test_the_normal_form(path: str, expected: str) -> None:
    assert normalise(path).path == expected


def test_every_option_can_be_off() -> None:
    path = "/a/../%2e%2e//b%2f\\"
    assert normalise(path, normalize=False, merge_slashes=False).path == path
    assert normalise(path, normalize=False).path == "/a/../%2e%2e/b%2f\\"
    assert normalise("/a//b/./c", merge_slashes=False).path == "/a//b/c"


def test_escaped_slashes() -> None:
    with pytest.raises(PathRejected, match="slash"):
        normalise("/a%2Fb", escaped_slashes="REJECT_REQUEST")
    assert normalise("/ab", escaped_slashes="REJECT_REQUEST").path == "/ab"
    redirected = normalise("/a%5cb", escaped_slashes="UNESCAPE_AND_REDIRECT")
    assert (redirected.path, redirected.redirect) == ("/a/b", True)
    assert not normalise("/a%20b", escaped_slashes="UNESCAPE_AND_REDIRECT").redirect


PATHS = st.one_of(
    st.text(alphabet="/.%25efEF\\;a", max_size=24),
    st.text(alphabet=st.characters(max_codepoint=0x17F), max_size=24),
    st.lists(
        st.sampled_from(["/", "..", ".", "%2e", "%2f", "%5c", "%", "%25", "%32", "\\", "a", ";", "%66", "f", "2"]),
        max_size=12,
    ).map("".join),
).map(lambda tail: "/" + tail)


@given(PATHS, st.booleans(), st.booleans(), st.sampled_from(ACTIONS))
def test_a_normal_form_is_normal(path: str, normalize: bool, merge: bool, action: EscapedSlashes) -> None:
    def run(path: str) -> str:
        return normalise(path, normalize=normalize, merge_slashes=merge, escaped_slashes=action).path

    try:
        once = run(path)
    except PathRejected:
        return
    assert run(once) == once


@given(PATHS)
def test_a_strict_path_has_no_way_out(path: str) -> None:
    try:
        seen = strict(path)
    except PathRejected:
        return
    segments = seen.path.split("/")[1:]
    assert not {".", "..", ""} & set(segments[:-1])
    assert not any(escape in seen.path.lower() for escape in ("%2e", "%2f", "%5c", "\\"))
    assert strict(seen.path).path == seen.path
    assert seen.readings[0] == seen.path


@given(st.text(max_size=40))
def test_no_target_raises_anything_else(target: str) -> None:
    try:
        path, _ = split_target(target)
        assert path.startswith("/")
        strict(path)
    except PathRejected:
        pass


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/", ("/", "")),
        ("/a?b=c", ("/a", "b=c")),
        ("/a?", ("/a", "")),
        ("/a?b?c", ("/a", "b?c")),
        ("http://h/a?b", ("/a", "b")),
        ("HTTPS://h:8443", ("/", "")),
        ("http://h?q", ("/", "q")),
    ],
)
def test_targets(target: str, expected: tuple[str, str]) -> None:
    assert split_target(target) == expected


@pytest.mark.parametrize(
    "target",
    [
        "",
        "*",
        "host:443",
        "a/b",
        "ftp://h/",
        "http:///a",
        "http://u:p@h/",
        "/a#b",
        "/a b",
        "/é",
        "/a\r\nx: y",
        "/\x00",
        "javascript://x/",
    ],
)
def test_refused_targets(target: str) -> None:
    with pytest.raises(PathRejected):
        split_target(target)


def test_a_target_has_a_bound() -> None:
    assert split_target("/" + "a" * (limits.MAX_URL_BYTES - 1))
    with pytest.raises(PathRejected, match="long"):
        split_target("/" + "a" * limits.MAX_URL_BYTES)


def test_the_authority_of_an_absolute_form() -> None:
    assert split_absolute("http://h:80/a?b") == ("h:80", "/a?b")
