"""Bounds of requests and their answers: a client's, an upstream's, in HTTP/1.1 and HTTP/2."""

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
HEAD_MEMORY: Final = 5.0
"""How long an idle connection remembers its last head."""
HEAD_CACHE_BYTES: Final = 4 * 1024 * 1024
LINE_CACHE_BYTES: Final = 2 * 1024 * 1024
"""What is remembered of heads, per generation: a client that makes every head different and large fills no memory."""
MAX_TLS_SESSIONS: Final = 64
"""Names of one cluster, or of a provider, whose latest TLS session is kept to be resumed."""
MAX_EMPTY_LINES: Final = 8
"""Before a request line; RFC 9112 section 2.2 asks for one."""
MAX_REMEMBERED_LINE_BYTES: Final = 16 * 1024
"""Session cookies are smaller; a longer line is read each time."""
MAX_REMEMBERED_TARGET_BYTES: Final = 2 * 1024
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
MIN_HANDSHAKES: Final = 16
"""TLS handshakes at once of a listener that is full: who comes too many is turned away after it."""
HANDSHAKE_REST: Final = 0.1
"""Between two looks whether a listener whose connections are all taken by TLS handshakes may accept again."""
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
MAX_INFORMATIONAL_RESPONSES: Final = 16
"""1xx answers before the final one."""
MAX_PARALLEL_REQUESTS: Final = 1024
MAX_PENDING_REQUESTS: Final = 1024
MAX_PARALLEL_RETRIES: Final = 3
"""Per cluster and worker: Envoy's circuit breaker defaults."""
MAX_WAITING_FOR_HOSTS: Final = 1024
"""Requests that wait for a cluster's first DNS answer or health check; they wait CONNECT_TIMEOUT at most."""
DNS_REFRESH_RATE: Final = 5.0
"""Envoy's dns_refresh_rate default."""
MIN_DNS_REFRESH: Final = 0.001
"""A random back-off may come out as nothing: a name is never asked for in a loop without end."""
MIN_HEALTH_CHECK_INTERVAL: Final = 0.001
NO_TRAFFIC_INTERVAL: Final = 60.0
"""Between health checks of a cluster that nobody has used yet: Envoy's default."""
HEALTH_CHECK_BODY: Final = 1024
"""Bytes of a health check's answer that `receive` is looked for in: Envoy's default."""
MAX_HEALTH_CHECK_BYTES: Final = 64 * 1024
"""Of what a TCP check hears, the last ones are kept and looked through."""
MAX_EJECTION_TIME: Final = 300.0
"""Envoy's default."""
MAX_HOSTS: Final = 1024
"""Of one cluster; addresses beyond it are left out."""

# --- an upstream that speaks HTTP/2
HTTP2_MAX_STREAMS: Final = 1024
"""Requests at once on one connection, if the upstream allows as many: Envoy's max_concurrent_streams default."""
HTTP2_STREAMS_BEFORE_SETTINGS: Final = 100
"""Until the upstream has said how many it allows: RFC 9113 section 6.5.2 asks every server for 100."""
HTTP2_STREAM_WINDOW: Final = 256 * 1024
"""What an upstream may send of one answer before its client has taken any of it: like WRITE_HIGH_WATER."""
HTTP2_CONNECTION_WINDOW: Final = 16 * 1024 * 1024
"""On its way to us at once; opened again as it arrives, so that a slow client delays nobody else's answer."""
HTTP2_MIN_WINDOW: Final = 65_535
HTTP2_LAST_STREAM: Final = 2**31 - 1001
"""Near the end of its stream ids a connection is replaced."""
HTTP2_HEADER_TABLE: Final = 4096
HTTP2_MAX_HEADER_TABLE: Final = 1024 * 1024
"""Memory a connection's decoder may be asked to keep."""
HTTP2_FRAME_ALLOWANCE: Final = 1000
"""Frames in a second that carry neither head nor body (PING, SETTINGS, WINDOW_UPDATE, empty DATA, ...): who sends more
is attacking."""
HTTP2_MAX_FRAME_ALLOWANCE: Final = 10_000
"""What a busy connection can save up."""
HTTP2_FRAMES_PER_MESSAGE_FRAME: Final = 10
"""How many more for each frame that carries something, either way: Envoy's ratio for WINDOW_UPDATE."""
HTTP2_MAX_UNSENT: Final = 4 * 1024 * 1024
"""Bytes waiting for an upstream that doesn't read, acknowledgements of its own frames included."""
HTTP2_GOODBYE: Final = 5.0
"""Seconds that a closing connection's last bytes have to be read."""
HTTP2_MAX_REFUSALS: Final = 10
"""How often a request that was refused unprocessed (RFC 9113 section 8.7) goes to another connection."""
HTTP2_KEEPALIVE_TIMEOUT: Final = 20.0
"""For the answer to a PING, where a configuration asks for PINGs without saying how long."""

# --- bodies and pipes
WRITE_HIGH_WATER: Final = 256 * 1024
"""Bytes waiting to be written to one peer before the other side stops being read."""
