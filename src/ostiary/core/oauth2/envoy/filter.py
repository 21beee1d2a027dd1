"""`envoy.filters.http.oauth2` of Envoy 1.39 as a decision: same cookies, state, URLs, statuses, bodies and counters,
so that a fleet of Envoys and Ostiaries shares its sessions.

Where Envoy is wrong, this is not a copy; `docs/envoy-differences.md` lists every such place. No difference changes
what a cookie means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from ostiary.core.decision import FOREVER, Allow, Counter, Decision, Entropy, Request
from ostiary.core.matching import any_of
from ostiary.core.oauth2.envoy.context import STATUS_HEADERS, Context, Keys, SecretSource
from ostiary.core.oauth2.envoy.cookies import RequestCookies
from ostiary.core.oauth2.envoy.refresh import Refresher
from ostiary.core.oauth2.envoy.session import SessionCache, allow_session, read_session
from ostiary.core.oauth2.envoy.sign_in import (
    CallbackRefused,
    check_callback,
    finish_while_signed_in,
    redeem,
    redirect_to_provider,
)
from ostiary.core.oauth2.envoy.sign_out import sign_out
from ostiary.core.oauth2.envoy.token_response import Redeemed
from ostiary.core.oauth2.outcomes import FlowOutcomes
from ostiary.core.regex import wire_text
from ostiary.model.matchers import HeaderMatcher
from ostiary.model.oauth2 import OAuth2Config, RuntimeFlags


class NoConfigFilter:
    """The filter without a configuration: nobody signs in, and nobody may claim that somebody failed to."""

    _ALLOW: Final = Allow(remove=STATUS_HEADERS, valid_until=FOREVER, via="no_config")

    def decide(self, request: Request, now: float) -> Decision:  # noqa: ARG002
        """Go on."""
        return self._ALLOW

    def is_ordinary(self, path: str) -> bool:  # noqa: ARG002
        """Every path is."""
        return True

    def reads(self) -> frozenset[str]:
        """Nothing."""
        return frozenset()

    def request_headers_to_strip(self) -> frozenset[str]:
        """What only the filter may say."""
        return STATUS_HEADERS


class Outcomes:
    """What flows of every Envoy filter came to: routes may each have their own filter, and share sessions."""

    def __init__(self, entropy: Entropy) -> None:
        self.refreshes = FlowOutcomes(Redeemed, "refresh", entropy)
        self.codes = FlowOutcomes(Redeemed, "callback", entropy)


class EnvoyOAuth2Filter:
    """One configured filter; a route with a configuration of its own has one of its own.

    `counter` makes (or finds) the counter of a short name ("oauth_success"); `known_cluster` says whether the token
    endpoint's cluster exists. Raises ValueError for a configuration that could only fail later, with every request.
    """

    def __init__(
        self,
        config: OAuth2Config,
        *,
        runtime: RuntimeFlags,
        secrets: SecretSource,
        entropy: Entropy,
        counter: Callable[[str], Counter],
        known_cluster: Callable[[str], bool],
        outcomes: Outcomes | None = None,
    ) -> None:
        """`outcomes`: shared by all filters of a process, for their flows are; None: its own."""
        self._context = Context(
            config,
            runtime=runtime,
            secrets=secrets,
            entropy=entropy,
            counter=counter,
            known_cluster=known_cluster,
        )
        self._sessions = SessionCache()
        outcomes = outcomes or Outcomes(entropy)
        self._refresher = Refresher(self._context, outcomes.refreshes)
        self._codes = outcomes.codes
        self._pass_through = any_of(config.pass_through_matcher) if config.pass_through_matcher else None
        by_path = any(matcher.name.lower() == ":path" for matcher in config.pass_through_matcher)
        self._passed = Allow(
            remove=self._context.stripped,
            counters=(self._context.count.passthrough,),
            valid_until=0.0 if by_path else FOREVER,
            via="pass_through",
        )
        self._special_path = _special_path(config.pass_through_matcher)
        matchers = (*config.pass_through_matcher, *config.allow_failed_matcher, *config.deny_redirect_matcher)
        self._reads = self._context.stripped.union(("cookie", "authorization"), (m.name.lower() for m in matchers))

    def reads(self) -> frozenset[str]:
        """The session's cookies, what is set from them, and whatever a matcher looks at."""
        return self._reads

    def request_headers_to_strip(self) -> frozenset[str]:
        """The status headers, and the ID token's own."""
        return self._context.stripped

    def is_ordinary(self, path: str) -> bool:
        """False for the callback, sign-out, and whatever a pass-through rule could let through by its path."""
        context = self._context
        return not (self._special_path(path) or context.is_callback(path) or context.is_signout(path))

    def decide(self, request: Request, now: float) -> Decision:
        """Envoy's order: pass-through, secrets, sign-out, session, then callback, refresh or a new sign-in."""
        if self._pass_through is not None and self._pass_through(request):
            return self._passed
        context = self._context
        keys = context.keys()
        if keys is None:
            return context.not_ready()
        if context.is_signout(request.path):
            return sign_out(context, keys, request, RequestCookies(request.headers))
        if context.is_callback(request.path):
            return self._callback(keys, request, now)
        remembered = self._sessions.get(request, keys, now)
        if remembered is not None:
            return remembered
        cookies = RequestCookies(request.headers)
        session = read_session(context, keys, cookies, request)
        if session.valid(now):
            allow = allow_session(context, cookies, session)
            self._sessions.put(request, allow)
            return allow
        self._count_cbc(session.cbc_reads)
        if context.config.use_refresh_token and session.refreshable:
            return self._refresher.decide(keys, request, cookies, session, now)
        return self._signed_out(keys, request, cookies)

    def _signed_out(self, keys: Keys, request: Request, cookies: RequestCookies) -> Decision:
        context = self._context
        if context.allow_failed(request):
            return context.anonymous(
                cookies,
                "Unauthorized, and forwarding as unauthorized because OAuth failure is allowed: " + request.target,
            )
        if context.deny_redirect(request):
            return context.turned_away(
                "Unauthorized, and redirecting to OAuth server is not allowed: " + request.target, "no session"
            )
        return redirect_to_provider(context, keys, request, cookies)

    def _callback(self, keys: Keys, request: Request, now: float) -> Decision:
        context = self._context
        cookies = RequestCookies(request.headers)
        session = read_session(context, keys, cookies, request)
        self._count_cbc(session.cbc_reads)
        signed_in = session.valid(now)
        if signed_in:
            context.count.success.inc()
        try:
            callback = check_callback(context, keys, request, cookies)
        except CallbackRefused as refused:
            return refused.answer(context)
        if signed_in:
            return finish_while_signed_in(context, callback)
        return redeem(context, self._codes, keys, request, cookies, callback, now)

    def _count_cbc(self, reads: int) -> None:
        for _ in range(reads):
            self._context.count.legacy_cbc_decrypt.inc()


def _special_path(matchers: Iterable[HeaderMatcher]) -> Callable[[str], bool]:
    """Paths whose requests must be judged one by one because a pass-through matcher looks at them.

    It sees the query as well, so only exact and prefix matches can be told from the path alone.
    """
    exact: set[str] = set()
    prefixes: list[str] = []
    for matcher in matchers:
        match = matcher.string_match
        if matcher.name.lower() != ":path":
            continue
        if match is None or matcher.invert_match or match.ignore_case:
            return _always
        value = wire_text(match.value)
        if match.kind == "exact":
            exact.add(value.partition("?")[0])
        elif match.kind == "prefix" and "?" not in value:
            prefixes.append(value)
        else:
            return _always
    starts = tuple(prefixes)
    return lambda path: path in exact or path.startswith(starts)


def _always(_: str) -> bool:
    return True
