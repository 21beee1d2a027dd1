"""Causes between a TCP connection and a TLS one, and what TLS does not protect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from ostiary.doctor.case import Case
from ostiary.doctor.facts.configuration import ClusterSeen
from ostiary.doctor.facts.connection import ConnectFailed
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.sidecar import ClusterCounters
from ostiary.doctor.facts.signin import SignedIn
from ostiary.doctor.facts.tls import CertificateExpires, HandshakeDone, HandshakeFailed, HandshakeFault, PlainTextToTls
from ostiary.doctor.finding import Confidence, Edit, Finding, Severity, Where
from ostiary.doctor.rule import Rule
from ostiary.doctor.rules.evidence import also_written, cluster_of, name_of, proof, same_target, subject_of

SYSTEM_CA: Final = "/etc/ssl/certs/ca-certificates.crt"
"""Where Envoy's and Istio's images have the public roots."""


class _Told(NamedTuple):
    """What a fault means to people."""

    title: str
    cause: str
    mend: str


_UNTRUSTED: Final = _Told(
    "The certificate of {whom} is not trusted",
    "{whom} shows a certificate whose issuer is not in the CA file that the cluster trusts: a private CA, an "
    "interception proxy's CA, or an intermediate certificate that the server does not send.",
    "Add the issuer to trusted_ca of the cluster's validation_context (the file must exist in the proxy's "
    "container), or have the server send its whole chain. `ostiary connect {whom} --insecure` shows the certificate.",
)
_MISMATCH: Final = _Told(
    "The certificate of {whom} is for another name",
    "The certificate has none of the names that the cluster expects (match_typed_subject_alt_names, or the SNI).",
    "Correct the expected name, or the host in the cluster: `ostiary connect {whom} --insecure` shows the names it "
    "has.",
)
_EXPIRED: Final = _Told(
    "The certificate of {whom} has expired, or is not valid yet",
    "The certificate's dates do not hold at this place's clock.",
    "Renew the server's certificate; check the clock of this host if it is valid elsewhere.",
)
_VERSION: Final = _Told(
    "{whom} and the proxy have no TLS version or cipher in common",
    "The handshake ends with an alert about the protocol version or the ciphers.",
    "Widen tls_params (tls_minimum_protocol_version, tls_maximum_protocol_version) of the cluster's "
    "common_tls_context.",
)
_CLIENT_CERTIFICATE: Final = _Told(
    "{whom} wants a client certificate",
    "The peer asks for a client certificate and refuses the connection without one (mutual TLS).",
    "Give the cluster one: common_tls_context.tls_certificates, or use the provider's endpoint without mutual TLS.",
)
_SNI: Final = _Told(
    "{whom} does not know the name it is asked for (SNI)",
    "The peer chooses its certificate by the SNI and has none for this one, or the cluster sends no SNI at all.",
    "Set sni of the cluster's UpstreamTlsContext to the provider's host name.",
)
_PLAIN: Final = _Told(
    "TLS is spoken to a port of {whom} that does not speak it",
    "The answer to the TLS greeting is no TLS (wrong version number): the port serves plain HTTP, or a sidecar in "
    "between originates TLS already.",
    "Use the port that speaks TLS, or remove the cluster's transport_socket; originate TLS once only.",
)
_SILENT: Final = _Told(
    "{whom} accepts the connection and says nothing",
    "TCP comes up, but the TLS greeting is never answered: a load balancer without a host behind it, an overloaded "
    "peer, or packets of full size that are dropped on the way (MTU).",
    "Try from elsewhere. For a path that drops large packets lower the interface's MTU or allow ICMP; where only one "
    "family is silent, dns_lookup_family: ALL and a race that includes TLS get past it.",
)
LARGE_ARE_LOST: Final = "large ones are lost on the way (MTU)"
"""How a probe says that it is the path."""
_MTU: Final = _Told(
    "Large packets to or from {whom} are lost on the way",
    "TCP comes up and the TLS handshake never ends, but it does with small packets: a link on the way carries less "
    "than the interface here believes, and the ICMP message that would say so is dropped (a path MTU black hole).",
    "Lower the MTU of this interface (tunnels and overlay networks: 1400 or less), clamp the MSS on the router, or let "
    "ICMP 'fragmentation needed' and 'packet too big' through.",
)
_UNCOUNTED: Final = _Told(
    "TLS with {whom} does not come up, and counters do not say why",
    "TCP connects and the handshake ends with an error that is none of the certificate: a TLS version, a cipher, a "
    "client certificate that is missing, or a port that speaks something else.",
    "Have the proxy say more during one sign-in: `ostiary log --level connection:debug --for 60s --follow`.",
)
_FAULTS: Final[Mapping[HandshakeFault, tuple[str, _Told]]] = {
    "untrusted-ca": ("tls-untrusted-ca", _UNTRUSTED),
    "name-mismatch": ("tls-name-mismatch", _MISMATCH),
    "expired": ("tls-expired", _EXPIRED),
    "not-yet-valid": ("tls-expired", _EXPIRED),
    "version": ("tls-version", _VERSION),
    "client-certificate": ("tls-client-certificate-required", _CLIENT_CERTIFICATE),
    "unrecognized-name": ("tls-sni", _SNI),
    "not-tls": ("tls-to-plaintext", _PLAIN),
    "silent": ("tls-silent", _SILENT),
}
_CUT: Final = _Told(
    "{whom} ends the connection during the TLS handshake",
    "The peer, or something on the way, closes the connection before TLS is up, and does not say why: a firewall that "
    "inspects TLS, a load balancer without a host behind it, or a peer that knows no such name (SNI).",
    "`ostiary connect {whom}` from the proxy's network shows at which step; then compare with another network.",
)
_UNKNOWN: Final = _Told(
    "The TLS handshake with {whom} fails",
    "TLS does not come up, for a reason of its own words: see the proof.",
    "`ostiary connect {whom}` from the proxy's network shows the handshake step by step.",
)
_OTHERS: Final[Mapping[HandshakeFault, tuple[str, _Told]]] = {
    "closed": ("tls-silent", _CUT), "other": ("tls-version", _UNKNOWN),
}  # fmt: skip
"""What has no rule of its own is told under the nearest one's name, and never surely."""
_COUNTERS: Final = {"ssl.fail_verify_error": "untrusted-ca", "ssl.fail_verify_san": "name-mismatch"}


