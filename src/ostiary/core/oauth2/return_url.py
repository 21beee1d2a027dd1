"""Where a sign-in may lead back to: no open redirects.

Accepted, and nothing else: a path of this origin that no browser reads as a host (`//`, `/\\`, also behind dot segments
or percent-encoding), or an absolute http(s) URL whose host is this one or allowed by configuration, written plainly:
no user info, no backslash, no control character, no space. Our own endpoints are not a place to return to. Whatever is
not accepted becomes `/`; it is never repaired.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from ostiary.core.access import host_matches, under
from ostiary.model import limits

HOME = "/"
_PRINTABLE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # visible ASCII without `"` and `\`
_ABSOLUTE = re.compile(r"(https?)://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?(/[^#]*|\?[^#]*)?(#.*)?")
_AUTHORITY = re.compile(r"([A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """An origin as browsers compare it: lower-case host, port filled in."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"


def parse_origin(scheme: str, authority: str) -> Origin | None:
    """The origin of a request; None if its Host is not a host name or address with an optional port."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None or scheme not in _DEFAULT_PORTS:
        return None
    port = int(match[2]) if match[2] else _DEFAULT_PORTS[scheme]
    return Origin(scheme, match[1].lower(), port) if 0 < port < 65536 else None


def parse_external_url(url: str) -> Origin | None:
    """The origin of `external_url` (scheme, host, optional port; a lone `/` may follow), or None."""
    match = _ABSOLUTE.fullmatch(url)
    if match is None or match[4] not in (None, "/") or match[5] is not None:
        return None
    return parse_origin(match[1], url.split("/")[2])


def return_url(wanted: str, origin: Origin, allowed_hosts: tuple[str, ...], prefix: str) -> str | None:
    """`wanted` as a Location that stays where it may (a path, or an absolute URL of an allowed host), or None."""
    text = (
        quote(wanted, safe="".join(map(chr, range(0x21, 0x7F))), encoding="utf-8", errors="replace")
        if not wanted.isascii()
        else wanted
    )
    if len(text) > limits.MAX_RETURN_URL_BYTES or not _PRINTABLE.fullmatch(text):
        return None
    if text.startswith("/"):
        return text if _is_own_path(text, prefix) else None
    match = _ABSOLUTE.fullmatch(text)
    target = parse_origin(match[1], text.split("/")[2].partition("?")[0].partition("#")[0]) if match else None
    if match is None or target is None:
        return None
    if target == origin:
        rest = (match[4] or "/") + (match[5] or "")
        rest = rest if rest.startswith("/") else "/" + rest
        return rest if _is_own_path(rest, prefix) else None
    return text if _is_allowed(target, origin, allowed_hosts) else None


def return_url_of_target(target: str, origin: Origin, prefix: str) -> str:
    """The way back to the very request that was interrupted; bytes outside ASCII are percent-encoded as they came."""
    text = target if target.isascii() else "".join(c if c < "\x7f" else f"%{ord(c) & 0xFF:02X}" for c in target)
    return return_url(text, origin, (), prefix) or HOME


def _is_own_path(text: str, prefix: str) -> bool:
    path = re.split(r"[?#]", text, maxsplit=1)[0]
    once = unquote_to_bytes(path).decode("latin-1")
    for reading in (path, once, unquote_to_bytes(once.encode("latin-1")).decode("latin-1")):
        segments = reading.replace("\\", "/").split("/")[1:]
        while len(segments) > 1 and segments[0].strip() in (".", ".."):
            del segments[0]
        if len(segments) > 1 and segments[0].strip("\t\r\n\v\f ") == "":
            return False
        if any(ord(c) < 0x20 or c == "\x7f" for c in reading) or under(prefix, _resolved(reading)):
            return False
    return True


def _resolved(path: str) -> str:
    stack: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del stack[-1:]
        elif segment not in ("", "."):
            stack.append(segment)
    return "/" + "/".join(stack)


def _is_allowed(target: Origin, origin: Origin, allowed_hosts: tuple[str, ...]) -> bool:
    """An entry without port allows the scheme's own port; `host:8443` just that one. Never from https down to http."""
    if origin.scheme == "https" and target.scheme != "https":
        return False
    port = f":{target.port}"
    named = [entry.removesuffix(port) for entry in allowed_hosts if entry.endswith(port)]
    bare = [entry for entry in allowed_hosts if target.port == _DEFAULT_PORTS[target.scheme]]
    return host_matches([*named, *bare], target.host.rstrip("."))
