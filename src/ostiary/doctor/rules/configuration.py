"""Causes in a configuration: what was refused, dropped or does not do what it seems to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.doctor.case import Case
from ostiary.doctor.facts.configuration import ConfigurationProblem, FilterChainSeen, OAuth2Seen, ProblemKind
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.sidecar import NotReady, UpdateRejected, Warming
from ostiary.doctor.facts.signin import ExtAuthzFailed
from ostiary.doctor.finding import Finding, Severity
from ostiary.doctor.rule import Rule
from ostiary.doctor.rules.evidence import also_written, listed, proof

_OAUTH2: Final = "oauth2"
_BEFORE: Final = ("jwt_authn", "router")
"""Filters that must come after sign-in."""
_TITLES: Final[dict[str, tuple[ProblemKind, str, str]]] = {
    "config-unknown-field": (
        "unknown-field",
        "There is no field {subject}",
        "Correct or remove the field. istiod drops unknown fields without a word, a plain Envoy refuses the file.",
    ),
    "config-type-url": (
        "type-url",
        "There is no type {subject}",
        "Use the v3 type: type.googleapis.com/envoy.extensions.filters.http.oauth2.v3.OAuth2.",
    ),
    "config-type-missing": (
        "type-missing",
        "typed_config has no @type",
        "Add '@type' as the first key of typed_config.",
    ),
    "cluster-unknown": (
        "cluster-unknown",
        "There is no cluster {subject}",
        (
            "Add a cluster of that name, or correct the name in token_endpoint; in Istio the ADD patch's context must "
            "cover the same proxies as the filter's."
        ),
    ),
    "extension-missing": (
        "extension-missing",
        "This build of the proxy does not have {subject}",
        "Use a build that has the extension (the official images do), or check the filter's name and type.",
    ),
    "patch-crashes-istiod": (
        "patch-crash",
        "A patch makes istiod panic: {subject}",
        "Correct the patch's value. Until then istiod drops all patches of that kind for the proxy, not only this one.",
    ),
    "patch-not-applied": (
        "patch-nothing",
        "A patch does nothing: {subject}",
        "`ostiary patch --explain` says for each patch what it hits. INSERT_FIRST needs no anchor.",
    ),
    "config-invalid": (
        "invalid",
        "The configuration is refused: {subject}",
        "Correct the value.",
    ),
}


def _about(name: str, explains: frozenset[str] = frozenset()) -> Rule:
    kind, title, mend = _TITLES[name]

    def look(case: Case) -> Iterator[Finding]:
        for fact in case.all(ConfigurationProblem):
            if fact.kind == kind and not fact.title:
                yield Finding(
                    rule=name,
                    severity=fact.severity,
                    title=title.format(subject=fact.subject or "that").removesuffix(": that"),
                    cause=fact.message,
                    proof=proof(fact),
                    mend=fact.mend or mend,
                    confidence=fact.confidence,
                    where=fact.where,
                    edits=fact.edits,
                    subject=fact.subject,
                )

    return Rule(name=name, family="Configuration", look=also_written(look, name, kind), explains=explains)


def _not_examined(case: Case) -> Iterator[Finding]:
    """A file of other objects: right or not, sign-in does not stand in it."""
    for fact in case.all(ConfigurationProblem):
        if fact.kind == "not-examined":
            yield Finding(
                rule="config-invalid",
                severity="info",
                title=f"Nothing in {fact.origin.source} was examined",
                cause=fact.message,
                proof=proof(fact),
                mend="Give the EnvoyFilter, or what the proxy runs: `--pod NAMESPACE/POD`, `--admin URL`, a dump.",
                confidence="certain",
                where=fact.where,
            )


def _filter_order(case: Case) -> Iterator[Finding]:
    told: list[tuple[str, Fact]] = [
        (fact.message, fact) for fact in case.all(ConfigurationProblem) if fact.kind == "filter-order"
    ]
    for chain in case.all(FilterChainSeen):
        names = [name.removeprefix("envoy.filters.http.") for name in chain.filters]
        place = next((i for i, name in enumerate(names) if name == _OAUTH2 or name.endswith(".oauth2")), None)
        if place is None:
            continue
        early = [name for name in names[:place] if name in _BEFORE]
        if early:
            told.append((f"In the listener {chain.listener}, {listed(early)} comes before oauth2.", chain))
    if not told:
        return
    message, first = told[0]
    yield Finding(
        rule="filter-order",
        severity="error",
        title="The sign-in filter stands at the wrong place",
        cause=f"{message} A token check before sign-in answers 401 before anybody is redirected; a filter after the "
        "router is refused with the whole listener.",
        proof=proof(fact for _, fact in told),
        mend="Insert oauth2 first: operation INSERT_FIRST, or INSERT_BEFORE with subFilter "
        "envoy.filters.http.jwt_authn where a RequestAuthentication exists. ADD puts it behind the router.",
        confidence="certain",
        where=first.where if isinstance(first, ConfigurationProblem) else None,
    )


def _fails_open(case: Case) -> Iterator[Finding]:
    told: list[tuple[str, Fact]] = [
        (fact.message, fact) for fact in case.all(ConfigurationProblem) if fact.kind == "fails-open"
    ]
    told += [("The oauth2 filter has no config.", fact) for fact in case.all(OAuth2Seen) if not fact.has_config]
    for message, fact in told:
        where = fact.where if isinstance(fact, OAuth2Seen | ConfigurationProblem) else None
        yield Finding(
            rule="filter-fails-open",
            severity="error",
            title="The sign-in filter lets everybody in",
            cause=f"{message} Envoy accepts that and passes every request on to the application.",
            proof=proof(fact),
            mend="Write the filter's config, and check from outside that a request without a session is redirected.",
            confidence="certain",
            where=where,
            subject=fact.subject if isinstance(fact, ConfigurationProblem) else "",
        )


def _rejected(case: Case) -> Iterator[Finding]:
    for fact in case.all(UpdateRejected):
        yield Finding(
            rule="listener-rejected",
            severity="error",
            title=f"The proxy refused an update of the {fact.what} {fact.name}".rstrip(),
            cause=f"{fact.reason} The configuration before it serves on, or none at all; /ready stays LIVE.",
            proof=proof(fact),
            mend="Correct what the reason names. In Istio the value comes from an EnvoyFilter: `ostiary patch "
            "--explain`.",
            confidence="certain",
            subject=fact.name,
        )


def _not_ready(case: Case) -> Iterator[Finding]:
    for fact in case.all(NotReady):
        if fact.state == "unreachable":
            yield Finding(
                rule="sidecar-not-ready",
                severity="error",
                title="The proxy could not be asked",
                cause="Its admin API gave no answer, so nothing is known of it: the proxy may be down, or only the way "
                "to it from here.",
                proof=proof(fact),
                mend="See to what the proof says. A sidecar's admin API listens on its pod's own loopback: --pod "
                "NAMESPACE/POD asks it there, or `kubectl port-forward POD 15000`. Envoy's port is under `admin` in "
                "its bootstrap, Ostiary's is what --admin says.",
                confidence="possible",
            )
            continue
        waits = [*fact.waits_for, *(f"{each.what} {each.name}" for each in case.all(Warming))]
        waiting = f" It waits for: {listed(waits)}." if waits else ""
        severity: Severity = "warning" if fact.state == "DRAINING" else "error"
        yield Finding(
            rule="sidecar-not-ready",
            severity=severity,
            title=f"The proxy is not ready: {fact.state}",
            cause="While it is not, its listeners take no connection, and programs beside it get `connection "
            f"refused`.{waiting}",
            proof=proof(fact, case.all(Warming)),
            mend="Look at /init_dump and at warming clusters and secrets in /config_dump. For programs that start "
            "too early: holdApplicationUntilProxyStarts: true.",
            confidence="certain",
        )


def _ext_authz(case: Case, rule: str) -> Iterator[Finding]:
    wanted = ("status",) if rule == "ext-authz-status" else ("unreachable", "timeout")
    facts = [fact for fact in case.all(ExtAuthzFailed) if fact.why in wanted]
    if not facts:
        return
    status = rule == "ext-authz-status"
    yield Finding(
        rule=rule,
        severity="error",
        title="External authorization is answered with a status that Envoy takes for no" if status
        else "The external authorization service can't be reached",
        cause="HTTP ext_authz lets a request pass on 200 alone; 202 or a redirect of the service is a refusal."
        if status
        else "Envoy can't ask the service and refuses the request (403, ext_authz_error).",
        proof=proof(facts),
        mend="For oauth2-proxy: --upstream=static://200 and the path prefix / instead of /oauth2/auth; exempt "
        "/oauth2/*."
        if status
        else "The service must be in the mesh's registry: a ServiceEntry for an external host, with a DestinationRule "
        "that originates TLS; check its port and that it runs.",
        confidence="certain",
    )  # fmt: skip


_REFUSED: Final = _about("config-invalid")
_AFTER: Final = frozenset({"config-invalid", "listener-rejected"})

RULES: Final = (
    _about("patch-crashes-istiod", _AFTER | {"patch-not-applied"}),
    _about("config-unknown-field", _AFTER),
    _about("config-type-url", _AFTER | {"extension-missing"}),
    _about("config-type-missing", _AFTER | {"extension-missing"}),
    _about("extension-missing", _AFTER),
    Rule(name="filter-order", family="Configuration", look=_filter_order, explains=_AFTER | {"jwt-missing"}),
    Rule(name="filter-fails-open", family="Configuration",
         look=also_written(_fails_open, "filter-fails-open", "filter-fails-open")),
    _about("patch-not-applied", frozenset({"filter-fails-open"})),
    _about("cluster-unknown", _AFTER),
    Rule(name="config-invalid", family="Configuration", explains=frozenset({"listener-rejected"}),
         look=lambda case: (*_REFUSED.look(case), *_not_examined(case))),
    Rule(name="listener-rejected", family="Configuration", look=_rejected),
    Rule(name="sidecar-not-ready", family="Configuration", look=_not_ready),
    Rule(name="ext-authz-status", family="Configuration", look=lambda case: _ext_authz(case, "ext-authz-status")),
    Rule(name="ext-authz-unreachable", family="Configuration",
         look=lambda case: _ext_authz(case, "ext-authz-unreachable")),
)  # fmt: skip
