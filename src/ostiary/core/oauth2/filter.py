"""The native sign-in filter: one request in, one decision out, whatever happens.

Nothing a client or a provider sends may raise out of here, and no exception may let anyone in: what is expected to fail
is a SignInError and becomes its page; what isn't becomes a 500 that says so, in `decide`, inside a flow, and for those
who waited for another request's flow.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Final, TypeVar, final

from msgspec.structs import replace

from ostiary.core.access import under
from ostiary.core.decision import Counter, Decision, Entropy, Fetch, Fetched, Flow, Request, Respond, Start
from ostiary.core.flights.note import Note
from ostiary.core.oauth2.endpoints import Endpoints
from ostiary.core.oauth2.failures import SignInError, failure
from ostiary.core.oauth2.flow import new_flight
from ostiary.core.oauth2.gate import Gate
from ostiary.core.oauth2.identity import identity_headers
from ostiary.core.oauth2.memory import Memory
from ostiary.core.oauth2.replies import Render, Replies, wants_html
from ostiary.core.oauth2.return_url import HOME
from ostiary.core.oauth2.session import KeyRing
from ostiary.model.secret import Secret
from ostiary.model.signin import SignIn

A = TypeVar("A")
B = TypeVar("B")
_PLAIN: Final = (("content-type", "text/plain; charset=utf-8"), ("cache-control", "no-store"))


@final
class SignInFilter:
    """The filter of the native profile (`ostiary.core.decision.Filter`)."""

    def __init__(
        self,
        config: SignIn,
        *,
        client_secret: Callable[[], Secret | None],
        keys: Callable[[], KeyRing],
        entropy: Entropy,
        counter: Callable[[str], Counter],
        render: Render,
        look_again: Callable[[], bool] = lambda: False,
        is_draining: Callable[[], bool] = lambda: False,
        before: Iterable[Memory] = (),
    ) -> None:
        """`client_secret` and `keys` are asked whenever they are needed, so files may change; `look_again` reads them
        now and says whether they have; `is_draining`: nobody new should come here; `counter` makes or finds a counter
        by its short name; `render` makes a page of a name and a context; `before` is what other filters remember.
        Raises ValueError for a configuration that can't work."""
        self.memory = Memory(config.provider, entropy, before)
        self._replies = Replies(render, config.prefix)
        self._gate = Gate(
            config,
            client_secret=client_secret,
            keys=keys,
            entropy=entropy,
            counter=counter,
            replies=self._replies,
            memory=self.memory,
            look_again=look_again,
        )
        self._endpoints = Endpoints(self._gate, is_draining)
        self._strip = identity_headers(config)
        self._prefix = config.prefix

    @property
    def is_ready(self) -> bool:
        """Whether a sign-in could be completed with what is known of the provider."""
        return self._gate.provider.is_ready

    @property
    def provider_name(self) -> str:
        """How people call the provider: its issuer, or where it gives tokens."""
        return self._gate.config.provider.issuer or self._gate.config.provider.token_endpoint

    def decide(self, request: Request, now: float) -> Decision:
        """Judge one request. Never raises for anything a client can send."""
        try:
            decision = self._decide(request, now)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody is let in by it
            return self._refuse(request, error)
        if isinstance(decision, Start):
            return replace(
                decision,
                flow=self._guarded(decision.flow, request),
                follow=None if decision.follow is None else self._guarded_call(decision.follow, request),
                adopt=None if decision.adopt is None else self._guarded_call(decision.adopt, request),
            )
        return decision

    def is_ordinary(self, path: str) -> bool:
        """Whether an `Allow` may be used again for this path: it is none of ours, and no rule singles it out."""
        return self._gate.is_ordinary(path)

    def reads(self) -> frozenset[str]:
        """Who is signed in follows from the cookies; Authorization may be replaced."""
        return frozenset(("cookie", "authorization"))

    def request_headers_to_strip(self) -> frozenset[str]:
        """The identity headers: only this filter may set them."""
        return self._strip

    def maintenance(self, now: float) -> Generator[Fetch, Fetched, None] | None:
        """What should be fetched in the background now (discovery, keys), or None if nothing is due.

        The shell may drive it at start and then every few seconds; without it, sign-ins fetch on their own.
        """
        return self._maintain(now) if self._gate.provider.due(now) else None

    def _decide(self, request: Request, now: float) -> Decision:
        if under(self._prefix, request.path):
            return self._endpoints.answer(request, now)
        return self._gate.authorize(self._gate.visit(request, now, hostless=True))

    def _maintain(self, now: float) -> Generator[Fetch, Fetched, None]:
        try:
            yield from self._gate.provider.refresh(now)
        except SignInError:
            return  # kept by the provider's state, and told to whoever asks next

    def _guarded(self, flow: Flow, request: Request) -> Flow:
        try:
            return (yield from flow)
        except Exception as error:  # noqa: BLE001 - as in `decide`
            return self._refuse(request, error)

    def _guarded_call(self, function: Callable[[A], B], request: Request) -> Callable[[A], B | Respond]:
        def guarded(argument: A) -> B | Respond:
            try:
                return function(argument)
            except Exception as error:  # noqa: BLE001 - as in `decide`
                return self._refuse(request, error)

        return guarded

    def _refuse(self, request: Request, error: Exception) -> Respond:
        self._gate.failure.inc()
        code, reason = "internal-error", _where(error)
        if isinstance(error, SignInError):
            code, reason = error.code, error.reason
        try:
            ours = failure(code).status >= 500
            note = Note(
                kind="other" if code == "not-found" else "departure" if ours else "access",
                flight=new_flight(self._gate.entropy),
                outcome="refused" if code == "not-found" else "failed",
                code=code,
                reason=reason,
                asked=request.path,
            )
            return self._replies.failed(note, html=wants_html(request), retry=HOME if ours else "")
        except Exception as second:  # noqa: BLE001 - the page itself can't be made
            body = b"Something went wrong here. You were not let in, to be safe.\n"
            details = f"internal-error: {_where(second)}"
            return Respond(status=500, headers=_PLAIN, body=body, details=details, local_reply=True)


def _where(error: Exception) -> str:
    """The kind of a defect and where it arose, without its message, which could hold what a client sent."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}" if trace is not None else ""
    return f"{type(error).__name__}{place}"
