"""A config_dump in a file, as `curl`, istioctl and egctl save it: what a proxy that is not at hand said of itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec
import yaml

from ostiary.doctor.facts.configuration import OAuth2Seen
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.live.configuration import cluster_names, unknown_clusters
from ostiary.doctor.live.fetch import Documents
from ostiary.doctor.live.state import state_facts

_SIGN: Final = re.compile(rb"ConfigDump\b")
_ALIAS: Final = re.compile(rb"[\s:\[,-][&*]\w")
_DEPTH: Final = 5
"""egctl writes a dump below the names of its namespace and pod."""
_HUMP: Final = re.compile(r"(?<=[a-z0-9])([A-Z])")


def dump_facts(name: str, content: bytes, read: Sequence[Fact]) -> list[Fact]:
    """What warms, was refused or names a cluster that isn't there; nothing for a file that is no dump.

    `read` are the facts that its clusters and filters gave already.
    """
    return [*_facts(name, content, read)] if _SIGN.search(content) is not None else []


def _facts(name: str, content: bytes, read: Sequence[Fact]) -> Iterator[Fact]:
    for dump in _dumps(_parsed(content), _DEPTH):
        body = msgspec.json.encode(_plain(dump))
        documents = Documents(name, dict.fromkeys(("cluster_dump", "listener_dump", "secret_dump"), body))
        for fact in state_facts(documents):
            yield replace(fact, origin=replace(fact.origin, kind="config", source=name))
        filters = [fact for fact in read if isinstance(fact, OAuth2Seen) and fact.origin.source == name]
        yield from unknown_clusters(filters, cluster_names(documents))


def _parsed(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError):
        pass
    if _ALIAS.search(content) is not None:
        return None  # no tool writes one into a dump, and what they stand for has no bound
    try:
        return yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None


def _dumps(data: Any, depth: int) -> Iterator[dict[str, Any]]:
    if not isinstance(data, dict):
        return
    if isinstance(data.get("configs"), list):
        yield data
    elif depth:
        for value in data.values():
            yield from _dumps(value, depth - 1)


def _plain(value: Any) -> Any:
    """With protobuf's names of fields, whichever way they were written."""
    if isinstance(value, dict):
        return {_HUMP.sub(lambda hump: f"_{hump[1].lower()}", str(key)): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value
