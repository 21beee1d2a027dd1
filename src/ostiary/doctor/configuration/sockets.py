"""Patches that change a cluster's transport_socket and something else: Istio merges the socket, and drops the rest.

That holds whatever the patch matches, so the file alone proves it; the mend is a patch of its own for the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ostiary.dialects.schema_values import plain
from ostiary.dialects.yaml_nodes import Mapping, Node
from ostiary.doctor.configuration.walk import at, field, items, text
from ostiary.doctor.facts.configuration import ConfigurationProblem
from ostiary.doctor.facts.origin import Origin
from ostiary.doctor.finding import Edit, Where

_MERGES: Final = ("MERGE", "MERGE_AND_REPLACE_LIST")
_KEPT: Final = ("name", "transport_socket", "transportSocket")


def lost_beside_sockets(documents: Sequence[Node]) -> Iterator[ConfigurationProblem]:
    """The facts of such patches. Documents are counted as edits count them: those that hold something."""
    for number, document in enumerate(documents):
        for index, item in enumerate(items(document, "spec", "configPatches")):
            value = at(item, "patch", "value")
            merges = text(item, "applyTo") == "CLUSTER" and text(item, "patch", "operation") in _MERGES
            if merges and isinstance(value, Mapping) and field(value, "transport_socket") is not None:
                lost = [key.text for key, _ in value if key.text not in _KEPT]
                if lost:
                    yield _problem(document, number, index, item, value, lost)


def _problem(
    document: Node, number: int, index: int, item: Node, value: Mapping, lost: Sequence[str]
) -> ConfigurationProblem:
    path = f"spec.configPatches[{index}].patch.value"
    names = ", ".join(lost)
    owner = f"{text(document, 'metadata', 'namespace') or 'default'}/{text(document, 'metadata', 'name')}"
    operation = text(item, "patch", "operation")
    own = {name: field for name, field in plain(value).items() if name in lost}
    match = at(item, "match")
    patch = {"applyTo": "CLUSTER", **({"match": plain(match)} if match is not None else {})}
    patch["patch"] = {"operation": operation, "value": own}
    removed = [Edit(file=value.file, path=path, document=number, operation="remove", key=name) for name in lost]
    added = Edit(file=value.file, path="spec.configPatches", document=number, operation="append", value=patch)
    return ConfigurationProblem(
        origin=Origin(
            kind="config", source=value.file, line=value.line, quote=f"{path}: {names} beside transport_socket"
        ),
        kind="patch-nothing",
        subject=f"{owner} patch {index + 1} (CLUSTER {operation})",
        message=f"Of a {operation} with a transport_socket Istio merges the socket alone: {names} "
        f"{'is' if len(lost) == 1 else 'are'} dropped.",
        mend="Write the rest into a patch of its own, with the same match.",
        where=Where(file=value.file, line=value.line, path=path),
        document=number,
        edits=(*removed, added),
    )
