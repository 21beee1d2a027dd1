"""What a worker keeps of a flight: parts, each written once and never changed.

The redirect and the callback of a sign-in are two parts that share their flight; whoever shows flights puts them
together (`core.flights.story`), so it does not matter which worker made which. A part is kept as its MessagePack bytes:
its size is known, and nothing keeps objects of finished requests alive. Monotonic times are this host's, the same for
every worker.
"""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from ostiary.core.decision import Fetch, Fetched, FetchFailed
from ostiary.core.flights.note import Kind, Outcome
from ostiary.core.redaction import without_tokens
from ostiary.core.trace import ConnectTrace
from ostiary.model import limits

_ERROR: Final = ("error", "error_description")
_SENT_SECRETS: Final = (
    "code", "code_verifier", "refresh_token", "client_secret", "client_assertion", "token", "subject_token",
)  # fmt: skip
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")


class Call(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request to the provider. Times are monotonic seconds."""

    purpose: str
    method: str
    url: str
    """Without credentials and query; with a cluster its name and path."""
    started: float
    ended: float
    status: int | None = None
    """None: no answer."""
    error: str = ""
    """The answer's `error` (RFC 6749 section 5.2)."""
    error_description: str = ""
    failure: str = ""
    """`connect`, `timeout`, `protocol`, `too_large`, `no_cluster`: why there is no answer."""
    message: str = ""
    tries: int = 1
    connects: tuple[ConnectTrace, ...] = ()
    """Connections that were opened for it; none where one was open already."""


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request of a flight, and what became of it. `at` is Unix time, `clock` the same moment's monotonic time."""

    kind: Kind
    flight: str
    outcome: Outcome
    at: float
    clock: float
    seconds: float
    """Until the answer was ready."""
    profile: str = ""
    worker: int = 0
    status: int = 0
    method: str = ""
    host: str = ""
    path: str = ""
    client: str = ""
    agent: str = ""
    request_id: str = ""
    code: str = ""
    reason: str = ""
    why: str = ""
    user: str = ""
    asked: str = ""
    restart_of: str = ""
    left_at: float | None = None
    verified: str = ""
    cookies: int = 0
    cookie_bytes: int = 0
    calls: tuple[Call, ...] = ()


class Unreachable(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Connections that failed for one cause, counted. `first` and `last` are Unix times."""

    cluster: str
    target: str
    error: str
    count: int
    first: float
    last: float
    trace: ConnectTrace
    """The last one."""
    checks: bool = False
    """Of health checks."""


def short(text: str, most: int = limits.MAX_FLIGHT_TEXT) -> str:
    """Hostile text for a page: printable ASCII, cut."""
    return _UNPRINTABLE.sub("?", text if len(text) <= most else text[: most - 3] + "...")


def words(text: str) -> str:
    """What the provider, or a library, said: cut, cleaned, without what looks like a token."""
    return without_tokens(short(text, limits.MAX_FLIGHT_WORDS))


def address_of(fetch: Fetch) -> str:
    """Where a request goes, without its query."""
    if fetch.cluster:
        return short(f"{fetch.cluster}: {fetch.path.partition('?')[0]}")
    parts = urlsplit(fetch.url)
    return short(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")


def trimmed(trace: ConnectTrace) -> ConnectTrace:
    """A trace of a bounded number of rows."""
    most = limits.MAX_FLIGHT_ROWS
    if len(trace.dns) <= most and len(trace.attempts) <= most:
        return trace
    return replace(trace, dns=trace.dns[:most], attempts=trace.attempts[:most])


def call_of(
    fetch: Fetch,
    outcome: Fetched | FetchFailed,
    started: float,
    ended: float,
    *,
    tries: int = 1,
    connects: tuple[ConnectTrace, ...] = (),
) -> Call:
    """What is kept of a request and its answer."""
    status, error, description, failure, message = None, "", "", "", ""
    if isinstance(outcome, FetchFailed):
        failure, message = outcome.kind, words(outcome.reason)
    else:
        status = outcome.status
        error, description = _said(outcome, _sent_secrets(fetch))
    return Call(
        purpose=fetch.purpose,
        method=fetch.method,
        url=address_of(fetch),
        started=started,
        ended=ended,
        status=status,
        error=error,
        error_description=description,
        failure=failure,
        message=message,
        tries=tries,
        connects=tuple(trimmed(trace) for trace in connects[-limits.MAX_FLIGHT_CONNECTS :]),
    )


def _said(answer: Fetched, secrets: list[str]) -> tuple[str, str]:
    """`error` and `error_description` of an answer, as far as it is one; without what the request itself held."""
    if answer.status == 200 and b'"error"' not in answer.body:
        return "", ""
    try:
        document = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "", ""
    if not isinstance(document, dict):
        return "", ""
    found = [document.get(name) for name in _ERROR]
    texts = [text if isinstance(text, str) else "" for text in found]
    for secret in secrets:
        texts = [text.replace(secret, "[secret]") for text in texts]
    return words(texts[0]), words(texts[1])


def _sent_secrets(fetch: Fetch) -> list[str]:
    try:
        pairs = parse_qsl(fetch.body.decode("latin-1"), max_num_fields=64)
    except ValueError:
        pairs = []
    found = [value for name, value in pairs if name in _SENT_SECRETS]
    for scheme, _, value in (value.partition(" ") for name, value in fetch.headers if name == "authorization"):
        found.append(_password(value) if scheme == "Basic" else value)
    return [form for value in found if len(value) >= limits.MIN_SECRET_SHOWN for form in {value, unquote(value)}]


def _password(credentials: str) -> str:
    """RFC 7617 section 2."""
    try:
        return base64.b64decode(credentials).decode("latin-1").partition(":")[2]
    except ValueError:
        return credentials
