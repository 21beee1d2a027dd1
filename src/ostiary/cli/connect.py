"""`ostiary connect`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, get_args

import click

from ostiary.cli.exit_codes import EXIT_INTERRUPTED, EXIT_PROBLEM
from ostiary.cli.measure import Measured, measure_families, measure_series
from ostiary.cli.outputs import STDOUT, reads, writable, write_page
from ostiary.core.target import Target, parse_nameserver, parse_target
from ostiary.model import limits
from ostiary.model.clusters import DnsLookupFamily
from ostiary.model.tls import CertificateValidationContext, DataSource, UpstreamTlsContext
from ostiary.net.survey import Place
from ostiary.net.tls import ClientContext, TlsError, UpstreamTls

_FAMILIES: tuple[DnsLookupFamily, ...] = get_args(DnsLookupFamily)
_MILLISECONDS = click.IntRange(min=0, max=60_000)


@click.command()
@click.argument("target", callback=reads(parse_target), metavar="URL|HOST:PORT")
@click.option(
    "--dns-lookup-family",
    "family",
    type=click.Choice(_FAMILIES, case_sensitive=False),
    metavar=f"[{'|'.join(_FAMILIES)}]",
    help="Which addresses are asked for, and raced; ALL unless you choose.",
)
@click.option("--families", is_flag=True, help="All five lookup families side by side: what Envoy would do from here.")
@click.option(
    "--nameserver",
    "nameservers",
    callback=reads(parse_nameserver),
    multiple=True,
    metavar="IP[:PORT]",
    help="Ask this DNS server instead of the system's. Repeatable.",
)
@click.option(
    "--connect-timeout",
    type=click.FloatRange(min=0, min_open=True, max=3600),
    default=limits.CONNECT_TIMEOUT,
    show_default=True,
    metavar="S",
    help="Seconds for everything: DNS, all attempts, TLS.",
)
@click.option(
    "--resolution-delay-ms",
    type=_MILLISECONDS,
    help=f"How long an IPv4 answer waits for the IPv6 one; {limits.RESOLUTION_DELAY * 1000:.0f} unless you choose.",
)
@click.option(
    "--attempt-delay-ms",
    type=_MILLISECONDS,
    help=f"Between the starts of two attempts; {limits.CONNECTION_ATTEMPT_DELAY * 1000:.0f} unless you choose.",
)
@click.option(
    "--ca", type=click.Path(readable=False), metavar="FILE", help="Trust these roots (PEM) instead of the system's."
)
@click.option("--sni", metavar="NAME", help="Send and verify this name instead of the target's.")
@click.option("--insecure", is_flag=True, help="Don't verify the certificate.")
@click.option("--no-tls", is_flag=True, help="TCP only. Without it, HOST:PORT means TLS, and a URL what it says.")
@click.option("--repeat", type=click.IntRange(1, 1000), metavar="N", help="Connect N times: percentiles, winners.")
@click.option(
    "--html",
    metavar="FILE",
    type=click.Path(readable=False),
    callback=reads(writable),
    help="Write a report for a browser, all in one file; - is standard output.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout; a list with --repeat.")
def command(
    target: Target,
    family: DnsLookupFamily | None,
    families: bool,
    nameservers: tuple[tuple[str, int], ...],
    connect_timeout: float,
    resolution_delay_ms: int | None,
    attempt_delay_ms: int | None,
    ca: str | None,
    sni: str | None,
    insecure: bool,
    no_tls: bool,
    repeat: int | None,
    html: str | None,
    as_json: bool,
) -> int:
    """Draw one connection as a timeline: DNS, attempts, TLS, and the winner.

    Exits with 1 if there is no connection. Ctrl-C shows what was seen so far.

    \b
    Examples:
      ostiary connect https://login.example/
      ostiary connect --families --nameserver 10.0.0.10 login.example:443
      ostiary connect --repeat 50 --html report.html https://login.example/
    """
    if families:
        _check_families(target, family, repeat)
    if html == STDOUT and as_json:
        raise click.UsageError("--json and --html - both want standard output: give --html a file")
    context = None if no_tls or target.tls is False else _context(ca, sni, insecure)
    if context is None and (ca or sni or insecure):
        raise click.UsageError("--ca, --sni and --insecure have no meaning without TLS")
    delays = {"resolution_delay": resolution_delay_ms, "attempt_delay": attempt_delay_ms}
    options: dict[str, Any] = {name: delay / 1000 for name, delay in delays.items() if delay is not None}
    options["https_records"] = target.tls is True and context is not None and not families
    place = Place(
        host=target.host,
        port=target.port,
        ssl=context,
        server_hostname=sni,
        timeout=connect_timeout,
        dns_servers=nameservers,
        options=options,
    )
    if families:
        measured = measure_families(place)
    else:
        measured = measure_series(place, family or "ALL", repeat or 1)
    taken = datetime.now(UTC)
    if html is not None:
        _write_html(measured, html, taken, repeated=repeat is not None)
    if html != STDOUT:
        _show(measured, repeated=repeat is not None, as_json=as_json)
    if measured.interrupted:
        return EXIT_INTERRUPTED
    return 0 if measured.ok else EXIT_PROBLEM


def _check_families(target: Target, family: DnsLookupFamily | None, repeat: int | None) -> None:
    if repeat is not None:
        raise click.UsageError("--families and --repeat exclude each other")
    if family is not None:
        raise click.UsageError("--families compares all lookup families: leave --dns-lookup-family out")
    try:
        ip_address(target.host)
    except ValueError:
        return
    raise click.UsageError(f"--families needs a name: {target.host} is an address, for which nothing is looked up")


def _show(measured: Measured, *, repeated: bool, as_json: bool) -> None:
    if as_json:
        print(json.dumps(measured.document(repeated=repeated), indent=2))
        return
    from ostiary.cli.family_table import draw_families
    from ostiary.cli.series_table import draw_series
    from ostiary.cli.terminal import screen
    from ostiary.cli.timeline import draw

    shown = screen()
    if measured.comparison is not None:
        draw_families(measured.comparison, shown)
    elif repeated and measured.traces:
        draw_series(measured.traces, shown)
    elif measured.traces:
        draw(measured.traces[-1], shown)


def _write_html(measured: Measured, path: str, taken: datetime, *, repeated: bool) -> None:
    from ostiary.report.connection import families_page, series_page, timeline_page

    if measured.comparison is not None:
        page = families_page(measured.comparison, taken)
    elif not measured.traces:
        return
    elif repeated:
        page = series_page(measured.traces, taken)
    else:
        page = timeline_page(measured.traces[-1], taken)
    write_page(page, path)


def _context(ca: str | None, sni: str | None, insecure: bool) -> ClientContext:
    trusted = DataSource(filename=ca) if ca is not None else None
    settings = UpstreamTlsContext(
        sni=sni or "",
        alpn_protocols=("http/1.1",),
        validation_context=CertificateValidationContext(trusted_ca=trusted, accept_untrusted=insecure),
    )
    try:
        return UpstreamTls(settings)()
    except TlsError as error:
        raise click.UsageError(str(error).replace("trusted_ca:", "--ca:", 1)) from error
