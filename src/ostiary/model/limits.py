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

# --- sign-in
MAX_COOKIE_BYTES: Final = 4096
"""Name, value and attributes of one Set-Cookie: what browsers keep (RFC 6265 section 6.1)."""
MAX_COOKIE_PIECES: Final = 8
"""Pieces of one sealed session; beyond it the session belongs in a server-side store."""
MAX_PENDING_FLOWS: Final = 5
"""Sign-ins a browser may have open at once; the oldest is dropped."""
MAX_FLOW_DELETIONS: Final = 64
"""Flow cookies ended in one answer: a client chooses how many it sends, not how large our answer gets."""
FLOW_LIFETIME: Final = 600.0
"""From the redirect to the callback: what Envoy's flow cookies live."""
SESSION_ABSOLUTE_LIFETIME: Final = 7 * 24 * 3600.0
SESSION_IDLE_LIFETIME: Final = 24 * 3600.0
REFRESH_MARGIN: Final = 60.0
"""A session is refreshed when its access token has less than this left."""
REFRESH_GRACE: Final = 30.0
"""How long the result of a refresh answers requests that still carry the old cookie."""
CALLBACK_GRACE: Final = 30.0
"""How long a callback that is loaded again gets what its code has bought; a code is good for one use."""
MAX_RECENT_OUTCOMES: Final = 4096
"""Outcomes of refreshes, and of callbacks, remembered for their grace, per filter and worker."""
CLOCK_LEEWAY: Final = 60.0
"""Skew accepted between our clock and the provider's (exp, iat, nbf)."""
MAX_RETURN_URL_BYTES: Final = 2048
"""A longer return address is replaced by `/`: it has to fit a cookie."""
MAX_ACCESS_TOKEN_LIFETIME: Final = 100 * 365 * 24 * 3600
"""A provider's `expires_in` is cut to this (int, seconds), so that adding it to a date never overflows anything."""
MAX_SHOWN_CHARS: Final = 1024
"""What a client or a provider said, in a log line or in response code details."""
SESSION_CACHE_BYTES: Final = 32 * 1024 * 1024
"""All that a worker's cache of opened sessions holds on to, keys included."""
SESSION_CACHE_ENTRIES: Final = 4096
"""Opened sessions (or whole request heads) remembered per worker."""
FLOW_COOKIE_LIFETIME: Final = 3600.0
"""Max-Age of a flow cookie: past FLOW_LIFETIME it can't finish the sign-in, but still knows the way back."""
MAX_FLOW_COOKIES_READ: Final = 16
"""Flow cookies opened to find the oldest; what is beyond is deleted unread."""
MAX_COOKIE_DUPLICATES: Final = 4
"""Cookies of one name (set for several domains) that are tried."""
MAX_SESSION_BYTES: Final = 64 * 1024
"""A session unpacked: more than MAX_COOKIE_PIECES can hold even if it compresses well."""
SESSION_RESTAMP_FRACTION: Final = 0.1
"""The idle clock in the cookie is written anew when this share of the idle lifetime has passed."""
REFRESH_RETRY_DELAY: Final = 10.0
"""After a refresh that got no answer, requests of that session go on without asking again for this long."""
REFRESH_FAILURE_TOLERANCE: Final = 3600.0
"""How long past its access token a session lives on while the provider can't be reached to refresh it."""
MAX_IDENTITY_HEADER_BYTES: Final = 8 * 1024
"""One identity header: groups beyond it are a configuration error, not a reason to break the application."""

# --- the provider
PROVIDER_TIMEOUT: Final = 10.0
"""One request to the provider, connection included."""
PROVIDER_IDLE_TIMEOUT: Final = 60.0
"""Kept-alive connections to a provider."""
MAX_PROVIDER_RESPONSE_BYTES: Final = 1024 * 1024
"""Discovery, JWKS and token responses are kilobytes."""
MAX_TOKEN_BYTES: Final = 64 * 1024
"""An ID token: with hundreds of groups they reach 20 KiB."""
MAX_JWKS_KEYS: Final = 64
"""Keys of one provider: big ones publish a dozen while they rotate."""
MAX_SUBJECT_LENGTH: Final = 255
"""OpenID Connect Core section 2: `sub` must not exceed 255 ASCII characters."""
MAX_GROUP_PAGES: Final = 10
"""Pages of a user's groups: of 999 at Microsoft Graph, of 100 at GitHub."""
DISCOVERY_TTL: Final = 3600.0
JWKS_TTL: Final = 3600.0
JWKS_MIN_REFETCH: Final = 10.0
"""An unknown `kid` asks for the keys again, at most this often."""
PROVIDER_RETRY_DELAY: Final = 2.0
"""After a failed discovery, requests within this time get the same answer without asking again."""

