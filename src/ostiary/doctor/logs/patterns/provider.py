"""What a provider answered, as programs other than Envoy's filter say it, and keys or discovery that can't be had."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, Literal

from ostiary.core.log_redaction import redacted
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.provider import Answered, FetchFailed
from ostiary.doctor.facts.sidecar import PlaceholderKeys
from ostiary.doctor.facts.tls import HandshakeFailed
from ostiary.doctor.logs.pattern import Found, Pattern
from ostiary.doctor.logs.wording import (
    body_kind,
    handshake_fault,
    oauth_error,
    provider_codes,
    speaks_of_tls,
    steady,
    tls_detail,
    url_of,
)

_TOLD: Final = re.compile(
    r"(?i)response body|oauth2: |server returned an error|cannot fetch token|answered with \d{3}: [a-z]"
)
"""Lines whose provider's answer another pattern reads."""


def _fetch(endpoint: Literal["discovery", "jwks"]) -> Callable[[Found], Iterator[Fact]]:
    """Facts of something that could not be fetched: who wanted what, and why not."""

    def facts(found: Found) -> Iterator[Fact]:
        if found["why"].startswith("response status code 200"):
            return
        url = url_of(found["url"]).rstrip('".,:)')
        problem = steady(redacted(found["why"]))
        who = "istiod" if found.record.program == "istio" else found.who
        yield FetchFailed(origin=found.origin, endpoint=endpoint, target=url, problem=problem, who=who)
        why = found["why"]
        if speaks_of_tls(why) and not speaks_of_tls(found.record.message):  # on a line behind, which no pattern reads
            yield HandshakeFailed(
                origin=found.origin, target=url, fault=handshake_fault(why), detail=tls_detail(why), who=who
            )

    return facts


_PLACEHOLDER: Final = "RXJyb3ItSXN0aW9kRmFpbGVkVG9GZXRjaEp3a3NVcmkt"
"""The modulus of the key that istiod hands out if it has none."""


def _issuer(found: Found) -> Iterator[Fact]:
    """Discovery, by a control plane or an application; the pattern before reads those that name the document."""
    if "openid-configuration" not in found.record.message or not found["url"]:
        yield from _fetch("discovery")(found)


def _placeholder(found: Found) -> Iterator[Fact]:
    yield PlaceholderKeys(origin=found.origin, issuer=found["issuer"])


def _token_error(found: Found) -> Iterator[Fact]:
    error, description = found["error"], found["description"]
    status = int(found["status"] or found["code"] or 0)
    if not error:
        error, description = oauth_error(found["body"])
    if not (status or error):
        return
    yield Answered(
        origin=found.origin, endpoint="token", target=url_of(found["url"]), status=status or 400,
        body=body_kind(found["body"]) if found["body"] else "json", error=error,
        description=steady(redacted(description)), codes=provider_codes(found.record.message), who=found.who,
    )  # fmt: skip


def _entra(found: Found) -> Iterator[Fact]:
    """Entra's own sentence, on a page or in a log, when no pattern before knew what it answers."""
    message = found.record.message
    if _TOLD.search(message):
        return
    yield Answered(
        origin=found.origin, endpoint="authorization", target="", status=0, codes=provider_codes(message),
        error=oauth_error(message)[0], description=steady(redacted(found["text"])), who=found.record.program,
    )  # fmt: skip


PATTERNS: Final = (
    Pattern(
        words=('oauth2: "[a-z]', "oauth2: .{1,4}[a-z_]+.{1,3} "),
        expression=r"oauth2: \"(?P<error>\w+)\"(?: \"(?P<description>[^\"]*)\")?",
        facts=_token_error,
    ),
    Pattern(
        words=("cannot fetch token",),
        expression=r"oauth2: cannot fetch token: (?P<status>\d{3})(?:.*?Response: ?(?P<body>.*))?",
        facts=_token_error,
        whole=True,
    ),
    Pattern(
        words=(r"redeeming code got \d{3} from", r"unexpected status \\?\"4\d\d"),
        expression=r"(?:redeem\w* .{0,80}?got (?P<status>\d{3}) from \\?\"(?P<url>[^\"]+)\"|"
        r"unexpected status \\?\"(?P<code>4\d\d)\\?\":) ?(?P<body>\{.*\"error\".*)",
        facts=_token_error,
        whole=True,
    ),
    Pattern(
        words=("call_token_endpoint", "response indicates failure, status="),
        expression=r"response indicates failure, status=(?P<status>\d{3}), body=(?P<body>.*)",
        facts=_token_error,
    ),
    Pattern(
        words=(r"AADSTS\d{4,}",),
        expression=r"AADSTS\d{4,7}:(?P<text>[^\"{}]*)",
        facts=_entra,
    ),
    Pattern(
        words=("to discover OIDC configuration", "while discovery OIDC configuration"),
        expression=r"failed to discover OIDC configuration: (?P<why>.*?(?:\"(?P<url>https?://[^\"]+)\".*)?)$",
        facts=_fetch("discovery"),
    ),
    Pattern(
        words=("openid-configuration",),
        expression=r"(?:discovery url|from issuer URL:|endpoints from issuer|Failed to fetch|"
        r"error (?:fetching|getting)[^:]*|failed to (?:fetch|get)[^:]*openid[^:]*) ?:? ?"
        r"(?:Get )?\(?\\?\"?(?P<url>https?://[^\s\"\\)]+)\\?\"?\)?:? (?P<why>.*)",
        facts=_fetch("discovery"),
        whole=True,
    ),
    Pattern(
        words=("endpoints from issuer", "failed to query provider"),
        expression=r"(?:error fetching endpoints from issuer|failed to query provider):? "
        r"(?P<why>(?:[^\n]*?\\?\"(?P<url>https?://[^\s\"\\]+)\\?\"[^\n]*|[^\n]*))",
        facts=_issuer,
        whole=True,
    ),
    Pattern(
        words=("[fF]ailed to (?:fetch|refresh) (?:jwt |JWT )?(?:public key|pubkey)",),
        expression=r"[fF]ailed to (?:fetch|refresh) (?:jwt |JWT )?(?:public key|pubkey) from "
        r"(?:issuer \S+ jwks uri )?\\?\"?(?P<url>[^\s\"\\]+?)\\?\"?:? (?P<why>.*)",
        facts=_fetch("jwks"),
    ),
    Pattern(
        words=("get keys failed", "fetching keys"),
        expression=r"(?:fetching keys )?(?:oidc: )?get keys failed:? (?P<why>.*?(?:\"(?P<url>https?://[^\"]+)\".*)?)$",
        facts=_fetch("jwks"),
    ),
    Pattern(
        words=("Jwks async fetching", "fetch pubkey", "Jwks remote fetch"),
        expression=r"(?:Jwks async fetching url|fetch pubkey \[uri)[=:\s]+(?P<url>https?://[^\s\],]+?)\]?[:,]? "
        r"(?P<why>(?:failed|response status code \d+|is failed|network error).*)",
        facts=_fetch("jwks"),
    ),
    Pattern(words=(_PLACEHOLDER,), expression=_PLACEHOLDER, facts=_placeholder),
    Pattern(
        words=("using a fake JWKS",),
        expression=r"The JWKS key is not yet fetched (?:for issuer (?P<issuer>\S+) )?.*using a fake JWKS",
        facts=_placeholder,
    ),
)
