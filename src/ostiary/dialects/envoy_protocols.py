"""Which protocol a cluster speaks, and how its connections live: HttpProtocolOptions, and what it replaced."""

from __future__ import annotations

from typing import Final, NamedTuple

from ostiary.dialects.envoy_common import Context
from ostiary.dialects.schema_tree import Message
from ostiary.model import limits
from ostiary.model.clusters import Http2

_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_BOUNDS: Final = (
    "max_outbound_frames",
    "max_outbound_control_frames",
    "max_consecutive_inbound_frames_with_empty_payload",
    "max_inbound_priority_frames_per_stream",
    "max_inbound_window_update_frames_per_data_frame_sent",
    "stream_reset_burst",
    "stream_reset_rate",
    "max_header_field_size_kb",
)
"""Against floods; Ostiary has bounds of its own (model/limits)."""
_HARMLESS: Final = (
    "allow_connect",  # an upstream's settings say so
    "stream_error_on_invalid_http_messaging",  # a malformed answer costs its own request, never the connection
    "override_stream_error_on_invalid_http_message",
    "enable_huffman_encoding",  # what is sent is never Huffman-coded, and nobody can tell
    "use_oghttp2_codec",
    "max_metadata_size",
)


class Protocols(NamedTuple):
    """What a cluster says about the protocol of its connections. Times in seconds, 0 or None: off."""

    http2: Http2 | None
    idle_timeout: float | None
    max_connection_duration: float
    max_requests: int | None


def protocols(message: Message, context: Context) -> Protocols:
    """config.cluster.v3.Cluster's options, of the present or the deprecated spelling."""
    selection = message.text("protocol_selection", "USE_CONFIGURED_PROTOCOL")
    http1, http2 = message.message("http_protocol_options"), message.message("http2_protocol_options")
    common = message.optional("common_http_protocol_options")
    common_options = [common]
    _http1(http1)
    spoken = _http2(http2, context) if http2 is not None else None
    if selection == "USE_DOWNSTREAM_PROTOCOL":
        spoken = None  # clients speak HTTP/1.1
    elif http1 is not None and http2 is not None:
        text = "both HTTP/1.1 and HTTP/2 options, but only one can be spoken"
        message.problem("http2_protocol_options", text, "remove the one that is not meant")
    for key, options in message.map("typed_extension_protocol_options").items():
        if key != _OPTIONS or not isinstance(options, Message) or options.name != _OPTIONS:
            text = f"'{key}': no such protocol options, or not of the type that the name promises"
            message.problem("typed_extension_protocol_options", text, f"key and @type are {_OPTIONS}")
            continue
        spoken = _typed(options, message, context)
        common_options.append(options.optional("common_http_protocol_options"))
        options.optional("upstream_http_protocol_options").ignore("auto_san_validation")
    requests = message.integer("max_requests_per_connection")
    idle, duration = limits.UPSTREAM_IDLE_TIMEOUT, 0.0
    for options in common_options:
        requests = options.integer("max_requests_per_connection") or requests
        idle = options.duration("idle_timeout", idle)
        duration = options.duration("max_connection_duration", duration)
    return Protocols(spoken, idle or None, duration, requests or None)


def _typed(options: Message, cluster: Message, context: Context) -> Http2 | None:
    """extensions.upstreams.http.v3.HttpProtocolOptions."""
    if (mirrored := options.message("use_downstream_protocol_config")) is not None:
        mirrored.ignore(*mirrored.written())  # clients speak HTTP/1.1, which has no options that matter here
        return None
    if (auto := options.message("auto_config")) is not None:
        _http1(auto.message("http_protocol_options"))
        if not cluster.has("transport_socket"):
            text = "ALPN decides on the protocol, and this cluster has no TLS"
            options.problem("auto_config", text, "add a transport_socket, or use explicit_http_config")
        return _http2(auto.optional("http2_protocol_options"), context, negotiate=True)
    explicit = options.optional("explicit_http_config")
    _http1(explicit.message("http_protocol_options"))
    http2 = explicit.message("http2_protocol_options")
    return _http2(http2, context) if http2 is not None else None


def _http1(options: Message | None) -> None:
    """core.v3.Http1ProtocolOptions: what Ostiary does anyway."""
    if options is not None:
        options.ignore("enable_trailers", "use_balsa_parser")


def _http2(options: Message, context: Context, *, negotiate: bool = False) -> Http2:
    """core.v3.Http2ProtocolOptions."""
    options.ignore(*_HARMLESS)
    for field in ("allow_metadata", "disallow_obs_text"):
        if options.boolean(field):
            options.unsupported(field, "remove it")
    bounds = [field for field in _BOUNDS if options.has(field)]
    options.ignore(*bounds)
    if bounds:
        context.differs(f"{options.path}: {', '.join(bounds)} not used; Ostiary has bounds of its own")
    table = options.integer("hpack_table_size", limits.HTTP2_HEADER_TABLE)
    if table > limits.HTTP2_MAX_HEADER_TABLE:
        text = f"{table} bytes for every connection"
        options.problem("hpack_table_size", text, f"{limits.HTTP2_MAX_HEADER_TABLE} at most")
    keepalive = options.optional("connection_keepalive")
    keepalive.ignore("interval_jitter")  # connections begin at times of their own
    return Http2(
        negotiate=negotiate,
        max_concurrent_streams=options.integer("max_concurrent_streams", limits.HTTP2_MAX_STREAMS),
        initial_stream_window_size=options.integer("initial_stream_window_size", limits.HTTP2_STREAM_WINDOW),
        initial_connection_window_size=options.integer(
            "initial_connection_window_size", limits.HTTP2_CONNECTION_WINDOW
        ),
        hpack_table_size=table,
        keepalive_interval=keepalive.duration("interval"),
        keepalive_timeout=keepalive.duration("timeout", limits.HTTP2_KEEPALIVE_TIMEOUT),
        connection_idle_interval=keepalive.duration("connection_idle_interval"),
    )
