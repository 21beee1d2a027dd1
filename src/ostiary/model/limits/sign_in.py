"""Bounds of the sign-in: its cookies and times, the provider, what workers share and what is recorded of it."""

from __future__ import annotations

from typing import Final

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
