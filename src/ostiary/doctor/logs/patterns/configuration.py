"""Configurations that Envoy or istiod refused: which field, type or cluster, and why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ostiary.core.redaction import redacted
from ostiary.doctor.facts.configuration import ConfigurationProblem, ProblemKind
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.sidecar import UpdateRejected
from ostiary.doctor.logs.pattern import Found, Pattern, expanded

_LONGEST: Final = 600
_KINDS: Final[tuple[tuple[str, ProblemKind], ...]] = (
    (r"no such field: ?['\"]?(?P<subject>[\w.-]+)", "unknown-field"),
    (r"could not find @type ['\"]?(?:type\.googleapis\.com/)?(?P<subject>[\w.]+)", "type-url"),
    (r"could not resolve Any message type ?:?(?: ?\S*?googleapis\.com/)?(?P<subject>[\w.]*)", "type-url"),
    (r"Didn't find a registered implementation for '(?P<subject>[^']*)' with type URL: ''", "type-missing"),
    (r"Didn't find a registered implementation for '?(?P<subject>[\w./-]+)", "extension-missing"),
    (r"missing @type in Any(?P<subject>)", "type-missing"),
    (r"unknown cluster ['\"]?(?P<subject>[^'\"\s]*)", "cluster-unknown"),
    (r"(?P<subject>HMAC|token) secret configuration", "secret-missing"),
    (r"(?P<subject>token_secret) is required", "secret-missing"),
    (r"path in the system: '(?P<subject>[^']*)' does not exist", "secret-missing"),
    (r"terminal filter.{0,200}?must be the last(?P<subject>)", "filter-order"),
    (r"(?P<subject>\S+) must be the terminal|non-terminal filter.{0,200}last filter", "filter-order"),
    (r"field: \"(?P<subject>[\w.]+)\", reason", "invalid"),
    (r"invalid value (?P<subject>[\w.]+)", "invalid"),
)  # fmt: skip
_COMPILED: Final = tuple((re.compile(expanded(expression), re.DOTALL), kind) for expression, kind in _KINDS)
_DUMP: Final = re.compile(r"^goo\.gle/\w+\s*$|^[\w.]+ \{|^\s*[\w.]+: |^\s*\}|^\s*$")
_PLACE: Final = re.compile(r"@\s+([\w.<>\[\]]+):")


def problem_of(text: str) -> tuple[ProblemKind, str]:
    """The kind of a rejection, and the field, type or cluster it is about."""
    for expression, kind in _COMPILED:
        if (found := expression.search(text)) is not None:
            return kind, found.groupdict().get("subject") or ""
    return "invalid", ""


def reason_of(message: str, rest: tuple[str, ...]) -> str:
    """Why, out of a dump: it is the last line that is none of the dump's, or else the message itself."""
    if message.strip().startswith("goo.gle/"):
        told = [line.strip() for line in rest if _DUMP.match(line) is None]
        reason = next((line for line in reversed(told) if "(" in line or ":" in line), "")
        return " ".join(reason.lstrip(": ").split()) or "the reason is cut off: it is the last line of the record"
    cut = re.sub(r"\):\s*\{\"?.*$", ")", message, flags=re.DOTALL)
    return " ".join(cut.split())


def _problem(found: Found, text: str, *, rejected: bool) -> ConfigurationProblem:
    reason = redacted(reason_of(text, found.record.rest))
    kind, subject = problem_of(reason)
    place = _PLACE.search(reason)
    if kind == "invalid" and not subject and place is not None:
        subject = place[1].rpartition(".")[2]
    return ConfigurationProblem(
        origin=found.origin, kind=kind, subject=subject, message=reason[:_LONGEST], rejected=rejected
    )


def _start(found: Found) -> Iterator[Fact]:
    yield _problem(found, found["why"], rejected=True)


def _update(found: Found) -> Iterator[Fact]:
    what = found["what"].lower()
    problem = _problem(found, found["why"], rejected=True)
    for sign, kind in (("lds", "listener"), ("listener", "listener"), ("cds", "cluster"), ("cluster", "cluster"),
                       ("rds", "route"), ("route", "route"), ("secret", "secret"), ("sds", "secret")):  # fmt: skip
        if sign in what:
            yield UpdateRejected(origin=found.origin, what=kind, name=found["name"], reason=problem.message)  # type: ignore[arg-type]
            break
    yield problem


def _said(found: Found) -> Iterator[Fact]:
    """A cause on its own: a warning, or istiod's webhook."""
    yield _problem(found, found["why"], rejected=found.record.level in ("error", "critical"))


PATTERNS: Final = (
    Pattern(
        words=("error initializing configuration",),
        expression=r"error initializing configuration '[^']*': ?(?P<why>.*)",
        facts=_start,
    ),
    Pattern(
        words=("config rejected", r"gRPC config for \S+ rejected", "error adding listener", "Error adding/updating"),
        expression=r"(?:gRPC config for (?P<what>\S+) rejected|(?P<kind>[lcr]ds): .{0,60}?config rejected)?:? ?"
        r"(?:Error adding/updating (?:listener|cluster)\(s\) )?(?P<name>[\w.|:/-]*?)'?:? (?P<why>.*)",
        facts=_update,
    ),
    Pattern(
        words=("OAuth2 filter: (?:unknown cluster|invalid)",),
        expression=r"^(?P<why>OAuth2 filter: (?:unknown cluster '[^']*'|invalid .*))",
        facts=_said,
    ),
    Pattern(
        words=("could not resolve Any message type", "referenced type unknown"),
        expression=r"(?P<why>(?:could not resolve Any message type|referenced type unknown).*)",
        facts=_said,
    ),
)
