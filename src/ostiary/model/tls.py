"""TLS settings, with the names of Envoy's `extensions.transport_sockets.tls.v3`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ostiary.model.matchers import StringMatcher
from ostiary.model.secret import Secret

TlsVersion = Literal["TLS_AUTO", "TLSv1_0", "TLSv1_1", "TLSv1_2", "TLSv1_3"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """config.core.v3.DataSource: one of the two. A file is read again when it changes."""

    filename: str | None = None
    inline: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsCertificate:
    """A certificate chain and its private key, PEM."""

    certificate_chain: DataSource
    private_key: DataSource
    password: DataSource | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SanMatcher:
    """SubjectAltNameMatcher."""

    san_type: Literal["DNS", "EMAIL", "URI", "IP_ADDRESS", "ANY"] = "ANY"
    matcher: StringMatcher


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateValidationContext:
    """CertificateValidationContext; `trusted_ca` None means the system's roots."""

    trusted_ca: DataSource | None = None
    match_typed_subject_alt_names: tuple[SanMatcher, ...] = ()
    accept_untrusted: bool = False
    """trust_chain_verification: ACCEPT_UNTRUSTED."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamTlsContext:
    """How a cluster's connections are encrypted. Without a validation context the system's roots verify."""

    sni: str = ""
    """Empty: the endpoint's own host name is used to verify, and sent if it is a name."""
    auto_host_sni: bool = False
    alpn_protocols: tuple[str, ...] = ()
    tls_certificates: tuple[TlsCertificate, ...] = ()
    validation_context: CertificateValidationContext = CertificateValidationContext()
    tls_minimum_protocol_version: TlsVersion = "TLS_AUTO"
    tls_maximum_protocol_version: TlsVersion = "TLS_AUTO"
    cipher_suites: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DownstreamTlsContext:
    """How a listener's connections are encrypted."""

    tls_certificates: tuple[TlsCertificate, ...]
    require_client_certificate: bool = False
    validation_context: CertificateValidationContext | None = None
    alpn_protocols: tuple[str, ...] = ()
    tls_minimum_protocol_version: TlsVersion = "TLS_AUTO"
    tls_maximum_protocol_version: TlsVersion = "TLS_AUTO"
    cipher_suites: tuple[str, ...] = ()
