"""Listeners: one filter chain, one connection manager, its HTTP filters."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from ostiary.dialects.envoy_access_log import access_logs
from ostiary.dialects.envoy_common import Context, header_matchers, listen_address
from ostiary.dialects.envoy_oauth2 import oauth2
from ostiary.dialects.envoy_route import Routes, upgrade_types
from ostiary.dialects.envoy_telemetry import tracing
from ostiary.dialects.envoy_tls import downstream_tls
from ostiary.dialects.schema_tree import Message
from ostiary.model import limits
from ostiary.model.config import (
    Cors,
    HealthCheck,
    HttpConnectionManager,
    HttpFilter,
    HttpFilterConfig,
    Listener,
    Router,
)
from ostiary.model.routes import RouteConfiguration

HCM: Final = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_OAUTH2: Final = "envoy.extensions.filters.http.oauth2.v3.OAuth2"
CORS: Final = "envoy.extensions.filters.http.cors.v3.Cors"
HEALTH_CHECK: Final = "envoy.extensions.filters.http.health_check.v3.HealthCheck"
ROUTER: Final = "envoy.extensions.filters.http.router.v3.Router"
_INSPECTORS: Final = (
    "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
    "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
)
"""Listener filters that only help to choose among filter chains; here there is one."""


def listener(message: Message, context: Context) -> Listener | None:
    """config.listener.v3.Listener; None, reported, if it can't serve HTTP."""
    message.ignore(
        "metadata", "traffic_direction", "stat_prefix", "listener_filters_timeout",
        "continue_on_listener_filters_timeout", "ignore_global_conn_limit", "bypass_overload_manager", "drain_type",
    )  # fmt: skip
    if message.boolean("bind_to_port", True) is False:
        message.unsupported("bind_to_port", "remove it")
    for item in message.messages("listener_filters"):
        _listener_filter(item)
    for field in ("use_original_dst", "transparent", "freebind"):
        if message.boolean(field):
            message.unsupported(field, "remove it")
    name, address = message.text("name"), listen_address(message.required("address"))
    buffer_limit = message.integer("per_connection_buffer_limit_bytes", 1024 * 1024)
    reuse_port, backlog = message.boolean("enable_reuse_port", True), message.integer("tcp_backlog_size", 1024)
    chain = _filter_chain(message)
    if chain is None:
        return None
    socket = chain.message("transport_socket")
    tls = downstream_tls(socket, context) if socket is not None else None
    http = _connection_manager(chain, context)
    if http is None:
        return None
    return Listener(
        name=name,
        address=address,
        http=http,
        tls=tls,
        per_connection_buffer_limit_bytes=buffer_limit,
        reuse_port=reuse_port,
        tcp_backlog_size=backlog,
    )


def _listener_filter(message: Message) -> None:
    message.take("name")
    typed = message.message("typed_config")
    if typed is not None and typed.name in _INSPECTORS:
        typed.ignore(*typed.written())
    elif typed is not None and typed.name:
        typed.unsupported(None, "remove it")
    else:
        message.problem("typed_config", "is required")


def _says_udp(message: Message) -> bool:
    """In its address, where it is told."""
    address = message.written().get("address")
    socket = address.written().get("socket_address") if isinstance(address, Message) else None
    protocol = socket.written().get("protocol") if isinstance(socket, Message) else None
    return protocol == "UDP"


def _filter_chain(message: Message) -> Message | None:
    chains = message.messages("filter_chains")
    default = message.message("default_filter_chain")
    if default is not None:
        chains = [*chains, default]
    if not chains and _says_udp(message):
        return None
    if message.has("udp_listener_config"):
        message.unsupported(None, "remove the listener")
        return None
    if not chains:
        message.problem(None, "the listener has no filter chain", "add one with an HttpConnectionManager")
        return None
    for further in chains[1:]:
        further.unsupported(None, "one listener has one filter chain; use several listeners")
    chain = chains[0]
    chain.ignore("name", "metadata")
    chain.message("filter_chain_match")  # its fields are reported one by one; an empty one matches everything
    return chain


