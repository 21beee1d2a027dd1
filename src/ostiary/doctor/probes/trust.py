"""TLS as a configuration has it, with what of its files is here.

A configuration's files often lie in a container, and this is another place. What isn't here is replaced by what is (the
system's roots) or left out, and said: a verdict that hangs on it is then none.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from ostiary.doctor.facts.configuration import ClusterSeen
from ostiary.model.tls import CertificateValidationContext, DataSource, UpstreamTlsContext

SEES_SLOW: Final = 2.0
"""Seconds that a probe waits although the connect_timeout is shorter: what is only slow would look dead."""
_ANY: Final = CertificateValidationContext(accept_untrusted=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """How to speak TLS to a place, and what its verdict is worth."""

    tls: UpstreamTlsContext
    """Verifies, whatever the configuration checks: by its CA where that is here, else by the system's roots."""
    missing: tuple[str, ...] = ()
    """Files of the configuration that are not here."""
    checks_chain: bool = True
    """The configuration verifies the certificate at all."""
    checks_name: bool = True
    unverified: UpstreamTlsContext = field(default_factory=lambda: UpstreamTlsContext(validation_context=_ANY))
    """The same without any verification: to look at what is there."""

    @property
    def conclusive(self) -> bool:
        """What is trusted here is what is trusted there."""
        return not self.missing


def trust_of(cluster: ClusterSeen | None) -> Trust:
    """For a cluster, or for a place that somebody named."""
    if cluster is None:
        return Trust(tls=UpstreamTlsContext())
    settings = cluster.tls_context or UpstreamTlsContext()
    missing: list[str] = []
    validation = settings.validation_context
    ca = validation.trusted_ca
    if ca is not None and not _is_here(ca):
        missing.append(ca.filename or "")
        ca = None
    certificates = settings.tls_certificates
    if not all(_is_here(each.certificate_chain) and _is_here(each.private_key) for each in certificates):
        missing += [each.certificate_chain.filename or "" for each in certificates]
        certificates = ()
    kept = CertificateValidationContext(
        trusted_ca=ca, match_typed_subject_alt_names=validation.match_typed_subject_alt_names
    )
    tls = replace(settings, sni="", tls_certificates=certificates, validation_context=kept)
    return Trust(
        tls=tls,
        missing=tuple(missing),
        checks_chain=cluster.has_ca and not validation.accept_untrusted,
        checks_name=cluster.checks_name,
        unverified=replace(tls, validation_context=_ANY),
    )


def _is_here(source: DataSource) -> bool:
    return source.inline is not None or os.access(source.filename or "", os.R_OK)
