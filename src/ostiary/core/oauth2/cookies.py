"""Cookies of the native profile: names, the only Set-Cookie writer, and what of a Cookie header goes upstream.

Names. `__Host-` binds a cookie to one host over HTTPS: no Domain, Path=/, Secure (RFC 6265bis section 4.1.3.2), so a
neighbour under the same parent domain can't plant one. Where it can't be had (plain HTTP, a cookie domain) the bare
name is used. The prefix demands Path=/, so flow cookies are *not* scoped to the callback's path; what keeps them from
piling up is their number (MAX_PENDING_FLOWS), their size (some 350 bytes) and their lifetime.

Splitting. A sealed session longer than one cookie continues in `NAME.1`, `NAME.2`, ... The first character of the first
piece says how many there are, so a longer session's left-over pieces are never read as part of a shorter one.

Reading. A Cookie header belongs to the application: our pairs are cut out, the rest goes on byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ostiary.model import limits
from ostiary.model.errors import LimitExceeded

_VALUE = re.compile(r"[A-Za-z0-9_-]*")
_PIECE = re.compile(r"(?:\.[0-9]+)?")
_FLOW_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CookiePolicy:
    """How our cookies look on one origin."""

    base: str
    """`ostiary`, without prefix."""
    secure: bool
    """The browser's connection is HTTPS."""
    domain: str = ""
    same_site: Literal["lax", "strict", "none"] = "lax"

    @property
    def session(self) -> str:
        """The name of the session cookie (its first piece)."""
        return f"__Host-{self.base}" if self.secure and not self.domain else self.base

    def piece(self, index: int) -> str:
        """The name of a piece; 0 is the session cookie itself."""
        return f"{self.session}.{index}" if index else self.session

    def flow(self, key: str) -> str:
        """The name of a pending sign-in's cookie."""
        return f"{self.session}-flow.{key}"

    def is_ours(self, name: str) -> bool:
        """Session pieces and flows, with and without prefix: none of them is the application's business."""
        name = name.removeprefix("__Host-")
        if not name.startswith(self.base):
            return False
        rest = name[len(self.base) :]
        return _PIECE.fullmatch(rest) is not None or rest.startswith("-flow.")

    def set(self, name: str, value: str, max_age: float, *, same_site: str | None = None) -> str:
        """One Set-Cookie value; `max_age` in seconds, 0 deletes. Raises ValueError for one that is not base64url."""
        if not _VALUE.fullmatch(value):
            raise ValueError("cookie values are base64url")
        domain = f"; Domain={self.domain}" if self.domain else ""
        secure = "; Secure" if self.secure else ""
        site = (same_site or self.same_site).capitalize()
        return f"{name}={value}; Max-Age={int(max_age)}; Path=/{domain}{secure}; HttpOnly; SameSite={site}"

    def delete(self, names: Iterable[str]) -> list[str]:
        """Set-Cookie values that delete the cookies of these names."""
        return [self.set(name, "", 0) for name in names]

    def split(self, value: str, max_age: float, present: Iterable[str] = ()) -> list[str]:
        """The Set-Cookie values of one sealed session; surplus pieces among `present` names are deleted.

        Raises LimitExceeded if it needs more than MAX_COOKIE_PIECES.
        """
        room = limits.MAX_COOKIE_BYTES - 1 - len(self.set(self.piece(limits.MAX_COOKIE_PIECES), "", max_age))
        count = -(-(len(value) + 1) // room)
        if count > limits.MAX_COOKIE_PIECES:
            raise LimitExceeded(f"the session needs {count} cookies, a browser keeps {limits.MAX_COOKIE_PIECES}")
        numbered = f"{count}{value}"
        names = [self.piece(index) for index in range(count)]
        written = [self.set(n, numbered[i * room : (i + 1) * room], max_age) for i, n in enumerate(names)]
        surplus = [name for name in present if self._is_piece(name) and name not in names]
        return written + self.delete(sorted(set(surplus)))

    def join(self, cookies: Sequence[tuple[str, str]]) -> Iterator[str]:
        """The sealed sessions that a request's cookies may hold: one for each cookie of that name, rarely more."""
        pieces: dict[str, str] = {}
        for name, value in cookies:
            pieces.setdefault(name, value)
        firsts = [value for name, value in cookies if name == self.session]
        for first in firsts[: limits.MAX_COOKIE_DUPLICATES]:
            count = int(first[0]) if first[:1] in tuple("12345678") else 0
            rest = [pieces.get(self.piece(index)) for index in range(1, count)]
            known = [piece for piece in rest if piece is not None]
            if count and len(known) == len(rest):
                yield "".join([first[1:], *known])

    def flow_keys(self, cookies: Sequence[tuple[str, str]]) -> list[str]:
        """The keys of the pending sign-ins a request carries."""
        prefix = self.flow("")
        keys = [name[len(prefix) :] for name, _ in cookies if name.startswith(prefix)]
        return [key for key in dict.fromkeys(keys) if _FLOW_KEY.fullmatch(key)]

    def session_names(self, cookies: Sequence[tuple[str, str]]) -> list[str]:
        """The names of the session pieces a request carries."""
        return list(dict.fromkeys(name for name, _ in cookies if self._is_piece(name)))

    def _is_piece(self, name: str) -> bool:
        return name.startswith(self.session) and _PIECE.fullmatch(name, len(self.session)) is not None


def parse_cookies(header: str) -> list[tuple[str, str]]:
    """The pairs of a Cookie header, in order, duplicates kept; one without `=` has no name (RFC 6265bis 5.6)."""
    pairs = []
    for part in header.split(";"):
        name, equals, value = part.strip(" \t").partition("=")
        pairs.append((name, value) if equals else ("", name))
    return pairs


def without_ours(header: str, policy: CookiePolicy) -> str:
    """The Cookie header without our cookies; every other byte as it came."""
    if policy.base not in header:
        return header
    kept = [part for part in header.split(";") if not policy.is_ours(part.partition("=")[0].strip(" \t"))]
    return ";".join(kept).lstrip(" \t")
