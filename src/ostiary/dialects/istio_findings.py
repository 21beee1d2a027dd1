"""What there is to say about each patch of an EnvoyFilter: what it hit, why it did nothing, what it does beside.

Istio says none of this: a patch whose anchor isn't there does nothing, in silence. `Code` has the stable names of
everything that is said here, `RULES` the doctor's rule that each belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field
from typing import Final, Literal

from ostiary.dialects.istio_message import Message
from ostiary.dialects.istio_objects import INSERTS, EnvoyFilter, Patch
from ostiary.dialects.yaml_nodes import Node
from ostiary.model.errors import Diagnostic, Severity

Code = Literal[
    # the whole object doesn't reach the proxy
    "refused", "other-namespace", "selector-mismatch", "target-refs-ignored", "no-target-ref",
    # the patch does nothing
    "context-mismatch", "proxy-version-mismatch", "proxy-metadata-mismatch", "no-cluster", "no-listener",
    "no-filter-chain", "no-filter", "anchor-missing", "match-required", "no-typed-config", "no-route-configuration",
    "no-virtual-host", "no-route", "added-cluster", "added-object", "added-later", "operation-ignored",
    "bootstrap-ignored", "not-subscribed", "duplicate-name", "transport-socket-dropped", "lost-to-panic",
    # the patch does something else than it says, or harm
    "panic", "siblings-dropped", "list-appended", "map-replaced", "zero-not-written", "after-router",
    "not-before-jwt-authn", "turned-into-add", "unknown-field", "no-effect", "already-there", "no-oauth2-config",
    "unknown-cluster", "not-verified", "no-lookup-family", "not-checked", "admission-warning",
]  # fmt: skip

RULES: Final[MappingType[Code, str]] = {
    "panic": "patch-crashes-istiod",
    "after-router": "filter-order",
    "not-before-jwt-authn": "filter-order",
    "no-oauth2-config": "filter-fails-open",
    "unknown-cluster": "cluster-unknown",
    "unknown-field": "config-unknown-field",
    "not-verified": "tls-not-verified",
    "no-lookup-family": "dns-family-unreachable",
    "refused": "config-invalid",
    "admission-warning": "config-invalid",
}
"""The doctor's rule of a code; `patch-not-applied` for all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to know about a patch."""

    code: Code
    severity: Severity
    file: str
    line: int
    column: int
    path: str
    """In the object, as in `spec.configPatches[0].patch.value.auth_scopes`."""
    message: str
    mend: str = ""

    @property
    def rule(self) -> str:
        """The doctor's rule for it."""
        return RULES.get(self.code, "patch-not-applied")

    def diagnostic(self) -> Diagnostic:
        """The same, as everything about a configuration is said."""
        return Diagnostic(
            file=self.file,
            line=self.line,
            column=self.column,
            severity=self.severity,
            path=self.path,
            message=self.message,
            mend=self.mend,
        )


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that a patch changed."""

    where: str
    """As in `listener virtualInbound, chain 0.0.0.0_8080`."""
    did: str
    """As in `inserted envoy.filters.http.oauth2 before envoy.filters.http.router`."""


@dataclass(slots=True, eq=False)
class Active:
    """A patch on its way through a proxy's configuration."""

    owner: EnvoyFilter
    patch: Patch
    value: Message | None
    findings: list[Finding] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)
    misses: dict[tuple[Code, str], None] = field(default_factory=dict)
    """Why it missed what it met, of those that it came furthest with: (code, message)."""
    depth: int = 0
    """How far that was."""

    @property
    def operation(self) -> str:
        """What Istio does: an insert into what has no order is an ADD."""
        ordered = ("LISTENER_FILTER", "NETWORK_FILTER", "HTTP_FILTER", "HTTP_ROUTE")
        written = self.patch.operation
        return "ADD" if written in INSERTS and self.patch.apply_to not in ordered else written

    @property
    def merges(self) -> bool:
        """MERGE or MERGE_AND_REPLACE_LIST."""
        return self.operation in ("MERGE", "MERGE_AND_REPLACE_LIST")

    def hit(self, where: str, did: str) -> None:
        """It changed something."""
        if len(self.hits) < MAX_HITS:
            self.hits.append(Hit(where, did))

    def miss(self, depth: int, code: Code, message: str) -> None:
        """It met something that it doesn't concern; the deepest of these is the reason if it never hits."""
        if depth > self.depth:
            self.misses.clear()
            self.depth = depth
        if depth == self.depth and len(self.misses) < MAX_HITS:
            self.misses[code, message] = None

    def note(
        self, code: Code, severity: Severity, key: str | Node, message: str, mend: str = "", *, value_path: str = ""
    ) -> None:
        """Something to know, at a key of the patch or at a node inside its value; said once."""
        node = self.patch.at(key) if isinstance(key, str) else key
        path = f"{self.patch.path}.{key}" if isinstance(key, str) and key else self.patch.path
        if value_path:
            path = f"{self.patch.path}.patch.value.{value_path}"
        found = Finding(
            code=code,
            severity=severity,
            file=node.file,
            line=node.line,
            column=node.column,
            path=path,
            message=message,
            mend=mend,
        )
        if found not in self.findings:
            self.findings.append(found)


