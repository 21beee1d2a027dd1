"""Forwarding, CORS and access logs: what a real Envoy makes of them, and we."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from envoy_json import CATCH_ALL, CORS, TYPES, configuration_json, one_host
from envoy_oracle import Oracle, running_envoy
from ostiary.core.access_log import access_log_line
from ostiary.core.cors import CorsFilter
from ostiary.core.decision import Allow, Respond
from ostiary.core.formatter import compile_format
from ostiary.core.forwarding import Forwarder, Peer
from ostiary.core.record import Record
from ostiary.core.routing import Router
from ostiary.model.access_log import AccessLog
from ostiary.model.config import HttpConnectionManager
from ostiary.model.headers import Headers
from ostiary.model.matchers import StringMatcher
from ostiary.model.routes import (
    CorsPolicy,
    Route,
    RouteAction,
    RouteMatch,
)
from requests_for_tests import entropy, make_request

pytestmark = pytest.mark.peer

REWRITE = Route(match=RouteMatch(prefix="/a/"), action=RouteAction(cluster="app", prefix_rewrite="/"))

POLICY = CorsPolicy(
    allow_origin_string_match=(StringMatcher("exact", "http://ok"),),
    allow_methods="GET",
    expose_headers="x-a",
    max_age="5",
    allow_credentials=True,
    allow_private_network_access=True,
)
STOP = CorsPolicy(
    allow_origin_string_match=(StringMatcher("exact", "http://ok"),), forward_not_matching_preflights=False
)
ANY = CorsPolicy(allow_origin_string_match=(StringMatcher("exact", "*"),), allow_headers="x-h", allow_methods="PUT")
CORS_ROUTES = one_host(
    Route(match=RouteMatch(prefix="/x"), action=RouteAction(cluster="app"), typed_per_filter_config={CORS: POLICY}),
    Route(match=RouteMatch(prefix="/stop"), action=RouteAction(cluster="app"), typed_per_filter_config={CORS: STOP}),
    CATCH_ALL,
    typed_per_filter_config={CORS: ANY},
)

FORWARDING: dict[str, dict[str, Any]] = {
    "edge": {"use_remote_address": True, "via": "ost"},
    "edge-behind-one": {"use_remote_address": True, "xff_num_trusted_hops": 1},
    "edge-behind-two": {"use_remote_address": True, "xff_num_trusted_hops": 2, "preserve_external_request_id": True},
    "edge-silent": {"use_remote_address": True, "skip_xff_append": True, "generate_request_id": False},
    "inner": {},
    "inner-skipping": {"xff_num_trusted_hops": 1},
    "overwritten": {"scheme_to_overwrite": "https"},
}
CLIENT_HEADERS: list[tuple[tuple[str, str], ...]] = [
    (),
    (("x-forwarded-for", "1.1.1.1"),),
    (("x-forwarded-for", "1.1.1.1, 2.2.2.2"), ("x-forwarded-proto", "https"), ("x-request-id", "theirs")),
    (("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2"), ("via", "1.1 a")),
    (
        ("x-forwarded-proto", "ftp"),
        ("te", "gzip, trailers"),
        ("x-forwarded-client-cert", "x"),
        ("x-envoy-internal", "true"),
    ),
    (
        ("te", "gzip"),
        ("x-envoy-max-retries", "1"),
        ("x-envoy-original-path", "/x"),
        ("x-envoy-external-address", "6.6.6.6"),
    ),
    (("x-envoy-decorator-operation", "1"), ("x-envoy-downstream-service-node", "1"), ("x-envoy-original-host", "x")),
    (
        ("x-forwarded-host", "h"),
        ("x-real-ip", "1"),
        ("forwarded", "for=1"),
        ("keep-alive", "1"),
        ("proxy-connection", "1"),
    ),
]

TEXT = (
    "%REQ(X-A)%|%REQ(X-B?X-A)%|%REQ(X-A):3%|%REQ(:METHOD)%|%REQ(host)%|%RESP(X-App)%|%RESP(:status)%|%PROTOCOL%|"
    "%RESPONSE_CODE%|%RESPONSE_CODE_DETAILS%|%RESPONSE_FLAGS%|%BYTES_RECEIVED%|%UPSTREAM_CLUSTER%|%ROUTE_NAME%|"
    "%UPSTREAM_REQUEST_ATTEMPT_COUNT%|%PATH(NQ)%|%PATH(WQ:ORIG)%|%PATH(WQ:PATH)%|%QUERY_PARAM(q)%|%REQ(X-None)%|"
    "%TRAILER(x)%|%UPSTREAM_TRANSPORT_FAILURE_REASON%|%REQUESTED_SERVER_NAME%|%%|%REQ(:PATH)%|%REQ(:SCHEME)%|"
    "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%|%DOWNSTREAM_TLS_VERSION%|%START_TIME(%s)%|%START_TIME(%E3S %f %3f %3s %e %j)%\n"
)
JSON = {
    "z": "%RESPONSE_CODE%",
    "a": "%REQ(X-None)%",
    "m": "a %REQ(X-None)% b",
    "n": {"q": "%BYTES_RECEIVED%"},
    "x": "%REQ(X-A)%",
    "c": "const",
    "d": "%RESPONSE_CODE%ms",
    "s": "%START_TIME(%s.%9f)%",
}


def logger_json(path: Path, **log_format: Any) -> list[dict[str, Any]]:
    kind = f"{TYPES}.access_loggers.file.v3.FileAccessLog"
    return [{"name": "f", "typed_config": {"@type": kind, "path": str(path), "log_format": log_format}}]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def envoy(logs: Path) -> Iterator[Oracle]:
    everything = configuration_json(one_host(CATCH_ALL))
    managers: dict[str, dict[str, Any]] = {
        "cors": {
            "route_config": configuration_json(CORS_ROUTES),
            "http_filters": [{"name": CORS, "typed_config": {"@type": f"{TYPES}.filters.http.cors.v3.Cors"}}],
        },
        "text": {
            "route_config": configuration_json(one_host(REWRITE)),
            "access_log": logger_json(logs / "text", text_format_source={"inline_string": TEXT}),
        },
        "json": {"route_config": everything, "access_log": logger_json(logs / "json", json_format=JSON)},
        "json-omitting": {
            "route_config": everything,
            "access_log": logger_json(logs / "json-omitting", json_format=JSON, omit_empty_values=True),
        },
    }
    for name, options in FORWARDING.items():
        given = {key: value for key, value in options.items() if key != "scheme_to_overwrite"}
        if "scheme_to_overwrite" in options:
            given["scheme_header_transformation"] = {"scheme_to_overwrite": options["scheme_to_overwrite"]}
        managers[f"forwarding-{name}"] = {"route_config": everything, **given}
    with running_envoy(managers) as oracle:
        yield oracle


@pytest.mark.parametrize("target", ["/x", "/stop", "/"])
@pytest.mark.parametrize("origin", ["http://ok", "http://bad", None])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_cors(envoy: Oracle, target: str, origin: str | None, method: str) -> None:
    headers = [("origin", origin)] if origin is not None else []
    if method == "OPTIONS":
        headers += [("access-control-request-method", "GET"), ("access-control-request-private-network", "true")]
    answer = envoy.get("cors", target, *headers, method=method)
    request = make_request(target, *headers, method=method)
    matched = Router(CORS_ROUTES).match(request)
    assert matched is not None
    policies = [each for each in matched.filter_configs(CORS) if isinstance(each, CorsPolicy)]
    decision = CorsFilter(policies).decide(request, 0.0)
    assert isinstance(decision, Allow) == bool(answer.upstream)
    ours = decision.headers if isinstance(decision, Respond) else getattr(decision, "response_set", ())
    assert sorted(ours) == sorted(item for item in answer.headers if item[0].startswith("access-control"))


@pytest.mark.parametrize("name", FORWARDING)
@pytest.mark.parametrize("headers", CLIENT_HEADERS)
def test_forwarding(envoy: Oracle, name: str, headers: tuple[tuple[str, str], ...]) -> None:
    theirs = {}
    for key, value in envoy.get(f"forwarding-{name}", "/", *headers).upstream["headers"]:
        theirs.setdefault(key, []).append(value)
    manager = HttpConnectionManager(
        stat_prefix="t", route_config=one_host(CATCH_ALL), http_filters=(), **FORWARDING[name]
    )
    own = next(iter(theirs.get("x-forwarded-for", [""]))).rpartition(",")[2]
    peer = Peer(address="127.0.0.1", encrypted=False, own_address=own)
    sent = Forwarder(manager).forward(Headers([*headers, ("connection", "close")]), peer, entropy)
    ours = {key: sent.headers.get_all(key) for key, _ in sent.headers}
    for made_by_another in ("host", "x-envoy-expected-rq-timeout-ms"):
        theirs.pop(made_by_another, None)
    if ours.get("x-request-id") != ["theirs"]:
        assert len(ours.pop("x-request-id", [""])[0]) == len(theirs.pop("x-request-id", [""])[0])
    assert ours == theirs


def logged(path: Path) -> str:
    """Envoy writes its log a little later."""
    deadline = time.monotonic() + 20
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < deadline, "Envoy wrote no log"
        time.sleep(0.02)
    return path.read_text()


def logged_record(target: str, original: str, *headers: tuple[str, str]) -> Record:
    record = Record.of(make_request(target, *headers, ("x-envoy-original-path", original)))
    record.protocol, record.response_code, record.response_code_details = "HTTP/1.1", 200, "via_upstream"
    record.upstream_cluster, record.upstream_request_attempt_count = "app", 1
    record.response_headers = Headers([("x-app", "one"), ("x-app", "two")])
    return record


def test_text_formats(envoy: Oracle, logs: Path) -> None:
    headers = (("x-a", "first"), ("x-a", "second"))
    envoy.get("text", "/a/p?q=a%20b&q=2", *headers)
    line = logged(logs / "text")
    record = logged_record("/p?q=a%20b&q=2", "/a/p?q=a%20b&q=2", *headers)
    seconds, fraction = line.rstrip("\n").split("|")[-2:]
    record.start_time = int(seconds) + int(fraction.split(" ")[1]) / 1e9
    assert compile_format(TEXT).render_line(record) == line.encode()
    assert access_log_line(AccessLog(sink="stdout", text_format=TEXT))(record) == line.encode()


@pytest.mark.parametrize("name", ["json", "json-omitting"])
def test_json_formats(envoy: Oracle, logs: Path, name: str) -> None:
    envoy.get(name, "/", ("x-a", 'v"1\\'))
    line = logged(logs / name)
    record = logged_record("/", "/", ("x-a", 'v"1\\'))
    record.start_time = float(json.loads(line)["s"])
    log = AccessLog(sink="stdout", text_format=None, json_format=JSON, omit_empty_values=name == "json-omitting")
    assert access_log_line(log)(record) == line.encode()


def test_the_forwarding_difference_is_this(envoy: Oracle) -> None:
    """Credentials listed in Connection are not dropped here."""
    raw = b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close, authorization\r\nauthorization: x\r\n\r\n"
    assert envoy.send("forwarding-inner", raw).sent("authorization") == []
    manager = HttpConnectionManager(stat_prefix="t", route_config=one_host(CATCH_ALL), http_filters=())
    headers = Headers([("connection", "close, authorization"), ("authorization", "x")])
    sent = Forwarder(manager).forward(headers, Peer(address="127.0.0.1", encrypted=False), entropy)
    assert sent.headers.get("authorization") == "x"
