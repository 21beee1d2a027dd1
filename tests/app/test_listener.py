"""Listeners, their TLS, their logs, and upstreams of every kind, over real sockets."""

import asyncio
import base64
import json
import logging
import os
import ssl
from pathlib import Path

import pytest
import trustme

from app.harness import address, proxy, running
from ostiary.model import limits
from ostiary.model.access_log import AccessLog
from ostiary.model.clusters import Endpoint
from ostiary.model.config import Address, HttpFilter
from ostiary.model.matchers import StringMatcher
from ostiary.model.oauth2 import EnvoyOAuth2, OAuth2Config, OAuth2Credentials, SdsSecret
from ostiary.model.secret import Secret
from ostiary.model.tls import (
    CertificateValidationContext,
    DataSource,
    DownstreamTlsContext,
    TlsCertificate,
    UpstreamTlsContext,
)
from waiting import soon
from wire import Client, Heard, Upstream, scenario


def write_certificate(ca: trustme.CA, directory: Path, name: str) -> TlsCertificate:
    issued = ca.issue_cert(name)
    chain, key = directory / "tls.crt", directory / "tls.key"
    key.write_bytes(issued.private_key_pem.bytes())
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    return TlsCertificate(certificate_chain=DataSource(filename=str(chain)), private_key=DataSource(filename=str(key)))


def trusting(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


async def tls_client(where: str, context: ssl.SSLContext, name: str) -> Client:
    host, _, port = where.rpartition(":")
    return Client.over(*await asyncio.open_connection(host, int(port), ssl=context, server_hostname=name))


def names(client: Client) -> set[str]:
    certificate = client.writer.get_extra_info("ssl_object").getpeercert()
    return {value for _, value in certificate["subjectAltName"]}


@scenario
async def test_tls_is_terminated_and_a_new_certificate_is_used_without_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ostiary.config")
    ca = trustme.CA()
    tls = DownstreamTlsContext(tls_certificates=(write_certificate(ca, tmp_path, "one.test"),))
    async with Upstream().running() as app, running(proxy(app.port, listener={"tls": tls})) as door:
        client = await tls_client(address(door), trusting(ca), "one.test")
        assert (await client.get(host="one.test")).body == b"ok"
        assert app.heard[0].get(b"x-forwarded-proto") == b"https"
        write_certificate(ca, tmp_path, "two.test")
        await soon(lambda: any("changed certificates are in use" in said for said in caplog.messages))
        renewed = await tls_client(address(door), trusting(ca), "two.test")
        assert names(renewed) == {"two.test"}
        assert (await client.get(host="one.test")).status == 200  # the old connection lives on


@scenario
async def test_a_certificate_that_can_not_be_used_leaves_the_last_one_in_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ca = trustme.CA()
    tls = DownstreamTlsContext(tls_certificates=(write_certificate(ca, tmp_path, "one.test"),))
    async with Upstream().running() as app, running(proxy(app.port, listener={"tls": tls})) as door:
        (tmp_path / "tls.crt").write_text("no certificate")
        await soon(lambda: any("changed certificates can't be used" in said for said in caplog.messages))
        client = await tls_client(address(door), trusting(ca), "one.test")
        assert (await client.get(host="one.test")).status == 200


@scenario
async def test_clients_that_end_no_handshake_take_not_every_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = limits.MIN_HANDSHAKES + 4
    monkeypatch.setattr("ostiary.model.limits.MAX_DOWNSTREAM_CONNECTIONS", most)
    ca = trustme.CA()
    tls = DownstreamTlsContext(tls_certificates=(write_certificate(ca, tmp_path, "one.test"),))
    async with Upstream().running() as app, running(proxy(app.port, listener={"tls": tls})) as door:
        where = address(door)
        client = await tls_client(where, trusting(ca), "one.test")
        under_way = door.runtime.services["main"].handshakes
        silent = []
        for _ in range(4 * most):
            silent.append(await asyncio.open_connection("127.0.0.1", int(where.rpartition(":")[2])))
            assert (await client.get(host="one.test")).status == 200  # and the loop has turned
        begun = under_way.under_way
        for _, writer in silent:
            writer.close()
        late = await tls_client(where, trusting(ca), "one.test")
        assert (await late.get(host="one.test")).status == 200
        assert limits.MIN_HANDSHAKES <= begun < 2 * most


async def tls_upstream(ca: trustme.CA, name: str) -> asyncio.Server:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecure")
        await writer.drain()
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)


@scenario
async def test_an_upstreams_certificate_is_verified_by_name_and_authority(tmp_path: Path) -> None:
    ca = trustme.CA()
    (tmp_path / "ca.pem").write_bytes(ca.cert_pem.bytes())
    trusted = CertificateValidationContext(trusted_ca=DataSource(filename=str(tmp_path / "ca.pem")))
    server = await tls_upstream(ca, "app.internal")
    port = server.sockets[0].getsockname()[1]
    for settings, status in (
        (UpstreamTlsContext(sni="app.internal", validation_context=trusted), 200),
        (UpstreamTlsContext(sni="other.internal", validation_context=trusted), 503),
        (UpstreamTlsContext(sni="app.internal"), 503),  # the system's roots know nothing of this authority
    ):
        async with running(proxy(port, cluster={"transport_socket": settings})) as door:
            client = await Client.connect(address(door))
            assert (await client.get()).status == status
    server.close()


