"""Routes, rewrites, header edits, forwarding and framing: what the connection manager and the router do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from peers import rawhttp
from peers.compare import Case, Client, Pairs, compare, compare_access_logs
from peers.recorders import Answer
from peers.same_yaml import HOST, TYPES, Tree, bootstrap, cluster, filters, header, route

pytestmark = pytest.mark.peer


def _add(key: str, value: str, action: str | None = None) -> Tree:
    return {"header": {"key": key, "value": value}} | ({"append_action": action} if action else {})


def _routes() -> Tree:
    routes: list[Tree] = [
        {"match": {"path": "/exact"}, "direct_response": {"status": 200, "body": {"inline_string": "exact"}}},
        {
            "match": {"prefix": "/upper", "case_sensitive": False},
            "route": {"cluster": "app", "prefix_rewrite": "/lower"},
        },
        {"match": {"path_separated_prefix": "/seg"}, "route": {"cluster": "app", "prefix_rewrite": "/S"}},
        {
            "match": {"safe_regex": {"regex": "/item/([0-9]+)/(.*)"}},
            "route": {
                "cluster": "app",
                "regex_rewrite": {"pattern": {"regex": "^/item/([0-9]+)/(.*)$"}, "substitution": "/\\2/\\1"},
            },
        },
        {
            "match": {"prefix": "/h", "headers": [header("x-kind", exact="special")]},
            "direct_response": {"status": 200, "body": {"inline_string": "special"}},
        },
        {
            "match": {"prefix": "/h", "headers": [{"name": "x-n", "range_match": {"start": 5, "end": 10}}]},
            "direct_response": {"status": 200, "body": {"inline_string": "range"}},
        },
        {
            "match": {"prefix": "/h", "headers": [header("x-absent") | {"invert_match": True}]},
            "direct_response": {"status": 200, "body": {"inline_string": "no x-absent"}},
        },
        {
            "match": {
                "prefix": "/q",
                "query_parameters": [
                    {"name": "v", "string_match": {"prefix": "1"}},
                    {"name": "w", "present_match": True},
                ],
            },
            "direct_response": {"status": 200, "body": {"inline_string": "query"}},
        },
        {"match": {"prefix": "/to-https"}, "redirect": {"https_redirect": True}},
        {"match": {"prefix": "/to-host"}, "redirect": {"host_redirect": "other.example", "port_redirect": 8443}},
        {"match": {"prefix": "/to-path"}, "redirect": {"path_redirect": "/new", "response_code": "FOUND"}},
        {"match": {"prefix": "/to-query"}, "redirect": {"path_redirect": "/new?y=2", "strip_query": True}},
        {
            "match": {"prefix": "/to-prefix"},
            "redirect": {"prefix_rewrite": "/np", "response_code": "PERMANENT_REDIRECT"},
        },
        {
            "match": {"prefix": "/to-regex"},
            "redirect": {"regex_rewrite": {"pattern": {"regex": "^/to-regex/(.*)$"}, "substitution": "/r/\\1"}},
        },
        {"match": {"prefix": "/created"}, "direct_response": {"status": 201}},
        {"match": {"prefix": "/empty"}, "direct_response": {"status": 204}},
        {"match": {"prefix": "/literal"}, "route": {"cluster": "app", "host_rewrite_literal": "inner.example"}},
        {
            "match": {"prefix": "/from-header"},
            "route": {"cluster": "app", "host_rewrite_header": "x-host", "append_x_forwarded_host": True},
        },
        {"match": {"prefix": "/pick"}, "route": {"cluster_header": "x-cluster"}},
        {"match": {"prefix": "/dead"}, "route": {"cluster": "dead"}},
        {"match": {"prefix": "/slow"}, "route": {"cluster": "app", "timeout": "0.3s"}},
        {"match": {"prefix": "/known"}, "route": {"cluster": "app"}},
    ]
    hosts = [
        {
            "name": "suffix",
            "domains": ["*.wild.example"],
            "routes": [
                {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "suffix"}}}
            ],
        },
        {
            "name": "prefix",
            "domains": ["pre.*"],
            "routes": [
                {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "prefix"}}}
            ],
        },
        {
            "name": "tls",
            "domains": ["tls.example"],
            "require_tls": "ALL",
            "routes": [
                {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "tls"}}}
            ],
        },
        {"name": "app", "domains": [HOST, "app.example.com:8080"], "routes": routes},
    ]
    return bootstrap(virtual_hosts=hosts, clusters=[cluster("dead", 1, connect_timeout="1s")])


def _edits() -> Tree:
    one = route("/one") | {
        "name": "one",
        "request_headers_to_add": [
            _add("x-from-route", "%REQ(:method)% %REQ(x-missing?user-agent)%"),
            _add("x-over", "route", "OVERWRITE_IF_EXISTS_OR_ADD"),
            _add("x-if-absent", "route", "ADD_IF_ABSENT"),
            _add("x-only-over", "route", "OVERWRITE_IF_EXISTS"),
            _add("x-start", "%PROTOCOL% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %REQ(:authority)%"),
        ],
        "request_headers_to_remove": ["x-drop", "user-agent"],
        "response_headers_to_add": [_add("x-code", "%RESPONSE_CODE% %REQ(:path)%"), _add("x-app", "two")],
        "response_headers_to_remove": ["x-secret"],
    }
    hosts = [
        {
            "name": "app",
            "domains": ["*"],
            "routes": [one, route()],
            "request_headers_to_add": [_add("x-host-level", "virtual")],
            "response_headers_to_add": [_add("x-level", "host")],
        }
    ]
    config = {
        "request_headers_to_add": [_add("x-config-level", "config")],
        "response_headers_to_add": [_add("x-level", "config")],
    }
    return bootstrap(virtual_hosts=hosts, route_config=config)


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
    return bootstrap(http_filters=[{"name": "envoy.filters.http.health_check", "typed_config": typed}, *filters(None)])


CONFIGS: dict[str, Callable[[], Tree]] = {
    "routes": _routes,
    "edits": _edits,
    "raw": _normal(),
    "normal": _normal(normalize_path=True, merge_slashes=True),
    "reject": _normal(normalize_path=True, path_with_escaped_slashes_action="REJECT_REQUEST"),
    "unescape": _normal(normalize_path=True, path_with_escaped_slashes_action="UNESCAPE_AND_FORWARD"),
    "unescape-redirect": _normal(normalize_path=True, path_with_escaped_slashes_action="UNESCAPE_AND_REDIRECT"),
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


def _get(
    target: str = "/known", *headers: tuple[str, str], method: str = "GET", **more: Any
) -> Callable[[Client], None]:
    def script(client: Client) -> None:
        client.send(method, target, *headers, **more)

    return script


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


ROUTE_CASES = [
    Case("path-exact", "routes", _get("/exact?x=1")),
    Case("path-exact-longer", "routes", _get("/exact/x")),
    Case("prefix-any-case", "routes", _get("/UPPER/x?y=1")),
    Case("segment-prefix", "routes", _get("/seg/x")),
    Case("segment-prefix-itself", "routes", _get("/seg?x")),
    Case("segment-prefix-not-inside", "routes", _get("/segment")),
    Case("regex-rewrite", "routes", _get("/item/42/name?x=1")),
    Case("regex-is-whole", "routes", _get("/item/42x")),
    Case("header-exact", "routes", _get("/h", ("x-kind", "special"))),
    Case("header-range", "routes", _get("/h", ("x-n", "7"), ("x-absent", "1"))),
    Case("header-range-end", "routes", _get("/h", ("x-n", "10"), ("x-absent", "1"))),
    Case("header-inverted", "routes", _get("/h")),
    Case("query-match", "routes", _get("/q?w&v=12")),
    Case("query-no-match", "routes", _get("/q?v=12")),
    Case("redirect-https", "routes", _get("/to-https/x?y=1")),
    Case("redirect-https-port", "routes", _get("/to-https", host="app.example.com:8080")),
    Case("redirect-host", "routes", _get("/to-host/x?y=1")),
    Case("redirect-path", "routes", _get("/to-path/x?y=1")),
    Case("redirect-strip-query", "routes", _get("/to-query?x=1")),
    Case("redirect-prefix", "routes", _get("/to-prefix/x?y=1")),
    Case("redirect-regex", "routes", _get("/to-regex/x?y=1")),
    Case("redirect-head", "routes", _get("/to-path", method="HEAD")),
    Case("direct-empty", "routes", _get("/empty")),
    Case("direct-created", "routes", _get("/created")),
    Case("direct-head", "routes", _get("/exact", method="HEAD")),
    Case("direct-post", "routes", _get("/exact", method="POST", body=b"x=1")),
    Case("no-route", "routes", _get("/nowhere")),
    Case("no-host", "routes", _get("/known", host="unknown.example")),
    Case("host-suffix", "routes", _get("/", host="a.b.wild.example")),
    Case("host-suffix-bare", "routes", _get("/", host="wild.example")),
    Case("host-prefix", "routes", _get("/", host="pre.example")),
    Case("host-case", "routes", _get("/exact", host="APP.Example.com")),
    Case("host-requires-tls", "routes", _get("/x?y=1", host="tls.example")),
    Case("host-rewrite", "routes", _get("/literal")),
    Case("host-rewrite-header", "routes", _get("/from-header", ("x-host", "named.example"))),
    Case("cluster-header", "routes", _get("/pick", ("x-cluster", "app"))),
    Case("cluster-header-unknown", "routes", _get("/pick", ("x-cluster", "nowhere"))),
    Case("cluster-header-missing", "routes", _get("/pick")),
    Case("upstream-dead", "routes", _get("/dead")),
    Case("upstream-slow", "routes", _answered(Answer(delay=1.0), "/slow")),
    Case(
        "header-edits",
        "edits",
        _get(
            "/one", ("x-over", "c"), ("x-if-absent", "c"), ("x-only-over", "c"), ("x-drop", "c"), ("user-agent", "me")
        ),
    ),
    Case("header-edits-bare", "edits", _get("/one")),
    Case(
        "header-edits-response",
        "edits",
        _answered(Answer(headers=(("x-secret", "1"), ("x-app", "one")), body=b"b"), "/one"),
    ),
    Case("header-edits-levels", "edits", _get("/other")),
]

PATH_CASES = [
    Case(f"{config}-{number}", config, _get(target))
    for config in ("raw", "normal", "reject", "unescape", "unescape-redirect")
    for number, target in enumerate(
        [
            "/a/../private/x",
            "/a/%2e%2e/private",
            "//private",
            "/a//b?c=//d",
            "/a%2fb",
            "/a%5Cb",
            "/a\\b",
            "/./private",
            "/..",
            "/%70rivate",
            "/a%00b",
            "/caf%c3%a9?x=%zz",
            "/a;b=1/c",
        ]
    )
]

FORWARDING_CASES = [
    Case(
        "xff-appended",
        "edge",
        _get("/", ("x-forwarded-for", "203.0.113.7, 198.51.100.1"), ("x-forwarded-proto", "https")),
    ),
    Case("xff-none", "edge", _get("/")),
    Case("xff-internal", "raw", _get("/", ("x-forwarded-for", "10.0.0.1"), ("x-forwarded-proto", "https"))),
    Case("xff-external", "raw", _get("/", ("x-forwarded-for", "203.0.113.7"))),
    Case(
        "hops-trusted",
        "hops",
        _get("/", ("x-forwarded-for", "203.0.113.7, 198.51.100.1"), ("x-forwarded-proto", "https")),
    ),
    Case(
        "envoy-headers-from-outside",
        "edge",
        _get("/", ("x-envoy-retry-on", "5xx"), ("x-envoy-internal", "true"), ("x-envoy-external-address", "1.2.3.4")),
    ),
    Case("host-port-stripped", "strip", _get("/", host="app.example.com:8080")),
    Case("host-dot-stripped", "strip", _get("/", host="app.example.com.")),
    Case("request-id-made", "raw", _get("/")),
    Case("request-id-from-outside", "edge", _get("/", ("x-request-id", "mine"))),
    Case("request-id-kept", "ids", _get("/", ("x-request-id", "mine"))),
    Case(
        "hop-by-hop-removed",
        "raw",
        _get(
            "/",
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "5"),
            ("te", "trailers"),
            ("proxy-connection", "x"),
        ),
    ),
    Case("underscore-rejected", "underscores", _get("/", ("x_a", "1"))),
    Case("underscore-dropped", "drop-underscores", _get("/", ("x_a", "1"), ("x-b", "2"))),
    Case("underscore-allowed", "raw", _get("/", ("x_a", "1"))),
    Case("repeated-headers", "raw", _get("/", ("x-a", "1"), ("x-a", "2"), ("X-A", "3"))),
    Case("latin-1-header", "raw", _get("/", ("x-a", "caf\xe9"))),
    Case("empty-header", "raw", _get("/", ("x-a", ""))),
]

PROTOCOL_CASES = [
    Case("keep-alive", "raw", _keep_alive),
    Case("head", "raw", _get("/", method="HEAD")),
    Case("put", "raw", _get("/", method="PUT", body=b"abc")),
    Case("own-method", "raw", _get("/", method="PURGE")),
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
    Case("fragment-in-path", "raw", _get("/a#b")),
    Case("non-ascii-path", "raw", _get("/caf\xe9")),
    Case("absolute-form", "raw", _raw(f"GET http://other.example/x?y HTTP/1.1\nHost: {HOST}\n{{case}}\n\n")),
    Case("asterisk", "raw", _raw(f"OPTIONS * HTTP/1.1\nHost: {HOST}\n{{case}}\n\n")),
    Case("connect", "raw", _raw(f"CONNECT other.example:443 HTTP/1.1\nHost: {HOST}\n{{case}}\n\n")),
    Case("headers-too-large", "small", _get("/", ("x-big", "b" * 3000))),
    Case("headers-too-many", "small", _get("/", *((f"x-{n}", "1") for n in range(30)))),
    Case(
        "cors-preflight",
        "cors",
        _get("/", ("origin", "https://a.example"), ("access-control-request-method", "POST"), method="OPTIONS"),
    ),
    Case("cors-simple", "cors", _get("/", ("origin", "https://x.b.example"))),
    Case("cors-other-origin", "cors", _get("/", ("origin", "https://evil.example"))),
    Case(
        "cors-preflight-other-origin",
        "cors",
        _get("/", ("origin", "https://evil.example"), ("access-control-request-method", "POST"), method="OPTIONS"),
    ),
    Case("health-check", "health", _get("/healthz")),
    Case("health-check-query", "health", _get("/healthz?x=1")),
]

CASES = ROUTE_CASES + PATH_CASES + FORWARDING_CASES + PROTOCOL_CASES


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_same_as_envoy(case: Case, fleet: Pairs, tally: Counter[str]) -> None:
    compare(case, fleet, tally)


def test_access_logs_agree(fleet: Pairs, tally: Counter[str]) -> None:
    compare_access_logs(fleet, tally)
