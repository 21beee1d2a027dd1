"""The way to the provider and back: the redirect, the callback's checks, the exchange of the code."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final
from urllib.parse import unquote_plus

from ostiary.core.decision import Decision, Request, Respond
from ostiary.core.flights.note import Note, Outcome, flight_of, set_cookies
from ostiary.core.oauth2.envoy.client_assertion import ClientCredentialError
from ostiary.core.oauth2.envoy.codec import (
    DecryptError,
    code_challenge,
    csrf_token,
    csrf_token_is_ours,
    is_cbc,
    is_flow_id,
    new_code_verifier,
    new_flow_id,
    same_text,
)
from ostiary.core.oauth2.envoy.context import Context, Keys
from ostiary.core.oauth2.envoy.cookies import RequestCookies
from ostiary.core.oauth2.envoy.redemption import redemption, redemption_key
from ostiary.core.oauth2.envoy.session import new_session
from ostiary.core.oauth2.envoy.state import State, StateError, decode_state, encode_state
from ostiary.core.oauth2.envoy.token_response import Redeemed, TokenResponse
from ostiary.core.oauth2.envoy.urls import ascii_target, host_of, path_of, target_of
from ostiary.core.oauth2.outcomes import FlowOutcomes
from ostiary.core.oauth2.token import provider_error
from ostiary.model import limits

_VERIFIER: Final = re.compile(r"[A-Za-z0-9\-._~]{43,128}")
"""RFC 7636 section 4.1."""


def redirect_to_provider(
    context: Context, keys: Keys, request: Request, cookies: RequestCookies, why: str = "no session"
) -> Respond:
    """302 to the authorization endpoint, with the cookies of a new sign-in."""
    base = context.original_base(request)
    redirect_uri = context.redirect_uri(request)
    for what, url in (("authority or original_request_uri", base), ("redirect_uri", redirect_uri)):
        if not context.domains.allow(url):
            cause = f"{what} failed domain allow-list validation: {url}"
            return context.unauthorized(cause, "redirect-uri-template", f"{what} is not in allowed_redirect_domains")
    flow_id = new_flow_id(context.entropy)
    nonce = csrf_token(keys.hmac_secret, flow_id)
    verifier = new_code_verifier(context.entropy)
    location = context.authorization_url(
        redirect_uri=redirect_uri,
        code_challenge=code_challenge(verifier),
        state=encode_state(State(base + ascii_target(request.target), nonce, flow_id)),
    )
    config, writer = context.config, context.writer
    context.count.unauthorized_rq.inc()
    return Respond(
        status=302,
        headers=(
            *writer.set_flow(
                flow_id,
                nonce,
                keys.cipher.encrypt(verifier, context.entropy),
                int(config.csrf_token_expires_in),
                int(config.code_verifier_token_expires_in),
            ),
            *writer.delete_oldest_flows(cookies),
            ("location", location),
        ),
        details="oauth.missing_credentials",
        note=Note(kind="departure", flight=flight_of(flow_id), outcome="away", reason=why, asked=request.path),
    )


@dataclass(frozen=True, slots=True)
class Callback:
    """A callback that belongs to a sign-in of this browser."""

    code: str = field(repr=False)
    """As it stood in the query, not decoded."""
    url: str
    flow_id: str


class CallbackRefused(Exception):
    """Why not. `flow_id` is None unless the CSRF check has passed."""

    def __init__(self, cause: str, code: str, reason: str = "", flow_id: str | None = None, claimed: str = "") -> None:
        """`claimed` is the flow that an unproven `state` names: for operators, nothing else may believe it."""
        super().__init__(cause)
        self.code = code
        self.reason = reason
        self.flow_id = flow_id
        self.claimed = claimed

    def answer(self, context: Context) -> Respond:
        """The 401."""
        flow_id, claimed = self.flow_id, self.claimed
        return context.unauthorized(str(self), self.code, self.reason, flow_id=flow_id, kind="arrival", claimed=claimed)


def check_callback(context: Context, keys: Keys, request: Request, cookies: RequestCookies) -> Callback:
    """Judge the query and the flow's nonce. Raises CallbackRefused."""
    params = _first_values(request.query)
    if "error" in params:
        flow_id = _flow_of(context, keys, cookies, params.get("state", ""))
        error, description = (unquote_plus(params.get(name, "")) for name in ("error", "error_description"))
        refused = provider_error(error, description)
        cause = f"OAuth server returned an error: {_shown_query(request.query)}"
        raise CallbackRefused(cause, refused.code, refused.reason, flow_id)
    if "code" not in params or "state" not in params:
        cause = f"Code or state query param does not exist: {_shown_query(request.query)}"
        raise CallbackRefused(cause, "callback-invalid", "the callback has no `code` or no `state`")
    try:
        state = decode_state(params["state"])
    except StateError as problem:
        raise CallbackRefused(str(problem), "state-invalid", "`state` can't be read") from None
    if not _is_of_this_browser(context, keys, cookies, state):
        claimed = state.flow_id if is_flow_id(state.flow_id) else ""
        code, reason = _csrf_failure(context, cookies, state)
        raise CallbackRefused("CSRF token validation failed", code, reason, claimed=claimed)
    if host_of(state.url) is None:
        cause = f"State url can not be initialized: {state.url}"
        raise CallbackRefused(cause, "state-invalid", "the address in `state` can't be read", state.flow_id)
    if not context.domains.allow(state.url):
        cause = f"State url host is not in the allowed redirect domains: {state.url}"
        reason = "the address in `state` is not in allowed_redirect_domains"
        raise CallbackRefused(cause, "state-invalid", reason, state.flow_id)
    return Callback(params["code"], state.url, state.flow_id)