@scenario
async def test_unix_sockets_on_both_sides(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nunix")
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(serve, tmp_path / "app.sock")
    config = proxy(
        0,
        cluster={"endpoints": (Endpoint(pipe=str(tmp_path / "app.sock")),)},
        listener={"address": Address(pipe=str(tmp_path / "door.sock"), mode=0o600)},
    )
    async with running(config):
        assert os.stat(tmp_path / "door.sock").st_mode & 0o777 == 0o600
        client = Client.over(*await asyncio.open_unix_connection(tmp_path / "door.sock"))
        assert (await client.get()).body == b"unix"
    assert not (tmp_path / "door.sock").exists()
    server.close()


@scenario
async def test_access_logs_say_what_happened_and_can_not_be_forged(tmp_path: Path) -> None:
    text = AccessLog(sink="file", path=str(tmp_path / "text.log"))
    fields = {
        "status": "%RESPONSE_CODE%", "path": "%REQ(:PATH)%", "agent": "%REQ(USER-AGENT)%", "flags": "%RESPONSE_FLAGS%",
        "sent": "%BYTES_SENT%", "details": "%RESPONSE_CODE_DETAILS%", "type": "%RESP(CONTENT-TYPE)%",
    }  # fmt: skip
    as_json = AccessLog(sink="file", path=str(tmp_path / "json.log"), text_format=None, json_format=fields)
    answer = b"HTTP/1.1 201 Made\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nok"
    async with Upstream(answer).running() as app, running(proxy(app.port, access_log=(text, as_json))) as door:
        client = await Client.connect(address(door))
        await client.get("/a?b=c", 'User-Agent: curl" 200 "forged')
        await client.get("/bad", host="not a host")
    lines = (tmp_path / "text.log").read_text().splitlines()
    assert len(lines) == 2
    assert '"GET /a?b=c HTTP/1.1" 201 - 0 2 ' in lines[0]
    assert 'curl" 200 "forged' not in lines[0]
    first, second = map(json.loads, (tmp_path / "json.log").read_text().splitlines())
    assert first == {
        "status": 201, "path": "/a?b=c", "agent": 'curl" 200 "forged', "flags": None, "sent": 2,
        "details": "via_upstream", "type": "text/html",
    }  # fmt: skip
    assert (second["status"], second["details"]) == (400, "invalid_host_header")


@scenario
async def test_an_edge_tells_the_application_who_asks_and_believes_no_client() -> None:
    async with Upstream().running() as app, running(proxy(app.port, use_remote_address=True)) as door:
        client = await Client.connect(address(door))
        for _ in range(2):  # judged once, and from memory
            await client.get("/", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https", "X-Request-Id: mine")
        ids = [heard.get(b"x-request-id") for heard in app.heard]
        assert len({*ids, b"mine"}) == 3
        for heard in app.heard:
            assert heard.get(b"x-forwarded-for") == b"6.6.6.6,127.0.0.1"
            assert heard.all(b"x-forwarded-proto") == [b"http"]


@scenario
async def test_heads_from_memory_are_those_of_the_first_time() -> None:
    async with Upstream().running() as app, running(proxy(app.port)) as door:
        client = await Client.connect(address(door))
        for number in range(3):
            await client.get(f"/{number}", "X-Request-Id: kept", "Accept: */*", "X-Dup: 1", "X-Dup: 2")
        first, second, third = app.heard
        assert first.headers == second.headers == third.headers
        assert first.all(b"x-dup") == [b"1", b"2"]
        assert first.get(b"x-request-id") == b"kept"


@scenario
async def test_many_connections_at_once_each_get_their_own_answer() -> None:
    async def echo(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = heard.line.split(b" ")[1]
        await asyncio.sleep(0.01)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(path), path))

    async def one(where: str, number: int) -> None:
        client = await Client.connect(where)
        for turn in range(5):
            assert (await client.get(f"/{number}/{turn}")).body == f"/{number}/{turn}".encode()

    async with Upstream(handler=echo).running() as app, running(proxy(app.port)) as door:
        await asyncio.gather(*(one(address(door), number) for number in range(100)))


@scenario
async def test_no_log_shows_an_authorization_code(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    log = AccessLog(sink="file", path=str(tmp_path / "a.log"), text_format="%REQ(:PATH)% %RESPONSE_CODE_DETAILS%\n")
    signin = HttpFilter(name="oauth2", config=EnvoyOAuth2(config=envoy_oauth2()))
    async with Upstream().running() as app, running(proxy(app.port, filters=(signin,), access_log=(log,))) as door:
        client = await Client.connect(address(door))
        answer = await client.get("/callback?code=s3cret&state=t0ken&x=1")
        assert answer.status == 401
        cut = base64.urlsafe_b64encode(b'{"url":"http://a.test/","csrf_token":"hush"').decode().rstrip("=")
        assert (await client.get(f"/callback?code=c&state={cut}")).status == 401
    text = (tmp_path / "a.log").read_text()
    assert "/callback?code=[secret]&state=[secret]&x=1" in text
    assert "State_query_param_is_not_a_valid_JSON:_[secret]" in text
    assert "hush" not in text + caplog.text
    assert "s3cret" not in text


def envoy_oauth2() -> OAuth2Config:
    secret = DataSource(inline=Secret("k" * 32))
    return OAuth2Config(
        authorization_endpoint="https://idp.test/authorize",
        credentials=OAuth2Credentials(
            client_id="c",
            token_secret=SdsSecret(name="token", value=secret),
            hmac_secret=SdsSecret(name="hmac", value=secret),
        ),
        redirect_uri="https://app.test/callback",
        redirect_path_matcher=StringMatcher("exact", "/callback"),
        signout_path=StringMatcher("exact", "/signout"),
    )
