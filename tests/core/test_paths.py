"""Targets and paths: what is read, what is normal, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ostiary.core.access import under
from ostiary.core.paths import EscapedSlashes, PathRejected, is_plain, normalise, split_absolute, split_target, strict
from ostiary.model import limits
from servers_read_paths import STEPS

ACTIONS: tuple[EscapedSlashes, ...] = ("KEEP_UNCHANGED", "UNESCAPE_AND_FORWARD", "UNESCAPE_AND_REDIRECT")
TRAVERSALS = [
    "/public/../admin",
    "/public/%2e%2e/admin",
    "/public/%2E%2e/admin",
    "/public/.%2e/admin",
    "/public/x/../../admin",
    "/public/./../admin",
    "/../admin",
    "/../../../admin",
    "//admin",
    "/%2fadmin",
    "/%61dmin",
    "/\\admin",
]
AMBIGUOUS = [
    "/public//../admin",
    "/public/.//../admin",
    "/public/%2f../admin",
    "/public/x//../../admin",
    "/public/;/../admin",
    "/public/%3b/../admin",
    "/public/%5c../admin",
    "/x//..//admin",
    "/.//admin",
    "/public/..//admin",
    "/public/../admin//x",
    "/public/..;/admin",
    "/public/..;a=b/admin",
    "/public/%2e%2e;x/admin",
    "/public/..%3bx/admin",
    "/public/.;/admin",
    "/public\\..\\admin",
    "/public/..\\admin",
    "/public/..%2fadmin",
    "/public%2f..%2fadmin",
    "/public/%2e%2e%2fadmin",
    "/public/..%5cadmin",
    "/public%5C..%5Cadmin",
    "/public/..%2Fadmin",
    "/public/%2e%2e%5c%61dmin",
    "/public/..%252fadmin",
    "/public/%252f../admin",
    "/public/%252e%252e/../admin",
    "/a/b/%2e%2e/../admin",
    "/public/..%3f/admin",
    "/public/..%23",
]


@pytest.mark.parametrize("path", TRAVERSALS)
def test_a_rule_for_admin_sees_admin(path: str) -> None:
    seen = strict(path)
    assert seen.path == "/admin"
    assert path in seen.readings, "what an application may take literally must be allowed as well"


@pytest.mark.parametrize("path", AMBIGUOUS)
def test_dot_segments_whose_outcome_depends_on_an_order_are_refused(path: str) -> None:
    with pytest.raises(PathRejected, match="path_ambiguous"):
        strict(path)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/admin;x=1",
            "/admin;",
            "/;a/admin",
            "/admin;/x",
            "/%61dmin%3bx",
            "/admin%253bx",
            "/%2561dmin",
            "/admin%3fx",
        ),
        *("/admin%23", "/admin//", "//admin;v", "/%2fadmin;x"),
        *("/%252fadmin", "/admin\\x", "/admin%5cx", "/admin%255cx", "/admin;%2fx", "/%61dmin;%2f..a"),
        *("/public/%252e%252e/admin", "/x/../%61dmin"),
    ],
)
def test_some_server_reads_admin(path: str) -> None:
    assert any(under("/admin", reading) for reading in strict(path).readings)


@pytest.mark.parametrize("path", ["/", "/a", "/a/b.c", "/a/.b", "/~user/@x:y", "/a%20b", "/%C3%A9", "/a/b/", "/100%25"])
def test_an_ordinary_path_has_one_reading(path: str) -> None:
    assert strict(path).readings == (path,)


def test_only_a_path_that_everyone_reads_alike_is_plain() -> None:
    assert all(is_plain(path) for path in ("/", "/a/b.c", "/a-b_c~d/e,f=g:@!$&'()*+"))
    assert not any(is_plain(path) for path in ("/a%20b", "/a//b", "/.a", "/a/.", "/a\\b", "/a;b", "/{a}", "a", "/\xe9"))


@pytest.mark.parametrize("path", ["/a%2500b", "/a%250d", "/a%257f"])
def test_a_control_character_encoded_twice_is_refused(path: str) -> None:
    with pytest.raises(PathRejected, match="control"):
        strict(path)


def test_a_path_with_too_many_readings_is_refused() -> None:
    with pytest.raises(PathRejected, match="path_ambiguous"):
        strict("/a;x//b%2fc\\d%252fe;y%3fz")


NASTY = st.lists(
    st.sampled_from(
        [
            "public",
            "admin",
            ".",
            "..",
            "%2e",
            "%2e%2e",
            ".%2e",
            "%2f",
            "%5c",
            ";x",
            "..;",
            "..;x",
            "\\",
            "%252e",
            "%252e%252e",
            "%252f",
            "%61dmin",
            "%2561dmin",
            "public;x",
            "%3b",
            "%3f",
            "%2f..",
            "..%2f",
            "%5c..",
            "\\..",
            "a",
            "",
        ]
    ),
    max_size=7,
)


@example(["public", "", "..", "admin"], ["merge", "dots"])
@given(
    NASTY,
    st.lists(st.sampled_from(sorted(STEPS)), max_size=6).filter(
        lambda steps: sum(step.startswith("decode") for step in steps) <= 2
    ),
)
def test_no_order_of_reading_leads_out_of_what_is_public(segments: list[str], steps: list[str]) -> None:
    path = "/public/" + "/".join(segments)
    try:
        readings = strict(path).readings
    except PathRejected:
        return
    for step in steps:
        path = STEPS[step](path)
    assert under("/public", path) or not all(under("/public", reading) for reading in readings)


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
