"""`ostiary patch`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ostiary.cli.configuration import read_bytes
from ostiary.cli.exit_codes import EXIT_PROBLEM
from ostiary.model import limits
from ostiary.model.errors import ConfigError, Diagnostic

if TYPE_CHECKING:
    from ostiary.dialects.istio_findings import Outcome
    from ostiary.dialects.istio_objects import EnvoyFilter
    from ostiary.dialects.istio_proxy import Facts
    from ostiary.dialects.istio_selection import Kind, Proxy


@click.command()
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    required=True,
    type=click.Path(readable=False),
    metavar="ENVOYFILTER",
    help="A file with EnvoyFilter objects, among others or not; may be repeated; - is standard input.",
)
@click.option(
    "--proxy",
    "config",
    required=True,
    type=click.Path(readable=False),
    metavar="CONFIG",
    help="Envoy's bootstrap, or a config_dump.",
)
@click.option("--diff", is_flag=True, help="Print what changes, as a unified diff.")
@click.option("--explain", is_flag=True, help="Print for each patch what it hit, or why it does nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.option(
    "--context",
    type=click.Choice(("sidecar", "gateway", "waypoint")),
    help="What the proxy is (default: its node says).",
)
@click.option("--namespace", metavar="NAME", help="The proxy's namespace (default: its node says).")
@click.option("--labels", multiple=True, metavar="K=V,...", help="The pod's labels (default: its node says).")
@click.option("--istio-version", metavar="VERSION", help="For match.proxy.proxyVersion (default: its node says).")
@click.option("--root-namespace", default="istio-system", show_default=True, help="The mesh's root namespace.")
def command(files: tuple[str, ...], config: str, diff: bool, explain: bool, as_json: bool, **options: Any) -> int:
    """Apply EnvoyFilters to a proxy's configuration, as Istio does.

    Prints the configuration that comes of it. What a patch is not known to match (a namespace, labels) it is taken to
    match, and that is said. Exits with 1 if a patch does nothing, does harm, or would make istiod panic.

    \b
    Examples:
      ostiary patch -f envoyfilter.yaml --proxy config_dump.json --explain
      ostiary patch -f envoyfilter.yaml --proxy envoy.yaml --diff
      kubectl exec POD -c istio-proxy -- pilot-agent request GET config_dump |
          ostiary patch -f envoyfilter.yaml --proxy - --explain
    """
    if diff and explain:
        raise click.UsageError("--diff and --explain print different things: choose one")
    if [*files, config].count("-") > 1:
        raise click.UsageError("-f - and --proxy -: there is one standard input: name a file for the other")
    from ostiary.core.line_diff import unified
    from ostiary.dialects.istio_proxy import facts, patch_config
    from ostiary.dialects.yaml_nodes import parse
    from ostiary.dialects.yaml_write import to_json, to_yaml

    filters = _filters(files)
    text = _dump(config)
    root = parse(text, config, merge=False)
    proxy = _proxy(facts(root), **options)
    patched = patch_config(root, filters, proxy)
    write = to_json if as_json or text.lstrip()[:1] == b"{" else to_yaml
    if explain:
        _explain(patched.outcomes, as_json)
        for each in filters:
            if not each.patches:
                place = f"{each.place.file}:{each.place.line}"
                print(f"EnvoyFilter {each.full_name} ({place}) has no patches", file=sys.stderr)
    elif diff:
        before, after = (write(node).splitlines(keepends=True) for node in (patched.before, patched.after))
        lines = unified(before, after, config, f"{config} (patched)")
        sys.stdout.write(json.dumps({"diff": "".join(lines)}, ensure_ascii=False) + "\n" if as_json else "".join(lines))
    else:
        sys.stdout.write(write(patched.after))
    if not explain:
        for found in _findings(patched.outcomes):
            print(found, file=sys.stderr)
    print(_summary(patched.outcomes), file=sys.stderr)
    return EXIT_PROBLEM if any(_is_bad(outcome) for outcome in patched.outcomes) else 0


def _dump(config: str) -> bytes:
    """The proxy's configuration. Raises ConfigError."""
    text = read_bytes(config)
    if len(text) > limits.MAX_CONFIG_BYTES:
        message = f"more than {limits.MAX_CONFIG_BYTES >> 20} MiB"
        mend = "ask the proxy for one part at a time: /config_dump?resource=dynamic_listeners, dynamic_active_clusters"
        raise ConfigError([Diagnostic(file=config, line=0, column=0, path="", message=message, mend=mend)])
    return text


