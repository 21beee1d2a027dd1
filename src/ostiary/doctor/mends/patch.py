"""Edits to a unified diff."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from ostiary.doctor.finding import Edit, Finding
from ostiary.doctor.mends.secret_lines import secret_lines
from ostiary.doctor.mends.yaml_edit import EditRefused, apply
from ostiary.model.errors import ConfigError

_CONTEXT: Final = 3
"""Lines around a change, as `diff -u` shows."""
_NO_NEWLINE: Final = "\\ No newline at end of file\n"


def with_patches(findings: Iterable[Finding], texts: Mapping[str, str]) -> list[Finding]:
    """The findings, each with the patch that makes its edits; None where no text allows it."""
    return [replace(one, patch=patch_of(one.edits, texts)) if one.edits else one for one in findings]


def together(findings: Iterable[Finding], texts: Mapping[str, str]) -> str | None:
    """One patch for all that can be mended: each edit once; a finding whose edits can't be made with those before it
    is left out."""
    kept: dict[tuple[object, ...], Edit] = {}
    for finding in findings:
        more: dict[tuple[object, ...], Edit] = {
            (edit.file, edit.document, edit.path, edit.operation, edit.key, edit.line): edit for edit in finding.edits
        }
        both = more | kept
        ordered = {key: both[key] for key in (*kept, *more)}
        if more and patch_of([*ordered.values()], texts) is not None:
            kept = ordered
    return patch_of([*kept.values()], texts)


def patch_of(edits: Sequence[Edit], texts: Mapping[str, str]) -> str | None:
    """A unified diff over all files, for `patch -p0`; None if one of the edits can't be made."""
    changed: dict[str, str] = {}
    for edit in sorted(edits, key=lambda each: each.operation != "text"):  # the others may move lines
        before = changed.get(edit.file, texts.get(edit.file))
        if before is None:
            return None
        try:
            changed[edit.file] = in_line(before, edit) if edit.operation == "text" else apply(before, edit)
        except (EditRefused, ConfigError):
            return None
    parts = [_diff(file, texts[file], after) for file, after in changed.items() if after != texts[file]]
    return "".join(part for part in parts if part is not None) if parts and None not in parts else None


def in_line(text: str, edit: Edit) -> str:
    """The text with one thing in one line replaced. Raises EditRefused if that is not there, or there twice."""
    lines = text.split("\n")
    place = edit.line - 1
    if not 0 <= place < len(lines) or lines[place].count(edit.key) != 1 or not edit.key:
        raise EditRefused(f"{edit.file} has no {edit.key} in line {edit.line}")
    lines[place] = lines[place].replace(edit.key, str(edit.value))
    return "\n".join(lines)


def _diff(file: str, before: str, after: str) -> str | None:
    """With three lines of context, or as many as show no secret; None where the change itself would."""
    old, new = _lines(before), _lines(after)
    hidden = secret_lines(before)
    opcodes = difflib.SequenceMatcher(None, old, new).get_opcodes()
    if any(hidden.intersection(range(start, end)) for tag, start, end, _, _ in opcodes if tag != "equal"):
        return None
    context = next((n for n in (_CONTEXT, 2, 1) if not hidden & _shown(old, new, n)), 0)
    lines = difflib.unified_diff(old, new, fromfile=file, tofile=file, n=context)
    return "".join(line if line.endswith("\n") else f"{line}\n{_NO_NEWLINE}" for line in lines)


def _shown(old: list[str], new: list[str], context: int) -> set[int]:
    """The lines of the old text that a diff with so much context shows."""
    groups = difflib.SequenceMatcher(None, old, new).get_grouped_opcodes(context)
    return {line for group in groups for _, start, end, _, _ in group for line in range(start, end)}


def _lines(text: str) -> list[str]:
    """Lines as `patch` counts them: a line feed ends one, and nothing else does."""
    lines = [line + "\n" for line in text.split("\n")]
    last = lines.pop().removesuffix("\n")
    return [*lines, last] if last else lines
