"""What rules share: what a fact is about, and how facts become a finding's proof."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

from ostiary.doctor.case import Case
from ostiary.doctor.facts.configuration import ClusterSeen, ConfigurationProblem, OAuth2Seen, ProblemKind
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.signin import SignedIn
from ostiary.doctor.finding import Confidence, Finding, Severity

_MAX_PROOFS: Final = 6
"""A finding shows this many lines; the report has all evidence."""
A_FEW: Final = 5
"""Fewer lines than this say nothing of a system in which others sign in."""
_WEAKER: Final[dict[Confidence, Confidence]] = {"certain": "likely", "likely": "possible", "possible": "possible"}


def proof(*facts: Fact | Iterable[Fact]) -> tuple[str, ...]:
    """The lines that prove it: each once, as their sources wrote them."""
    flat: list[Fact] = []
    for each in facts:
        flat.extend([each] if isinstance(each, Fact) else each)
    return tuple(dict.fromkeys(str(fact.origin) for fact in flat))[:_MAX_PROOFS]


def as_written(case: Case, rule: str, kind: ProblemKind) -> Iterator[Finding]:
    """The findings of problems whose reader has words for them."""
    for fact in case.all(ConfigurationProblem):
        if fact.kind == kind and fact.title:
            yield Finding(
                rule=rule, severity=fact.severity, title=fact.title, cause=fact.message, proof=proof(fact),
                mend=fact.mend, confidence=fact.confidence, where=fact.where, edits=fact.edits, subject=fact.subject,
            )  # fmt: skip


def also_written(
    look: Callable[[Case], Iterable[Finding]], rule: str, kind: ProblemKind
) -> Callable[[Case], Iterator[Finding]]:
    """A rule that finds what `look` does, and what a configuration's reader has found."""

    def both(case: Case) -> Iterator[Finding]:
        yield from look(case)
        yield from as_written(case, rule, kind)

    return both


def subject_of(case: Case, target: str) -> str:
    """One name for what a fact is about: `host:port` where a cluster or a URL says it, else the target itself."""
    cluster = cluster_of(case, target)
    if cluster is None or not cluster.hosts:
        return _place(target)
    return f"{cluster.hosts[0]}:{cluster.port}"


def cluster_of(case: Case, target: str) -> ClusterSeen | None:
    """The cluster of that name, or the one that leads to that host; the only one of a provider for no target."""
    known = case.all(ClusterSeen)
    target = _place(target)
    if not target:
        providers = [cluster for cluster in known if cluster.for_provider]
        return providers[0] if len(providers) == 1 else None
    for cluster in known:
        if cluster.name == target or target in (f"{host}:{cluster.port}" for host in cluster.hosts):
            return cluster
    host = target.rpartition(":")[0] or target
    return next((cluster for cluster in known if host in cluster.hosts), None)


def _place(target: str) -> str:
    """A URL as `host:port`."""
    if not target.startswith(("https://", "http://")):
        return target
    try:
        parts = urlsplit(target)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return target
    return f"{parts.hostname}:{port}" if parts.hostname else target


def sign_in_of(case: Case) -> OAuth2Seen | None:
    """The one sign-in filter; None if there are several. A file tells more of it than the proxy that runs it."""
    known = case.all(OAuth2Seen)
    written = [seen for seen in known if seen.where is not None]
    alike = {(seen.token_endpoint, seen.redirect_uri, seen.authorization_endpoint) for seen in known}
    return (written or known)[0] if len(written) == 1 or len(alike) == 1 else None


def same_target(case: Case, one: str, other: str) -> bool:
    """Whether two facts may be about the same destination: an unknown one may be any."""
    if not one or not other:
        return True
    first, second = subject_of(case, one), subject_of(case, other)
    return first == second or host_of(first) == second or first == host_of(second)


def host_of(subject: str) -> str:
    """A subject without its port."""
    host, colon, port = subject.rpartition(":")
    return host if colon and port.isdigit() else subject


def weakened(confidence: Confidence, against: bool) -> Confidence:
    """One step less sure where there is evidence against it."""
    return _WEAKER[confidence] if against else confidence


def someone_signed_in(case: Case) -> bool:
    """A success speaks against a cause that would let nobody in."""
    return bool(case.all(SignedIn))


def severity_beside(case: Case, facts: Iterable[Fact]) -> Severity:
    """A cause that lets nobody in is an error. Where others signed in, it is some people's: a warning; and where there
    are only a few, nobody's mistake: somebody went back, declined, or opened the callback by hand."""
    if not someone_signed_in(case):
        return "error"
    return "info" if sum(fact.origin.count for fact in facts) < A_FEW else "warning"


def name_of(subject: str, otherwise: str = "the provider") -> str:
    """A subject as a sentence names it."""
    return subject or otherwise


def listed(items: Sequence[str], most: int = 3) -> str:
    """`a, b, c and 4 more`."""
    unique = [*dict.fromkeys(items)]
    more = f" and {len(unique) - most} more" if len(unique) > most else ""
    return ", ".join(unique[:most]) + more