def _is_of_this_browser(context: Context, keys: Keys, cookies: RequestCookies, state: State) -> bool:
    """The double submit: the nonce in `state` is ours, this browser has it, and the flow's name is the nonce's own."""
    name = context.names.oauth_nonce
    if state.flow_id:
        nonce = state.csrf_token.partition(".")[0]
        if not is_flow_id(state.flow_id) or not same_text(nonce, state.flow_id):
            return False
    held = (state.flow_id and cookies.get(f"{name}.{state.flow_id}")) or cookies.get(name)
    return same_text(held, state.csrf_token) and csrf_token_is_ours(keys.hmac_secret, state.csrf_token)


def _csrf_failure(context: Context, cookies: RequestCookies, state: State) -> tuple[str, str]:
    """The code, and what it means here."""
    name = context.names.oauth_nonce
    if not (cookies.get(f"{name}.{state.flow_id}") or cookies.get(name)):
        return "csrf-cookie-missing", f"the cookie {name} of this sign-in did not come back"
    return "csrf-mismatch", f"the cookie {name} and `state` are not of one sign-in, or of another HMAC secret"


def _flow_of(context: Context, keys: Keys, cookies: RequestCookies, text: str) -> str | None:
    try:
        state = decode_state(text)
    except StateError:
        return None
    return state.flow_id if _is_of_this_browser(context, keys, cookies, state) else None


def _first_values(query: str) -> dict[str, str]:
    """Parameters as they stand in the query, not decoded; the first of a name wins."""
    params: dict[str, str] = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if pair:
            params.setdefault(name, value)
    return params


def _shown_query(query: str) -> str:
    pairs = sorted((pair.partition("=")[::2] for pair in query.split("&") if pair), key=itemgetter(0))
    return "?" + "&".join(f"{name}={value}" for name, value in pairs) if pairs else ""


def finish_while_signed_in(context: Context, callback: Callback) -> Respond:
    """A callback that comes when another tab has signed in already: go on without redeeming the code."""
    target = target_of(callback.url)
    if context.is_callback(path_of(target)):
        cause = f"State url query params matches the redirect path matcher: {target}"
        reason = "the address in `state` is the callback itself"
        return context.unauthorized(cause, "state-invalid", reason, flow_id=callback.flow_id)
    return Respond(
        status=302,
        headers=(("location", callback.url), *context.writer.delete_flow(callback.flow_id)),
        details="oauth.race_redirect",
        note=_arrival(callback, "already-signed-in"),
    )


