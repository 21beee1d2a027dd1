"""What programs call the same thing: errors of sockets, TLS and DNS, and a provider's answer, as facts name them."""

from __future__ import annotations

import re
from typing import Final, Literal

from ostiary.core.addresses import Family
from ostiary.core.redaction import without_credentials
from ostiary.doctor.facts.dns import ResolutionFault
from ostiary.doctor.facts.tls import HandshakeFault

Body = Literal["json", "html", "text", "empty", "unknown"]

_ERRNO_TEXTS: Final = {
    "network is unreachable": "ENETUNREACH",
    "network unreachable": "ENETUNREACH",
    "no route to host": "EHOSTUNREACH",
    "host is unreachable": "EHOSTUNREACH",
    "connection refused": "ECONNREFUSED",
    "connection timed out": "ETIMEDOUT",
    "operation timed out": "ETIMEDOUT",
    "connection reset by peer": "ECONNRESET",
    "connection reset": "ECONNRESET",
    "broken pipe": "ECONNRESET",
    "permission denied": "EACCES",
    "operation not permitted": "EPERM",
    "cannot assign requested address": "EADDRNOTAVAIL",
    "address family not supported": "EAFNOSUPPORT",
    "invalid argument": "EINVAL",
    "i/o timeout": "ETIMEDOUT",
}
_ERRNO_NUMBERS: Final = {
    1: "EPERM", 13: "EACCES", 22: "EINVAL", 97: "EAFNOSUPPORT", 99: "EADDRNOTAVAIL", 101: "ENETUNREACH",
    104: "ECONNRESET", 110: "ETIMEDOUT", 111: "ECONNREFUSED", 113: "EHOSTUNREACH",
}  # fmt: skip
"""Linux: what old Envoys, nginx and Python print."""
_NAME: Final = re.compile(r"\bE[A-Z]{4,}\b")
_LOCAL: Final = frozenset(("ENETUNREACH", "EADDRNOTAVAIL", "EAFNOSUPPORT", "EINVAL"))


def errno_of(text: str) -> str:
    """The errno's name in a text (`Network is unreachable`, `101`, `ENETUNREACH`); empty if there is none."""
    plain = text.replace("_", " ").lower()
    for words, name in _ERRNO_TEXTS.items():
        if words in plain:
            return name
    if (found := _NAME.search(text)) is not None:
        return found[0]
    number = re.search(r"(?:^|error: |errno[ =]|\()(\d{1,3})\b", plain.strip())
    return _ERRNO_NUMBERS.get(int(number[1]), "") if number is not None else ""


def stage_of(errno: str) -> Literal["route", "tcp"]:
    """Whether an errno of connect() came from this host or from the network."""
    return "route" if errno in _LOCAL else "tcp"


_TLS: Final[tuple[tuple[HandshakeFault, tuple[str, ...]], ...]] = (
    ("not-yet-valid", ("is not yet valid: current time", "not yet valid")),
    ("client-certificate", ("alert certificate expired",)),  # the peer's word about ours
    ("expired", ("has expired", "is expired", "cert expired", "certificate expired", "expired certificate")),
    ("name-mismatch", ("verify san list", "san matcher", "hostname mismatch", "altname invalid", "does not match",
                       "certificate is valid for", "not valid for", "no alternative certificate", "doesn't match",
                       "cannot validate certificate for", "verify subject alt name", "ip address mismatch")),
    ("not-tls", ("wrong version number", "first record does not look like a tls", "gave http response to https",
                 "packet length too long", "unknown protocol", "http request", "record layer failure")),
    ("unrecognized-name", ("unrecognized name", "unrecognised")),
    ("client-certificate", ("certificate required", "bad certificate", "no required ssl certificate",
                            "alert unknown ca", "did not return a certificate", "unknown certificate authority",
                            "certificate unknown")),
    ("version", ("unsupported protocol", "protocol version", "no supported versions", "unsupported versions",
                 "handshake failure", "no shared cipher", "no ciphers", "cipher mismatch", "insufficient security")),
    ("silent", ("tls handshake timeout", "handshake timed out", "handshake timeout", "handshake operation timed out")),
    ("untrusted-ca", ("certificate verify failed", "local issuer", "self signed", "self-signed", "unknown authority",
                      "unable to verify", "unable to get issuer", "issuer certificate", "not trusted", "untrusted",
                      "invalid ca", "certificate problem", "certificate verification error", "unknown ca",
                      "pkix path", "unhandled critical extension", "name constraint", "not authorized to sign",
                      "x509: ")),
    ("closed", ("unexpected eof", "ssl error syscall", "eof during handshake", "connection closed")),
)  # fmt: skip
_EXPIRED: Final = "has expired or is not yet valid"
_TLS_SIGN: Final = re.compile(r"TLS_error|TLS error|SSL|x509|[Tt]ls:|certificate|CERT", re.ASCII)


