"""Errors of network libraries: Go, Python, Node, and nginx's own, wherever such a program printed them.

Such a line proves something about a provider only if it says whom it was for: by a URL, by TLS's port, or because the
program does nothing else. A database that refuses is a connection that failed, and not for a provider.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.doctor.facts.connection import Attempted, ConnectFailed
from ostiary.doctor.facts.dns import ResolutionFailed
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.provider import Endpoint, NotAnswered
from ostiary.doctor.facts.tls import HandshakeFailed
from ostiary.doctor.logs.pattern import Found, Pattern
from ostiary.doctor.logs.wording import (
    errno_of,
    family_of,
    handshake_fault,
    resolution_fault,
    stage_of,
    tls_detail,
    url_of,
)

_PORTS: Final = frozenset(("443", "8443"))
_SIGNS_IN: Final = frozenset(("oauth2-proxy", "ostiary"))
_SPEAKS_OF_OIDC: Final = ("openid", "oauth", "oidc", "jwks", "/token", "/certs", "login.", "discovery")


def _for_provider(found: Found, port: str) -> bool:
    """Whether a network error may be about a provider."""
    if found.record.program in _SIGNS_IN or port in _PORTS:
        return True
    message = found.record.message
    return "https://" in message or ("http://" in message and any(sign in message for sign in _SPEAKS_OF_OIDC))


def _host_port(found: Found) -> str:
    """`host:port` of the URL in the message; empty if there is none."""
    host = found["host"] or found["urlhost"]
    if not host:
        return ""
    return f"{host}:{found['port'] or found['urlport'] or ('80' if found['scheme'] == 'http' else '443')}"


def _who(found: Found) -> str:
    program = found.record.program
    return "istiod" if program == "istio" else program or "application"


def _lookup(found: Found) -> Iterator[Fact]:
    name = (found["name"] or found["host"] or found["to"]).rstrip(".").strip("'\"")
    if "." not in name and not _for_provider(found, ""):
        return
    fault = resolution_fault(found["why"])
    if fault != "unknown":
        yield ResolutionFailed(origin=found.origin, name=name, fault=fault, who=_who(found))


def _dial(found: Found) -> Iterator[Fact]:
    """An address was tried, and the message says how that ended."""
    address, port, errno = found["six"] or found["four"], found["aport"], errno_of(found["why"])
    if not errno:
        return
    target = _host_port(found)
    if not _for_provider(found, port):
        yield ConnectFailed(origin=found.origin, target=f"{address}:{port}", errno=errno, for_provider=False)
        return
    yield Attempted(
        origin=found.origin, address=address, port=int(port) & 0xFFFF, family=family_of(address),
        outcome="timeout" if errno == "ETIMEDOUT" else "failed", stage=stage_of(errno), errno=errno, target=target,
    )  # fmt: skip


def _unknown_host(found: Found) -> Iterator[Fact]:
    """Java says so of any name that it can't resolve."""
    if "." in found["name"]:
        yield ResolutionFailed(origin=found.origin, name=found["name"], fault="not-found", who=_who(found))


def _dotnet(found: Found) -> Iterator[Fact]:
    if resolution_fault(found["why"]) == "not-found":
        yield from _lookup(found)
    else:
        yield from _host_failed(found)


def _host_failed(found: Found) -> Iterator[Fact]:
    """A host could not be connected to; which of its addresses is not said."""
    errno, target = errno_of(found["why"]), _host_port(found)
    if errno and target:
        yield ConnectFailed(
            origin=found.origin, target=target, errno=errno,
            for_provider=_for_provider(found, target.rpartition(":")[2]),
        )  # fmt: skip


def _cut_off(found: Found) -> Iterator[Fact]:
    """It was up, and the peer ended it. Over https that says nothing of a missing TLS."""
    target = _host_port(found)
    yield ConnectFailed(
        origin=found.origin, target=target, errno="ECONNRESET", established=found["scheme"] == "http",
        for_provider=_for_provider(found, target.rpartition(":")[2]),
    )  # fmt: skip


def _handshake(found: Found) -> Iterator[Fact]:
    if found.record.program == "envoy" or found.record.access:
        return
    why = found["why"]
    yield HandshakeFailed(
        origin=found.origin,
        target=_host_port(found),
        fault=handshake_fault(why),
        detail=tls_detail(why),
        who=_who(found),
    )


def _silent(found: Found) -> Iterator[Fact]:
    url = url_of(found["url"])
    endpoint: Endpoint = "discovery" if "openid-configuration" in url else "jwks" if "keys" in url else "token"
    if found.record.program in _SIGNS_IN or any(sign in url for sign in _SPEAKS_OF_OIDC):
        yield NotAnswered(origin=found.origin, endpoint=endpoint, target=url)


_URL: Final = r"(?P<scheme>https?)://(?P<urlhost>[\w.-]+)(?::(?P<urlport>\d+))?[^\s\"']*"
_DIALLED: Final = r"(?:\[(?P<six>[0-9a-fA-F:.%\w]+)\]|(?P<four>\d+\.\d+\.\d+\.\d+)):(?P<aport>\d+)"

