"""Causes between an address and a TCP connection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.doctor.case import Case
from ostiary.doctor.facts.configuration import ClusterSeen
from ostiary.doctor.facts.connection import (
    Attempted,
    ConnectFailed,
    EgressRefused,
    Overflowed,
    ProxyVariable,
    RouteSeen,
)
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.sidecar import ClusterCounters
from ostiary.doctor.facts.tls import HandshakeFailed
from ostiary.doctor.finding import Confidence, Edit, Finding, Severity
from ostiary.doctor.rule import Rule
from ostiary.doctor.rules.evidence import (
    A_FEW,
    cluster_of,
    listed,
    name_of,
    proof,
    same_target,
    severity_beside,
    someone_signed_in,
    subject_of,
)
from ostiary.doctor.rules.families import NO_ROUTE

_MIN_CONNECT_TIMEOUT: Final = 1.0
"""Seconds: below it, one lost packet of a handshake (1 s until it is sent again, RFC 6298) fails the connection."""
_CUT_OFF: Final = ("ECONNRESET", "EPIPE")
"""What a connection meets that was up, in the TLS handshake too; any other failure of that has rules of its own."""
_OVERFLOWS: Final = ("upstream_rq_pending_overflow", "upstream_cx_overflow")
Group = tuple[str, list[Fact], bool]
"""Subject, evidence, whether it is about the provider."""


def _failures(case: Case, *errnos: str) -> Iterator[Group]:
    """Destinations whose connections fail with one of these, unless another address of theirs answered."""
    found: dict[tuple[str, bool], list[Fact]] = {}
    for attempt in case.all(Attempted):
        if attempt.stage == "tls" and attempt.errno not in _CUT_OFF:
            continue
        if attempt.errno in errnos or (attempt.outcome == "timeout" and "ETIMEDOUT" in errnos):
            found.setdefault((subject_of(case, attempt.target), True), []).append(attempt)
    for failure in case.all(ConnectFailed):
        if failure.errno in errnos:
            subject = subject_of(case, failure.target) if failure.for_provider else failure.target
            found.setdefault((subject, failure.for_provider), []).append(failure)
    for (subject, for_provider), facts in found.items():
        yield subject, facts, for_provider


def _reached(case: Case, subject: str, for_provider: bool = True) -> bool:
    """Another connection to it came up: it fails now and then, or for one address of several.

    That TCP came up says nothing about an address that fails afterwards, in TLS or before it answers.
    """
    about = [a for a in case.all(Attempted) if same_target(case, a.target, subject)]
    after = {a.address for a in about if a.outcome == "failed" and a.stage == "tls"}
    cut = any(f.established and same_target(case, f.target, subject) for f in case.all(ConnectFailed))
    came_up = [a for a in about if a.outcome == "connected" and a.address not in after]
    return bool(came_up and not cut) or (for_provider and someone_signed_in(case))


def _told(case: Case, group: Group, rule: str, what: str, cause: str, mend: str) -> Finding:
    subject, facts, for_provider = group
    reached = _reached(case, subject, for_provider)
    severity: Severity = "warning" if reached or not for_provider else "error"
    few = sum(fact.origin.count for fact in facts) < A_FEW
    if not for_provider and few and (rule == "tcp-reset" or someone_signed_in(case)):
        severity = "info"  # a restart of the application, or a connection that both sides gave up at once: every day's
    confidence: Confidence = "likely" if reached else "certain"
    addresses = listed([f"{a.address}:{a.port}" for a in facts if isinstance(a, Attempted)])
    whom = name_of(subject, "the provider" if for_provider else "the application")
    sometimes = " sometimes (other connections to it come up)" if reached else ""
    cluster = cluster_of(case, subject)
    return Finding(
        rule=rule,
        severity=severity,
        title=what.format(whom=whom),
        cause=cause.format(whom=whom, at=f" at {addresses}" if addresses else "", sometimes=sometimes),
        proof=proof(facts),
        mend=mend,
        confidence=confidence,
        where=cluster.where if cluster is not None else None,
        subject=subject,
    )


def _refused(case: Case) -> Iterator[Finding]:
    for group in _failures(case, "ECONNREFUSED"):
        by = next((a.refused_by for a in group[1] if isinstance(a, Attempted) and a.refused_by), "")
        who = f"; the refusal came from {by}, which is not the host itself" if by else ""
        yield _told(
            case, group, "tcp-refused", "{whom} refuses the connection",
            "{whom}{at} answers{sometimes} that nothing listens on that port, or a firewall answers so in its place"
            + who + ".",
            "Check the port in the configuration, that the service runs, and that the name leads to the right host. "
            "For a program beside a sidecar that is refused everywhere when it starts: the sidecar is not ready yet "
            "(holdApplicationUntilProxyStarts: true).",
        )  # fmt: skip


def _timeout(case: Case) -> Iterator[Finding]:
    groups = [*_failures(case, "ETIMEDOUT")]
    for seen in case.all(ClusterCounters):
        subject = subject_of(case, seen.cluster)
        if seen.counters.get("upstream_cx_connect_timeout") and all(group[0] != subject for group in groups):
            groups.append((subject, [seen], True))
    for group in groups:
        yield _told(
            case, group, "tcp-timeout", "No answer from {whom}",
            "Packets to {whom}{at} get{sometimes} no answer at all, not even a refusal: a firewall, a security group "
            "or a NetworkPolicy drops them, or the address is not in use any more.",
            "Open egress to the provider's addresses on this port, for the proxy's own traffic too: in Istio the "
            "sidecar's token request bypasses ServiceEntry and egress gateway, and only NetworkPolicy and firewalls "
            "apply to it.",
        )  # fmt: skip


def _reset(case: Case) -> Iterator[Finding]:
    for group in _failures(case, *_CUT_OFF):
        yield _told(
            case, group, "tcp-reset", "The connection to {whom} is reset",
            "{whom}{at} accepts the connection and closes it{sometimes} at once. That is a load balancer without a "
            "healthy host, a firewall that inspects TLS, or a peer that refuses this client's network.",
            "Ask the operator of the peer, and look for a proxy or firewall between. If it happens now and then, an "
            "idle connection was closed by the peer: set an idle_timeout below the peer's and a retry policy.",
        )  # fmt: skip


def _no_route(case: Case) -> Iterator[Finding]:
    for subject, facts, for_provider in _failures(case, *NO_ROUTE, "EACCES", "EPERM"):
        families = {a.family for a in facts if isinstance(a, Attempted)}
        dead = [route for route in case.all(RouteSeen) if not route.ok]
        confidence: Confidence = "certain" if len(families) == 2 or len(dead) == 2 else "likely"
        if _reached(case, subject):
            continue  # the race's other family came through
        whom = name_of(subject, "the provider" if for_provider else "the application")
        yield Finding(
            rule="no-route",
            severity="error" if for_provider else "warning",
            title=f"This place has no way to {whom}",
            cause=f"No address of {whom} can be reached from here: there is no route, or a local firewall forbids it.",
            proof=proof(facts, dead),
            mend="Look at `ip route get ADDRESS` and `ip -6 route get ADDRESS` in the pod's network, and at its "
            "NetworkPolicies.",
            confidence=confidence,
            subject=subject,
        )


def _only_counted(case: Case) -> Iterator[tuple[str, Fact]]:
    """Clusters whose connections fail by their counters, where neither they nor anything else says why."""
    for seen in case.all(ClusterCounters):
        tls = any(name.startswith("ssl.") and name != "ssl.handshake" for name in seen.counters)
        failed = seen.counters.get("upstream_cx_connect_fail", 0) > seen.counters.get("upstream_cx_connect_timeout", 0)
        about = [a for a in case.all(Attempted) if same_target(case, a.target, seen.cluster)]
        handshakes = any(same_target(case, f.target, seen.cluster) for f in case.all(HandshakeFailed))
        if failed and not tls and not handshakes and all(a.outcome == "connected" for a in about):
            yield seen.cluster, seen


def _no_reason(case: Case) -> Iterator[Finding]:
    """It can't be connected to, and the source does not say why: that much is certain, and where to look."""
    unexplained = [*_only_counted(case)]
    told = [(attempt.target, attempt.outcome) for attempt in case.all(Attempted)]
    for failure in case.all(ConnectFailed):
        known = any(f.errno for f in case.all(ConnectFailed) if same_target(case, f.target, failure.target))
        tried = any(outcome != "started" and same_target(case, target, failure.target) for target, outcome in told)
        handshake = any(same_target(case, f.target, failure.target) for f in case.all(HandshakeFailed))
        if not (failure.errno or known or tried or handshake or not failure.for_provider):
            unexplained.append((failure.target, failure))
    for target, fact in unexplained:
        subject = subject_of(case, target)
        yield Finding(
            rule="no-route",
            severity="error",
            title=f"{name_of(subject)} can't be connected to, and this evidence does not say why",
            cause="Envoy writes the reason (no route, refused, a certificate) at debug level only.",
            proof=proof(fact),
            mend="Raise the loggers and sign in once: `ostiary log --level "
            "connection:debug,happy_eyeballs:debug,pool:debug,dns:debug,oauth2:debug --for 60s`. Or look from there: "
            "`ostiary connect HOST --families`.",
            confidence="possible",
            subject=subject,
        )


