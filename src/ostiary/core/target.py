"""What people write to name a place on the network: a URL, `HOST:PORT`, an address of a DNS server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

_SCHEMES: Final = {"https": (443, True), "wss": (443, True), "http": (80, False), "ws": (80, False)}
_PASSWORD: Final = re.compile(r"//[^/]*@")
"""Who is named before the host; nobody's password belongs into an error."""
_SLASHES: Final = re.compile(r"^(https?|wss?):?/+", re.IGNORECASE)
_MAX_PORT: Final = 65535
_DNS_PORT: Final = 53


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect."""

    host: str
    port: int
    tls: bool | None
    """Whether the URL's scheme asks for TLS; None for HOST:PORT, which doesn't say."""


def parse_target(text: str) -> Target:
    """Read a URL (https, http, wss, ws) or HOST:PORT; an IPv6 address stands in brackets. Raises ValueError."""
    text = text.strip()
    shown = _PASSWORD.sub("//...@", text)
    if "://" not in text:
        if "@" in text:
            raise ValueError("a user or a password before the host has no meaning here: write HOST:PORT or a URL")
        if "/" in text:
            likely = _SLASHES.sub("", text, count=1).lstrip("/")
            raise ValueError(f"{text!r} is neither HOST:PORT nor a URL: write https://{likely}")
        host, port = _split(text)
        if port is None:
            raise ValueError(f"{text!r} has no port: write {text or 'HOST'}:443, or a URL")
        return Target(_host(host, text), port, None)
    scheme = text.split("://", 1)[0].lower()
    if scheme not in _SCHEMES:
        raise ValueError(f"{scheme!r} is not a scheme that can be connected to: use https or http")
    default, tls = _SCHEMES[scheme]
    try:
        parts = urlsplit(text)
        url_port = parts.port
    except ValueError as error:
        raise ValueError(f"{shown!r} is not a URL: {error}") from error
    return Target(_host(parts.hostname or "", shown), default if url_port is None else url_port, tls)


def parse_nameserver(text: str) -> tuple[str, int]:
    """Read IP[:PORT] of a DNS server (53 if none is given). Raises ValueError."""
    if text.count(":") > 1 and not text.startswith("["):
        host, port = text, None
    else:
        host, port = _split(text)
    try:
        ip_address(host)
    except ValueError:
        raise ValueError(f"{text!r} is not the IP address of a DNS server (write IP, IP:PORT or [IPV6]:PORT)") from None
    return host, _DNS_PORT if port is None else port


def _split(text: str) -> tuple[str, int | None]:
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is not [IPV6]:PORT")
        return host, _port(rest[1:], text) if rest else None
    host, colon, port = text.partition(":")
    if ":" in port:
        raise ValueError(f"{text!r}: put an IPv6 address in brackets, as in [{text}]:443")
    return host, _port(port, text) if colon else None


def _port(digits: str, text: str) -> int:
    if not (digits.isascii() and digits.isdigit()) or not 0 < int(digits[:6]) <= _MAX_PORT:
        raise ValueError(f"{text!r}: {digits!r} is not a port (1 to {_MAX_PORT})")
    return int(digits)


def _host(host: str, text: str) -> str:
    if not host or any(character.isspace() or character in "/@?#" for character in host):
        raise ValueError(f"{text!r} names no host")
    return host
