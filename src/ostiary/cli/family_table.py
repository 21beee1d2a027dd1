"""The five lookup families side by side, for a terminal."""

from __future__ import annotations

from rich.text import Text

from ostiary.cli.terminal import Screen
from ostiary.cli.timeline import milliseconds
from ostiary.core.lookup_families import Forecast, has_route, took_ms
from ostiary.core.notes import attempt_note
from ostiary.core.places import Comparison, addresses_line, footnotes, trouble_line
from ostiary.core.trace import Attempt

_STYLES = {"works": "green", "some requests fail": "yellow", "fails": "bold red"}


def draw_families(found: Comparison, screen: Screen) -> None:
    """Print what DNS says, what each address does, each family's fate, and what to write."""
    screen.print(Text(f"{screen.clean(found.target)} from here", "bold"))
    for answer in found.answers:
        said = ", ".join(answer.addresses) or answer.outcome
        screen.words(f"DNS {answer.type:<5}{milliseconds(answer.elapsed_ms):>9}  {said}")
    for probe in found.probes:
        _draw_probe(probe, screen)
    screen.print()
    head = f"{'dns_lookup_family':<19}{'asks':<9}{'LOGICAL_DNS':<26}{'STRICT_DNS':<26}Ostiary"
    folded = screen.folds and screen.width < len(head)
    if not folded:
        screen.print(Text(head, "dim"))
    for verdict in found.verdicts:
        trace = found.traces.get(verdict.family)
        marks = [
            (_mark(verdict.logical, screen), _fate(verdict.logical), _STYLES[verdict.logical.fate]),
            (_mark(verdict.strict, screen), _fate(verdict.strict), _STYLES[verdict.strict.fate]),
        ]
        if trace is not None:
            mark = screen.glyphs.good if trace.ok else screen.glyphs.bad
            text = milliseconds(trace.elapsed_ms) if trace.ok else "fails"
            marks.append((mark, text, "green" if trace.ok else "bold red"))
        line = Text().append(f"{verdict.family:<19}", "bold").append(f"{'+'.join(verdict.asked):<9}")
        if folded:
            screen.print(line)
            for name, (mark, text, style) in zip(("LOGICAL_DNS", "STRICT_DNS", "Ostiary"), marks, strict=False):
                screen.print(Text(f"  {name:<12}").append(f"{mark} {text}", style))
        else:
            for mark, text, style in marks:
                line.append(f"{f'{mark} {text}':<26}", style)
            line.rstrip()
            screen.print(line)
        screen.words(addresses_line(verdict, screen.glyphs.arrow), "dim", indent=2)
        if trouble := trouble_line(verdict):
            screen.words(trouble, "red" if verdict.logical.fate == "fails" else "yellow", indent=2)
    for note in footnotes(found):
        screen.words(note, "dim")
    _draw_recommendation(found, screen)


def _draw_probe(probe: Attempt, screen: Screen) -> None:
    mark = screen.glyphs.good if probe.outcome == "won" else screen.glyphs.bad
    what = attempt_note(probe) if has_route(probe) else f"{attempt_note(probe)} (no route from here)"
    style = "green" if probe.outcome == "won" else "red"
    line = Text(f"    {'IPv6' if probe.family == 'v6' else 'IPv4':<5}{milliseconds(took_ms(probe)):>9}  ")
    screen.print(line.append(f"{mark} {probe.address}", style).append(f"  {screen.clean(what)}", "dim"))


def _draw_recommendation(found: Comparison, screen: Screen) -> None:
    advice = found.recommendation
    screen.print()
    if advice.dns_lookup_family is None:
        screen.words(f"{screen.glyphs.bad} {advice.reason}", "bold red")
    else:
        screen.words(f"{screen.glyphs.arrow} Recommended here: {advice.dns_lookup_family}. {advice.reason}", "bold")
        for line in advice.yaml.splitlines():
            screen.print(Text(f"    {line}", "cyan"))
    for warning in advice.warnings:
        screen.words(f"! {warning}", "yellow")


def _mark(forecast: Forecast, screen: Screen) -> str:
    return {"works": screen.glyphs.good, "some requests fail": "!", "fails": screen.glyphs.bad}[forecast.fate]


def _fate(forecast: Forecast) -> str:
    if forecast.fate == "works" and forecast.winner is not None:
        family = "IPv6" if forecast.winner.family == "v6" else "IPv4"
        return f"{family} in {milliseconds(forecast.elapsed_ms or 0.0)}"
    return "503 for some requests" if forecast.fate != "fails" else f"503 {forecast.flags}"
