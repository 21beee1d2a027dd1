"""What a provider's answers to harmless requests say. Pure.

The token endpoint gets an authorization code that nobody ever issued: a provider that knows the client answers
`invalid_grant`, and that is the good answer. Where the client's secret is not at hand, or not even its id is known,
other refusals are as good: they show a token endpoint, and say nothing about the client.

The authorization endpoint is asked as a browser would ask it, with `prompt=none` (OpenID Connect Core 3.1.2.1): no
page is shown, and a provider that knows client and redirect URI sends the browser back with `login_required`. The ones
that don't know them must not send it anywhere (RFC 6749 section 4.1.2.1) and show a page; `signs.py` knows the words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, urlsplit

import msgspec

from ostiary.core.decision import Fetched
from ostiary.core.oauth2.token import clean
from ostiary.core.redaction import without_tokens
from ostiary.doctor.facts.origin import Fact, Origin
from ostiary.doctor.facts.provider import Answered, ClockOffset, Endpoint, RedirectUriAnswer
from ostiary.doctor.probes.signs import refusal_in, split
from ostiary.doctor.rules.oauth_errors import cause_of
from ostiary.model.secret import Secret

_CODES: Final = re.compile(r"\bAADSTS\d{4,8}\b")
_ABOUT_US: Final = frozenset({"client-rejected", "redirect-uri-mismatch"})
"""What a request with an invented code can find out; any other error is about the code."""
_UNKNOWN_CLIENT: Final = frozenset({"AADSTS700016", "AADSTS90002", "AADSTS7000229"})
"""Entra says these whether there is a secret or not."""
_NOBODY: Final = frozenset({"login_required", "interaction_required", "account_selection_required", "consent_required"})
"""What `prompt=none` brings about: the request is fine, and nobody is signed in."""
_UNAUTHORIZED: Final = 401
_EDGES: Final = 2.0
"""Seconds by which a clock may seem off: the Date header has whole seconds, and the answer was on its way."""

Body = Literal["json", "html", "text", "empty", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who asked the token endpoint."""

    url: str
    secret: Secret | None = None
    """Of which nothing may be repeated."""
    proved: bool = False
    """The client showed everything that it is configured with."""


def body_of(answer: Fetched) -> Body:
    """What the body is, by its looks: content types are often wrong."""
    body = answer.body.strip()
    if not body:
        return "empty"
    if body[:1] in b"{[" and _document(answer) is not None:
        return "json"
    start = body[:200].lower()
    return "html" if b"<html" in start or b"<!doctype" in start or b"<head" in start else "text"


def _document(answer: Fetched) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _words(answer: Fetched) -> tuple[str, str]:
    """(error, error_description) of JSON or of a form, which GitHub answers in."""
    found: Mapping[str, Any] = _document(answer) or {}
    if not found and b"error=" in answer.body[:2000]:
        found = dict(parse_qsl(answer.body[:4000].decode("utf-8", "replace")))
    error, description = found.get("error", ""), found.get("error_description", "")
    if isinstance(error, dict):  # {"error": {"code": ..., "message": ...}}: a gateway's, or an API's
        error, description = error.get("status", ""), error.get("message", "")
    return (error if isinstance(error, str) else ""), (description if isinstance(description, str) else "")


def answered(endpoint: Endpoint, url: str, answer: Fetched) -> Answered:
    """An answer as it is, without its error."""
    kind = body_of(answer)
    target = url.partition("?")[0]
    said = f"{endpoint} endpoint answers {answer.status}" + (f", {kind}" if kind not in ("json", "unknown") else "")
    return Answered(
        origin=Origin(kind="probe", source=target, quote=said),
        endpoint=endpoint,
        target=target,
        status=answer.status,
        body=kind,
        probe=True,
        who="probe",
    )


