"""Traces and metrics: the real Envoy and Ostiary run the same YAML, and one collector gets what both export."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from otlp_receiver import Collector, GrpcReceiver, Receiver, Span
from peers.proxies import Proxy, envoy_arguments, ostiary_arguments
from peers.rawhttp import Connection
from peers.recorders import Application, Provider
from peers.same_yaml import Tree, bootstrap, cluster, fill, header, oauth2_config, route
from ports import free_port

pytestmark = pytest.mark.peer

TYPE = "type.googleapis.com/envoy"
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TOTAL = ("http.downstream_rq_total", ("envoy.http_conn_manager_prefix", "ing"))
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
SPOKEN = {"@type": f"type.googleapis.com/{OPTIONS}", "explicit_http_config": {"http2_protocol_options": {}}}
HTTP2 = {"typed_extension_protocol_options": {OPTIONS: SPOKEN}}
SAMPLERS = f"{TYPE}.extensions.tracers.opentelemetry.samplers.v3"


def service(path: str) -> Tree:
    uri = {"uri": f"http://collector.test{path}", "cluster": "otel", "timeout": "2s"}
    return {"http_uri": uri, "request_headers_to_add": [{"header": {"key": "X-Key", "value": "k"}}]}


def over_grpc() -> Tree:
    metadata = [{"key": "X-Key", "value": "k"}, {"key": "x-percent", "value": "50%%"}]
    return {"envoy_grpc": {"cluster_name": "otel"}, "timeout": "2s", "initial_metadata": metadata}


def tree(tracer: Tree | None = None, *, grpc: bool = False, about: Tree | None = None, **tracing: Any) -> Tree:
    sent = {"grpc_service": over_grpc()} if grpc else {"http_service": service("/v1/traces")}
    typed = {"@type": f"{TYPE}.config.trace.v3.OpenTelemetryConfig", **sent, "service_name": "door", **(tracer or {})}
    provider = {"name": "envoy.tracers.opentelemetry", "typed_config": typed}
    made = bootstrap(
        oauth2=oauth2_config(pass_through_matcher=[header(":path", prefix="/p"), header(":path", prefix="/dead")]),
        manager={"tracing": {"provider": provider, **tracing}},
        routes=[route("/dead", cluster="dead"), {**route(), **(about or {})}],
        clusters=[cluster("otel", "@OTEL@", **(HTTP2 if grpc else {})), cluster("dead", "@DEAD@")],  # type: ignore[arg-type]
    )
    sink = {
        "@type": f"{TYPE}.extensions.stat_sinks.open_telemetry.v3.SinkConfig",
        **({"grpc_service": over_grpc()} if grpc else {"http_service": service("/v1/metrics")}),
    }
    made["stats_sinks"] = [{"name": "envoy.stat_sinks.open_telemetry", "typed_config": sink}]
    made["stats_flush_interval"] = "1s"
    made["node"] = {"id": "here", "cluster": "test", "locality": {"zone": "a"}}
    return made


@dataclass
class Side:
    """One proxy with its application and its collector."""

    proxy: Proxy
    app: Application
    collector: Collector
    port: int

    def ask(self, path: str, *lines: str) -> int:
        """One request on a connection of its own; the answer's status."""
        with Connection(self.port) as connection:
            head = [f"GET {path} HTTP/1.1", "host: app.example.com", "user-agent: me", *lines, "", ""]
            connection.send("\r\n".join(head).encode())
            return connection.receive().status

    def spans(self, count: int) -> list[Span]:
        """Those of requests, as soon as there are so many; Ostiary has further ones of connections."""

        def requests(collector: Collector) -> list[Span]:
            found = [span for span in collector.spans if not span.name.startswith("connect ")]
            return found if len(found) >= count else []

        return sorted(self.collector.wait(requests), key=lambda span: (span.start, span.kind != "SERVER"))


