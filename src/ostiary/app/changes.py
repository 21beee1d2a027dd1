"""What a new configuration adds, changes and removes, in one line for the log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from ostiary.model.config import Config
from ostiary.model.tls import DataSource


def changes(before: Config, after: Config) -> str:
    """`listener a added; cluster b changed; secret c removed`, or that nothing has."""
    said = [
        *_said("listener", _named(before.listeners), _named(after.listeners)),
        *_said("cluster", _named(before.clusters), _named(after.clusters)),
        *_said("secret", dict(_secrets(before, "")), dict(_secrets(after, ""))),
    ]
    return "; ".join(said) or "nothing changed"


def needs_restart(old: Config, new: Config) -> list[str]:
    """What the new configuration says that a process can't take over while it runs, as sentences for the log."""
    shared = {str(each.address): each for each in old.listeners}
    found = []
    for each in new.listeners:
        same = shared.get(str(each.address))
        if same is not None and (same.reuse_port, same.address.mode) != (each.reuse_port, each.address.mode):
            text = f"how {each.address} is bound has changed too; that needs a restart: it is open, and stays so"
            found.append(text)
    return found


def _named(values: Iterable[Any]) -> dict[str, Any]:
    return {each.name: each for each in values}


def _said(kind: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    for what, names in (
        ("added", new.keys() - old.keys()),
        ("changed", {name for name in new.keys() & old.keys() if new[name] != old[name]}),
        ("removed", old.keys() - new.keys()),
    ):
        if names:
            yield f"{kind}{'s' if len(names) > 1 else ''} {', '.join(sorted(names))} {what}"


def _secrets(value: object, path: str) -> Iterator[tuple[str, DataSource]]:
    """Everything that is read from files or written as a secret: by its file's name, or by where it stands."""
    if isinstance(value, DataSource):
        yield value.filename or path.strip("."), value
    elif isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            yield from _secrets(getattr(value, field), f"{path}.{field}")
    elif isinstance(value, tuple):
        for each in value:
            yield from _secrets(each, f"{path}.{getattr(each, 'name', '')}".rstrip("."))
