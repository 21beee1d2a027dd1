"""An expired session with a refresh token goes on without the user noticing (RFC 6749 section 6).

A browser sends several requests with the same expired session at once, and a provider that rotates refresh tokens
takes each of them once. So one request redeems the token, the others wait for it, also in other workers, and for
REFRESH_GRACE seconds whoever still comes with the old token gets the tokens that it bought. Every request gets its own
edits of its own headers: only the tokens are shared.

The session's MAC can't be asked for here: browsers drop that cookie when the access token expires.
"""

from __future__ import annotations

from typing import Final

from ostiary.core.decision import Allow, Decision, Request, Respond
from ostiary.core.flights.note import Note, spelled
from ostiary.core.oauth2.envoy.client_assertion import ClientCredentialError
from ostiary.core.oauth2.envoy.context import Context, Keys
from ostiary.core.oauth2.envoy.cookies import RequestCookies
from ostiary.core.oauth2.envoy.redemption import redemption, redemption_key
from ostiary.core.oauth2.envoy.session import Session, new_session, token_headers
from ostiary.core.oauth2.envoy.sign_in import redirect_to_provider
from ostiary.core.oauth2.envoy.token_response import Redeemed, TokenResponse
from ostiary.core.oauth2.outcomes import FlowOutcomes
from ostiary.model import limits

_DENIED: Final = "Failed to refresh the access token, and redirecting to OAuth server is not allowed"
_ALLOWED: Final = "Failed to refresh the access token, and forwarding as unauthorized because OAuth failure is allowed"


class Refresher:
    """Redeems refresh tokens, each of them once."""

    def __init__(self, context: Context, outcomes: FlowOutcomes[Redeemed]) -> None:
        self._context = context
        self._outcomes = outcomes

    def decide(self, keys: Keys, request: Request, cookies: RequestCookies, session: Session, now: float) -> Decision:
        """For an invalid session whose refresh token is ours."""
        context, outcomes = self._context, self._outcomes
        if context.token_endpoint is None:
            return self._misconfigured(request, cookies, "Token endpoint cluster not found", "")
        key = redemption_key(b"refresh", keys, context.client_id, context.token_address, session.refresh_token)

        def answer(outcome: Redeemed | None) -> Allow | Respond:
            if outcome is None or outcome.tokens is None:
                return self._failed(keys, request, cookies, outcome or Redeemed(None))
            return self._allow(keys, request, cookies, outcome.tokens)

        recent = outcomes.recent(key, now)
        if recent is not None:
            return answer(recent)
        try:
            fetch = context.token_endpoint.refresh(
                session.refresh_token, secret=keys.client_secret, now=now, entropy=context.entropy
            )
        except ClientCredentialError as problem:
            return self._misconfigured(request, cookies, "Failed to obtain client credential", str(problem))

        return redemption(
            context,
            outcomes,
            keys,
            key,
            fetch,
            now,
            purpose="refresh",
            grace=limits.REFRESH_GRACE,
            answer=answer,
            kept=lambda tokens: self._with_refresh_token(tokens, session.refresh_token),
        )

    @staticmethod
    def _with_refresh_token(tokens: TokenResponse, used: str) -> TokenResponse:
        """RFC 6749 section 6: without a new refresh token the old one stays good."""
        if tokens.refresh_token:
            return tokens
        return TokenResponse(tokens.access_token, tokens.id_token, used, tokens.expires_in, tokens.received)

    def _allow(self, keys: Keys, request: Request, cookies: RequestCookies, tokens: TokenResponse) -> Allow:
        context, names = self._context, self._context.names
        session = new_session(context, keys, cookies, request, tokens)
        stored = {names.bearer_token: session.access_token, names.id_token: session.id_token}
        if not context.cleanup_cookies:
            stored |= {
                names.oauth_hmac: session.mac,
                names.oauth_expires: session.expires,
                names.refresh_token: session.refresh_token,
            }
        values = {name: value for name, value in stored.items() if value}
        forwarded = token_headers(context, session.access_token, session.id_token)
        return Allow(
            remove=context.stripped_with_authorization - {name for name, _ in forwarded},
            set=forwarded,
            cookie=context.cookies_for_application(cookies, values),
            keep_empty_cookie=True,
            response_set=session.set_cookies,
            counters=(context.count.refresh_success, context.count.success),
            via="refreshed",
            note=Note(kind="refresh", flight=spelled(context.entropy(5)), outcome="renewed", asked=request.path),
        )

    def _failed(self, keys: Keys, request: Request, cookies: RequestCookies, outcome: Redeemed) -> Allow | Respond:
        context = self._context
        context.count.refresh_failure.inc()
        if context.allow_failed(request):
            return context.anonymous(cookies, outcome.reason or _ALLOWED)
        why = f"the session could not be renewed: {outcome.told}"
        if context.deny_redirect(request):
            return context.turned_away(_DENIED, why)
        return redirect_to_provider(context, keys, request, cookies, why)

    def _misconfigured(self, request: Request, cookies: RequestCookies, reason: str, details: str) -> Allow | Respond:
        if self._context.allow_failed(request):
            return self._context.anonymous(cookies, reason)
        code = "secret-invalid" if details else "cluster-unknown"
        return self._context.unauthorized(f"{reason}: {details}" if details else reason, code)
