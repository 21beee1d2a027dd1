"""Files of any dialect to facts.

Reading never fails: what can't be read is a fact too, and what can is still looked at, because a configuration that is
asked about is often broken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as MappingType
from dataclasses import replace
from typing import Final

from ostiary.dialects.detect import detect
from ostiary.dialects.envoy_common import Reader
from ostiary.dialects.yaml_nodes import Node, parse_all
from ostiary.doctor.configuration.clusters import cluster_fact
from ostiary.doctor.configuration.filters import chain_fact, for_providers, oauth2_fact
from ostiary.doctor.configuration.problems import problems
from ostiary.doctor.configuration.walk import Walked, items, type_of, walk
from ostiary.doctor.facts.configuration import ConfigurationProblem, OAuth2Seen
from ostiary.doctor.facts.origin import Fact, Kind
from ostiary.model.errors import ConfigError, Diagnostic

Files = Sequence[tuple[str, bytes]]
_MENTIONED: Final = re.compile(rb"oauth2[-_]proxy", re.IGNORECASE)
_NO_HEADER: Final = re.compile(r"%REQ\(:(?!authority|path|method|scheme|protocol)[\w-]+")
_LISTENERS: Final = re.compile(rb"\b(?:filter_?chains|listeners)\b[\"']?\s*:", re.IGNORECASE)
"""In a configuration with listeners, a filter that it doesn't have isn't there."""
_OBJECTS: Final = "Kubernetes objects without an EnvoyFilter"


def read(files: Files, *, env: MappingType[str, str], open_file: Reader | None = None) -> list[Fact]:
    """The facts of configuration files (name, content). `open_file` opens files that they name (or raises OSError)."""
    walked: list[tuple[Walked, str]] = []
    by_dialect: dict[str, list[tuple[str, bytes]]] = {}
    facts: list[Fact] = []
    for name, content in files:
        try:
            dialect = _dialect(content, name)
            if dialect != "oauth2-proxy":
                walked.append((walk(parse_all(content, name, merge=dialect == "native")), name))
        except ConfigError as error:
            facts += _not_read(error.diagnostics) or problems(error.diagnostics)
            continue
        by_dialect.setdefault(dialect, []).append((name, content))
        if dialect == "istio" and _MENTIONED.search(content) is not None:
            by_dialect.setdefault("oauth2-proxy", []).append((name, content))  # beside its EnvoyFilter
    whole = any(_LISTENERS.search(content) is not None for _, content in files)
    facts += tree_facts([each for each, _ in walked], whole=whole)
    if "fragment" in by_dialect:
        facts += [*_templates(facts)]
    for dialect, some in by_dialect.items():
        facts += _judged(dialect, some, env, open_file)
    return facts


def _templates(facts: Sequence[Fact]) -> Iterator[Fact]:
    """Redirect URIs of pieces that no reader judges: `:x-forwarded-proto` is no header, older Envoys write `-`."""
    for fact in facts:
        if isinstance(fact, OAuth2Seen) and _NO_HEADER.search(fact.redirect_uri) is not None:
            message = f"redirect_uri is {fact.redirect_uri}: a header's name has a colon only if it is HTTP's own."
            yield ConfigurationProblem(origin=fact.origin, kind="redirect-uri-template", subject=fact.redirect_uri,
                                       message=message, where=fact.where, document=fact.document)  # fmt: skip


def walk_files(files: Files) -> Walked:
    """Everything of interest in the files that can be read, in one."""
    found = Walked([], [], [])
    for name, content in files:
        try:
            one = walk(parse_all(content, name, merge=False))
        except ConfigError:
            continue
        for whole, part in zip(found, one, strict=True):
            whole.extend(part)
    return found


def _not_read(diagnostics: Sequence[Diagnostic]) -> list[Fact]:
    """Objects that are right by themselves, and none of those that are examined."""
    return [replace(fact, kind="not-examined") for fact in problems(diagnostics) if fact.message.startswith(_OBJECTS)]


def tree_facts(walked: Sequence[Walked], kind: Kind = "config", source: str = "", *, whole: bool = False) -> list[Fact]:
    """The facts of trees in which Envoy's messages stand; `whole`: with the listeners that use them."""
    oauth2 = [oauth2_fact(seen, kind, source) for each in walked for seen in each.oauth2]
    clusters = [cluster_fact(seen, kind, source) for each in walked for seen in each.clusters]
    chains = [chain_fact(seen, kind, source) for each in walked for seen in each.chains]
    everything = Walked([], [], [seen for each in walked for seen in each.chains])
    return [*for_providers(clusters, everything, oauth2, whole=whole), *oauth2, *chains]


def _dialect(content: bytes, name: str) -> str:
    """The dialect; a piece of Envoy's configuration that is none of them is read as what it holds."""
    try:
        return detect(content, name)
    except ConfigError:
        if any(_has_anything(document) for document in parse_all(content, name, merge=False)):
            return "fragment"
        raise


def _has_anything(document: Node) -> bool:
    found = walk([document])
    return bool(found.clusters or found.oauth2 or found.chains or any(map(type_of, items(document, "resources"))))


def _judged(dialect: str, files: Files, env: MappingType[str, str], open_file: Reader | None) -> list[Fact]:
    """What the dialect's own reader says."""
    if dialect == "envoy":
        from ostiary.dialects import envoy

        judged = envoy.load(files, ignore_unsupported=True, read=open_file)[1]
        return [*problems(judged, elsewhere=True)]
    if dialect == "istio":
        return _istio(files, open_file)
    if dialect == "native":
        from ostiary.dialects import native
        from ostiary.doctor.configuration.native import facts_of

        loaded = native.load_all(files, flags={}, env=env, read=open_file)
        facts: list[Fact] = [*problems(loaded.diagnostics)]
        return facts + (facts_of(loaded.config, files[0][0]) if loaded.config is not None else [])
    if dialect == "oauth2-proxy":
        from ostiary.doctor.configuration.oauth2_proxy import proxy_facts

        return proxy_facts(files)
    return []


def _istio(files: Files, open_file: Reader | None) -> list[Fact]:
    from ostiary.dialects import istio
    from ostiary.dialects.istio_reader import read_objects
    from ostiary.doctor.configuration.patches import DOES_NOTHING, patch_problems
    from ostiary.doctor.configuration.sockets import lost_beside_sockets

    filters, kinds = [], set()
    beside: list[ConfigurationProblem] = []
    diagnostics: list[Diagnostic] = []
    for name, content in files:
        beside += lost_beside_sockets(parse_all(content, name, merge=False))
        found, others = read_objects(content, name)
        filters += found
        kinds |= {other.kind for other in others}
        diagnostics += [problem for each in found for problem in each.problems]
    tried = [*patch_problems(filters, kinds)]
    told = {each.subject for each in tried}
    found_here = [*problems(diagnostics), *tried, *(each for each in beside if each.subject not in told)]
    # What becomes of the patches is judged as a whole: fields that fit each by itself may not fit together.
    flags = {"upstream": "http://127.0.0.1:8080"}
    judged = istio.load(files, flags=flags, env={}, ignore_unsupported=True, read=open_file)[1]
    places = {(each.where.file, each.where.line) for each in found_here if each.where is not None}
    known = {name for name, _ in files}
    further = (each for each in judged if each.file in known and (each.file, each.line) not in places
               and not each.message.startswith(DOES_NOTHING))  # fmt: skip
    return [*found_here, *problems(further, elsewhere=True)]
