"""TLS settings, with the names of Envoy's `extensions.transport_sockets.tls.v3`."""

from __future__ import annotations

from typing import Literal

import msgspec

from ostiary.model.matchers import StringMatcher
from ostiary.model.secret import Secret

TlsVersion = Literal["TLS_AUTO", "TLSv1_0", "TLSv1_1", "TLSv1_2", "TLSv1_3"]


class DataSource(msgspec.Struct, frozen=True, kw_only=True):
    """config.core.v3.DataSource: one of the two. A file is read again when it changes."""

    filename: str | None = None
    inline: Secret | None = None


class TlsCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate chain and its private key, PEM."""

    certificate_chain: DataSource
    private_key: DataSource
    password: DataSource | None = None


class SanMatcher(msgspec.Struct, frozen=True, kw_only=True):
    """SubjectAltNameMatcher."""

    san_type: Literal["DNS", "EMAIL", "URI", "IP_ADDRESS", "ANY"] = "ANY"
    matcher: StringMatcher


class CertificateValidationContext(msgspec.Struct, frozen=True, kw_only=True):
    """CertificateValidationContext; `trusted_ca` None means the system's roots."""

    trusted_ca: DataSource | None = None
    match_typed_subject_alt_names: tuple[SanMatcher, ...] = ()
    accept_untrusted: bool = False
    """trust_chain_verification: ACCEPT_UNTRUSTED."""


class UpstreamTlsContext(msgspec.Struct, frozen=True, kw_only=True):
    """How a cluster's connections are encrypted. Without a validation context the system's roots verify."""

    sni: str = ""
    """Empty: the endpoint's own host name is used to verify, and sent if it is a name."""
    auto_host_sni: bool = False
    max_session_keys: int = 1
    """0: sessions are not resumed. Else the latest of each name is."""
    alpn_protocols: tuple[str, ...] = ()
    tls_certificates: tuple[TlsCertificate, ...] = ()
    validation_context: CertificateValidationContext = CertificateValidationContext()
    tls_minimum_protocol_version: TlsVersion = "TLS_AUTO"
    tls_maximum_protocol_version: TlsVersion = "TLS_AUTO"
    cipher_suites: tuple[str, ...] = ()


class DownstreamTlsContext(msgspec.Struct, frozen=True, kw_only=True):
    """How a listener's connections are encrypted."""

    tls_certificates: tuple[TlsCertificate, ...]
    require_client_certificate: bool = False
    validation_context: CertificateValidationContext | None = None
    alpn_protocols: tuple[str, ...] = ()
    tls_minimum_protocol_version: TlsVersion = "TLS_AUTO"
    tls_maximum_protocol_version: TlsVersion = "TLS_AUTO"
    cipher_suites: tuple[str, ...] = ()
