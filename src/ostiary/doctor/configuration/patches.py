"""EnvoyFilter patches to facts: which do nothing, crash istiod, or stand at the wrong place.

They are applied to a sidecar as istiod makes it for an application without further objects but those in the same files;
with a live proxy's dump at hand they are compared with that instead (doctor/live).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ostiary.dialects.istio_findings import Finding as PatchFinding
from ostiary.dialects.istio_findings import Outcome
from ostiary.dialects.istio_objects import EnvoyFilter
from ostiary.dialects.istio_patch import apply
from ostiary.dialects.istio_selection import Proxy
from ostiary.dialects.istio_sidecar import make_sidecar
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
_ANYTHING: Final = Proxy(kind="sidecar", namespace=None, labels=None, version=None, metadata=None)


def patch_problems(filters: Sequence[EnvoyFilter], kinds: Iterable[str]) -> Iterator[ConfigurationProblem]:
    """The facts of all patches. `kinds` are the other objects beside them (a RequestAuthentication is an anchor)."""
    sidecar = make_sidecar(list(filters), set(kinds), "http", Endpoint(address="127.0.0.1", port=8080))
    yield from outcome_problems(apply(list(filters), _ANYTHING, sidecar.resources))


def outcome_problems(outcomes: Iterable[Outcome]) -> Iterator[ConfigurationProblem]:
    """The facts of patches that were tried."""
    for outcome in outcomes:
        for found in outcome.findings:
            kind = _KINDS.get(found.rule)
            if kind is not None and (found.severity == "error" or kind in ("filter-order", "fails-open")):
                yield _problem(outcome, found, kind)


def _problem(outcome: Outcome, found: PatchFinding, kind: ProblemKind) -> ConfigurationProblem:
    patch = outcome.patch
    named = found.path.rpartition(".")[2]
    name = (
        named
        if kind == "unknown-field"
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
