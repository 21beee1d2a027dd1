"""`ostiary log`."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Final

import click

from ostiary.cli.completion import complete_levels

_DEFAULT: Final = "http://127.0.0.1:9901"
_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|)")


def seconds(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """`60`, `60s`, `5m`, `1m30s`."""
    if value is None:
        return None
    parts = _DURATION.findall(value)
    total = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != value or not 0 < total <= 24 * 3600:
        raise click.BadParameter(f"{value!r} is no time up to a day: 60s, 5m, 1m30s")
    return total


@click.command()
@click.option("--admin", metavar="URL", help=f"The proxy's admin port: http://HOST:PORT or unix:PATH.  [{_DEFAULT}]")
@click.option("--pod", metavar="NS/POD", help="A pod with an Istio proxy, asked through kubectl; also NS/deploy/NAME.")
@click.option(
    "--level",
    "levels",
    multiple=True,
    metavar="LEVEL|LOGGER:LEVEL,...",
    shell_complete=complete_levels,
    help="Set levels: for all loggers, or for some, or both: `info,oauth2:debug`. Repeatable.",
)
@click.option("-r", "--reset", is_flag=True, help="Back to the levels before the first --level.")
@click.option(
    "--for",
    "seconds",
    callback=seconds,
    metavar="TIME",
    help="Put the levels back after that: 60s, 5m. Also on Ctrl-C.",
)
@click.option("-f", "--follow", is_flag=True, help="Print the log meanwhile: the pod's, or that of --log.")
@click.option(
    "--log",
    "file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="The log to follow.",
)
@click.option("--container", default="istio-proxy", show_default=True, metavar="NAME", help="The pod's container.")
@click.option("--context", default="", metavar="NAME", help="kubectl's --context.")
@click.option(
    "--kubeconfig", default="", metavar="FILE", type=click.Path(readable=False), help="kubectl's --kubeconfig."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(
    admin: str | None,
    pod: str | None,
    levels: tuple[str, ...],
    reset: bool,
    seconds: float | None,
    follow: bool,
    file: Path | None,
    container: str,
    context: str,
    kubeconfig: str,
    as_json: bool,
) -> int:
    """Show and change the log levels of a running proxy: Ostiary, any Envoy, or the Envoy in an Istio pod.

    A change is made as a whole or not at all. Exits with 1 if the proxy can't be asked.

    \b
    Examples:
      ostiary log --admin http://127.0.0.1:9901
      ostiary log --pod default/httpbin-1 --level happy_eyeballs:debug,connection:debug
      ostiary log --pod default/httpbin-1 --level oauth2:debug --for 60s --follow
      ostiary log --pod default/httpbin-1 --reset
    """
    if admin is not None and pod is not None:
        raise click.UsageError("--admin and --pod exclude each other")
    if levels and reset:
        raise click.UsageError("--level and --reset exclude each other")
    if seconds is not None and not levels:
        raise click.UsageError("--for says for how long: --level says what")
    if file is not None and not follow:
        raise click.UsageError("--log names what --follow prints: add --follow")
    if follow and as_json:
        raise click.UsageError("--follow prints a log, --json one document: choose one")
    if follow and pod is None and file is None:
        raise click.UsageError(
            "an admin port gives no log: --log FILE names the proxy's, or pipe what the proxy prints"
        )
    from ostiary.cli.log_run import Order, run
    from ostiary.core.level_change import parse_wanted
    from ostiary.net.admin_client import HttpAdmin, Pod, PodAdmin

    try:
        wanted = parse_wanted(levels) if levels else None
        place = Pod.parse(pod, container, context, kubeconfig) if pod is not None else None
        client = PodAdmin(place) if place is not None else HttpAdmin(admin or _DEFAULT)
        return asyncio.run(run(client, Order(place, wanted, reset, seconds, file if follow else None, follow, as_json)))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
