"""A code or a refresh token is redeemed once, however many requests bring it: here, in other workers, a moment later.

The first request asks the provider. The others wait for what it gets, and each gets an answer made for itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from ostiary.core.decision import Allow, Fetch, Flow, Respond, Start
from ostiary.core.oauth2.envoy.context import Context, Keys
from ostiary.core.oauth2.envoy.token_response import Redeemed, TokenResponse, TokenResponseError, request_tokens
from ostiary.core.oauth2.outcomes import FlowOutcomes
from ostiary.model import limits


def redemption_key(what: bytes, keys: Keys, *texts: str) -> bytes:
    """What a redemption is known by: the same for all who bring the same, and for nobody else."""
    parts = (what, keys.hmac_secret, *(text.encode("utf-8", "surrogatepass") for text in texts))
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


def redemption(
    context: Context,
    outcomes: FlowOutcomes[Redeemed],
    keys: Keys,
    key: bytes,
    fetch: Fetch,
    now: float,
    *,
    purpose: str,
    grace: float,
    answer: Callable[[Redeemed | None], Allow | Respond],
    kept: Callable[[TokenResponse], TokenResponse] = lambda tokens: tokens,
) -> Start:
    """Send `fetch`. What it brings, as `kept` makes it, answers who comes within `grace` seconds; a failure nobody."""

    def flow() -> Flow:
        late = outcomes.recent(key, now)  # it ended between the decision and now
        if late is not None:
            return answer(late)
        outcomes.begin(key)
        try:
            tokens = yield from request_tokens(fetch, context.config)
        except TokenResponseError as problem:
            outcome = Redeemed(None, problem.reason, str(problem), problem.code, problem.told)
            outcomes.remember(key, outcome, now, grace=0.0)
        else:
            outcome = Redeemed(kept(tokens))
            outcomes.remember(key, outcome, tokens.received, min(grace, tokens.expires_in))
        return answer(outcome)

    def adopt(sealed: bytes) -> Allow | Respond | None:
        outcome = outcomes.adopt(key, sealed, (keys.outcome_cipher,))
        return None if outcome is None else answer(outcome)

    return Start(
        flow=flow(),
        single_flight=key,
        purpose=purpose,
        follow=lambda _: answer(outcomes.last(key)),
        share=lambda: outcomes.share(key, keys.outcome_cipher),
        adopt=adopt,
        longest=max(limits.LEASE_TIME, 2 * fetch.timeout),
    )
