"""What a TLS handshake agreed on, for the trace."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Final

from ostiary.core.trace import Tls

_SHORT: Final = {
    "commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU", "countryName": "C",
    "stateOrProvinceName": "ST", "localityName": "L",
}  # fmt: skip


def describe_tls(transport: asyncio.BaseTransport, context: ssl.SSLContext, name: str) -> Tls:
    """The record of a finished handshake. `name` is the server name that was asked for; empty: none."""
    tls: ssl.SSLObject = transport.get_extra_info("ssl_object")
    peer, not_after = _certificate(tls)
    return Tls(
        version=tls.version() or "",
        sni=name if _is_name(name) else None,
        alpn=tls.selected_alpn_protocol(),
        peer=peer,
        not_after=not_after,
        verified=context.verify_mode == ssl.CERT_REQUIRED,
        cipher=(tls.cipher() or ("",))[0],
    )


def _certificate(tls: ssl.SSLObject) -> tuple[str, str]:
    """(subject, end of validity). The library explains only certificates it verified; others are read from DER.

    Neither is known where an alert that came right behind the handshake has ended the connection already.
    """
    try:
        decoded = tls.getpeercert()
    except ValueError:
        return "", ""
    if decoded:
        pairs: list[tuple[str, str]] = [pair for part in decoded.get("subject", ()) for pair in part]  # type: ignore[misc] # typeshed: any value
        subject = ",".join(f"{_SHORT.get(key, key)}={value}" for key, value in reversed(pairs))
        end = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(decoded["notAfter"])), UTC)
        return subject, _iso(end)
    der = tls.getpeercert(binary_form=True)
    if not der:
        return "", ""
    from cryptography import x509

    try:
        certificate = x509.load_der_x509_certificate(der)
        return certificate.subject.rfc4514_string(), _iso(certificate.not_valid_after_utc)
    except ValueError:
        return "", ""


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _is_name(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return bool(text)
    return False
