"""What `ostiary log` does once its options make sense, and what it prints.

With `--for` the levels go back whatever ends the wait: time, Ctrl-C, SIGTERM, an error, a pipe that nobody reads.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ostiary.app.follow import follow_file, follow_pod
from ostiary.app.level_memory import LevelMemory
from ostiary.app.level_session import Changed, LevelSession
from ostiary.cli.exit_codes import EXIT_INTERRUPTED
from ostiary.cli.progress import Progress
from ostiary.cli.terminal import is_terminal
from ostiary.core.log_line import parse
from ostiary.net.admin_client import AdminError

if TYPE_CHECKING:
    from ostiary.core.level_change import Wanted
    from ostiary.net.admin_client import AdminClient, Pod

_COLOURS: Final = {"warning": "yellow", "error": "red", "critical": "red"}
_MOST_NAMED: Final = 8
"""Loggers that change alike are counted beyond that: an Envoy has seventy."""
_ENDED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked."""

    pod: Pod | None
    wanted: Wanted | None
    reset: bool
    seconds: float | None
    """After which the levels go back."""
    file: Path | None
    follow: bool
    as_json: bool


async def run(client: AdminClient, order: Order) -> int:
    """Do it; the exit code. Raises AdminError, OSError, LevelError."""
    session = LevelSession(client, LevelMemory(client.where))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _ENDED:
        loop.add_signal_handler(number, stop.set)
    try:
        work = asyncio.ensure_future(_work(session, client.where, order))
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait((work, stopped), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
        stopped.cancel()
        with suppress(asyncio.CancelledError):
            await work
        return EXIT_INTERRUPTED if stop.is_set() else 0
    finally:
        client.close()


async def _work(session: LevelSession, where: str, order: Order) -> None:
    if order.wanted is None and not order.reset and not order.follow:
        _show_levels(where, await session.read(), order)
        return
    follower = asyncio.ensure_future(_follow(order)) if order.follow else None
    try:
        if order.reset:
            _show_changed(where, await session.reset(), order)
        elif order.wanted is not None:
            await _change(session, where, order, follower)
            return
        if follower is not None:
            await follower
    finally:
        if follower is not None:
            follower.cancel()
            with suppress(asyncio.CancelledError, AdminError, OSError):
                await follower


async def _change(session: LevelSession, where: str, order: Order, follower: asyncio.Future[None] | None) -> None:
    assert order.wanted is not None
    changing = asyncio.ensure_future(session.change(order.wanted))
    try:
        changed = await asyncio.shield(changing)
    except asyncio.CancelledError:
        changed = await changing  # what is on its way arrives: only then it can be undone
        if order.seconds is not None:
            await session.put_back(changed)
        raise
    restored = False
    try:
        if not (order.as_json and order.seconds is not None):
            _show_changed(where, changed, order)
        await _wait(order.seconds, follower)
    finally:
        if order.seconds is not None:
            await asyncio.shield(_put_back(session, changed))
            restored = True
    if order.as_json and restored:
        _print_json(where, changed, restored=True)


async def _put_back(session: LevelSession, changed: Changed) -> None:
    try:
        await session.put_back(changed)
    except AdminError as error:
        mend = "`ostiary log --reset` with the same target does it"
        raise AdminError(f"the levels could not be put back: {error} ({mend})") from error
    if changed.asked:
        print(f"put back: {_told(changed.before, changed.asked)}", file=sys.stderr)


async def _wait(seconds: float | None, follower: asyncio.Future[None] | None) -> None:
    """For the time, or as long as there is something to follow."""
    if seconds is None:
        if follower is not None:
            await follower
        return
    ends = time.monotonic() + seconds

    def left() -> str:
        return f"the levels go back in {max(0.0, ends - time.monotonic()):.0f} s (Ctrl-C: now)"

    quiet = follower is not None and is_terminal(sys.stdout)
    async with Progress(left, io.StringIO() if quiet else None):
        if follower is None:
            await asyncio.sleep(seconds)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.shield(follower)


async def _follow(order: Order) -> None:
    coloured = is_terminal(sys.stdout) and not os.environ.get("NO_COLOR")

    def write(line: str) -> None:
        if coloured:
            record = parse(line)
            line = "".join(c if c.isprintable() or c == "\t" else "?" for c in line)
            colour = _COLOURS.get(record.level) if record is not None else None
            line = click.style(line, fg=colour) if colour else line
        print(line, flush=True)

    if order.file is not None:
        await follow_file(order.file, write)
    elif order.pod is not None:
        await follow_pod(order.pod, write)


def _show_levels(where: str, levels: dict[str, str], order: Order) -> None:
    if order.as_json:
        print(json.dumps({"target": where, "levels": levels}, indent=1))
        return
    print(f"{where}:\nactive loggers:")
    for name, level in levels.items():
        print(f"  {name}: {level}")


def _show_changed(where: str, changed: Changed, order: Order) -> None:
    if order.as_json:
        _print_json(where, changed, restored=False)
        return
    if order.follow:  # standard output is the log's
        print(f"{where}: {_told(changed.asked, changed.asked) or 'nothing changes'}", file=sys.stderr)
        return
    print(f"{where}:{f' {changed.why}' if changed.why else ''}")
    alike: dict[tuple[str, str], list[str]] = {}
    for name, level in changed.asked.items():
        alike.setdefault((level, changed.before[name]), []).append(name)
    for (level, before), names in sorted(alike.items(), key=lambda each: len(each[1])):
        if len(names) > _MOST_NAMED:
            print(f"  {len(names)} loggers: {level} (were {before})")
        else:
            print(*(f"  {name}: {level} (was {before})" for name in names), sep="\n")
    if not changed.asked:
        print("  nothing changes: these levels are set already")
    sys.stdout.flush()  # with --for somebody reads it long before the end


def _print_json(where: str, changed: Changed, *, restored: bool) -> None:
    document: dict[str, Any] = {
        "target": where,
        "levels": dict(changed.before) if restored else changed.now,
        "changed": {name: {"from": changed.before[name], "to": level} for name, level in changed.asked.items()},
        "restored": restored,
    }
    print(json.dumps(document, indent=1))


def _told(levels: Any, names: Any) -> str:
    shown = [f"{name}: {levels[name]}" for name in names]
    return ", ".join(shown[:6]) + (f" and {len(shown) - 6} more" if len(shown) > 6 else "")
