"""TLS contexts of clusters and listeners."""

from __future__ import annotations

from typing import get_args

from ostiary.dialects.envoy_common import Context, data_source, string_matcher
from ostiary.dialects.envoy_secret import sds_message, sds_path
from ostiary.dialects.schema_tree import Message
from ostiary.model.clusters import Http2
from ostiary.model.errors import ConfigError
from ostiary.model.tls import (
    CertificateValidationContext,
    DataSource,
    DownstreamTlsContext,
    SanMatcher,
    TlsCertificate,
    TlsVersion,
    UpstreamTlsContext,
)

UPSTREAM = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
DOWNSTREAM = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
RAW_BUFFER = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
_VERSIONS: tuple[TlsVersion, ...] = get_args(TlsVersion)
_HTTP1 = "http/1.1"
_CIPHER_SUITES = frozenset(
    f"{exchange}{cipher}"
    for exchange in ("ECDHE-ECDSA-", "ECDHE-RSA-", "")
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305", "AES128-SHA", "AES256-SHA")
    if exchange or cipher != "CHACHA20-POLY1305"
)
"""What BoringSSL has for TLS 1.2 and earlier, without those that OpenSSL no longer builds; TLS 1.3 takes no choice."""


def upstream_tls(
    socket: Message, cluster: str, context: Context, http2: Http2 | None = None
) -> UpstreamTlsContext | None:
    """core.v3.TransportSocket of a cluster, which speaks HTTP/2 or not; None for plain text."""
    tls = _typed(socket, UPSTREAM)
    if tls is None:
        return None
    tls.ignore("auto_sni_san_validation")
    common = tls.optional("common_tls_context")
    params = common.optional("tls_params")
    validation = _validation(common, context)
    if validation is None or (validation.trusted_ca is None and not validation.accept_untrusted):
        context.differs(
            f"cluster '{cluster}': no trusted_ca; Envoy would verify nothing, here the system's roots verify the peer"
        )
    if validation is None or not validation.match_typed_subject_alt_names:
        context.differs(f"cluster '{cluster}': the certificate must be for the SNI or host name; Envoy checks no name")
    return UpstreamTlsContext(
        sni=tls.text("sni"),
        auto_host_sni=tls.boolean("auto_host_sni"),
        max_session_keys=tls.integer("max_session_keys", 1),
        alpn_protocols=_alpn(common, context) if http2 is None else _alpn_http2(common, http2),
        tls_certificates=_certificates(common, context),
        validation_context=validation or CertificateValidationContext(),
        tls_minimum_protocol_version=params.choice("tls_minimum_protocol_version", _VERSIONS),
        tls_maximum_protocol_version=params.choice("tls_maximum_protocol_version", _VERSIONS),
        cipher_suites=_cipher_suites(params),
    )


def downstream_tls(socket: Message, context: Context) -> DownstreamTlsContext | None:
    """core.v3.TransportSocket of a filter chain; None for plain text."""
    tls = _typed(socket, DOWNSTREAM)
    if tls is None:
        return None
    common = tls.optional("common_tls_context")
    params = common.optional("tls_params")
    certificates = _certificates(common, context)
    if not any(common.has(name) for name in ("tls_certificates", "tls_certificate_sds_secret_configs")):
        common.problem("tls_certificates", "a listener with TLS needs a certificate")
    validation = _validation(common, context)
    required = tls.boolean("require_client_certificate")
    if required and (validation is None or (validation.trusted_ca is None and not validation.accept_untrusted)):
        tls.problem(
            "require_client_certificate",
            "client certificates would be verified by nothing",
            "add a validation_context with trusted_ca",
        )
    return DownstreamTlsContext(
        tls_certificates=certificates,
        require_client_certificate=required,
        validation_context=validation,
        alpn_protocols=_alpn(common, context),
        tls_minimum_protocol_version=params.choice("tls_minimum_protocol_version", _VERSIONS),
        tls_maximum_protocol_version=params.choice("tls_maximum_protocol_version", _VERSIONS),
        cipher_suites=_cipher_suites(params),
    )


def _typed(socket: Message, wanted: str) -> Message | None:
    """The transport socket's configuration if it is of type `wanted`; None for plain text and for what is reported."""
    socket.take("name")  # any name will do: the type decides
    typed = socket.message("typed_config")
    if typed is None or not typed.name:
        socket.problem("typed_config", "is required", f"add '@type: type.googleapis.com/{wanted}'")
        return None
    if typed.name == wanted:
        return typed
    if {typed.name, wanted} == {UPSTREAM, DOWNSTREAM}:
        typed.problem(None, f"this is a {typed.name.rpartition('.')[2]}", f"use type.googleapis.com/{wanted}")
        typed.ignore(*typed.written())
    elif typed.name != RAW_BUFFER:
        typed.unsupported(None, f"use {wanted.rpartition('.')[2]}, or no transport_socket for plain text")
    return None


