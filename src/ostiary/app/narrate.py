"""What the log says about a request, in Envoy's words under Envoy's loggers: `http`, `router`, `oauth2`.

Values of headers are shown for a few names only, and no query that may hold a code or a token: Envoy's own log at
debug is a list of everyone's sessions. Whoever calls this on the hot path looks at `Log.debugs` first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from ostiary.app.chain import Passed, Pending
from ostiary.core.redaction import without_credentials
from ostiary.net.log import log
from ostiary.net.pool_log import cause

if TYPE_CHECKING:
    from ostiary.core.decision import Respond
    from ostiary.net.exchange import Exchange

HTTP: Final = log("http")
OAUTH2: Final = log("oauth2")
ROUTER: Final = log("router")
JWT: Final = log("jwt")
_SHOWN: Final = frozenset(
    b"accept accept-encoding content-length content-type host origin sec-fetch-dest sec-fetch-mode sec-fetch-site "
    b"upgrade user-agent x-requested-with".split()
)
Outcome: TypeAlias = "Passed | Respond | Pending"
_REASON: Final = "x-envoy-oauth-failure-reason"
_TO_PROVIDER: Final = ("oauth.missing_credentials", "sign-in")
_SIGN_OUT: Final = ("oauth.sign_out", "signed-out")


def begun(exchange: Exchange) -> None:
    """A request's head is there."""
    downstream = exchange.downstream
    HTTP.debug("new stream", connection=downstream.id)
    target = without_credentials(exchange.target.decode("latin-1"))
    head = [f"':path', '{target}'", f"':method', '{exchange.method.decode('latin-1')}'"]
    for line in exchange.head.lines:
        name, value = line.pair
        shown = value if name.encode("latin-1") in _SHOWN else "(not shown)"
        head.append(f"'{name}', '{shown}'")
    text = "request headers complete (end_stream=%s): %s"
    HTTP.debug(text, str(exchange.request_complete).lower(), " ".join(head), **downstream.tags)


def judged(exchange: Exchange, outcome: Outcome) -> Outcome:
    """What the filters make of it, before anything is fetched. Returns that."""
    if OAUTH2.debugs:
        _judged(exchange, outcome)
    return outcome


def _judged(exchange: Exchange, outcome: Outcome) -> None:
    tags = exchange.downstream.tags
    if isinstance(outcome, Passed):
        admitted(exchange, outcome.via)
        if outcome.via == "allow_failed":
            reason = outcome.request.headers.get(_REASON) or ""
            OAUTH2.debug("allow_failed_matcher matched, continuing as unauthorized: %s",
                         without_credentials(reason), **tags)  # fmt: skip
    elif isinstance(outcome, Pending):
        if outcome.start.purpose == "refresh":
            OAUTH2.debug("Trying to update the access token using the refresh token", **tags)
        elif outcome.start.purpose != "revocation":
            OAUTH2.debug("can not skip oauth flow", **tags)
    elif outcome.details in _TO_PROVIDER or _is_refusal(outcome):
        OAUTH2.debug("can not skip oauth flow", **tags)


def admitted(exchange: Exchange, via: str) -> None:
    """It was let through: for its session, or another reason."""
    if via == "session":
        OAUTH2.debug("skipping oauth flow due to valid hmac cookie", **exchange.downstream.tags)


def answered(exchange: Exchange, answer: Respond) -> bool:
    """A filter answers; True if that was worth a warning."""
    tags = exchange.downstream.tags
    if answer.details in _TO_PROVIDER:
        if OAUTH2.debugs:
            target = without_credentials(exchange.target.decode("latin-1"))
            OAUTH2.debug("redirecting to OAuth server: %s", target, **tags)
    elif _is_refusal(answer):
        status = "401 Unauthorized" if answer.status == 401 else "503 Service Unavailable"
        code = f" (code {answer.note.flight})" if answer.note is not None else ""
        OAUTH2.warning("Responding with %s. Cause: %s%s", status, without_credentials(answer.details), code, **tags)
    elif answer.details.startswith("jwt-"):
        JWT.debug("JWT verification completed with: %s", answer.details, **tags)
    if answer.local_reply:
        HTTP.debug("Sending local reply with details %s", without_credentials(answer.details), **tags)
    return _is_refusal(answer)


def _is_refusal(answer: Respond) -> bool:
    """Of Envoy's filter; the native one gives its refusals a code."""
    return answer.local_reply and not answer.flight and answer.status in (401, 503)


def routed(exchange: Exchange, cluster: str) -> None:
    """It has a cluster."""
    path = without_credentials(exchange.path or exchange.target.decode("latin-1"))
    ROUTER.debug("cluster '%s' match for URL '%s'", cluster, path, **exchange.downstream.tags)


def ended(exchange: Exchange) -> None:
    """It is over."""
    tags = exchange.downstream.tags
    if ROUTER.debugs and exchange.flags in ("UF", "UC", "UPE", "UO"):
        reason = exchange.details.partition("{")[2].partition("|")[0].removesuffix("}").replace("_", " ")
        text = "upstream reset: reset reason: %s, transport failure reason: %s"
        ROUTER.debug(text, reason, cause(exchange.failure), **tags)
    elif exchange.flags == "UT":
        ROUTER.debug("upstream timeout", **tags)
    if exchange.local and (exchange.flags or exchange.details == "direct_response"):
        HTTP.debug("Sending local reply with details %s", without_credentials(exchange.details), **tags)
    HTTP.debug("Codec completed encoding stream.", **tags)