def token_answer(asked: Asked, answer: Fetched) -> Answered:
    """What the token endpoint says to a code that nobody issued."""
    plain = answered("token", asked.url, answer)
    error, told = _words(answer)
    if not error:
        return plain
    codes = tuple(dict.fromkeys(_CODES.findall(told)))
    description = _shown(told, asked.secret)
    cause = cause_of(error, told, codes)
    said = f"{error} ({description})" if description else error
    if cause == "grant-rejected":
        said, error = "it refuses an invented code, as it should", "invalid_grant"
    elif asked.proved and answer.status == _UNAUTHORIZED and cause == "idp-error":
        error = "invalid_client"  # Auth0 says access_denied: the status means the client (RFC 6749 section 5.2)
    elif not (_UNKNOWN_CLIENT.intersection(codes) or (asked.proved and cause in _ABOUT_US)):
        error = description = ""
    origin = Origin(kind="probe", source=plain.target, quote=f"token endpoint answers {answer.status}: {said}")
    return replace(plain, origin=origin, error=error, description=description, codes=codes if error else ())


def authorization_answer(url: str, redirect_uri: str, answer: Fetched) -> list[Fact]:
    """What the authorization endpoint says of client, redirect URI and scopes."""
    plain = answered("authorization", url, answer)
    location = answer.headers.get("location") or ""
    back = _sent_back(location, redirect_uri) if 300 <= answer.status < 400 else None
    if back is not None:
        error, told = back.get("error", ""), back.get("error_description", "")
        known = "accepts the client and the redirect URI"
        facts: list[Fact] = [_redirect_uri(plain, redirect_uri, accepted=True, said=known)]
        codes = tuple(dict.fromkeys(_CODES.findall(told)))
        if error and error not in _NOBODY:
            facts.append(_refusal(plain, error, _shown(told, None), codes))
        return facts
    found = refusal_in(location if 300 <= answer.status < 400 else "", answer.body)
    if found is None:
        lost = answer.status in (404, 405, 410) or answer.status >= 500
        unsure = _redirect_uri(plain, redirect_uri, accepted=None, said=f"answers {answer.status}, and tells no more")
        return [plain] if lost else [unsure]
    error, told, codes = found
    if cause_of(error, told, codes) == "redirect-uri-mismatch":
        said = f"refuses the redirect URI {redirect_uri}: {_shown(told, None) or error}"
        return [_redirect_uri(plain, redirect_uri, accepted=False, said=said)]
    return [_refusal(plain, error, _shown(told, None), codes)]


def _refusal(plain: Answered, error: str, description: str, codes: tuple[str, ...]) -> Answered:
    said = f"authorization endpoint answers {error}" + (f" ({description})" if description else "")
    origin = Origin(kind="probe", source=plain.target, quote=said)
    return replace(plain, origin=origin, error=error, description=description, codes=codes, probe=False)


def _redirect_uri(plain: Answered, redirect_uri: str, *, accepted: bool | None, said: str) -> RedirectUriAnswer:
    origin = Origin(kind="probe", source=plain.target, quote=f"authorization endpoint {said}")
    return RedirectUriAnswer(origin=origin, target=plain.target, redirect_uri=redirect_uri, accepted=accepted)


def _sent_back(location: str, redirect_uri: str) -> dict[str, str] | None:
    """The parameters with which a browser is sent back to the application; None if it is sent elsewhere."""
    there, back = split(location), split(redirect_uri)
    if (there.scheme, there.netloc, there.path) != (back.scheme, back.netloc, back.path):
        return None
    return dict(parse_qsl(there.query) + parse_qsl(there.fragment))


def clock_offset(url: str, answer: Fetched) -> ClockOffset | None:
    """How far this clock is from the provider's, by the Date header; a cache's answer is older by its Age."""
    try:
        date = parsedate_to_datetime(answer.headers.get("date") or "").timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
    age = answer.headers.get("age") or ""
    seconds = answer.now - date - (int(age) if age.isascii() and age.isdigit() else 0)
    if abs(seconds) <= _EDGES:
        seconds = 0.0
    host = urlsplit(url).hostname or url
    origin = Origin(kind="probe", source=host, quote=f"Date: {answer.headers.get('date')}; here it is {seconds:+.0f} s")
    return ClockOffset(origin=origin, seconds=seconds, against=host)


def _shown(text: str, secret: Secret | None) -> str:
    """A description fit to be shown: one line, short, without the secret should a provider repeat it."""
    line = text.strip().splitlines()[0] if text.strip() else ""
    value = secret.reveal().decode("utf-8", "replace").strip() if secret is not None else ""
    return clean(without_tokens(line.replace(value, "[secret]") if value else line))
