"""Export by gRPC, to a real server of gRPC's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from msgspec.structs import replace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from app.harness import address, proxy, running
from ostiary.app.lifecycle import Doorkeeper
from ostiary.model.clusters import Cluster, Endpoint, Http2
from ostiary.model.config import Config
from ostiary.model.secret import Secret
from ostiary.model.telemetry import Collector as Target
from ostiary.model.telemetry import MetricsExport, Tracing
from ostiary.model.tls import DataSource
from otlp_receiver import GrpcReceiver, Receiver
from ports import free_port
from wire import Client, Upstream, scenario

TOTAL = ("http.downstream_rq_total", ("envoy.http_conn_manager_prefix", "test"))


def target(port: int, **changes: Any) -> Target:
    return Target(**{"grpc": True, "url": f"http://127.0.0.1:{port}", "timeout": 5.0, **changes})


def traced(port: int, where: Target) -> Config:
    return proxy(port, tracing=Tracing(collector=where, resource=(("service.name", "door"),)))


def counter(door: Doorkeeper, name: str) -> int:
    assert door.runtime is not None
    return door.runtime.stats.values()[f"tracing.opentelemetry.{name}"]


async def until(client: Client, door: Doorkeeper, name: str, count: int) -> None:
    """Requests, until so many spans are sent or dropped."""
    async with asyncio.timeout(15):
        while counter(door, name) < count:
            assert (await client.get("/")).status == 200
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("compress", [False, True])
@scenario
async def test_spans_and_metrics_arrive_with_their_metadata(compress: bool, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from a file\n")
    headers = (
        ("x-inline", DataSource(inline=Secret("hush"))),
        ("x-file", DataSource(filename=str(tmp_path / "key"))),
    )
    with GrpcReceiver() as collector:
        where = target(collector.port, headers=headers, compress=compress)
        metrics = MetricsExport(collector=where)
        async with Upstream().running() as app, running(replace(traced(app.port, where), metrics=(metrics,))) as door:
            client = await Client.connect(address(door))
            await until(client, door, "spans_sent", 3)
        found = {path.rpartition("/")[0].rpartition(".")[2]: metadata for path, metadata in collector.requests}
        assert found.keys() == {"TraceService", "MetricsService"}
        for metadata in found.values():
            assert (metadata["x-inline"], metadata["x-file"]) == ("hush", "from a file")
            assert metadata["user-agent"].startswith("OTel-OTLP-Exporter-ostiary/")
            assert 1 < float(metadata["timeout"]) <= 5
        assert {span.resource["service.name"] for span in collector.spans} == {"door"}
        assert collector.metrics[-1][TOTAL][1] >= 1


@scenario
async def test_a_cluster_may_lead_to_the_collector() -> None:
    with GrpcReceiver() as collector:
        where = Target(grpc=True, cluster="otel", authority="otel.test", timeout=5.0)
        endpoint = Endpoint(address="127.0.0.1", port=collector.port)
        otel = Cluster(name="otel", type="STATIC", endpoints=(endpoint,), http2=Http2())
        async with Upstream().running() as app:
            config = traced(app.port, where)
            async with running(replace(config, clusters=(*config.clusters, otel))) as door:
                await until(await Client.connect(address(door)), door, "spans_sent", 3)
                assert door.runtime is not None
                assert door.runtime.stats.values()["cluster.otel.upstream_cx_http2_total"] == 1, "it is kept"


@scenario
async def test_tls_is_verified_and_speaks_http2(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    pair = (certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())
    with GrpcReceiver(grpc.ssl_server_credentials([pair])) as collector:
        url = f"https://127.0.0.1:{collector.port}"
        where = target(0, url=url, ca=DataSource(filename=str(tmp_path / "ca.pem")))
        async with Upstream().running() as app, running(traced(app.port, where)) as door:
            await until(await Client.connect(address(door)), door, "spans_sent", 3)
        assert len(collector.spans) >= 3


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("UNAUTHENTICATED", "UNAUTHENTICATED: not today: 100 % \u00fc (it does not know who we are: see the headers"),
        ("RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED: not today"),
        ("UNAVAILABLE", "it answered UNAVAILABLE: not today"),
    ],
)
@scenario
async def test_a_collector_that_says_no_is_told_once_and_again_when_it_takes_them(
    code: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ostiary.tracing")
    with GrpcReceiver() as collector:
        collector.code = code
        async with Upstream().running() as app, running(traced(app.port, target(collector.port))) as door:
            client = await Client.connect(address(door))
            await until(client, door, "spans_dropped", 8)
            collector.code = "OK"
            await until(client, door, "spans_sent", 2)
    told = [record.message for record in caplog.records if record.name == "ostiary.tracing"]
    assert len(told) == 2, told
    assert said in told[0]
    assert "takes spans again" in told[1]


@scenario
async def test_a_server_without_a_receiver_of_traces_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with GrpcReceiver(services=()) as collector:
        async with Upstream().running() as app, running(traced(app.port, target(collector.port))) as door:
            await until(await Client.connect(address(door)), door, "spans_dropped", 3)
    [told] = [record.message for record in caplog.records if record.name == "ostiary.tracing"]
    assert "it answered UNIMPLEMENTED" in told and "no OTLP receiver of spans by gRPC at this port" in told


@pytest.mark.parametrize("how", ["refuses", "silent", "http"])
@scenario
async def test_a_collector_that_is_none_is_explained(how: str, caplog: pytest.LogCaptureFixture) -> None:
    with Receiver() as http, GrpcReceiver() as silent:
        silent.delay = 3.0
        port = {"refuses": free_port(), "silent": silent.port, "http": http.port}[how]
        where = target(port, timeout=0.3 if how == "silent" else 5.0)
        async with Upstream().running() as app, running(traced(app.port, where)) as door:
            await until(await Client.connect(address(door)), door, "spans_dropped", 3)
    [told] = [record.message for record in caplog.records if record.name == "ostiary.tracing"]
    expected = {
        "refuses": "ECONNREFUSED",
        "silent": "no complete answer within 0.3 s",
        "http": "it does not speak HTTP/2 (gRPC has a port of its own, usually 4317)",
    }
    assert expected[how] in told


@scenario
async def test_http_to_a_port_of_grpc_is_explained(caplog: pytest.LogCaptureFixture) -> None:
    with GrpcReceiver() as collector:
        where = Target(url=f"http://127.0.0.1:{collector.port}/v1/traces", timeout=5.0)
        async with Upstream().running() as app, running(traced(app.port, where)) as door:
            await until(await Client.connect(address(door)), door, "spans_dropped", 3)
    [told] = [record.message for record in caplog.records if record.name == "ostiary.tracing"]
    assert "(if it is a port for gRPC, usually 4317, configure gRPC)" in told


@pytest.mark.parametrize("receiver", [GrpcReceiver, Receiver])
@scenario
async def test_spans_that_a_collector_refuses_are_counted_and_told_once(
    receiver: type[GrpcReceiver | Receiver], caplog: pytest.LogCaptureFixture
) -> None:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 1
    answer.partial_success.error_message = "too old"
    with receiver() as collector:
        collector.answer = answer.SerializeToString()
        where = target(collector.port)
        if receiver is Receiver:
            where = Target(url=f"http://127.0.0.1:{collector.port}/v1/traces")
        async with Upstream().running() as app, running(traced(app.port, where)) as door:
            client = await Client.connect(address(door))
            await until(client, door, "spans_dropped", 2)
            assert counter(door, "spans_sent") >= 2
    [told] = [record.message for record in caplog.records if record.name == "ostiary.tracing"]
    assert "refuses some of the spans (1 of this export): too old" in told
