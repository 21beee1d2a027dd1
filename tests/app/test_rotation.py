"""Certificates, authorities and keys in files that change under load: the new ones are used, and no request fails."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import trustme

from app.harness import address, proxy, running
from load import Load, application
from ostiary.model.tls import (
    CertificateValidationContext,
    DataSource,
    DownstreamTlsContext,
    TlsCertificate,
    UpstreamTlsContext,
)
from wire import Heard, Upstream, scenario


def issue(ca: trustme.CA, directory: Path, name: str, file: str) -> TlsCertificate:
    """Write a certificate and its key as an operator does: the files are replaced one after the other."""
    issued = ca.issue_cert(name, common_name=name)
    for suffix, content in (
        ("key", issued.private_key_pem.bytes()),
        ("crt", b"".join(blob.bytes() for blob in issued.cert_chain_pems)),
    ):
        new = directory / f"{file}.new"
        new.write_bytes(content)
        new.rename(directory / f"{file}.{suffix}")
    return TlsCertificate(
        certificate_chain=DataSource(filename=str(directory / f"{file}.crt")),
        private_key=DataSource(filename=str(directory / f"{file}.key")),
    )


@scenario
async def test_certificates_of_both_sides_and_authorities_change_under_load(tmp_path: Path) -> None:
    ours, theirs, next_ca = trustme.CA(), trustme.CA(), trustme.CA()
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(theirs.cert_pem.bytes())
    server = issue(ours, tmp_path, "one.test", "server")
    client = issue(ours, tmp_path, "client-1", "client")
    seen: set[str] = set()
    answer = application("one")

    async def noting(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("ssl_object").getpeercert()
        seen.update(value for ((name, value),) in peer["subject"] if name == "commonName")
        await answer(heard, reader, writer)

    upstream = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.configure_trust(upstream)
    upstream.verify_mode = ssl.CERT_REQUIRED
    theirs.issue_cert("app.internal").configure_cert(upstream)
    settings = UpstreamTlsContext(
        sni="app.internal",
        tls_certificates=(client,),
        validation_context=CertificateValidationContext(trusted_ca=DataSource(filename=str(bundle))),
    )
    context = ssl.create_default_context()
    ours.configure_trust(context)
    names = ["one.test"]
    cluster = {"transport_socket": settings, "max_requests_per_connection": 3}
    listener = {"tls": DownstreamTlsContext(tls_certificates=(server,))}
    async with (
        Upstream(handler=noting).running(tls=upstream) as app,
        running(proxy(app.port, cluster=cluster, listener=listener, max_requests_per_connection=5)) as door,
    ):
        load = Load(address(door), tls=lambda: (context, names[0]))
        async with load.running(websockets=0, streams=1):
            issue(ours, tmp_path, "client-2", "client")  # our own, towards the application
            async with asyncio.timeout(15):
                while "client-2" not in seen:
                    await asyncio.sleep(0.05)
            bundle.write_bytes(theirs.cert_pem.bytes() + next_ca.cert_pem.bytes())  # then the application's authority
            await asyncio.sleep(2.2)
            next_ca.issue_cert("app.internal").configure_cert(upstream)
            await load.progress()
            context.check_hostname = False  # between the two names either may be met
            issue(ours, tmp_path, "two.test", "server")  # and what clients see
            await asyncio.sleep(2.2)
            names[0] = "two.test"
            context.check_hostname = True
            await load.progress()
            seen.clear()
            await load.progress()
            assert seen == {"client-2"}
        assert load.failures == []
        assert load.answers["get"] > 50
