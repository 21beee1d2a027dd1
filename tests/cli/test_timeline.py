"""What a user sees, in the three shapes: on a terminal, in a pipe, and where Unicode doesn't arrive."""

from __future__ import annotations

import io
import re

import pytest

from core.connections import V4, V6, attempt, dead_v6, query, refused, trace
from ostiary.cli.terminal import Screen, screen
from ostiary.cli.timeline import draw
from ostiary.core.trace import ConnectTrace, Tls

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(io.TextIOWrapper):
    """A stream somebody watches."""

    def isatty(self) -> bool:
        return True


def stream(*, terminal: bool, encoding: str = "utf-8") -> io.TextIOWrapper:
    return (Terminal if terminal else io.TextIOWrapper)(io.BytesIO(), encoding=encoding)


def shown(found: ConnectTrace, out: io.TextIOWrapper) -> str:
    draw(found, screen(out))
    out.flush()
    buffer = out.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode(out.encoding)


@pytest.fixture
def width(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "110")
    return monkeypatch


def test_a_terminal_has_colours_and_lines_that_fit(width: pytest.MonkeyPatch) -> None:
    text = shown(dead_v6(), stream(terminal=True))
    assert "\x1b[" in text
    plain = ESCAPES.sub("", text)
    assert "DNS AAAA  10.0.0.53:53" in plain
    assert re.search(r"TCP IPv6  2001:db8::7 +├─+╌ +300\.0 ms  no answer by then", plain)
    assert re.search(r"TLS IPv4  192\.0\.2\.7 +├─*╼?━+✓ +50\.0 ms  connected", plain)
    assert "310.0 ms: DNS 10.0 · TCP 20.0 · TLS 30.0 · waiting for others 250.0" in plain
    assert "TLSv1.3 · SNI login.example · ALPN http/1.1 · CN=login.example · until 2030-01-02 · verified" in plain
    assert plain.rstrip().splitlines()[-1].startswith(("✓", "[", "answered"))
    assert max(map(len, plain.splitlines())) <= 110


@pytest.mark.parametrize("columns", [40, 60, 75, 76, 100, 200])
def test_nothing_is_wider_than_the_terminal(width: pytest.MonkeyPatch, columns: int) -> None:
    width.setenv("COLUMNS", str(columns))
    for found in (dead_v6(), refused()):
        text = ESCAPES.sub("", shown(found, stream(terminal=True)))
        bars = [line for line in text.splitlines() if "├" in line or "✗" in line]
        assert bars
        assert max(map(len, text.splitlines())) <= max(columns, 76 if columns >= 76 else 0), text


def test_a_narrow_terminal_has_bars_below_their_labels(width: pytest.MonkeyPatch) -> None:
    width.setenv("COLUMNS", "60")
    lines = ESCAPES.sub("", shown(dead_v6(), stream(terminal=True))).splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("TCP IPv6"))
    assert lines[at].rstrip().endswith("300.0 ms")
    assert lines[at + 1].strip().startswith("├")
    assert lines[at + 2].strip() == "no answer by then"


@pytest.mark.parametrize("reason", ["pipe", "NO_COLOR"])
def test_without_colours_the_lines_stay(width: pytest.MonkeyPatch, reason: str) -> None:
    if reason == "NO_COLOR":
        width.setenv("NO_COLOR", "1")
    text = shown(dead_v6(), stream(terminal=reason == "NO_COLOR"))
    assert "\x1b" not in text
    assert "├" in text and "✓ Connected" in text


def test_in_a_pipe_every_row_is_one_line_for_grep(width: pytest.MonkeyPatch) -> None:
    width.delenv("COLUMNS")
    many = trace(9, [query("AAAA", 8, *(f"2001:db8::{n}" for n in range(30)))], [])
    lines = shown(many, stream(terminal=False)).splitlines()
    assert [line for line in lines if "2001:db8::0," in line and "2001:db8::29" in line]


@pytest.mark.parametrize(("term", "encoding"), [("dumb", "utf-8"), ("xterm", "ascii"), ("xterm", "latin-1")])
def test_a_dumb_terminal_and_a_locale_without_unicode_get_ascii(
    width: pytest.MonkeyPatch, term: str, encoding: str
) -> None:
    width.setenv("TERM", term)
    width.setenv("NO_COLOR", "1")
    text = shown(dead_v6(), stream(terminal=True, encoding=encoding))
    assert text.isascii()
    assert re.search(r"TCP IPv6  2001:db8::7 +\|-+~ +300\.0 ms", text)
    assert "+ Connected to login.example:443" in text


def test_a_failure_ends_with_what_to_do(width: pytest.MonkeyPatch) -> None:
    text = shown(refused(), stream(terminal=False))
    lines = text.splitlines()
    assert [line.split()[:2] for line in lines if line.startswith("TCP")] == [["TCP", "IPv6"], ["TCP", "IPv4"]]
    assert text.count("ECONNREFUSED: Connection refused") == 2
    assert lines[-2].startswith("✗ Can't connect to login.example:443")
    assert lines[-1].startswith("→ Mend: see whether the service runs")


def test_what_had_no_turn_and_what_is_not_verified_is_said() -> None:
    found = trace(30, [query("AAAA", 3, V6)], [attempt(V6, 3, 30), attempt(V4, None, None, "not_started")])
    found.tls = Tls(version="TLSv1.2", sni=None, alpn=None, peer="CN=x", not_after="", verified=False)
    text = shown(found, stream(terminal=False))
    assert "SNI none · ALPN none · CN=x · NOT VERIFIED" in text
    assert "not tried" in text


def test_nothing_that_a_peer_says_reaches_the_terminal_as_a_command() -> None:
    hostile = "CN=\x1b]0;owned\x07\x9b31m\u202eevil [bold]x[/bold]"
    found = dead_v6()
    assert found.tls is not None
    found.tls = Tls(version="TLSv1.3", sni="x", alpn=None, peer=hostile, not_after="", verified=True)
    found.dns[0].answers = ("\x1b[2J",)
    found.summary = f"Connected. {hostile}"
    found.attempts[0].outcome, found.attempts[0].message = "failed", hostile
    text = shown(found, stream(terminal=False))
    assert not set(text) & {"\x1b", "\x07", "\x9b", "\u202e"}
    assert "\\x1b]0;owned" in text and "[bold]x[/bold]" in text, "shown, not obeyed"


def test_a_long_name_does_not_move_the_bars(width: pytest.MonkeyPatch) -> None:
    found = dead_v6()
    found.dns[0].name = "a-name-from-a-long-search-list.in.some.namespace.svc.cluster.local."
    lines = ESCAPES.sub("", shown(found, stream(terminal=True))).splitlines()
    (row,) = [line for line in lines if line.startswith("DNS AAAA")]
    (other,) = [line for line in lines if line.startswith("DNS A ")]
    assert "a-name-from-a-long" in row and "….0.53:53" not in row and "10.0.0.53:53" in row
    assert abs(row.index("●") - other.index("●")) <= 1


def test_a_screen_tells_its_shape(width: pytest.MonkeyPatch) -> None:
    wide: Screen = screen(stream(terminal=True))
    assert wide.folds and wide.width == 110
    assert not screen(stream(terminal=False)).folds
