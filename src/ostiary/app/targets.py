"""Request targets, read once: the path that rules see, the bytes that go upstream.

The native profile judges every reading an application could have of the path and sends the raw form on, but for
escaped slashes where it was told to decode or redirect; the `envoy` profile normalises as its connection manager says
and sends the result on, as Envoy does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from ostiary.core.paths import PathRejected, has_escaped_slash, normalise, split_absolute, split_target, strict
from ostiary.model.config import HttpConnectionManager

_ENTRIES: Final = 4096


@final
@dataclass(frozen=True, slots=True)
class Target:
    """One request target."""

    wire: bytes
    """As it goes upstream."""
    text: str
    path: str
    query: str
    readings: tuple[str, ...] = ()
    """Other paths an application could understand; access needs the consent of all."""
    authority: bytes | None = None
    """From an absolute-form target: replaces Host (RFC 9112 section 3.2.2)."""
    redirect: str = ""
    """Send the client there: the normal form of a path with escaped slashes."""
    rejected: str = ""
    """Why it must not be served."""
    ordinary: bool = False
    """True if no filter treats this path in a way of its own, and it has one reading."""


@final
class TargetReader:
    """Reads targets for one listener, remembering them."""

    __slots__ = ("_cache", "_http", "_is_ordinary", "get")

    def __init__(self, http: HttpConnectionManager, is_ordinary: Callable[[str], bool]) -> None:
        self._http = http
        self._is_ordinary = is_ordinary
        self._cache: dict[bytes, Target] = {}
        self.get = self._cache.get
        """The remembered target, or None: then `read`."""

    def read(self, raw: bytes) -> Target:
        """Read a target and remember it."""
        if len(self._cache) >= _ENTRIES:
            self._cache.clear()
        try:
            target = self._read(raw)
        except PathRejected as error:
            target = Target(raw, raw.decode("latin-1"), "/", "", rejected=str(error))
        self._cache[raw] = target
        return target

    def _read(self, raw: bytes) -> Target:
        text = raw.decode("latin-1")
        absolute = None
        if not text.startswith("/"):
            host, text = split_absolute(text)
            absolute = host.encode("latin-1")
        path, query = split_target(text)
        http = self._http
        if http.profile == "ostiary":
            return self._read_native(text, path, query, absolute)
        normal = normalise(
            path,
            normalize=http.normalize_path,
            merge_slashes=http.merge_slashes,
            escaped_slashes=http.path_with_escaped_slashes_action,
        )
        if normal.path != path:
            text = f"{normal.path}?{query}" if "?" in text else normal.path
        wire = text.encode("latin-1")
        if normal.redirect:
            # `//evil.example` would be another host's address; browsers resolve `/.//evil.example` to this one's.
            location = f"/.{text}" if text.startswith(("//", "/\\")) else text
            return Target(wire, text, normal.path, query, redirect=location)
        ordinary = absolute is None and self._is_ordinary(normal.path)
        return Target(wire, text, normal.path, query, (), absolute, ordinary=ordinary)

    def _read_native(self, text: str, path: str, query: str, absolute: bytes | None) -> Target:
        action = self._http.path_with_escaped_slashes_action
        if action != "KEEP_UNCHANGED" and has_escaped_slash(path):
            normal = normalise(path, merge_slashes=self._http.merge_slashes, escaped_slashes=action)
            path = "/" + normal.path.lstrip("/")  # `/%2Fevil.example` must not become another host's address
            text = f"{path}?{query}" if "?" in text else path
            if normal.redirect:
                return Target(text.encode("latin-1"), text, path, query, redirect=text)
        seen = strict(path)
        others = seen.readings[1:]
        ordinary = absolute is None and not others and self._is_ordinary(seen.path)
        return Target(text.encode("latin-1"), text, seen.path, query, others, absolute, ordinary=ordinary)
