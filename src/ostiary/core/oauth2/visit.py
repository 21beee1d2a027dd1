"""One request as the sign-in sees it: where it came in, which of its cookies are ours, which session they hold.

Rules look at a path. An application may read a raw path otherwise than we do (`/public/..%2fadmin`), so a request has
as many places as its path has readings, and access needs the consent of all of them (`core.paths.strict`). The same
goes for `delete`, which some take for `DELETE`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ostiary.core import paths
from ostiary.core.access import Person, Verdict, judge
from ostiary.core.decision import Request
from ostiary.core.oauth2.cookies import CookiePolicy, without_ours
from ostiary.core.oauth2.failures import SignInError
from ostiary.core.oauth2.replies import is_navigation, wants_html
from ostiary.core.oauth2.return_url import HOME, Origin, parse_origin, return_url, return_url_of_target
from ostiary.core.oauth2.session import Session
from ostiary.model.signin import AccessRule, SignIn

_STRICTEST_FIRST = ("deny", "sign_in", "admit", "public")
_ORIGINAL_PATH_HEADERS = ("x-forwarded-uri", "x-original-uri")
_ORIGINAL_METHOD_HEADERS = ("x-forwarded-method", "x-original-method")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What rules look at."""

    host: str
    readings: tuple[str, ...]
    method: str

    def judge(self, rules: Sequence[AccessRule], person: Person | None) -> Verdict:
        """The strictest verdict over all readings of the path and the method."""
        methods = {self.method, self.method.upper()}
        verdicts = [judge(rules, self.host, reading, method, person) for reading in self.readings for method in methods]
        return min(verdicts, key=lambda verdict: _STRICTEST_FIRST.index(verdict.outcome))


@dataclass(slots=True, kw_only=True)
class Visit:
    """One request, read once."""

    request: Request
    now: float
    origin: Origin
    policy: CookiePolicy
    cookie_header: str | None
    cookies: Sequence[tuple[str, str]]
    place: Place
    prefix: str
    """Ours: not a place to return to."""
    forward_auth: bool = False
    """The answer is for a proxy that asks on behalf of its client."""
    session: Session | None = field(default=None, repr=False)

    @property
    def is_navigation(self) -> bool:
        """Whether a person's browser opens a page, and can be sent to the provider."""
        return not self.forward_auth and is_navigation(self.request)

    @property
    def wants_html(self) -> bool:
        """Whether a person will read the answer."""
        return not self.forward_auth and wants_html(self.request)

    @property
    def return_to(self) -> str:
        """Where a sign-in leads back to: this page, or, for a script's request, the page it runs on."""
        if is_navigation(self.request):
            return return_url_of_target(self.request.target, self.origin, self.prefix)
        return return_url(self.request.headers.get("referer") or HOME, self.origin, (), self.prefix) or HOME

    @property
    def application_cookies(self) -> str | None:
        """The Cookie header without ours; None if there is none."""
        return None if self.cookie_header is None else without_ours(self.cookie_header, self.policy)


def origin_of(request: Request, external: Origin | None) -> Origin:
    """The origin as the browser sees it; without a host where HTTP/1.0 sends none.

    Raises SignInError for a Host that can't be part of a URL.
    """
    scheme = request.external_scheme or request.scheme
    if external is None and not request.authority:
        return Origin(scheme, "", 0)
    origin = external or parse_origin(scheme, request.authority)
    if origin is None:
        raise SignInError("redirect-uri-template", "the Host header is not a host name with an optional port")
    return origin


def place_of(request: Request) -> Place:
    """The place an ordinary request asks for. Raises SignInError for a path that has no safe reading."""
    return Place(host=request.authority, readings=_readings(request.path, request.target), method=request.method)


def place_at(host: str, target: str) -> Place:
    """The place of a page that is opened next. Raises SignInError as `place_of`."""
    return Place(host=host, readings=_readings(target.partition("?")[0], target), method="GET")


def forwarded_place(request: Request, config: SignIn) -> Place:
    """The place a forward-auth request asks about, as its proxy says in headers.

    Raises SignInError if rules look at paths (or methods) and the headers name none, or (a client's and the proxy's)
    two. Guessing instead would work until somebody sends the header that the proxy doesn't: so a proxy that says
    nothing is told.
    """
    target = _said(request, _ORIGINAL_PATH_HEADERS, any(rule.paths for rule in config.rules), "paths")
    method = _said(request, _ORIGINAL_METHOD_HEADERS, any(rule.methods for rule in config.rules), "methods")
    target = target or HOME
    return Place(
        host=request.headers.get("x-forwarded-host") or request.authority,
        readings=_readings(target.partition("?")[0], target),
        method=method or "GET",
    )


def _said(request: Request, names: tuple[str, ...], needed: bool, what: str) -> str:
    said = {value for name in names for value in request.headers.get_all(name)}
    if len(said) == 1:
        return said.pop()
    if needed:
        where = " and ".join(name.title() for name in names)
        raise SignInError("forward-auth-path", f"{len(said)} original {what} in {where}")
    return ""


def _readings(path: str, target: str) -> tuple[str, ...]:
    raw = target.partition("?")[0]
    if raw == path and paths.is_plain(path):
        return (path,)
    try:
        found = paths.strict(raw).readings if raw.startswith("/") else ()
        if path not in found:  # else it is one of them
            found = (*paths.strict(path).readings, *found)
    except paths.PathRejected as error:
        raise SignInError("path-invalid", str(error)) from error
    return tuple(dict.fromkeys(found))
