"""Builds the one YAML that both proxies get.

A configuration is Envoy's bootstrap as Python data; `bootstrap` makes the usual one (a listener, an `oauth2` filter and
a router before the application), and a test changes what it is about.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

HMAC_SECRET = "compare-hmac-secret-0123456789abcdef"
TOKEN_SECRET = "client-secret-1"
HOST = "app.example.com"
TYPES = "type.googleapis.com/envoy.extensions"
OAUTH2 = "envoy.filters.http.oauth2"
OAUTH2_TYPE = f"{TYPES}.filters.http.oauth2.v3.OAuth2"
PER_ROUTE_TYPE = f"{TYPES}.filters.http.oauth2.v3.OAuth2PerRoute"
MANAGER_TYPE = f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"
LOG_FORMAT = (
    "%REQ(X-CASE)% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %RESPONSE_FLAGS% %UPSTREAM_CLUSTER% %ROUTE_NAME% "
    "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %REQ(:PATH)% %REQ(:AUTHORITY)% %PROTOCOL% "
    "%BYTES_RECEIVED% %BYTES_SENT% %REQ(X-PATH)% %RESP(CONTENT-TYPE)% %RESP(X-SEEN)%\n"
)

Tree = dict[str, Any]


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Tree:
    """`base` with `changes` laid over it: objects merge, everything else is replaced, None removes."""
    result = copy.deepcopy(dict(base))
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merge(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def path_exact(path: str) -> Tree:
    """A PathMatcher for exactly that path."""
    return {"path": {"exact": path}}


def header(name: str, **string_match: Any) -> Tree:
    """A HeaderMatcher: `header(":path", prefix="/x")`; without a match, "present"."""
    return {"name": name, "string_match": string_match} if string_match else {"name": name, "present_match": True}


def oauth2_config(**changes: Any) -> Tree:
    """An OAuth2Config as people write it, with changes."""
    base: Tree = {
        "token_endpoint": {"uri": "https://idp.example.com/oauth/token", "cluster": "idp", "timeout": "5s"},
        "authorization_endpoint": "https://idp.example.com/oauth/authorize",
        "redirect_uri": "https://%REQ(:authority)%/callback",
        "redirect_path_matcher": path_exact("/callback"),
        "signout_path": path_exact("/signout"),
        "forward_bearer_token": True,
        "auth_scopes": ["openid", "profile"],
        "credentials": {
            "client_id": "client-1",
            "token_secret": {"name": "token"},
            "hmac_secret": {"name": "hmac"},
        },
    }
    return merge(base, changes)


def route(prefix: str = "/", **action: Any) -> Tree:
    """A route to the application."""
    return {"match": {"prefix": prefix}, "route": {"cluster": "app"} | action}


def cluster(name: str, port: int, **changes: Any) -> Tree:
    """A STATIC cluster with one loopback address."""
    endpoint = {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
    base: Tree = {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    return merge(base, changes)


def secret(name: str, value: str) -> Tree:
    """A static generic secret."""
    return {"name": name, "generic_secret": {"secret": {"inline_string": value}}}


def filters(config: Tree | None) -> list[Tree]:
    """The `oauth2` filter (where there is a configuration) and the router."""
    chain: list[Tree] = []
    if config is not None:
        typed = {"@type": OAUTH2_TYPE, **({"config": config} if config else {})}
        chain.append({"name": OAUTH2, "typed_config": typed})
    router = {"@type": f"{TYPES}.filters.http.router.v3.Router"}
    return [*chain, {"name": "envoy.filters.http.router", "typed_config": router}]


def bootstrap(
    *,
    oauth2: Tree | None = None,
    routes: list[Tree] | None = None,
    virtual_hosts: list[Tree] | None = None,
    manager: Tree | None = None,
    route_config: Tree | None = None,
    http_filters: list[Tree] | None = None,
    clusters: list[Tree] | None = None,
    secrets: list[Tree] | None = None,
    runtime: Tree | None = None,
) -> Tree:
    """The bootstrap without ports: `fill` puts them in for one proxy."""
    hosts = virtual_hosts or [{"name": "app", "domains": ["*"], "routes": routes or [route()]}]
    log = {"@type": f"{TYPES}.access_loggers.file.v3.FileAccessLog", "path": "@LOG@"}
    log["log_format"] = {"text_format_source": {"inline_string": LOG_FORMAT}}
    connection_manager: Tree = {
        "@type": MANAGER_TYPE,
        "stat_prefix": "ing",
        "route_config": {"name": "local", "virtual_hosts": hosts, **(route_config or {})},
        "http_filters": http_filters if http_filters is not None else filters(oauth2),
        "access_log": [{"name": "envoy.access_loggers.file", "typed_config": log}],
    }
    chain = {
        "filters": [
            {
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": merge(connection_manager, manager or {}),
            }
        ]
    }
    listener = {
        "name": "ingress",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": "@PORT@"}},
        "filter_chains": [chain],
    }
    tree: Tree = {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": "@ADMIN@"}}},
        "static_resources": {
            "secrets": [secret("token", TOKEN_SECRET), secret("hmac", HMAC_SECRET)] if secrets is None else secrets,
            "listeners": [listener],
            "clusters": [cluster("app", "@APP@"), cluster("idp", "@IDP@"), *(clusters or [])],  # type: ignore[arg-type]
        },
    }
    if runtime:
        tree["layered_runtime"] = {"layers": [{"name": "static", "static_layer": runtime}]}
    return tree


def fill(tree: Any, values: Mapping[str, Any]) -> Any:
    """The tree with every `@NAME@` that is a whole string replaced, and inside longer strings too."""
    if isinstance(tree, Mapping):
        return {key: fill(value, values) for key, value in tree.items()}
    if isinstance(tree, list):
        return [fill(value, values) for value in tree]
    if isinstance(tree, str) and "@" in tree:
        if tree[1:-1] in values and tree[0] == tree[-1] == "@":
            return values[tree[1:-1]]
        for key, value in values.items():
            tree = tree.replace(f"@{key}@", str(value))
    return tree
