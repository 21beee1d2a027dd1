"""Configurations that Envoy or istiod refused: which field, type or cluster, and why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ostiary.core.log_redaction import redacted
from ostiary.doctor.facts.configuration import ConfigurationProblem, ProblemKind
from ostiary.doctor.facts.origin import Fact, Origin
from ostiary.doctor.facts.sidecar import UpdateRejected
from ostiary.doctor.logs.joining import What
from ostiary.doctor.logs.pattern import Found, Pattern, expanded

_LONGEST: Final = 600
_KINDS: Final[tuple[tuple[str, ProblemKind], ...]] = (
    (r"no such field: ?['\"]?(?P<subject>[\w.-]+)", "unknown-field"),
    (r"unknown field ['\"](?P<subject>[\w.-]+)", "unknown-field"),
    (r"(?:invalid type URL, )?unknown (?:message )?type:? \\?['\"]?(?P<subject>envoy[\w.]+)", "type-url"),
    (r"any: message type ['\"](?P<subject>[\w.]+)['\"] isn't linked in", "type-url"),
    (r"unable to resolve \\?['\"](?:type\.googleapis\.com/)?(?P<subject>envoy[\w.]+)", "extension-missing"),
    (r"could not find @type ['\"]?(?:type\.googleapis\.com/)?(?P<subject>[\w.]+)", "type-url"),
    (r"could not resolve Any message type ?:?(?: ?\S*?googleapis\.com/)?(?P<subject>[\w.]*)", "type-url"),
    (r"Didn't find a registered implementation for '(?P<subject>[^']*)' with type URL: ''", "type-missing"),
    (r"Didn't find a registered implementation for (?:name: )?'?(?P<subject>[\w./-]+)", "extension-missing"),
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
_PLACE: Final = re.compile(r"@\s+([\w.<>\[\]]+):")
_FIELD: Final = re.compile(r"ValidationError\.(\w+): (?!embedded)")
_DUMP: Final = "goo.gle/"
"""How protobuf begins a dump of a whole message: the reason stands in the last line, behind it."""


def problem_of(text: str) -> tuple[ProblemKind, str]:
    """The kind of a rejection, and the field, type or cluster it is about."""
    for expression, kind in _COMPILED:
        if (found := expression.search(text)) is not None:
            return kind, found.groupdict().get("subject") or ""
    return "invalid", ""


def _subject(reason: str) -> str:
    """The field that a reason names, in its last part: `OAuth2ConfigValidationError.RedirectUri: value ...`."""
    if (field := _FIELD.search(reason)) is not None:
        return re.sub(r"(?<!^)(?=[A-Z])", "_", field[1]).lower()
    place = _PLACE.search(reason)
    return place[1].rpartition(".")[2] if place is not None else ""


def rejection(origin: Origin, text: str, *, rejected: bool = True) -> ConfigurationProblem:
    """The fact of a reason that Envoy or istiod gives, as a log or an admin API quotes it."""
    cut = re.sub(r"\):\s*\{\"?.*$", ")", text, flags=re.DOTALL)  # the whole configuration, as JSON
    reason = redacted(" ".join(cut.split()))
    kind, subject = problem_of(reason)
    return ConfigurationProblem(
        origin=origin, kind=kind, subject=subject or _subject(reason), message=reason[:_LONGEST],
        rejected=rejected,
    )  # fmt: skip


def _start(found: Found) -> Iterator[Fact]:
    if found["why"].strip().startswith(_DUMP):
        found.join.dumps(_cut_off(found), None)
    else:
        yield rejection(found.origin, found["why"])


def _cut_off(found: Found) -> ConfigurationProblem:
    """What is known as long as the last line of a dump has not come."""
    return ConfigurationProblem(
        origin=found.origin, kind="invalid", subject="", rejected=True,
        message="the reason is cut off: it is the last line of the record",
    )  # fmt: skip


def _update(found: Found) -> Iterator[Fact]:
    what, text = found["what"].lower() + found["kind"], found["why"]
    kind = next((kind for sign, kind in _UPDATES if sign in what), None)
    if text.strip().startswith(_DUMP):
        found.join.dumps(_cut_off(found), (kind, found["of"] or found["name"]) if kind is not None else None)
        return
    problem = rejection(found.origin, text)
    if kind is not None:
        yield UpdateRejected(origin=found.origin, what=kind, name=found["of"] or found["name"], reason=problem.message)
    yield problem


def _reason(found: Found) -> Iterator[Fact]:
    """The last line of a dump."""
    problem = rejection(found.origin, found["why"])
    update = found.join.dump_ends()
    if update is not None:
        yield UpdateRejected(origin=found.origin, what=update[0], name=update[1], reason=problem.message)
    yield problem


def _crashed(found: Found) -> Iterator[Fact]:
    yield ConfigurationProblem(
        origin=found.origin, kind="redirect-uri-template", subject=found["template"], rejected=True,
        message=redacted(found["why"])[:_LONGEST],
    )  # fmt: skip


def _update_unread(found: Found) -> Iterator[Fact]:
    """A file of listeners, clusters or secrets that can't be read."""
    yield rejection(found.origin, found["why"])


