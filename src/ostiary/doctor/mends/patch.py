"""Edits to a unified diff."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ostiary.doctor.finding import Edit, Finding
from ostiary.doctor.mends.yaml_edit import EditRefused, apply
from ostiary.model.errors import ConfigError

_NO_NEWLINE = "\\ No newline at end of file\n"


def with_patches(findings: Iterable[Finding], texts: Mapping[str, str]) -> list[Finding]:
    """The findings, each with the patch that makes its edits; None where no text allows it."""
    return [replace(one, patch=patch_of(one.edits, texts)) if one.edits else one for one in findings]


def all_edits(findings: Iterable[Finding]) -> tuple[Edit, ...]:
    """Every edit once, in the order of the findings: what mends everything that can be mended in a file."""
    unique: dict[tuple[str, int, str, str, str], Edit] = {}
    for finding in findings:
        for edit in finding.edits:
            unique.setdefault((edit.file, edit.document, edit.path, edit.operation, edit.key), edit)
    return tuple(unique.values())


def patch_of(edits: Sequence[Edit], texts: Mapping[str, str]) -> str | None:
    """A unified diff over all files, for `patch -p0`; None if one of the edits can't be made."""
    changed: dict[str, str] = {}
    for edit in edits:
        before = changed.get(edit.file, texts.get(edit.file))
        if before is None:
            return None
        try:
            changed[edit.file] = apply(before, edit)
        except (EditRefused, ConfigError):
            return None
    parts = [_diff(file, texts[file], after) for file, after in changed.items() if after != texts[file]]
    return "".join(parts) or None


def _diff(file: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(_lines(before), _lines(after), fromfile=file, tofile=file)
    return "".join(line if line.endswith("\n") else f"{line}\n{_NO_NEWLINE}" for line in lines)


def _lines(text: str) -> list[str]:
    """Lines as `patch` counts them: a line feed ends one, and nothing else does."""
    lines = [line + "\n" for line in text.split("\n")]
    last = lines.pop().removesuffix("\n")
    return [*lines, last] if last else lines
