"""A configuration that has been read by the schema: typed values, each with its place, and a memory of what was asked
for.

The promise of a dialect is "accepted in full, or refused out loud". Nobody keeps such a promise by listing what is
refused: the list is always short of one. So a `Message` remembers every field that a conversion took out of it, and
whatever was written but never taken is reported (`unread`). A forgotten field is then an error that a user sees, not
a setting that silently does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ostiary.dialects.schema import MessageType, schema
from ostiary.dialects.yaml_nodes import Node, Scalar
from ostiary.model.errors import Diagnostic, Severity

Choice = TypeVar("Choice", bound=str)

NOT_IMPLEMENTED = "valid in Envoy, not implemented in Ostiary"


class Report:
    """The diagnostics of one load."""

    def __init__(self, *, ignore_unsupported: bool = False) -> None:
        self.diagnostics: list[Diagnostic] = []
        self._seen: set[Diagnostic] = set()
        self._unsupported: Severity = "warning" if ignore_unsupported else "error"

    def add(self, node: Node, path: str, message: str, mend: str = "", severity: Severity = "error") -> None:
        """One more finding at the place of `node`."""
        found = Diagnostic(
            file=node.file,
            line=node.line,
            column=node.column,
            severity=severity,
            path=path,
            message=message,
            mend=mend,
        )
        if found not in self._seen:
            self._seen.add(found)
            self.diagnostics.append(found)

    def unsupported(self, node: Node, path: str, mend: str = "") -> None:
        """Something Envoy has and Ostiary has not."""
        message = NOT_IMPLEMENTED + (": ignored" if self._unsupported == "warning" else "")
        self.add(node, path, message, mend, self._unsupported)

    @property
    def failed(self) -> bool:
        """True if there is an error among them."""
        return any(found.severity == "error" for found in self.diagnostics)


class Message:
    """One message as it is written. Values: text (also for enums: the name), int, float (also durations: seconds),
    bool, bytes, Message (also for Any: of the type it names), list, dict."""

    __slots__ = ("_values", "broken", "keys", "node", "path", "report", "taken", "type")

    def __init__(self, kind: MessageType | None, node: Node, path: str, report: Report) -> None:
        self.type = kind
        """None for what has no fields of its own: an Any that names no type."""
        self.node = node
        self.path = path
        self.keys: dict[str, Scalar] = {}
        """The key of each written field, for its place."""
        self.broken: set[str] = set()
        """Fields that have been reported already: what follows from their absence is not news."""
        self.taken: set[str] = set()
        self.report = report
        self._values: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """The message's full name; empty if it has none."""
        return self.type.name if self.type else ""

    def put(self, field: str, value: Any) -> None:
        """The reader's: a value has been read."""
        self._values[field] = value

    def written(self) -> Mapping[str, Any]:
        """Every field that has a value."""
        return self._values

    def has(self, field: str) -> bool:
        """True if the field is written, with whatever value; does not count as taking it."""
        return field in self._values

    def take(self, field: str) -> Any:
        """The value, or None if it is not written."""
        if self.type is not None and field not in self.type.fields:
            raise KeyError(f"{self.name} has no field {field}")
        self.taken.add(field)
        return self._values.get(field)

    def text(self, field: str, default: str = "") -> str:
        """A string, or an enum's value by name."""
        value = self.take(field)
        return value if isinstance(value, str) else default

    def boolean(self, field: str, default: bool = False) -> bool:
        """A bool or BoolValue."""
        value = self.take(field)
        return value if isinstance(value, bool) else default

    def integer(self, field: str, default: int = 0) -> int:
        """Any integer type or its wrapper."""
        value = self.take(field)
        return value if isinstance(value, int) else default

    def duration(self, field: str, default: float = 0.0) -> float:
        """A duration in seconds."""
        value = self.take(field)
        return float(value) if isinstance(value, float | int) else default

    def optional_duration(self, field: str) -> float | None:
        """A duration in seconds, None if it is not written."""
        value = self.take(field)
        return float(value) if isinstance(value, float | int) else None

    def choice(self, field: str, choices: Sequence[Choice], mend: str = "") -> Choice:
        """An enum of which Ostiary has `choices`; the first is what an absent or unsupported value becomes."""
        value = self.take(field)
        for known in choices:
            if value == known:
                return known
        if value is not None:
            self.report.unsupported(self.place(field), self.at(field), mend or f"use one of {', '.join(choices)}")
        return choices[0]

    def message(self, field: str) -> Message | None:
        """A message, None if it is not written."""
        value = self.take(field)
        return value if isinstance(value, Message) else None

    def required(self, field: str) -> Message:
        """A message without which nothing works; an empty one, reported, if it is not there."""
        found = self.message(field)
        if found is None:
            self.problem(field, "is required")
            found = Message(None, self.node, self.at(field), self.report)
            found.broken.add("")  # reported: what is missing in it is not news
        return found

    def optional(self, field: str) -> Message:
        """A message, an empty one if it is not written: all its fields have their defaults."""
        return self.message(field) or Message(None, self.node, self.at(field), self.report)

    def messages(self, field: str) -> list[Message]:
        """A repeated message."""
        value = self.take(field)
        return value if isinstance(value, list) else []

    def texts(self, field: str) -> tuple[str, ...]:
        """A repeated string."""
        value = self.take(field)
        return tuple(value) if isinstance(value, list) else ()

    def map(self, field: str) -> dict[str, Any]:
        """A map."""
        value = self.take(field)
        return value if isinstance(value, dict) else {}

    def ignore(self, *fields: str) -> None:
        """These fields change nothing here: count them as taken, with all they hold."""
        for field in fields:
            taken = self.take(field)
            for inner in taken if isinstance(taken, list) else [taken]:
                if isinstance(inner, Message):
                    inner.ignore(*inner.written())

    def at(self, field: str | None) -> str:
        """The path of a field."""
        return self.path if field is None else f"{self.path}.{field}" if self.path else field

    def place(self, field: str | None) -> Node:
        """Where a field is written, or the message itself."""
        return self.keys.get(field, self.node) if field is not None else self.node

    def problem(self, field: str | None, message: str, mend: str = "", severity: Severity = "error") -> None:
        """Report something about a field or the whole message, unless it follows from an earlier report."""
        if field in self.broken or (field is None and self.broken and severity == "error"):
            return
        self.report.add(self.place(field), self.at(field), message, mend, severity)

    def unsupported(self, field: str | None, mend: str = "") -> None:
        """Report that a field, or the whole message, is not implemented, and count it as taken."""
        self.report.unsupported(self.place(field), self.at(field), mend)
        for name in self._values if field is None else [field]:
            self.ignore(name)

    def __repr__(self) -> str:
        return f"<Message {self.name} {' '.join(self._values)}>"


def unread(message: Message, report: Report, mends: Mapping[str, str]) -> None:
    """Report every field below `message` that is written, says something, and was never taken.

    `mends` gives the nearest thing that works by `message.field` or by `message`.
    """
    for name, value in message.written().items():
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
        if name in message.taken:
            for item in inner:
                if isinstance(item, Message):
                    unread(item, report, mends)
        elif not _is_default(message, name, value):
            mend = mends.get(f"{message.name}.{name}", "")
            if not mend and len(held := [item for item in inner if isinstance(item, Message)]) == 1:
                mend = mends.get(held[0].name, "")
            report.unsupported(message.place(name), message.at(name), mend)


def _is_default(message: Message, name: str, value: Any) -> bool:
    """True for what means the same as not writing it: proto3's defaults of fields without presence."""
    field = message.type.fields[name] if message.type else None
    if field is None or (field.type == "message" and not field.cardinality) or field.oneof:
        return False
    if field.type == "enum" and not field.cardinality:
        return schema().enum(field.reference).get(value) == 0
    return value in (False, 0, "", b"", [], {})
