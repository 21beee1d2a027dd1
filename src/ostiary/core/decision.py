"""What a filter says about a request, and what it may ask for on the way.

A filter is a *decision*: `decide(request, now)` returns at once with one of

- `Allow`: go on, with these edits. It is made once for a session and used again for every request with the
  same headers until `valid_until`, so the shell can turn it into ready-made bytes once (the hot path).
- `Respond`: the filter answers itself.
- `Start(flow)`: something must be fetched first. `flow` is a generator that yields `Fetch`, is sent a `Fetched`
  (or has `FetchFailed` thrown into it) and returns `Allow` or `Respond`. The shell drives it: the core
  stays free of I/O.

Entropy and the clock come from outside: `now` is Unix time in seconds (float), entropy a callable like `os.urandom`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Final, Protocol

import msgspec

from ostiary.core.flights.note import Note
from ostiary.model import limits
from ostiary.model.headers import Headers

Entropy = Callable[[int], bytes]
"""n -> n random bytes, fit for secrets."""


class Request(msgspec.Struct, kw_only=True):
    """A request's head as filters and routes see it. Treat `headers` as read-only: filters answer with edits."""

    method: str
    target: str
    """The raw request target as it goes upstream, query included."""
    path: str
    """Normalised once, without the query: all that rules may look at."""
    query: str
    """Without the `?`; empty if there is none."""
    scheme: str
    """`http` or `https`, from the connection or a trusted X-Forwarded-Proto."""
    authority: str
    """The Host header, verbatim."""
    headers: Headers
    """Lower-case names; without identity headers that a client must not send."""
    client: str = ""
    """The client's address: the peer, or what trusted hops say."""
    external_scheme: str = ""
    upgrade: bool = False
    """The client asks for another protocol (WebSocket)."""


class Counter:
    """A plain integer with a name."""

    __slots__ = ("name", "value")

    def __init__(self, name: str) -> None:
        self.name = name
        self.value = 0

    def inc(self) -> None:
        """One more."""
        self.value += 1

    def __repr__(self) -> str:
        return f"{self.name}: {self.value}"


_SHOWN: Final = ("status", "method", "url", "cluster", "details", "user", "via", "purpose", "valid_until")


class _Discreet(msgspec.Struct, frozen=True):
    """A value that may carry tokens: its repr shows only what can't be one."""

    def __repr__(self) -> str:
        shown = ((name, getattr(self, name)) for name in _SHOWN if name in self.__struct_fields__)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown if value)})"


FOREVER: Final = float("inf")


class Allow(_Discreet, frozen=True, kw_only=True, eq=False):
    """Go on, with these edits of the request and of the response."""

    remove: frozenset[str] = frozenset()
    """Request headers to drop (lower case)."""
    set: tuple[tuple[str, str], ...] = ()
    """Request headers to set (lower case; the client's own of that name are dropped)."""
    cookie: str | None = None
    """The Cookie header the application gets; None: as it came; empty: none at all (see `keep_empty_cookie`)."""
    keep_empty_cookie: bool = False
    response_remove: frozenset[str] = frozenset()
    """Response headers of the application to drop (lower case), before `response_set` is appended."""
    response_set: tuple[tuple[str, str], ...] = ()
    """Response headers to append (`set-cookie`, ...), after the application's own."""
    user: str = ""
    """Who it is, for the access log."""
    counters: tuple[Counter, ...] = ()
    """Incremented by the shell at every request that this answer allows."""
    valid_until: float = 0.0
    """Unix time until which the same headers get the same answer on `is_ordinary` paths; 0 = never reuse."""
    via: str = ""
    """Why, in a word, for traces: `session`, `public`, `pass_through`, `refreshed`, ..."""
    note: Note | None = None
    """For the flight recorder."""


