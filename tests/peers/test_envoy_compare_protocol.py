"""Forwarding headers, framing, upgrades, limits, CORS and health checks: what the connection manager does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from peers import rawhttp
from peers.client import Client, asking
from peers.compare import Case, Pairs, compare, compare_access_logs
from peers.recorders import Answer
from peers.same_yaml import HOST, TYPES, Tree, bootstrap, filters, header, route

pytestmark = pytest.mark.peer


def _normal(**manager: Any) -> Callable[[], Tree]:
    routes = [
        {"match": {"prefix": "/private"}, "direct_response": {"status": 403, "body": {"inline_string": "private"}}},
        route(),
    ]
    return lambda: bootstrap(routes=routes, manager=manager)


def _cors() -> Tree:
    policy = {
        "@type": f"{TYPES}.filters.http.cors.v3.CorsPolicy",
        "allow_origin_string_match": [{"exact": "https://a.example"}, {"suffix": ".b.example"}],
        "allow_methods": "GET, POST",
        "allow_headers": "x-one",
        "expose_headers": "x-two",
        "max_age": "600",
        "allow_credentials": True,
    }
    name = "envoy.filters.http.cors"
    chain = [{"name": name, "typed_config": {"@type": f"{TYPES}.filters.http.cors.v3.Cors"}}, *filters(None)]
    hosts = [{"name": "app", "domains": ["*"], "routes": [route()], "typed_per_filter_config": {name: policy}}]
    return bootstrap(virtual_hosts=hosts, http_filters=chain)


def _health() -> Tree:
    typed = {
        "@type": f"{TYPES}.filters.http.health_check.v3.HealthCheck",
        "pass_through_mode": False,
        "headers": [header(":path", exact="/healthz")],
    }
    chain = [{"name": "envoy.filters.http.health_check", "typed_config": typed}, *filters(None)]
    added = {"response_headers_to_add": [{"header": {"key": "x-added", "value": "yes"}}]}
    return bootstrap(http_filters=chain, route_config=added) | {"node": {"id": "test", "cluster": "test"}}


CONFIGS: dict[str, Callable[[], Tree]] = {
    "raw": _normal(),
    "edge": _normal(use_remote_address=True, via="edge", upgrade_configs=[{"upgrade_type": "websocket"}]),
    "hops": _normal(xff_num_trusted_hops=1, use_remote_address=True, skip_xff_append=True),
    "strip": _normal(strip_any_host_port=True, strip_trailing_host_dot=True),
    "ids": _normal(preserve_external_request_id=True, always_set_request_id_in_response=True),
    "small": _normal(max_request_headers_kb=2, common_http_protocol_options={"max_headers_count": 20}),
    "underscores": _normal(common_http_protocol_options={"headers_with_underscores_action": "REJECT_REQUEST"}),
    "drop-underscores": _normal(common_http_protocol_options={"headers_with_underscores_action": "DROP_HEADER"}),
    "cors": _cors,
    "health": _health,
}


def _raw(text: str) -> Callable[[Client], None]:
    """A request as written; `{case}` is the header that names the case in the log."""

    def script(client: Client) -> None:
        data = text.replace("{case}", f"x-case: {client.case}").replace("\n", "\r\n")
        client.raw(data.encode("latin-1"))

    return script


def _answered(answer: Answer, target: str = "/known", method: str = "GET") -> Callable[[Client], None]:
    def script(client: Client) -> None:
        client.app.script.append(answer)
        client.send(method, target)

    return script


def _keep_alive(client: Client) -> None:
    """Three requests on one connection, the last two sent together."""
    name = ("x-case", client.case)
    with rawhttp.Connection(client.side.port) as connection:
        for count in (1, 2):
            connection.send(rawhttp.request("GET", f"/known/{count}", (name,), host=HOST) * count)
            answers = [connection.receive() for _ in range(count)]
            for answer in answers:
                client.step += 1
                client.record(answer)


def _websocket(client: Client) -> None:
    upgrade = (
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
        ("x-case", client.case),
    )
    with rawhttp.Connection(client.side.port) as connection:
        connection.send(rawhttp.request("GET", "/ws", upgrade, host=HOST))
        client.step += 1
        response = connection.receive()
        client.record(response)
        if response.status == 101:
            connection.send(b"there and back")
            client.seen["echo"] = connection._take(14)


def _expect(client: Client) -> None:
    headers = (("expect", "100-continue"), ("content-length", "4"), ("x-case", client.case))
    with rawhttp.Connection(client.side.port) as connection:
        connection.send(rawhttp.request("POST", "/known", headers, host=HOST))
        first = connection.receive()
        client.seen["first"] = first.status
        connection.send(b"body")
        client.step += 1
        client.record(connection.receive())


FORWARDING_CASES = [
    Case(
        "xff-appended",
        "edge",
        asking("/", ("x-forwarded-for", "203.0.113.7, 198.51.100.1"), ("x-forwarded-proto", "https")),
    ),
    Case("xff-none", "edge", asking("/")),
    Case("xff-internal", "raw", asking("/", ("x-forwarded-for", "10.0.0.1"), ("x-forwarded-proto", "https"))),
    Case("xff-external", "raw", asking("/", ("x-forwarded-for", "203.0.113.7"))),
    Case(
        "hops-trusted",
        "hops",
        asking("/", ("x-forwarded-for", "203.0.113.7, 198.51.100.1"), ("x-forwarded-proto", "https")),
    ),
    Case(
        "envoy-headers-from-outside",
        "edge",
        asking("/", ("x-envoy-retry-on", "5xx"), ("x-envoy-internal", "true"), ("x-envoy-external-address", "1.2.3.4")),
    ),
    Case("host-port-stripped", "strip", asking("/", host="app.example.com:8080")),
    Case("host-dot-stripped", "strip", asking("/", host="app.example.com.")),
    Case("request-id-made", "raw", asking("/")),
    Case("request-id-from-outside", "edge", asking("/", ("x-request-id", "mine"))),
    Case("request-id-kept", "ids", asking("/", ("x-request-id", "mine"))),
    Case(
        "hop-by-hop-removed",
        "raw",
        asking(
            "/",
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "5"),
            ("te", "trailers"),
            ("proxy-connection", "x"),
        ),
    ),
    Case("underscore-rejected", "underscores", asking("/", ("x_a", "1"))),
    Case("underscore-dropped", "drop-underscores", asking("/", ("x_a", "1"), ("x-b", "2"))),
    Case("underscore-allowed", "raw", asking("/", ("x_a", "1"))),
    Case("repeated-headers", "raw", asking("/", ("x-a", "1"), ("x-a", "2"), ("X-A", "3"))),
    Case("latin-1-header", "raw", asking("/", ("x-a", "caf\xe9"))),
    Case("empty-header", "raw", asking("/", ("x-a", ""))),
]

PROTOCOL_CASES = [
    Case("keep-alive", "raw", _keep_alive),
    Case("head", "raw", asking("/", method="HEAD")),
    Case("put", "raw", asking("/", method="PUT", body=b"abc")),
    Case("own-method", "raw", asking("/", method="PURGE")),
    Case(
        "chunked-request",
        "raw",
        _raw(f"POST /c HTTP/1.1\nHost: {HOST}\n{{case}}\nTransfer-Encoding: chunked\n\n3\nabc\n2;x=y\nde\n0\n\n"),
    ),
    Case(
        "chunked-response",
        "raw",
        _answered(Answer(raw=b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")),
    ),
    Case(
        "until-close-response",
        "raw",
        _answered(Answer(raw=b"HTTP/1.1 200 OK\r\nx-a: b\r\n\r\nuntil the end", close=True)),
    ),
    Case(
        "http-1-0-response", "raw", _answered(Answer(raw=b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", close=True))
    ),
    Case("not-modified", "raw", _answered(Answer(raw=b"HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n"))),
    Case("no-content", "raw", _answered(Answer(raw=b"HTTP/1.1 204 No Content\r\n\r\n"))),
    Case(
        "early-hints",
        "raw",
        _answered(
            Answer(raw=b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        ),
    ),
    Case(
        "response-hop-by-hop",
        "raw",
        _answered(
            Answer(
                headers=(("connection", "x-hop"), ("x-hop", "1"), ("keep-alive", "timeout=5"), ("x-b", "2")), body=b"b"
            )
        ),
    ),
    Case(
        "response-server-header",
        "raw",
        _answered(Answer(headers=(("server", "app"), ("date", "yesterday")), body=b"b")),
    ),
    Case("response-broken", "raw", _answered(Answer(raw=b"NOT HTTP\r\n\r\n", close=True))),
    Case("response-closed-early", "raw", _answered(Answer(raw=b"", close=True))),
    Case("expect-continue", "raw", _expect),
    Case("websocket", "edge", _websocket),
    Case("websocket-not-enabled", "raw", _websocket),
    Case("http-1-0", "raw", _raw(f"GET / HTTP/1.0\nHost: {HOST}\n{{case}}\n\n")),
    Case("no-host-header", "raw", _raw("GET / HTTP/1.1\n{case}\n\n")),
    Case(
        "two-lengths",
        "raw",
        _raw(f"POST / HTTP/1.1\nHost: {HOST}\n{{case}}\nContent-Length: 3\nContent-Length: 4\n\nabcd"),
    ),
    Case(
        "length-and-chunked",
        "raw",
        _raw(f"POST / HTTP/1.1\nHost: {HOST}\n{{case}}\nContent-Length: 3\nTransfer-Encoding: chunked\n\n0\n\n"),
    ),
    Case(
        "chunk-size-wrong",
        "raw",
        _raw(f"POST / HTTP/1.1\nHost: {HOST}\n{{case}}\nTransfer-Encoding: chunked\n\nxyz\n\n"),
    ),
    Case("length-not-a-number", "raw", _raw(f"POST / HTTP/1.1\nHost: {HOST}\n{{case}}\nContent-Length: +3\n\nabc")),
    Case(
        "transfer-encoding-unknown",
        "raw",
        _raw(f"POST / HTTP/1.1\nHost: {HOST}\n{{case}}\nTransfer-Encoding: gzip\n\n"),
    ),
    Case("space-before-colon", "raw", _raw(f"GET / HTTP/1.1\nHost: {HOST}\n{{case}}\nx-a : b\n\n")),
    Case("folded-header", "raw", _raw(f"GET / HTTP/1.1\nHost: {HOST}\n{{case}}\nx-a: b\n c\n\n")),
    Case("not-http", "raw", _raw("hello\n\n")),
    Case("fragment-in-path", "raw", asking("/a#b")),
    Case("non-ascii-path", "raw", asking("/caf\xe9")),
    Case("absolute-form", "raw", _raw(f"GET http://other.example/x?y HTTP/1.1\nHost: {HOST}\n{{case}}\n\n")),
    Case("asterisk", "raw", _raw(f"OPTIONS * HTTP/1.1\nHost: {HOST}\n{{case}}\n\n")),
    Case("connect", "raw", _raw(f"CONNECT other.example:443 HTTP/1.1\nHost: {HOST}\n{{case}}\n\n")),
    Case("headers-too-large", "small", asking("/", ("x-big", "b" * 3000))),
    Case("headers-too-many", "small", asking("/", *((f"x-{n}", "1") for n in range(30)))),
    Case(
        "cors-preflight",
        "cors",
        asking("/", ("origin", "https://a.example"), ("access-control-request-method", "POST"), method="OPTIONS"),
    ),
    Case("cors-simple", "cors", asking("/", ("origin", "https://x.b.example"))),
    Case("cors-other-origin", "cors", asking("/", ("origin", "https://evil.example"))),
    Case(
        "cors-preflight-other-origin",
        "cors",
        asking("/", ("origin", "https://evil.example"), ("access-control-request-method", "POST"), method="OPTIONS"),
    ),
    Case("health-check", "health", asking("/healthz")),
    Case("health-check-query", "health", asking("/healthz?x=1")),
]

CASES = FORWARDING_CASES + PROTOCOL_CASES


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_same_as_envoy(case: Case, fleet: Pairs, tally: Counter[str]) -> None:
    compare(case, fleet, tally)


def test_access_logs_agree(fleet: Pairs, tally: Counter[str]) -> None:
    compare_access_logs(fleet, tally)
