"""What the log says about a name once it was looked up, in the words of Envoy's c-ares resolver."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from ostiary.net.log import log

_DNS: Final = log("dns")
_GOOD: Final = "cares_success:Successful completion"
_STATUS: Final = (
    ("nxdomain", 4, "Domain name not found"),
    ("empty", 1, "DNS server returned answer with no data"),
    ("failed", 3, "DNS server returned general failure"),
    ("timeout", 12, "Timeout while contacting DNS servers"),
    ("pending", 12, "Timeout while contacting DNS servers"),
)
"""The worst last: what c-ares would report of several answers."""


def completed(name: str, outcomes: Collection[str]) -> str:
    """Say how it ended, given the outcome of each record type's query; returns it in a few words."""
    if "answered" in outcomes:
        _DNS.trace('dns resolution for %s completed with status 0x0000: "%s"', name, _GOOD)
        return _GOOD
    status, text = next(((number, text) for what, number, text in reversed(_STATUS) if what in outcomes), (1, ""))
    if status in (1, 4):
        _DNS.debug('dns resolution without records for %s c-ares status 0x%04x: "%s"', name, status, text)
    else:
        _DNS.debug('dns resolution for %s failed with c-ares status 0x%04x: "%s"', name, status, text)
    return text
