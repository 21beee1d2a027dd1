"""Istio's dialect: `EnvoyFilter` objects, applied to a sidecar that is made for them, become the model.

The patches apply as istiod applies them (`istio_patch`), and what comes of it is read by Envoy's dialect, so everything
that it refuses is refused here, at its place in the EnvoyFilter. A patch that does nothing is an error: in a mesh it
would silently leave the application open, and a doorkeeper exists to prevent that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from ostiary.dialects import envoy, istio_listeners, istio_routes
from ostiary.dialects.envoy_common import Reader
from ostiary.dialects.istio_findings import Code, Finding, Outcome
from ostiary.dialects.istio_objects import EnvoyFilter, OtherObject, Patch
from ostiary.dialects.istio_patch import apply
from ostiary.dialects.istio_places import in_objects
from ostiary.dialects.istio_reader import read_objects
from ostiary.dialects.istio_selection import Proxy
from ostiary.dialects.istio_sidecar import (
    FILE,
    Sidecar,
    anchor,
    bootstrap,
    inline_extensions,
    made_by,
    make_sidecar,
    without_anchors,
    written_address,
)
from ostiary.dialects.native_listeners import parse_address
from ostiary.dialects.native_upstreams import parse_upstream
from ostiary.dialects.schema_tree import Report
from ostiary.dialects.yaml_nodes import Mapping as MappingNode
from ostiary.dialects.yaml_nodes import Node, Scalar
from ostiary.model.clusters import Endpoint
from ostiary.model.config import Address, Config
from ostiary.model.errors import ConfigError, Diagnostic
from ostiary.model.oauth2 import EnvoyOAuth2

FLAGS: Final = ("upstream", "listen", "admin")
"""Flags of the native dialect that say what an EnvoyFilter can't."""
DEFAULT_LISTEN: Final = "127.0.0.1:4180"
_ENFORCED_NOT: Final = ("RequestAuthentication", "AuthorizationPolicy")
_SAID_ELSEWHERE: Final[frozenset[Code]] = frozenset(
    {"no-lookup-family", "not-verified", "not-checked", "unknown-cluster"}
)
"""What is otherwise here than in a mesh: Envoy's dialect says it, in its own words or as a difference."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was read, and the objects and the patched bootstrap that it was read from."""

    config: Config | None
    diagnostics: list[Diagnostic]
    filters: Sequence[EnvoyFilter] = ()
    root: Node | None = None
    """Its nodes have their places in the files."""


def load(
    files: Sequence[tuple[str, bytes]],
    *,
    flags: Mapping[str, str],
    env: Mapping[str, str],
    ignore_unsupported: bool = False,
    read: Reader | None = None,
) -> tuple[Config | None, list[Diagnostic]]:
    """The EnvoyFilters in `files` (name, content) as a configuration, or None, and everything there is to say about it.

    `flags` may have those of FLAGS, `env` OSTIARY_UPSTREAM and the like. Never raises for anything a file can hold.
    """
    loaded = load_all(files, flags=flags, env=env, ignore_unsupported=ignore_unsupported, read=read)
    return loaded.config, loaded.diagnostics


def load_all(
    files: Sequence[tuple[str, bytes]],
    *,
    flags: Mapping[str, str],
    env: Mapping[str, str],
    ignore_unsupported: bool = False,
    read: Reader | None = None,
) -> Loaded:
    """The same, with what it was read from."""
    report = Report(ignore_unsupported=ignore_unsupported)
    filters, others = _objects(files, report)
    endpoint = _upstream(flags, env, report)
    listen = _address("listen", flags, env, report) or Address(host="127.0.0.1", port=4180)
    admin = _address("admin", flags, env, report)
    for other in others:
        _other(other, report)
    if report.failed or endpoint is None:
        return Loaded(None, _sorted(report))
    sidecar = make_sidecar(filters, {other.kind for other in others}, *endpoint)
    outcomes = apply(filters, _proxy(sidecar), sidecar.resources)
    _tell(outcomes, sidecar, {other.kind for other in others}, report)
    if (node := written_address(sidecar)) is not None:
        report.add(node, "", "the listener's address can't be patched here", "--listen says where to listen")
    gone = without_anchors(sidecar)
    inline_extensions(sidecar)
    root = bootstrap(sidecar)
    config = envoy.convert(root, report, read)
    _sign_in_left_out(filters, config, report)
    differences = (*config.differences, *_differences(sidecar, gone))
    first, *rest = config.listeners or (None,)
    if first is not None:
        config = replace(config, listeners=(replace(first, address=listen), *rest))
    config = replace(config, dialect="istio", admin=admin, differences=differences)
    report.diagnostics[:] = in_objects(report.diagnostics, filters)
    return Loaded(None if report.failed else config, _sorted(report), filters, root)


def _sorted(report: Report) -> list[Diagnostic]:
    """By place; what is wrong with the sidecar's own parts follows from what is wrong with a patch."""
    found = sorted(report.diagnostics, key=lambda found: (found.file, found.line, found.column))
    written = [each for each in found if each.file != FILE]
    return written if any(each.severity == "error" for each in written) else found


def _objects(files: Sequence[tuple[str, bytes]], report: Report) -> tuple[list[EnvoyFilter], list[OtherObject]]:
    filters: list[EnvoyFilter] = []
    others: list[OtherObject] = []
    for name, content in files:
        try:
            found, beside = read_objects(content, name)
        except ConfigError as error:
            report.diagnostics.extend(error.diagnostics)
            continue
        filters += found
        others += beside
    for each in filters:
        report.diagnostics.extend(each.problems)
    _one_workload(filters, report)
    if not any(each.patches for each in filters) and not report.failed:
        text = "there is no EnvoyFilter with a patch in it: nothing would stand before the application"
        report.diagnostics.append(Diagnostic(file=files[0][0], line=1, column=1, path="", message=text))
    return filters, others


