"""The configuration that a proxy runs, from its dump; and what of an EnvoyFilter's patches is missing in it.

istiod drops unknown fields without a word, a rejected listener leaves the old one in place, and a selector that does
not match leaves nothing at all: only the dump shows what arrived.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set
from collections.abc import Mapping as MappingType
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec
import yaml

from ostiary.dialects.yaml_nodes import Mapping, Node, Scalar, Sequence
from ostiary.doctor.case import Case
from ostiary.doctor.configuration.filters import key_clusters, token_clusters
from ostiary.doctor.configuration.read import tree_facts
from ostiary.doctor.configuration.walk import Seen, Walked, field, text, walk
from ostiary.doctor.facts.configuration import ClusterSeen, ConfigurationProblem, OAuth2Seen
from ostiary.doctor.facts.origin import Fact, Origin
from ostiary.doctor.facts.sidecar import UpdateRejected
from ostiary.doctor.finding import Where
from ostiary.doctor.live.fetch import Documents
from ostiary.doctor.live.plain import has_sign_in, items, node

_SECTIONS: Final = ("static_clusters", "dynamic_active_clusters", "dynamic_warming_clusters")
_DEFAULTS: Final = frozenset({"ROUND_ROBIN", "AUTO", "STATIC", "URL_ENCODED_BODY", "", "0", "0s", "false", "DEFAULT"})
"""What protobuf leaves out of a dump because it is what stands there anyway."""
_SIGNS: Final = (b"oauth2.v3.OAuth2", b"remote_jwks")
"""Of listeners that are looked at."""
_NUMBER: Final = re.compile(r"(-?\d+(?:\.\d+)?)(s?)")


class Running(NamedTuple):
    """What runs."""

    walked: Walked
    facts: list[Fact]
    texts: dict[str, str]
    """The clusters of providers as YAML: `running/NAME.yaml` -> text."""


def running(documents: Documents, written: Set[str] = frozenset()) -> Running:
    """What of the dump matters, and its facts: the sign-in filters, their chains, and the clusters they need.

    `written` are names of clusters that a file has; other clusters, of which a mesh has hundreds, are not looked at.
    """
    source = f"{documents.source}/config_dump"
    walked, coming = walk([]), walk([])
    body = documents.bodies.get("listener_dump")
    if has_sign_in(body):
        listeners = documents.parsed("listener_dump")
        walked = walk([node(each, source) for each in _active(listeners) if _matters(each)])
        coming = walk([node(each, source) for each in _coming(listeners)])
    wanted = written | token_clusters(walked) | token_clusters(coming) | key_clusters(walked)
    dumped = _clusters(documents)
    chosen = [each for each in dumped if body is None or each.get("name") in wanted]
    clusters = [Seen(found, "", 0) for each in chosen if isinstance(found := node(each, source), Mapping)]
    everything = Walked(clusters, walked.oauth2, walked.chains)
    facts = tree_facts([everything], "admin", source)
    needed = {fact.name for fact in facts if isinstance(fact, ClusterSeen) and fact.for_provider}
    texts = {f"running/{each.get('name')}.yaml": _written(each) for each in chosen if each.get("name") in needed}
    facts = [_placed(fact, texts) for fact in facts]
    return Running(everything, [*facts, *unknown_clusters(facts, cluster_names(documents))], texts)


def _clusters(documents: Documents) -> list[dict[str, Any]]:
    return [
        each["cluster"]
        for section in items(documents.parsed("cluster_dump"), "configs")
        for name in _SECTIONS
        for each in items(section, name)
        if isinstance(each.get("cluster"), dict)
    ]


def cluster_names(documents: Documents) -> Set[str]:
    """All clusters of the dump."""
    return {str(each.get("name")) for each in _clusters(documents)}


def unknown_clusters(facts: Iterable[Fact], clusters: Set[str]) -> Iterator[Fact]:
    """Token endpoints whose cluster is not there: Envoy only warns of that."""
    for fact in facts:
        if isinstance(fact, OAuth2Seen) and clusters and fact.has_config and fact.token_cluster not in clusters:
            name = fact.token_cluster or "(none)"
            message = f"token_endpoint names the cluster {name}, which the running proxy does not have."
            yield ConfigurationProblem(origin=fact.origin, kind="cluster-unknown", subject=name, message=message)


def _written(cluster: dict[str, Any]) -> str:
    """A running cluster as somebody would write it, so that a patch of it can be shown."""
    return _yaml(msgspec.json.encode({key: value for key, value in cluster.items() if key != "@type"}))


@lru_cache(maxsize=1024)
def _yaml(cluster: bytes) -> str:
    """Of hundreds of sidecars each has the same cluster of the same EnvoyFilter."""
    return yaml.safe_dump(msgspec.json.decode(cluster), sort_keys=False, allow_unicode=True)


def _placed(fact: Fact, texts: MappingType[str, str]) -> Fact:
    """A cluster's fact with the place that an edit needs: its text as `running/NAME.yaml`."""
    if not isinstance(fact, ClusterSeen) or f"running/{fact.name}.yaml" not in texts:
        return fact
    return replace(fact, where=Where(file=f"running/{fact.name}.yaml", line=1))