def speaks_of_tls(text: str) -> bool:
    """Whether an error text comes from TLS."""
    return _TLS_SIGN.search(text) is not None


def handshake_fault(text: str) -> HandshakeFault:
    """What went wrong in a handshake, by any library's words."""
    plain = " ".join(text.lower().replace("_", " ").split())
    if _EXPIRED in plain:  # Go's sentence has both; the times behind it say which
        return "not-yet-valid" if " is before " in plain else "expired"
    return next((fault for fault, phrases in _TLS if any(phrase in plain for phrase in phrases)), "other")


_LONGEST: Final = 200
_UNSTEADY: Final = re.compile(
    r"\s*(?:Trace ID|Correlation ID|Timestamp): \S+(?: \d\d:\d\d:\d\dZ)?|(?<=\d):\d{4,5}(?=->)"
    r"|\s*(?:\(Token Expiry: [^)]*\)|: current time .* is (?:after|before) \S+)"
)


def steady(text: str) -> str:
    """A message without what is different each time (traces, times, local ports), so that equal failures are equal."""
    return " ".join(_UNSTEADY.sub("", text).split())[:_LONGEST]


_TLS_WRAPPING: Final = re.compile(r"^TLS.error:?[|\s]*|:?TLS.error.end.*$|(?<!\d)\d{6,10}:(?=SSL|system)", re.DOTALL)


def tls_detail(text: str) -> str:
    """A TLS error's own words, without what Envoy puts around them."""
    return steady(_TLS_WRAPPING.sub("", text.strip()))


_CARES: Final[dict[int, ResolutionFault]] = {
    1: "no-data", 2: "server-failure", 3: "server-failure", 4: "not-found", 5: "server-failure", 6: "refused",
    8: "not-found", 10: "server-failure", 11: "no-answer", 12: "no-answer", 16: "no-answer",
}  # fmt: skip


def cares_fault(status: str) -> ResolutionFault | None:
    """The fault behind a c-ares status (`4`, `0x0004`); None for one that is none (a filtered family, a shutdown).

    16 is a shutdown's too; those old Envoys that print decimal numbers said it of answers that they could not use.
    """
    number = int(status, 16) if status.startswith("0x") else int(status)
    return None if status == "0x0010" else _CARES.get(number)


_RESOLUTION: Final[tuple[tuple[ResolutionFault, tuple[str, ...]], ...]] = (
    ("no-answer", ("connection refused", "unreachable")),
    ("not-found", ("no such host", "not known", "enotfound", "nxdomain", "host not found", "could not resolve",
                   "unable to resolve", "(3:", "domain name not found", "no address associated",
                   "nodename nor servname")),
    ("server-failure", ("server misbehaving", "servfail", "server failure", "(2:")),
    ("refused", ("refused", "(5:")),
    ("no-answer", ("timeout", "timed out", "temporary failure", "eai again", "try again", "no answer", "(110:")),
)  # fmt: skip


def resolution_fault(text: str) -> ResolutionFault:
    """What went wrong with a name, by a resolver's words."""
    plain = text.lower().replace("_", " ")
    return next((fault for fault, phrases in _RESOLUTION if any(phrase in plain for phrase in phrases)), "unknown")


_USERINFO: Final = re.compile(r"//[^/?#\s@]*@")


def url_of(text: str) -> str:
    """A URL without whatever in it is a secret: a password before the host, a code or a token behind it."""
    return without_credentials(_USERINFO.sub("//", text))


def family_of(address: str) -> Family:
    """By its look: an IPv6 address has colons."""
    return "v6" if ":" in address else "v4"


_ERROR: Final = re.compile(r'\\?"error\\?"\s*:[\s_]*\\?"([^"\\]+)')
_DESCRIPTION: Final = re.compile(r'\\?"error_description\\?"\s*:[\s_]*\\?"((?:[^"\\]|\\[^"])*)')
_CODES: Final = re.compile(r"AADSTS\d{4,7}")


def provider_codes(text: str) -> tuple[str, ...]:
    """The provider's own codes in a text, each once."""
    return tuple(dict.fromkeys(_CODES.findall(text)))


def oauth_error(body: str) -> tuple[str, str]:
    """`error` and `error_description` of a JSON body, also of one that is cut or has `_` for blanks."""
    error = _ERROR.search(body)
    description = _DESCRIPTION.search(body)
    return (error[1] if error else "", description[1] if description else "")


def body_kind(body: str) -> Body:
    """What a body looks like."""
    text = body.strip().strip("_").lower()
    if not text:
        return "empty"
    if text[0] in '{["' or text.startswith('\\"'):
        return "json"
    return "html" if text[0] == "<" else "text"
