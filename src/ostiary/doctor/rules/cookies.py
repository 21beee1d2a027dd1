"""Causes in cookies: too large for a browser or a hop, or not sent where they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.doctor.case import Case
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.signin import CookieRefused, CookieSet, GroupsLeftOut, HeadersTooLarge
from ostiary.doctor.finding import Finding
from ostiary.doctor.rule import Rule
from ostiary.doctor.rules.evidence import also_written, listed, proof, severity_beside

MAX_COOKIE: Final = 4096
"""Bytes of name and value that browsers keep (RFC 6265 section 6.1)."""
_MENDS: Final = {
    "envoy": "Raise max_request_headers_kb of the HttpConnectionManager (60 by default; in Istio by a NETWORK_FILTER "
    "MERGE).",
    "nginx": "Raise proxy_buffer_size and proxy_buffers, or large_client_header_buffers for requests (ingress-nginx: "
    "proxy-buffer-size).",
    "application": "Raise the application server's limit for request headers, or keep the filter's cookies from it.",
}


def _too_large(case: Case) -> Iterator[Finding]:
    yield from _split(case)
    large = [fact for fact in case.all(CookieSet) if fact.size > MAX_COOKIE and not fact.split]
    refused = [fact for fact in case.all(CookieRefused) if fact.why == "too-large"]
    if not large and not refused:
        return
    names = listed([*(f"{fact.name} ({fact.size} bytes)" for fact in large), *(fact.name for fact in refused)])
    facts: list[Fact] = [*large, *refused, *case.all(GroupsLeftOut)]
    yield Finding(
        rule="cookie-too-large",
        severity="error",
        title=f"A cookie is larger than browsers keep: {names}",
        cause="Browsers drop a cookie beyond 4096 bytes without a word. The next request comes without it, its check "
        "fails, and the user is sent to the provider again, without end.",
        proof=proof(facts),
        mend="Make the tokens smaller (fewer scopes and group claims), or leave out the cookies nobody needs "
        "(disable_id_token_set_cookie, disable_access_token_set_cookie, disable_refresh_token_set_cookie). Ostiary "
        "splits cookies.",
        confidence="certain",
    )


def _split(case: Case) -> Iterator[Finding]:
    """oauth2-proxy puts a large session into several cookies; browsers keep them, and others refuse their sum."""
    large = [fact for fact in case.all(CookieSet) if fact.split]
    if large:
        refused = case.all(HeadersTooLarge)
        yield Finding(
            rule="cookie-too-large",
            severity="error" if refused else "warning",
            title=f"A session needs several cookies {large[0].name}, of 4 KB each",
            cause="oauth2-proxy keeps whole tokens in its cookies. Browsers take them, but nginx, balancers and "
            "applications refuse headers of that size (400, 431, 502), and some lose one of the cookies.",
            proof=proof(large, refused, case.all(GroupsLeftOut)),
            mend='Keep sessions in Redis: session_store_type = "redis", redis_connection_url. Or make them smaller: '
            "session_cookie_minimal = true where nobody needs the tokens (no cookie_refresh), fewer scopes and groups.",
            confidence="certain",
        )


def _headers(case: Case) -> Iterator[Finding]:
    for who in dict.fromkeys(fact.who for fact in case.all(HeadersTooLarge)):
        facts = [fact for fact in case.all(HeadersTooLarge) if fact.who == who]
        what = "an answer" if all(fact.what == "response" for fact in facts) else "a request"
        whose = "The application" if who == "application" else who
        yield Finding(
            rule="headers-too-large",
            severity=severity_beside(case, facts),
            title=f"{whose} refuses the headers of {what} as too large",
            cause="Session cookies and the forwarded token together are larger than its limit allows (431, 400 or "
            "502).",
            proof=proof(facts),
            mend=_MENDS.get(who, "Raise that limit.") + " Or make them smaller: see cookie-too-large.",
            confidence="certain",
            subject=who,
        )


def _scope(case: Case) -> Iterator[Finding]:
    refused = [fact for fact in case.all(CookieRefused) if fact.why != "too-large"]
    foreign = [
        fact for fact in case.all(CookieSet) if fact.domain and fact.host and not _covers(fact.domain, fact.host)
    ]
    insecure = [fact for fact in case.all(CookieSet) if fact.same_site.lower() == "none" and not fact.secure]
    if not refused and not foreign and not insecure:
        return
    why = {fact.why for fact in refused}
    causes = {
        "domain": "its Domain does not cover the host of the page",
        "path": "its Path does not cover the callback",
        "secure": "it is Secure and the page is http",
        "same-site": "its SameSite keeps it from being sent on the way back from the provider",
        "other": "the browser does not accept it",
    }
    told = [causes[each] for each in dict.fromkeys(fact.why for fact in refused) if each in causes]
    told += ["its Domain does not cover the host of the page"] * bool(foreign and "domain" not in why)
    told += ["SameSite=None needs Secure"] * bool(insecure)
    names = listed([*(fact.name for fact in refused), *(each.name for each in (*foreign, *insecure))])
    yield Finding(
        rule="cookie-scope",
        severity="error",
        title=f"The browser does not keep or send the cookie {names}",
        cause=f"A cookie of the sign-in is lost: {'; '.join(told)}. What it carried is missing at the callback.",
        proof=proof([*refused, *foreign, *insecure]),
        mend="Leave cookie_domain out, or set it to a parent of the host that users see; serve https; SameSite=Lax "
        "for cookies that must survive the way back from the provider.",
        confidence="certain",
    )


def _covers(domain: str, host: str) -> bool:
    """RFC 6265 section 5.1.3."""
    wanted, name = domain.lstrip(".").lower(), host.partition(":")[0].lower()
    return name == wanted or name.endswith("." + wanted)


_LOOP: Final = frozenset({"signin-loop", "csrf-mismatch", "csrf-cookie-missing", "secret-mismatch"})

RULES: Final = (
    Rule(name="cookie-too-large", family="Cookies", look=_too_large, explains=_LOOP),
    Rule(name="headers-too-large", family="Cookies", look=_headers),
    Rule(
        name="cookie-scope", family="Cookies", look=also_written(_scope, "cookie-scope", "cookie-scope"), explains=_LOOP
    ),
)