# --- the connection (RFC 8305 section 8)
RESOLUTION_DELAY: Final = 0.050
CONNECTION_ATTEMPT_DELAY: Final = 0.200
"""RFC 8305 recommends 0.25 and allows 0.1 and more. As short as curl's: a dead family costs nobody more here."""
CONNECTION_ATTEMPT_DELAY_MAX: Final = 2.0
ATTEMPT_DELAY_FLOOR: Final = 0.010
"""RFC 8305 section 5: attempts never start closer together than this, unless one failed."""
ATTEMPT_DELAY_MIN: Final = 0.100
"""From history, attempts are started no closer than this (RFC 8305 section 5)."""
MAX_PARALLEL_ATTEMPTS: Final = 16
MAX_SERVICES: Final = 8
"""HTTPS records of one name that are used, best first."""
MAX_SERVICE_ALIASES: Final = 4
"""Aliases followed from one HTTPS record to the next."""
OUTCOME_MEMORY: Final = 600.0
"""What happened to an address or a family is remembered this long (RFC 6555 section 4.2: about 10 minutes)."""
OUTCOME_PROBE: Final = 60.0
"""After this long one race tries a family that had failed in its usual place again; doubled each time it fails."""
MAX_OUTCOMES: Final = 1024
ROUTE_MEMORY: Final = 5.0
"""How long the kernel's word on a route is believed where it reports changes; elsewhere it is asked each time."""
WARN_AGAIN: Final = 10.0
"""A configuration that keeps connections from succeeding is said in the log once in this time, per target."""
NETWORK_LOOK: Final = 0.050
"""Changes of the network are looked for with a new connection, no more often than this."""
MAX_ROUTES: Final = 4096
DNS_QUERY_TIMEOUT: Final = 5.0
MAX_DNS_ANSWERS: Final = 64
"""Addresses of one type taken from an answer; the first ones count."""
DNS_RETRANSMIT: Final = 1.0
"""Silence after which the next server is asked too; doubled each round (glibc takes 5 s)."""
DNS_OTHER_FAMILY: Final = 0.250
"""The same where the next server is of the other address family: a dead one must not cost each host a second."""
DNS_TOTAL_MAX: Final = 60.0
"""However many servers, seconds and tries a configuration multiplies: one question ends after this."""
DNS_LINGER: Final = 1.0
"""A query nobody waits for any more may still fill the cache for this long (Happy Eyeballs v3 section 4)."""
DNS_STALE_AFTER: Final = 1.8
"""Silence after which an expired answer is better than none (RFC 8767 section 5)."""
DNS_STALE_LIFETIME: Final = 3600.0
"""How long an expired answer is kept for when its servers fail."""
DNS_TTL_MAX: Final = 3600
"""TTLs above this are capped: a wrong record must not outlive an incident."""
DNS_NEGATIVE_TTL_MAX: Final = 5
"""Empty and NXDOMAIN answers are believed this long at most: names that appear must be seen."""
DNS_NEGATIVE_TTL_UNSAID: Final = 1
"""Without SOA nobody says how long it holds (RFC 2308 section 5): just long enough that many connections ask once."""
DNS_NO_SERVICE_TTL_MAX: Final = 300
"""The same for HTTPS records, which most names don't have: asking again and again would delay connections."""
DNS_SYSTEM_TTL: Final = 60
"""What the system's resolver says holds this long (it tells no TTL): as Envoy's getaddrinfo resolver."""
MAX_DNS_CACHE: Final = 4096
MAX_SYSTEM_LOOKUPS: Final = 8
"""Threads that may hang in the system's resolver at once (names that DNS can't resolve)."""
OTHER_FAMILY_LOOKUP: Final = 0.250
"""After a failure: how long to ask whether the other address family would have worked."""
MAX_PROBED_ADDRESSES: Final = 8
"""Of each family, each with a connection of its own, when all lookup families are compared."""
PROGRESS_AFTER: Final = 0.4
"""A command that is done sooner says nothing of what it waits for."""
PROGRESS_INTERVAL: Final = 0.1

# --- matchers and formats
MAX_REGEX_LENGTH: Final = 4096
"""One RE2 pattern of a configuration; longer ones are generated by mistake."""
MAX_FORMAT_LENGTH: Final = 16 * 1024
"""One format string."""

