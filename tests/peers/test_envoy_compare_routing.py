"""Routes, rewrites, redirects, header edits and path normalisation: what the router does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from peers.client import Client, asking
from peers.compare import Case, Pairs, compare, compare_access_logs
from peers.recorders import Answer
from peers.same_yaml import HOST, Tree, bootstrap, cluster, header, oauth2_config, route

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
    rewritten = route("/rewritten", prefix_rewrite="/new", host_rewrite_literal="inner.example") | {
        "request_headers_to_add": [_add("x-path", "%REQ(:path)% %REQ(:authority)% [%REQ(x-drop)%]")],
        "request_headers_to_remove": ["x-drop"],
        "response_headers_to_add": [
            _add("x-seen", "%REQ(:path)% %REQ(:authority)% %REQ(x-path)% [%RESP(x-secret)%] [%RESP(x-app)%]"),
            _add("x-app", "two"),
        ],
        "response_headers_to_remove": ["x-secret"],
    }
    hardened = {
        "response_headers_to_add": [_add("x-hardened", "[%REQ(:path)%]"), _add("content-type", "text/html")],
        "response_headers_to_remove": ["x-secret"],
    }
    local: list[Tree] = [
        {"match": {"prefix": "/direct"}, "direct_response": {"status": 200, "body": {"inline_string": "<p>"}}},
        {"match": {"prefix": "/redirect"}, "redirect": {"path_redirect": "/x"}},
        route("/dead", cluster="dead"),
        route("/slow", timeout="0.3s"),
        {"match": {"prefix": "/pick"}, "route": {"cluster_header": "x-cluster"}},
    ]
    plain = {
        "match": {"prefix": "/plain"},
        "direct_response": {"status": 200, "body": {"inline_string": "plain"}},
        "response_headers_to_remove": ["content-type"],
    }
    hosts = [
        {
            "name": "app",
            "domains": ["*"],
            "routes": [one, rewritten, *(each | hardened for each in local), plain, route()],
            "request_headers_to_add": [_add("x-host-level", "virtual [%REQ(x-path)%]")],
            "response_headers_to_add": [_add("x-level", "host [%RESP(x-seen)%]")],
        }
    ]
    config = {
        "request_headers_to_add": [_add("x-config-level", "config")],
        "response_headers_to_add": [_add("x-level", "config")],
    }
    return bootstrap(virtual_hosts=hosts, route_config=config, clusters=[cluster("dead", 1, connect_timeout="1s")])


def _edits_of_replies() -> Tree:
    hosts = [
        {
            "name": "app",
            "domains": ["*"],
            "routes": [route()],
            "request_headers_to_add": [_add("x-path", "sent")],
            "response_headers_to_add": [_add("x-seen", "[%REQ(:path)%] [%REQ(x-path)%]")],
        }
    ]
    matchers = {name: [header(":path", prefix=path)] for name, path in MATCHED.items()}
    return bootstrap(oauth2=oauth2_config(**matchers), virtual_hosts=hosts)


MATCHED = {"deny_redirect_matcher": "/deny", "pass_through_matcher": "/open"}


def _normal(**manager: Any) -> Callable[[], Tree]:
    routes = [
        {"match": {"prefix": "/private"}, "direct_response": {"status": 403, "body": {"inline_string": "private"}}},
        route(),
    ]
    return lambda: bootstrap(routes=routes, manager=manager)


CONFIGS: dict[str, Callable[[], Tree]] = {
    "routes": _routes,
    "edits": _edits,
    "edits-of-replies": _edits_of_replies,
    "raw": _normal(),
    "normal": _normal(normalize_path=True, merge_slashes=True),
    "reject": _normal(normalize_path=True, path_with_escaped_slashes_action="REJECT_REQUEST"),
    "unescape": _normal(normalize_path=True, path_with_escaped_slashes_action="UNESCAPE_AND_FORWARD"),
    "unescape-redirect": _normal(normalize_path=True, path_with_escaped_slashes_action="UNESCAPE_AND_REDIRECT"),
}


def _answered(answer: Answer, target: str = "/known", method: str = "GET") -> Callable[[Client], None]:
    def script(client: Client) -> None:
        client.app.script.append(answer)
        client.send(method, target)

    return script


ROUTE_CASES = [
    Case("path-exact", "routes", asking("/exact?x=1")),
    Case("path-exact-longer", "routes", asking("/exact/x")),
    Case("prefix-any-case", "routes", asking("/UPPER/x?y=1")),
    Case("segment-prefix", "routes", asking("/seg/x")),
    Case("segment-prefix-itself", "routes", asking("/seg?x")),
    Case("segment-prefix-not-inside", "routes", asking("/segment")),
    Case("regex-rewrite", "routes", asking("/item/42/name?x=1")),
    Case("regex-is-whole", "routes", asking("/item/42x")),
    Case("header-exact", "routes", asking("/h", ("x-kind", "special"))),
    Case("header-range", "routes", asking("/h", ("x-n", "7"), ("x-absent", "1"))),
    Case("header-range-end", "routes", asking("/h", ("x-n", "10"), ("x-absent", "1"))),
    Case("header-inverted", "routes", asking("/h")),
    Case("query-match", "routes", asking("/q?w&v=12")),
    Case("query-no-match", "routes", asking("/q?v=12")),
    Case("redirect-https", "routes", asking("/to-https/x?y=1")),
    Case("redirect-https-port", "routes", asking("/to-https", host="app.example.com:8080")),
    Case("redirect-host", "routes", asking("/to-host/x?y=1")),
    Case("redirect-path", "routes", asking("/to-path/x?y=1")),
    Case("redirect-strip-query", "routes", asking("/to-query?x=1")),
    Case("redirect-prefix", "routes", asking("/to-prefix/x?y=1")),
    Case("redirect-regex", "routes", asking("/to-regex/x?y=1")),
    Case("redirect-head", "routes", asking("/to-path", method="HEAD")),
    Case("direct-empty", "routes", asking("/empty")),
    Case("direct-created", "routes", asking("/created")),
    Case("direct-head", "routes", asking("/exact", method="HEAD")),
    Case("direct-post", "routes", asking("/exact", method="POST", body=b"x=1")),
    Case("no-route", "routes", asking("/nowhere")),
    Case("no-host", "routes", asking("/known", host="unknown.example")),
    Case("host-suffix", "routes", asking("/", host="a.b.wild.example")),
    Case("host-suffix-bare", "routes", asking("/", host="wild.example")),
    Case("host-prefix", "routes", asking("/", host="pre.example")),
    Case("host-case", "routes", asking("/exact", host="APP.Example.com")),
    Case("host-requires-tls", "routes", asking("/x?y=1", host="tls.example")),
    Case("host-rewrite", "routes", asking("/literal")),
    Case("host-rewrite-header", "routes", asking("/from-header", ("x-host", "named.example"))),
    Case("cluster-header", "routes", asking("/pick", ("x-cluster", "app"))),
    Case("cluster-header-unknown", "routes", asking("/pick", ("x-cluster", "nowhere"))),
    Case("cluster-header-missing", "routes", asking("/pick")),
    Case("upstream-dead", "routes", asking("/dead")),
    Case("upstream-slow", "routes", _answered(Answer(delay=1.0), "/slow")),
    Case(
        "header-edits",
        "edits",
        asking(
            "/one", ("x-over", "c"), ("x-if-absent", "c"), ("x-only-over", "c"), ("x-drop", "c"), ("user-agent", "me")
        ),
    ),
    Case("header-edits-bare", "edits", asking("/one")),
    Case(
        "header-edits-response",
        "edits",
        _answered(Answer(headers=(("x-secret", "1"), ("x-app", "one")), body=b"b"), "/one"),
    ),
    Case("header-edits-levels", "edits", asking("/other")),
    Case(
        "header-edits-rewritten",
        "edits",
        _answered(Answer(headers=(("x-secret", "1"), ("x-app", "one")), body=b"b"), "/rewritten/a?b=1"),
    ),
    Case("header-edits-removed-first", "edits", asking("/rewritten", ("x-drop", "me"))),
    Case("header-edits-direct", "edits", asking("/direct")),
    Case("header-edits-direct-head", "edits", asking("/direct", method="HEAD")),
    Case("header-edits-plain", "edits", asking("/plain")),
    Case("header-edits-redirect", "edits", asking("/redirect?x")),
    Case("header-edits-dead", "edits", asking("/dead")),
    Case("header-edits-slow", "edits", _answered(Answer(delay=1.0), "/slow")),
    Case("header-edits-not-signed-in", "edits-of-replies", asking("/page")),
    Case("header-edits-denied", "edits-of-replies", asking("/deny")),
    Case("header-edits-callback", "edits-of-replies", asking("/callback")),
    Case(
        "header-edits-upgrade",
        "edits-of-replies",
        asking("/open", ("connection", "upgrade"), ("upgrade", "websocket")),
    ),
    Case("header-edits-no-cluster", "edits", asking("/pick", ("x-cluster", "nowhere"))),
]

PATH_CASES = [
    Case(f"{config}-{number}", config, asking(target))
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

CASES = ROUTE_CASES + PATH_CASES


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_same_as_envoy(case: Case, fleet: Pairs, tally: Counter[str]) -> None:
    compare(case, fleet, tally)


def test_access_logs_agree(fleet: Pairs, tally: Counter[str]) -> None:
    compare_access_logs(fleet, tally)
