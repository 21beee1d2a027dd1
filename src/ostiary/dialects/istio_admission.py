"""What Istio's admission webhook says to an EnvoyFilter (istio: pkg/config/validation/envoyfilter/envoyfilter.go).

An error there keeps the whole object out of the cluster, so none of its patches does anything; warnings pass. The
values of the patches are read here, as istiod reads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import re2

from ostiary.dialects.istio_findings import Active
from ostiary.dialects.istio_message import Message, Value, read_patch
from ostiary.dialects.istio_objects import VALUE_TYPES, EnvoyFilter, ListenerMatch, Patch

MAX_PROXY_VERSION: Final = 1024
"""Characters of a `proxyVersion`; a longer one matches no proxy."""
HTTP_CONNECTION_MANAGER: Final = "envoy.filters.network.http_connection_manager"
_LISTENER_KINDS: Final = ("LISTENER", "FILTER_CHAIN", "NETWORK_FILTER", "HTTP_FILTER")
_ROUTE_KINDS: Final = ("ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE")
_OLD_NAMES: Final = {
    "envoy.buffer": "envoy.filters.http.buffer",
    "envoy.cors": "envoy.filters.http.cors",
    "envoy.csrf": "envoy.filters.http.csrf",
    "envoy.ext_authz": "envoy.filters.http.ext_authz",
    "envoy.fault": "envoy.filters.http.fault",
    "envoy.grpc_http1_bridge": "envoy.filters.http.grpc_http1_bridge",
    "envoy.grpc_json_transcoder": "envoy.filters.http.grpc_json_transcoder",
    "envoy.grpc_web": "envoy.filters.http.grpc_web",
    "envoy.health_check": "envoy.filters.http.health_check",
    "envoy.http_connection_manager": HTTP_CONNECTION_MANAGER,
    "envoy.http_dynamo_filter": "envoy.filters.http.dynamo",
    "envoy.ip_tagging": "envoy.filters.http.ip_tagging",
    "envoy.listener.http_inspector": "envoy.filters.listener.http_inspector",
    "envoy.listener.original_dst": "envoy.filters.listener.original_dst",
    "envoy.listener.original_src": "envoy.filters.listener.original_src",
    "envoy.listener.proxy_protocol": "envoy.filters.listener.proxy_protocol",
    "envoy.listener.tls_inspector": "envoy.filters.listener.tls_inspector",
    "envoy.lua": "envoy.filters.http.lua",
    "envoy.mongo_proxy": "envoy.filters.network.mongo_proxy",
    "envoy.rate_limit": "envoy.filters.http.ratelimit",
    "envoy.ratelimit": "envoy.filters.network.ratelimit",
    "envoy.redis_proxy": "envoy.filters.network.redis_proxy",
    "envoy.router": "envoy.filters.http.router",
    "envoy.tcp_proxy": "envoy.filters.network.tcp_proxy",
}
"""Names of filters that Istio generates no more: a match on one finds nothing."""

WITH_ANOTHER: Final = "does nothing: the API server refuses the whole object"
"""What is said of an object's patches that are right, beside one that is not."""


def admit(owner: EnvoyFilter) -> list[Active]:
    """The patches of an object with their values read, and what the API server says to each.

    If one of them is refused, so are all: each then has a finding `refused`.
    """
    found = [_admit(owner, patch) for patch in owner.patches]
    own = [problem for problem in owner.problems if problem.severity == "error"]
    if own or any(finding.code == "refused" for active in found for finding in active.findings):
        for active in found:
            if not any(finding.code == "refused" for finding in active.findings):
                text = WITH_ANOTHER
                active.note("refused", "error", "", text, "mend what is wrong in it")
    _selector(owner, found)
    return found


def _selector(owner: EnvoyFilter, patches: list[Active]) -> None:
    if owner.selector == {} and patches:
        text = "a workloadSelector without labels: the patches are for every workload of the namespace"
        patches[0].note("admission-warning", "warning", owner.place, text, "name the workload's labels")
    for key, value in (owner.selector or {}).items():
        if not key or "*" in key + value:
            for active in patches:
                text = f"refused: a wildcard or an empty key in the workloadSelector ({key}={value})"
                active.note("refused", "error", owner.place, text, "write the labels out")


def _admit(owner: EnvoyFilter, patch: Patch) -> Active:
    active = Active(owner, patch, None)
    for key, message in _form(patch):
        active.note("refused", "error", key, f"refused by Istio's webhook: {message}")
    if patch.value is not None and (kind := VALUE_TYPES.get(patch.apply_to)) is not None:
        active.value, found = read_patch(patch.value, kind)
        for node, path, message, mend in found.refused:
            active.note("refused", "error", node, f"refused: {message}", mend, value_path=path)
        for node, path, message, mend in found.unknown:
            active.note("unknown-field", "error", node, message, mend, value_path=path)
    _warn(active)
    return active