def _connection_manager(chain: Message, context: Context) -> HttpConnectionManager | None:
    found: HttpConnectionManager | None = None
    filters = chain.messages("filters")
    for item in filters:
        item.take("name")
        typed = item.message("typed_config")
        if typed is None or not typed.name:
            if not item.has("config_discovery"):
                item.problem("typed_config", "is required", f"add '@type: type.googleapis.com/{HCM}'")
        elif typed.name != HCM:
            typed.unsupported(None, "a filter chain has one filter here: the HttpConnectionManager")
        elif found is not None:
            typed.problem(None, "a filter chain has one HttpConnectionManager")
        else:
            found = connection_manager(typed, context)
    if not filters:
        chain.problem(None, "the filter chain has no filter", "add an HttpConnectionManager")
    return found


def connection_manager(message: Message, context: Context) -> HttpConnectionManager:
    """filters.network.http_connection_manager.v3.HttpConnectionManager."""
    message.choice("codec_type", ("AUTO", "HTTP1"), "HTTP/1.1 is served; use AUTO")
    message.optional("http_protocol_options").ignore("enable_trailers", "use_balsa_parser", "allow_absolute_url")
    filters = _http_filters(message, context)
    kinds: dict[str, set[str]] = {}
    for name, kind, _ in filters:
        kinds.setdefault(name, set()).add(kind)
    traced = message.message("tracing")
    links = tuple(link for _, _, link in filters if link is not None)
    child_span = any(isinstance(link.config, Router) and link.config.start_child_span for link in links)
    http = HttpConnectionManager(
        tracing=tracing(traced, context, child_span=child_span) if traced is not None else None,
        stat_prefix=message.text("stat_prefix"),
        route_config=_routes(message, kinds, context),
        http_filters=links,
        access_log=access_logs(message, "access_log", context),
        server_name=message.text("server_name") or "envoy",
        server_header_transformation=message.choice(
            "server_header_transformation", ("OVERWRITE", "APPEND_IF_ABSENT", "PASS_THROUGH")
        ),
        use_remote_address=message.boolean("use_remote_address"),
        xff_num_trusted_hops=message.integer("xff_num_trusted_hops"),
        skip_xff_append=message.boolean("skip_xff_append"),
        via=message.text("via"),
        scheme_to_overwrite=message.optional("scheme_header_transformation").text("scheme_to_overwrite"),
        generate_request_id=message.boolean("generate_request_id", True),
        preserve_external_request_id=message.boolean("preserve_external_request_id"),
        always_set_request_id_in_response=message.boolean("always_set_request_id_in_response"),
        upgrade_types=upgrade_types(message),
        profile="envoy",
    )
    return _with_bounds(message, _with_normalisation(message, http), context)


def _routes(message: Message, kinds: dict[str, set[str]], context: Context) -> RouteConfiguration:
    for dynamic in ("rds", "scoped_routes"):
        if message.has(dynamic):
            message.unsupported(dynamic, "write the routes inline: route_config")
    route_config = message.message("route_config")
    return Routes(route_config, kinds, context).convert() if route_config else RouteConfiguration(virtual_hosts=())


def _with_normalisation(message: Message, http: HttpConnectionManager) -> HttpConnectionManager:
    """What happens to host and path before anything looks at them."""
    if message.boolean("strip_matching_host_port") and message.boolean("strip_any_host_port"):
        text = "only one of strip_matching_host_port and strip_any_host_port may be set"
        message.problem("strip_any_host_port", text)
    escaped = "path_with_escaped_slashes_action"
    unsaid = message.text(escaped) in ("", "IMPLEMENTATION_SPECIFIC_DEFAULT")
    return replace(
        http,
        normalize_path=message.boolean("normalize_path"),
        merge_slashes=message.boolean("merge_slashes"),
        path_with_escaped_slashes_action="KEEP_UNCHANGED"
        if unsaid
        else message.choice(
            escaped, ("KEEP_UNCHANGED", "REJECT_REQUEST", "UNESCAPE_AND_REDIRECT", "UNESCAPE_AND_FORWARD")
        ),
        strip_matching_host_port=message.boolean("strip_matching_host_port"),
        strip_any_host_port=message.boolean("strip_any_host_port"),
        strip_trailing_host_dot=message.boolean("strip_trailing_host_dot"),
    )


