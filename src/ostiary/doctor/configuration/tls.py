"""Envoy's UpstreamTlsContext to the model's, as far as a probe from elsewhere can follow it: what can't be read is left
out, and what is wrong with it is for others to say."""

from __future__ import annotations

from typing import Final, cast, get_args

from ostiary.dialects.yaml_nodes import Node
from ostiary.doctor.configuration.walk import at, field, items, text
from ostiary.model.matchers import StringMatcher
from ostiary.model.secret import Secret
from ostiary.model.tls import (
    CertificateValidationContext,
    DataSource,
    SanMatcher,
    TlsCertificate,
    TlsVersion,
    UpstreamTlsContext,
)

_VERSIONS: Final = get_args(TlsVersion)
_KINDS: Final = ("exact", "prefix", "suffix", "contains")


def tls_context(node: Node | None) -> UpstreamTlsContext:
    """The files, names and versions of one context."""
    common = field(node, "common_tls_context")
    params = field(common, "tls_params")
    validation = validation_of(node)
    certificates = [
        TlsCertificate(certificate_chain=chain, private_key=key)
        for each in items(common, "tls_certificates")
        if (chain := _source(field(each, "certificate_chain"))) and (key := _source(field(each, "private_key")))
    ]
    return UpstreamTlsContext(
        sni=text(node, "sni"),
        alpn_protocols=tuple(text(each) for each in items(common, "alpn_protocols") if text(each)),
        tls_certificates=tuple(certificates[:1]),
        validation_context=CertificateValidationContext(
            trusted_ca=_source(field(validation, "trusted_ca")),
            match_typed_subject_alt_names=_matchers(validation),
            accept_untrusted=text(validation, "trust_chain_verification") == "ACCEPT_UNTRUSTED",
        ),
        tls_minimum_protocol_version=_version(params, "tls_minimum_protocol_version"),
        tls_maximum_protocol_version=_version(params, "tls_maximum_protocol_version"),
    )


def validation_of(context: Node | None) -> Node | None:
    """The validation context, alone or combined with one that is delivered."""
    common = field(context, "common_tls_context")
    combined = at(common, "combined_validation_context", "default_validation_context")
    return field(common, "validation_context") or combined


def _source(node: Node | None) -> DataSource | None:
    if file := text(node, "filename"):
        return DataSource(filename=file)
    inline = text(node, "inline_string")
    return DataSource(inline=Secret(inline)) if inline else None


def _matchers(validation: Node | None) -> tuple[SanMatcher, ...]:
    """None at all if one of them can't be followed: a check that is half known would refuse the wrong ones."""
    found: list[SanMatcher] = []
    for each in items(validation, "match_typed_subject_alt_names"):
        kind = next((kind for kind in _KINDS if text(each, "matcher", kind)), None)
        if kind is None or text(each, "san_type").upper() != "DNS":
            return ()
        found.append(SanMatcher(san_type="DNS", matcher=StringMatcher(kind, text(each, "matcher", kind))))  # type: ignore[arg-type] # one of the kinds
    return tuple(found)


def _version(params: Node | None, name: str) -> TlsVersion:
    found = text(params, name)
    return cast("TlsVersion", found) if found in _VERSIONS else "TLS_AUTO"
