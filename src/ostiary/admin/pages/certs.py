"""`/certs`: the certificates that are in use now, and when they expire."""

from __future__ import annotations

from typing import Any, Final

from ostiary.admin.page import Page, Part, Reply, Request, json_reply
from ostiary.app.lifecycle import Doorkeeper
from ostiary.net.certificates import PublicCertificate

_TYPES: Final = {"DNS": "dns", "URI": "uri", "IP_ADDRESS": "ip_address", "EMAIL": "email"}


def _collect(worker: Doorkeeper, _request: Request) -> Part:
    if worker.runtime is None:
        return []
    now = worker.runtime.ticker.wall
    return [
        {
            "ca_cert": [_details(each, now) for each in certificates if each.is_ca],
            "cert_chain": [_details(each, now) for each in certificates if not each.is_ca],
        }
        for certificates in worker.runtime.certificates()
    ]


def _details(certificate: PublicCertificate, now: float) -> dict[str, Any]:
    """admin.v3.CertificateDetails."""
    if not certificate.is_readable:
        return {"path": certificate.path}
    return {
        "path": certificate.path,
        "serial_number": certificate.serial_number,
        "subject_alt_names": [{_TYPES[kind]: value} for kind, value in certificate.names],
        "days_until_expiration": str(certificate.days_left(now)),
        "valid_from": certificate.not_before,
        "expiration_time": certificate.not_after,
    }


def _render(parts: list[Part], _request: Request) -> Reply:
    return json_reply({"certificates": parts[0]})


PAGES: Final = (Page(path="/certs", help="print certs on machine", collect=_collect, render=_render, alike=True),)