def _finding(case: Case, rule: str, told: _Told, subject: str, facts: list[Fact], sure: Confidence) -> Finding:
    whom = name_of(subject)
    cluster = cluster_of(case, subject)
    application = all(isinstance(fact, HandshakeFailed) and not fact.for_provider for fact in facts)
    return Finding(
        rule=rule,
        severity="warning" if application else "error",
        title=told.title.format(whom=whom),
        cause=told.cause.format(whom=whom),
        proof=proof(facts),
        mend=told.mend.format(whom=whom),
        confidence=sure,
        where=cluster.where if cluster is not None else None,
        edits=_edits(rule, cluster),
        subject=subject,
    )


def _edits(rule: str, cluster: ClusterSeen | None) -> tuple[Edit, ...]:
    if rule != "tls-sni" or cluster is None or cluster.where is None or cluster.sni or not cluster.hosts:
        return ()
    where = cluster.where
    return (Edit(file=where.file, document=cluster.document, path=f"{where.path}.transport_socket.typed_config",
                 key="sni", value=cluster.hosts[0]),)  # fmt: skip


def _rule_of(fault: HandshakeFault) -> str:
    return _FAULTS[fault][0]


def _about(wanted: str) -> Rule:
    """The rule that tells of the faults filed under this name."""

    def look(case: Case) -> Iterator[Finding]:
        found: dict[str, list[Fact]] = {}
        for fact in case.all(HandshakeFailed):
            if fact.fault in _FAULTS and _rule_of(fact.fault) == wanted:
                found.setdefault(subject_of(case, fact.target), []).append(fact)
        told = next(text for rule, text in _FAULTS.values() if rule == wanted)
        for subject, facts in found.items():
            lost = any(isinstance(f, HandshakeFailed) and LARGE_ARE_LOST in f.detail for f in facts)
            yield _finding(case, wanted, _MTU if lost else told, subject, facts, "certain")
        for seen in case.all(ClusterCounters):
            subject = subject_of(case, seen.cluster)
            names = [name for name, fault in _COUNTERS.items() if _FAULTS[fault][0] == wanted]  # type: ignore[index]
            if not _told_why(case, subject) and any(seen.counters.get(name) for name in names):
                yield _finding(case, wanted, told, subject, [seen], "likely")
        yield from _unclear(case, wanted)

    return Rule(name=wanted, family="TLS", look=look, explains=_LATER)


