"""Causes in DNS: a name that gives no address, or addresses that this place can't use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.core.addresses import Family
from ostiary.doctor.case import Case
from ostiary.doctor.facts.configuration import ClusterSeen
from ostiary.doctor.facts.connection import Attempted, ConnectFailed, NoHealthyHost, RouteSeen
from ostiary.doctor.facts.dns import LookedUp, ResolutionFailed, ResolutionFault, SearchDomains
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.sidecar import ClusterCounters
from ostiary.doctor.finding import Confidence, Edit, Finding
from ostiary.doctor.rule import Rule
from ostiary.doctor.rules.evidence import (
    cluster_of,
    host_of,
    listed,
    name_of,
    proof,
    same_target,
    someone_signed_in,
    subject_of,
)
from ostiary.doctor.rules.evidence import weakened as weaker
from ostiary.doctor.rules.families import family_of, mend_of_family, unreachable

_NAMES: Final[dict[Family, str]] = {"v4": "IPv4", "v6": "IPv6"}
_OTHER: Final[dict[Family, Family]] = {"v4": "v6", "v6": "v4"}
_TYPES: Final = {"v4": "A", "v6": "AAAA"}
_CLUSTER_PATCH: Final = """\
--- cluster.yaml
+++ cluster.yaml
@@ -1 +1,2 @@
 type: LOGICAL_DNS
+dns_lookup_family: {setting}  # {reason}
"""
"""What to write where the file is not at hand: shown, not applied."""
_LOOKS_AT_ONE: Final[dict[str, Family]] = {"V4_ONLY": "v4", "V6_ONLY": "v6"}


def _family_unreachable(case: Case) -> Iterator[Finding]:
    """One family only is tried, this place has no route for it, and the other would do."""
    for subject, family, facts in unreachable(case):
        other = _OTHER[family]
        for_it = [a for a in case.all(Attempted) if a.family == other and same_target(case, a.target, subject)]
        if any(a.outcome in ("failed", "timeout") for a in for_it):
            continue  # the other family was tried and failed: `no-route` or what that failure says
        route = case.first(RouteSeen, lambda seen, wanted=other: seen.family == wanted)  # type: ignore[misc]
        if route is not None and not route.ok:
            continue
        about = [q for q in case.all(LookedUp) if same_target(case, q.name, subject)]
        here = any(q.outcome == "answered" for q in about)  # otherwise this place knows nothing of the name
        answers = [q for q in about if q.type == _TYPES[other] and here]
        if answers and not any(q.outcome == "answered" for q in answers):
            continue  # there is nothing of the other family to fall back to
        sure = bool(answers or for_it) and (route is not None or bool(for_it))
        cluster = cluster_of(case, subject)
        if cluster is not None and _rules_out(cluster, family) and _ran(facts, family):
            yield _another_runs(subject, family, cluster, facts)
            continue
        if cluster is not None and not _blind(cluster, family):
            continue  # it asks for the other family, too: that one won, was not there, or the evidence ends too early
        confidence: Confidence = "certain" if sure or cluster is not None else "likely"
        if cluster is None and any(a.outcome == "connected" for a in for_it):
            continue  # the race had both, and the other one won: nothing is broken
        yield _unreachable_finding(case, subject, family, weaker(confidence, someone_signed_in(case)), facts)


def _blind(cluster: ClusterSeen, family: Family) -> bool:
    """This cluster's lookup family gives it addresses of one family, whatever the other has."""
    return (cluster.lookup_family == "AUTO" and family == "v6") or _LOOKS_AT_ONE.get(cluster.lookup_family) == family


def _rules_out(cluster: ClusterSeen, family: Family) -> bool:
    """A file gives this cluster addresses of the other family alone."""
    names = all(family_of(host) is None for host in cluster.hosts)
    return cluster.origin.kind == "config" and names and _LOOKS_AT_ONE.get(cluster.lookup_family) == _OTHER[family]


