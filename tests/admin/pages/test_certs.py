"""`/certs`: what is in use, also after a file has changed, and how long it holds."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import time
from pathlib import Path
from typing import Any

import trustme

from admin.admin_world import ask, with_admin
from app.harness import proxy, running
from ostiary.app.lifecycle import Doorkeeper
from ostiary.model.tls import (
    CertificateValidationContext,
    DataSource,
    DownstreamTlsContext,
    TlsCertificate,
    UpstreamTlsContext,
)
from wire import Upstream, scenario


def write(folder: Path, ca: trustme.CA, *names: str) -> None:
    expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=30, hours=1)
    leaf = ca.issue_cert(*names, not_after=expires)
    for name, data in (("key.pem", leaf.private_key_pem), ("cert.pem", leaf.cert_chain_pems[0])):
        data.write_to_path(str(folder / name))
        os.utime(folder / name, ns=(time.time_ns(), time.time_ns()))


async def certificates(door: Doorkeeper) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((await ask(door, "/certs")).body)["certificates"]
    return found


@scenario
async def test_a_listeners_and_a_clusters(tmp_path: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    write(tmp_path, ca, "app.test", "127.0.0.1")
    files = TlsCertificate(
        certificate_chain=DataSource(filename=str(tmp_path / "cert.pem")),
        private_key=DataSource(filename=str(tmp_path / "key.pem")),
    )
    trusting = CertificateValidationContext(trusted_ca=DataSource(filename=str(tmp_path / "ca.pem")))
    async with Upstream().running() as app:
        config = with_admin(
            proxy(
                app.port,
                listener={"tls": DownstreamTlsContext(tls_certificates=(files,))},
                cluster={"transport_socket": UpstreamTlsContext(validation_context=trusting)},
            )
        )
        async with running(config) as door:
            cluster, listener = sorted(await certificates(door), key=lambda each: len(each["cert_chain"]))
            assert cluster["ca_cert"][0]["path"] == str(tmp_path / "ca.pem")
            (shown,) = listener["cert_chain"]
            assert shown["path"] == str(tmp_path / "cert.pem")
            assert shown["subject_alt_names"] == [{"dns": "app.test"}, {"ip_address": "127.0.0.1"}]
            assert shown["days_until_expiration"] == "30"
            assert int(shown["serial_number"], 16)
            assert shown["expiration_time"].endswith("Z")
            days = (await ask(door, "/stats?filter=days_until_first_cert")).body
            assert days == b"server.days_until_first_cert_expiring: 30\n"
            write(tmp_path, ca, "other.test")
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                listener = max(await certificates(door), key=lambda each: len(each["cert_chain"]))
                if listener["cert_chain"][0]["subject_alt_names"] == [{"dns": "other.test"}]:
                    return
                await asyncio.sleep(0.05)
            raise AssertionError(listener)