def _race_impossible(case: Case) -> Iterator[Finding]:
    for cluster in case.all(ClusterSeen):
        if cluster.type != "STRICT_DNS" or cluster.lookup_family != "ALL":
            continue
        dead = [route for route in case.all(RouteSeen) if not route.ok]
        failed = [a for a in case.all(Attempted) if a.errno in NO_ROUTE and same_target(case, a.target, cluster.name)]
        if not dead and not failed:
            continue
        yield Finding(
            rule="race-impossible",
            severity="error",
            title=f"{cluster.name} asks for both families, but STRICT_DNS does not race them",
            cause="In a STRICT_DNS cluster each address is a host of its own that gets its share of the requests. "
            "One family has no route here, so the requests that go to its addresses fail.",
            proof=proof(cluster, dead, failed),
            mend="Set type: LOGICAL_DNS, where the addresses race, or a dns_lookup_family of the one family that "
            "works.",
            confidence="certain" if dead else "likely",
            where=cluster.where,
            edits=_set(cluster, "type", "LOGICAL_DNS", "its addresses race"),
            subject=subject_of(case, cluster.name),
        )


def _set(cluster: ClusterSeen, key: str, value: str, comment: str = "") -> tuple[Edit, ...]:
    """The change of one key of the cluster, if its file is known."""
    if cluster.where is None:
        return ()
    where, document = cluster.where, cluster.document
    return (Edit(file=where.file, path=where.path, document=document, key=key, value=value, comment=comment),)