def _unclear(case: Case, wanted: str) -> Iterator[Finding]:
    """Handshakes whose end says nothing clear, where no other failure of the same target does."""
    clear = [fact for fact in case.all(HandshakeFailed) if fact.fault in _FAULTS]
    for fact in case.all(HandshakeFailed):
        rule, told = _OTHERS.get(fact.fault, ("", _UNKNOWN))
        if rule == wanted and not any(same_target(case, each.target, fact.target) for each in clear):
            yield _finding(case, wanted, told, subject_of(case, fact.target), [fact], "possible")


def _told_why(case: Case, subject: str) -> bool:
    """Somebody says what is wrong with TLS there: counters, which know less, add nothing."""
    return any(f.fault in _FAULTS and same_target(case, f.target, subject) for f in case.all(HandshakeFailed))


def _expired(case: Case) -> Iterator[Finding]:
    """What a handshake said, and what a proxy's own certificates say."""
    yield from _BY_FAULT_RULES["tls-expired"].look(case)
    for fact in case.all(CertificateExpires):
        what = "CA certificate" if fact.is_ca else "certificate"
        severity: Severity = "error" if fact.past and not fact.is_ca else "warning"
        if fact.is_ca and not fact.past:
            severity = "info"
        yield Finding(
            rule="tls-expired",
            severity=severity,
            title=f"The {what} {fact.whose} {'has expired' if fact.past else 'expires soon'}",
            cause=f"The proxy has loaded it from {fact.path}, and it {'ended' if fact.past else 'ends'} on {fact.end}. "
            + ("Whom it vouches for is not trusted after that." if fact.is_ca else "Nobody accepts it after that."),
            proof=proof(fact),
            mend="Renew it, and look why what should renew it did not. A file that is replaced is read again only if "
            "it is watched (SDS), else at the next start.",
            confidence="certain",
            subject=fact.whose,
        )


def _version(case: Case) -> Iterator[Finding]:
    """What a log or a probe says; and where counters alone say that handshakes fail, what is most likely behind it."""
    yield from _BY_FAULT_RULES["tls-version"].look(case)
    for seen in case.all(ClusterCounters):
        cluster, subject = cluster_of(case, seen.cluster), subject_of(case, seen.cluster)
        verified = any(seen.counters.get(name) for name in _COUNTERS)
        if not seen.counters.get("ssl.connection_error") or verified or _told_why(case, subject):
            continue
        if cluster is None or not cluster.sni:
            continue  # `tls-sni` says it
        facts: list[Fact] = [seen, cluster]
        sure: Confidence = "likely" if cluster.limits_tls else "possible"
        yield _finding(case, "tls-version", _VERSION if cluster.limits_tls else _UNCOUNTED, subject, facts, sure)


def _sni(case: Case) -> Iterator[Finding]:
    for fact in case.all(HandshakeFailed):
        cluster = cluster_of(case, fact.target)
        without = cluster is not None and cluster.tls and not cluster.sni
        if fact.fault == "unrecognized-name" or (without and fact.fault in ("closed", "other", "name-mismatch")):
            sure: Confidence = "certain" if fact.fault == "unrecognized-name" else "likely"
            facts: list[Fact] = [fact, *([cluster] if cluster is not None else [])]
            yield _finding(case, "tls-sni", _SNI, subject_of(case, fact.target), facts, sure)
    for seen in case.all(ClusterCounters):
        cluster = cluster_of(case, seen.cluster)
        if seen.counters.get("ssl.connection_error") and cluster is not None and cluster.tls and not cluster.sni:
            yield _finding(case, "tls-sni", _SNI, subject_of(case, seen.cluster), [seen, cluster], "likely")


def _not_configured(case: Case) -> Iterator[Finding]:
    told: list[tuple[str, list[Fact]]] = [(fact.target, [fact]) for fact in case.all(PlainTextToTls)]
    for cluster in case.all(ClusterSeen):
        cut = [f for f in case.all(ConnectFailed) if f.established and same_target(case, f.target, cluster.name)]
        if cluster.for_provider and not cluster.tls and (cluster.port == 443 or cut):
            told.append((cluster.name, [cluster, *cut]))
    if not told and not case.all(SignedIn):
        told += [(f.target, [f]) for f in case.all(ConnectFailed) if _cut_off(case, f)]
    for target, facts in told:
        cluster_ = cluster_of(case, target)
        where: Where | None = cluster_.where if cluster_ is not None else None
        whom = name_of(subject_of(case, target))
        yield Finding(
            rule="tls-not-configured",
            severity="error",
            title=f"Plain HTTP is sent to {whom}, which speaks TLS",
            cause="The cluster has no transport_socket, so requests, the client secret among them, go unencrypted to "
            "a port that expects TLS; the peer closes the connection or answers 400.",
            proof=proof(facts),
            mend="Add a transport_socket with an UpstreamTlsContext to the cluster: sni, trusted_ca and the expected "
            "name. `ostiary envoyfilter` prints one.",
            confidence=_how_sure(facts),
            where=where,
            edits=_tls_edits(cluster_),
            subject=subject_of(case, target),
        )


