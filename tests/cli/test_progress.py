from __future__ import annotations

import asyncio
import io

import pytest

from core.connections import V4, V6, attempt, query, trace
from ostiary.cli import progress
from ostiary.cli.progress import Progress, waiting_for


class Stream(io.StringIO):
    """Watched, or not."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"


def said(stream: Stream, text: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(progress.limits, "PROGRESS_AFTER", 0.0)
    monkeypatch.setattr(progress.limits, "PROGRESS_INTERVAL", 0.001)

    async def main() -> None:
        async with Progress(lambda: text, stream):
            await asyncio.sleep(0.02)

    asyncio.run(main())
    return stream.getvalue()


def test_a_terminal_sees_what_is_waited_for_and_a_clean_line_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    shown = said(Stream(terminal=True), "waiting for \x1b[31mgodot", monkeypatch)
    assert "s  waiting for ?[31mgodot" in shown
    assert shown.endswith("\r\x1b[2K")


@pytest.mark.parametrize(("terminal", "term"), [(False, "xterm"), (True, "dumb")])
def test_nobody_else_sees_anything(terminal: bool, term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", term)
    assert said(Stream(terminal=terminal), "waiting", monkeypatch) == ""


def test_what_is_waited_for() -> None:
    running = trace(
        0,
        [query("AAAA", 2, V6), query("A", None, outcome="pending")],
        [
            attempt(V6, 2, None, "not_started", stage="tls"),
            attempt("2001:db8::9", 3, None, "not_started"),
            attempt(V4, 3, 4, "failed"),
        ],
    )
    assert waiting_for(running) == "waiting for TLS with 2001:db8::7; TCP to 2001:db8::9; DNS: A from 10.0.0.53:53"
    crowd = trace(0, [], [attempt(f"2001:db8::{n}", 1, None, "not_started") for n in range(5)])
    assert waiting_for(crowd).endswith("2001:db8::0, 2001:db8::1, 2001:db8::2 and 2 more")
    assert waiting_for(trace(0, [], [])) == "waiting for the next step"