def _timeout_too_short(case: Case) -> Iterator[Finding]:
    for cluster in case.all(ClusterSeen):
        about = [a for a in case.all(Attempted) if same_target(case, a.target, cluster.name)]
        timeouts = [a for a in about if a.outcome == "timeout"]
        slow = [a for a in about if a.outcome == "connected" and (a.took or 0.0) >= cluster.connect_timeout]
        if any(same_target(case, f.target, cluster.name) for f in case.all(HandshakeFailed) if f.who == "probe"):
            slow = []  # TCP came up, and what took so long failed
        sometimes = (
            timeouts and cluster.connect_timeout < _MIN_CONNECT_TIMEOUT and any(a.outcome == "connected" for a in about)
        )
        if not slow and not sometimes:
            continue
        took = f" A connection from here took {max(a.took or 0.0 for a in slow):.2f} s." if slow else ""
        yield Finding(
            rule="connect-timeout-too-short",
            severity="error" if slow else "warning",
            title=f"{cluster.connect_timeout:g} s is too short to connect to {name_of(cluster.name)}",
            cause=f"connect_timeout is {cluster.connect_timeout:g} s, for TCP and TLS together.{took}",
            proof=proof(cluster, slow, timeouts),
            mend="Set connect_timeout: 10s, as Istio does for its own clusters.",
            confidence="certain" if slow else "likely",
            where=cluster.where,
            edits=_set(cluster, "connect_timeout", "10s"),
            subject=subject_of(case, cluster.name),
        )


