"""Every DNS server on its own: what each answers, so that one that is wrong or silent can be told from the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import dns.exception
import dns.name

from ostiary.core.addresses import RecordType
from ostiary.core.trace import DnsQuery
from ostiary.net.dns_exchange import Exchange, Pace
from ostiary.net.resolv_conf import ResolvConf, Server, SystemFiles

_TYPES: tuple[RecordType, ...] = ("AAAA", "A")


async def ask_each(name: str, servers: Sequence[Server], patience: float) -> list[DnsQuery]:
    """Both types, of every server, at the same time, within `patience` seconds each. A name that is none: nothing."""
    try:
        question = dns.name.from_text(f"{name.rstrip('.')}.")
    except (dns.exception.DNSException, UnicodeError):
        return []
    records: list[DnsQuery] = []
    pace = Pace(total=patience)
    asked = [
        Exchange(records, question, record_type, [server], pace, {}) for server in servers for record_type in _TYPES
    ]
    await asyncio.gather(*(each.run() for each in asked))
    return records


async def ask_detours(name: str, servers: Sequence[Server], patience: float) -> list[DnsQuery]:
    """The names that resolv.conf's search list makes of this one *before* it is asked for as it stands."""
    found: list[list[DnsQuery]] = await asyncio.gather(
        *(ask_each(each, servers[:1], patience) for each in detours(system_settings(), name))
    )
    return [query for queries in found for query in queries]


def detours(conf: ResolvConf, name: str) -> list[str]:
    """The names asked for before `name` itself; none for one with a final dot, or enough dots."""
    names = conf.candidates(name)
    return names[: names.index(f"{name.rstrip('.')}.")]


def system_settings() -> ResolvConf:
    """resolv.conf, as it is now."""
    return SystemFiles().conf()
