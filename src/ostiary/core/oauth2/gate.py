"""Who is let in: from a visit to a decision.

First what the rules say about the place, then whether there is a session and whether its tokens are fresh, then what
the rules say about the person.

A refresh runs once for a session, however many requests arrive, in however many workers: the shell joins them
(`Start.single_flight`), and for REFRESH_GRACE the keeper's memory of its outcome answers those that still carry the old
cookie. The outcome is shared; each request gets an answer made for its own cookies and address. A refresh without an
answer is not tried again for REFRESH_RETRY_DELAY; the session goes on while its access token lives, and
REFRESH_FAILURE_TOLERANCE beyond if no token is handed on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import final

import msgspec

from ostiary.core.access import Verdict, under
from ostiary.core.decision import Allow, Counter, Decision, Entropy, Fetch, Fetched, Request, Respond, Start
from ostiary.core.flights.note import Note
from ostiary.core.oauth2 import flow
from ostiary.core.oauth2.cookies import CookiePolicy, parse_cookies
from ostiary.core.oauth2.exchange import RefreshOutcome, TokenExchange
from ostiary.core.oauth2.failures import SignInError
from ostiary.core.oauth2.identity import header_value, headers_of
from ostiary.core.oauth2.keeper import SessionKeeper, touched
from ostiary.core.oauth2.memory import Memory
from ostiary.core.oauth2.replies import Replies
from ostiary.core.oauth2.return_url import parse_external_url
from ostiary.core.oauth2.session import KeyRing, Session, session_key
from ostiary.core.oauth2.token import authorization_url
from ostiary.core.oauth2.visit import Visit, origin_of, place_of
from ostiary.core.oidc import ProviderMetadata
from ostiary.core.paths import is_plain
from ostiary.model import limits
from ostiary.model.secret import Secret
from ostiary.model.signin import SignIn

Steps = Generator[Fetch, Fetched, Allow | Respond]


@final
class Gate:
    """The decisions of one filter in one worker."""

    def __init__(
        self,
        config: SignIn,
        *,
        client_secret: Callable[[], Secret | None],
        keys: Callable[[], KeyRing],
        entropy: Entropy,
        counter: Callable[[str], Counter],
        replies: Replies,
        memory: Memory,
        look_again: Callable[[], bool] = lambda: False,
    ) -> None:
        self.config = config
        self.replies = replies
        self.entropy = entropy
        self.memory = memory
        self.provider = memory.provider
        self.exchange = TokenExchange(config, self.provider, client_secret, entropy)
        self.keeper = SessionKeeper(config.session, keys, entropy, memory.refreshes, look_again)
        self.longest = max(limits.LEASE_TIME, limits.MAX_FETCHES_PER_FLOW * config.provider.timeout)
        self._external = parse_external_url(config.external_url) if config.external_url else None
        if config.external_url and self._external is None:
            raise ValueError("external_url is not an http(s) origin")
        self._forwards_token = config.pass_access_token or config.pass_authorization
        self.success, self.failure = counter("oauth_success"), counter("oauth_failure")
        self._unauthorized, self._passthrough = counter("oauth_unauthorized_rq"), counter("oauth_passthrough")
        self._denied = counter("oauth_access_denied")
        self._refreshed, self._unrefreshed = (
            counter("oauth_refreshtoken_success"),
            counter("oauth_refreshtoken_failure"),
        )

    def visit(self, request: Request, now: float, *, forward_auth: bool = False, hostless: bool = False) -> Visit:
        """Read a request, `hostless` one of HTTP/1.0 too. Raises SignInError for one that can't be judged."""
        origin = origin_of(request, self._external)
        if not origin.host and not hostless:
            raise SignInError("redirect-uri-template", "there is no Host header")
        session = self.config.session
        policy = CookiePolicy(
            base=session.cookie_name,
            secure=origin.scheme == "https",
            domain=session.cookie_domain,
            same_site=session.same_site,
        )
        headers = request.headers.get_all("cookie")
        header = "; ".join(headers) if headers else None
        cookies = parse_cookies(header) if header else []
        return Visit(
            request=request,
            now=now,
            origin=origin,
            policy=policy,
            cookie_header=header,
            cookies=cookies,
            place=place_of(request),
            prefix=self.config.prefix,
            forward_auth=forward_auth,
            session=self.keeper.load(cookies, policy, now),
        )

    def authorize(self, visit: Visit) -> Decision:
        """Judge a visit."""
        session = visit.session
        verdict = visit.place.judge(self.config.rules, session)
        if verdict.outcome == "public":
            return self._admit(visit, session, visit.now, via="public", counter=self._passthrough)
        if verdict.outcome == "deny":
            return self.deny(visit, verdict, session)
        if session is None:
            return self.challenge(visit, "no session")
        outcome = self.keeper.outcome(session, visit.now)
        if outcome is not None:
            return self._after_refresh(visit, outcome)
        if session.refresh_at is not None and not visit.now < session.refresh_at:
            return self._refresh(visit, session)
        if self._forwards_token and session.access_expires is not None and not visit.now < session.access_expires:
            return self.challenge(visit, "the access token has expired")
        return self._admit(visit, session, visit.now, via="session", counter=self.success)

    def challenge(self, visit: Visit, why: str) -> Decision:
        """Ask for a sign-in: a browser is sent there, a program is told."""
        if visit.is_navigation:
            return self.begin(visit, visit.return_to, cookies=self.keeper.forget(visit.cookies, visit.policy), why=why)
        return self._turn_away(visit, why)

    def begin(
        self,
        visit: Visit,
        return_to: str,
        *,
        restart_of: str = "",
        extra: Mapping[str, str] | None = None,
        cookies: Iterable[str] = (),
        why: str = "",
    ) -> Decision:
        """Send the browser to the provider; what is known of it is asked for first if that is nothing yet.

        `restart_of` is the flight whose attempt is lost, `why` says for operators what asks for a sign-in.
        """
        metadata = self.provider.metadata
        if metadata is not None:
            return self._to_provider(visit, metadata, return_to, restart_of, extra or {}, cookies, why)
        steps = self._begin(visit, return_to, restart_of, extra or {}, cookies, why)
        return Start(flow=steps, purpose="discovery")

    def deny(self, visit: Visit, verdict: Verdict, session: Session | None, cookies: Iterable[str] = ()) -> Respond:
        """403: signed in, or not even that would help."""
        self._denied.inc()
        note = Note(
            kind="access",
            flight=flow.new_flight(self.entropy),
            outcome="denied",
            code="access-denied",
            reason=verdict.why,
            why=verdict.why,
            user="" if session is None else session.email or session.subject,
            asked=visit.request.path,
        )
        if session is None or not visit.wants_html:
            return self.replies.failed(note, html=visit.wants_html, cookies=cookies)
        context = {
            "who": session.email or session.preferred_username or session.name or session.subject,
            "code": note.code,
            "flight": note.flight,
            "sign_out": f"{self.config.prefix}/sign_out",
            "switch": self.replies.start_url(visit.return_to, prompt="login"),
        }
        page = self.replies.page("no_access", 403, context, cookies)
        details = f"access-denied: {verdict.why}"
        return msgspec.structs.replace(page, details=details, flight=note.flight, local_reply=True, note=note)

    def is_ordinary(self, path: str) -> bool:
        """Whether no rule singles out this path in any reading, or looks at host or method."""
        if not is_plain(path) or under(self.config.prefix, path):
            return False
        return not any(
            rule.hosts or rule.methods or any(under(prefix, path) for prefix in rule.paths)
            for rule in self.config.rules
        )

    def _admit(
        self,
        visit: Visit,
        session: Session | None,
        now: float,
        *,
        via: str,
        counter: Counter,
        write: bool = False,
        until: float | None = None,
    ) -> Allow | Respond:
        headers: tuple[tuple[str, str], ...] = ()
        cookies: list[str] = []
        valid_until = 0.0
        if session is not None:
            headers = headers_of(session, self.config)
            if write or not now < self.keeper.restamp_at(session):
                session = touched(session, now)
                cookies = self.keeper.store(session, visit.cookies, visit.policy, now)
            elif via != "public" and self.is_ordinary(visit.request.path):
                valid_until = self._valid_until(session) if until is None else until
        response_set = tuple(("set-cookie", cookie) for cookie in cookies)
        if visit.forward_auth:
            return Respond(status=202, headers=(("cache-control", "no-store"), *headers, *response_set), details=via)
        return Allow(
            set=headers,
            cookie=visit.application_cookies,
            response_set=response_set,
            user="" if session is None else header_value(session.email or session.subject),
            counters=(counter,),
            valid_until=valid_until,
            via=via,
        )

    def _valid_until(self, session: Session) -> float:
        times = [self.keeper.ends_at(session), self.keeper.restamp_at(session)]
        if session.refresh_at is not None:
            times.append(session.refresh_at)
        if self._forwards_token and session.access_expires is not None:
            times.append(session.access_expires)
        return min(times)

    def _turn_away(self, visit: Visit, why: str, cookies: Iterable[str] = ()) -> Respond:
        self._unauthorized.inc()
        flight = flow.new_flight(self.entropy)
        if visit.wants_html and visit.request.method not in ("GET", "HEAD"):
            note = Note(kind="access", flight=flight, outcome="failed", code="session-ended", reason=why)
            return self.replies.failed(note, html=True, retry=visit.return_to, cookies=cookies)
        return self.replies.unauthenticated(visit.return_to, why, flight, cookies)

    def _begin(
        self,
        visit: Visit,
        return_to: str,
        restart_of: str,
        extra: Mapping[str, str],
        cookies: Iterable[str],
        why: str,
    ) -> Steps:
        metadata, visit.now = yield from self.provider.fetch_metadata(visit.now)
        return self._to_provider(visit, metadata, return_to, restart_of, extra, cookies, why)

    def _to_provider(
        self,
        visit: Visit,
        metadata: ProviderMetadata,
        return_to: str,
        restart_of: str,
        extra: Mapping[str, str],
        cookies: Iterable[str],
        why: str = "",
    ) -> Respond:
        if not visit.origin.host:
            raise SignInError("redirect-uri-template", "there is no Host header")
        self._unauthorized.inc()
        key = flow.new_key(self.entropy, restarted=bool(restart_of))
        redirect_uri = f"{visit.origin}{self.config.prefix}/callback"
        pending = flow.new_pending(self.entropy, key, return_url=return_to, redirect_uri=redirect_uri, now=visit.now)
        location = authorization_url(
            metadata,
            self.config.provider,
            redirect_uri=redirect_uri,
            state=key,
            nonce=pending.nonce,
            code_challenge=flow.challenge(pending.verifier),
            extra=extra,
        )
        ring = self.keeper.keys
        written = [
            *cookies,
            *visit.policy.delete(flow.surplus(visit.cookies, visit.policy, ring)),
            flow.store(key, pending, visit.policy, ring, self.entropy),
        ]
        note = Note(
            kind="departure",
            flight=pending.flight,
            outcome="away",
            reason=why,
            asked=return_to,
            restart_of=restart_of,
        )
        return self.replies.redirect(location, "sign-in", written, note)

    def _refresh(self, visit: Visit, session: Session) -> Start:
        keeper = self.keeper

        def follow(_: Allow | Respond) -> Allow | Respond:
            outcome = keeper.awaited(session)
            if outcome is None:
                raise SignInError("internal-error", "a refresh ended without an outcome")
            return self._after_refresh(visit, outcome)

        def adopt(sealed: bytes) -> Allow | Respond | None:
            outcome = keeper.adopt(session, sealed)
            return None if outcome is None else self._after_refresh(visit, outcome)

        return Start(
            flow=self._refresh_steps(visit, session),
            single_flight=session_key(session),
            purpose="refresh",
            follow=follow,
            share=lambda: keeper.share(session),
            adopt=adopt,
            longest=self.longest,
        )

    def _refresh_steps(self, visit: Visit, session: Session) -> Steps:
        recent = self.keeper.outcome(session, visit.now)  # it ended between the decision and now
        if recent is not None:
            return self._after_refresh(visit, recent)
        self.keeper.begin(session)
        outcome = yield from self.exchange.refresh(session, visit.now)
        self.keeper.remember(session, outcome)
        (self._refreshed if outcome.result == "renewed" else self._unrefreshed).inc()
        answer = self._after_refresh(visit, outcome)
        if answer.note is not None:  # a redirect, or a refusal, has its own
            return answer
        note = Note(
            kind="refresh",
            flight=flow.new_flight(self.entropy),
            outcome=outcome.result,
            code=outcome.code,
            reason=outcome.reason,
            user=session.email or session.subject,
            asked=visit.request.path,
        )
        return msgspec.structs.replace(answer, note=note)

    def _after_refresh(self, visit: Visit, outcome: RefreshOutcome) -> Allow | Respond:
        visit.now = now = max(visit.now, outcome.now)
        session = outcome.session
        if outcome.result == "renewed":
            verdict = visit.place.judge(self.config.rules, session)
            if verdict.outcome == "deny":  # the new tokens are kept nevertheless: the old ones may be used up
                cookies = self.keeper.store(session, visit.cookies, visit.policy, now)
                return self.deny(visit, verdict, session, cookies)
            return self._admit(visit, session, now, via="refreshed", counter=self.success, write=True)
        if outcome.result == "ended":
            why = f"{outcome.code}: {outcome.reason}"
            metadata = self.provider.metadata
            cookies = self.keeper.forget(visit.cookies, visit.policy)
            if visit.is_navigation and metadata is not None:
                return self._to_provider(visit, metadata, visit.return_to, "", {}, cookies, why)
            return self._turn_away(visit, why, cookies)
        expires = session.access_expires
        tolerance = 0.0 if self._forwards_token else limits.REFRESH_FAILURE_TOLERANCE
        if expires is None or now < expires + tolerance:
            until = min(outcome.now + limits.REFRESH_RETRY_DELAY, self.keeper.ends_at(session))
            return self._admit(visit, session, now, via="unrefreshed", counter=self.success, until=until)
        raise SignInError(outcome.code, outcome.reason)
