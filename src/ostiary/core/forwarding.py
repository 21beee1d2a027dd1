"""Who the client is, and which headers go on to the application.

The rules are Envoy's (`use_remote_address`, `xff_num_trusted_hops`, `skip_xff_append`, ...):

- An edge (`use_remote_address`) believes its own eyes: the client is the peer, or, behind N trusted hops, the N-th
  address of X-Forwarded-For from the right; the peer is appended to it; X-Forwarded-Proto is the connection's unless
  trusted hops set it; the request id is new unless `preserve_external_request_id`; X-Envoy-* control headers of
  clients are removed.
- Behind an edge everything is believed: X-Forwarded-For is left as it is and its last address (skipping N) is the
  client.

Hop-by-hop fields end here (RFC 9110 section 7.6.1). What a client lists in Connection goes too, except fields that
say who it is or how the message is framed: nobody may make a proxy drop its own evidence.

The `ostiary` profile, at an edge without trusted hops, also removes what clients claim in Forwarded, X-Real-IP and
X-Forwarded-Host, -Port, -Server and -Prefix, and any X-Forwarded-* or identity header spelt with other punctuation:
CGI and WSGI can't tell `X_Forwarded_For` from `X-Forwarded-For`, and to some servers (lighttpd) every character but
letters and digits is `_`.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, final

from ostiary.core.decision import Entropy
from ostiary.model.config import HttpConnectionManager
from ostiary.model.headers import Headers

_ALWAYS_DROPPED: Final = frozenset(
    (
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "http2-settings",
        "x-envoy-internal",
        "x-forwarded-client-cert",
    )
)
_DROPPED_FROM_EXTERNAL: Final = frozenset(
    f"x-envoy-{name}"
    for name in (
        "retriable-status-codes",
        "retriable-header-names",
        "retry-on",
        "retry-grpc-on",
        "max-retries",
        "upstream-alt-stat-name",
        "upstream-rq-timeout-ms",
        "upstream-rq-per-try-timeout-ms",
        "upstream-rq-timeout-alt-response",
        "expected-rq-timeout-ms",
        "force-trace",
        "ip-tags",
        "original-url",
        "hedge-on-per-try-timeout",
        "upstream-stream-duration-ms",
    )
)
_DROPPED_AT_EDGE: Final = frozenset(
    (
        "x-envoy-decorator-operation",
        "x-envoy-downstream-service-cluster",
        "x-envoy-downstream-service-node",
        "x-envoy-external-address",
        "x-envoy-original-path",
        "x-envoy-original-host",
    )
)
_CLAIMS_OF_HOPS: Final = frozenset(
    ("forwarded", "x-real-ip", "x-forwarded-host", "x-forwarded-port", "x-forwarded-server", "x-forwarded-prefix")
)
_CLAIMS_OF_PLACE: Final = frozenset(
    f"x-{name}" for name in ("original-url", "original-uri", "original-method", "rewrite-url", "http-method-override")
) | {"x-forwarded-uri", "x-forwarded-method"}
"""What an application may take for the address or the method, though rules judged another one. Filters may read them
(forward-auth does)."""
_READ: Final = frozenset(("connection", "upgrade", "te", "via", "x-forwarded-for", "x-forwarded-proto", "x-request-id"))
_KEPT_THOUGH_LISTED: Final = frozenset(
    (
        *("host", "authorization", "cookie", "origin", "content-length", "content-type", "content-encoding"),
        *("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-real-ip", "forwarded"),
        *("x-request-id", "x-envoy-external-address", "via", "te", "upgrade"),
    )
)
_FRAMING: Final = frozenset(("content-length", "content-type", "host", "cookie", "authorization"))
"""With other punctuation they would be taken for the real ones by CGI and WSGI."""
_PUNCTUATION: Final = re.compile("[^a-z0-9-]")
_UUID_BYTES: Final = 16
_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Peer:
    """The connection a request came over; the same object for all of a client's requests."""

    address: str
    """The peer's IP address; empty over a Unix socket."""
    encrypted: bool
    own_address: str = ""
    """An address of this host that others can reach: what Envoy appends to X-Forwarded-For for a loopback peer."""


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What a request's head became, and what is now known about its sender."""

    headers: Headers
    client: str
    """The client's IP address; empty over a Unix socket without X-Forwarded-For."""
    scheme: str
    """`http` or `https`, as the client sees it."""
    request_id: str
    """Empty if there is none."""
    upgrade: str
    """The protocol of an upgrade, lower case; empty without one. Its headers are kept."""


