"""Cross-origin resource sharing: Envoy's `envoy.filters.http.cors`.

A policy comes from the route and its virtual host. Each value is the first non-empty one, the most specific first;
`allow_credentials` and the flags are the most specific policy's. A preflight from an allowed origin is answered here,
before any sign-in; other requests go on and get their headers on the response.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

from ostiary.core.decision import FOREVER, Allow, Counter, Decision, Request, Respond
from ostiary.core.matching import string_matcher
from ostiary.model.routes import CorsPolicy

DETAILS: Final = "cors_response"
"""Response code details of an answered preflight."""

_OVERWRITTEN: Final = frozenset(
    ("access-control-allow-origin", "access-control-allow-credentials", "access-control-expose-headers")
)
_NOT_CROSS_ORIGIN: Final = Allow(valid_until=FOREVER, via="cors")
"""Reusable: without an Origin header the same headers always mean the same."""
_NO_CORS: Final = Allow(via="cors")


@final
class CorsFilter:
    """The filter for one route; policies come most specific first. Raises ValueError for a pattern RE2 refuses."""

    def __init__(
        self,
        policies: Sequence[CorsPolicy],
        *,
        origin_valid: Counter | None = None,
        origin_invalid: Counter | None = None,
    ) -> None:
        origins = next(
            (policy.allow_origin_string_match for policy in policies if policy.allow_origin_string_match), ()
        )
        self._any_origin = any(string_matcher(matcher)("*") for matcher in origins)
        self._origins = tuple(string_matcher(matcher) for matcher in origins)
        self._valid = origin_valid or Counter("cors.origin_valid")
        self._invalid = origin_invalid or Counter("cors.origin_invalid")
        self._active = bool(policies)
        specific = policies[0] if policies else CorsPolicy()
        self._forward_unmatched = specific.forward_not_matching_preflights
        self._private_network = specific.allow_private_network_access
        credentials = (("access-control-allow-credentials", "true"),) if specific.allow_credentials else ()
        expose = _first(policies, "expose_headers")
        self._actual = credentials + ((("access-control-expose-headers", expose),) if expose else ())
        preflight = (
            ("access-control-allow-methods", _first(policies, "allow_methods")),
            ("access-control-allow-headers", _first(policies, "allow_headers")),
            ("access-control-max-age", _first(policies, "max_age")),
        )
        self._preflight = tuple((name, value) for name, value in preflight if value)

    def decide(self, request: Request, now: float) -> Decision:  # noqa: ARG002
        """Answer a preflight, or allow with the response headers of the origin."""
        if not self._active:
            return _NOT_CROSS_ORIGIN
        origin = request.headers.get("origin")
        if not origin:
            return _NOT_CROSS_ORIGIN
        preflight = request.method == "OPTIONS" and bool(request.headers.get("access-control-request-method"))
        if not (self._any_origin or any(matches(origin) for matches in self._origins)):
            self._invalid.inc()
            if preflight and not self._forward_unmatched:
                return Respond(status=200, headers=self._preflight, details=DETAILS)
            return _NO_CORS
        self._valid.inc()
        allow_origin = ("access-control-allow-origin", origin)
        if not preflight:
            return Allow(response_remove=_OVERWRITTEN, response_set=(allow_origin, *self._actual), via="cors")
        headers = (allow_origin, *self._actual, *self._preflight)
        if self._private_network and request.headers.get("access-control-request-private-network") == "true":
            headers += (("access-control-allow-private-network", "true"),)
        return Respond(status=200, headers=headers, details=DETAILS)

    def is_ordinary(self, path: str) -> bool:  # noqa: ARG002
        """True: no path is special."""
        return True

    def reads(self) -> frozenset[str]:
        """What makes a request cross-origin, or a preflight."""
        return frozenset(("origin", "access-control-request-method", "access-control-request-private-network"))

    def request_headers_to_strip(self) -> frozenset[str]:
        """None."""
        return frozenset()


def _first(policies: Sequence[CorsPolicy], field: str) -> str:
    return next((value for policy in policies if (value := getattr(policy, field))), "")
