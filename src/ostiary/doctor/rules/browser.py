"""Causes that only a browser shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from ostiary.doctor.case import Case
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.signin import BrowserBlocked, CookieRefused, RedirectSent, SignedIn, SignInRepeated
from ostiary.doctor.finding import Finding
from ostiary.doctor.rule import Rule
from ostiary.doctor.rules.evidence import proof

_LOOP: Final = 5
"""Redirects to the provider after that many sign-ins that succeeded are no coincidence."""


def _preflight(case: Case) -> Iterator[Finding]:
    blocked: list[Fact] = [fact for fact in case.all(BrowserBlocked) if fact.what == "preflight"]
    sent: list[Fact] = [fact for fact in case.all(RedirectSent) if fact.method == "OPTIONS"]
    if blocked or sent:
        yield Finding(
            rule="preflight-redirected",
            severity="error",
            title="A preflight request is redirected to sign-in",
            cause="Browsers send OPTIONS without cookies before a cross-origin request, and follow no redirect of "
            "it. The sign-in filter runs before the CORS filter, so it answers 302.",
            proof=proof(blocked, sent),
            mend="Let preflights pass: pass_through_matcher with :method exact OPTIONS (and "
            "access-control-request-method present), or put envoy.filters.http.cors before the oauth2 filter.",
            confidence="certain",
        )


def _xhr(case: Case) -> Iterator[Finding]:
    blocked: list[Fact] = [fact for fact in case.all(BrowserBlocked) if fact.what == "cors"]
    sent: list[Fact] = [fact for fact in case.all(RedirectSent) if fact.for_script and fact.method != "OPTIONS"]
    if blocked or sent:
        yield Finding(
            rule="xhr-redirected",
            severity="error" if blocked else "warning",
            title="A script's request is redirected to the provider",
            cause="A fetch or XHR whose session has ended is answered with a redirect to the provider, which allows "
            "no cross-origin request; the script sees a CORS error instead of a 401.",
            proof=proof(blocked, sent),
            mend="Answer scripts with 401: deny_redirect_matcher on sec-fetch-mode (cors, same-origin), "
            "x-requested-with or accept: application/json, and let the page reload on 401.",
            confidence="certain" if sent else "likely",
        )


def _loop(case: Case) -> Iterator[Finding]:
    blocked: list[Fact] = [fact for fact in case.all(BrowserBlocked) if fact.what == "redirect-loop"]
    sent = Counter(fact.redirect_uri for fact in case.all(RedirectSent))
    counted = bool(sent) and max(sent.values()) >= _LOOP and len(case.all(SignedIn)) >= _LOOP
    repeated = case.all(SignInRepeated)
    if blocked or counted or repeated:
        how = ""
        if repeated:
            most = max(repeated, key=lambda fact: fact.times)
            how = (
                f" One client came back from the provider {most.times} times in {most.seconds:.0f} s, and got no page."
            )
        yield Finding(
            rule="signin-loop",
            severity="error",
            title="Sign-in succeeds and starts again",
            cause="The session that the callback sets does not reach the filter with the next request: its cookie is "
            "lost (too large, wrong domain or path, Secure over http), or its check fails (another HMAC secret, a "
            f"rewritten host).{how}",
            proof=proof(blocked, repeated, case.all(CookieRefused), case.all(RedirectSent) if counted else []),
            mend="Look at the callback's Set-Cookie lines in the browser: is each cookie kept, and is it in the next "
            "request? `ostiary doctor` on the sidecar's log says why a check fails.",
            confidence="likely",
        )


RULES: Final = (
    Rule(name="preflight-redirected", family="Browser", look=_preflight, explains=frozenset({"xhr-redirected"})),
    Rule(name="xhr-redirected", family="Browser", look=_xhr),
    Rule(name="signin-loop", family="Browser", look=_loop, claims="likely"),
)
