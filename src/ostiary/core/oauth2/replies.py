"""What the filter answers itself: redirects, pages for people, JSON for programs.

Which of them a request gets is decided once, in `is_navigation`: a browser that opens a page is led to the sign-in;
`fetch`, WebSocket and anything but GET get 401 with JSON, because a redirect to another origin would fail there with a
riddle (CORS), lose a body, or start a sign-in nobody looks at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, final

import msgspec

from ostiary.core.decision import Request, Respond
from ostiary.core.flights.note import Note
from ostiary.core.oauth2.failures import failure

Render = Callable[[str, dict[str, Any]], bytes]
"""(page, context) -> HTML."""

_NO_STORE: Final = ("cache-control", "no-store")
_PAGE_HEADERS: Final = (
    ("content-type", "text/html; charset=utf-8"),
    _NO_STORE,
    (
        "content-security-policy",
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "strict-origin"),
)
_JSON_HEADERS: Final = (("content-type", "application/json"), _NO_STORE, ("x-content-type-options", "nosniff"))
_RETRY_AFTER: Final = "10"
_CHALLENGE: Final = ("www-authenticate", 'Bearer realm="ostiary"')
"""Of every 401 (RFC 9110 section 15.5.2)."""


def is_navigation(request: Request) -> bool:
    """Whether a person's browser is opening a page."""
    if request.method not in ("GET", "HEAD") or request.upgrade or _is_speculative(request):
        return False
    return wants_html(request)


def wants_html(request: Request) -> bool:
    """Whether an answer is for a person to read. `*/*` says nothing: with GET it may be a person, a form names HTML."""
    headers = request.headers
    mode = headers.get("sec-fetch-mode")
    if mode is not None:
        return mode == "navigate"
    if "x-requested-with" in headers:
        return False
    accept = headers.joined("accept")
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",")] if accept else ["*/*"]
    return "text/html" in kinds or (kinds == ["*/*"] and request.method in ("GET", "HEAD"))


@final
class Replies:
    """Answers in the shapes above."""

    def __init__(self, render: Render, prefix: str) -> None:
        self._render = render
        self._prefix = prefix

    def redirect(self, location: str, details: str, cookies: Iterable[str] = (), note: Note | None = None) -> Respond:
        """302 to `location`."""
        headers = (("location", location), _NO_STORE, *_set_cookies(cookies))
        flight = "" if note is None else note.flight
        return Respond(status=302, headers=headers, details=details, flight=flight, note=note)

    def page(self, name: str, status: int, context: dict[str, Any], cookies: Iterable[str] = ()) -> Respond:
        """A page of `pages/`."""
        body = self._render(name, {"prefix": self._prefix, **context})
        return Respond(status=status, headers=(*_PAGE_HEADERS, *_set_cookies(cookies)), body=body, details=name)

    def json(
        self,
        status: int,
        document: Mapping[str, Any],
        details: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        cookies: Iterable[str] = (),
        note: Note | None = None,
        health_check: bool = False,
    ) -> Respond:
        """A JSON document."""
        return Respond(
            status=status,
            headers=(*_JSON_HEADERS, *headers, *_set_cookies(cookies)),
            body=msgspec.json.encode(document) + b"\n",
            details=details,
            flight="" if note is None else note.flight,
            health_check=health_check,
            note=note,
        )

    def failed(
        self,
        note: Note,
        *,
        html: bool,
        retry: str = "",
        cookies: Iterable[str] = (),
        link: tuple[str, str] | None = None,
    ) -> Respond:
        """A failure, the note's: for people with `retry` (a return URL) or `link` (text, address); JSON otherwise."""
        code, reason, flight = note.code, note.reason, note.flight
        entry = failure(code)
        details = f"{code}: {reason}" if reason else code
        extra = (("retry-after", _RETRY_AFTER),) if entry.status in (503, 504) else ()
        if entry.status == 401:
            extra = (_CHALLENGE,)
        if not html:
            document = {"error": code, "message": f"{entry.happened} {entry.to_do}", "flight": flight}
            return self.json(entry.status, document, details, headers=extra, cookies=cookies, note=note)
        context = {
            "title": entry.title,
            "happened": entry.happened,
            "to_do": entry.to_do,
            "hopeless": entry.hopeless,
            "code": code,
            "flight": flight,
            "retry": self.start_url(retry) if retry else "",
            "link": link,
        }
        page = self.page("error", entry.status, context, cookies)
        return Respond(
            status=entry.status,
            headers=(*page.headers, *extra),
            body=page.body,
            details=details,
            flight=flight,
            local_reply=True,
            note=note,
        )

    def unauthenticated(self, return_to: str, why: str, flight: str, cookies: Iterable[str] = ()) -> Respond:
        """401 for programs: where to sign in, in the body and as RFC 9110 section 11.6.1 wants it."""
        login = self.start_url(return_to)
        document = {"error": "unauthenticated", "message": why, "login_url": login, "flight": flight}
        note = Note(kind="turned-away", flight=flight, outcome="unauthenticated", reason=why)
        return self.json(401, document, f"unauthenticated: {why}", headers=(_CHALLENGE,), cookies=cookies, note=note)

    def start_url(self, return_to: str, **params: str) -> str:
        """Our own endpoint that begins a sign-in."""
        from urllib.parse import urlencode

        return f"{self._prefix}/start?{urlencode({**params, 'rd': return_to})}"


def _set_cookies(cookies: Iterable[str]) -> list[tuple[str, str]]:
    return [("set-cookie", cookie) for cookie in cookies]


def _is_speculative(request: Request) -> bool:
    """A prefetch must not begin a sign-in."""
    purpose = request.headers.get("sec-purpose") or request.headers.get("purpose") or ""
    return "prefetch" in purpose or "prerender" in purpose
