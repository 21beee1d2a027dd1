"""The nearest thing that works, for fields of Envoy that Ostiary does not have: by `message.field`, or by message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_HCM: Final = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_BOOTSTRAP: Final = "envoy.config.bootstrap.v3.Bootstrap"
_CLUSTER: Final = "envoy.config.cluster.v3.Cluster"
_LISTENER: Final = "envoy.config.listener.v3.Listener"
_ROUTE: Final = "envoy.config.route.v3"
_TLS: Final = "envoy.extensions.transport_sockets.tls.v3"
_UPSTREAM_HTTP: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_COMMON_HTTP: Final = "envoy.config.core.v3.HttpProtocolOptions"

MENDS: Final[Mapping[str, str]] = {
    f"{_BOOTSTRAP}.dynamic_resources": "write listeners and clusters into static_resources",
    f"{_BOOTSTRAP}.tracing": "write it into the connection manager: tracing.provider",
    f"{_BOOTSTRAP}.overload_manager": "remove it: connections and buffers are bounded by Ostiary itself",
    f"{_BOOTSTRAP}.watchdogs": "remove it",
    f"{_BOOTSTRAP}.application_log_config": "use --log-format",
    f"{_BOOTSTRAP}.hds_config": "remove it",
    f"{_BOOTSTRAP}.Admin.allow_paths": "remove it and bind the admin address to loopback",
    f"{_LISTENER}.access_log": "put the access log into the HttpConnectionManager",
    f"{_LISTENER}.additional_addresses": "write one listener for each address",
    f"{_LISTENER}.udp_listener_config": "HTTP/3 is not served: remove it",
    f"{_LISTENER}.socket_options": "remove it",
    f"{_LISTENER}.tcp_keepalive": "remove it",
    "envoy.config.listener.v3.FilterChainMatch": "write one listener for each filter chain",
    "envoy.config.listener.v3.FilterChain.use_proxy_proto": "trust X-Forwarded-For: xff_num_trusted_hops",
    f"{_HCM}.http2_protocol_options": "HTTP/1.1 is served: remove it",
    f"{_HCM}.http3_protocol_options": "HTTP/1.1 is served: remove it",
    f"{_HCM}.local_reply_config": "remove it",
    f"{_HCM}.Tracing.no_context_propagation": "remove it: the application gets the trace context",
    "envoy.type.tracing.v3.CustomTag.metadata": "use value, literal, environment or request_header",
    "envoy.config.core.v3.HttpService.formatters": "write the header's value as it is",
    f"{_HCM}.original_ip_detection_extensions": "use use_remote_address and xff_num_trusted_hops",
    f"{_HCM}.internal_address_config": "remove it: no address is treated as internal",
    f"{_HCM}.early_header_mutation_extensions": "use request_headers_to_add of the route configuration",
    f"{_HCM}.request_id_extension": "remove it: request ids are UUIDs",
    f"{_HCM}.forward_client_cert_details": "use SANITIZE (the default)",
    f"{_ROUTE}.RouteAction.retry_policy": "remove it",
    f"{_ROUTE}.VirtualHost.retry_policy": "remove it",
    f"{_ROUTE}.RouteAction.cors": "put a CorsPolicy into typed_per_filter_config",
    f"{_ROUTE}.VirtualHost.cors": "put a CorsPolicy into typed_per_filter_config",
    f"{_ROUTE}.RouteAction.max_stream_duration": "use max_stream_duration of common_http_protocol_options",
    f"{_ROUTE}.Route.tracing": "remove it",
    f"{_ROUTE}.RouteAction.hash_policy": "remove it: no policy here hashes",
    f"{_ROUTE}.RouteMatch.runtime_fraction": "use weighted_clusters",
    f"{_ROUTE}.RouteMatch.grpc": "match the content-type header",
    "envoy.config.core.v3.HealthCheck.grpc_health_check": "use http_health_check or tcp_health_check",
    "envoy.config.core.v3.HealthCheck.custom_health_check": "use http_health_check or tcp_health_check",
    "envoy.config.core.v3.HealthCheck.HttpHealthCheck.service_name_matcher": "use expected_statuses or receive",
    f"{_UPSTREAM_HTTP}.ExplicitHttpConfig.http3_protocol_options": "use http2_protocol_options",
    f"{_UPSTREAM_HTTP}.AutoHttpConfig.http3_protocol_options": "remove it: ALPN chooses HTTP/2 or HTTP/1.1",
    f"{_UPSTREAM_HTTP}.AutoHttpConfig.alternate_protocols_cache_options": "remove it: it is about HTTP/3",
    f"{_UPSTREAM_HTTP}.http_filters": "put the filters into the HttpConnectionManager",
    f"{_UPSTREAM_HTTP}.header_validation_config": "remove it: answers are always checked",
    "envoy.config.core.v3.Http2ProtocolOptions.custom_settings_parameters": "remove it",
    f"{_COMMON_HTTP}.max_stream_duration": "use the route's timeout",
    f"{_COMMON_HTTP}.max_connection_duration_jitter": "remove it",
    f"{_COMMON_HTTP}.max_headers_count": "remove it: an answer may have 300 headers",
    f"{_COMMON_HTTP}.max_response_headers_kb": "remove it: an answer may have 256 KiB of headers",
    f"{_CLUSTER}.transport_socket_matches": "use transport_socket",
    f"{_CLUSTER}.eds_cluster_config": "use type STRICT_DNS or STATIC with a load_assignment",
    f"{_CLUSTER}.typed_dns_resolver_config": "write it into the DnsCluster",
    f"{_CLUSTER}.dns_refresh_rate": "write it into the DnsCluster",
    f"{_CLUSTER}.respect_dns_ttl": "write it into the DnsCluster",
    f"{_CLUSTER}.dns_jitter": "write it into the DnsCluster",
    f"{_CLUSTER}.dns_failure_refresh_rate": "write it into the DnsCluster",
    "envoy.config.core.v3.BindConfig.socket_options": "remove it",
    "envoy.config.core.v3.BindConfig.local_address_selector": "use source_address and extra_source_addresses",
    "envoy.config.core.v3.ExtraSourceAddress.socket_options": "remove it",
    f"{_CLUSTER}.lb_subset_config": "write one cluster for each subset",
    "envoy.config.core.v3.UpstreamHttpProtocolOptions.auto_sni": "use sni or auto_host_sni of the UpstreamTlsContext",
    f"{_TLS}.CertificateValidationContext.verify_certificate_hash": "use trusted_ca and match_typed_subject_alt_names",
    f"{_TLS}.CertificateValidationContext.verify_certificate_spki": "use trusted_ca and match_typed_subject_alt_names",
    f"{_TLS}.TlsCertificate.pkcs12": "use certificate_chain and private_key",
    f"{_TLS}.GenericSecret.secrets": "write one secret for each value",
    "envoy.extensions.filters.http.health_check.v3.HealthCheck.cluster_min_healthy_percentages": "remove it",
    "envoy.config.accesslog.v3.AccessLogFilter.or_filter": "write one access log for each condition",
    "envoy.config.accesslog.v3.AccessLogFilter.extension_filter": "use status_code_filter or header_filter",
}