# --- the process
DRAIN_TIMEOUT: Final = 600.0
"""Envoy's --drain-time-s default: how long SIGTERM lets running requests finish."""
QUIT_TIMEOUT: Final = 1.0
"""The same after `/quitquitquit`, with which Envoy ends at once."""
DRAIN_IDLE: Final = 3.0
"""How long a drain leaves idle connections open, so that who sends requests more often than that hears of it first."""
WARM_TIMEOUT: Final = 5.0
"""A new configuration's clusters have this long to know their hosts, before the one before it is replaced."""
RELOAD_TIMEOUT: Final = 30.0
"""For a worker to build a new configuration, and then to switch to it: files are read, names asked for."""
WATCHDOG: Final = 60.0
"""A worker whose loop has not turned for so long hangs, and is replaced; whatever it does in one piece takes less."""
RETIRED_LOOK: Final = 0.1
"""Between two looks whether a configuration that was replaced still serves anybody."""
ACCESS_LOG_BUFFER: Final = 64 * 1024
LOG_BACKLOG_BYTES: Final = 4 * 1024 * 1024
"""What waits for a log's reader or disk: seconds of a busy worker; then lines are lost rather than requests."""
LOG_PATIENCE: Final = 1.0
"""How long the end of the process waits for a log to take its last lines."""
OWN_DESCRIPTORS: Final = 32
"""What a worker has open before anybody comes: its loop, listeners, logs."""
DESCRIPTOR_RESERVE: Final = 1024
"""Of the rest, what clients leave to upstreams, providers, DNS and files; half where there is little."""


# --- the admin API
MAX_ADMIN_HEAD_BYTES: Final = 64 * 1024
"""A request line of `/stats?filter=` may be long; browsers' cookies of other loopback programs come along too."""
MAX_ADMIN_BODY_BYTES: Final = 64 * 1024
"""Forms have a few bytes."""
MAX_ADMIN_CONNECTIONS: Final = 64
"""Scrapers, probes, and people with a browser: more are a mistake, and who has been idle longest is closed."""
ADMIN_REQUEST_TIMEOUT: Final = 60.0
"""From one answer to the end of the next request: Prometheus asks again every 15 to 60 seconds."""
WORKER_ANSWER_TIMEOUT: Final = 2.0
PROBE_ANSWER_TIMEOUT: Final = 0.5
"""For another worker's part of an answer, which takes milliseconds: scrapers give up after 10 s, probes after one."""
ADMIN_ANSWER_TIMEOUT: Final = 10.0
"""Seconds of silence after which an admin API that was asked counts as gone."""
MAX_ADMIN_REQUESTS: Final = 4
"""Requests to one admin port at a time: Envoy answers one after the other."""
KUBECTL_TIMEOUT: Final = 60.0
"""Seconds for one run of kubectl: it may have to ask a cloud for a token first."""
MAX_KUBECTLS: Final = 16
"""Runs of kubectl at a time: each is a process of some 50 MB."""
PUT_BACK_TRIES: Final = 3
"""How often levels are tried to be put back before the person is told to."""
ADMIN_WRITE_TIMEOUT: Final = 30.0
"""A client that doesn't read an answer keeps its memory this long."""
# --- flights (core/flights)
MAX_FLIGHTS: Final = 1000
"""Halves of sign-ins kept per worker, redirects and callbacks each: a busy morning, at about 2 KiB each."""
MAX_SIDE_FLIGHTS: Final = 250
"""The same of each other kind (no access, renewals, sign-outs, ...): none of them pushes out a sign-in."""
SHOWN_FLIGHTS: Final = 100
"""On a page, and in an answer, unless more are asked for."""
FLIGHTS_PAGE_STALE: Final = 15.0
"""A page that updates itself and has nothing new is made again after this: it says how long ago things were."""
MAX_FLIGHT_BYTES: Final = 4 * 1024 * 1024
"""Of each kind, per worker; the oldest go first."""
MAX_UNREACHABLE: Final = 100
"""Causes of failed connections, each counted; whichever was seen longest ago goes first."""
MAX_FLIGHT_TEXT: Final = 120
"""Paths, user agents: enough to know them by."""
MAX_FLIGHT_WORDS: Final = 400
"""What a provider or a library said."""
MAX_FLIGHT_CONNECTS: Final = 4
"""Connections of one request to the provider, the last ones: its retries are fewer."""
MAX_FLIGHT_ROWS: Final = 24
"""Queries, and attempts, of one connection."""
MIN_SECRET_SHOWN: Final = 6
"""What a request sent as secret is taken out of the answer if it is that long; shorter ones would take out words."""

