"""What the doorkeeper has at hand when it can't reach its provider: one failed connection, judged by the same rules.

Nothing is sent: the kernel is asked for routes, everything else was seen already.
"""

from __future__ import annotations

from ostiary.core.trace import ConnectTrace
from ostiary.doctor.case import Case
from ostiary.doctor.configuration.native import cluster_of
from ostiary.doctor.diagnose import diagnose
from ostiary.doctor.facts.connection import Attempted
from ostiary.doctor.facts.dns import LookedUp
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.finding import Finding
from ostiary.doctor.probes.place import routes
from ostiary.doctor.probes.traces import facts_of_trace
from ostiary.doctor.rules import all_rules
from ostiary.model.clusters import Cluster


def explanation(cluster: Cluster | None, trace: ConnectTrace) -> str:
    """One line for the log: what is wrong, why, and how it is mended; empty if no rule knows."""
    findings = findings_of(cluster, trace)
    if not findings or findings[0].severity != "error":
        return ""
    first = findings[0]
    return f"{first.title}. {first.cause} Mend: {first.mend} (ostiary doctor --explain {first.rule})"


def findings_of(cluster: Cluster | None, trace: ConnectTrace) -> list[Finding]:
    """What the rules find in one failed connection, most telling first."""
    facts: list[Fact] = facts_of_trace(trace)
    if cluster is not None:
        facts.append(cluster_of(cluster, "configuration", for_provider=True))
    tried = [fact.address for fact in facts if isinstance(fact, Attempted)]
    known = [address for fact in facts if isinstance(fact, LookedUp) for address in fact.answers]
    return diagnose(Case([*facts, *routes([*tried, *known])]), all_rules())
