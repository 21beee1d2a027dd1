"""What a name may be: tokens (methods, field names) and authorities (Host)."""

from __future__ import annotations

from typing import Final

_TOKEN: Final = frozenset("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_HOST: Final = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-._~!$&'()*+,;=%[]:")
"""reg-name, IP-literal and port of RFC 3986 section 3.2; user information is not allowed in a request."""
_MAX_PORT: Final = 65535


def is_token(text: str) -> bool:
    """True for a token of RFC 9110 section 5.6.2: a method, a field name."""
    return bool(text) and _TOKEN.issuperset(text)


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