def _egress(case: Case) -> Iterator[Finding]:
    found: dict[tuple[str, bool], list[EgressRefused]] = {}
    for refused in case.all(EgressRefused):
        mesh = refused.how in ("black-hole", "policy")
        found.setdefault((subject_of(case, refused.target), mesh), []).append(refused)
    for (subject, mesh), facts in found.items():
        known = not mesh or cluster_of(case, subject) is not None
        yield Finding(
            rule="egress-blocked",
            severity="error" if known else severity_beside(case, facts),
            title=f"A policy does not let requests out to {name_of(facts[0].target, 'this host')}",
            cause="The mesh sends what it does not know nowhere (outboundTrafficPolicy REGISTRY_ONLY), and no "
            "ServiceEntry "
            "names this host." if mesh else "A firewall on the way answers that this is prohibited.",
            proof=proof(facts),
            mend="Add a ServiceEntry for the host (for an application or oauth2-proxy in the pod; the sidecar's own "
            "token request is not bound by it)." if mesh else "Have the firewall allow this destination and port.",
            confidence="certain" if known else "likely",
            subject=subject,
        )  # fmt: skip


def _proxy_ignored(case: Case) -> Iterator[Finding]:
    failures = [a for a in case.all(Attempted) if a.outcome in ("failed", "timeout")]
    direct: list[Fact] = [*failures, *(f for f in case.all(ConnectFailed) if f.for_provider)]
    for variable in case.all(ProxyVariable):
        if not direct:
            continue
        yield Finding(
            rule="http-proxy-ignored",
            severity="error",
            title=f"{variable.variable} is set, and the proxy does not use it",
            cause=f"Other programs here leave through {variable.host} because {variable.variable} says so. Envoy does "
            "not read this variable: it connects directly, which this network does not allow.",
            proof=proof(variable, direct),
            mend="Send the cluster through the HTTP proxy: transport_socket envoy.transport_sockets.http_11_proxy, "
            "or a local listener with tcp_proxy and tunneling_config; or allow direct egress to the provider.",
            confidence="likely",
            subject="",
        )


def _overflow(case: Case) -> Iterator[Finding]:
    counted: list[tuple[str, Fact]] = [(seen.cluster, seen) for seen in case.all(ClusterCounters)
                                       if any(seen.counters.get(name) for name in _OVERFLOWS)]  # fmt: skip
    for target, fact in [*((f.target, f) for f in case.all(Overflowed)), *counted]:
        yield Finding(
            rule="upstream-overflow",
            severity="error",
            title=f"A circuit breaker refuses requests to {name_of(target)}",
            cause="More requests or connections are under way than the cluster's circuit breaker allows (response "
            "flag UO), so further ones are refused at once.",
            proof=proof(fact),
            mend="Raise circuit_breakers (max_connections, max_pending_requests, max_requests) of the cluster, and "
            "look why its requests take so long.",
            confidence="certain",
            subject=subject_of(case, target),
        )


_LATER: Final = frozenset({"idp-server-error", "idp-error", "idp-timeout", "grant-rejected"})

RULES: Final = (
    Rule(name="race-impossible", family="Connection", look=_race_impossible,
         explains=_LATER | {"no-route", "dns-family-unreachable"}),
    Rule(name="http-proxy-ignored", family="Connection", look=_proxy_ignored, claims="likely",
         explains=_LATER | {"tcp-timeout", "tcp-refused", "no-route"}),
    Rule(name="egress-blocked", family="Connection", look=_egress,
         explains=_LATER | {"tcp-timeout", "tcp-refused", "no-route"}),
    Rule(name="no-route", family="Connection", look=lambda case: (*_no_route(case), *_no_reason(case)),
         explains=_LATER),
    Rule(name="tcp-refused", family="Connection", look=_refused, explains=_LATER),
    Rule(name="connect-timeout-too-short", family="Connection", look=_timeout_too_short,
         explains=_LATER | {"tcp-timeout", "tls-silent"}),
    Rule(name="tcp-timeout", family="Connection", look=_timeout, explains=_LATER),
    Rule(name="tcp-reset", family="Connection", look=_reset, explains=_LATER),
    Rule(name="upstream-overflow", family="Connection", look=_overflow, explains=_LATER),
)  # fmt: skip
