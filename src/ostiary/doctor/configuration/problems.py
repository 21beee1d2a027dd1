"""What a dialect's reader says about a file, sorted into the kinds that rules know.

The reader judges by the schema and the rules of Envoy 1.39 and gives the place; only its errors count, and of its
warnings those that mean that sign-in fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from ostiary.dialects.schema_tree import NOT_IMPLEMENTED
from ostiary.doctor.facts.configuration import ConfigurationProblem, ProblemKind
from ostiary.doctor.facts.origin import Origin
from ostiary.doctor.finding import Where
from ostiary.model.errors import Diagnostic

_KINDS: Final[tuple[tuple[re.Pattern[str], ProblemKind], ...]] = (
    (re.compile(r"has no field '|^unknown key|is no key|there is no key|^no such field"), "unknown-field"),
    (re.compile(r"no such type in Envoy's API"), "type-url"),
    (re.compile(r"'@type' (is missing|must be text)|without a type"), "type-missing"),
    (re.compile(r"unknown cluster '"), "cluster-unknown"),
    (re.compile(r"without one this patch does nothing"), "patch-nothing"),
    (re.compile(r"must be the last|router"), "filter-order"),
)
_BY_PATH: Final[tuple[tuple[re.Pattern[str], ProblemKind], ...]] = (
    (re.compile(r"(^|\.)(redirect_uri|original_request_uri)$"), "redirect-uri-template"),
    (re.compile(r"(token_secret|hmac_secret)(\.|$)"), "secret-missing"),
    (re.compile(r"(^|\.)(secret|(client_)?secret_file|secrets\[\d+\])$"), "secret-invalid"),
)
OTHERS_TYPES: Final = re.compile(
    r"(?:in Envoy's API:|message type) (?!envoy\.)|[.](?:golang|kafka\w*|mysql_proxy|postgres_\w+|rocketmq_proxy|"
    r"sip_proxy|squash|sxg|dynamo|checksum|language|hyperscan|cryptomb|qat|kae|dlb|vcl|generic_proxy|client_ssl_auth|"
    r"peak_ewma|tap_sinks|istio_stats|alpn|peer_metadata|metadata_exchange)[.]"
)
"""Types that are not Envoy's: of its contrib builds, of Istio's and other vendors', values of protobuf's own."""
_OURS: Final = ("no patch changes what stands before", "the listener's address can't be patched here")
"""What only `ostiary run` refuses, which has one file and nothing else."""
_UNREADABLE: Final = "can't read "
_QUOTED: Final = re.compile(r"'([^']{1,80})'")


def problems(diagnostics: Iterable[Diagnostic], *, elsewhere: bool = False) -> Iterator[ConfigurationProblem]:
    """The facts of those that matter. `elsewhere`: the files that it names lie in a proxy's container."""
    for diagnostic in diagnostics:
        if diagnostic.message.startswith((NOT_IMPLEMENTED, *_OURS)):
            continue  # nothing is wrong with it for Envoy and Istio
        kind = _kind(diagnostic)
        if kind == "type-url" and OTHERS_TYPES.search(diagnostic.message):
            continue
        if elsewhere and diagnostic.message.startswith(_UNREADABLE):
            continue  # that it is not here says nothing
        if diagnostic.severity != "error" and kind not in ("cluster-unknown", "patch-nothing"):
            continue
        yield ConfigurationProblem(
            origin=Origin(kind="config", source=diagnostic.file, line=diagnostic.line, quote=_quote(diagnostic)),
            kind=kind,
            subject=_subject(diagnostic, kind),
            message=f"{diagnostic.message[:1].upper()}{diagnostic.message[1:].rstrip('.')}.",
            mend=f"{diagnostic.mend[:1].upper()}{diagnostic.mend[1:]}." if diagnostic.mend else "",
            confidence="certain" if diagnostic.severity == "error" or kind == "cluster-unknown" else "possible",
            where=Where(file=diagnostic.file, line=max(diagnostic.line, 1), path=diagnostic.path),
        )


def _kind(diagnostic: Diagnostic) -> ProblemKind:
    for sign, kind in _KINDS:
        if sign.search(diagnostic.message):
            return kind
    for sign, kind in _BY_PATH:
        if sign.search(diagnostic.path):
            return kind
    return "invalid"


def _quote(diagnostic: Diagnostic) -> str:
    path = f"{diagnostic.path}: " if diagnostic.path else ""
    return f"{path}{diagnostic.message}"


def _subject(diagnostic: Diagnostic, kind: ProblemKind) -> str:
    quoted = _QUOTED.search(diagnostic.message)
    if kind in ("unknown-field", "cluster-unknown") and quoted is not None:
        return quoted[1]
    if kind == "type-url":
        return diagnostic.message.rpartition(": ")[2]
    short = re.sub(r".*\.typed_config\.", "", diagnostic.path)
    return short or diagnostic.message
