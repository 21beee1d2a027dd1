"""Every bound Ostiary sets, named, with its reason. Sizes in bytes, times in seconds.

A bound that users may want to move is also a configuration field; the value here is its default.
"""

from __future__ import annotations

from typing import Final

# --- a client's request
MAX_REQUEST_HEADERS_BYTES: Final = 60 * 1024
"""Request line and headers together: Envoy's max_request_headers_kb default (60)."""
MAX_HEADERS_COUNT: Final = 100
"""Headers in one message: Envoy's max_headers_count default."""
MAX_URL_BYTES: Final = 16 * 1024
"""Request target: longer ones are an attack or a bug; nginx takes 8 KiB, Envoy only the head's limit."""
HEAD_CACHE_ENTRIES: Final = 1024
"""Header blocks remembered per generation and listener (two generations)."""
MAX_CHUNK_LINE_BYTES: Final = 256
"""A chunk's size line: extensions beyond this are an attack."""
MAX_TRAILERS: Final = 32
MAX_TRAILER_BYTES: Final = 8 * 1024
MAX_PIPELINED_BYTES: Final = 64 * 1024
"""Bytes of further requests kept while one is being answered; beyond it reading pauses."""
REQUEST_HEADERS_TIMEOUT: Final = 15.0
"""From a request's first byte to its last header byte: a slow head holds nothing longer than this."""
IDLE_TIMEOUT: Final = 3600.0
"""A keep-alive connection without a request: Envoy's common_http_protocol_options.idle_timeout default."""
STREAM_IDLE_TIMEOUT: Final = 300.0
"""No byte in either direction of a request: Envoy's stream_idle_timeout default."""
TLS_HANDSHAKE_TIMEOUT: Final = 15.0
"""Listener side: Envoy's transport_socket_connect_timeout is off by default; a bound is better."""
MAX_DOWNSTREAM_CONNECTIONS: Final = 50_000
"""Per worker; beyond it new connections are closed at once."""

# --- the upstream
MAX_RESPONSE_HEADERS_BYTES: Final = 256 * 1024
"""Status line and headers: applications with many cookies reach 64 KiB, none this."""
MAX_RESPONSE_HEADERS_COUNT: Final = 300
ROUTE_TIMEOUT: Final = 15.0
"""Envoy's default for RouteAction.timeout: from the whole request sent to the whole response received."""
CONNECT_TIMEOUT: Final = 5.0
"""Envoy's Cluster.connect_timeout default; covers the whole race, TLS included."""
UPSTREAM_IDLE_TIMEOUT: Final = 3600.0
MAX_REQUESTS_PER_CONNECTION: Final = 1 << 30
"""Upstream: no limit that anyone reaches, unless a cluster sets one."""
MAX_UPSTREAM_CONNECTIONS: Final = 1024
MAX_PENDING_REQUESTS: Final = 1024
"""Per cluster and worker: Envoy's circuit breaker defaults."""

# --- bodies and pipes
WRITE_HIGH_WATER: Final = 256 * 1024
"""Bytes waiting to be written to one peer before the other side stops being read."""
WRITE_LOW_WATER: Final = 64 * 1024

# --- sign-in
MAX_COOKIE_BYTES: Final = 4096
"""Name, value and attributes of one Set-Cookie: what browsers keep (RFC 6265 section 6.1)."""
MAX_COOKIE_PIECES: Final = 8
"""Pieces of one sealed session; beyond it the session belongs in a server-side store."""
MAX_PENDING_FLOWS: Final = 5
"""Sign-ins a browser may have open at once; the oldest is dropped."""
FLOW_LIFETIME: Final = 600.0
"""From the redirect to the callback: what Envoy's flow cookies live."""
SESSION_ABSOLUTE_LIFETIME: Final = 7 * 24 * 3600.0
SESSION_IDLE_LIFETIME: Final = 24 * 3600.0
REFRESH_MARGIN: Final = 60.0
"""A session is refreshed when its access token has less than this left."""
REFRESH_GRACE: Final = 30.0
"""How long the result of a refresh answers requests that still carry the old cookie."""
CLOCK_LEEWAY: Final = 60.0
"""Skew accepted between our clock and the provider's (exp, iat, nbf)."""
MAX_RETURN_URL_BYTES: Final = 2048
"""A longer return address is replaced by `/`: it has to fit a cookie."""
SESSION_CACHE_ENTRIES: Final = 4096
"""Opened sessions (or whole request heads) remembered per worker."""

# --- the provider
PROVIDER_TIMEOUT: Final = 10.0
"""One request to the provider, connection included."""
MAX_PROVIDER_RESPONSE_BYTES: Final = 1024 * 1024
"""Discovery, JWKS and token responses are kilobytes."""
DISCOVERY_TTL: Final = 3600.0
JWKS_TTL: Final = 3600.0
JWKS_MIN_REFETCH: Final = 10.0
"""An unknown `kid` asks for the keys again, at most this often."""
PROVIDER_RETRY_DELAY: Final = 2.0
"""After a failed discovery, requests within this time get the same answer without asking again."""

# --- the connection (RFC 8305 section 8)
RESOLUTION_DELAY: Final = 0.050
CONNECTION_ATTEMPT_DELAY: Final = 0.250
CONNECTION_ATTEMPT_DELAY_MIN: Final = 0.100
CONNECTION_ATTEMPT_DELAY_MAX: Final = 2.0
MAX_PARALLEL_ATTEMPTS: Final = 16
OUTCOME_MEMORY: Final = 600.0
MAX_OUTCOMES: Final = 1024
DNS_QUERY_TIMEOUT: Final = 5.0
MAX_DNS_ANSWERS: Final = 64

# --- the process
DRAIN_TIMEOUT: Final = 600.0
"""Envoy's --drain-time-s default: how long SIGTERM lets running requests finish."""
ACCESS_LOG_FLUSH: Final = 1.0
"""Batched lines are written at least this often."""
ACCESS_LOG_BUFFER: Final = 64 * 1024

# --- configuration files
MAX_CONFIG_BYTES: Final = 16 * 1024 * 1024
"""One file: Istio's config dumps reach a few MiB, nothing written by hand a tenth of that."""
MAX_CONFIG_DEPTH: Final = 128
"""Nested mappings and sequences: Envoy's own stay below 40."""
MAX_CONFIG_NODES: Final = 1_000_000
"""Nodes of one document with its aliases expanded: a small file must not become a large one."""