def _with_bounds(message: Message, http: HttpConnectionManager, context: Context) -> HttpConnectionManager:
    """Sizes, counts, times."""
    options = message.optional("common_http_protocol_options")
    if not message.has("request_headers_timeout"):
        context.differs(f"request_headers_timeout: {limits.REQUEST_HEADERS_TIMEOUT:g} s where Envoy has none")
    if message.take("drain_timeout") is not None:
        context.differs(
            f"drain_timeout is not used: at the end, running requests have {limits.DRAIN_TIMEOUT:g} s, and idle "
            "connections are closed at once"
        )
    return replace(
        http,
        max_request_headers_kb=message.integer("max_request_headers_kb", http.max_request_headers_kb),
        max_headers_count=options.integer("max_headers_count", http.max_headers_count),
        max_requests_per_connection=options.integer("max_requests_per_connection") or None,
        max_connection_duration=options.duration("max_connection_duration"),
        max_stream_duration=options.duration("max_stream_duration"),
        request_timeout=message.duration("request_timeout"),
        request_headers_timeout=message.duration("request_headers_timeout", http.request_headers_timeout),
        idle_timeout=options.duration("idle_timeout", http.idle_timeout),
        stream_idle_timeout=message.duration("stream_idle_timeout", http.stream_idle_timeout),
        delayed_close_timeout=message.duration("delayed_close_timeout", http.delayed_close_timeout),
        underscores_in_headers=options.choice(
            "headers_with_underscores_action", ("ALLOW", "REJECT_REQUEST", "DROP_HEADER")
        ),
    )


def _http_filters(message: Message, context: Context) -> list[tuple[str, str, HttpFilter | None]]:
    """Name, type and model of each filter of the chain; None where it is not implemented."""
    found: list[tuple[str, str, HttpFilter | None]] = []
    links = message.messages("http_filters")
    for index, item in enumerate(links):
        item.take("is_optional")  # what is optional in Envoy is there in Ostiary or reported
        name, disabled = item.text("name"), item.boolean("disabled")
        typed = item.message("typed_config")
        if typed is None or not typed.name:
            _untyped_filter(item, name)
            continue
        if (typed.name == ROUTER) != (index == len(links) - 1):
            text = "the router must be the last filter" if typed.name == ROUTER else "the last filter must be a router"
            item.problem("typed_config", text, f"put {ROUTER} at the end of http_filters")
        if disabled and typed.name == ROUTER:
            item.problem("disabled", "the router can't be disabled")
        config = _http_filter(typed, context)
        link = HttpFilter(name=name, config=config, disabled=disabled) if config is not None else None
        found.append((name, typed.name, link))
    if not links:
        message.problem("http_filters", "no filter: requests would go nowhere", f"add {ROUTER}")
    return found


def _untyped_filter(item: Message, name: str) -> None:
    if item.has("config_discovery"):
        item.unsupported("config_discovery", "write the filter's typed_config inline")
    else:
        item.problem("typed_config", f"no implementation for '{name}' without a type", "add '@type: ...'")


def _http_filter(typed: Message, context: Context) -> HttpFilterConfig | None:
    if typed.name == _OAUTH2:
        return oauth2(typed, context)
    if typed.name == CORS:
        return Cors()
    if typed.name == HEALTH_CHECK:
        if typed.boolean("pass_through_mode"):
            typed.unsupported("pass_through_mode", "set it to false")
        return HealthCheck(headers=header_matchers(typed, "headers"), cluster=context.node_cluster)
    if typed.name == ROUTER:
        typed.ignore("dynamic_stats", "suppress_grpc_request_failure_code_stats")
        return Router(
            suppress_envoy_headers=typed.boolean("suppress_envoy_headers"),
            start_child_span=typed.boolean("start_child_span"),
        )
    typed.unsupported(None, "the HTTP filters here are OAuth2, Cors, HealthCheck and Router")
    return None
