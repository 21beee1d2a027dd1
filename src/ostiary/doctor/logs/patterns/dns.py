"""Names that don't resolve, by Envoy's words and nginx's; other programs' are in `languages`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.doctor.facts.dns import ResolutionFailed
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.logs.pattern import Found, Pattern
from ostiary.doctor.logs.wording import cares_fault, resolution_fault


def _cares(found: Found) -> None:
    fault = cares_fault(found["status"])
    if fault is not None:
        name = found["name"].rstrip(".")
        found.join.name_failed(ResolutionFailed(origin=found.origin, name=name, fault=fault, who=found.who))


def _refreshed(found: Found) -> None:
    if not found["failure"]:
        found.join.name_resolved(found["name"].rstrip("."))


def _completed(found: Found) -> None:
    if found["status"] in ("0", "0x0000", "Completed"):
        found.join.name_resolved(found["name"].rstrip("."))


def _nginx(found: Found) -> Iterator[Fact]:
    fault = resolution_fault(found["why"]) if found["why"] else "not-found"
    yield ResolutionFailed(
        origin=found.origin, name=(found["name"] or found["up"]).rstrip("."), fault=fault, who="nginx"
    )


PATTERNS: Final = (
    Pattern(
        words=("c-ares status",),
        expression=r"^dns resolution (?:for|without records for) (?P<name>\S+) (?:failed with )?c-ares status "
        r"(?P<status>0x[0-9a-fA-F]{1,8}|\d{1,9})",
        facts=_cares,
        joins=True,
    ),
    Pattern(
        words=("DNS refresh rate reset for",),
        expression=r"^DNS refresh rate reset for (?P<name>[^\s,]+), (?P<failure>\(failure\) )?refresh rate",
        facts=_refreshed,
        joins=True,
        context=True,
    ),
    Pattern(
        words=(r"dns resolution for \S+ completed with status",),
        expression=r"^dns resolution for (?P<name>\S+) completed with status (?P<status>\w+)",
        facts=_completed,
        joins=True,
        context=True,
    ),
    Pattern(
        words=("could not be resolved", "host not found in upstream"),
        expression=r"(?:^|\s)(?P<name>[\w.-]+\.[\w-]+\.?) could not be resolved(?: (?P<why>\(\d+: [^)]*\)))"
        r"|host not found in upstream \"(?P<up>[^\"]+)\"",
        facts=_nginx,
    ),
)