MAX_HITS: Final = 1000
"""Of one patch, so that a mesh-wide patch on a large dump stays readable."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What came of one patch."""

    owner: EnvoyFilter
    patch: Patch
    hits: tuple[Hit, ...]
    findings: tuple[Finding, ...]
    """Most severe first."""

    @property
    def applied(self) -> bool:
        """True if it changed something."""
        return bool(self.hits)

    @property
    def panics(self) -> bool:
        """True if istiod would panic on it."""
        return any(found.code == "panic" for found in self.findings)


_ORDER: Final = {"error": 0, "warning": 1, "info": 2}


def outcome(active: Active) -> Outcome:
    """The outcome of a patch that has been tried on everything."""
    if not active.hits and not any(found.code in _EXPLAINED for found in active.findings):
        for code, message in _reasons(active):
            key = _KEYS.get(code, "applyTo")
            mend = "" if code == "anchor-missing" and active.operation not in INSERTS else _MENDS.get(code, "")
            active.note(code, "error", key if key in active.patch.keys else "", f"does nothing: {message}", mend)
    findings = sorted(active.findings, key=lambda found: _ORDER[found.severity])
    return Outcome(owner=active.owner, patch=active.patch, hits=tuple(active.hits), findings=tuple(findings))


_EXPLAINED: Final[frozenset[Code]] = frozenset(
    {"refused", "other-namespace", "selector-mismatch", "target-refs-ignored", "no-target-ref", "panic"}
)
"""What is said before a patch is tried on anything, or ends it."""
_KEYS: Final[MappingType[Code, str]] = {
    "context-mismatch": "match.context",
    "proxy-version-mismatch": "match.proxy.proxyVersion",
    "proxy-metadata-mismatch": "match.proxy.metadata",
    "no-cluster": "match.cluster",
    "added-cluster": "match.cluster",
    "added-object": "match",
    "added-later": "match.listener.filterChain.filter.subFilter",
    "no-listener": "match.listener",
    "no-filter-chain": "match.listener.filterChain",
    "no-filter": "match.listener.filterChain.filter",
    "anchor-missing": "match.listener.filterChain.filter.subFilter",
    "match-required": "patch.operation",
    "no-route-configuration": "match.routeConfiguration",
    "no-virtual-host": "match.routeConfiguration.vhost",
    "no-route": "match.routeConfiguration.vhost.route",
}
_MENDS: Final[MappingType[Code, str]] = {
    "anchor-missing": "anchor to envoy.filters.http.router, which is always there, or use INSERT_FIRST",
    "match-required": "name the filter in match.listener",
    "added-later": "apply this one later: a higher spec.priority, or further down in the same object",
    "proxy-version-mismatch": "drop proxyVersion, or widen its expression",
    "context-mismatch": "set the context of the proxy that is meant, or ANY",
}


def _reasons(active: Active) -> list[tuple[Code, str]]:
    """The deepest misses, a few of them."""
    if not active.misses:
        kind = active.patch.apply_to
        codes: MappingType[str, Code] = {"CLUSTER": "no-cluster", "ROUTE_CONFIGURATION": "no-route-configuration",
                                         "VIRTUAL_HOST": "no-virtual-host", "HTTP_ROUTE": "no-route"}  # fmt: skip
        code = codes.get(kind, "no-listener")
        return [(code, f"the proxy has nothing that a {kind} patch with this context could change")]
    by_code: dict[Code, list[str]] = {}
    for code, message in active.misses:
        by_code.setdefault(code, []).append(message)
    return [(code, _joined(messages)) for code, messages in by_code.items()]


def _joined(messages: list[str]) -> str:
    shown = "; ".join(messages[:3])
    return shown if len(messages) <= 3 else f"{shown}; and {len(messages) - 3} more"