def _active(dump: object) -> Iterator[object]:
    """The listeners that serve: a rejected one is told elsewhere."""
    for section in items(dump, "configs"):
        for each in items(section, "static_listeners"):
            yield each.get("listener")
        for each in items(section, "dynamic_listeners"):
            state = each.get("active_state")
            if isinstance(state, dict):
                yield state.get("listener")


def _coming(dump: object) -> Iterator[object]:
    """Listeners that were refused, or wait for something."""
    for section in items(dump, "configs"):
        for each in items(section, "dynamic_listeners"):
            for state, name in (("error_state", "failed_configuration"), ("warming_state", "listener")):
                found = each.get(state)
                if isinstance(found, dict):
                    yield found.get(name)


def _matters(listener: object) -> bool:
    return any(sign in msgspec.json.encode(listener) for sign in _SIGNS)


def differences(written: Walked, live: Walked, case: Case) -> Iterator[ConfigurationProblem]:
    """What the patches in a file say and the running proxy does not have. `case` has the live proxy's facts."""
    rejected = [fact.name for fact in case.all(UpdateRejected)]
    by_name = {text(seen.node, "name"): seen for seen in live.clusters}
    for seen in written.clusters:
        name = text(seen.node, "name")
        there = by_name.get(name)
        if there is None:
            yield _absent(seen, f"cluster {name}", rejected)
        else:
            yield from _fields(seen, there.node)
    for seen in written.oauth2:
        others = live.oauth2
        if not others:
            yield _absent(seen, "OAuth2 filter", rejected)
        elif len(others) == 1:
            yield from _fields(seen, others[0].node)


def _absent(seen: Seen, what: str, rejected: Iterable[str]) -> ConfigurationProblem:
    names = ", ".join(rejected)
    why = (
        f"The proxy refused the listener {names}, so the one before it serves on"
        if names
        else "Its namespace, workloadSelector, context, match or anchor leaves this proxy out"
    )
    return _problem(seen, seen.node, "", what, f"The running proxy has no {what}. {why}.")


def _fields(seen: Seen, live: Mapping) -> Iterator[ConfigurationProblem]:
    """Values that are written and not there, or other ones."""
    for path, leaf in _leaves(seen.node, ""):
        there = _follow(live, path)
        if isinstance(there, Scalar) and (there.text == "[redacted]" or _plainly(there) == _plainly(leaf)):
            continue
        if there is None and leaf.text in _DEFAULTS:
            continue
        if isinstance(there, Scalar):
            said = f"{path} is {leaf.text} in the file and {there.text} in the running proxy: an older version runs."
            yield _problem(seen, leaf, path, path, said)
        elif there is None:
            said = f"{path} is in the file and not in the running proxy: istiod does not know it, or an older one runs."
            yield _problem(seen, leaf, path, path, said)


def _plainly(value: Scalar) -> str:
    """A value as protobuf writes it: `0.2s` is `0.200s`, `1.0` is `1`."""
    number = _NUMBER.fullmatch(value.text)
    return f"{float(number[1]):g}{number[2]}" if number is not None else value.text


def _leaves(node: Node, path: str) -> Iterator[tuple[str, Scalar]]:
    if isinstance(node, Scalar):
        if not node.is_null:
            yield path, node
    elif isinstance(node, Sequence):
        for index, item in enumerate(node):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        for key, value in node:
            yield from _leaves(value, f"{path}.{key.text}" if path else key.text)


def _follow(node: Node | None, path: str) -> Node | None:
    for step in path.replace("[", ".[").split("."):
        if step.startswith("["):
            index = int(step[1:-1])
            node = node.items[index] if isinstance(node, Sequence) and index < len(node) else None
        elif step:
            node = field(node, step)
    return node


def _problem(seen: Seen, place: Node, path: str, subject: str, message: str) -> ConfigurationProblem:
    where = Where(file=place.file, line=place.line, path=f"{seen.path}.{path}".rstrip("."))
    return ConfigurationProblem(
        origin=Origin(kind="config", source=place.file, line=place.line, quote=message),
        kind="patch-nothing",
        subject=subject,
        message=message,
        where=where,
        document=seen.document,
    )
