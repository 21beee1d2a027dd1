"""W3C Trace Context (traceparent, tracestate), and which requests are recorded.

A request that nobody records must cost next to nothing: there is no object for it, only the line that tells the
application so. With a parent its `traceparent` goes on as it came, for without a span here the caller's is the
application's nearest one (section 3.1 allows it).

What doesn't follow the rules begins a new trace: an invalid or repeated `traceparent` takes its `tracestate` along
(sections 3.2 and 3.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from ostiary._version import __version__
from ostiary.core.decision import Entropy
from ostiary.core.header_lines import HeaderLine
from ostiary.model.telemetry import Tracing

if TYPE_CHECKING:
    from ostiary.core.flights.parts import Call
    from ostiary.core.trace import ConnectTrace

SDK_ATTRIBUTES: Final = (
    ("telemetry.sdk.name", "ostiary"),
    ("telemetry.sdk.language", "python"),
    ("telemetry.sdk.version", __version__),
)
"""Of every resource: who made the data."""
_PARENT: Final = b"traceparent"
_STATE: Final = b"tracestate"
_CONTEXT: Final = frozenset((_PARENT, _STATE))
_HEX: Final = b"0123456789abcdef"
_LENGTH: Final = 55
_PARENT_AT: Final = len(b"traceparent: ")
_STATE_AT: Final = _PARENT_AT + _LENGTH + len(b"\r\ntracestate: ")
_NO_TRACE: Final = b"0" * 32
_NO_SPAN: Final = b"0" * 16
_SAMPLED: Final = 1
_KNOWN_FLAGS: Final = 3
"""Sampled, and (level 2) that the trace id is random. Others must not be passed on."""
_EVERYTHING: Final = 2**64
_MAX_STATE: Final = 512
"""Characters of tracestate that have to be passed on (section 3.3.1.5); more is dropped."""

Parent = tuple[bytes, bytes, int]
"""Trace id and span id in hex, and flags."""


def parse_traceparent(value: bytes) -> Parent | None:
    """A traceparent of this or a later version (section 3.2), or None if it is invalid."""
    if len(value) != _LENGTH and (len(value) < _LENGTH or value[:2] == b"00" or value[_LENGTH : _LENGTH + 1] != b"-"):
        return None
    head = value[:_LENGTH]
    if head.translate(None, _HEX) != b"---" or not (head[2] == head[35] == head[52] == 0x2D) or head[:2] == b"ff":
        return None
    trace, span = head[3:35], head[36:52]
    if trace == _NO_TRACE or span == _NO_SPAN:
        return None
    return trace, span, int(head[53:], 16) & _KNOWN_FLAGS


def context_fields(lines: bytes) -> dict[str, str]:
    """The header lines that a Propagator wrote, by name."""
    fields = {"traceparent": lines[_PARENT_AT : _PARENT_AT + _LENGTH].decode("latin-1")}
    if len(lines) > _STATE_AT:
        fields["tracestate"] = lines[_STATE_AT:-2].decode("latin-1")
    return fields


def _parent(lines: list[HeaderLine]) -> Parent | None:
    """Of the one line that says it."""
    given = [line.value for line in lines if line.name == _PARENT]
    return parse_traceparent(given[0]) if len(given) == 1 else None


@final
class SpanContext:
    """A request that is recorded. Ids are hex digits."""

    __slots__ = ("calls", "connects", "forwarded_at", "parent", "span", "state", "trace", "upstream")

    def __init__(self, trace: bytes, parent: bytes, span: bytes, upstream: bytes, state: bytes) -> None:
        self.trace = trace
        self.parent = parent
        """Empty: the trace begins here."""
        self.span = span
        self.upstream = upstream
        """Of the span of the upstream's part; empty if there is none."""
        self.state = state
        self.forwarded_at = 0.0
        """Monotonic seconds; 0: it went nowhere."""
        self.connects: list[ConnectTrace] = []
        """Connections that were made for it."""
        self.calls: list[Call] = []
        """What a sign-in asked the provider for it."""


@final
class Propagator:
    """Decides what becomes of a request's trace context."""

    __slots__ = ("_below", "_continues", "_entropy", "_gate_below", "_parent_based", "_spawns")

    def __init__(self, tracing: Tracing, entropy: Entropy) -> None:
        """`entropy` makes ids, which are no secrets."""
        self._entropy = entropy
        self._continues = not tracing.restart
        self._parent_based = tracing.parent_based
        self._spawns = tracing.spawn_upstream_span
        self._below = round(tracing.sampling * 2**64)
        self._gate_below = round(tracing.gate * 2**64)

    def follow(self, lines: list[HeaderLine]) -> tuple[bytes, SpanContext | None]:
        """The header lines that the application gets, and the context if the request is recorded."""
        if self._continues:
            given = [line for line in lines if line.name in _CONTEXT]
            if given and (parent := _parent(given)) is not None:
                return self._child(parent, given)
        ids = self._entropy(32).hex().encode()
        trace, span = ids[:32], ids[32:48]
        if not self._samples(trace):
            return b"traceparent: 00-%b-%b-00\r\n" % (trace, span), None
        context = SpanContext(trace, b"", span, ids[48:] if self._spawns else b"", b"")
        return b"traceparent: 00-%b-%b-01\r\n" % (trace, context.upstream or span), context

    def _child(self, parent: Parent, lines: list[HeaderLine]) -> tuple[bytes, SpanContext | None]:
        trace, above, flags = parent
        state = b""
        if len(lines) > 1:
            state = b",".join([line.value for line in lines if line.name == _STATE and line.value])
            if len(state) > _MAX_STATE:
                state = b""
        tail = b"tracestate: %b\r\n" % state if state else b""
        by_parent = flags & _SAMPLED and self._passes(trace)
        if not (by_parent if self._parent_based else self._samples(trace)):
            flags &= ~_SAMPLED
            return b"traceparent: 00-%b-%b-%02x\r\n%b" % (trace, above, flags, tail), None
        ids = self._entropy(16).hex().encode()
        context = SpanContext(trace, above, ids[:16], ids[16:] if self._spawns else b"", state)
        span = context.upstream or context.span
        return b"traceparent: 00-%b-%b-%02x\r\n%b" % (trace, span, flags | _SAMPLED, tail), context

    def _samples(self, trace: bytes) -> bool:
        """By the trace id's random part, as OpenTelemetry's TraceIdRatioBased: every service decides alike."""
        return (self._below == _EVERYTHING or int(trace[16:], 16) < self._below) and self._passes(trace)

    def _passes(self, trace: bytes) -> bool:
        """The same digits from behind, so that one share of the other share is what it says."""
        return self._gate_below == _EVERYTHING or int(trace[:15:-1], 16) < self._gate_below