@contextlib.contextmanager
def both(made: Tree, directory: Path, receiver: type[Receiver | GrpcReceiver] = Receiver) -> Iterator[list[Side]]:
    """Envoy and Ostiary, running."""
    with contextlib.ExitStack() as stack:
        sides = []
        for kind in ("envoy", "ostiary"):
            app, idp, collector = Application(), Provider(), stack.enter_context(receiver())
            stack.callback(app.close)
            stack.callback(idp.close)
            port, admin = free_port(), free_port()
            values = {"PORT": port, "ADMIN": admin, "APP": app.port, "IDP": idp.port, "DEAD": 1}
            values |= {"OTEL": collector.port, "LOG": str(directory / f"{kind}.access")}
            config = directory / f"{kind}.yaml"
            config.write_text(yaml.safe_dump(fill(made, values), sort_keys=False))
            argv = [*envoy_arguments(config)] if kind == "envoy" else ostiary_arguments(config)
            argv = [a for a in argv if a not in ("--service-node", "--service-cluster", "test")]
            proxy = Proxy(kind, argv, (port,), admin, directory / f"{kind}.log")
            stack.callback(proxy.stop)
            sides.append(Side(proxy.start(), app, collector, port))
        yield sides


def told(spans: list[Span], app_port: int) -> list[dict[str, Any]]:
    """What both should say alike; ids and ports of one side are taken out."""
    numbers = {span.id: number for number, span in enumerate(spans)}
    found = []
    for span in spans:
        attributes = {**span.attributes, "guid:x-request-id": "guid:x-request-id" in span.attributes}
        text = json.dumps(attributes).replace(str(app_port), "APP")
        parent = numbers.get(span.parent, span.parent)
        found.append({"name": span.name, "kind": span.kind, "parent": parent, "state": span.state, **json.loads(text)})
        found[-1]["status"] = span.status
    return found


REQUESTS = {
    "root": ("/p?q=1", []),
    "sampled": ("/p", [f"traceparent: 00-{TRACE}-{CALLER}-01", "tracestate: a=b,c=d"]),
    "tagged": ("/p", ["x-h: from-client", "x-envoy-downstream-service-cluster: caller", "x-client-trace-id: 7"]),
    "post-sign-in": ("/elsewhere", []),
    "dead": ("/dead", []),
}
TAGS = [
    {"tag": "literal", "literal": {"value": "v"}},
    {"tag": "header", "request_header": {"name": "X-H", "default_value": "none"}},
    {"tag": "absent", "request_header": {"name": "x-absent"}},
    {"tag": "home", "environment": {"name": "HOME"}},
    {"tag": "unset", "environment": {"name": "NOT_SET_HERE", "default_value": "d"}},
]
VALUES = [
    {"tag": "value", "value": "%PROTOCOL% %REQ(x-h)% %ROUTE_NAME%"},
    {"tag": "empty", "value": "%REQ(x-none)%"},
]
CONFIGS = {
    "alone": tree(),
    "spawning": tree(spawn_upstream_span=True, custom_tags=TAGS, max_path_tag_length=3),
    "grpc": tree(grpc=True),
    "decorated": tree(
        about={"name": "all", "decorator": {"operation": "shop.test:80/*"}},
        spawn_upstream_span=True,
        custom_tags=VALUES,
    ),
    "operations": tree(
        about={"name": "all", "decorator": {"operation": "not this"}},
        operation="%REQ(:METHOD)% %ROUTE_NAME%%REQ(x-h)%|%RESPONSE_CODE%",
        upstream_operation="to %UPSTREAM_CLUSTER%%REQ(x-none)%",
        spawn_upstream_span=True,
    ),
    "static-resource": tree(
        {
            "resource_detectors": [
                {
                    "name": "static",
                    "typed_config": {
                        "@type": f"{TYPE}.extensions.tracers.opentelemetry.resource_detectors.v3."
                        "StaticConfigResourceDetectorConfig",
                        "attributes": {"team": "blue"},
                    },
                }
            ],
            "set_telemetry_sdk_resource_attributes": False,
        }
    ),
}


SPAWNING = ("spawning", "decorated", "operations")


@pytest.mark.parametrize("name", CONFIGS)
def test_spans_are_those_of_envoy(name: str, envoy: Path, tmp_path: Path) -> None:
    with both(CONFIGS[name], tmp_path, GrpcReceiver if name == "grpc" else Receiver) as sides:
        results = []
        for side in sides:
            statuses = [side.ask(path, *lines) for path, lines in REQUESTS.values()]
            spans = side.spans(9 if name in SPAWNING else 5)
            received = [got.get("traceparent") or "" for got in side.app.drain()]
            parents = {span.id for span in spans if span.kind == ("CLIENT" if name in SPAWNING else "SERVER")}
            assert {parent.split("-")[2] for parent in received} <= parents
            assert [parent[-3:] for parent in received] == ["-01"] * 3
            assert received[1].startswith(f"00-{TRACE}-")
            resource = dict(spans[0].resource)
            resource.pop("service.instance.id", None)
            sdk = resource.keys() - {"service.name", "team"}
            assert ("x-key", "k") in side.collector.requests[0][1].items()
            results.append(
                (statuses, told(spans, side.app.port), resource.get("service.name"), resource.get("team"), sdk)
            )
        assert results[1] == results[0]