def _ran(facts: list[Fact], family: Family) -> bool:
    """A proxy tried an address of this family: not a probe from here, and no forecast."""
    return any(isinstance(f, Attempted) and f.family == family and f.origin.kind in ("log", "admin") for f in facts)


def _another_runs(subject: str, family: Family, cluster: ClusterSeen, facts: list[Fact]) -> Finding:
    """The file asks for the other family alone, so it can't be what the proxy runs."""
    here, host = _NAMES[family], name_of(host_of(subject))
    return Finding(
        rule="dns-family-unreachable",
        severity="error",
        title=f"{host} is tried over {here}, which its configuration rules out: another one runs",
        cause=f"The cluster says dns_lookup_family: {cluster.lookup_family}, and {here} addresses were tried, for "
        "which there is no route. So the proxy does not run what is written here: it was not applied, it is newer than "
        "the evidence, or it stands in a patch that reaches nothing (MERGE never reaches an added cluster).",
        proof=proof(facts, cluster),
        mend="See what runs: `ostiary doctor --admin URL -c FILE` (or --pod) compares it with the file, and `ostiary "
        "patch -f FILE --proxy CONFIG_DUMP --explain` says what a patch hits. If the file is newer, sign in once more.",
        confidence="likely",
        where=cluster.lookup_where or cluster.where,
        subject=subject,
    )


def _unreachable_finding(
    case: Case, subject: str, family: Family, confidence: Confidence, facts: list[Fact]
) -> Finding:
    cluster = cluster_of(case, subject)
    here, other = _NAMES[family], _NAMES[_OTHER[family]]
    setting, reason = mend_of_family(case, family)
    edits: tuple[Edit, ...] = ()
    if cluster is not None and cluster.where is not None:
        where = cluster.lookup_where or cluster.where
        edits = (Edit(file=where.file, path=where.path, document=cluster.document, key="dns_lookup_family",
                      value=setting, comment=reason),)  # fmt: skip
    written = ""
    if cluster is not None:
        written = " because its cluster says nothing about dns_lookup_family, which means AUTO in Envoy"
        if cluster.family_written:
            written = f" because its dns_lookup_family is {cluster.lookup_family}"
    addresses = listed([a.address for a in facts if isinstance(a, Attempted)])
    tried = f"Only {here} addresses of {name_of(host_of(subject))} are tried" + (f" ({addresses})" if addresses else "")
    return Finding(
        rule="dns-family-unreachable",
        severity="error",
        title=f"{name_of(host_of(subject))} is tried over {here} only, and this place has no {here} route",
        cause=f"{tried}{written}. This place has no route for {here}, so every connection fails at once; {other} "
        "addresses, which would work, are never tried.",
        proof=proof(facts, case.all(RouteSeen), [cluster] if cluster is not None else []),
        mend=f"Set dns_lookup_family: {setting} in the cluster of {name_of(host_of(subject))}: {reason}. In Istio "
        "write it into the value of the patch that adds the cluster; a second patch with MERGE never reaches an "
        "added cluster.",
        confidence=confidence,
        where=cluster.where if cluster is not None else None,
        edits=edits,
        patch=None if edits else _CLUSTER_PATCH.format(setting=setting, reason=reason),
        subject=subject,
    )


def _failed(case: Case, fault: ResolutionFault) -> Iterator[tuple[str, list[Fact]]]:
    """Subjects whose name failed in this way, with what says so."""
    found: dict[str, list[Fact]] = {}
    for fact in case.all(ResolutionFailed):
        if fact.fault == fault:
            found.setdefault(subject_of(case, fact.name or fact.cluster), []).append(fact)
    rcodes = {"not-found": ("NXDOMAIN",), "server-failure": ("SERVFAIL",), "refused": ("REFUSED",)}.get(fault, ())
    for query in case.all(LookedUp):
        if query.rcode in rcodes and not _answered_elsewhere(case, query):
            found.setdefault(subject_of(case, query.name), []).append(query)
    yield from found.items()


