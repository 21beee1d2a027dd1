"""Envoy's OAuth2 filter: how a sign-in ended. Each cause has its sentence, in the log and, with `_`, in access logs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qs, unquote_plus

from ostiary.core.log_redaction import redacted
from ostiary.doctor.facts.configuration import ConfigurationProblem
from ostiary.doctor.facts.connection import ConnectFailed, NoHealthyHost
from ostiary.doctor.facts.dns import ResolutionFailed
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.provider import Answered, NotAnswered, TokensMissing
from ostiary.doctor.facts.signin import RedirectSent, SignedIn, SignInFailed, Step
from ostiary.doctor.logs.pattern import Found, Pattern, compiled
from ostiary.doctor.logs.patterns.connection import reset_facts
from ostiary.doctor.logs.wording import body_kind, errno_of, oauth_error, provider_codes, steady

_RESET: Final = compiled(
    r"upstream connect error or disconnect/reset before headers\. (?:retried and the latest )?reset reason: "
    r"(?P<reason>[\w\s/-]*?)(?:, transport failure reason: ?(?P<transport>.*))?\s*$"
)


_OWN: Final = "upstream connect error or disconnect/reset before headers"
_TELLING: Final = len("upstream conn")


def answer_facts(found: Found, status: int, body: str) -> Iterator[Fact]:
    """What a token call ended with: Envoy writes its own failures as if the provider had answered with them."""
    target, origin, plain = found.target, found.origin, body.replace("_", " ").strip()
    if (reset := _RESET.search(body)) is not None:
        transport = reset["transport"] or ""
        yield from reset_facts(reset["reason"], transport, target, origin, for_provider=True)
    elif _own_words(plain):
        yield ConnectFailed(origin=origin, target=target, errno=errno_of(plain))
    elif plain.startswith("no healthy upstream"):
        found.join.hostless = True
        yield NoHealthyHost(origin=origin, target=target)
    elif plain.startswith("upstream request timeout"):
        yield NotAnswered(origin=origin, endpoint="token", target=target)
    elif plain.startswith("DNS resolution failure"):
        yield ResolutionFailed(origin=origin, name="", fault="unknown", cluster=target)
    elif status:
        error, description = oauth_error(body)
        yield Answered(
            origin=origin, endpoint="token", target=target, status=status, body=body_kind(body), error=error,
            description=_described(description, found), codes=provider_codes(body),
        )  # fmt: skip


def _own_words(body: str) -> bool:
    """Envoy's sentence of a connection that failed, cut off or with something in between."""
    cut = len(body) >= _TELLING and _OWN.startswith(body)
    return cut or body.startswith(_OWN[:_TELLING]) or "reset before headers" in body


def _described(description: str, found: Found) -> str:
    text = description.replace("_", " ") if found.record.access else description
    return steady(redacted(text))


def _status(found: Found) -> None:
    status = int(found["status"])
    found.join.thread(found.record).status = (status, found.origin)


def _body(found: Found) -> Iterator[Fact]:
    thread = found.join.thread(found.record)
    status = thread.status[0] if thread.status is not None else 0
    thread.status = None
    if status != 200:
        yield from answer_facts(found, status, found["body"])


def _exchange(found: Found) -> Iterator[Fact]:
    yield SignInFailed(origin=found.origin, step="token-exchange")
    yield from answer_facts(found, int(found["status"]), found["body"])


def _unparsed(found: Found) -> Iterator[Fact]:
    yield SignInFailed(origin=found.origin, step="token-exchange")
    yield Answered(
        origin=found.origin, endpoint="token", target=found.target, status=200, body=body_kind(found["body"])
    )
    yield TokensMissing(origin=found.origin, target=found.target, lacks="json")


def _lacks_token(found: Found) -> Iterator[Fact]:
    yield SignInFailed(origin=found.origin, step="token-exchange")
    yield TokensMissing(origin=found.origin, target=found.target, lacks="access_token")


