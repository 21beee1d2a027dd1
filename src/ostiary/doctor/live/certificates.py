"""The certificates that a proxy has loaded (/certs): those that have expired, or are about to and are not renewed.

Envoy writes how many days are left, and 0 both for the last day and for what is over; a sidecar's own certificate lives
for one day and is renewed at half of it. So what is left is measured by the dates, and by the certificate's own life.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ostiary.doctor.facts.origin import Fact, Origin
from ostiary.doctor.facts.tls import CertificateExpires
from ostiary.doctor.live.fetch import Documents
from ostiary.doctor.live.plain import items, text

_SOON: Final = timedelta(days=14)
_RENEWED_BEFORE: Final = 10
"""Whatever renews a certificate does so before this part of its life is left."""


def certificate_facts(documents: Documents, now: datetime) -> Iterator[Fact]:
    """The facts of certificates whose end is near or past at `now`, each once."""
    told: set[tuple[str, str]] = set()
    for each in items(documents.parsed("certs"), "certificates"):
        for part in ("cert_chain", "ca_cert"):
            for certificate in items(each, part):
                key = (part, text(certificate, "serial_number") or text(certificate, "path"))
                fact = _expires(documents.source, certificate, part, now)
                if fact is not None and key not in told:
                    told.add(key)
                    yield fact


def _expires(source: str, certificate: dict[str, Any], part: str, now: datetime) -> Fact | None:
    end, begin = (_time(text(certificate, name)) for name in ("expiration_time", "valid_from"))
    if end is None:
        return None
    life = end - begin if begin is not None and begin < end else _SOON * _RENEWED_BEFORE
    left = end - now
    if left > min(_SOON, life / _RENEWED_BEFORE):
        return None
    names = [text(name, kind) for name in items(certificate, "subject_alt_names") for kind in ("dns", "uri")]
    path = text(certificate, "path")
    who = ", ".join(filter(None, names[:4])) or path
    quote = (
        f"{'CA ' if part == 'ca_cert' else ''}certificate of {who} ({path}): expiration_time {end:%Y-%m-%dT%H:%M:%SZ}"
    )
    return CertificateExpires(
        origin=Origin(kind="admin", source=f"{source}/certs", quote=quote),
        whose=who, path=path, is_ca=part == "ca_cert", past=left <= timedelta(0), end=f"{end:%Y-%m-%d %H:%M} UTC",
    )  # fmt: skip


def _time(written: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(written)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
