"""Our own addresses under the prefix: start, callback, sign_out, userinfo, auth, live, ready."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, final
from urllib.parse import parse_qsl

import msgspec

from ostiary.core.decision import Decision, Request, Respond, Start
from ostiary.core.flights.note import Note, flight_of, set_cookies
from ostiary.core.oauth2 import flow, signout
from ostiary.core.oauth2.exchange import SignInOutcome
from ostiary.core.oauth2.failures import SignInError
from ostiary.core.oauth2.flow import PendingSignIn
from ostiary.core.oauth2.gate import Gate, Steps
from ostiary.core.oauth2.identity import headers_of
from ostiary.core.oauth2.replies import wants_html
from ostiary.core.oauth2.return_url import HOME, return_url
from ostiary.core.oauth2.session import Session
from ostiary.core.oauth2.token import provider_error
from ostiary.core.oauth2.visit import Visit, forwarded_place, place_at
from ostiary.core.oidc import ProviderMetadata
from ostiary.model import limits

_MAX_PARAMETERS: Final = 32
_READ: Final = ("GET", "HEAD")
_PROMPTS: Final = ("none", "login", "consent", "select_account")
_SELECTS_ACCOUNT: Final = ("google", "entra", "github")
_ONCE: Final = ("state", "code", "error", "error_description", "iss")


_NOTHING: Final = SignInOutcome(None, "internal-error", "a sign-in ended without an outcome")


@final
class Endpoints:
    """One handler an address."""

    def __init__(self, gate: Gate, is_draining: Callable[[], bool]) -> None:
        self._gate = gate
        self._is_draining = is_draining
        self._outcomes = gate.memory.callbacks
        self._handlers: dict[str, tuple[tuple[str, ...] | None, Callable[[Visit], Decision]]] = {
            "start": (_READ, self._start),
            "callback": (("GET",), self._callback),
            "sign_out": (("GET", "POST"), self._sign_out),
            "userinfo": (_READ, self._userinfo),
        }

    def answer(self, request: Request, now: float) -> Decision:
        """Answer a request under the prefix. Raises SignInError."""
        name = request.path.removeprefix(self._gate.config.prefix).removeprefix("/")
        if name in ("live", "ready"):
            return self._live() if name == "live" else self._ready(now)
        if name == "auth":
            return self._auth(request, now)
        if name not in self._handlers:
            raise SignInError("not-found", "")
        methods, handler = self._handlers[name]
        if methods is not None and request.method not in methods:
            return self._wrong_method(request, methods)
        return handler(self._gate.visit(request, now))

    def _wrong_method(self, request: Request, methods: tuple[str, ...]) -> Respond:
        note = Note(
            kind="other",
            flight=flow.new_flight(self._gate.entropy),
            outcome="refused",
            code="method-not-allowed",
            reason=request.method[:20],
        )
        answer = self._gate.replies.failed(note, html=wants_html(request), retry=HOME)
        return msgspec.structs.replace(answer, headers=(*answer.headers, ("allow", ", ".join(methods))))

    # --- in

    def _start(self, visit: Visit) -> Decision:
        params = _parameters(visit.request.query) or {}
        extra = {}
        prompt = params.get("prompt", "")
        if prompt in _PROMPTS:
            selects = prompt == "login" and self._gate.config.provider.preset in _SELECTS_ACCOUNT
            extra["prompt"] = "select_account" if selects else prompt
        return self._gate.begin(visit, self._return_url(visit, params), extra=extra)

    def _callback(self, visit: Visit) -> Decision:
        params = _parameters(visit.request.query)
        if params is None:
            return self._fail(visit, SignInError("callback-invalid", "parameters missing, twice, or too many"))
        key = params.get("state", "")
        if not flow.is_key(key):
            return self._fail(visit, SignInError("state-invalid", "state is not one of ours"))
        pending = self._gate.keeper.opened(lambda ring: flow.find(key, visit.cookies, visit.policy, ring))
        if pending is None or not pending.is_alive(visit.now):
            return self._lost(visit, key, pending)
        if "error" in params:
            refused = provider_error(params["error"], params.get("error_description"))
            return self._fail(visit, refused, key, pending)
        if not params.get("code"):
            return self._fail(visit, SignInError("callback-invalid", "neither code nor error"), key, pending)
        return self._once(visit, key, pending, params["code"], params.get("iss"))

    def _lost(self, visit: Visit, key: str, pending: PendingSignIn | None) -> Decision:
        """The attempt is gone or too old: on if there is a session meanwhile, else once more from the start."""
        return_to = pending.return_url if pending is not None else HOME
        gone = visit.policy.delete([visit.policy.flow(key)] if pending is not None else [])
        if visit.session is not None:
            note = Note(
                kind="arrival",
                flight=_flight(key, pending),
                outcome="already-signed-in",
                user=visit.session.email or visit.session.subject,
                asked=return_to,
            )
            return self._gate.replies.redirect(return_to, "already signed in", gone, note)
        if flow.was_restarted(key):
            reason = (
                "the flow cookie did not come back, twice" if pending is None else "the sign-in took too long, twice"
            )
            return self._fail(visit, SignInError("csrf-cookie-missing", reason), key, pending)
        why = "the callback came without its cookie" if pending is None else "the callback came too late"
        return self._gate.begin(visit, return_to, restart_of=_flight(key, pending), cookies=gone, why=why)

    def _once(self, visit: Visit, key: str, pending: PendingSignIn, code: str, issuer: str | None) -> Decision:
        """Redeem the code, unless this callback is a second one: a browser that reloads sends the same cookies."""
        keeper, outcomes = self._gate.keeper, self._outcomes
        once = flow.single_flight(key, pending, code, issuer)

        def arrive(outcome: SignInOutcome | None) -> Respond:
            return self._arrive(visit, key, pending, outcome or _NOTHING)

        def adopt(sealed: bytes) -> Respond | None:
            outcome = keeper.opened(lambda ring: outcomes.adopt(once, sealed, ring.opening("outcome")))
            return None if outcome is None else arrive(outcome)

        recent = outcomes.recent(once, visit.now)
        if recent is not None:
            return arrive(recent)
        return Start(
            flow=self._complete(visit, key, pending, code, issuer, once),
            single_flight=once,
            purpose="token",
            follow=lambda _: arrive(outcomes.last(once)),
            share=lambda: outcomes.share(once, keeper.keys.sealing("outcome")),
            adopt=adopt,
            longest=self._gate.longest,
        )

    def _complete(
        self, visit: Visit, key: str, pending: PendingSignIn, code: str, issuer: str | None, once: bytes
    ) -> Steps:
        recent = self._outcomes.recent(once, visit.now)  # it ended between the decision and now
        if recent is not None:
            return self._arrive(visit, key, pending, recent)
        self._outcomes.begin(once)
        grace = 0.0  # what failed may be tried again
        try:
            session = yield from self._gate.exchange.complete(pending, code, issuer, visit.now)
            headers_of(session, self._gate.config)  # a session that no request could use must not begin
            outcome, grace = SignInOutcome(session), limits.CALLBACK_GRACE
        except SignInError as error:
            outcome = SignInOutcome(None, error.code, error.reason)
        now = visit.now if outcome.session is None else outcome.session.last_seen
        self._outcomes.remember(once, outcome, now, grace)
        return self._arrive(visit, key, pending, outcome)

    def _arrive(self, visit: Visit, key: str, pending: PendingSignIn, outcome: SignInOutcome) -> Respond:
        session, policy = outcome.session, visit.policy
        if session is None:
            return self._fail(visit, SignInError(outcome.code, outcome.reason), key, pending)
        try:
            cookies = self._gate.keeper.store(session, visit.cookies, policy, session.last_seen)
        except SignInError as error:
            return self._fail(visit, error, key, pending)
        self._gate.success.inc()
        written = [*cookies, *policy.delete([policy.flow(key)])]
        count, size = set_cookies(cookies)
        note = Note(
            kind="arrival",
            flight=pending.flight,
            outcome="signed-in",
            why=self._why(visit, pending, session),
            user=session.email or session.subject,
            asked=pending.return_url,
            left_at=pending.created,
            verified="passed" if self._gate.provider.needs_keys else "skipped",
            cookies=count,
            cookie_bytes=size,
        )
        return self._gate.replies.redirect(pending.return_url, "signed in", written, note)

    def _why(self, visit: Visit, pending: PendingSignIn, session: Session) -> str:
        """What the rules will say about the page that was asked for."""
        target = pending.return_url
        if not target.startswith("/"):
            return ""  # on another host
        try:
            place = place_at(visit.request.authority, target)
        except SignInError:
            return ""
        return place.judge(self._gate.config.rules, session).why

    def _fail(self, visit: Visit, error: SignInError, key: str = "", pending: PendingSignIn | None = None) -> Respond:
        self._gate.failure.inc()
        refused_token = error.code.startswith("jwt-") or error.code == "clock-skew"
        note = Note(
            kind="arrival" if key else "access",
            flight=_flight(key, pending) if key else flow.new_flight(self._gate.entropy),
            outcome="failed",
            code=error.code,
            reason=error.reason,
            asked=pending.return_url if pending is not None else "",
            left_at=pending.created if pending is not None else None,
            verified="failed" if refused_token else "",
        )
        return self._gate.replies.failed(
            note,
            html=visit.wants_html,
            retry=pending.return_url if pending is not None else HOME,
            cookies=visit.policy.delete([visit.policy.flow(key)]) if pending is not None else [],
        )

    # --- out

    def _sign_out(self, visit: Visit) -> Decision:
        replies, prefix = self._gate.replies, self._gate.config.prefix
        if not signout.is_deliberate(visit.request, visit.origin):
            note = Note(
                kind="other",
                flight=flow.new_flight(self._gate.entropy),
                outcome="refused",
                code="signout-cross-site",
            )
            link = ("Sign out", f"{prefix}/sign_out")
            return replies.failed(note, html=visit.wants_html, link=link)
        if visit.session is None:
            return self._signed_out(visit, None, None)
        return Start(flow=self._end_session(visit, visit.session), purpose="revocation")

    def _end_session(self, visit: Visit, session: Session) -> Steps:
        metadata: ProviderMetadata | None = None
        try:
            metadata, visit.now = yield from self._gate.provider.fetch_metadata(visit.now)
            yield from self._gate.exchange.revoke(metadata, session, visit.now)
        except SignInError:
            pass  # signing out here must work without the provider
        note = Note(
            kind="sign-out",
            flight=flow.new_flight(self._gate.entropy),
            outcome="signed-out",
            user=session.email or session.subject,
        )
        return msgspec.structs.replace(self._signed_out(visit, metadata, session), note=note)

    def _signed_out(self, visit: Visit, metadata: ProviderMetadata | None, session: Session | None) -> Respond:
        gate, policy = self._gate, visit.policy
        names = [*policy.session_names(visit.cookies), *(policy.flow(k) for k in policy.flow_keys(visit.cookies))]
        cookies = policy.delete(names)
        wanted = (_parameters(visit.request.query) or {}).get("rd", "")
        chosen = self._allowed(visit, wanted) if wanted else None
        back = chosen or gate.config.sign_out_redirect
        if metadata is not None and session is not None:
            return_to = f"{visit.origin}{back}" if back.startswith("/") else back
            location = signout.end_session_url(
                metadata, gate.config.provider, id_token=session.id_token, return_to=return_to
            )
            if location:
                return self._leave(visit, location, cookies)
        if chosen is None and gate.config.sign_out_redirect == HOME and visit.wants_html:
            return gate.replies.page("signed_out", 200, {"again": gate.replies.start_url(HOME)}, cookies)
        return self._leave(visit, back, cookies)

    def _leave(self, visit: Visit, location: str, cookies: list[str]) -> Respond:
        if visit.wants_html:
            return self._gate.replies.redirect(location, "signed out", cookies)
        return self._gate.replies.json(200, {"signed_out": True, "location": location}, "signed out", cookies=cookies)

    # --- about

    def _auth(self, request: Request, now: float) -> Decision:
        visit = self._gate.visit(request, now, forward_auth=True)
        try:
            visit.place = forwarded_place(request, self._gate.config)
        except SignInError as error:
            if visit.session is None:
                return self._unauthenticated(visit)
            return self._fail(visit, error)
        return self._gate.authorize(visit)

    def _userinfo(self, visit: Visit) -> Respond:
        session = visit.session
        if session is None:
            return self._unauthenticated(visit)
        document: dict[str, Any] = {
            "user": session.subject,
            "email": session.email,
            "preferred_username": session.preferred_username,
            "name": session.name,
            "groups": session.groups,
            "claims": session.claims,
            "signed_in": session.created,
            "expires": self._gate.keeper.ends_at(session),
        }
        return self._gate.replies.json(200, document, "userinfo")

    def _unauthenticated(self, visit: Visit) -> Respond:
        return self._gate.replies.unauthenticated(visit.return_to, "no session", flow.new_flight(self._gate.entropy))

    def _live(self) -> Respond:
        return self._gate.replies.json(200, {"live": True}, "live", health_check=True)

    def _ready(self, now: float) -> Decision:
        if self._is_draining():
            return self._gate.replies.json(503, {"ready": False, "error": "draining"}, "draining", health_check=True)
        if self._gate.provider.is_ready:
            return self._gate.replies.json(200, {"ready": True}, "ready", health_check=True)
        return Start(flow=self._become_ready(now), purpose="discovery")

    def _become_ready(self, now: float) -> Steps:
        try:
            yield from self._gate.provider.refresh(now)
        except SignInError as error:
            document = {"ready": False, "error": error.code}
            return self._gate.replies.json(503, document, f"{error.code}: {error.reason}", health_check=True)
        return self._gate.replies.json(200, {"ready": True}, "ready", health_check=True)

    # --- return addresses

    def _return_url(self, visit: Visit, params: Mapping[str, str]) -> str:
        return self._allowed(visit, params["rd"]) or HOME if "rd" in params else HOME

    def _allowed(self, visit: Visit, wanted: str) -> str | None:
        config = self._gate.config
        return return_url(wanted, visit.origin, config.allowed_redirect_hosts, config.prefix)


def _flight(key: str, pending: PendingSignIn | None) -> str:
    """Also of an attempt whose cookie is lost."""
    return pending.flight if pending is not None else flight_of(key)


def _parameters(query: str) -> dict[str, str] | None:
    """The parameters of a query; None if there are too many, or one that must be single comes twice."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_PARAMETERS, errors="replace")
    except ValueError:
        return None
    names = [name for name, _ in pairs]
    return None if any(names.count(name) > 1 for name in _ONCE) else dict(pairs)