def _lacks_lifetime(found: Found) -> Iterator[Fact]:
    yield SignInFailed(origin=found.origin, step="token-exchange")
    yield TokensMissing(origin=found.origin, target=found.target, lacks="expires_in")


_LISTED: Final = re.compile(r'"(error|error_description)": ?\["((?:[^"\\]|\\.)*)"')
"""How Envoys before 1.36 print the query: as a map of lists, on the lines behind."""


def _provider_error(found: Found) -> Iterator[Fact]:
    values = parse_qs(found["query"].split()[0].lstrip("?"), keep_blank_values=True) if found["query"].strip() else {}
    values |= {name: [value] for name, value in _LISTED.findall(found["query"])}
    description = values.get("error_description", [""])[0]
    text = description.replace("_", " ") if found.record.access else description
    yield SignInFailed(origin=found.origin, step="other")
    yield Answered(
        origin=found.origin, endpoint="authorization", target="", status=0, error=values.get("error", [""])[0],
        description=steady(redacted(text)), codes=provider_codes(unquote_plus(found["query"])),
    )  # fmt: skip


def _no_cluster(found: Found) -> Iterator[Fact]:
    yield SignInFailed(origin=found.origin, step="token-exchange")
    yield ConfigurationProblem(
        origin=found.origin, kind="cluster-unknown", subject=found["name"], message=found.origin.quote
    )


def _credential(found: Found) -> Iterator[Fact]:
    yield SignInFailed(origin=found.origin, step="token-exchange")
    yield ConfigurationProblem(
        origin=found.origin, kind="secret-invalid", subject="private key", message=steady(redacted(found["why"]))
    )


def _ends(step: Step, words: str, expression: str = "", status: int = 401) -> Pattern:
    def facts(found: Found) -> Iterator[Fact]:
        yield SignInFailed(origin=found.origin, step=step, status=status)

    either = f"[{words[0].upper()}{words[0].lower()}]{words[1:]}"  # Envoys before 1.36 begin it with a small letter
    told = r"(?:Responding with 401 Unauthorized\. Cause: |Sending local reply with details )?"
    return Pattern(words=(either,), expression=told + (expression or either), facts=facts, plain=False)


def _signed_in(found: Found) -> Iterator[Fact]:
    yield SignedIn(origin=found.origin, who=found.who)


_NO_FAULT: Final = ("login_required", "interaction_required")
"""How a provider answers a page that only asks whether its user is still signed in."""


def _came_back(found: Found) -> Iterator[Fact]:
    """A browser comes back with an error, as an access log or its address bar shows; older Envoys log no more."""
    if _provider_tells(found.record.message):
        return
    url = _CAME_BACK.search(found.record.message)
    path = found.record.access.get("path") or (url[0] if url is not None else "")
    values = parse_qs(path.partition("?")[2], keep_blank_values=True)
    error = values.get("error", [""])[0]
    if _ERROR_WORD.fullmatch(error) and error not in _NO_FAULT and values.keys() & {"state", "error_description"}:
        yield Answered(
            origin=found.origin, endpoint="authorization", target="", status=0, error=error,
            description=steady(redacted(values.get("error_description", [""])[0])),
            codes=provider_codes(unquote_plus(path)),
        )  # fmt: skip


def _provider_tells(message: str) -> bool:
    return "returned_an_error" in message.replace(" ", "_")


_CAME_BACK: Final = re.compile(r"https?://[^\s?'\"<>]+\?[^\s'\"<>]*\berror=[^\s'\"<>]*")
_ERROR_WORD: Final = re.compile(r"[a-z]+(?:_[a-z]+)+")
_LOCATION: Final = re.compile(r"[?&](redirect_uri|scope|client_id|response_type)=([^&\s'\"]*)")


def _redirect(found: Found) -> Iterator[Fact]:
    values = dict(_LOCATION.findall(found["query"]))
    if "client_id" in values and "redirect_uri" in values:
        yield RedirectSent(
            origin=found.origin, authorization_endpoint=found["endpoint"],
            redirect_uri=unquote_plus(values["redirect_uri"]),
            scopes=tuple(unquote_plus(values.get("scope", "")).split()),
        )  # fmt: skip


