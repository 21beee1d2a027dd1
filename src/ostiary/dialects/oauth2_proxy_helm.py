"""oauth2-proxy as the values of its Helm chart start it: what the chart makes of them.

Values lie over each other (`-f`, `--set`, the chart's own), so what a file leaves out may be said elsewhere. What it
says holds: the chart's variables for the client and the cookie secret win over the file that it mounts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Several
from typing import Final

from ostiary.dialects.oauth2_proxy_flags import Word
from ostiary.dialects.oauth2_proxy_options import BY_FLAG, PREFIX
from ostiary.dialects.oauth2_proxy_start import Blob, Start, blob, get, items, pairs, text
from ostiary.dialects.yaml_nodes import Mapping, Node, Scalar, Sequence, parse_all
from ostiary.model.errors import ConfigError

_CREDENTIALS: Final = {"clientID": "CLIENT_ID", "clientSecret": "CLIENT_SECRET", "cookieSecret": "COOKIE_SECRET"}
_OF_CONFIG: Final = frozenset(
    {"clientID", "clientSecret", "cookieSecret", "configFile", "existingConfig", "requiredSecretKeys", "emailDomains",
     "forceLegacyConfig"}
)  # fmt: skip
_OWN: Final = frozenset(
    {"alphaConfig", "authenticatedEmailsFile", "proxyVarsAsSecrets", "htpasswdFile", "sessionStorage"}
)
"""Keys of the chart that no other well-known one has."""
CONFIG: Final = "/etc/oauth2_proxy/oauth2_proxy.cfg"
STRUCTURED: Final = "/etc/oauth2_proxy/oauth2_proxy.yml"


def values_of(document: Node) -> Iterator[tuple[str, Mapping]]:
    """(path, values) of a document that is the chart's values, or has them below the name of the chart."""
    if not isinstance(document, Mapping) or "apiVersion" in document or "services" in document:
        return
    if _is_values(document):
        yield "", document
        return
    for key, below in document:
        if isinstance(below, Mapping) and _is_values(below):
            yield f"{key.text}.", below


_RELEASES: Final = (
    ("HelmRelease", ("spec", "values")),
    ("HelmChart", ("spec", "valuesContent")),
    ("HelmChartConfig", ("spec", "valuesContent")),
    ("Application", ("spec", "source", "helm", "valuesObject")),
    ("Application", ("spec", "source", "helm", "values")),
)
"""Kinds of objects that have a chart's values, as a tree or as text (Flux, k3s, Argo CD)."""


def released(objects: Iterable[Mapping], lines: Several[str]) -> Iterator[tuple[str, Mapping]]:
    """(path, values) of objects that install the chart. `lines`: those of their file."""
    for each in objects:
        for kind, path in _RELEASES:
            found = get(each, *path) if text(each, "kind") == kind else None
            documents: list[Node] = [found] if isinstance(found, Mapping) else []
            if isinstance(found, Scalar):
                try:
                    documents = parse_all(_in_place(blob(found, lines), lines).encode(), found.file)
                except ConfigError:
                    continue
            for document in documents:
                for below, values in values_of(document):
                    yield f"{'.'.join(path)}.{below}", values


def _in_place(held: Blob, lines: Several[str]) -> str:
    """A text at the lines and columns that it has in its file."""
    first = lines[held.line - 1] if held.exact and held.line <= len(lines) else ""
    indent = first[: len(first) - len(first.lstrip())]
    return "\n" * (held.line - 1) + "\n".join(indent + line if line else "" for line in held.text.split("\n"))


def _is_values(node: Mapping) -> bool:
    config = get(node, "config")
    if isinstance(config, Mapping) and _OF_CONFIG.intersection(key.text for key, _ in config):
        return True
    if _OWN.intersection(key.text for key, _ in node):
        return True
    flags = {word.text.removeprefix("--").partition("=")[0] for word in _arguments(node)}
    return bool(flags.intersection(BY_FLAG))


def start_of(path: str, values: Mapping, lines: Several[str]) -> tuple[Start, Mapping | None]:
    """How the chart starts it, and the structured configuration that stands in the values as a tree."""
    config = get(values, "config")
    start = Start(name=f"the chart's values {path.rstrip('.')}".strip(), file=values.file, line=values.line)
    start.words = [*_arguments(values)]
    start.unseen.append("other values")
    structured = text(values, "alphaConfig", "enabled").lower() == "true"
    written = get(config, "configFile")
    honoured = not structured or text(config, "forceLegacyConfig").lower() != "false"
    if isinstance(written, Scalar) and written.text and honoured:
        start.words.append(Word(f"--config={CONFIG}", written.file, written.line))
        start.mounted[CONFIG] = blob(written, lines)
    tree = None
    if structured:
        place = get(values, "alphaConfig")
        assert place is not None
        data, file = get(place, "configData"), get(place, "configFile")
        start.words.append(Word(f"--alpha-config={STRUCTURED}", place.file, place.line))
        if isinstance(file, Scalar) and file.text:
            start.mounted[STRUCTURED] = blob(file, lines)
        elif isinstance(data, Mapping):
            tree = data
    if text(values, "proxyVarsAsSecrets").lower() != "false":
        start.variables += _credentials(config)
        required = {item.text for item in items(config, "requiredSecretKeys") if isinstance(item, Scalar)}
        said = {name.text for name, _ in start.variables}
        start.preset = {
            variable.lower(): f"config.{key}" for key, variable in _CREDENTIALS.items()
            if PREFIX + variable not in said and (not required or variable.lower().replace("_", "-") in required)
        }  # fmt: skip
    for entry in items(values, "extraEnv"):
        name, value = get(entry, "name"), get(entry, "value")
        if isinstance(name, Scalar):
            here = value if isinstance(value, Scalar) else name
            word = Word(here.text, here.file, here.line, here.column, known=here is value)
            start.variables.append((Word(name.text, name.file, name.line, name.column), word))
    start.variables += _sessions(values)
    return start, tree


def _arguments(values: Mapping) -> Iterator[Word]:
    extra = get(values, "extraArgs")
    if isinstance(extra, Sequence):
        for item in extra:
            if isinstance(item, Scalar):
                yield Word(item.text, item.file, item.line, item.column)
    for key, value in pairs(values, "extraArgs"):
        if not isinstance(value, Scalar):
            continue
        flag = f"--{key.text}" if value.is_null else f"--{key.text}={value.text}"
        yield Word(flag, key.file, key.line, key.column)


def _credentials(config: Node | None) -> Iterator[tuple[Word, Word]]:
    """The variables that the chart makes of its Secret; of one that exists already only the names are known."""
    existing = get(config, "existingSecret")
    for key, variable in _CREDENTIALS.items():
        value = get(config, key)
        here = existing if isinstance(existing, Scalar) and existing.text else value
        if isinstance(here, Scalar) and here.text:
            known = here is value
            name = Word(PREFIX + variable, here.file, here.line)
            yield name, Word(here.text if known else "", here.file, here.line, here.column, known)


def _sessions(values: Mapping) -> Iterator[tuple[Word, Word]]:
    kind = get(values, "sessionStorage", "type")
    if not isinstance(kind, Scalar):
        return
    yield Word(f"{PREFIX}SESSION_STORE_TYPE", kind.file, kind.line), Word(kind.text, kind.file, kind.line)
    if kind.text == "redis":  # its address is put together by the chart
        for name in ("REDIS_CONNECTION_URL", "REDIS_SENTINEL_CONNECTION_URLS", "REDIS_CLUSTER_CONNECTION_URLS"):
            yield Word(PREFIX + name, kind.file, kind.line), Word("", kind.file, kind.line, known=False)