def _one_workload(filters: Sequence[EnvoyFilter], report: Report) -> None:
    """All of them are applied to one proxy, so they had better be for one."""
    seen: dict[str, str] = {}
    for each in filters:
        for key, value in (each.selector or {}).items():
            if seen.setdefault(key, value) != value:
                text = f"it selects {key}={value}, another one here {key}={seen[key]}: all are applied to one workload"
                report.add(each.place, "", text, "give `ostiary run` those of one workload", severity="warning")


def _said(name: str, flags: Mapping[str, str], env: Mapping[str, str]) -> tuple[str, str]:
    """A flag's value and who says it."""
    variable = f"OSTIARY_{name.upper()}"
    return (flags[name], f"--{name}") if name in flags else (env.get(variable, ""), variable)


def _upstream(flags: Mapping[str, str], env: Mapping[str, str], report: Report) -> tuple[str, Endpoint] | None:
    text, source = _said("upstream", flags, env)
    if not text:
        message = "an EnvoyFilter doesn't say where the application is"
        report.diagnostics.append(_flag("--upstream", message, "as in --upstream http://127.0.0.1:8080"))
        return None
    found = parse_upstream(text)
    if isinstance(found, str):
        report.diagnostics.append(_flag(source, found))
        return None
    return found


def _address(name: str, flags: Mapping[str, str], env: Mapping[str, str], report: Report) -> Address | None:
    text, source = _said(name, flags, env)
    found = parse_address(text) if text else None
    if text and found is None:
        report.diagnostics.append(_flag(source, "not an address to listen on", f"as in {DEFAULT_LISTEN}"))
    return found


def _flag(source: str, message: str, mend: str = "") -> Diagnostic:
    return Diagnostic(file=source, line=0, column=0, path="", message=message, mend=mend)


def _other(other: OtherObject, report: Report) -> None:
    name = f"{other.kind} {other.name}".strip() or "an object without a kind"
    if other.kind in _ENFORCED_NOT:
        text = f"{name} is not enforced by `ostiary run`: only the EnvoyFilters are"
        report.add(other.place, "", text, "access rules of your own dialect can do it", severity="warning")
    else:
        report.add(other.place, "", f"{name} is left out: `ostiary run` reads EnvoyFilters", severity="info")


def _proxy(sidecar: Sidecar) -> Proxy:
    """Whatever workload, version and node the objects are for: it is this one."""
    return Proxy(kind=sidecar.kind, namespace=None, labels=None, version=None, metadata=None)


def _tell(outcomes: Sequence[Outcome], sidecar: Sidecar, kinds: set[str], report: Report) -> None:
    """Findings as diagnostics. What is for another kind of proxy is left out; all else has to apply."""
    for outcome in outcomes:
        for finding in outcome.findings:
            if finding.code in _SAID_ELSEWHERE:
                continue
            report.diagnostics.append(_diagnostic(finding))
        name = anchor(outcome.patch)
        maker = made_by(name) if name is not None else None
        if maker is not None and maker not in kinds and outcome.applied:
            key = "match.listener.filterChain.filter.subFilter"
            text = f"Istio makes {name} only where there is a {maker}: without one this patch does nothing in a mesh"
            mend = "use INSERT_FIRST, or anchor to envoy.filters.http.router"
            report.add(outcome.patch.at(key), f"{outcome.patch.path}.{key}", text, mend, severity="warning")
    guards = (*istio_listeners.KINDS, *istio_routes.KINDS)
    if not any(outcome.applied and outcome.patch.apply_to in guards for outcome in outcomes) and not report.failed:
        text = f"no patch changes what stands before the application (contexts here: {', '.join(sidecar.contexts)})"
        report.add(outcomes[0].owner.place, "", text, "add the patch that inserts the filter")


def _sign_in_left_out(filters: Sequence[EnvoyFilter], config: Config, report: Report) -> None:
    """Whoever writes a sign-in means it, whatever the context: without it everybody would get in."""
    links = [link for listener in config.listeners for link in listener.http.http_filters]
    if report.failed or any(isinstance(link.config, EnvoyOAuth2) for link in links):
        return
    for patch in (patch for each in filters for patch in each.patches):
        if _type(patch).endswith(".OAuth2"):
            text = "this sign-in is not applied: the application would be open to everybody"
            mend = "set the context SIDECAR_INBOUND, or run the EnvoyFilters of one proxy"
            report.add(patch.place, patch.path, text, mend)


def _type(patch: Patch) -> str:
    typed = patch.value.get("typed_config") if isinstance(patch.value, MappingNode) else None
    url = typed.get("@type") if isinstance(typed, MappingNode) else None
    return url.text if isinstance(url, Scalar) else ""


def _diagnostic(finding: Finding) -> Diagnostic:
    found = finding.diagnostic()
    if finding.code == "context-mismatch":
        return Diagnostic(
            file=found.file, line=found.line, column=found.column, severity="warning", path=found.path,
            message=f"left out: {found.message.removeprefix('does nothing: ')}", mend=found.mend,
        )  # fmt: skip
    return found


def _differences(sidecar: Sidecar, gone: Sequence[str]) -> list[str]:
    where = "a gateway" if sidecar.kind == "gateway" else "a sidecar's inbound chain"
    found = [f"the EnvoyFilters are applied to {where} for port {sidecar.port}, whatever workload they select"]
    if sidecar.kind == "sidecar":
        found.append("as a sidecar does, it believes the x-forwarded-for and x-forwarded-proto that clients send")
    if gone:
        found.append(f"filters of Istio's that are only there to be named, and don't run: {', '.join(gone)}")
    return found