@final
class Forwarder:
    """The forwarding rules of one listener, compiled."""

    __slots__ = ("_disguised", "_dropped", "_hops", "_manager", "_protected", "_special", "not_for_applications")

    def __init__(self, manager: HttpConnectionManager, identity_headers: frozenset[str] = frozenset()) -> None:
        dropped = _ALWAYS_DROPPED | _DROPPED_FROM_EXTERNAL | identity_headers
        native = manager.profile == "ostiary"
        self.not_for_applications: frozenset[str] = frozenset()
        """Headers to drop after the filters have seen them."""
        if manager.use_remote_address:
            dropped |= _DROPPED_AT_EDGE
            if native and manager.xff_num_trusted_hops == 0:
                dropped |= _CLAIMS_OF_HOPS
                self.not_for_applications = _CLAIMS_OF_PLACE
        self._manager = manager
        self._hops = manager.xff_num_trusted_hops
        self._dropped = dropped
        self._special = dropped | _READ
        self._protected = _KEPT_THOUGH_LISTED | identity_headers
        self._disguised = identity_headers | (_READ | _CLAIMS_OF_HOPS | _ALWAYS_DROPPED if native else frozenset())
        self._disguised |= (_FRAMING | self.not_for_applications) if native else frozenset()

    def is_special(self, name: str) -> bool:
        """True for a header (lower case) that is not simply passed on, in any spelling."""
        if name in self.not_for_applications:
            return True
        return name in self._special or _unmasked(name) in self._disguised

    def forward(self, headers: Headers, peer: Peer, entropy: Entropy) -> Forwarded:
        """The head as it goes upstream. `headers` is left alone; framing is the caller's."""
        kept: list[tuple[str, str]] = []
        read: dict[str, list[str]] = {}
        special, dropped, disguised = self._special, self._dropped, self._disguised
        for item in headers:
            name = item[0]
            if name in special:
                if name not in dropped:
                    read.setdefault(name, []).append(item[1])
            elif _PUNCTUATION.search(name) is None or _unmasked(name) not in disguised:
                kept.append(item)
        upgrade = ""
        if "connection" in read:
            kept, upgrade = self._without_listed(kept, read)
        if "te" in read and "trailers" in _tokens(read["te"]):
            kept.append(("te", "trailers"))
        if self._manager.via or "via" in read:
            kept.append(("via", ", ".join((*read.get("via", ()), *filter(None, (self._manager.via,))))))
        client = self._forwarded_for(kept, read.get("x-forwarded-for"), peer)
        scheme = self._scheme(kept, read.get("x-forwarded-proto"), peer)
        request_id = self._request_id(kept, read.get("x-request-id"), entropy)
        return Forwarded(Headers.of(kept), client, scheme, request_id, upgrade)

    def _without_listed(
        self, kept: list[tuple[str, str]], read: dict[str, list[str]]
    ) -> tuple[list[tuple[str, str]], str]:
        listed = _tokens(read["connection"])
        upgrade = ""
        if "upgrade" in listed and len(read.get("upgrade", ())) == 1:
            upgrade = read["upgrade"][0].strip().lower()
        if upgrade == "h2c":  # an offer, which a server may ignore (RFC 9113 has dropped it)
            upgrade = ""
        listed -= self._protected
        if listed:
            kept = [item for item in kept if item[0] not in listed]
        if upgrade:
            kept += [("connection", "upgrade"), ("upgrade", read["upgrade"][0])]
        return kept, upgrade

    def _forwarded_for(self, kept: list[tuple[str, str]], values: list[str] | None, peer: Peer) -> str:
        chain = ",".join(values) if values else ""
        manager = self._manager
        if not manager.use_remote_address:
            if chain:
                kept.append(("x-forwarded-for", chain))
            return address_from_right(chain, self._hops) or peer.address
        client = address_from_right(chain, self._hops - 1) if self._hops else ""
        client = client or peer.address
        if not manager.skip_xff_append and peer.address:
            seen = peer.own_address if peer.own_address and _is_loopback(peer.address) else peer.address
            chain = f"{chain},{seen}" if chain else seen
        if chain:
            kept.append(("x-forwarded-for", chain))
        if client:
            kept.append(("x-envoy-external-address", client))
        return client

    def _scheme(self, kept: list[tuple[str, str]], values: list[str] | None, peer: Peer) -> str:
        of_connection = "https" if peer.encrypted else "http"
        if self._manager.scheme_to_overwrite:
            kept.append(("x-forwarded-proto", self._manager.scheme_to_overwrite))
            return self._manager.scheme_to_overwrite
        trusted = not self._manager.use_remote_address or self._hops > 0
        forwarded = ",".join(values) if values and trusted else of_connection
        kept.append(("x-forwarded-proto", forwarded))
        scheme = forwarded.lower()
        return scheme if scheme in ("http", "https") else of_connection

    def _request_id(self, kept: list[tuple[str, str]], values: list[str] | None, entropy: Entropy) -> str:
        manager = self._manager
        renew = manager.use_remote_address and not manager.preserve_external_request_id
        request_id = values[0] if values else ""
        if manager.generate_request_id and (renew or not request_id):
            request_id = uuid4(entropy)
        if request_id:
            kept.append(("x-request-id", request_id))
        return request_id


def _unmasked(name: str) -> str:
    """What a CGI server may take a header's name (lower case) for."""
    return _PUNCTUATION.sub("-", name)


def address_from_right(chain: str, skip: int) -> str:
    """The address of an X-Forwarded-For chain after `skip` ones from the right; empty if it is not an IP address."""
    parts = chain.split(",")
    if skip >= len(parts):
        return ""
    return _canonical_address(parts[-1 - skip].strip(" \t"))


@lru_cache(maxsize=1024)
def _canonical_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text)) if "%" not in text else ""
    except ValueError:
        return ""


def _is_loopback(address: str) -> bool:
    return address in ("127.0.0.1", "::1")


def _tokens(values: list[str]) -> set[str]:
    return {token.strip(" \t").lower() for value in values for token in value.split(",")} - {""}


def uuid4(entropy: Entropy) -> str:
    """A random UUID (RFC 9562 section 5.4), as Envoy's request ids are."""
    digits = entropy(_UUID_BYTES).hex()
    variant = _VARIANT[digits[16]]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
