"""oauth2-proxy in Kubernetes' objects: containers with their args, variables and mounted files, and what is before.

What a container gets from a ConfigMap or a Secret is looked up in the objects at hand, by name; what is not there may
set anything, and is told as unseen.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from collections.abc import Sequence as Several
from typing import Final

from ostiary.dialects.oauth2_proxy_flags import Word
from ostiary.dialects.oauth2_proxy_options import BY_KEY
from ostiary.dialects.oauth2_proxy_start import (
    Blob,
    Entrance,
    Guarded,
    Start,
    after_program,
    base,
    blob,
    get,
    is_older,
    is_program,
    items,
    pairs,
    speaks_of_it,
    text,
    words_of,
)  # fmt: skip
from ostiary.dialects.oauth2_proxy_toml import statements
from ostiary.dialects.yaml_nodes import Mapping, Node, Scalar

_NGINX: Final = "nginx.ingress.kubernetes.io/"


def objects_of(documents: Several[Node]) -> Iterator[Mapping]:
    """The objects, those of a List one by one."""
    for document in documents:
        if not isinstance(document, Mapping) or "kind" not in document or "apiVersion" not in document:
            continue
        if text(document, "kind").endswith("List") and "items" in document:
            yield from objects_of([*items(document, "items")])
        else:
            yield document


class Cluster:
    """The objects of all files."""

    def __init__(self) -> None:
        self._objects: list[Mapping] = []
        self._values: dict[tuple[str, str], dict[str, Blob]] = {}

    def add(self, documents: Several[Node], lines: Several[str]) -> None:
        """The objects of one file. `lines`: those of its text."""
        for found in objects_of(documents):
            self._objects.append(found)
            kind = text(found, "kind")
            if kind in ("ConfigMap", "Secret"):
                held = self._values.setdefault((kind, text(found, "metadata", "name")), {})
                held.update(_held(found, kind, lines))

    def starts(self) -> list[Start]:
        """Each container that is oauth2-proxy's."""
        found = []
        for each in self._objects:
            if text(each, "kind") in ("ConfigMap", "Secret", "Service", "Ingress"):
                continue
            for template in _pods(each):
                found += [self._start(each, template, container) for container in items(template, "spec", "containers")]
        starts = [start for start in found if start is not None]
        used = {id(value) for start in starts for value in start.mounted.values()}
        return starts + [start for start in self._files_alone() if not used & set(map(id, start.mounted.values()))]

    def _files_alone(self) -> Iterator[Start]:
        """ConfigMaps and Secrets that hold its file, for whoever mounts them."""
        for (kind, name), values in self._values.items():
            for key, value in values.items():
                if value.known and any(each.key in BY_KEY for each in statements(value.text)):
                    yield Start(
                        name=f"{kind} {name}", file=value.file, line=value.line, mounted={key: value},
                        words=[Word(f"--config={key}", value.file, value.line)], unseen=["flags", "environment"],
                    )  # fmt: skip

    def _start(self, owner: Mapping, template: Node, container: Node) -> Start | None:
        command, args = words_of(get(container, "command")), words_of(get(container, "args"))
        start = Start(
            name=f"{text(owner, 'kind')} {text(owner, 'metadata', 'name')}".strip(), file=container.file,
            line=container.line, words=after_program([*command, *args]) if command else args,
            older=is_older(text(container, "image")),
        )  # fmt: skip
        self._environment(container, start)
        named = is_program(text(container, "image")) or any(is_program(word.text) for word in command)
        if not named and not speaks_of_it(start.words, start.variables):
            return None
        self._mount(template, container, start)
        self._before(template, start)
        return start

    def _environment(self, container: Node, start: Start) -> None:
        for source in items(container, "envFrom"):
            for kind, reference in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                name = text(source, reference, "name")
                if name and (kind, name) not in self._values:
                    start.unseen.append(f"{kind} {name}")
                prefix = text(source, "prefix")
                for key, value in self._values.get((kind, name), {}).items():
                    name_word = Word(prefix + key, value.file, value.line)
                    start.variables.append((name_word, Word(value.text, value.file, value.line, 1, value.known)))
        for entry in items(container, "env"):
            variable = get(entry, "name")
            if not isinstance(variable, Scalar):
                continue
            given = get(entry, "value")
            word = self._from(entry, variable)
            if isinstance(given, Scalar):
                word = Word(given.text, given.file, given.line, given.column)
            start.variables.append((Word(variable.text, variable.file, variable.line, variable.column), word))

    def _from(self, entry: Node, name: Scalar) -> Word:
        """A variable's value that comes from elsewhere."""
        for kind, reference in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
            held = self._values.get((kind, text(entry, "valueFrom", reference, "name")), {})
            value = held.get(text(entry, "valueFrom", reference, "key"))
            if value is not None:
                return Word(value.text, value.file, value.line, 1, value.known)
        return Word("", name.file, name.line, name.column, known="valueFrom" not in _keys(entry))

    def _mount(self, template: Node, container: Node, start: Start) -> None:
        volumes = {text(volume, "name"): volume for volume in items(template, "spec", "volumes")}
        for mount in items(container, "volumeMounts"):
            volume = volumes.get(text(mount, "name"))
            path, part = text(mount, "mountPath"), text(mount, "subPath")
            for kind, reference, key in (("ConfigMap", "configMap", "name"), ("Secret", "secret", "secretName")):
                for name, value in self._values.get((kind, text(volume, reference, key)), {}).items():
                    renamed = {text(item, "key"): text(item, "path") for item in items(volume, reference, "items")}
                    shown = renamed.get(name, name)
                    if not part:
                        start.mounted[f"{path.rstrip('/')}/{shown}"] = value
                    elif part == shown:
                        start.mounted[path] = value
            if volume is None:  # volumes of a chart that is not rendered, or cut off: the file's name has to do
                for values in self._values.values():
                    start.mounted.update({name: value for name, value in values.items() if name == base(path)})

    def _before(self, template: Node, start: Start) -> None:
        labels = {
            key.text: value.text for key, value in pairs(template, "metadata", "labels") if isinstance(value, Scalar)
        }
        services = {
            text(each, "metadata", "name") for each in self._objects
            if text(each, "kind") == "Service" and (wanted := [*pairs(each, "spec", "selector")])
            and all(isinstance(value, Scalar) and labels.get(key.text) == value.text for key, value in wanted)
        }  # fmt: skip
        ingresses = [each for each in self._objects if text(each, "kind") == "Ingress"]
        start.entrances = tuple(found for each in ingresses for found in _entrances(each, services))
        start.guarded = tuple(found for each in ingresses for found in guarded_by(each))


