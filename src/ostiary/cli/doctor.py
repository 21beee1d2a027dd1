"""`ostiary doctor`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

import click

from ostiary.cli.configuration import read_bytes, read_file
from ostiary.cli.exit_codes import EXIT_INTERRUPTED, EXIT_PROBLEM, EXIT_USAGE
from ostiary.cli.log import seconds
from ostiary.cli.outputs import reads, writable, write_page
from ostiary.cli.standard_input import EndableInput

if TYPE_CHECKING:
    from ostiary.doctor.examine import Question
    from ostiary.doctor.report import Report
    from ostiary.net.admin_client import HttpAdmin, PodAdmin

_STDIN: Final = "-"
_EMPTY: Final = "{} is empty: nothing can be told from it (see whether what should write it does)"


def _complete_rule(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from ostiary.doctor.rules import all_rules

    return [rule.name for rule in all_rules() if rule.name.startswith(incomplete)]


def _admin(url: str) -> list[HttpAdmin]:
    """One, or those of a file that names one a line."""
    from ostiary.net.admin_client import HttpAdmin

    if not url.startswith("@"):
        return [HttpAdmin(url)]
    try:
        lines = Path(url[1:]).read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"can't read {url[1:]}: {getattr(error, 'strerror', None) or error}") from error
    return [HttpAdmin(line) for line in lines]


def _pods(names: tuple[str, ...], container: str, context: str, kubeconfig: str) -> list[PodAdmin]:
    from ostiary.model import limits
    from ostiary.net.admin_client import Pod, PodAdmin

    try:
        turn = asyncio.Semaphore(limits.MAX_KUBECTLS)
        return [PodAdmin(Pod.parse(name, container, context, kubeconfig), turn=turn) for name in names]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--pod") from error


@click.command()
@click.argument("target", required=False, metavar="[TARGET]")
@click.option(
    "-c",
    "--config",
    "configurations",
    multiple=True,
    type=click.Path(readable=False),
    metavar="FILE",
    help="A configuration of any dialect, or a config_dump; may be repeated.",
)
@click.option(
    "--log",
    "logs",
    multiple=True,
    type=click.Path(readable=False),
    metavar="FILE",
    help="A log of any program, plain or packed (gzip, bzip2, xz); - is standard input; may be repeated.",
)
@click.option(
    "--admin",
    "admins",
    multiple=True,
    callback=reads(_admin),
    metavar="URL",
    help="The admin API of a running Envoy or Ostiary: http://HOST:PORT or unix:PATH; @FILE names one a line; may be "
    "repeated.",
)
@click.option(
    "--pod",
    "pods",
    multiple=True,
    metavar="NAMESPACE/POD",
    help="A pod with a sidecar, through kubectl; also NAMESPACE/deploy/NAME, as kubectl takes it; may be repeated.",
)
@click.option("--container", default="istio-proxy", show_default=True, help="The proxy's container in the pod.")
@click.option("--context", default="", help="kubectl's context.")
@click.option("--kubeconfig", default="", type=click.Path(readable=False), help="kubectl's configuration.")
@click.option(
    "--watch",
    "watched",
    callback=seconds,
    metavar="TIME",
    help="Raise the log levels of --admin or --pod for one sign-in, at most so long (60s), read the log meanwhile (a "
    "pod's, or that of --log), and put the levels back.",
)
@click.option("--no-probe", is_flag=True, help="Connect to nothing that a configuration names.")
@click.option("--patch", "only_patch", is_flag=True, help="Print only the patch that mends it.")
@click.option(
    "--html",
    metavar="FILE",
    type=click.Path(readable=False),
    callback=reads(writable),
    help="Write a report for a browser, all in one file; - is standard output.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.option("--list-rules", is_flag=True, help="List everything that can be found.")
@click.option("--explain", metavar="RULE", shell_complete=_complete_rule, help="Explain one rule.")
def command(
    target: str | None,
    configurations: tuple[str, ...],
    logs: tuple[str, ...],
    admins: tuple[list[HttpAdmin], ...],
    pods: tuple[str, ...],
    container: str,
    context: str,
    kubeconfig: str,
    watched: float | None,
    no_probe: bool,
    only_patch: bool,
    html: str | None,
    as_json: bool,
    list_rules: bool,
    explain: str | None,
) -> int:
    """Find out why sign-in fails: root cause, proof, mend.

    TARGET is a URL or HOST:PORT to probe from here. Kinds of evidence combine. Exits with 0 if all is well, with 1 if
    something was found.

    \b
    Examples:
      ostiary doctor https://login.example.com
      ostiary doctor -c envoyfilter.yaml
      ostiary doctor --admin http://127.0.0.1:15000 -c envoyfilter.yaml
      kubectl logs POD -c istio-proxy | ostiary doctor --log - -c envoyfilter.yaml
      ostiary doctor --pod shop/httpbin-1 --watch 60s
      ostiary doctor -c envoyfilter.yaml --patch | patch -p0
      ostiary doctor --explain dns-family-unreachable
    """
    if list_rules:
        return _list_rules(as_json)
    if explain is not None:
        return _explain(explain)
    if target is None and not (configurations or logs or admins or pods):
        kinds = "a URL, a configuration (-c), a log (--log), an admin API (--admin) or a pod (--pod)"
        raise click.UsageError(f"nothing to look at: name {kinds}; see --help")
    if html == _STDIN and (as_json or only_patch):
        raise click.UsageError("--html - wants standard output for itself: give it a file")
    piped = EndableInput(sys.stdin.fileno()) if _STDIN in logs else None
    question = _question(target or "", configurations, logs, piped, probes=not no_probe)
    question = replace(question, admins=(*chain.from_iterable(admins), *_pods(pods, container, context, kubeconfig)))
    if watched is not None:
        question = _watching(question, watched, logs, pods=bool(pods))
    report, interrupted = _examine(question, piped)
    if report is None:
        return EXIT_INTERRUPTED
    if report.evidence and all(each.is_empty for each in report.evidence):
        from ostiary.cli.commands import fail

        return fail(_EMPTY.format("standard input" if logs == (_STDIN,) else " and ".join(logs)), EXIT_USAGE)
    if html is not None:
        from ostiary.doctor.page import page

        write_page(page(report), html)
    if html != _STDIN:
        _show(report, as_json=as_json, only_patch=only_patch)
    if interrupted:
        return EXIT_INTERRUPTED
    return 0 if report.healthy else EXIT_PROBLEM


def _question(
    target: str, configurations: tuple[str, ...], logs: tuple[str, ...], piped: EndableInput | None, *, probes: bool
) -> Question:
    from ostiary.core.target import parse_target
    from ostiary.doctor.examine import Question

    if target:
        try:
            parse_target(target)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="TARGET") from error
    return Question(
        target=target,
        configurations=tuple((name, read_bytes(name)) for name in configurations),
        logs=tuple((name, _opens(name, piped)) for name in logs),
        environment=os.environ,
        open_file=read_file,
        probes=probes,
    )


def _watching(question: Question, watched: float, logs: tuple[str, ...], *, pods: bool) -> Question:
    """The logs are followed instead of being read from their start."""
    from ostiary.doctor.live.watch import Watch

    if not question.admins:
        raise click.UsageError("--watch raises levels: --admin or --pod says of which proxy")
    if len(logs) > 1 or _STDIN in logs or (not logs and not pods):
        raise click.UsageError("an admin port gives no log: with --watch, --log FILE names the proxy's, one file")

    def announce(text: str) -> None:
        print(f"ostiary: {text}", file=sys.stderr, flush=True)

    file = Path(logs[0]) if logs else None
    return replace(question, logs=(), watch=Watch(seconds=watched, announce=announce, file=file))


def _opens(name: str, piped: EndableInput | None) -> Callable[[], BinaryIO]:
    if name == _STDIN and piped is not None:
        return lambda: cast("BinaryIO", piped)
    try:
        if not Path(name).is_fifo():  # whoever writes into one would be gone after that
            Path(name).open("rb").close()
    except OSError as error:
        raise click.BadParameter(f"can't read {name}: {error.strerror}", param_hint="--log") from error
    return lambda: Path(name).open("rb")


def _examine(question: Question, piped: EndableInput | None) -> tuple[Report | None, bool]:
    """The report (None if somebody did not want to wait for it), and whether Ctrl-C ended the log of a pipe."""
    from ostiary.cli.progress import Progress
    from ostiary.doctor.examine import examine

    now: dict[str, str] = {}
    ended = False
    if piped is not None:
        now[_STDIN] = "reading; Ctrl-C ends it and shows what there is"

    async def run() -> Report:
        async with Progress(lambda: "; ".join(f"{source}: {what}" for source, what in now.items())):
            return await examine(question, now.__setitem__)

    async def ends_well() -> Report | None:
        work = asyncio.ensure_future(run())

        def end() -> None:
            nonlocal ended
            if ended or piped is None or piped.closed:
                work.cancel()
            else:
                piped.end()
            ended = True

        if piped is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, end)
        if question.watch is not None:  # levels go back whatever ends it
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, lambda: work.cancelling() or work.cancel())
        try:
            return await work
        except asyncio.CancelledError:
            return None

    try:
        return asyncio.run(ends_well()), ended
    except KeyboardInterrupt:
        return None, True


def _show(report: Report, *, as_json: bool, only_patch: bool) -> None:
    if only_patch:
        patch = report.patch
        sys.stdout.write(patch)
        if not patch:
            told = "nothing is wrong" if not report.findings else "no patch mends it: the report says what to do"
            print(f"ostiary: {told}", file=sys.stderr)
    elif as_json:
        print(json.dumps(report.as_dict(), indent=2, ensure_ascii=False))
    else:
        from ostiary.cli.doctor_text import show
        from ostiary.cli.terminal import screen

        show(report, screen())


def _list_rules(as_json: bool) -> int:
    from ostiary.doctor.rules import all_rules, title

    rules = all_rules()
    if as_json:
        found: list[dict[str, Any]] = [
            {"rule": rule.name, "family": rule.family, "title": title(rule.name), "claims": rule.claims}
            for rule in rules
        ]
        print(json.dumps(found, indent=2))
        return 0
    width = max(len(rule.name) for rule in rules)
    for family in dict.fromkeys(rule.family for rule in rules):
        print(f"{family}:")
        for rule in rules:
            if rule.family == family:
                print(f"  {rule.name:<{width}}  {title(rule.name)}")
    return 0


def _explain(name: str) -> int:
    from difflib import get_close_matches

    from ostiary.doctor.rules import all_rules, page

    try:
        print(page(name), end="")
    except KeyError:
        near = get_close_matches(name, [rule.name for rule in all_rules()], 3, 0.5)
        hint = f": did you mean {' or '.join(near)}?" if near else "; --list-rules names them all"
        raise click.BadParameter(f"there is no rule {name!r}{hint}", param_hint="--explain") from None
    return 0