def _alpn(common: Message, context: Context) -> tuple[str, ...]:
    protocols = common.texts("alpn_protocols")
    if "h2" not in protocols:
        return protocols
    if _HTTP1 not in protocols:
        text = "h2 alone, but HTTP/1.1 is spoken"
        common.problem("alpn_protocols", text, f"add {_HTTP1}; a cluster may speak HTTP/2: http2_protocol_options")
    context.differs("alpn_protocols: h2 is not offered; HTTP/1.1 is used")
    return tuple(protocol for protocol in protocols if protocol != "h2")


def _alpn_http2(common: Message, http2: Http2) -> tuple[str, ...]:
    """Of a cluster that speaks HTTP/2: what is written, or what Envoy offers then."""
    protocols = common.texts("alpn_protocols")
    if protocols and "h2" not in protocols:
        text = "HTTP/2 is to be spoken, but h2 is not offered"
        common.problem("alpn_protocols", text, "add h2, or remove alpn_protocols", severity="warning")
    return protocols or (("h2", _HTTP1) if http2.negotiate else ("h2",))


def _cipher_suites(params: Message) -> tuple[str, ...]:
    """BoringSSL's groups of equal preference (`[A|B]`) become a plain order."""
    names = tuple(name for group in params.texts("cipher_suites") for name in group.strip("[]").split("|"))
    for name in names:
        if name not in _CIPHER_SUITES:
            params.problem(
                "cipher_suites", f"no such cipher suite: '{name}'", f"one of {', '.join(sorted(_CIPHER_SUITES))}"
            )
    return names


def _certificates(common: Message, context: Context) -> tuple[TlsCertificate, ...]:
    messages = list(common.messages("tls_certificates"))
    for config in common.messages("tls_certificate_sds_secret_configs"):
        secret = _secret(config, "tls_certificate", context)
        if secret is not None:
            messages.append(secret)
    found = [_certificate(message, context) for message in messages]
    return tuple(certificate for certificate in found if certificate is not None)


def _certificate(message: Message, context: Context) -> TlsCertificate | None:
    message.ignore("watched_directory")
    chain, key = (data_source(message.required(name), context) for name in ("certificate_chain", "private_key"))
    password = message.message("password")
    if chain is None or key is None:
        return None
    return TlsCertificate(
        certificate_chain=chain,
        private_key=key,
        password=data_source(password, context) if password is not None else None,
    )


def _validation(common: Message, context: Context) -> CertificateValidationContext | None:
    if (combined := common.message("combined_validation_context")) is not None:
        base = _validation_context(combined.required("default_validation_context"), context)
        secret = _secret(combined.required("validation_context_sds_secret_config"), "validation_context", context)
        added = _validation_context(secret, context) if secret is not None else CertificateValidationContext()
        return CertificateValidationContext(
            trusted_ca=added.trusted_ca or base.trusted_ca,
            match_typed_subject_alt_names=base.match_typed_subject_alt_names + added.match_typed_subject_alt_names,
            accept_untrusted=base.accept_untrusted or added.accept_untrusted,
        )
    if (config := common.message("validation_context_sds_secret_config")) is not None:
        secret = _secret(config, "validation_context", context)
        return _validation_context(secret, context) if secret is not None else None
    plain = common.message("validation_context")
    return _validation_context(plain, context) if plain is not None else None


def _validation_context(message: Message, context: Context) -> CertificateValidationContext:
    message.ignore("watched_directory", "system_root_certs")
    trusted: DataSource | None = None
    if (written := message.message("trusted_ca")) is not None:
        trusted = data_source(written, context)
    names = [_san_matcher(item) for item in message.messages("match_typed_subject_alt_names")]
    names += [
        SanMatcher(san_type="ANY", matcher=string_matcher(item)) for item in message.messages("match_subject_alt_names")
    ]
    trust = message.choice("trust_chain_verification", ("VERIFY_TRUST_CHAIN", "ACCEPT_UNTRUSTED"))
    return CertificateValidationContext(
        trusted_ca=trusted,
        match_typed_subject_alt_names=tuple(names),
        accept_untrusted=trust == "ACCEPT_UNTRUSTED",
    )


def _san_matcher(message: Message) -> SanMatcher:
    return SanMatcher(
        san_type=message.choice("san_type", ("DNS", "EMAIL", "URI", "IP_ADDRESS")),
        matcher=string_matcher(message.required("matcher")),
    )


def _secret(config: Message, kind: str, context: Context) -> Message | None:
    """The `tls_certificate` or `validation_context` that a tls.v3.SdsSecretConfig refers to."""
    name = config.text("name")
    secret = context.secrets.get(name)
    if (source := config.message("sds_config")) is not None:
        secret = None
        if (found := sds_path(source)) is None:
            return None
        text = context.read_file(source, "path_config_source", found[0])
        if text is None:
            return None
        try:
            secret = sds_message(text, found[0], name, context.report)
        except ConfigError as error:
            context.report.diagnostics += error.diagnostics
            return None
        context.included.append(secret)
        context.differs(f"secret '{name}': {found[0]} is read at start; the files it names are read again on change")
    inner = secret.message(kind) if secret is not None else None
    if inner is None:
        config.problem("name", f"no {kind} is called '{name}'", "add it to static_resources.secrets")
    return inner
