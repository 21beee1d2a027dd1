"""Many connections to one target, for a terminal: percentiles, who won, what failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.text import Text

from ostiary.cli.terminal import Screen
from ostiary.cli.timeline import draw, milliseconds
from ostiary.core.series import PHASES, describe
from ostiary.core.trace import ConnectTrace

_NAMES: Final = {"total": "total", "dns": "DNS", "tcp": "TCP", "tls": "TLS", "lost": "waiting for others"}
_FAMILIES: Final = {"v4": "IPv4", "v6": "IPv6", "unix": "unix"}
_SHARE_BAR: Final = 24


def draw_series(traces: Sequence[ConnectTrace], screen: Screen) -> None:
    """Print the percentiles, the winners, the failures, and the slowest connection or the first that failed."""
    found = describe(traces)
    screen.print(Text(f"{screen.clean(traces[0].target)}, {found.count} connections", "bold"))
    if found.spreads:
        columns = ("min", "p50", "p90", "p99", "max")
        screen.print(Text(f"{'':<18}" + "".join(f"{name:>10}" for name in columns), "dim"))
        for phase in PHASES:
            one = found.spreads.get(phase)
            if one is None:
                continue
            values = (one.minimum, one.p50, one.p90, one.p99, one.maximum)
            line = Text(f"{_NAMES[phase]:<18}" + "".join(f"{milliseconds(value):>10}" for value in values))
            line.stylize("bold" if phase == "total" else "")
            screen.print(line)
    for address, family, count in found.winners:
        share = f"{count / found.count:.0%}"
        line = Text(f"won {_FAMILIES[family]:<5}{count:>5} {share:>5}  ")
        line.append(screen.glyphs.heavy * max(1, round(count / found.count * _SHARE_BAR)), "green")
        screen.print(line.append(f"  {address}"))
    for text, count in found.failures:
        screen.words(f"{screen.glyphs.bad} failed {count} ({count / found.count:.0%}): {text}", "bold red")
    failed = [trace for trace in traces if not trace.ok]
    shown = failed[0] if failed else max(traces, key=lambda trace: trace.elapsed_ms)
    screen.print()
    which = "The first that failed" if failed else "The slowest"
    screen.print(Text(f"{which} (number {traces.index(shown) + 1}):", "bold"))
    draw(shown, screen)
