"""How a cluster's names are asked for: what Envoy's `typed_dns_resolver_config` says, as far as it matters here."""

from __future__ import annotations

from typing import Final

import msgspec

EDNS_PAYLOAD: Final = 1232
"""What passes every path unfragmented (DNS flag day 2020)."""


class DnsOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Durations are seconds. The defaults are Ostiary's own resolver with resolv.conf's settings."""

    system: bool = False
    """GetAddrInfoDnsResolverConfig: the operating system resolves, not Ostiary."""
    num_retries: int | None = None
    """getaddrinfo: how often EAI_AGAIN is tried again; None: while there is time."""
    query_timeout: float | None = None
    """Silence after which the next server is asked; None: what resolv.conf says, else one second."""
    query_tries: int | None = None
    """Rounds over the servers; None: what resolv.conf says, else while there is time."""
    rotate_nameservers: bool = False
    edns0_max_payload_size: int = EDNS_PAYLOAD
    use_resolvers_as_fallback: bool = False
    """The given servers count only where resolv.conf has none."""
    filter_unroutable_families: bool = False
    """A family counts as not being in DNS if this host has no route to any of its addresses."""
