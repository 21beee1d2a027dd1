"""`curl -v`, `openssl s_client`, nslookup and their like, pasted: what somebody tried by hand, and how it went."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.doctor.facts.connection import Attempted, ConnectFailed
from ostiary.doctor.facts.dns import ResolutionFailed
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.tls import HandshakeFailed
from ostiary.doctor.logs.pattern import Found, Pattern
from ostiary.doctor.logs.wording import errno_of, family_of, handshake_fault, resolution_fault, stage_of, tls_detail


def _connected(found: Found) -> Iterator[Fact]:
    address = found["address"]
    yield Attempted(
        origin=found.origin, address=address, port=int(found["port"]) & 0xFFFF, family=family_of(address),
        outcome="connected", target=f"{found['host']}:{found['port']}",
    )  # fmt: skip


def _failed(found: Found) -> Iterator[Fact]:
    address, errno = found["address"], errno_of(found["why"])
    if errno:
        yield Attempted(
            origin=found.origin, address=address, port=int(found["port"] or 443) & 0xFFFF, family=family_of(address),
            outcome="timeout" if errno == "ETIMEDOUT" else "failed", stage=stage_of(errno), errno=errno,
        )  # fmt: skip


def _unresolved(found: Found) -> Iterator[Fact]:
    yield ResolutionFailed(origin=found.origin, name=found["name"], fault=resolution_fault(found["why"]), who="curl")


def _refused(found: Found) -> Iterator[Fact]:
    errno = errno_of(found["why"]) or ("ETIMEDOUT" if found["code"] == "28" else "")
    if errno:
        yield ConnectFailed(origin=found.origin, target=f"{found['host']}:{found['port']}", errno=errno)


def _handshake(found: Found) -> Iterator[Fact]:
    why = found["why"]
    yield HandshakeFailed(
        origin=found.origin, target="", fault=handshake_fault(why), detail=tls_detail(why), who="curl"
    )


PATTERNS: Final = (
    Pattern(
        words=(r"\* Connected to ",),
        expression=r"^\* Connected to (?P<host>\S+) \((?P<address>[0-9a-fA-F.:]+)\) port (?P<port>\d+)",
        facts=_connected,
    ),
    Pattern(
        words=(r"\* connect to ", r"\* Immediate connect fail for "),
        expression=r"^\* (?:connect to|Immediate connect fail for) (?P<address>[0-9a-fA-F.:]+)(?: port (?P<port>\d+))?"
        r"(?: from \S+ port \d+)?(?: failed)?: (?P<why>.*)",
        facts=_failed,
    ),
    Pattern(
        words=("Could not resolve host",),
        expression=r"^(?:\* |curl: \(6\) )(?P<why>Could not resolve host): (?P<name>[\w.-]+)",
        facts=_unresolved,
    ),
    Pattern(
        words=(r"curl: \((?:7|28)\) Failed to connect to",),
        expression=r"^curl: \((?P<code>7|28)\) Failed to connect to (?P<host>\S+) port (?P<port>\d+)[^:]*: (?P<why>.*)",
        facts=_refused,
    ),
    Pattern(
        words=(r"curl: \((?:35|60)\)",),
        expression=r"^curl: \((?:35|60)\) (?P<why>.*)",
        facts=_handshake,
    ),
    Pattern(
        words=(r"\* SSL certificate problem",), expression=r"^\* SSL (?P<why>certificate problem: .*)", facts=_handshake
    ),
    Pattern(
        words=("server can't find ",),
        expression=r"^\*\* server can't find (?P<name>[\w.-]+?)\.?: (?P<why>NXDOMAIN|SERVFAIL|REFUSED)",
        facts=_unresolved,
    ),
    Pattern(
        words=("unable to resolve host address",),
        expression=r"^wget: (?P<why>unable to resolve host) address .(?P<name>[\w.-]+)",
        facts=_unresolved,
    ),
    Pattern(
        words=("no servers could be reached",),
        expression=r"^;; (?P<why>connection timed out); no servers could be reached(?P<name>)",
        facts=_unresolved,
    ),
    Pattern(words=(r"verify error:num=\d+",), expression=r"^verify error:num=\d+:(?P<why>.*)", facts=_handshake),
    Pattern(
        words=(r":SSL routines:[\w ]*:",),
        expression=r"^[0-9A-F]{6,}:error:[0-9A-F]+:SSL routines:(?P<why>.*)",
        facts=_handshake,
    ),
)
