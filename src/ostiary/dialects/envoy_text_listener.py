"""Listeners and their connection managers, from the model to Envoy's fields."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from ostiary.dialects.envoy_listener import CORS, HCM, HEALTH_CHECK, ROUTER
from ostiary.dialects.envoy_text_access_log import access_log
from ostiary.dialects.envoy_text_oauth2 import oauth2_filter
from ostiary.dialects.envoy_text_route import route_configuration
from ostiary.dialects.envoy_text_telemetry import tracing
from ostiary.dialects.envoy_text_tls import downstream_tls
from ostiary.dialects.envoy_text_values import (
    Secrets,
    Tree,
    address,
    differing,
    duration_unless,
    extension,
    given,
    header_matchers,
    some,
    typed,
    unless,
    upgrade_configs,
)
from ostiary.model import limits
from ostiary.model.config import Cors, HealthCheck, HttpConnectionManager, HttpFilter, Listener, Router
from ostiary.model.oauth2 import EnvoyOAuth2
from ostiary.model.signin import SignIn

_BUFFER: Final = 1024 * 1024
_PLAIN: Final = (
    "server_header_transformation", "use_remote_address", "xff_num_trusted_hops", "skip_xff_append", "via",
    "generate_request_id", "preserve_external_request_id", "always_set_request_id_in_response", "normalize_path",
    "merge_slashes", "path_with_escaped_slashes_action", "strip_matching_host_port", "strip_any_host_port",
    "strip_trailing_host_dot", "max_request_headers_kb", "request_timeout", "request_headers_timeout",
    "stream_idle_timeout", "delayed_close_timeout",
)  # fmt: skip
"""Fields that are written as they are in the model, where they differ from the default."""


def listener(model: Listener, clusters: Collection[str], secrets: Secrets) -> Tree:
    """config.listener.v3.Listener; `clusters` are the names of those that there are."""
    manager = extension(
        "envoy.filters.network.http_connection_manager", connection_manager(model.http, clusters, secrets)
    )
    socket = downstream_tls(model.tls, model.name, secrets) if model.tls is not None else None
    return given(
        name=model.name,
        address=address(model.address),
        enable_reuse_port=unless(model.reuse_port, True),
        per_connection_buffer_limit_bytes=unless(model.per_connection_buffer_limit_bytes, _BUFFER),
        tcp_backlog_size=unless(model.tcp_backlog_size, 1024),
        filter_chains=[given(transport_socket=socket, filters=[manager])],
    )


def connection_manager(model: HttpConnectionManager, clusters: Collection[str], secrets: Secrets) -> Tree:
    """filters.network.http_connection_manager.v3.HttpConnectionManager."""
    options = given(
        idle_timeout=duration_unless(model.idle_timeout, limits.IDLE_TIMEOUT),
        max_connection_duration=duration_unless(model.max_connection_duration, 0.0),
        max_stream_duration=duration_unless(model.max_stream_duration, 0.0),
        max_headers_count=unless(model.max_headers_count, limits.MAX_HEADERS_COUNT),
        max_requests_per_connection=model.max_requests_per_connection,
        headers_with_underscores_action=unless(model.underscores_in_headers, "ALLOW"),
    )
    scheme = model.scheme_to_overwrite
    return typed(
        HCM,
        stat_prefix=model.stat_prefix,
        server_name=unless(model.server_name, "envoy"),
        **differing(model, _PLAIN),
        scheme_header_transformation={"scheme_to_overwrite": scheme} if scheme else None,
        http_protocol_options={"accept_http_10": True} if model.accept_http_10 else None,
        common_http_protocol_options=some(options),
        tracing=tracing(model.tracing, secrets),
        upgrade_configs=upgrade_configs(model.upgrade_types),
        access_log=[access_log(each) for each in model.access_log] or None,
        route_config=route_configuration(model.route_config, clusters, secrets),
        http_filters=[_http_filter(each, secrets) for each in model.http_filters],
    )


def _http_filter(model: HttpFilter, secrets: Secrets) -> Tree:
    config = model.config
    if isinstance(config, EnvoyOAuth2):
        tree = oauth2_filter(config.config, secrets)
    elif isinstance(config, Cors):
        tree = typed(CORS)
    elif isinstance(config, HealthCheck):
        tree = typed(HEALTH_CHECK, pass_through_mode=False, headers=header_matchers(config.headers))
    elif isinstance(config, SignIn):
        tree = secrets.sign_in(config)
    else:
        assert isinstance(config, Router), config
        tree = typed(
            ROUTER,
            suppress_envoy_headers=some(config.suppress_envoy_headers),
            start_child_span=some(config.start_child_span),
        )
    return extension(model.name, tree) | ({"disabled": True} if model.disabled else {})