def _answered_elsewhere(case: Case, query: LookedUp) -> bool:
    """Another question for the same name was answered: this one failing is a server's matter, or a search domain's.

    So it is where a log or a live proxy shows connections to it: it resolved there, and this is another place.
    """
    there: list[Attempted | ConnectFailed] = [*case.all(Attempted), *case.all(ConnectFailed)]
    told = [f for f in there if f.origin.kind in ("log", "admin") and same_target(case, f.target, query.name)]
    if query.origin.kind == "probe" and told:
        return True
    return any(
        q.outcome == "answered" and (q.name == query.name or query.name.startswith(f"{q.name}."))
        for q in case.all(LookedUp)
    )


def _finding(
    rule: str, subject: str, facts: list[Fact], title: str, cause: str, mend: str, sure: Confidence
) -> Finding:
    return Finding(rule=rule, severity="error", title=title, cause=cause, proof=proof(facts), mend=mend,
                   confidence=sure, subject=subject)  # fmt: skip


def _name_not_found(case: Case) -> Iterator[Finding]:
    for subject, facts in _failed(case, "not-found"):
        yield _finding(
            "dns-name-not-found", subject, facts,
            f"The name {name_of(host_of(subject))} does not exist, as this place sees it",
            "The DNS server says that there is no such name (NXDOMAIN), so there is nothing to connect to.",
            "Check the spelling of the host in the configuration. If the name is right elsewhere, this place asks "
            "another DNS server: compare `ostiary connect HOST --nameserver IP` for both.",
            "certain",
        )  # fmt: skip
    yield from _unresolved(case)


def _unresolved(case: Case) -> Iterator[Finding]:
    """No host to send to, and nothing says why: names that don't resolve are the commonest reason, not the only one."""
    for fact in case.all(NoHealthyHost):
        subject = subject_of(case, fact.target)
        if any(same_target(case, each.name or each.cluster, subject) for each in case.all(ResolutionFailed)):
            continue
        if any(same_target(case, each.name, subject) for each in case.all(LookedUp)):
            continue
        counters: list[Fact] = [
            c for c in case.all(ClusterCounters) if c.cluster == fact.target and c.counters.get("update_failure")
        ]
        yield _finding(
            "dns-name-not-found", subject, [fact, *counters],
            f"{name_of(host_of(subject))} has no address: its name did not resolve",
            "The cluster has no host to send to. For a cluster with a DNS name that means that no address was found: "
            "the name does not exist, has no address of the family that the cluster asks for, or DNS does not answer.",
            "Look which it is: `ostiary connect HOST --families` in the pod's network, or raise the logger: `ostiary "
            "log --level dns:debug`.",
            "likely" if counters else "possible",
        )  # fmt: skip


def _server_failure(case: Case) -> Iterator[Finding]:
    for fault in ("server-failure", "refused"):
        for subject, facts in _failed(case, fault):
            said = "SERVFAIL" if fault == "server-failure" else "REFUSED"
            yield _finding(
                "dns-server-failure", subject, facts,
                f"The DNS server answers {said} for {name_of(host_of(subject))}",
                "The server is there and can't or won't answer: its own upstream, its zone or its policy is at fault.",
                "Ask another server (`ostiary connect HOST --nameserver IP`); in a cluster look at CoreDNS: `kubectl "
                "-n kube-system logs -l k8s-app=kube-dns`.",
                "certain",
            )  # fmt: skip


def _no_answer(case: Case) -> Iterator[Finding]:
    silent: dict[str, list[Fact]] = {}
    for subject, facts in _failed(case, "no-answer"):
        silent.setdefault(subject, []).extend(facts)
    for name in dict.fromkeys(query.name for query in case.all(LookedUp)):
        queries = [q for q in case.all(LookedUp) if q.name == name]
        if all(q.outcome in ("timeout", "pending") and not _answered_elsewhere(case, q) for q in queries):
            silent.setdefault(subject_of(case, name), []).extend(queries)
    for subject, facts in silent.items():
        yield _finding(
            "dns-no-answer", subject, facts,
            f"No DNS server answers when asked for {name_of(host_of(subject))}",
            "The question for the address gets no answer at all: the server is not there, or something drops the way "
            "to it (a NetworkPolicy without UDP and TCP 53, a sidecar that has not started, a wrong resolv.conf).",
            "Check the nameserver in /etc/resolv.conf of the pod, and that egress to it on UDP and TCP 53 is allowed.",
            "certain",
        )  # fmt: skip


