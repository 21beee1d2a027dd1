"""EnvoyFilter patches to facts: which do nothing, crash istiod, or stand at the wrong place.

They are applied to a sidecar (a gateway, if that is what they are for) as istiod makes it for an application without
further objects but those in the same files; with a live proxy's dump at hand they are compared with that instead
(doctor/live).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import replace
from typing import Final

from ostiary.dialects.istio_admission import WITH_ANOTHER
from ostiary.dialects.istio_findings import Code, Outcome
from ostiary.dialects.istio_findings import Finding as PatchFinding
from ostiary.dialects.istio_objects import EnvoyFilter
from ostiary.dialects.istio_patch import apply
from ostiary.dialects.istio_selection import Proxy
from ostiary.dialects.istio_sidecar import make_sidecar
from ostiary.doctor.configuration.problems import OTHERS_TYPES
from ostiary.doctor.facts.configuration import ConfigurationProblem, ProblemKind
from ostiary.doctor.facts.origin import Origin
from ostiary.doctor.finding import Where
from ostiary.model.clusters import Endpoint

_KINDS: Final[dict[str, ProblemKind]] = {
    "patch-crashes-istiod": "patch-crash",
    "patch-not-applied": "patch-nothing",
    "filter-order": "filter-order",
    "filter-fails-open": "fails-open",
    "config-unknown-field": "unknown-field",
    "config-invalid": "invalid",
}
"""What of a patch's findings is a problem of its own; the lookup family and TLS are told from the cluster's facts."""
_OF_THE_MESH: Final[frozenset[Code]] = frozenset(
    {"context-mismatch", "proxy-version-mismatch", "proxy-metadata-mismatch", "no-cluster", "no-listener",
     "no-filter-chain", "no-route-configuration", "no-virtual-host", "no-route", "not-subscribed"}
)  # fmt: skip
"""Misses that only a live proxy proves: files don't say which services, ports, hosts and versions a mesh has."""
_TYPE: Final = "could not resolve Any message type "
DOES_NOTHING: Final = "does nothing: "
"""How Ostiary's own reading begins to say it of a patch; `patch_problems` knows better which of these are true."""
_ANYTHING: Final = Proxy(kind="sidecar", namespace=None, labels=None, version=None, metadata=None)


def patch_problems(filters: Sequence[EnvoyFilter], kinds: Iterable[str]) -> Iterator[ConfigurationProblem]:
    """The facts of all patches. `kinds` are the other objects beside them (a RequestAuthentication is an anchor)."""
    there = set(kinds)
    for group in _by_proxy(filters):
        proxy = make_sidecar(group, there, "http", Endpoint(address="127.0.0.1", port=8080))
        outcomes = apply(group, replace(_ANYTHING, kind=proxy.kind), proxy.resources)
        yield from outcome_problems(outcomes, _OF_THE_MESH)


def _by_proxy(filters: Sequence[EnvoyFilter]) -> Iterator[list[EnvoyFilter]]:
    """The filters of gateways, and all others: what is meant for one proxy does nothing in another, and rightly so."""
    contexts = [{patch.match.context for patch in each.patches} for each in filters]
    for_gateways = ["GATEWAY" in some and not some & {"SIDECAR_INBOUND", "SIDECAR_OUTBOUND"} for some in contexts]
    for wanted in (False, True):
        group = [each for each, gateway in zip(filters, for_gateways, strict=True) if gateway is wanted]
        if group:
            yield group


def outcome_problems(outcomes: Iterable[Outcome], unknown: Set[Code] = frozenset()) -> Iterator[ConfigurationProblem]:
    """The facts of patches that were tried, without those of codes that are not to be known."""
    for outcome in outcomes:
        for found in outcome.findings:
            kind = _kind(found)
            code, kind_of_patch = found.code, outcome.patch.apply_to
            if code in unknown or (code == "no-filter" and kind_of_patch != "HTTP_FILTER"):
                continue
            if code == "siblings-dropped" and kind_of_patch == "CLUSTER":
                continue  # `sockets` tells of it, whatever the patch matches
            if kind is not None and (found.severity == "error" or kind in ("filter-order", "fails-open")):
                yield _problem(outcome, found, kind)


def _kind(found: PatchFinding) -> ProblemKind | None:
    """What is wrong; None for what is not told, such as that an object is refused for another of its patches."""
    kind = _KINDS.get(found.rule)
    if kind == "invalid":
        if found.message.startswith(WITH_ANOTHER) or (_TYPE in found.message and OTHERS_TYPES.search(found.message)):
            return None
        return (
            "type-url" if _TYPE in found.message else "type-missing" if "'@type' is missing" in found.message else kind
        )
    return kind


def _problem(outcome: Outcome, found: PatchFinding, kind: ProblemKind) -> ConfigurationProblem:
    patch = outcome.patch
    named = found.path.rpartition(".")[2]
    name = (
        named
        if kind == "unknown-field"
        else found.message.partition(_TYPE)[2].rstrip(".")
        if kind == "type-url"
        else f"{outcome.owner.full_name} patch {patch.index + 1} ({patch.apply_to} {patch.operation})"
    )
    return ConfigurationProblem(
        origin=Origin(kind="config", source=found.file, line=found.line, quote=f"{found.path}: {found.message}"),
        kind=kind,
        subject=name,
        message=f"{found.message[:1].upper()}{found.message[1:].rstrip('.')}.",
        mend=f"{found.mend[:1].upper()}{found.mend[1:].rstrip('.')}." if found.mend else "",
        where=Where(file=found.file, line=found.line, path=found.path),
    )
