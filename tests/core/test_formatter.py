"""Format strings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.formatter import compile_format
from ostiary.core.record import Record
from ostiary.model import limits
from ostiary.model.headers import Headers
from requests_for_tests import make_request


def record(*headers: tuple[str, str], target: str = "/p?q=1") -> Record:
    made = Record.of(make_request(target, *headers))
    made.response_headers = Headers([("x-app", "one")])
    made.response_code = 200
    return made


ONE_VALUE_EACH = (
    "%REQ(x)%",
    "%PROTOCOL%",
    "%RESPONSE_CODE%",
    "%DURATION%",
    "%REQ(:METHOD)%",
    "%BYTES_SENT%",
    "%REQ(y)%",
)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        ("100%%", "100%"),
        ("%%%PROTOCOL%%%", "%-%"),
        ("%REQ(X-A)%", "value"),
        ("%REQ(X-B)%", "-"),
        ("%REQ(X-B?X-A)%", "value"),
        ("%REQ(X-A):3%", "val"),
        ("%RESP(X-App)% %RESPONSE_CODE%%PROTOCOL%", "one 200-"),
        ("%REQ(:METHOD)% %REQ(:SCHEME)%://%REQ(:AUTHORITY)%%REQ(:PATH)%", "GET http://app.test/p?q=1"),
        ("%s %d", None),
    ],
)
def test_rendering(source: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(ValueError, match="position 0"):
            compile_format(source)
    else:
        assert compile_format(source).render(record(("x-a", "value"))) == expected


def test_text_in_a_time_format_is_as_sendable_as_any_other() -> None:
    compiled = compile_format("%START_TIME(%Y年)% 年")
    assert compiled.render(Record()).encode("latin-1").decode() == "1970年 年"
    assert compiled.render_line(Record()) == b"1970\\xE5\\xB9\\xB4 " + "年".encode()


def test_missing_can_be_nothing() -> None:
    assert compile_format("a%REQ(x)%b", omit_empty=True).render(record()) == "ab"


@pytest.mark.parametrize("source", ["%", "a%", "%REQ(x", "%REQ(x)", "%req(x)%", "% %", "%REQ(x):%", "%REQ(x):a%"])
def test_bad_syntax_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="no valid command"):
        compile_format(source)


def test_a_format_has_a_bound() -> None:
    with pytest.raises(ValueError, match="limit"):
        compile_format("a" * (limits.MAX_FORMAT_LENGTH + 1))


@pytest.mark.parametrize(
    ("source", "later"),
    [
        ("%REQ(x)%%PATH(NQ)%", False),
        ("x", False),
        ("%RESP(x)%", True),
        ("%UPSTREAM_HOST%", True),
        ("%REQ(x)%%DURATION%", True),
    ],
)
def test_what_needs_a_response(source: str, later: bool) -> None:
    assert compile_format(source).needs_response is later


def test_constant_and_single() -> None:
    assert compile_format("a%%").constant == "a%"
    assert compile_format("%PROTOCOL%").constant is None
    assert compile_format("%PROTOCOL%").single is not None
    assert compile_format("%PROTOCOL% ").single is None


@given(st.text(alphabet=st.characters(max_codepoint=255)))
def test_rendered_text_has_no_control_characters(value: str) -> None:
    rendered = compile_format("%REQ(x)%").render(record(("x", value)))
    assert not any(character < " " or character == "\x7f" for character in rendered)


@given(st.text(alphabet=st.characters(max_codepoint=255)))
def test_a_value_can_not_end_its_quotes(value: str) -> None:
    line = compile_format('"%REQ(x)%"').render_line(record(("x", value)))
    inner = line[1:-1].decode("ascii")
    assert line[:1] == line[-1:] == b'"'
    assert '"' not in inner
    assert inner.isprintable() or not inner


@given(st.lists(st.sampled_from([*ONE_VALUE_EACH, '"', "\\", "\n", "%%", " "]), max_size=8), st.text(max_size=3))
def test_a_line_is_made_of_its_parts(parts: list[str], value: str) -> None:
    made = record(("x", value.encode().decode("latin-1")))
    expected = b"".join(
        compile_format(part).render_line(made) if part in ONE_VALUE_EACH else part.replace("%%", "%").encode()
        for part in parts
    )
    assert compile_format("".join(parts)).render_line(made) == expected


@given(st.text(max_size=30))
def test_any_text_compiles_or_is_refused(source: str) -> None:
    try:
        compiled = compile_format(source)
    except ValueError:
        return
    assert isinstance(compiled.render(record()), str)


def test_repr_shows_no_values() -> None:
    assert "secret" not in repr(record(("cookie", "secret"), target="/?code=secret"))
