"""Absolute URLs where a wrong reading would send a person elsewhere, and the list of hosts they may be sent to.

A URL is taken only if every browser reads the same host from it: printable ASCII, a scheme, `//`, and an authority
without `\\` or `%` (browsers take `\\` for `/`).
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from ostiary.core.regex import wire_text

_ABSOLUTE: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*)://"
    r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:%]*@)?"
    r"(?P<host>[A-Za-z0-9\-.]+|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<rest>[/?][\x21-\x7e]*)?"
)

_MAX_PORT: Final = 65535


def host_of(url: str) -> str | None:
    """The host of an absolute URL, without port, user and brackets; None if it is not one."""
    match = _ABSOLUTE.fullmatch(url)
    if match is None or int(match["port"] or 0) > _MAX_PORT:
        return None
    return match["host"].strip("[]")


def target_of(url: str) -> str:
    """Path, query and fragment of an absolute URL; at least `/`."""
    match = _ABSOLUTE.fullmatch(url)
    rest = (match["rest"] or "") if match else ""
    return rest if rest.startswith("/") else "/" + rest


def path_of(target: str) -> str:
    """The path of a request target, without query and fragment."""
    return re.split("[?#]", target, maxsplit=1)[0]


def ascii_target(target: str) -> str:
    """A request target with everything that may not stand in a URL percent-encoded."""
    return quote(target.encode("latin-1"), safe="!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


def split_http_uri(uri: str) -> tuple[str, str]:
    """Host (with port) and path (with query) of a `core.v3.HttpUri`, whose scheme says nothing."""
    rest = uri.partition("://")[2] or uri
    host, slash, path = rest.partition("/")
    return host, slash + path if slash else "/"


def url_encode(text: str) -> str:
    """Percent-encode (latin-1 text) everything but letters, digits, `*`, `-`, `.` and `_`; a space is %20."""
    return quote(text.encode("latin-1"), safe="*").replace("~", "%7E")


def form_encode(text: str) -> str:
    """A value of an `application/x-www-form-urlencoded` body.

    Envoy's spelling, in which harmless punctuation stays, plus the characters it forgets: space % # " ; and those
    that some parsers take for separators.
    """
    return quote(text.encode("latin-1"), safe="!$'()*,-.<>@[\\]^_`{|}").replace("~", "%7E")


def query_encode(text: str) -> str:
    """A value that Envoy puts into a query as it is: only what would end or change the value is encoded."""
    return quote(text.encode("latin-1"), safe="!$'()*,-./:;=?@_~")


class AllowedDomains:
    """`allowed_redirect_domains`: exact hosts, and `*.x` for one or more labels before `.x`, in any case."""

    def __init__(self, entries: tuple[str, ...]) -> None:
        lowered = [wire_text(entry).lower() for entry in entries]
        self._exact = frozenset(entry for entry in lowered if not entry.startswith("*."))
        self._suffixes = tuple(entry[1:] for entry in lowered if entry.startswith("*."))
        self._any = not entries

    def allow(self, url: str) -> bool:
        """True if there is no list, or the host of the absolute URL is on it."""
        if self._any:
            return True
        host = host_of(url)
        if host is None:
            return False
        host = host.lower()
        return host in self._exact or any(host.endswith(s) and len(host) > len(s) for s in self._suffixes)
