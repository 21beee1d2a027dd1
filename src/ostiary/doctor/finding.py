"""What a rule found: the cause, its proof, and what mends it. The JSON keys are the interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Severity = Literal["error", "warning", "info"]
Confidence = Literal["certain", "likely", "possible"]
Value: TypeAlias = "str | int | float | bool | list[Value] | dict[str, Value] | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A place in a file."""

    file: str
    line: int
    """1-based."""
    path: str = ""
    """The key's path from the document's root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One change of a configuration file, for `doctor.mends` to turn into a patch."""

    file: str
    path: str
    """The path of the mapping or list that changes, from the root of its document."""
    document: int = 0
    """Which document of the file, counted from 0."""
    operation: Literal["set", "remove", "replace", "append", "text"] = "set"
    """`set` writes `key: value` into the mapping and makes what of the path is missing, `remove` takes the key out,
    `replace` puts `value` in the place of what the path leads to, `append` adds it to the list there. `text` puts
    `value` in the place of the text `key` in that line of a file of any kind."""
    line: int = 0
    """1-based; of a `text`."""
    key: str = ""
    value: Value = None
    comment: str = ""
    """Why, in a few words; written behind the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong."""

    rule: str
    severity: Severity
    title: str
    """One line, with the names of this case."""
    cause: str
    """What happens and why, in a sentence or two."""
    proof: tuple[str, ...]
    """The evidence, each as one line that names its source. Never empty, never a secret."""
    mend: str
    """What to do, in words; commands where no file can be patched."""
    confidence: Confidence
    where: Where | None = None
    edits: tuple[Edit, ...] = ()
    patch: str | None = None
    """A unified diff; made from `edits` once the files are at hand."""
    subject: str = ""
    """What it is about (a cluster, a host, a file); a rule explains another's finding only on the same subject."""

    proxies: tuple[str, ...] = ()
    """Of several proxies that were asked: those of which it is true; empty where it is true of all or there is one."""

    def as_dict(self) -> dict[str, Any]:
        """The object of `ostiary doctor --json`."""
        where = self.where
        return {
            "rule": self.rule,
            "severity": self.severity,
            "title": self.title,
            "cause": self.cause,
            "proof": list(self.proof),
            "where": where and {"file": where.file, "line": where.line, "path": where.path},
            "mend": self.mend,
            "patch": self.patch,
            "confidence": self.confidence,
            "see": f"rules/{self.rule}",
            **({"proxies": list(self.proxies)} if self.proxies else {}),
        }