def _unknown_field(found: Found) -> Iterator[Fact]:
    """A warning of istiod's, or kubectl's refusal."""
    yield rejection(found.origin, found["why"].replace("\\", ""), rejected=False)


def _said(found: Found) -> Iterator[Fact]:
    """A cause on its own: a warning, or istiod's webhook."""
    yield rejection(found.origin, found["why"], rejected=found.record.level in ("error", "critical"))


_UPDATES: Final[tuple[tuple[str, What], ...]] = (
    ("lds", "listener"), ("listener", "listener"), ("cds", "cluster"), ("cluster", "cluster"), ("rds", "route"),
    ("route", "route"), ("secret", "secret"), ("sds", "secret"),
)  # fmt: skip

PATTERNS: Final = (
    Pattern(
        words=("error initializing config",),
        expression=r"error initializing config(?:uration)? '[^']*': ?(?P<why>.*)",
        facts=_start,
        joins=True,
    ),
    Pattern(
        words=("error `",),
        expression=r"^error `(?P<why>.*?)(?:` initializing config .*)?$",
        facts=_start,
        joins=True,
    ),
    Pattern(
        words=("Proto constraint validation failed",),
        expression=r"^:? ?(?P<why>Proto constraint validation failed [^`]*)",
        facts=_reason,
        joins=True,
    ),
    Pattern(
        words=("Uncaught EnvoyException 'Incorrect configuration",),
        expression=r"Uncaught EnvoyException '(?P<why>Incorrect configuration: (?P<template>\S+)\. .*?)', see trace",
        facts=_crashed,
    ),
    Pattern(
        words=("config rejected", r"gRPC config for \S+ rejected", "error adding listener", "Error adding/updating"),
        expression=r"(?:gRPC config for (?P<what>\S+) rejected|"
        r"(?P<kind>[lcr]ds): \w* ?'?(?P<of>[^']*)'? config rejected)?:? ?"
        r"(?:Error adding/updating (?:listener|cluster)\(s\) )?(?P<name>[\w.|:/-]*?)'?:? (?P<why>.*)",
        facts=_update,
        joins=True,
    ),
    Pattern(
        words=("Filesystem config update failure",),
        expression=r"Filesystem config update failure: in \S+, (?P<why>.*)",
        facts=_update_unread,
    ),
    Pattern(
        words=("Unknown field: type",),
        expression=r"Unknown field: type \S+ reason (?P<why>.*)",
        facts=_said,
    ),
    Pattern(
        words=("OAuth2 filter: (?:unknown cluster|invalid)",),
        expression=r"^(?P<why>OAuth2 filter: (?:unknown cluster '[^']*'|invalid .*))",
        facts=_said,
    ),
    Pattern(
        words=(
            "could not resolve Any message type",
            "referenced type unknown",
            "unknown message type .{1,3}envoy",
            r"any: message type \S+ isn't linked in",
            r"unable to resolve .{1,3}type\.googleapis\.com/envoy",
        ),
        expression=r"(?P<why>(?:could not resolve Any message type|referenced type unknown|unknown message type|"
        r"any: message type|unable to resolve).*)",
        facts=_said,
    ),
    Pattern(
        words=(r"unknown field .{1,3}\w+.{1,3} in (?:envoy|v1alpha3\.|io\.istio)", "unmarshalerDecoder: unknown field"),
        expression=r"(?P<why>unknown field \\?\"[\w.-]+\\?\"(?: in [\w.]+)?)",
        facts=_unknown_field,
    ),
)
