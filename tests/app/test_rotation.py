"""Certificates, authorities and keys in files that change under load: the new ones are used, and no request fails."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
import trustme

from app.harness import address, proxy, running
from app.reload_world import envoy
from app.reload_world import running as running_process
from load import Load, application
from ostiary.model.tls import (
    CertificateValidationContext,
    DataSource,
    DownstreamTlsContext,
    TlsCertificate,
    UpstreamTlsContext,
)
from ports import free_port
from waiting import soon
from wire import Client, Heard, Upstream, read_body, scenario

OAUTH2 = {"@type": "type.googleapis.com/envoy.extensions.filters.http.oauth2.v3.OAuth2"}
SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"


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
async def test_certificates_of_both_sides_and_authorities_change_under_load(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ostiary.config")
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
    trusting, between = ssl.create_default_context(), ssl.create_default_context()
    for each in (trusting, between):
        ours.configure_trust(each)
    between.check_hostname = False
    expected = [(trusting, "one.test")]

    async def used(file: str) -> None:
        """Until the log says that this file's new content is in use."""
        await soon(lambda: any("are in use:" in said and str(tmp_path / file) in said for said in caplog.messages))
        caplog.clear()

    cluster = {"transport_socket": settings, "max_requests_per_connection": 3}
    listener = {"tls": DownstreamTlsContext(tls_certificates=(server,))}
    async with (
        Upstream(handler=noting).running(tls=upstream) as app,
        running(proxy(app.port, cluster=cluster, listener=listener, max_requests_per_connection=5)) as door,
    ):
        load = Load(address(door), tls=lambda: expected[0])
        async with load.running(websockets=0, streams=1):
            issue(ours, tmp_path, "client-2", "client")  # our own, towards the application
            await soon(lambda: "client-2" in seen)
            caplog.clear()
            bundle.write_bytes(theirs.cert_pem.bytes() + next_ca.cert_pem.bytes())  # then the application's authority
            await used("ca.pem")
            next_ca.issue_cert("app.internal").configure_cert(upstream)
            await load.progress()
            expected[0] = (between, "two.test")  # either name may be met
            issue(ours, tmp_path, "two.test", "server")  # and what clients see
            await used("server.crt")
            expected[0] = (trusting, "two.test")
            await load.progress()
            seen.clear()
            await load.progress()
            assert seen == {"client-2"}
        assert load.failures == []
        assert load.answers["get"] > 50


async def provider(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A token endpoint that takes any code; its access tokens are the client secrets it was shown."""
    form = dict(parse_qsl((await read_body(heard, reader)).decode()))
    body = json.dumps({"access_token": form["client_secret"], "expires_in": 3600}).encode()
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


async def sign_in(port: int) -> tuple[str, str]:
    """(the client secret that the doorkeeper showed, the Cookie line of the session)."""
    client = await Client.connect(f"127.0.0.1:{port}")
    away = await client.get("/page")
    state = parse_qs(urlsplit(away.get("location") or "").query)["state"][0]
    cookies = dict(line.partition(";")[0].split("=", 1) for line in away.all("set-cookie"))
    line = "Cookie: " + "; ".join(f"{name}={value}" for name, value in cookies.items())
    back = await client.get(f"/callback?{urlencode({'code': 'x', 'state': state})}", line)
    assert (back.status, back.get("location")) == (302, "http://app.test/page"), back
    cookies = dict(line.partition(";")[0].split("=", 1) for line in back.all("set-cookie") if "Max-Age=0" not in line)
    client.close()
    return cookies["BearerToken"], "Cookie: " + "; ".join(f"{name}={value}" for name, value in cookies.items())


@pytest.mark.parametrize("workers", [1, 2])
@scenario
async def test_a_client_secret_in_an_sds_file_changes_under_load(tmp_path: Path, workers: int) -> None:
    """The file itself, swapped as Kubernetes does it; then one that it names."""
    port, sds = free_port(), tmp_path / "token.yaml"

    def write(secret: str) -> None:
        new = tmp_path / "new"
        new.write_text(f"{{resources: [{{'@type': {SECRET}, name: token, generic_secret: {{secret: {secret}}}}}]}}")
        new.rename(sds)

    write("{inline_string: first}")
    named = tmp_path / "named"
    named.write_text("third")
    async with Upstream(handler=application("one")).running() as app, Upstream(handler=provider).running() as tokens:
        document = envoy(port, app.port)
        resources = document["static_resources"]
        resources["clusters"] += [{**envoy(port, tokens.port)["static_resources"]["clusters"][0], "name": "idp"}]
        resources["clusters"][1]["load_assignment"]["cluster_name"] = "idp"
        resources["secrets"] = [{"name": "hmac", "generic_secret": {"secret": {"inline_string": "h" * 32}}}]
        manager = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        manager["http_filters"].insert(0, {"name": "envoy.filters.http.oauth2", "typed_config": OAUTH2 | {"config": {
            "token_endpoint": {"uri": "http://idp.test/token", "cluster": "idp", "timeout": "5s"},
            "authorization_endpoint": "http://idp.test/authorize",
            "redirect_uri": "http://app.test/callback",
            "redirect_path_matcher": {"path": {"exact": "/callback"}},
            "signout_path": {"path": {"exact": "/signout"}},
            "disable_token_encryption": True,
            "credentials": {
                "client_id": "app",
                "token_secret": {"name": "token", "sds_config": {"path_config_source": {"path": str(sds)}}},
                "hmac_secret": {"name": "hmac"},
            },
        }}})  # fmt: skip
        async with running_process(tmp_path, document, port, "--workers", str(workers)) as run:
            shown, cookie = await sign_in(port)
            load = Load(f"127.0.0.1:{port}", headers=(cookie,))
            async with load.running(websockets=1, streams=1):
                changes = (
                    ("second", lambda: write("{inline_string: second}")),
                    ("third", lambda: write(f"{{filename: {named}}}")),
                    ("fourth", lambda: named.write_text("fourth")),
                )
                for number, (secret, change) in enumerate(changes, 1):
                    change()
                    await run.hears(f"{sds} changed and is in use", number * workers)
                    await load.progress()
                    assert (await sign_in(port))[0] == secret
            assert load.failures == []
            assert shown == "first"