def _silent_server(case: Case) -> Iterator[Finding]:
    """One server of several: nothing fails, and every look-up that comes to it waits."""
    asked: dict[str, list[LookedUp]] = {}
    for query in case.all(LookedUp):
        if query.origin.kind == "probe" and query.server:
            asked.setdefault(query.server, []).append(query)
    heard = [server for server, queries in asked.items() if any(q.outcome == "answered" for q in queries)]
    for server, queries in asked.items():
        if heard and all(q.outcome in ("timeout", "pending") for q in queries):
            yield Finding(
                rule="dns-no-answer",
                severity="warning",
                title=f"The DNS server {server} does not answer, {listed(heard)} does",
                cause="It is one of the servers here and gives no answer to anything. Look-ups that ask it first wait "
                "for seconds before they ask another one.",
                proof=proof(queries),
                mend="Take it out of /etc/resolv.conf, or mend the way to it (UDP and TCP 53).",
                confidence="certain",
                subject=server,
            )


def _type_unanswered(case: Case) -> Iterator[Finding]:
    for name in dict.fromkeys(query.name for query in case.all(LookedUp)):
        queries = [q for q in case.all(LookedUp) if q.name == name]
        silent = {q.type for q in queries if q.outcome in ("timeout", "pending")}
        heard = {q.type for q in queries if q.outcome not in ("timeout", "pending")}
        if len(silent) != 1 or not heard - silent or silent & heard:
            continue
        (kind,) = silent
        fine = "AAAA" if kind == "A" else "A"
        only = "V4_ONLY" if kind == "AAAA" else "V6_ONLY"
        subject = subject_of(case, name)
        yield _finding(
            "dns-type-unanswered", subject, list(queries),
            f"The {kind} query for {name} is never answered, the {fine} query is",
            f"A DNS server or a firewall drops questions for {kind} records. Programs that wait for both answers "
            "stall for seconds at every look-up: Envoy with ALL or AUTO 5 s and more, then it may give up.",
            "Mend the DNS server or the firewall between: no answer is never right, an empty one is. Until then "
            f"dns_lookup_family: {only} does not ask the question.",
            "certain",
        )  # fmt: skip


def _no_address_in_family(case: Case) -> Iterator[Finding]:
    for cluster in case.all(ClusterSeen):
        asked = _LOOKS_AT_ONE.get(cluster.lookup_family)
        if asked is None:
            continue
        for host in cluster.hosts:
            if family_of(host) is not None:
                continue
            queries = [q for q in case.all(LookedUp) if q.name == host]
            wanted = [q for q in queries if q.type == _TYPES[asked]]
            others = [q for q in queries if q.type == _TYPES[_OTHER[asked]] and q.outcome == "answered"]
            empty = bool(wanted) and all(q.outcome == "empty" for q in wanted) and bool(others)
            told = [f for f in case.all(ResolutionFailed) if f.fault == "no-data" and f.name in (host, "")]
            if not empty and not told:
                continue
            yield _no_address_finding(cluster, host, asked, [*wanted, *others, *told, cluster], sure=empty)
    known = {host for cluster in case.all(ClusterSeen) for host in cluster.hosts}
    for fact in case.all(ResolutionFailed):
        if fact.fault == "no-data" and fact.name not in known and not _race_went_on(case, fact):
            yield _finding(
                "dns-no-address-in-family", subject_of(case, fact.name or fact.cluster), [fact],
                f"{name_of(fact.name)} exists, but has no address of the family that was asked for",
                "The DNS server knows the name and has no record of the type in question (A or AAAA).",
                "Set dns_lookup_family: ALL in its cluster, so that both types are asked for.",
                "likely",
            )  # fmt: skip


