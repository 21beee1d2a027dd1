"""Every place where Ostiary and the real Envoy are known to differ, and why; docs/envoy-differences.md tells people.

A test fails for a difference that is not here. It also fails for an entry of one case that has ceased to be true, so
the list can't rot. Entries for whole families of cases (with a `*`) are allowed to hold for some of them only.
"""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

NOT_YET = "not yet: "
"""How the reason begins where Ostiary should do as Envoy does and doesn't; the summary counts these apart."""


class Difference(NamedTuple):
    """Cases (a pattern of ids), observations (a pattern of paths), and the reason."""

    cases: str
    paths: str
    why: str


ENCODED = "client_id and secrets are form-encoded as RFC 6749 asks; Envoy leaves space, %, #, ; and more as they are"
UNSIGNED = "only a refresh token that the filter encrypted itself is used; Envoy sends any cookie, plain text too"
TRY_AGAIN = "a refresh that gives no usable token leads to a new sign-in; Envoy answers 401, a dead end"
ONCE = "a callback that is loaded again gets what its code has bought; Envoy sends the code again"
NO_CREDENTIALS = "codes and states in an address are not copied into logs"
NOT_SHOWN = "what a client put into a cookie is not copied into logs"
ESCAPED = "quotes and control characters are escaped in log lines, so that nobody can forge one"
STRICTER = "ambiguous framing and heads are refused"
OWN_WORDS = "response code details say what exactly was wrong"
LOGGED_WITHOUT = "a head that is refused while it is read is logged without its headers, with the exact reason"
ASKED_FOR = "a redirect's new path is in Location; the log says which path was asked for"
MACHINE = "for a client on loopback Envoy writes an address of the machine, Ostiary the client's own"

LISTED: tuple[Difference, ...] = (
    Difference("own-parameters", "1.response.location", ENCODED),
    Difference("secret-encoding-body", "1.response.location", ENCODED),
    Difference("secret-encoding-body", "2.idp.0.body", ENCODED),
    Difference("secret-encoding-basic", "1.response.location", ENCODED),
    Difference("refresh-basic", "1.idp.0.body", ENCODED),
    Difference("token-added", "*", UNSIGNED),
    Difference("refresh-not-json", "*", TRY_AGAIN),
    Difference("refresh-no-access-token", "*", TRY_AGAIN),
    Difference("refresh-not-json-allowed", "counters.http.ing.oauth_refreshtoken_failure", TRY_AGAIN),
    Difference("callback-by-post", "1.idp.0.*", ONCE),
    Difference("callback-by-post", "log.received", ONCE),
    Difference("verifier-*", "log.details", NOT_SHOWN),
    *(Difference(name, "log.details", NO_CREDENTIALS) for name in ("code-missing", "error", "error-empty")),
    Difference("state-*", "log.details", ESCAPED),
    Difference("refresh-on-callback-path", "log.details", ESCAPED),
    Difference("callback-xhr-denied", "log.details", ESCAPED),
    Difference("raw-6", "log.*path", ESCAPED),
    Difference("quotes-in-path", "log.*path", ESCAPED),
    Difference("reject-*", "log.*path", "a path that is refused is logged as it came, not half decoded"),
    Difference("redirect-prefix", "log.path", ASKED_FOR),
    Difference("redirect-regex", "log.path", ASKED_FOR),
    Difference("folded-header", "*", STRICTER),
    Difference("connect", "log.*", "the target of a CONNECT is logged as its path, beside the Host that came"),
    Difference(
        "per-route-disabled", "1.app.0.headers.x-envoy-oauth-status", "a client never says what only the filter may"
    ),
    Difference("chunk-size-wrong", "log.details", OWN_WORDS),
    Difference(
        "response-hop-by-hop", "1.response.headers.x-hop", "what Connection names ends here (RFC 9110 section 7.6.1)"
    ),
    Difference("*-10", "log.details", OWN_WORDS),
    Difference("reject-*", "log.details", OWN_WORDS),
    Difference("xff-*", "1.app.0.headers.x-forwarded-for", MACHINE),
    Difference("websocket", "1.app.0.headers.x-forwarded-for", MACHINE),
    Difference("request-id-from-outside", "1.app.0.headers.x-forwarded-for", MACHINE),
    Difference("envoy-headers-from-outside", "1.app.0.headers.x-forwarded-for", MACHINE),
    Difference("fragment-in-path", "1.response.*", "every refused head has the reason phrase as its body"),
    Difference("fragment-in-path", "log.*", LOGGED_WITHOUT),
    Difference("folded-header", "log.*", LOGGED_WITHOUT),
    Difference("-", "log.*", LOGGED_WITHOUT),
    Difference("underscore-rejected", "log.*", "a refused head that could be read is logged with its headers"),
)


def judge(case: str, found: Mapping[str, tuple[Any, Any]], *, whole: bool = True) -> Counter[str]:
    """How many differences of which kind are listed. Raises AssertionError for one that is not, or listed and gone.

    `whole` says that `found` is everything there is to see of the case, so that what is missing is gone.
    """
    entries = [d for d in LISTED if fnmatch.fnmatchcase(case, d.cases)]
    unlisted = {p: v for p, v in found.items() if not any(fnmatch.fnmatchcase(p, d.paths) for d in entries)}
    lines = [f"{path}\n    envoy:   {a!r}\n    ostiary: {b!r}" for path, (a, b) in unlisted.items()]
    assert not unlisted, f"{case} differs from Envoy:\n" + "\n".join(lines)
    if whole:
        own = [d for d in entries if "*" not in d.cases and not d.paths.startswith("log.")]
        gone = [d.paths for d in own if not any(fnmatch.fnmatchcase(p, d.paths) for p in found)]
        assert not gone, f"{case} is listed as different, but equal in {gone}"
    kinds = Counter[str]()
    for path in found:
        why = next(d.why for d in entries if fnmatch.fnmatchcase(path, d.paths))
        kinds["defects to mend" if why.startswith(NOT_YET) else "listed differences"] += 1
    return kinds