WRAPPED = {"name": "r", "typed_config": {"@type": f"{SAMPLERS}.AlwaysOnSamplerConfig"}}
BASED = {"@type": f"{SAMPLERS}.ParentBasedSamplerConfig", "wrapped_sampler": WRAPPED}
RATIO = {"@type": f"{SAMPLERS}.TraceIdRatioBasedSamplerConfig", "sampling_percentage": {"numerator": 0}}
DECISIONS = {
    "random": tree(random_sampling={"value": 0}),
    "overall": tree(overall_sampling={"value": 0}),
    "always on": tree({"sampler": WRAPPED}),
    "always on, random": tree({"sampler": WRAPPED}, random_sampling={"value": 0}),
    "parent based": tree({"sampler": {"name": "p", "typed_config": BASED}}),
    "ratio": tree({"sampler": {"name": "t", "typed_config": RATIO}}),
}


@pytest.mark.parametrize("name", DECISIONS)
def test_whose_decision_it_is_to_record_a_request(name: str, envoy: Path, tmp_path: Path) -> None:
    parents = ([], [f"traceparent: 00-{TRACE}-{CALLER}-01"], [f"traceparent: 00-{TRACE}-{CALLER}-00"])
    with both(DECISIONS[name], tmp_path) as sides:
        flags = []
        for side in sides:
            assert [side.ask("/p", *lines) for lines in parents] == [200] * 3
            flags.append([(got.get("traceparent") or "")[-2:] for got in side.app.drain()])
        assert flags[1] == flags[0]


def test_calls_of_grpc_go_where_envoys_go_with_their_metadata(envoy: Path, tmp_path: Path) -> None:
    with both(tree(grpc=True), tmp_path, GrpcReceiver) as sides:
        said = []
        for side in sides:
            assert side.ask("/p") == 200
            side.collector.wait(lambda c: c.metrics and c.metrics[-1].get(TOTAL, (0, 0))[1] == 1)
            side.spans(1)
            calls = dict(side.collector.requests)
            said.append({path: {k: v for k, v in calls[path].items() if k[:3] in ("x-k", "x-p")} for path in calls})
        assert said[1] == said[0]
        assert list(said[1].values()) == [{"x-key": "k", "x-percent": "50%%"}] * 2


def test_metrics_have_envoys_names_attributes_and_kinds(envoy: Path, tmp_path: Path) -> None:
    with both(tree(), tmp_path) as sides:
        exported = []
        for side in sides:
            assert side.ask("/p") == 200
            side.collector.wait(lambda c: c.metrics and c.metrics[-1].get(TOTAL, (0, 0))[1] == 1)
            exported.append({k: v for k, v in side.collector.metrics[-1].items() if k != "resource"})
            _, headers = next(each for each in side.collector.requests if each[0] == "/v1/metrics")
            assert headers["x-key"] == "k" and headers["host"] == "collector.test"
        theirs, ours = exported
        shared = {key for key in ours if key in theirs and not {("envoy.cluster_name", "otel")} & set(key)}
        assert len(shared) > 30
        assert ("cluster.upstream_rq", ("envoy.cluster_name", "app"), ("envoy.response_code", "200")) in shared
        kinds = {key: (theirs[key][0], ours[key][0]) for key in shared}
        assert {key: kind for key, kind in kinds.items() if kind[0] != kind[1]} == {}
        times = {key for key in shared if ours[key][0] == "histogram" and str(key[0]).endswith("_rq_time")}
        assert {(ours[key][1], theirs[key][1]) for key in times} == {(1, 1)} and len(times) >= 2
        counted = {key for key in shared if "_rq_" in key[0] or key[0].endswith("_rq")} - times
        assert {k: ours[k] for k in counted if ours[k] != theirs[k]} == {}
