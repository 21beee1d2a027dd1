"""Bounds of a connection being made: DNS, the race of addresses, what is remembered of both."""

from __future__ import annotations

from typing import Final

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