def _race_went_on(case: Case, fact: ResolutionFailed) -> bool:
    """Connections to it were tried all the same: one of two questions came back empty, which is nothing wrong."""
    return any(same_target(case, a.target, fact.name or fact.cluster) for a in case.all(Attempted))


def _no_address_finding(cluster: ClusterSeen, host: str, asked: Family, facts: list[Fact], *, sure: bool) -> Finding:
    where = cluster.lookup_where or cluster.where
    edits: tuple[Edit, ...] = ()
    if where is not None:
        edits = (Edit(file=where.file, path=where.path, document=cluster.document, key="dns_lookup_family",
                      value="ALL", comment="both families race"),)  # fmt: skip
    return Finding(
        rule="dns-no-address-in-family",
        severity="error",
        title=f"{host} has no {_NAMES[asked]} address, and its cluster asks for no other",
        cause=f"dns_lookup_family is {cluster.lookup_family}, and the name has no {_TYPES[asked]} record, so the "
        "cluster never has a host.",
        proof=proof(facts),
        mend="Set dns_lookup_family: ALL: both types are asked for, and what answers is used.",
        confidence="certain" if sure else "likely",
        where=where,
        edits=edits,
        subject=f"{host}:{cluster.port}",
    )


def _search_detour(case: Case) -> Iterator[Finding]:
    for domains in case.all(SearchDomains):
        for cluster in case.all(ClusterSeen):
            for host in cluster.hosts:
                if family_of(host) is not None or host.endswith(".") or host.count(".") >= domains.ndots:
                    continue
                detours = [q for q in case.all(LookedUp) if q.name != host and q.name.startswith(host + ".")]
                if not detours:
                    continue
                yield _detour(domains, cluster, host, detours)


def _detour(domains: SearchDomains, cluster: ClusterSeen, host: str, detours: list[LookedUp]) -> Finding:
    wrong = [q for q in detours if q.outcome == "answered"]
    cause = (
        f"{host} has fewer than {domains.ndots} dots (ndots), so every look-up tries the search domains first: "
        f"{listed([q.name for q in detours])}."
    )
    if wrong:
        cause += f" {wrong[0].name} has an address ({listed(wrong[0].answers)}), which is used instead of the real one."
    return Finding(
        rule="dns-search-detour",
        severity="error" if wrong else "info",
        title=f"Look-ups of {host} go through the search domains first",
        cause=cause,
        proof=proof(domains, detours),
        mend=f"Write the name with a final dot ({host}.), or set dnsConfig.options ndots: 1 for the pod.",
        confidence="certain",
        where=cluster.where,
        subject=f"{host}:{cluster.port}",
    )


_GENERAL: Final = frozenset({"no-route", "tcp-timeout", "tcp-refused", "idp-server-error", "idp-error"})
_CONNECTS_NOT: Final = _GENERAL | {"dns-name-not-found", "sidecar-not-ready"}

RULES: Final = (
    Rule(name="dns-family-unreachable", family="DNS", look=_family_unreachable, explains=_CONNECTS_NOT),
    Rule(name="dns-no-address-in-family", family="DNS", look=_no_address_in_family, explains=_CONNECTS_NOT),
    Rule(name="dns-server-failure", family="DNS", look=_server_failure, explains=_CONNECTS_NOT),
    Rule(
        name="dns-no-answer",
        family="DNS",
        explains=_CONNECTS_NOT,
        look=lambda case: (*_no_answer(case), *_silent_server(case)),
    ),
    Rule(name="dns-name-not-found", family="DNS", look=_name_not_found, explains=_GENERAL),
    Rule(name="dns-type-unanswered", family="DNS", look=_type_unanswered),
    Rule(name="dns-search-detour", family="DNS", look=_search_detour),
)
