"""`/certs`: what is in use, also after a file has changed, and how long it holds."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import ssl
import time
from pathlib import Path
from typing import Any

import trustme

from admin.admin_world import ask, with_admin
from app.harness import proxy, running
from ostiary.admin.process_stats import NO_CERTIFICATE
from ostiary.app.lifecycle import Doorkeeper
from ostiary.model.secret import Secret
from ostiary.model.tls import (
    CertificateValidationContext,
    DataSource,
    DownstreamTlsContext,
    TlsCertificate,
    UpstreamTlsContext,
)
from ports import free_port
from waiting import PATIENCE
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
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                listener = max(await certificates(door), key=lambda each: len(each["cert_chain"]))
                if listener["cert_chain"][0]["subject_alt_names"] == [{"dns": "other.test"}]:
                    return
                await asyncio.sleep(0.05)
            raise AssertionError(listener)


def odd(pem: bytes) -> bytes:
    """The same, of a version that doesn't exist: OpenSSL trusts it, and cryptography refuses to read it."""
    version = b"\xa0\x03\x02\x01"
    der = ssl.PEM_cert_to_DER_cert(pem.decode()).replace(version + b"\x02", version + b"\x09", 1)
    return ssl.DER_cert_to_PEM_cert(der).encode()


@scenario
async def test_one_that_can_not_be_read_takes_no_page_with_it() -> None:
    unreadable = DataSource(inline=Secret(odd(trustme.CA().cert_pem.bytes())))
    trusting = UpstreamTlsContext(validation_context=CertificateValidationContext(trusted_ca=unreadable))
    async with running(with_admin(proxy(free_port(), cluster={"transport_socket": trusting}))) as door:
        assert await certificates(door) == [{"ca_cert": [{"path": "<inline>"}], "cert_chain": []}]
        days = (await ask(door, "/stats?filter=days_until_first_cert")).body
        assert days == f"server.days_until_first_cert_expiring: {NO_CERTIFICATE}\n".encode()


@scenario
async def test_several_that_have_no_file_are_told_apart() -> None:
    ca = trustme.CA()
    pairs = [ca.issue_cert(name) for name in ("one.test", "two.test")]
    served = tuple(
        TlsCertificate(
            certificate_chain=DataSource(inline=Secret(pair.cert_chain_pems[0].bytes())),
            private_key=DataSource(inline=Secret(pair.private_key_pem.bytes())),
        )
        for pair in pairs
    )
    listener = {"tls": DownstreamTlsContext(tls_certificates=served)}
    async with running(with_admin(proxy(free_port(), listener=listener))) as door:
        (context,) = await certificates(door)
        names = [each["subject_alt_names"] for each in context["cert_chain"]]
        assert names == [[{"dns": "one.test"}], [{"dns": "two.test"}]]
