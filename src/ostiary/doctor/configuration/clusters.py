"""Envoy's clusters to facts: where they lead, how names are looked up, what TLS checks."""

from __future__ import annotations

from typing import Final

from ostiary.dialects.yaml_nodes import Mapping, Node, Scalar
from ostiary.doctor.configuration.tls import tls_context, validation_of
from ostiary.doctor.configuration.walk import Seen, at, field, items, seconds, text
from ostiary.doctor.facts.configuration import ClusterSeen
from ostiary.doctor.facts.origin import Kind, Origin
from ostiary.doctor.finding import Where

_CONNECT_TIMEOUT: Final = 5.0
"""Envoy's default, in seconds."""
_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_DNS: Final = ("LOGICAL_DNS", "STRICT_DNS")


def cluster_fact(seen: Seen, kind: Kind = "config", source: str = "") -> ClusterSeen:
    """The fact of one cluster. Everything that is not written has Envoy's default."""
    node = seen.node
    discovery, family, lookup = _discovery(seen)
    hosts, port = _endpoints(node)
    context = at(node, "transport_socket", "typed_config")
    tls = "transport_sockets.tls" in text(node, "transport_socket", "name") or "UpstreamTlsContext" in text(
        context, "@type"
    )
    name = text(node, "name")
    return ClusterSeen(
        origin=Origin(
            kind=kind,
            source=source or node.file,
            line=node.line if kind == "config" else 0,
            quote=f"cluster {name}: type {discovery}, dns_lookup_family {family or 'not written (AUTO)'}",
        ),
        name=name,
        hosts=hosts,
        port=port,
        type=discovery,
        lookup_family=family or "AUTO",
        family_written=bool(family),
        connect_timeout=seconds(field(node, "connect_timeout"), _CONNECT_TIMEOUT),
        tls=tls,
        sni=_sni(context),
        has_ca=tls and _has_ca(context),
        checks_name=tls and _checks_name(context),
        http2=_http2(node),
        limits_tls=tls and at(context, "common_tls_context", "tls_params") is not None,
        where=seen.where if kind == "config" else None,
        lookup_where=lookup if kind == "config" else None,
        document=seen.document,
        tls_context=tls_context(context) if tls else None,
    )


def _discovery(seen: Seen) -> tuple[str, str, Where]:
    """(type, lookup family as written, the mapping in which the lookup family belongs)."""
    node, where = seen.node, seen.where
    typed = at(node, "cluster_type", "typed_config")
    if text(node, "cluster_type", "name") == "envoy.clusters.dns" and isinstance(typed, Mapping):
        one = text(typed, "all_addresses_in_single_endpoint") == "true"
        inner = Where(file=typed.file, line=typed.line, path=f"{seen.path}.cluster_type.typed_config")
        family = text(typed, "dns_lookup_family").upper()
        return ("LOGICAL_DNS" if one else "STRICT_DNS"), family.replace("UNSPECIFIED", ""), inner
    written = text(node, "cluster_type", "name") or text(node, "type").upper() or "STATIC"
    return written, text(node, "dns_lookup_family").upper(), where


def _endpoints(node: Mapping) -> tuple[tuple[str, ...], int]:
    hosts: list[str] = []
    ports: list[int] = []
    for locality in items(node, "load_assignment", "endpoints"):
        for endpoint in items(locality, "lb_endpoints"):
            address = at(endpoint, "endpoint", "address", "socket_address")
            if host := text(address, "address"):
                hosts.append(host.rstrip(".") if not host.endswith("..") else host)
                ports.append(_integer(field(address, "port_value")))
    return tuple(dict.fromkeys(hosts)), ports[0] if ports else 0


def _sni(context: Node | None) -> str:
    automatic = text(context, "auto_host_sni") == "true"
    return text(context, "sni") or ("(the host's name)" if automatic else "")


def _has_ca(context: Node | None) -> bool:
    common, validation = field(context, "common_tls_context"), validation_of(context)
    by_sds = field(common, "validation_context_sds_secret_config") or at(
        common, "combined_validation_context", "validation_context_sds_secret_config"
    )
    names = ("trusted_ca", "system_root_certs", "ca_certificate_provider_instance", "verify_certificate_spki")
    return by_sds is not None or any(field(validation, name) is not None for name in names)


def _checks_name(context: Node | None) -> bool:
    common, validation = field(context, "common_tls_context"), validation_of(context)
    if field(common, "validation_context_sds_secret_config") is not None:
        return True  # the secret may hold the names; nothing here says otherwise
    if text(context, "auto_sni_san_validation") == "true":
        return True
    names = ("match_typed_subject_alt_names", "match_subject_alt_names", "verify_certificate_spki",
             "verify_certificate_hash")  # fmt: skip
    return any(items(validation, name) for name in names)


def _http2(node: Mapping) -> bool:
    if field(node, "http2_protocol_options") is not None:
        return True
    options = at(node, "typed_extension_protocol_options", _HTTP_OPTIONS)
    return at(options, "explicit_http_config", "http2_protocol_options") is not None


def _integer(node: Node | None) -> int:
    value = node.value if isinstance(node, Scalar) else None
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return value if isinstance(value, int) else 0