def _entrances(ingress: Mapping, services: set[str]) -> Iterator[Entrance]:
    """The hosts of an Ingress that lead to the proxy."""
    tls = [*items(ingress, "spec", "tls")]
    names = {host.text for each in tls for host in items(each, "hosts") if isinstance(host, Scalar)}
    for rule in items(ingress, "spec", "rules"):
        host = get(rule, "host")
        backends = {text(path, "backend", "service", "name") for path in items(rule, "http", "paths")}
        if isinstance(host, Scalar) and backends & services:
            yield Entrance(host=host.text, tls=bool(tls) and (not names or host.text in names), file=host.file,
                           line=host.line)  # fmt: skip


def guarded_by(ingress: Mapping) -> Iterator[Guarded]:
    """What an Ingress takes over from oauth2-proxy's answers, if it asks it."""
    for key, value in pairs(ingress, "metadata", "annotations"):
        asks = "/oauth2/auth" in text(ingress, "metadata", "annotations", f"{_NGINX}auth-url")
        if asks and key.text == f"{_NGINX}auth-response-headers" and isinstance(value, Scalar):
            headers = tuple(name.strip().lower() for name in value.text.split(",") if name.strip())
            yield Guarded(headers=headers, file=key.file, line=key.line)


def _pods(node: Node) -> Iterator[Node]:
    """The Pod, or the template of Pods, of an object."""
    if isinstance(get(node, "spec", "containers"), Node):
        yield node
        return
    for path in (("spec", "template"), ("spec", "jobTemplate", "spec", "template"), ("spec", "podTemplate")):
        found = get(node, *path)
        if isinstance(get(found, "spec", "containers"), Node) and found is not None:
            yield found


def _held(found: Mapping, kind: str, lines: Several[str]) -> dict[str, Blob]:
    held: dict[str, Blob] = {}
    for field in ("data", "stringData"):
        for key, value in pairs(found, field):
            if not isinstance(value, Scalar):
                continue
            held[key.text] = decoded(value) if kind == "Secret" and field == "data" else blob(value, lines)
    return held


def decoded(node: Scalar) -> Blob:
    """A value of a Secret's `data`: base64 of text, or nothing that is known here."""
    try:
        return Blob(
            base64.b64decode("".join(node.text.split()), validate=True).decode(), node.file, node.line, exact=False
        )
    except (binascii.Error, ValueError):
        return Blob("", node.file, node.line, known=False)


def _keys(node: Node) -> set[str]:
    return {key.text for key, _ in node} if isinstance(node, Mapping) else set()
