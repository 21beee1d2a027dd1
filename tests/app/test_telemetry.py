"""Traces and metrics, as a collector gets them over OTLP."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from app.harness import address, proxy, running
from costumes import SECRET, Keycloak
from ostiary.app import logs
from ostiary.model import limits
from ostiary.model.access_log import AccessLog
from ostiary.model.clusters import Cluster, Endpoint
from ostiary.model.config import Config
from ostiary.model.secret import Secret
from ostiary.model.telemetry import Collector as Target
from ostiary.model.telemetry import MetricsExport, Tracing
from ostiary.model.tls import DataSource
from otlp_receiver import Collector, Receiver, Span
from ports import free_port
from provider_world import quickstart, world
from wire import Client, Upstream, scenario

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"traceparent: 00-{TRACE}-{CALLER}-01"
DOWNSTREAM = ("http.downstream_rq_total", ("envoy.http_conn_manager_prefix", "test"))
UNSAMPLED = f"traceparent: 00-{TRACE}-{CALLER}-00"


def target(collector: Collector, **changes: Any) -> Target:
    return Target(url=f"http://127.0.0.1:{collector.port}/v1/traces", **changes)


def traced(port: int, collector: Collector | Target, **changes: Any) -> Config:
    """A proxy that traces."""
    where = collector if isinstance(collector, Target) else target(collector)
    tracing = Tracing(**{"collector": where, "resource": (("service.name", "door"),), **changes})
    return proxy(port, tracing=tracing)


async def spans(collector: Collector, count: int, trace: str = "") -> list[Span]:
    """As soon as they are there."""
    return await asyncio.to_thread(collector.spans_of, count, trace)


def sent(app: Upstream, name: str) -> list[str]:
    return [value.decode() for value in app.heard[-1].all(name.encode())]


@scenario
async def test_without_tracing_what_clients_send_goes_on_unchanged() -> None:
    headers = ("traceparent: nonsense", "traceparent: 2", "tracestate: a=b", "baggage: user=1", "x-request-id: 7")
    async with Upstream().running() as app, running(proxy(app.port)) as door:
        client = await Client.connect(address(door))
        for _ in range(2):
            await client.get("/", *headers)
            assert sent(app, "traceparent") == ["nonsense", "2"]
            assert (sent(app, "tracestate"), sent(app, "baggage")) == (["a=b"], ["user=1"])


@scenario
async def test_a_request_and_its_upstreams_part_are_spans_of_the_callers_trace() -> None:
    with Receiver() as collector:
        async with Upstream().running() as app, running(traced(app.port, collector)) as door:
            client = await Client.connect(address(door))
            for _ in range(2):  # the second is on the hot path
                answer = await client.get("/page?secret=1", SAMPLED, "tracestate: a=b", "baggage: x", "User-Agent: me")
                assert answer.status == 200
                [parent], state = sent(app, "traceparent"), sent(app, "tracestate")
                assert state == ["a=b"] and sent(app, "baggage") == ["x"]
                found = await spans(collector, 2)
                server, upstream = [span for span in found if span.name != "connect 127.0.0.1"][:2]
                assert parent == f"00-{TRACE}-{upstream.id}-01"
                assert (server.kind, server.parent, server.name) == ("SERVER", CALLER, "GET")
                assert (upstream.kind, upstream.parent) == ("CLIENT", server.id)
                assert {span.trace for span in found} == {TRACE} and server.state == "a=b"
                assert server.start <= upstream.start <= upstream.end <= server.end
                attributes = server.attributes
                expected = {
                    "http.request.method": "GET",
                    "url.path": "/page",
                    "url.scheme": "http",
                    "http.response.status_code": 200,
                    "server.address": "app.test",
                    "client.address": "127.0.0.1",
                    "network.protocol.version": "1.1",
                    "user_agent.original": "me",
                    "upstream_cluster": "app",
                    "component": "proxy",
                }
                assert expected.items() <= attributes.items()
                assert attributes["guid:x-request-id"] == sent(app, "x-request-id")[0]
                assert "error.type" not in attributes and server.status == 0
                assert upstream.attributes["server.port"] == app.port
                assert server.resource["service.name"] == "door"
                assert server.resource["service.instance.id"]
                assert "secret" not in repr(found)
                collector.spans.clear()


@scenario
async def test_a_new_connection_is_a_span_of_the_request_that_waited_for_it() -> None:
    with Receiver() as collector:
        async with Upstream().running() as app, running(traced(app.port, collector)) as door:
            client = await Client.connect(address(door))
            await client.get("/")
            await client.get("/")
            found = await spans(collector, 5)
            [connect] = [span for span in found if span.name.startswith("connect ")]
            first = min((span for span in found if span.kind == "SERVER"), key=lambda span: span.start)
            assert connect.trace == first.trace
            [upstream] = [span for span in found if span.parent == first.id]
            assert connect.parent == upstream.id
            [(name, attempt)] = connect.events
            assert (name, attempt["outcome"], attempt["network.peer.port"]) == ("connect.attempt", "won", app.port)


@scenario
async def test_an_upstream_that_refuses_is_an_error_with_its_errno() -> None:
    with Receiver() as collector:
        async with running(traced(free_port(), collector)) as door:
            client = await Client.connect(address(door))
            assert (await client.get("/", SAMPLED)).status == 503
            server, upstream, connect = await spans(collector, 3, TRACE)
            assert (server.status, server.attributes["error.type"]) == (2, "503")
            assert server.attributes["response_flags"] == "UF"
            assert (upstream.status, upstream.attributes["error.type"]) == (2, "UF")
            assert (connect.status, connect.attributes["error.type"]) == (2, "ECONNREFUSED")
            assert connect.events[0][1]["errno"] == "ECONNREFUSED"


@scenario
async def test_what_is_not_recorded_leaves_a_trace_header_and_nothing_else() -> None:
    with Receiver() as collector:
        async with Upstream().running() as app:
            config = traced(app.port, collector, sampling=0.0)
            async with running(config) as door:
                client = await Client.connect(address(door))
                for _ in range(2):
                    await client.get("/", UNSAMPLED, "tracestate: a=b")
                    assert sent(app, "traceparent") == [UNSAMPLED.partition(": ")[2]]
                    assert sent(app, "tracestate") == ["a=b"]
                await client.get("/")
                assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", *sent(app, "traceparent"))
        assert collector.requests == []


@scenario
async def test_a_request_that_is_one_of_its_kind_gets_the_same() -> None:
    with Receiver() as collector:
        async with Upstream().running() as app, running(traced(app.port, collector)) as door:
            client = await Client.connect(address(door))
            client.send(f"POST /x HTTP/1.1\r\nhost: a\r\nconnection: x-odd\r\nx-odd: 1\r\n{SAMPLED}\r\n".encode())
            client.send(b"content-length: 3\r\n\r\nabc")
            assert (await client.answer()).status == 200
            [parent] = sent(app, "traceparent")
            upstream = next(s for s in await spans(collector, 3, TRACE) if s.kind == "CLIENT" and s.id in parent)
            assert app.heard[-1].body == b"abc"
            assert upstream.attributes["http.request.method"] == "POST"


@scenario
async def test_whatever_a_client_sends_is_answered_and_traced_without_a_mishap(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hostile = [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        b"B\xc3\xa4D / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"BREW / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"BREW /\xff HTTP/1.1\r\nhost: a\r\n\r\n",
        b"BREW / HTTP/1.1\r\nhost: \xe4\r\nuser-agent: \xff\xfe\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\ntraceparent: \xff\r\ntracestate: \xff=\xff\r\n\r\n",
        f"GET / HTTP/1.1\r\nhost: a\r\n{SAMPLED}\r\n".encode() + b"tracestate: \xff=" + b"x" * 600 + b"\r\n\r\n",
    ]
    with Receiver() as collector:
        async with Upstream().running() as app, running(traced(app.port, collector)) as door:
            for data in hostile:
                client = await Client.connect(address(door))
                client.send(data)
                assert (await client.answer()).status in (200, 400, 404)
            client.send(b"GET /last HTTP/1.1\r\nhost: a\r\n\r\n")
            await client.answer()
        paths = [span.attributes.get("url.path") for span in collector.spans if span.kind == "SERVER"]
        assert "/last" in paths
        assert not any("BREW" in span.name for span in collector.spans), "whoever counts by name gets their inventions"
        assert [record.message for record in caplog.records if record.levelname in ("ERROR", "WARNING")] == []


@scenario
async def test_the_end_of_the_process_exports_what_is_left() -> None:
    with Receiver() as collector:
        async with Upstream().running() as app, running(traced(app.port, collector)) as door:
            await (await Client.connect(address(door))).get("/", SAMPLED)
        assert len(collector.spans) == 3  # at once, not after some interval


@pytest.mark.parametrize("how", ["refuses", "silent", "angry"])
@scenario
async def test_a_dead_collector_delays_nobody_and_is_told_once(how: str, caplog: pytest.LogCaptureFixture) -> None:
    with Receiver() as collector:
        collector.status, collector.delay = (500, 0.0) if how == "angry" else (200, 30.0 if how == "silent" else 0.0)
        place = f"http://127.0.0.1:{free_port() if how == 'refuses' else collector.port}/v1/traces"
        where = Target(url=place, timeout=60.0)
        async with Upstream().running() as app, running(traced(app.port, where)) as door:
            client = await Client.connect(address(door))
            assert door.runtime is not None
            stats = door.runtime.stats
            for _ in range(30):
                assert (await client.get("/", SAMPLED)).status == 200
            while how != "silent" and stats.values()["tracing.opentelemetry.spans_dropped"] < 61:
                await client.get("/", SAMPLED)
                await asyncio.sleep(0.05)
            started = time.monotonic()
        assert time.monotonic() - started < 25  # a bound of 2 s, and a slow machine; the collector takes 30
        told = [record.message for record in caplog.records if record.name == "ostiary.tracing"]
        assert len(told) == 1, told
        assert {"refuses": "ECONNREFUSED", "silent": "given up", "angry": "answered 500"}[how] in told[0]


@scenario
async def test_a_full_queue_drops_and_counts() -> None:
    with Receiver() as collector:
        collector.delay = 30.0
        async with Upstream().running() as app, running(traced(app.port, collector, max_queue=5)) as door:
            client = await Client.connect(address(door))
            for _ in range(20):
                assert (await client.get("/")).status == 200
            assert door.runtime is not None
            assert door.runtime.stats.values()["tracing.opentelemetry.spans_dropped"] >= 10


@scenario
async def test_a_queue_of_large_requests_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TELEMETRY_QUEUE_BYTES", 200_000)
    with Receiver() as collector:
        collector.delay = 30.0
        async with Upstream().running() as app, running(traced(app.port, collector)) as door:
            client = await Client.connect(address(door))
            for number in range(30):
                assert (await client.get("/", f"x-large: {number}{'x' * 20_000}")).status == 200
            assert door.runtime is not None
            assert door.runtime.stats.values()["tracing.opentelemetry.spans_dropped"] >= 10


@scenario
async def test_headers_gzip_and_the_resource_reach_the_collector(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from a file\n")
    with Receiver() as collector:
        where = target(
            collector,
            compress=True,
            headers=(
                ("x-inline", DataSource(inline=Secret("hush"))),
                ("x-file", DataSource(filename=str(tmp_path / "key"))),
            ),
        )
        async with Upstream().running() as app, running(traced(app.port, where)) as door:
            await (await Client.connect(address(door))).get("/")
        path, headers = collector.requests[0]
        assert path == "/v1/traces"
        assert (headers["x-inline"], headers["x-file"]) == ("hush", "from a file")
        assert headers["content-type"] == "application/x-protobuf" and headers["content-encoding"] == "gzip"
        assert len(collector.spans) == 3


@scenario
async def test_the_access_log_has_what_the_application_got(tmp_path: Path) -> None:
    with Receiver() as collector:
        async with Upstream().running() as app:
            config = traced(app.port, collector)
            log = AccessLog(sink="file", path=str(tmp_path / "log"), text_format="%REQ(traceparent)% %TRACE_ID%\n")
            [listener] = config.listeners
            config = replace(config, listeners=(replace(listener, http=replace(listener.http, access_log=(log,))),))
            async with running(config) as door:
                await (await Client.connect(address(door))).get("/", SAMPLED)
            assert (tmp_path / "log").read_text().split() == [*sent(app, "traceparent"), TRACE]


@scenario
async def test_metrics_are_cumulative_sums_and_gauges_with_a_last_export_at_the_end() -> None:
    with Receiver() as collector:
        where = Target(cluster="otel", authority="otel", path="/v1/metrics")
        async with Upstream().running() as app:
            config = proxy(app.port)
            export = MetricsExport(collector=where, interval=1.0, resource=(("service.name", "door"),))
            endpoint = Endpoint(address="127.0.0.1", port=collector.port)
            clusters = (*config.clusters, Cluster(name="otel", endpoints=(endpoint,)))
            async with running(replace(config, metrics=(export,), clusters=clusters)) as door:
                client = await Client.connect(address(door))
                await client.get("/")

                def done(collector: Collector) -> Any:
                    return collector.metrics and collector.metrics[-1][DOWNSTREAM]

                assert await asyncio.to_thread(collector.wait, done) == ("sum", 1, 2)
                assert collector.metrics[-1][("cluster.upstream_rq_total", ("envoy.cluster_name", "app"))] == (
                    "sum",
                    1,
                    2,
                )
                assert collector.metrics[-1][("cluster.upstream_cx_active", ("envoy.cluster_name", "app"))] == (
                    "gauge",
                    1,
                    0,
                )
                assert collector.metrics[-1]["resource"]["service.name"] == "door"
                before = len(collector.metrics)
                await client.get("/")
            assert len(collector.metrics) > before
            assert collector.metrics[-1][DOWNSTREAM] == ("sum", 2, 2)


@scenario
async def test_a_sign_in_is_one_trace_with_what_the_provider_was_asked_and_no_secret(tmp_path: Path) -> None:
    with Receiver() as collector:
        document = quickstart("Keycloak")
        document["telemetry"] = {"endpoint": f"http://127.0.0.1:{collector.port}", "metrics": False}
        provider = Keycloak(document["provider"]["client_id"])
        async with world(provider, document, tmp_path) as here:
            browser = here.browser()
            assert (await browser.sign_in()).status == 200
            cookies = list(browser.cookies.values())
            await spans(collector, 6)
        found = collector.spans
        [callback] = [s for s in found if s.attributes.get("url.path") == "/.ostiary/callback"]
        below = {span.id: span for span in found if span.trace == callback.trace}
        [token] = [span for span in below.values() if span.name == "provider token"]
        assert (token.parent, token.kind, token.attributes["http.response.status_code"]) == (callback.id, "CLIENT", 200)
        assert token.attributes["url.full"].endswith("/protocol/openid-connect/token")
        [connect] = [span for span in below.values() if span.parent == token.id]
        names = {name for name, _ in connect.events}
        assert names == {"dns.query", "connect.attempt"}
        assert connect.attributes["tls.protocol.version"] == "1.3"
        text = repr(found)
        assert [secret for secret in (*cookies, SECRET) if secret in text] == []
        told = repr([(span.name, span.attributes, span.events) for span in found])
        assert "code=" not in told and "state=" not in told


@pytest.mark.usefixtures("own_log")
@scenario
async def test_a_key_in_a_collectors_address_is_in_no_log(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("trace", {}, "envoy")
    with Receiver() as collector:
        where = Target(url=f"http://127.0.0.1:{collector.port}/v1/traces?key=topsecret")
        async with Upstream().running() as app, running(traced(app.port, where)) as door:
            await (await Client.connect(address(door))).get("/", SAMPLED)
        assert [path for path, _ in collector.requests] == ["/v1/traces?key=topsecret"]
    said = capsys.readouterr().err
    assert "match for URL '/v1/traces'" in said
    assert "topsecret" not in said
