"""Cookies as header dumps show them, and headers that somebody found too large."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal

from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.signin import CookieSet, HeadersTooLarge
from ostiary.doctor.logs.pattern import Found, Pattern

_DELETED: Final = re.compile(r"(?i)max-age=0\b|expires=thu, 01 jan 1970")
_FLOW: Final = re.compile(r"\.[0-9a-f]{16}$")
"""Envoy's filter gives the cookies of each sign-in a name of their own."""
_SMALL: Final = 512
_LIMIT: Final = 4096
"""Browsers keep no larger cookie."""
_SPLIT_AT: Final = 4096
"""Bytes from which oauth2-proxy says that it needs several cookies."""


def _set(found: Found) -> Iterator[Fact]:
    attributes = found["attributes"]
    if _DELETED.search(attributes) or found["value"] == "deleted":
        return
    yield CookieSet(
        origin=found.origin,
        name=_FLOW.sub("", found["name"]),
        size=_rounded(len(found["name"]) + len(found["value"])),
        domain=_attribute(attributes, "domain"),
        path=_attribute(attributes, "path"),
        secure=re.search(r"(?i);\s*secure\b", attributes) is not None,
        same_site=_attribute(attributes, "samesite"),
    )


def _rounded(size: int) -> int:
    """To 64 bytes, away from the limit: sign-ins whose tokens differ by a few bytes say the same."""
    if size < _SMALL:
        return size
    return size - size % 64 if size <= _LIMIT else size + -size % 64


def _attribute(text: str, name: str) -> str:
    found = re.search(rf"(?i);\s*{name}=([^;'\"\s]*)", text)
    return found[1] if found is not None else ""


def _several(found: Found) -> Iterator[Fact]:
    yield CookieSet(origin=found.origin, name="_oauth2_proxy", size=_SPLIT_AT + 1, split=True)


def _too_large(
    who: Literal["nginx", "application"], what: Literal["request", "response"], *words: str, plain: bool = True
) -> Pattern:
    def facts(found: Found) -> Iterator[Fact]:
        yield HeadersTooLarge(origin=found.origin, who=who, what=what)

    return Pattern(words=words, expression="|".join(words), facts=facts, plain=plain)


PATTERNS: Final = (
    Pattern(
        words=(r"[sS]et-[cC]ookie.{1,4}(?:Oauth|BearerToken|IdToken|RefreshToken|_oauth2_proxy|__Host-ostiary)",),
        expression=r"(?i:set-cookie)'?[:,] ?'?(?P<name>[\w.-]{1,100})=(?P<value>[^;'\s]*)(?P<attributes>[^'\n]*)",
        facts=_set,
    ),
    Pattern(
        words=("Multiple cookies are required for this session",),
        expression="Multiple cookies are required for this session",
        facts=_several,
    ),
    _too_large("nginx", "response", "upstream sent too big header while reading response header from upstream"),
    _too_large("nginx", "request", "client sent too long header line", "Request Header Or Cookie Too Large"),
    _too_large(
        "application", "request", "HPE_HEADER_OVERFLOW", "IllegalArgumentException: Request header is too large"
    ),
    _too_large(
        "application",
        "request",
        "Limit request headers fields size",
        "Request Header Fields Too Large",
        plain=False,
    ),
)