PATTERNS: Final = (
    Pattern(
        words=("dial tcp: lookup ", "dial tcp: address ", r"lookup \S+ on \S+: "),
        expression=rf"(?:{_URL}\"?:? )?(?:dial tcp: )?lookup \[?(?P<name>[\w.-]+)(?:\]\(\S+\))?(?: on \S+)?: "
        r"(?P<why>.*)",
        facts=_lookup,
    ),
    Pattern(
        words=(r"dial tcp [\[\d]",),
        expression=rf"(?:{_URL}\"?:? )?dial tcp {_DIALLED}: (?P<why>connect: [\w\s]+|i/o timeout)",
        facts=_dial,
    ),
    Pattern(
        words=("dial tcp: i/o timeout",),
        expression=rf"{_URL}\\?\"?: dial tcp: (?P<why>i/o timeout)",
        facts=_host_failed,
    ),
    Pattern(
        words=(r"https?://[^\s\"]+\\?\": (?:unexpected )?EOF", "read: connection reset by peer", "write: broken pipe"),
        expression=rf"{_URL}\\?\": (?:(?:unexpected )?EOF\b|(?:read|write) tcp \S+: (?:read|write): )",
        facts=_cut_off,
    ),
    Pattern(
        words=("x509: ", "tls: ", "TLS handshake timeout", "gave HTTP response to HTTPS client"),
        expression=rf"(?:{_URL}\"?:? )(?P<why>(?:remote error: )?(?:tls: |x509: |net/http: TLS |http: server gave ).*)",
        facts=_handshake,
    ),
    Pattern(
        words=("context deadline exceeded", r"Client\.Timeout exceeded", "Read timed out"),
        expression=r"(?:Get|Post) \"(?P<url>https?://[^\"]+)\": (?:context deadline exceeded|net/http: request )",
        facts=_silent,
    ),
    Pattern(
        words=(r"\[Errno \d+\] [A-Z]", r"\[Errno -\d\] [A-Z]"),
        expression=r"host='(?P<host>[\w.-]+)', port=(?P<port>\d+)\).*?(?P<why>\[Errno \d+\] [A-Z][^'\")]*)",
        facts=_host_failed,
    ),
    Pattern(
        words=(r"\[Errno -\d\] [A-Z]",),
        expression=r"(?:host='(?P<host>[\w.-]+)'|resolve '(?P<name>[\w.-]+)'|[Cc]annot connect to host (?P<to>[\w.-]+))"
        r".*?(?P<why>\[Errno -\d\] [A-Z][^'\")]*)",
        facts=_lookup,
    ),
    Pattern(
        words=("Cannot connect to host",),
        expression=r"Cannot connect to host (?P<host>[\w.-]+):(?P<port>\d+) ssl:\S+ \[(?P<why>[^\]]*)",
        facts=_host_failed,
    ),
    Pattern(
        words=("certificate verify failed", "WRONG_VERSION_NUMBER", "SSLCertVerificationError"),
        expression=r"(?:host='(?P<host>[\w.-]+)', port=(?P<port>\d+)\).*?)?(?P<why>\[SSL: \w+\] .*|SSLError\(.*|"
        r"certificate verify failed: .*)",
        facts=_handshake,
    ),
    Pattern(
        words=(r"connect E[A-Z]{4,} [\d\[a-f]",),
        expression=r"connect (?P<why>E[A-Z]{4,}) (?:(?P<four>[\d.]+)|(?P<six>[0-9a-fA-F:.]*:[0-9a-fA-F:.]*))"
        r":(?P<aport>\d+)(?:\s|$)",
        facts=_dial,
    ),
    Pattern(
        words=("UnknownHostException: ",),
        expression=r"UnknownHostException: (?P<name>[\w.-]+)(?P<why>)",
        facts=_unknown_host,
    ),
    Pattern(
        words=("PKIX path building failed",),
        expression=r"(?P<why>PKIX path building failed.*)",
        facts=_handshake,
    ),
    Pattern(
        words=("HttpRequestException: ",),
        expression=r"HttpRequestException: (?P<why>[^(]+) \((?P<host>[\w.-]+):(?P<port>\d+)\)",
        facts=_dotnet,
    ),
    Pattern(
        words=(r"getaddrinfo E(?:NOTFOUND|AI_AGAIN)",),
        expression=r"getaddrinfo (?P<why>ENOTFOUND|EAI_AGAIN) (?P<name>[\w.-]+)",
        facts=_lookup,
    ),
    Pattern(
        words=("SELF_SIGNED_CERT_IN_CHAIN", "DEPTH_ZERO_SELF_SIGNED_CERT", "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
               "UNABLE_TO_GET_ISSUER_CERT", "CERT_HAS_EXPIRED", "ERR_TLS_CERT_ALTNAME_INVALID"),
        expression=r"(?P<why>(?:SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_VERIFY_LEAF_SIGNATURE|"
        r"UNABLE_TO_GET_ISSUER_CERT\w*|CERT_HAS_EXPIRED|ERR_TLS_CERT_ALTNAME_INVALID).*)",
        facts=_handshake,
    ),
    Pattern(
        words=(r"connect\(\) (?:to \S+ )?failed \(\d+:", r"timed out \(110: Connection timed out\)"),
        expression=r"(?:connect\(\) (?:to \S+ )?failed|upstream timed out) \((?P<why>\d+: [^)]*)\) while connecting to "
        rf"upstream.*?upstream: \"(?P<scheme>https?)://{_DIALLED}",
        facts=_dial,
    ),
    Pattern(
        words=(r"connect\(\) to \S+:443 failed \(\d+:",),
        expression=rf"connect\(\) to {_DIALLED} failed \((?P<why>\d+: [^)]*)\), ",
        facts=_dial,
    ),
    Pattern(
        words=("accessing (?:token endpoint|discovery url|jwks url)",),
        expression=rf"accessing (?:token endpoint|discovery url|jwks url) \({_URL}\) failed: (?P<why>[\w\s/]+)",
        facts=_host_failed,
    ),
    Pattern(
        words=(r"SSL_do_handshake\(\) failed",),
        expression=r"SSL_do_handshake\(\) failed \((?P<why>SSL:.*?)\) while SSL handshaking to upstream",
        facts=_handshake,
    ),
)  # fmt: skip
