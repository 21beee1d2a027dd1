"""Which EnvoyFilters reach a proxy, and in which order.

istio: pilot/pkg/model/push_context.go, policyattachment.go.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from ostiary.dialects.istio_admission import MAX_PROXY_VERSION, admit, compiled
from ostiary.dialects.istio_findings import Active, Code
from ostiary.dialects.istio_objects import EnvoyFilter, TargetRef

Kind = Literal["sidecar", "gateway", "waypoint"]
GATEWAY_NAME: Final = "gateway.networking.k8s.io/gateway-name"
"""The label by which Istio knows the proxy of a Gateway-API gateway."""
_PREFIXES: Final = {rf"^1\.{minor}.*": f"1.{minor}" for minor in range(16, 24)}
"""Expressions that istiod reads as prefixes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """What Istio knows of the proxy that it configures. None where nobody said it: then it is not looked at."""

    kind: Kind = "sidecar"
    namespace: str | None = None
    labels: MappingType[str, str] | None = None
    version: str | None = ""
    """ISTIO_VERSION of the node's metadata; without one (empty) no proxyVersion matches."""
    metadata: MappingType[str, str] | None = field(default_factory=dict)
    root_namespace: str = "istio-system"

    @property
    def gateway_name(self) -> str | None:
        """The name of its Gateway (Gateway API)."""
        return (self.labels or {}).get(GATEWAY_NAME)


def select(filters: Sequence[EnvoyFilter], proxy: Proxy) -> tuple[list[Active], list[Active]]:
    """The patches that reach `proxy`, in the order in which they apply; and those that don't, each with its reason."""
    reaching: list[Active] = []
    left_out: list[Active] = []
    for owner in in_order(filters, proxy.root_namespace):
        patches = admit(owner)
        reason = _object_reason(owner, proxy)
        for active in patches:
            if any(found.code == "refused" for found in active.findings):
                left_out.append(active)
            elif reason is not None:
                active.note(reason[0], "error", owner.place, f"does nothing: {reason[1]}", reason[2])
                left_out.append(active)
            elif (missed := _proxy_reason(active, proxy)) is not None:
                active.miss(0, *missed)
                left_out.append(active)
            else:
                _unchecked(active, proxy)
                reaching.append(active)
    return reaching, left_out


def in_order(filters: Sequence[EnvoyFilter], root_namespace: str) -> list[EnvoyFilter]:
    """Priority first; then the root namespace, age, name."""
    return sorted(
        filters,
        key=lambda found: (
            found.priority,
            found.namespace != root_namespace,
            found.created,
            f"{found.name}.{found.namespace}",
        ),
    )


def _object_reason(owner: EnvoyFilter, proxy: Proxy) -> tuple[Code, str, str] | None:
    namespace = owner.namespace or proxy.namespace
    if proxy.namespace is not None and namespace not in (proxy.namespace, proxy.root_namespace):
        text = f"it is of namespace {namespace}, the proxy of {proxy.namespace}"
        return (
            "other-namespace",
            text,
            f"create it in {proxy.namespace}, or in {proxy.root_namespace} for the whole mesh",
        )
    if owner.target_refs:
        return _target_reason(owner.target_refs, namespace, proxy)
    if proxy.kind == "waypoint":
        text = "a waypoint takes EnvoyFilters with targetRefs only"
        return "no-target-ref", text, _target_mend(proxy)
    if owner.selector and proxy.labels is not None:
        missing = [f"{key}={value}" for key, value in owner.selector.items() if proxy.labels.get(key) != value]
        if missing:
            has = ", ".join(f"{key}={value}" for key, value in sorted(proxy.labels.items())[:8]) or "none"
            return "selector-mismatch", f"the pod hasn't the label {', '.join(missing)} (it has: {has})", ""
    return None


def _target_reason(refs: Sequence[TargetRef], namespace: str | None, proxy: Proxy) -> tuple[Code, str, str] | None:
    """An EnvoyFilter with `targetRefs` is for proxies of the Gateway API."""
    if proxy.gateway_name is None:
        if proxy.labels is None and proxy.kind != "sidecar":
            return None  # it may well be the gateway that is meant
        text = "a proxy that is no Gateway-API gateway ignores an EnvoyFilter with targetRefs"
        return "target-refs-ignored", text, "use workloadSelector"
    if any(_is_target(ref, namespace, proxy) for ref in refs):
        return None
    text = f"none of its targetRefs is the gateway {proxy.gateway_name}"
    if any(ref.kind in ("Service", "ServiceEntry") for ref in refs):
        text += " (of an EnvoyFilter istiod looks at Gateway and GatewayClass only, whatever the documentation says)"
    return "selector-mismatch", text, _target_mend(proxy)


def _target_mend(proxy: Proxy) -> str:
    name = proxy.gateway_name or "NAME"
    return f"add targetRefs: [{{group: gateway.networking.k8s.io, kind: Gateway, name: {name}}}]"


def _is_target(ref: TargetRef, namespace: str | None, proxy: Proxy) -> bool:
    if ref.group != "gateway.networking.k8s.io":
        return False
    if ref.kind == "GatewayClass":
        return proxy.kind == "waypoint" and namespace == proxy.root_namespace and ref.name == "istio-waypoint"
    mine = proxy.namespace in (None, namespace) and ref.namespace in ("", proxy.namespace or ref.namespace)
    return mine and ref.kind == "Gateway" and ref.name == proxy.gateway_name


def _proxy_reason(active: Active, proxy: Proxy) -> tuple[Code, str] | None:
    """`match.proxy`."""
    match = active.patch.match.proxy
    if match is None:
        return None
    if match.version and proxy.version is not None and not _version_matches(match.version, proxy.version):
        has = proxy.version or "no version"
        return "proxy-version-mismatch", f"proxyVersion '{match.version[:60]}' doesn't match the proxy's ({has})"
    for key, value in match.metadata.items():
        if proxy.metadata is not None and proxy.metadata.get(key) != value:
            has = proxy.metadata.get(key, "nothing")
            return "proxy-metadata-mismatch", f"the node's metadata has {has} as {key}, not {value}"
    return None


def _version_matches(expression: str, version: str) -> bool:
    if len(expression) > MAX_PROXY_VERSION:
        return False
    if expression in _PREFIXES:
        return version.startswith(_PREFIXES[expression])
    pattern = compiled(expression)
    return bool(version) and pattern is not None and pattern.search(version) is not None


def _unchecked(active: Active, proxy: Proxy) -> None:
    """Said once of an object, at its first patch."""
    owner = active.owner
    if active.patch.index:
        return
    if proxy.namespace is None and owner.namespace:
        text = f"taken to be for this proxy: its namespace isn't known ({owner.namespace} is the object's)"
        active.note("not-checked", "info", owner.place, text, "--namespace says it")
    if (owner.selector or owner.target_refs) and proxy.labels is None:
        text = "taken to select this proxy: its labels aren't known"
        active.note("not-checked", "info", owner.place, text, "--labels says them")
