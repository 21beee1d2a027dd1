"""Access log entries: what flags and details say that no other pattern reads out of the details."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.doctor.facts.connection import ConnectFailed, EgressRefused
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.signin import ExtAuthzFailed, HeadersTooLarge, RedirectSent
from ostiary.doctor.facts.tls import HandshakeFailed
from ostiary.doctor.logs.pattern import Found, Pattern
from ostiary.doctor.logs.wording import errno_of, handshake_fault, tls_detail
from ostiary.model import limits

_UPSTREAM: Final = frozenset(("UF", "UH", "UC", "URX"))
_MORE: Final = limits.MAX_QUOTE


def _upstream(found: Found) -> Iterator[Fact]:
    """The application's upstream: a token call writes no entry of its own."""
    entry = found.record.access
    flags = set(entry.get("response_flags", "").split(","))
    if not flags & _UPSTREAM or entry.get("upstream_cluster", "-") in ("-", "", "BlackHoleCluster"):
        return
    text = found.record.message[:_MORE]
    if "TLS_error" in (text := text.replace(" ", "_")) and "not_supplied_by_SDS" not in text:
        yield HandshakeFailed(
            origin=found.origin, target=entry["upstream_cluster"], fault=handshake_fault(text),
            detail=tls_detail(entry.get("upstream_transport_failure_reason", "")), for_provider=False,
        )  # fmt: skip
        return
    yield ConnectFailed(
        origin=found.origin, target=entry["upstream_cluster"], errno=errno_of(found.record.message[:_MORE]),
        for_provider=False,
    )  # fmt: skip


def _black_hole(found: Found) -> Iterator[Fact]:
    entry = found.record.access
    names = (entry.get("authority", "-"), entry.get("requested_server_name", "-"))
    if entry:
        target = next((name for name in names if name != "-"), "")
        yield EgressRefused(origin=found.origin, target=target, how="black-hole")


def _preflight(found: Found) -> Iterator[Fact]:
    entry = found.record.access
    method = entry.get("method", "GET")
    if method not in ("GET", "HEAD", "POST"):
        yield RedirectSent(
            origin=found.origin, authorization_endpoint="", redirect_uri="", method=method, for_script=True
        )


def _too_large(found: Found) -> Iterator[Fact]:
    yield HeadersTooLarge(origin=found.origin, who="envoy", what="request")


def _head_refused(found: Found) -> Iterator[Fact]:
    """Envoy's own format has no details: the status says it."""
    if found.record.access.get("response_code") == "431":
        yield from _too_large(found)


def _answer_too_large(found: Found) -> Iterator[Fact]:
    yield HeadersTooLarge(origin=found.origin, who="envoy", what="response")


def _denied(found: Found) -> Iterator[Fact]:
    """A denial whose status says yes: the service answered 2xx, and HTTP ext_authz takes 200 alone for it."""
    status = found.record.access.get("response_code", "")
    if status.startswith("2"):
        yield ExtAuthzFailed(origin=found.origin, why="status", detail=status)


def _rejected(found: Found) -> Iterator[Fact]:
    yield ExtAuthzFailed(origin=found.origin, why="unreachable", detail="")


def _ext_authz(found: Found) -> Iterator[Fact]:
    if found.record.access or found.record.program == "envoy":
        yield ExtAuthzFailed(origin=found.origin, why="unreachable", detail="ext_authz_error")


def _seen(found: Found) -> None:
    if found.record.access:
        found.join.loops.see(found.record, found.origin)


PATTERNS: Final = (
    Pattern(words=(r"[?&]code=", r"\\u0026code="), expression=r"[?&]code=", facts=lambda _: (), joins=True),
    Pattern(
        words=(r'HTTP/[123](?:\.[01])?" [1235]\d\d ', r'HTTP/[123](?:\.[01])? "', r'"response_code": ?"?[1235]\d\d'),
        expression=r"^",
        facts=_seen,
        joins=True,
        context=True,
    ),
    Pattern(
        words=("upstream_reset_before_response_started", r" (?:UF|UH|UC|URX)(?:,[A-Z]+)? (?:upstream|no_healthy|-)",
               r"response_flags.{1,6}(?:UF|UH|UC|URX)"),
        expression=r"",
        facts=_upstream,
    ),
    Pattern(words=("BlackHoleCluster", "block_all"), expression=r"", facts=_black_hole),
    Pattern(words=(r"oauth\.missing_credentials",), expression=r"^oauth\.missing_credentials", facts=_preflight),
    Pattern(
        words=(r"http[12]\.headers_too_large", r"http[12]\.too_many_headers", "headers_count_exceeds_limit",
               "request_headers_too_large", r"http2\.(?:header_list_size|cookies_total_bytes)_too_large"),
        expression=r"http[123]\.(?:headers_too_large|too_many_headers|header_list_size_too_large|"
        r"cookies_total_bytes_too_large)|request headers_(?:count_exceeds_limit|too_large)",
        facts=_too_large,
    ),
    Pattern(words=(r'" 431 DPE ',), expression=r"", facts=_head_refused),
    Pattern(
        words=("upstream.headers_too_large", "response headers size exceeds limit"),
        expression=r"response headers size exceeds limit|upstream.headers_too_large",
        facts=_answer_too_large,
    ),
    Pattern(words=("ext_authz_error",), expression=r"\bext_authz_error\b", facts=_ext_authz),
    Pattern(words=("ext_authz_denied",), expression=r"\bext_authz_denied\b", facts=_denied),
    Pattern(
        words=("ext_authz filter rejected the request with an error",),
        expression="^ext_authz filter rejected the request with an error",
        facts=_rejected,
    ),
)  # fmt: skip