# --- leases between workers (core/leases.py)
LEASE_TIME: Final = 60.0
"""A flow that may run once takes no longer, unless its requests may: then its holder counts as lost."""
MAX_FETCHES_PER_FLOW: Final = 6 + 2 * MAX_GROUP_PAGES
"""Discovery, tokens, keys twice, userinfo twice, two lists of groups: each may take the provider's timeout."""
LEASE_ANSWER_TIMEOUT: Final = 5.0
"""The desk answers each question within a millisecond; a worker that hears nothing goes on alone."""
MAX_LEASE_ASKERS: Final = 65_536
"""Leases held and waited for, and outcomes kept: more sessions than could be refreshed within one grace."""
MAX_LEASE_OUTCOME_BYTES: Final = 64 * 1024 * 1024
"""All sealed outcomes that the desk keeps; the oldest go first."""
MAX_LEASE_MESSAGE_BYTES: Final = 256 * 1024
"""One message: a sealed session is smaller than MAX_SESSION_BYTES and its encoding."""
MAX_LEASE_BACKLOG_BYTES: Final = 16 * 1024 * 1024
"""Replies that a worker has not read; one that lets more pile up is stuck, and is cut off."""

# --- questions to workers (net/inbox.py)
INBOX_TIMEOUT: Final = 5.0
"""For a worker's answer: it takes milliseconds, unless the worker hangs or is being replaced."""
MAX_INBOX_BYTES: Final = 64 * 1024 * 1024
"""A question or its answer: configuration files as they are, or a worker's part of a large /config_dump."""
MAX_INBOX_DESCRIPTORS: Final = 252
"""With one question: the kernel passes 253 at once, one of which is the way back."""
MAX_INBOX_QUESTIONS: Final = 64
"""Answered at once by one worker; more wait in the socket."""

# --- configuration files
MAX_CONFIG_BYTES: Final = 16 * 1024 * 1024
"""One file: Istio's config dumps reach a few MiB, nothing written by hand a tenth of that."""
MAX_CONFIG_DEPTH: Final = 128
"""Nested mappings and sequences: Envoy's own stay below 40."""
MAX_CONFIG_NODES: Final = 1_000_000
"""Nodes of one document with its aliases expanded: a small file must not become a large one."""

# --- telemetry
TELEMETRY_TIMEOUT: Final = 10.0
"""Seconds that a collector has for one export (OTel's default)."""
TELEMETRY_QUEUE: Final = 2048
"""Spans that wait to be exported (OTel's default); further ones are dropped and counted."""
TELEMETRY_BATCH: Final = 512
"""Spans in one export (OTel's default)."""
TELEMETRY_SLICE: Final = 64
"""Spans that are encoded in one go: about 2 ms, for which another thread may hold up requests."""
MAX_REMEMBERED_ATTRIBUTE: Final = 256
"""Characters of a span's attribute that is kept encoded for the next span; longer ones are a client's inventions."""
TELEMETRY_FLUSH_TIMEOUT: Final = 2.0
"""Seconds by which a collector may delay the end of the process."""
METRICS_INTERVAL: Final = 60.0
"""Seconds between two exports of metrics (OTel's default)."""
# --- logs that the doctor reads
LOG_BLOCK_BYTES: Final = 512 * 1024
"""Read at once: large enough that the work per block doesn't count, small enough to stay in a processor's cache."""
LOG_BEFORE_BYTES: Final = 16 * 1024
"""Lines this far before one that matters are looked at for what belongs to it: one thread's last lines, mostly."""
LOG_AFTER_BYTES: Final = 16 * 1024
"""And this far behind it: the connection that a token call makes follows at once."""
MAX_LOG_LINE_BYTES: Final = 64 * 1024
"""A longer line is cut: header dumps and rejections stay far below."""
MAX_LOG_CONTINUATION: Final = 64
"""Lines of one record: Envoy's rejection of an OAuth2 filter has 29."""
MAX_PASTED_BYTES: Final = 1024 * 1024
"""Up to here a log may have been pasted, and wrapped by whatever it was pasted into."""
MAX_JOINED: Final = 4096
"""Threads, streams, connections and names each, remembered to join lines to what they belong to."""
MAX_LOG_FACTS: Final = 1000
"""Distinct facts of one kind from one log; equal ones are counted, and what is beyond changes no diagnosis."""
MAX_QUOTE: Final = 400
"""Characters of a line in a finding's proof."""