def _cut_off(case: Case, failure: ConnectFailed) -> bool:
    """The peer ended the connection before its first answer, and nothing is known of the cluster's TLS."""
    about = cluster_of(case, failure.target)
    shaken = any(same_target(case, done.target, failure.target) for done in case.all(HandshakeDone))
    return failure.established and failure.for_provider and about is None and not shaken


def _how_sure(facts: list[Fact]) -> Confidence:
    kinds = {type(fact) for fact in facts}
    return "certain" if PlainTextToTls in kinds else "likely" if ClusterSeen in kinds else "possible"


def _tls_edits(cluster: ClusterSeen | None) -> tuple[Edit, ...]:
    if cluster is None or cluster.where is None or cluster.tls or not cluster.hosts:
        return ()
    context = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": cluster.hosts[0],
        "common_tls_context": {"validation_context": _validation(cluster)},
    }
    socket = {"name": "envoy.transport_sockets.tls", "typed_config": context}
    where = cluster.where
    return (Edit(file=where.file, path=where.path, document=cluster.document, key="transport_socket", value=socket),)  # type: ignore[arg-type] # a dict of one value type


def _validation(cluster: ClusterSeen) -> dict[str, object]:
    return {
        "trusted_ca": {"filename": SYSTEM_CA},
        "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": cluster.hosts[0]}}],
    }


def _not_verified(case: Case) -> Iterator[Finding]:
    for cluster in case.all(ClusterSeen):
        if not cluster.for_provider or not cluster.tls or (cluster.has_ca and cluster.checks_name):
            continue
        missing = "no CA" if not cluster.has_ca else "no name"
        edits: tuple[Edit, ...] = ()
        if cluster.where is not None and cluster.hosts:
            path = f"{cluster.where.path}.transport_socket.typed_config"
            edits = tuple(
                Edit(file=cluster.where.file, document=cluster.document, key=key, value=value,  # type: ignore[arg-type]
                     path=f"{path}.common_tls_context.validation_context")
                for key, value in _validation(cluster).items() if key != "trusted_ca" or not cluster.has_ca
            )  # fmt: skip
        unverified = [done for done in case.all(HandshakeDone) if done.verified is False]
        yield Finding(
            rule="tls-not-verified",
            severity="warning",
            title=f"The certificate of {name_of(subject_of(case, cluster.name))} is not verified",
            cause=f"The cluster checks {missing}: whoever can redirect its connections gets the client secret and can "
            "sign anybody in. Envoy verifies only what validation_context names; Istio adds nothing to a cluster of "
            "an EnvoyFilter.",
            proof=proof(cluster, unverified),
            mend=f"Name the CA and the expected name in validation_context: trusted_ca {SYSTEM_CA} and "
            "match_typed_subject_alt_names.",
            confidence="certain",
            where=cluster.where,
            edits=edits,
            subject=subject_of(case, cluster.name),
        )


_LATER: Final = frozenset({"idp-server-error", "idp-error", "tcp-reset", "idp-timeout"})
_BY_FAULT: Final = (
    "tls-untrusted-ca", "tls-name-mismatch", "tls-expired", "tls-version", "tls-client-certificate-required",
    "tls-to-plaintext", "tls-silent",
)  # fmt: skip
_BY_FAULT_RULES: Final = {name: _about(name) for name in _BY_FAULT}
_MORE: Final = {"tls-version": _version, "tls-expired": _expired}

RULES: Final = (
    Rule(name="tls-not-configured", family="TLS", look=_not_configured, explains=_LATER | {"tcp-reset"}),
    Rule(name="tls-sni", family="TLS", look=_sni, explains=_LATER | {"tls-name-mismatch"}),
    *(replace(rule, look=_MORE.get(name, rule.look)) for name, rule in _BY_FAULT_RULES.items()),
    Rule(
        name="tls-not-verified", family="TLS", look=also_written(_not_verified, "tls-not-verified", "tls-not-verified")
    ),
)