def _form(patch: Patch) -> Iterator[tuple[str, str]]:
    """The webhook's errors: (key, message)."""
    match = patch.match
    if not patch.apply_to and match.context != "WAYPOINT":
        yield "applyTo", "missing applyTo"
        return
    if match.context == "WAYPOINT":
        return
    if "patch" not in patch.keys:
        yield "", "missing patch"
        return
    if not patch.operation:
        yield "patch.operation", "missing patch operation"
        return
    if patch.operation != "REMOVE" and patch.value is None:
        yield "patch", "missing patch value for an operation other than REMOVE"
        return
    version = match.proxy.version if match.proxy is not None else ""
    if len(version) <= MAX_PROXY_VERSION and compiled(version) is None:
        yield "match.proxy.proxyVersion", "invalid regular expression for proxyVersion"
        return
    objects = {"listener": match.listener, "routeConfiguration": match.route_configuration, "cluster": match.cluster}
    written = [name for name, value in objects.items() if value is not None]
    wanted = _wanted(patch.apply_to)
    if wanted and written and written[0] != wanted:
        yield f"match.{written[0]}", f"applyTo {patch.apply_to} can't have a match of {written[0]}"
    elif wanted == "listener" and match.listener is not None:
        yield from _filter_match(patch, match.listener)


def _wanted(apply_to: str) -> str:
    if apply_to in _LISTENER_KINDS:
        return "listener"
    return "routeConfiguration" if apply_to in _ROUTE_KINDS else "cluster" if apply_to == "CLUSTER" else ""


def _filter_match(patch: Patch, match: ListenerMatch) -> Iterator[tuple[str, str]]:
    found = match.filter_chain.filter if match.filter_chain is not None else None
    key = "match.listener.filterChain.filter"
    if found is None:
        return
    if not found.name:
        yield key, "the filter match has no name to match on"
    elif found.sub_filter is not None:
        if patch.apply_to != "HTTP_FILTER":
            yield f"{key}.subFilter", "a subFilter match can be used with applyTo HTTP_FILTER only"
        elif found.name not in (HTTP_CONNECTION_MANAGER, "envoy.http_connection_manager"):
            yield f"{key}.name", f"a subFilter match requires a filter match with {HTTP_CONNECTION_MANAGER}"
        elif not found.sub_filter:
            yield f"{key}.subFilter", "the subFilter match has no name to match on"


def _warn(active: Active) -> None:
    """What passes, but not as it is meant."""
    patch, match = active.patch, active.patch.match
    if patch.filter_class not in ("", "UNSPECIFIED"):
        text = "filterClass has no effect: no code in Istio reads it"
        active.note("no-effect", "warning", "patch.filterClass", text, "anchor the patch to a filter instead")
    if match.proxy is not None and len(match.proxy.version) > MAX_PROXY_VERSION:
        text = f"a proxyVersion of more than {MAX_PROXY_VERSION} characters matches no proxy"
        active.note("admission-warning", "warning", "match.proxy.proxyVersion", text, "write a shorter expression")
    if match.listener is not None and match.listener.port_name:
        text = "portName has no effect: it is not implemented in Istio"
        active.note("no-effect", "warning", "match.listener.portName", text, "use portNumber")
    if patch.apply_to == "CLUSTER" and active.operation == "ADD" and match.cluster is not None:
        active.note("no-effect", "info", "match.cluster", "an ADD of a cluster looks at context and proxy only")
    if active.operation != patch.operation:
        text = f"{patch.operation} of a {patch.apply_to} is an ADD in Istio: it has no order"
        active.note("turned-into-add", "warning", "patch.operation", text, "write ADD")
    chain = match.listener.filter_chain if match.listener is not None else None
    if chain is not None and chain.transport_socket:
        text = "transportSocket has no effect: it is not implemented in Istio"
        key = "match.listener.filterChain.transportSocket"
        active.note("no-effect", "warning", key, text, "use transportProtocol")
    if chain is not None and chain.filter is not None:
        key = "match.listener.filterChain.filter"
        if patch.apply_to in ("LISTENER", "FILTER_CHAIN"):
            active.note("no-effect", "warning", key, f"a filter match has no effect with applyTo {patch.apply_to}")
        for name in (chain.filter.name, chain.filter.sub_filter or ""):
            if name in _OLD_NAMES:
                text = f"'{name}' is a name of old: Istio's filter is called {_OLD_NAMES[name]}"
                active.note("admission-warning", "warning", key, text, f"write {_OLD_NAMES[name]}")
    refused = any(found.code == "refused" for found in active.findings)
    if active.value is not None and not refused:
        for each, path in _untyped(active.value, "", merged=active.merges):
            text = f"'{each.text('name')}' has no typed_config: Envoy refuses what it stands in"
            node = each.place if path else "patch.value"
            active.note("admission-warning", "error", node, text, "add typed_config with an '@type'", value_path=path)


def _untyped(value: Value, path: str, *, merged: bool = False) -> Iterator[tuple[Message, str]]:
    """Extensions without a configuration of their own (what is merged by name needs none), and their paths."""
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from _untyped(each, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, (_, each) in value.items():
            yield from _untyped(each, f'{path}["{key}"]')
    elif isinstance(value, Message) and value.type is not None:
        typed = value.type.fields.get("typed_config")
        own = {each.name for each in value.type.fields.values() if typed and typed.oneof and each.oneof == typed.oneof}
        if typed is not None and not merged and not {"typed_config", *own} & set(value.fields):
            yield value, path
        for name, each in value.fields.items():
            yield from _untyped(each, f"{path}.{name}" if path else name)


def compiled(expression: str) -> Any:
    """A regular expression of Go's syntax (RE2), None if it isn't one."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(expression, options)
    except re2.error:
        return None