PATTERNS: Final = (
    Pattern(
        words=("Oauth response code",),
        expression=r"^Oauth response code: (?P<status>\d{1,3})\b",
        facts=_status,
        joins=True,
    ),
    Pattern(
        words=("Oauth response body",),
        expression=r"^Oauth response body: ?(?P<body>.*)",
        facts=_body,
        joins=True,
        whole=True,
    ),
    Pattern(
        words=("Failed to get access token: response code",),
        expression=r"Failed to get access token: response code: (?P<status>\d{1,3}), response body: ?(?P<body>.*)",
        facts=_exchange,
        joins=True,
        whole=True,
    ),
    Pattern(
        words=("Failed to parse oauth response body",),
        expression=r"Failed to parse oauth response body(?:: response body: ?(?P<body>.*?)(?:, exception:.*)?$|\b)",
        facts=_unparsed,
        joins=True,
    ),
    Pattern(
        words=("No access token found in the token exchange response",),
        expression="No access token found in the token exchange response",
        facts=_lacks_token,
        joins=True,
    ),
    Pattern(
        words=("access token expiration found in the token exchange response",),
        expression="No default or explicit access token expiration found in the token exchange response",
        facts=_lacks_lifetime,
        joins=True,
    ),
    Pattern(
        words=("OAuth server returned an error",),
        expression=r"OAuth server returned an error: ?(?P<query>.*)",
        facts=_provider_error,
        whole=True,
    ),
    Pattern(
        words=(r"[?&]error=[a-z]+_[a-z]",),
        expression="",
        facts=_came_back,
    ),
    Pattern(
        words=("Token endpoint cluster not found",),
        expression=r"Token endpoint cluster not found(?:: ?'?(?P<name>[\w.|-]+))?",
        facts=_no_cluster,
    ),
    Pattern(
        words=("Failed to obtain client credential",),
        expression=r"Failed to obtain client credential: ?(?P<why>.*)",
        facts=_credential,
    ),
    _ends("token-exchange", "Failed to get access token due to HTTP request failure"),
    _ends("csrf-mismatch", "CSRF token validation failed"),
    _ends("csrf-mismatch", "csrf token validation failed"),
    _ends("csrf-mismatch", "nonce cookie does not match nonce query param"),
    _ends("code-verifier", "Code verifier cookie is missing in the request"),
    _ends("code-verifier", "Failed to decrypt code verifier"),
    _ends("state-invalid", "State query param is not a valid JSON"),
    _ends("state-invalid", "State query param does not contain url or CSRF token"),
    _ends("state-invalid", "State query param does not contain url or nonce"),
    _ends("state-invalid", "State url (?:.{0,200} )?can not be initialized"),
    _ends("state-invalid", "State url query params matches the redirect path matcher"),
    _ends("code-missing", "Code or state query param does not exist"),
    _ends("redirect-not-allowed", "State url host is not in the allowed redirect domains"),
    _ends("redirect-not-allowed", "failed domain allow-list validation"),
    _ends("secrets-not-ready", "OAuth2 secrets are not ready", status=503),
    _ends("decrypt", "failed to decrypt token: ", status=0),
    Pattern(
        words=("skipping oauth flow due to valid hmac cookie",),
        expression="^skipping oauth flow due to valid hmac cookie",
        facts=_signed_in,
        context=True,
    ),
    Pattern(words=(r"oauth\.logged_in",), expression=r"^oauth\.logged_in\b", facts=_signed_in),
    Pattern(
        words=(r"[?&]response_type=code",),
        expression=r"[Ll]ocation'?[:,] ?'?(?P<endpoint>https?://[^?\s'\"]+)(?P<query>\?[^\s'\"]+)",
        facts=_redirect,
    ),
)
