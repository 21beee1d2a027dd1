"""Telemetry of a whole `ostiary run`: workers, the environment, the end, a reload."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from otlp_receiver import Collector, Receiver
from peers.crew import alone, until, whole
from peers.proxies import Proxy, ostiary_arguments
from peers.rawhttp import Connection
from peers.recorders import Application
from ports import free_port

pytestmark = pytest.mark.peer

TRACE = "0af7651916cd43dd8448eb211c80319c"
PUBLIC = """\
listen: 127.0.0.1:{port}
admin: 127.0.0.1:{admin}
upstream: http://127.0.0.1:{app}
provider: {{issuer: "https://idp.invalid", client_id: app}}
secret: 0123456789abcdef0123456789abcdef
public: [/open]
access_log: off
"""


@contextmanager
def doorkeeper(directory: Path, telemetry: str, env: dict[str, str], workers: int = 1) -> Iterator[Proxy]:
    app, port, admin = Application(), free_port(), free_port()
    config = directory / "ostiary.yaml"
    config.write_text(PUBLIC.format(port=port, admin=admin, app=app.port) + telemetry)
    proxy = Proxy("ostiary", ostiary_arguments(config, workers), (port,), admin, directory / "log", env).start()
    try:
        yield proxy
    finally:
        proxy.stop()
        app.close()


def ask(proxy: Proxy) -> None:
    with Connection(proxy.ports[0]) as connection:
        parent = f"traceparent: 00-{TRACE}-b7ad6b7169203331-01"
        connection.send(f"GET /open HTTP/1.1\r\nhost: a\r\n{parent}\r\n\r\n".encode())
        assert connection.receive().status == 200


def total(collector: Collector) -> int:
    """Requests, by the last export."""
    key = ("http.downstream_rq_total", ("envoy.http_conn_manager_prefix", "ostiary"))
    found: tuple[str, int, int] = collector.metrics[-1].get(key, ("", 0, 0)) if collector.metrics else ("", 0, 0)
    return found[1]


def test_each_worker_exports_for_itself_and_once_more_at_the_end(tmp_path: Path) -> None:
    with Receiver() as collector:
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
            "OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=pod",
            "OTEL_SERVICE_NAME": "door",
        }
        with doorkeeper(tmp_path, "telemetry:\n", env, workers=2) as proxy:
            pids = whole(proxy, 2)
            for pid in pids:
                with alone(pids, pid):
                    ask(proxy)
            assert proxy.stop() == 0
        spans = [span for span in collector.spans if span.trace == TRACE and span.kind == "SERVER"]
        assert {span.resource["service.instance.id"] for span in spans} == {f"pod:{pid}" for pid in pids}
        assert {span.resource["service.name"] for span in spans} == {"door"}
        # The interval is a minute: this is the last export, of each.
        assert {each["resource"]["service.instance.id"] for each in collector.metrics} == {f"pod:{p}" for p in pids}


def test_a_reload_goes_on_with_the_new_collector(tmp_path: Path) -> None:
    with Receiver() as first, Receiver() as second:
        section = "telemetry: {{endpoint: 'http://127.0.0.1:{}', metrics_interval: 1s}}\n"
        with doorkeeper(tmp_path, section.format(first.port), {}) as proxy:
            ask(proxy)
            first.wait(lambda collector: total(collector) == 1)
            config = tmp_path / "ostiary.yaml"
            config.write_text(config.read_text().replace(str(first.port), str(second.port)))
            os.kill(proxy.pid, signal.SIGHUP)
            second.wait(lambda collector: collector.metrics)
            ask(proxy)
            second.wait(lambda collector: total(collector) >= 2)  # counters go on
            second.spans_of(2, TRACE)
            name = f"http_//127.0.0.1_{second.port}"  # the collector's own cluster is one like others
            assert ("cluster.upstream_rq_total", ("envoy.cluster_name", name)) in second.metrics[-1]
            assert total(first) == 1


def test_a_silent_collector_does_not_keep_the_process(tmp_path: Path) -> None:
    with Receiver() as collector:
        collector.delay = 60.0
        section = f"telemetry: {{endpoint: 'http://127.0.0.1:{collector.port}', timeout: 60s}}\n"
        with doorkeeper(tmp_path, section, {}) as proxy:
            for _ in range(10):
                ask(proxy)
            os.kill(proxy.pid, signal.SIGTERM)
            until(lambda: not proxy.alive(), "it waits for the collector")
            assert proxy.stop() == 0
            assert "was given up" in proxy.output()