class Respond(_Discreet, frozen=True, kw_only=True, eq=False):
    """The filter answers. Framing headers (`content-length`) are the shell's."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    """Lower-case names, in the order in which they are sent."""
    body: bytes = b""
    details: str = ""
    """%RESPONSE_CODE_DETAILS%, whitespace replaced by the shell."""
    flight: str = ""
    """A short code that a person sees and an operator finds in the flight recorder; empty if there is none."""
    local_reply: bool = False
    """True: an answer of Envoy's sendLocalReply, to which a route's response headers are added; a redirect is none."""
    health_check: bool = False
    """True: the answer to a health check, which counters of answers and quiet access logs leave out."""
    note: Note | None = None
    """For the flight recorder."""


class Fetch(_Discreet, frozen=True, kw_only=True):
    """One HTTP request to a provider. Exactly one of `url` (native) and `cluster` (Envoy) says where."""

    method: str
    url: str = ""
    """Absolute https:// or http:// URL."""
    cluster: str = ""
    path: str = ""
    """Path and query, with `cluster`."""
    authority: str = ""
    """Host header, with `cluster`."""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    timeout: float
    """Seconds for everything, connection and retries included."""
    retries: int = 0
    """How often to try again on a transport failure or a 5xx answer."""
    retry_base_interval: float = 0.025
    retry_max_interval: float = 0.25
    repeatable: bool = False
    """Nothing is lost if it arrives twice, though it is no GET."""
    http2: bool = False
    """With `url`: over HTTP/2, without asking first. A cluster knows what it speaks."""
    purpose: str = ""
    """For logs and traces: `discovery`, `jwks`, `token`, `refresh`, `userinfo`, `revocation`."""


class Fetched(_Discreet, frozen=True, kw_only=True):
    """The answer, and the time it came."""

    status: int
    headers: Headers
    body: bytes
    now: float
    trailers: Headers = msgspec.field(default_factory=Headers)


NO_HOST: Final = "no healthy upstream"


class FetchFailed(Exception):
    """No usable answer: no connection, a timeout, a broken response. Thrown into the flow.

    `reason` is for people, without secrets; `kind` is `connect`, `timeout`, `protocol`, `too_large` or `no_cluster`;
    `now` is the time it failed; `transport` is why a connection failed, in Envoy's words.
    """

    def __init__(
        self, kind: str, reason: str, now: float, cause: BaseException | None = None, transport: str = ""
    ) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.now = now
        self.cause = cause
        self.transport = transport


Flow = Generator[Fetch, Fetched, "Allow | Respond"]


class Shared(_Discreet, frozen=True, kw_only=True):
    """A flow's outcome for other processes."""

    sealed: bytes
    """Nobody reads it without the keys that open sessions."""
    grace: float
    """Seconds for which it answers those who come late."""


class Start(_Discreet, frozen=True, kw_only=True, eq=False):
    """Something must be fetched first."""

    flow: Flow
    single_flight: bytes = b""
    """Not empty: one flow at a time for this key; whoever else comes shares its outcome (a refresh token that rotates
    may be used only once). Who comes later is the flow's own business: its first step looks for a recent outcome."""
    purpose: str = ""
    follow: Callable[[Allow | Respond], Allow | Respond] | None = None
    """What whoever waited for another request's flow of the same key gets, given that flow's result: the outcome
    is shared, but each request has its own headers and URL. None: the result itself."""
    share: Callable[[], Shared | None] | None = None
    """The outcome after the flow ended, for those in other processes whose flow has the same key; None: it has none."""
    adopt: Callable[[bytes], Allow | Respond | None] | None = None
    """What this request gets, given what another process's `share` sealed; None: it can't be opened, run the flow."""
    longest: float = limits.LEASE_TIME
    """Seconds that the flow can take; whoever runs it for longer counts as lost."""


Decision = Allow | Respond | Start


class Filter(Protocol):
    """One link of a listener's chain."""

    def decide(self, request: Request, now: float) -> Decision:
        """Judge one request. Never raises for anything a client can send."""

    def is_ordinary(self, path: str) -> bool:
        """True if the answer depends on the connection, the method and the headers alone, so that an `Allow` may be
        reused for this path.

        `path` is the normalised path without query. False for the callback, sign-out and any path a rule names.
        """

    def reads(self) -> frozenset[str]:
        """The request headers (lower case) that an `Allow` for an ordinary path depends on, or that it edits.

        Requests that differ in other headers only may share it. Host, and what `request_headers_to_strip` names, need
        not be listed.
        """

    def request_headers_to_strip(self) -> frozenset[str]:
        """Identity headers (lower case, `-`) removed from every request, also when spelt with `_`, before `decide`."""