def _filters(files: Sequence[str]) -> list[EnvoyFilter]:
    from ostiary.dialects.istio_reader import read_objects

    found: list[EnvoyFilter] = []
    problems: list[Diagnostic] = []
    for file in files:
        filters, others = read_objects(read_bytes(file), file)
        found += filters
        for problem in (problem for each in filters for problem in each.problems):
            if problem.severity == "error":
                problems.append(problem)
            else:
                print(problem, file=sys.stderr)
        if not filters:
            seen = ", ".join(f"{other.kind} {other.name}".strip() for other in others[:8]) or "nothing"
            text = f"no EnvoyFilter of networking.istio.io is in it (seen: {seen})"
            problems.append(Diagnostic(file=file, line=1, column=1, path="", message=text))
    if problems:
        raise ConfigError(problems)
    return found


def _proxy(
    known: Facts,
    *,
    context: Kind | None,
    namespace: str | None,
    labels: tuple[str, ...],
    istio_version: str | None,
    root_namespace: str,
) -> Proxy:
    """What the options say, else what the configuration's node says."""
    from ostiary.dialects.istio_selection import Proxy

    pairs = [pair for text in labels for pair in text.split(",")]
    if wrong := [pair for pair in pairs if "=" not in pair]:
        raise click.BadParameter(f"{wrong[0]!r} is no K=V", param_hint="--labels")
    given = dict(pair.split("=", 1) for pair in pairs)
    return Proxy(
        kind=context or known.kind or "sidecar",
        namespace=namespace or known.namespace,
        labels=given if labels else known.labels,
        version=istio_version or known.version,
        metadata=known.metadata or {},
        root_namespace=root_namespace,
    )


def _is_bad(outcome: Outcome) -> bool:
    return not outcome.applied or any(found.severity == "error" for found in outcome.findings)


def _findings(outcomes: Sequence[Outcome]) -> list[Diagnostic]:
    return [found.diagnostic() for outcome in outcomes for found in outcome.findings]


def _summary(outcomes: Sequence[Outcome]) -> str:
    applied = sum(outcome.applied for outcome in outcomes)
    bad = sum(_is_bad(outcome) and outcome.applied for outcome in outcomes)
    harm = f", {bad} of them with harm" if bad else ""
    return f"{applied} of {len(outcomes)} patch{'es' * (len(outcomes) != 1)} applied{harm}"


def _explain(outcomes: Sequence[Outcome], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"patches": [_document(outcome) for outcome in outcomes]}, indent=2, ensure_ascii=False))
        return
    owner = None
    for outcome in outcomes:
        if outcome.owner is not owner:
            owner = outcome.owner
            print(f"EnvoyFilter {owner.full_name} ({owner.place.file}:{owner.place.line})")
        patch = outcome.patch
        state = "panics" if outcome.panics else "applied" if outcome.applied else "DOES NOTHING"
        print(f"  {patch.index + 1}. {patch.operation} {patch.apply_to} (line {patch.place.line}): {state}")
        for hit in outcome.hits[:_SHOWN]:
            print(f"       {hit.where}: {hit.did}")
        if len(outcome.hits) > _SHOWN:
            print(f"       and {len(outcome.hits) - _SHOWN} more")
        for found in outcome.findings:
            message = found.message.removeprefix("does nothing: ")  # which the line of the patch says
            print(f"     {found.severity}: {message}{f' ({found.mend})' if found.mend else ''}")
            key = found.path.removeprefix(patch.path).removeprefix(".")
            print(f"       {found.file}:{found.line}:{found.column}{f' {key}' if key else ''} [{found.code}]")


_SHOWN = 10
"""Hits of one patch in the text; --json has them all."""


def _document(outcome: Outcome) -> dict[str, Any]:
    patch = outcome.patch
    return {
        "envoyfilter": outcome.owner.full_name,
        "file": patch.place.file,
        "line": patch.place.line,
        "index": patch.index,
        "apply_to": patch.apply_to,
        "operation": patch.operation,
        "applied": outcome.applied,
        "panics": outcome.panics,
        "hits": [{"where": hit.where, "did": hit.did} for hit in outcome.hits],
        "findings": [
            {"code": found.code, "rule": found.rule, "severity": found.severity, "message": found.message,
             "mend": found.mend, "where": {"file": found.file, "line": found.line, "column": found.column,
                                           "path": found.path}}
            for found in outcome.findings
        ],
    }  # fmt: skip
