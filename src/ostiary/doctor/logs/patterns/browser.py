"""A browser's console: Chrome and Firefox on CORS, preflights, loops, mixed content and cookies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from ostiary.core.redaction import without_credentials
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.signin import BrowserBlocked, CookieRefused
from ostiary.doctor.logs.pattern import Found, Pattern

Reason = Literal["too-large", "domain", "path", "secure", "same-site", "other"]
_WHYS: Final[tuple[tuple[str, Reason], ...]] = (
    ("samesite", "same-site"),
    ("cross-site", "same-site"),
    ("domain", "domain"),
    ("secure", "secure"),
    ("https", "secure"),
    ("size", "too-large"),
    ("length", "too-large"),
    ("too large", "too-large"),
    ("path", "path"),
)


def _cors(found: Found) -> Iterator[Fact]:
    why = found["why"].lower()
    what: Literal["preflight", "cors"] = "preflight" if "preflight" in why else "cors"
    yield BrowserBlocked(origin=found.origin, what=what, url=without_credentials(found["url"].rstrip(".")))


def _loop(found: Found) -> Iterator[Fact]:
    yield BrowserBlocked(origin=found.origin, what="redirect-loop", url=without_credentials(found["url"]))


def _mixed(found: Found) -> Iterator[Fact]:
    yield BrowserBlocked(origin=found.origin, what="mixed-content", url=without_credentials(found["url"]))


def _cookie(found: Found) -> Iterator[Fact]:
    why = found["why"].lower()
    reason: Reason = next((kind for sign, kind in _WHYS if sign in why), "other")
    yield CookieRefused(origin=found.origin, name=found["name"], why=reason)


PATTERNS: Final = (
    Pattern(
        words=("has been blocked by CORS policy",),
        expression=r"Access to (?:fetch|XMLHttpRequest|\w+) at '(?P<url>[^']*)' .*has been blocked by CORS policy: "
        r"?(?P<why>.*)",
        facts=_cors,
    ),
    Pattern(
        words=("Cross-Origin Request Blocked",),
        expression=r"Cross-Origin Request Blocked: .*?remote resource at (?P<url>\S+?)\.? \(Reason: (?P<why>.*)",
        facts=_cors,
    ),
    Pattern(
        words=("ERR_TOO_MANY_REDIRECTS", "NS_ERROR_REDIRECT_LOOP"),
        expression=r"(?:(?P<url>https?://[^\s'\"]+)\S* ?.{0,40})?(?:net::)?(?:ERR_TOO_MANY_REDIRECTS|"
        r"NS_ERROR_REDIRECT_LOOP)",
        facts=_loop,
    ),
    Pattern(
        words=("redirected you too many times", "page isn.{1,3}t redirecting properly"),
        expression=r"(?P<url>[\w.-]+)? ?redirected you too many times|page isn.{1,3}t redirecting properly",
        facts=_loop,
    ),
    Pattern(
        words=("Mixed Content: The page at", "Blocked loading mixed active content"),
        expression=r"Mixed Content: The page at .*?requested an insecure [\w\s-]+ '(?P<url>[^']+)'"
        r"|Blocked loading mixed active content",
        facts=_mixed,
    ),
    Pattern(
        words=("Cookie .{1,120} has been rejected",),
        expression=r"Cookie [“\"'](?P<name>[^”\"']{1,100})[”\"'] has been rejected (?P<why>.*)",
        facts=_cookie,
    ),
    Pattern(
        words=("Set-Cookie header is ignored",),
        expression=r"Set-Cookie header is ignored in response from url: \S+ (?P<why>Cookie length .*|.*)(?P<name>)",
        facts=_cookie,
    ),
    Pattern(
        words=("attempt to set a cookie via a Set-Cookie", "This Set-Cookie (?:header )?(?:was blocked|didn't)"),
        expression=r"(?:attempt to set a cookie via a Set-Cookie header was blocked|This Set-Cookie (?:header )?(?:was "
        r"blocked|didn't)) ?(?P<why>.*)(?P<name>)",
        facts=_cookie,
    ),
)
