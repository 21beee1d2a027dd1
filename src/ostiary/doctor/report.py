"""What the doctor hands over: the evidence, the findings, and what was tried, as one document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ostiary.core.trace import ConnectTrace
from ostiary.doctor.facts.origin import Fact, Kind
from ostiary.doctor.finding import Finding
from ostiary.doctor.mends.patch import together


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One source that was looked at."""

    kind: Kind
    source: str
    """A file, a URL, `namespace/pod`, or the target of a probe."""
    summary: str
    """What it holds, in a few words: `1,204,331 lines, 14 of interest`."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What else is known, for the JSON document; never a secret."""

    @property
    def is_empty(self) -> bool:
        """A log without a line, of which nobody may say that nothing is wrong."""
        return self.kind == "log" and self.details.get("lines") == 0

    def as_dict(self) -> dict[str, Any]:
        """The object of `ostiary doctor --json`."""
        return {"kind": self.kind, "source": self.source, "summary": self.summary, **self.details}


def in_envoy(evidence: Evidence) -> str:
    """What Envoy's lookup families would come to from where a probe was, in a sentence; empty if nobody asked."""
    fates: Mapping[str, Mapping[str, str]] = evidence.details.get("lookup_families") or {}
    connecting = [family for family, fate in fates.items() if fate["LOGICAL_DNS"] == "works"]
    failing = [family for family in fates if family not in connecting]
    if not fates or not connecting:
        return ""
    if not failing:
        return "From here Envoy connects with every dns_lookup_family."
    return f"From here Envoy connects with {', '.join(connecting)} and fails with {', '.join(failing)} (LOGICAL_DNS)."


@dataclass(slots=True)
class Found:
    """What one source gave."""

    facts: list[Fact] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    traces: list[ConnectTrace] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    """Texts that can be patched, by their name, besides the configuration files."""

    def add(self, other: Found) -> None:
        """Both together."""
        self.texts |= other.texts
        self.facts += other.facts
        self.evidence += other.evidence
        self.traces += other.traces


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything about one case."""

    target: str
    evidence: tuple[Evidence, ...]
    findings: tuple[Finding, ...]
    """The most telling first."""
    traces: tuple[ConnectTrace, ...] = ()
    """Connections that were tried from here."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """What the findings' edits change, by name."""
    taken: datetime

    @property
    def healthy(self) -> bool:
        """No finding of severity `error` or `warning`."""
        return all(finding.severity == "info" for finding in self.findings)

    @property
    def patch(self) -> str:
        """What mends what is broken, as one patch (warnings' mends only where nothing is); empty if there is none.

        A warning's mend makes it better, and might change more than somebody in an incident wants at once. Where no
        file is at hand it is what the findings show.
        """
        broken = [finding for finding in self.findings if finding.severity == "error"] or self.findings
        shown = "".join(finding.patch for finding in broken if finding.patch)
        return together(broken, self.texts) or shown

    def as_dict(self) -> dict[str, Any]:
        """The document of `ostiary doctor --json`."""
        return {
            "healthy": self.healthy,
            "target": self.target,
            "evidence": [each.as_dict() for each in self.evidence],
            "findings": [finding.as_dict() for finding in self.findings],
        }
