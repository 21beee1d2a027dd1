"""What a request's head may look like, and which of its headers are never believed.

`head_fault` is the answer to request smuggling: a head that two parsers could frame differently is refused, whatever
the parser before it let through. It accepts what is known to be good and names the first thing that is not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ostiary.model import limits
from ostiary.model.headers import Headers

_TOKEN: Final = frozenset("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_NOT_IN_VALUE: Final = frozenset((*map(chr, (*range(0x09), *range(0x0A, 0x20), 0x7F)),))
_HOST: Final = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-._~!$&'()*+,;=%[]:")
"""reg-name, IP-literal and port of RFC 3986 section 3.2; user information is not allowed in a request."""
_MAX_LENGTH_DIGITS: Final = 18
_MAX_PORT: Final = 65535


def without_identity_headers(headers: Headers, names: frozenset[str]) -> Headers:
    """The headers a client may send: none of `names` (lower case, `-`), however `-` is spelt (`X_Forwarded_User`)."""
    return Headers.of([item for item in headers if item[0].replace("_", "-") not in names])


def is_token(text: str) -> bool:
    """True for a token of RFC 9110 section 5.6.2: a method, a field name."""
    return bool(text) and _TOKEN.issuperset(text)


def head_fault(method: str, version: str, headers: Iterable[tuple[str, str]]) -> str | None:
    """Why a parsed request head must be refused (400), or None if it is sound (RFC 9112 sections 3.2, 6.1, 6.3).

    `version` is `1.0` or `1.1`; names may have any case.
    """
    if not is_token(method):
        return "invalid method"
    if version not in ("1.0", "1.1"):
        return "unsupported HTTP version"
    fields: dict[str, list[str]] = {}
    for number, (name, value) in enumerate(headers, start=1):
        if number > limits.MAX_HEADERS_COUNT:
            return "too many headers"
        if not is_token(name):
            return "invalid header name"
        if not (_NOT_IN_VALUE.isdisjoint(value) and value == value.strip(" \t")):
            return "invalid header value"
        fields.setdefault(name.lower(), []).append(value)
    return _framing_fault(version, fields) or _host_fault(version, fields.get("host", []))


def _framing_fault(version: str, fields: dict[str, list[str]]) -> str | None:
    lengths = fields.get("content-length", [])
    codings = fields.get("transfer-encoding", [])
    if len(lengths) > 1:
        return "duplicate content-length"
    if lengths and not (lengths[0].isascii() and lengths[0].isdigit() and len(lengths[0]) <= _MAX_LENGTH_DIGITS):
        return "invalid content-length"
    if lengths and codings:
        return "content-length and transfer-encoding"
    if len(codings) > 1:
        return "duplicate transfer-encoding"
    if codings and version != "1.1":
        return "transfer-encoding before HTTP/1.1"
    if codings and codings[0].lower() != "chunked":
        return "unsupported transfer-encoding"
    return None


def _host_fault(version: str, hosts: list[str]) -> str | None:
    if len(hosts) > 1:
        return "duplicate host"
    if not hosts:
        return "missing host" if version == "1.1" else None
    return None if is_valid_authority(hosts[0]) else "invalid host"


def is_valid_authority(authority: str) -> bool:
    """True for `host`, `host:port`, `[v6]`, `[v6]:port` of allowed characters; an empty host is not one."""
    if not authority or not _HOST.issuperset(authority):
        return False
    host, bracket, port = authority, "", ""
    if authority.startswith("["):
        host, bracket, port = authority[1:].partition("]")
        if not bracket or not host or (port and not port.startswith(":")):
            return False
        port = port[1:]
    else:
        host, _, port = authority.partition(":")
    if not host or "[" in host or "]" in host or not port.isascii():
        return False
    return not port or (port.isdigit() and len(port) <= len(str(_MAX_PORT)) and int(port) <= _MAX_PORT)
