"""TLS of clusters and listeners, from the model to Envoy's fields."""

from __future__ import annotations

from collections.abc import Iterable

from ostiary.dialects.envoy_text_values import (
    Secrets,
    Tree,
    data_source,
    extension,
    given,
    some,
    string_matcher,
    typed,
    unless,
)
from ostiary.dialects.envoy_tls import DOWNSTREAM, UPSTREAM
from ostiary.model.tls import (
    CertificateValidationContext,
    DownstreamTlsContext,
    TlsCertificate,
    UpstreamTlsContext,
)

_NAME = "envoy.transport_sockets.tls"


def upstream_tls(model: UpstreamTlsContext, cluster: str, secrets: Secrets) -> Tree:
    """core.v3.TransportSocket of a cluster."""
    validation = model.validation_context
    common = _common(
        model,
        _validation_context(validation) if validation != CertificateValidationContext() else None,
        f"cluster {cluster}",
        secrets,
    )
    context = typed(
        UPSTREAM,
        sni=some(model.sni),
        auto_host_sni=some(model.auto_host_sni),
        max_session_keys=unless(model.max_session_keys, 1),
        common_tls_context=some(common),
    )
    return extension(_NAME, context)


def downstream_tls(model: DownstreamTlsContext, listener: str, secrets: Secrets) -> Tree:
    """core.v3.TransportSocket of a filter chain."""
    validation = model.validation_context
    common = _common(
        model,
        _validation_context(validation) if validation is not None else None,
        f"listener {listener}",
        secrets,
    )
    required = some(model.require_client_certificate)
    return extension(_NAME, typed(DOWNSTREAM, require_client_certificate=required, common_tls_context=common))


def _common(
    model: UpstreamTlsContext | DownstreamTlsContext, validation: Tree | None, owner: str, secrets: Secrets
) -> Tree:
    params = given(
        tls_minimum_protocol_version=unless(model.tls_minimum_protocol_version, "TLS_AUTO"),
        tls_maximum_protocol_version=unless(model.tls_maximum_protocol_version, "TLS_AUTO"),
        cipher_suites=some(list(model.cipher_suites)),
    )
    return given(
        alpn_protocols=some(list(model.alpn_protocols)),
        tls_params=some(params),
        tls_certificates=some(_certificates(model.tls_certificates, owner, secrets)),
        validation_context=validation,
    )


def _certificates(certificates: Iterable[TlsCertificate], owner: str, secrets: Secrets) -> list[Tree]:
    return [
        given(
            certificate_chain=data_source(each.certificate_chain),
            private_key=secrets.source(each.private_key, f"the private key of {owner}"),
            password=secrets.source(each.password, f"the private key's password of {owner}") if each.password else None,
        )
        for each in certificates
    ]


def _validation_context(model: CertificateValidationContext) -> Tree:
    names = model.match_typed_subject_alt_names
    by_type = [
        {"san_type": each.san_type, "matcher": string_matcher(each.matcher)} for each in names if each.san_type != "ANY"
    ]
    return given(
        trusted_ca=data_source(model.trusted_ca) if model.trusted_ca is not None else None,
        match_typed_subject_alt_names=by_type or None,
        match_subject_alt_names=[string_matcher(each.matcher) for each in names if each.san_type == "ANY"] or None,
        trust_chain_verification="ACCEPT_UNTRUSTED" if model.accept_untrusted else None,
    )
