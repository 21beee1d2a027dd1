"""`ostiary connect`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, get_args

import click

from ostiary.core.target import Target, parse_nameserver, parse_target
from ostiary.core.trace import ConnectTrace
from ostiary.model import limits
from ostiary.model.clusters import DnsLookupFamily
from ostiary.model.tls import CertificateValidationContext, DataSource, UpstreamTlsContext
from ostiary.net.connector import ConnectError, Connector
from ostiary.net.tls import ClientContext, TlsError, UpstreamTls

_FAMILIES: tuple[DnsLookupFamily, ...] = get_args(DnsLookupFamily)
_MILLISECONDS = click.IntRange(min=0, max=60_000)


def _reads(read: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A parameter's callback: reads each value with a function that raises ValueError."""

    def callback(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        try:
            return read(value) if isinstance(value, str) else tuple(read(item) for item in value)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx=context, param=parameter) from error

    return callback


@click.command()
@click.argument("target", callback=_reads(parse_target), metavar="URL|HOST:PORT")
@click.option(
    "--dns-lookup-family",
    "family",
    type=click.Choice(_FAMILIES, case_sensitive=False),
    metavar=f"[{'|'.join(_FAMILIES)}]",
    default="ALL",
    show_default=True,
    help="Which addresses are asked for, and raced.",
)
@click.option("--families", is_flag=True, help="All five lookup families side by side: what Envoy would do from here.")
@click.option(
    "--nameserver",
    "nameservers",
    callback=_reads(parse_nameserver),
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
    default=int(limits.RESOLUTION_DELAY * 1000),
    show_default=True,
    help="How long an IPv4 answer waits for the IPv6 one.",
)
@click.option(
    "--attempt-delay-ms",
    type=_MILLISECONDS,
    default=int(limits.CONNECTION_ATTEMPT_DELAY * 1000),
    show_default=True,
    help="Between the starts of two attempts.",
)
@click.option("--ca", type=click.Path(), metavar="FILE", help="Trust these roots (PEM) instead of the system's.")
@click.option("--sni", metavar="NAME", help="Send and verify this name instead of the target's.")
@click.option("--insecure", is_flag=True, help="Don't verify the certificate.")
@click.option("--no-tls", is_flag=True, help="TCP only. Without it, HOST:PORT means TLS, and a URL what it says.")
@click.option("--repeat", type=click.IntRange(1, 1000), metavar="N", help="Connect N times; later ones know more.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout; a list with --repeat.")
def command(
    target: Target,
    family: DnsLookupFamily,
    families: bool,
    nameservers: tuple[tuple[str, int], ...],
    connect_timeout: float,
    resolution_delay_ms: int,
    attempt_delay_ms: int,
    ca: str | None,
    sni: str | None,
    insecure: bool,
    no_tls: bool,
    repeat: int | None,
    as_json: bool,
) -> int:
    """Draw one connection as a timeline: DNS, attempts, TLS, and the winner.

    Exits with 1 if there is no connection.

    \b
    Examples:
      ostiary connect https://login.example/
      ostiary connect --dns-lookup-family AUTO --nameserver 10.0.0.10 login.example:443
    """
    if families and repeat is not None:
        raise click.UsageError("--families and --repeat exclude each other")
    context = None if no_tls or target.tls is False else _context(ca, sni, insecure)
    if context is None and (ca or sni or insecure):
        raise click.UsageError("--ca, --sni and --insecure have no meaning without TLS")

    async def one(connector: Connector, lookup: DnsLookupFamily) -> ConnectTrace:
        try:
            transport, _, trace = await connector.connect(
                target.host,
                target.port,
                asyncio.Protocol,
                ssl=context,
                server_hostname=sni,
                dns_lookup_family=lookup,
                timeout=connect_timeout,
                dns_servers=nameservers,
                https_records=target.tls is True and context is not None and not families,
                resolution_delay=resolution_delay_ms / 1000,
                attempt_delay=attempt_delay_ms / 1000,
            )
        except ConnectError as error:
            return error.trace
        transport.abort()
        return trace

    async def each_family() -> list[ConnectTrace]:
        return [await one(Connector(linger=0.0), lookup) for lookup in _FAMILIES]

    async def repeated() -> list[ConnectTrace]:
        connector = Connector(linger=0.0)
        return [await one(connector, family) for _ in range(repeat or 1)]

    traces = asyncio.run(each_family() if families else repeated())
    _show(traces, families=families, repeated=repeat is not None, as_json=as_json)
    return 0 if all(trace.ok for trace in traces if not families or trace.dns_lookup_family == "ALL") else 1


def _show(traces: Sequence[ConnectTrace], *, families: bool, repeated: bool, as_json: bool) -> None:
    if as_json:
        document: Any = [trace.as_dict() for trace in traces]
        if families:
            document = {trace.dns_lookup_family: trace.as_dict() for trace in traces}
        elif not repeated:
            document = document[0]
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    from ostiary.cli.timeline import draw, draw_families

    console = Console(highlight=False)
    if families:
        draw_families(traces, console)
        return
    for number, trace in enumerate(traces):
        if number:
            console.print()
        draw(trace, console)


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
        raise click.UsageError(str(error)) from error