def _arrival(callback: Callback, outcome: Outcome, cookies: tuple[tuple[str, str], ...] = ()) -> Note:
    count, size = set_cookies(cookies)
    return Note(
        kind="arrival",
        flight=flight_of(callback.flow_id),
        outcome=outcome,
        asked=path_of(target_of(callback.url)),
        verified="skipped" if outcome == "signed-in" else "",
        cookies=count,
        cookie_bytes=size,
    )


def redeem(
    context: Context,
    outcomes: FlowOutcomes[Redeemed],
    keys: Keys,
    request: Request,
    cookies: RequestCookies,
    callback: Callback,
    now: float,
) -> Decision:
    """Exchange the code for tokens, once: a browser that loads the callback again gets what the first time bought."""
    try:
        verifier = _verifier(context, keys, cookies, callback)
    except CallbackRefused as refused:
        return refused.answer(context)
    if context.token_endpoint is None:
        return context.unauthorized("Token endpoint cluster not found", "cluster-unknown", flow_id=callback.flow_id)
    redirect_uri = context.redirect_uri(request)
    flow = (callback.flow_id, callback.code, verifier, redirect_uri)  # this sign-in of this browser alone
    key = redemption_key(b"callback", keys, context.client_id, context.token_address, *flow)

    def answer(outcome: Redeemed | None) -> Respond:
        if outcome is None or outcome.tokens is None:
            redeemed = outcome or Redeemed(None)
            said = redeemed.told or "the token request had no outcome"
            return context.unauthorized(redeemed.cause, redeemed.code, said, flow_id=callback.flow_id)
        return _signed_in(context, keys, request, cookies, callback, outcome.tokens)

    recent = outcomes.recent(key, now)
    if recent is not None:
        return answer(recent)
    try:
        fetch = context.token_endpoint.exchange(
            callback.code,
            redirect_uri=redirect_uri,
            verifier=verifier,
            secret=keys.client_secret,
            now=now,
            entropy=context.entropy,
        )
    except ClientCredentialError as problem:
        cause = f"Failed to obtain client credential: {problem}"
        return context.unauthorized(cause, "secret-invalid", flow_id=callback.flow_id)

    return redemption(
        context,
        outcomes,
        keys,
        key,
        fetch,
        now,
        purpose="sign-in",
        grace=limits.CALLBACK_GRACE,
        answer=answer,
    )


def _verifier(context: Context, keys: Keys, cookies: RequestCookies, callback: Callback) -> str:
    """The PKCE verifier of this sign-in. Raises CallbackRefused."""
    name = context.names.code_verifier
    stored = (callback.flow_id and cookies.get(f"{name}.{callback.flow_id}")) or cookies.get(name)
    if not stored:
        cause = "Code verifier cookie is missing in the request"
        raise CallbackRefused(cause, "csrf-cookie-missing", flow_id=callback.flow_id)
    try:
        verifier = keys.cipher.decrypt(stored)
        if not _VERIFIER.fullmatch(verifier):
            raise DecryptError("failed to finalize decryption")
    except DecryptError as problem:
        cause = f"Failed to decrypt code verifier: ({len(stored)} bytes, not shown), error: {problem}"
        raise CallbackRefused(cause, "code-verifier-invalid", flow_id=callback.flow_id) from problem
    if is_cbc(stored):
        context.count.legacy_cbc_decrypt.inc()
    return verifier


def _signed_in(
    context: Context,
    keys: Keys,
    request: Request,
    cookies: RequestCookies,
    callback: Callback,
    tokens: TokenResponse,
) -> Respond:
    session = new_session(context, keys, cookies, request, tokens)
    context.count.success.inc()
    return Respond(
        status=302,
        headers=(*session.set_cookies, *context.writer.delete_flow(callback.flow_id), ("location", callback.url)),
        details="oauth.logged_in",
        note=_arrival(callback, "signed-in", session.set_cookies),
    )
