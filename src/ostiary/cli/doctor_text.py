"""The doctor's report on a terminal: the one cause first, its proof, its mend, then the rest, and what was tried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ostiary.cli.terminal import Screen

if TYPE_CHECKING:
    from ostiary.doctor.finding import Finding
    from ostiary.doctor.report import Report

_STYLES: Final = {"error": "bold red", "warning": "bold yellow", "info": "bold"}
_MOST: Final = 10
_DIFF: Final = {"+": "green", "-": "red", "@": "cyan"}


def show(report: Report, screen: Screen) -> None:
    """Print it."""
    if not report.findings:
        screen.words(f"{screen.glyphs.good} Nothing wrong was found with {report.target}.", "bold green")
    for number, finding in enumerate(report.findings):
        if number == 1:
            screen.print()
            screen.words("Also:", "bold")
        _finding(finding, screen, first=number == 0)
    _tried(report, screen)
    _looked_at(report, screen)


def _finding(finding: Finding, screen: Screen, *, first: bool) -> None:
    mark = {"error": screen.glyphs.bad, "warning": "!", "info": screen.glyphs.point}[finding.severity]
    if not first:
        screen.print()
    screen.words(f"{mark} {finding.title}", _STYLES[finding.severity])
    screen.words(
        f"{finding.rule}{screen.glyphs.dot}{finding.severity}{screen.glyphs.dot}{finding.confidence}", "dim", 2
    )
    screen.words(finding.cause, indent=2)
    for line in finding.proof:
        screen.words(f"{screen.glyphs.open} {line}", "dim", indent=4)
    if finding.where is not None:
        path = f" {finding.where.path}" if finding.where.path else ""
        screen.words(f"at {finding.where.file}:{finding.where.line}{path}", "cyan", indent=2)
    screen.words(f"{screen.glyphs.arrow} {finding.mend}", "bold", indent=2)
    if finding.patch:
        show_patch(finding.patch, screen)


def show_patch(patch: str, screen: Screen) -> None:
    """A diff, in colours where there are some."""
    from rich.text import Text

    for line in patch.rstrip("\n").split("\n"):
        style = "bold" if line.startswith(("--- ", "+++ ")) else _DIFF.get(line[:1], "")
        screen.print(Text(f"    {screen.clean(line)}", style))


def _tried(report: Report, screen: Screen) -> None:
    if not report.traces:
        return
    from ostiary.cli.timeline import draw
    from ostiary.doctor.report import in_envoy

    screen.print()
    screen.words("What was tried from here:", "bold")
    told = {each.source: in_envoy(each) for each in report.evidence}
    for trace in report.traces:
        draw(trace, screen)
        if told.get(trace.target):
            screen.words(told[trace.target])


def _looked_at(report: Report, screen: Screen) -> None:
    others = [each for each in report.evidence if each.kind != "probe" or not each.details]
    if not others:
        return
    screen.print()
    for each in others[:_MOST]:
        screen.words(f"{each.kind} {each.source}: {each.summary}", "dim")
    if len(others) > _MOST:
        screen.words(f"and {len(others) - _MOST} more sources (--json names all)", "dim")
