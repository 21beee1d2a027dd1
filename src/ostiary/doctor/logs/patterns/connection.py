"""Envoy connecting: attempts and their ends (`joining` says whose they were), and what its router says of a reset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from ostiary.doctor.facts.connection import ConnectFailed, NoHealthyHost, Overflowed
from ostiary.doctor.facts.origin import Fact, Origin
from ostiary.doctor.facts.provider import ProtocolMismatch
from ostiary.doctor.facts.tls import HandshakeFailed
from ostiary.doctor.logs.pattern import Found, Pattern
from ostiary.doctor.logs.wording import errno_of, handshake_fault, speaks_of_tls, tls_detail

_ADDRESS: Final = r"(?:\[(?P<six>[0-9a-fA-F:.%\w]+)\]|(?P<four>[\d.]+)):(?P<port>\d+)"
_REASONS: Final = {
    "connection timeout": "ETIMEDOUT",
    "connection termination": "ECONNRESET",
    "remote reset": "ECONNRESET",
}


def reset_facts(reason: str, transport: str, target: str, origin: Origin, *, for_provider: bool) -> Iterator[Fact]:
    """What `reset reason: R, transport failure reason: T` says of a call to `target`."""
    reason = " ".join(reason.replace("_", " ").split())
    errno = errno_of(transport) or _REASONS.get(reason, "")
    if not for_provider:
        # only what the kernel said: that a peer closes an idle connection happens every day
        yield ConnectFailed(origin=origin, target=target, errno=errno_of(transport), for_provider=False)
    elif reason == "overflow":
        yield Overflowed(origin=origin, target=target)
    elif reason == "protocol error":
        yield ProtocolMismatch(origin=origin, target=target, detail=reason)
    elif speaks_of_tls(transport) and not errno_of(transport):
        yield HandshakeFailed(
            origin=origin, target=target, fault=handshake_fault(transport), detail=tls_detail(transport)
        )
    elif reason != "local reset":
        established = reason == "connection termination"
        yield ConnectFailed(origin=origin, target=target, errno=errno, established=established)


def _dispatched(found: Found) -> None:
    found.join.dispatched(found.record)


def _routes(found: Found) -> None:
    found.join.routes(found.record, found["cluster"], found["path"])


def _address(found: Found) -> tuple[str, int]:
    return found["six"] or found["four"], int(found["port"] or 0) & 0xFFFF


def _connects(found: Found) -> None:
    found.join.connects(found.record, *_address(found), found.origin)


def _client(found: Found) -> None:
    address, port = _address(found)
    found.join.client_came(found.record, f"{address}:{port}")


def _races(found: Found) -> None:
    if found.record.connection:
        found.join.race(found.record, found.record.connection)


def _race_tries(found: Found) -> None:
    found.join.race_tries(found.record, found["race"], *_address(found), found.origin)


def _connected(found: Found) -> Iterable[Fact]:
    return found.join.connected(found.record)


def _fails(found: Found) -> Iterable[Fact]:
    return found.join.fails(found.record, found["error"], found.origin, *_address(found))


def _tls_fails(found: Found) -> Iterable[Fact]:
    if found.record.format == "text" and not found.record.connection and not found["port"]:
        return ()  # `tls.PATTERNS` knows what to make of it
    return found.join.fails(found.record, "TLS error " + found["error"], found.origin, *_address(found))


def _pool_failed(found: Found) -> Iterable[Fact]:
    return found.join.pool_failed(found.record, found["error"], found.origin) if found["error"].strip() else ()


def _pool_timeout(found: Found) -> Iterable[Fact]:
    return found.join.pool_timeout(found.record, found.origin)


def _upstream_reset(found: Found) -> Iterable[Fact]:
    call = found.join.call_of(found.record)
    provider = call.for_provider if call is not None else found.record.connection == "0"
    if call is not None and call.purpose == "control":
        return ()
    target = call.cluster if call is not None else ""
    return reset_facts(found["reason"], found["transport"], target, found.origin, for_provider=provider)


def _no_host(found: Found) -> Iterable[Fact]:
    call = found.join.call_of(found.record)
    if call is not None and call.for_provider:
        yield NoHealthyHost(origin=found.origin, target=call.cluster)


PATTERNS: Final = (
    Pattern(
        words=("Dispatching OAuth request",), expression=r"^Dispatching OAuth request", facts=_dispatched, joins=True
    ),
    Pattern(
        words=("' match for URL",),
        expression=r"^cluster '(?P<cluster>[^']*)' match for URL '(?P<path>[^'?]*)",
        facts=_routes,
        joins=True,
        context=True,
    ),
    Pattern(words=(r"connections=\d",), expression=r"^connections?=\d+", facts=_races, joins=True, context=True),
    Pattern(
        words=(r"C\[\d+\] address=",),
        expression=rf"^C\[(?P<race>\d+)\] address={_ADDRESS}",
        facts=_race_tries,
        joins=True,
    ),
    Pattern(
        words=("connecting to ",), expression=rf"^connecting to {_ADDRESS}", facts=_connects, joins=True, context=True
    ),
    Pattern(
        words=("new connection from ",),
        expression=rf"^new connection from {_ADDRESS}",
        facts=_client,
        joins=True,
        context=True,
    ),
    Pattern(words=(r"\bconnected\b",), expression=r"^connected$", facts=_connected, joins=True, context=True),
    Pattern(
        words=("immediate connect error", "delayed connect error"),
        expression=rf"^(?:immediate|delayed) connect error: (?P<error>[^|]*)(?:\|remote address:{_ADDRESS})?",
        facts=_fails,
        joins=True,
    ),
    Pattern(
        words=("TLS.error",),
        expression=rf"^(?:remote address:{_ADDRESS},)?TLS.error:(?P<error>.*)",
        facts=_tls_fails,
        joins=True,
    ),
    Pattern(
        words=(r"client disconnected, failure reason: [^\s\\\"]",),
        expression=r"^client disconnected, failure reason: (?P<error>\S.*)",
        facts=_pool_failed,
        joins=True,
    ),
    Pattern(words=("connect timeout",), expression=r"^connect timeout$", facts=_pool_timeout, joins=True),
    Pattern(
        words=("upstream reset: reset reason",),
        expression=r"^upstream reset: reset reason:? (?P<reason>[^,]*)"
        r"(?:, transport failure reason: ?(?P<transport>.*))?",
        facts=_upstream_reset,
        joins=True,
    ),
    Pattern(
        words=("no healthy host for HTTP connection pool",),
        expression=r"^no healthy host for HTTP connection pool",
        facts=_no_host,
        joins=True,
    ),
)
