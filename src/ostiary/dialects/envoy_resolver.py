"""How a cluster's names are resolved, and from which local addresses it is connected to."""

from __future__ import annotations

from typing import Final, NamedTuple

from ostiary.core.addresses import is_ip_address
from ostiary.dialects.envoy_common import Context, socket_address
from ostiary.dialects.schema_tree import Message
from ostiary.model.dns import EDNS_PAYLOAD, DnsOptions

_PACKAGE: Final = "envoy.extensions.network.dns_resolver"
_CARES: Final = f"{_PACKAGE}.cares.v3.CaresDnsResolverConfig"
_GETADDRINFO: Final = f"{_PACKAGE}.getaddrinfo.v3.GetAddrInfoDnsResolverConfig"
_DNS_PORT: Final = 53


class Resolver(NamedTuple):
    """In the terms of the model's Cluster."""

    servers: tuple[tuple[str, int], ...] = ()
    tcp: bool = False
    no_default_search_domain: bool = False
    options: DnsOptions = DnsOptions()


def resolver(message: Message, dns: Message, context: Context) -> Resolver:
    """The cluster's, or that of the bootstrap. `dns` is the message with the DNS settings, the cluster or another."""
    tcp = message.boolean("use_tcp_for_dns_lookups")
    old = message.message("dns_resolution_config")
    written = dns.message("typed_dns_resolver_config")
    if written is None and old is not None:
        options = old.optional("dns_resolver_options")
        tcp = options.boolean("use_tcp_for_dns_lookups") or tcp
        return Resolver(_servers(old, "resolvers"), tcp, options.boolean("no_default_search_domain"))
    if written is None and message.has("dns_resolvers"):
        return Resolver(_servers(message, "dns_resolvers"), tcp)
    extension = written or context.dns_resolver
    if extension is None:
        return Resolver(tcp=tcp)
    extension.take("name")
    typed = extension.message("typed_config")
    if typed is None:
        return Resolver(tcp=tcp)
    if typed.name == _GETADDRINFO:
        typed.ignore("num_resolver_threads")  # each lookup has a thread of its own, eight at most
        retries = typed.integer("num_retries") if typed.has("num_retries") else None
        return Resolver(options=DnsOptions(system=True, num_retries=retries))
    if typed.name != _CARES:
        typed.unsupported(None, f"use {_CARES.rpartition('.')[2]}, or none for resolv.conf's servers")
        return Resolver(tcp=tcp)
    return _cares(typed, tcp, context)


def _cares(typed: Message, tcp: bool, context: Context) -> Resolver:
    # Every question has a socket of its own here: none is ever used too often, for too long, or after a timeout.
    typed.ignore("udp_max_queries", "max_udp_channel_duration", "reinit_channel_on_timeout")
    if typed.integer("qcache_max_ttl"):
        context.differs("qcache_max_ttl is not used: answers are kept for their TTL here, an hour at most")
    written = typed.optional("dns_resolver_options")
    timeout = typed.integer("query_timeout_seconds")
    return Resolver(
        _servers(typed, "resolvers"),
        written.boolean("use_tcp_for_dns_lookups") or tcp,
        written.boolean("no_default_search_domain"),
        DnsOptions(
            query_timeout=float(timeout) if timeout else None,
            query_tries=typed.integer("query_tries") or None,
            rotate_nameservers=typed.boolean("rotate_nameservers"),
            edns0_max_payload_size=typed.integer("edns0_max_payload_size") or EDNS_PAYLOAD,
            use_resolvers_as_fallback=typed.boolean("use_resolvers_as_fallback"),
            filter_unroutable_families=typed.boolean("filter_unroutable_families"),
        ),
    )


def _servers(message: Message, name: str) -> tuple[tuple[str, int], ...]:
    found = []
    for item in message.messages(name):
        address = item.required("socket_address")
        address.choice("protocol", ("TCP", "UDP"))  # says nothing: asked is over UDP, and TCP where it must be
        if address.has("named_port"):
            address.unsupported("named_port", "write the number as port_value")
        host, port = address.text("address"), address.integer("port_value")
        if not is_ip_address(host):
            item.problem("socket_address", f"malformed IP address: '{host}'", "a DNS server is given by address")
        found.append((host, port or _DNS_PORT))
    return tuple(found)


def local_addresses(message: Message, context: Context) -> tuple[tuple[str, int], ...]:
    """`upstream_bind_config` of the cluster, or of the bootstrap's cluster manager: one address of a family."""
    config = message.message("upstream_bind_config") or context.bind_config
    if config is None:
        return ()
    if config.boolean("freebind"):
        config.unsupported("freebind", "bind to an address that this host has")
    written = [config.message("source_address"), *config.messages("additional_source_addresses")]
    written += [extra.message("address") for extra in config.messages("extra_source_addresses")]
    found: dict[bool, tuple[str, int]] = {}
    for item in written:
        if item is None:
            continue
        host, port = socket_address(item)
        if not is_ip_address(host):
            item.problem("address", f"malformed IP address: '{host}'", "connections come from an address of this host")
        elif (":" in host) in found:
            family = "IPv6" if ":" in host else "IPv4"
            item.problem("address", f"a second source address of {family}", "one of each family")
        else:
            found[":" in host] = (host, port)
    return tuple(found.values())
