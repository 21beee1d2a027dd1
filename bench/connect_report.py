"""Trials -> tables: who is best in each network, how each client goes about it, what its errors tell."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.connect_cases import CASES, Case
from bench.connect_client import Result
from bench.connect_signin import SignIn

OURS: Final = "ostiary"
NOISE_MS: Final = 15.0
"""Two times nearer than this count as equal."""
MARKS: Final = ("<!-- tables: written by python -m bench.connect --write -->", "<!-- /tables -->")

# "Lazy Eye Inspection" (Sattler, Kirstein, Wüstrich, Zirngibl, Carle; IMC 2025, arXiv:2412.00263), its published
# findings: preference, attempt delay, who is asked first, resolution delay, addresses used, how they are chosen.
PUBLISHED: Final = (
    ("Chrome, Chromium, Edge 130", "IPv6", "300 ms", "AAAA", "no", "1 / 1", "no"),
    ("Firefox 132", "IPv6", "250 ms", "A", "no", "1 / 1", "no"),
    ("Safari 17.6", "IPv6", "50 ms to 2 s", "AAAA", "yes", "all / all", "yes"),
    ("curl 7.88.1", "IPv6", "200 ms", "AAAA", "no", "1 / 1", "no"),
    ("wget 1.21.3", "IPv6", "none", "A", "no", "0 / 1", "no"),
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the packets of one trial say."""

    queries: list[str] = field(default_factory=list)
    families: str = ""
    """`646`: the families of the attempts, in order."""
    gaps_ms: list[int] = field(default_factory=list)
    v4_after_a_ms: float | None = None
    aaaa_before_v4: bool = False


@dataclass(frozen=True, slots=True)
class Trial:
    """One client, once, in one network."""

    case: Case
    peer: str
    result: Result
    facts: Facts


def tables(trials: Sequence[Trial], peers: Sequence[str], sign_ins: Sequence[SignIn]) -> list[str]:
    """All of them, in Markdown."""
    cases = [case for case in CASES if any(trial.case is case for trial in trials)]
    return [
        times([case for case in cases if not case.fails], trials, peers),
        errors([case for case in cases if case.fails], trials, peers),
        behaviour(trials, peers),
        signing_in(sign_ins),
    ]


def middle(trials: Sequence[Trial], case: Case, peer: str) -> Result | None:
    """The median trial of a client in a network; a failure if there was any."""
    results = [trial.result for trial in trials if trial.case is case and trial.peer == peer]
    failed = [result for result in results if not result.ok]
    if failed or not results:
        return failed[0] if failed else None
    return sorted(results, key=lambda result: result.ms)[len(results) // 2]


def times(cases: Sequence[Case], trials: Sequence[Trial], peers: Sequence[str]) -> str:
    """Milliseconds until the connection could be used."""
    if not cases:
        return ""
    lines = [
        "### Time to a usable connection (ms), and the family that won",
        "",
        "| network | " + " | ".join(peers) + " | Ostiary is |",
        "|---|" + "---:|" * len(peers) + "---|",
    ]
    for case in cases:
        found = {peer: middle(trials, case, peer) for peer in peers}
        cells = [_cell(result) for result in found.values()]
        lines.append(f"| {case.title} | " + " | ".join(cells) + f" | {verdict(found)} |")
    return "\n".join(lines)


def _cell(result: Result | None) -> str:
    if result is None:
        return "–"
    if result.ok:
        return f"{result.ms:.0f} ({6 if ':' in result.address else 4})"
    return f"**fails** at {result.ms:.0f}"


def verdict(found: dict[str, Result | None]) -> str:
    """How ours compares with the best of the others."""
    ours = found.get(OURS)
    others = {peer: r.ms for peer, r in found.items() if peer != OURS and r is not None and r.ok}
    if ours is None:
        return ""
    if not ours.ok:
        return "**failing**" if others else "failing as all"
    if not others:
        return "**the only one**"
    best = min(others, key=lambda peer: others[peer])
    if ours.ms < others[best] - NOISE_MS:
        return "**best**"
    if ours.ms <= others[best] + NOISE_MS:
        return "equal"
    return f"{ours.ms - others[best]:.0f} ms behind {best}"


def errors(cases: Sequence[Case], trials: Sequence[Trial], peers: Sequence[str]) -> str:
    """How much of what was tried an error tells."""
    if not cases:
        return ""
    lines = [
        "### When nothing can be reached: addresses named by the error, and after how many ms it came",
        "",
        "| addresses | " + " | ".join(peers) + " |",
        "|---|" + "---:|" * len(peers),
    ]
    for case in cases:
        cells = []
        for peer in peers:
            result = middle(trials, case, peer)
            named = 0 if result is None else sum(address in result.error for address in case.addresses)
            cells.append("–" if result is None else f"{named} of {len(case.addresses)} ({result.ms:.0f})")
        lines.append(f"| {case.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def behaviour(trials: Sequence[Trial], peers: Sequence[str]) -> str:
    """Each client's row in the terms of "Lazy Eye Inspection", measured from packets."""
    lines = [
        "### How each client goes about it, in the terms of “Lazy Eye Inspection” (IMC 2025)",
        "",
        "| client | prefers | attempt delay | asked first | Resolution Delay | addresses used (6 / 4) | selection |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = [row for peer in peers if (row := _row(trials, peer)) is not None]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    if not rows:
        return ""
    lines += [f"| {' | '.join((f'{row[0]} (published)', *row[1:]))} |" for row in PUBLISHED]
    return "\n".join(lines)


def _row(trials: Sequence[Trial], peer: str) -> tuple[str, ...] | None:
    facts = {trial.case.name: trial.facts for trial in trials if trial.peer == peer}
    if not {"dual", "black-hole", "aaaa-400", "all-dead"} <= facts.keys():
        return None
    hole, late, dead = facts["black-hole"], facts["aaaa-400"], facts["all-dead"]
    gaps = [
        trial.facts.gaps_ms[0]
        for trial in trials
        if trial.peer == peer and trial.case.name == "black-hole" and trial.facts.families.startswith("64")
    ]
    waited = late.v4_after_a_ms if late.families.startswith("4") and not late.aaaa_before_v4 else None
    return (
        f"**{peer}**" if peer == OURS else peer,
        "IPv6" if facts["dual"].families.startswith("6") else "IPv4",
        f"{statistics.median(gaps):.0f} ms" if gaps else "none",
        hole.queries[0] if hole.queries else "–",
        f"yes, {waited:.0f} ms" if waited is not None else "no",
        f"{dead.families.count('6')} / {dead.families.count('4')} in 4 s",
        "interleaved" if dead.families.startswith("6464") else dead.families[:6] + ("…" if dead.families[6:] else ""),
    )


def signing_in(sign_ins: Sequence[SignIn]) -> str:
    """Milliseconds of whole sign-ins."""
    if not sign_ins:
        return ""
    lines = [
        "### Signing in, from the first request to the application's page",
        "",
        "| network of the doorkeeper | provider's name has | ms (median) | fastest and slowest |",
        "|---|---|---:|---:|",
    ]
    lines += [
        f"| {each.network} | {each.records} | {statistics.median(each.ms):.0f} | "
        f"{min(each.ms):.0f}–{max(each.ms):.0f} |"
        for each in sign_ins
    ]
    return "\n".join(lines)


def write(page: Path, text: str) -> None:
    """Put the tables where the marks are."""
    before, _, rest = page.read_text().partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    page.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}")
