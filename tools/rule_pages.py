"""Writes docs/rules/ from the pages that `ostiary doctor --explain` prints: the same text in both places.

python tools/rule_pages.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ostiary.doctor.rules import all_rules, page, title

FOLDER: Final = Path(__file__).parents[1] / "docs" / "rules"
_HEAD: Final = """# What the doctor finds

Each rule names one cause. `ostiary doctor --explain RULE` prints its page, `--list-rules` this list. They stand in
causal order: what comes first explains what comes later.
"""


def build() -> dict[str, str]:
    """File name -> content."""
    rules = all_rules()
    lines = [_HEAD]
    for family in dict.fromkeys(rule.family for rule in rules):
        lines.append(f"## {family}\n")
        lines += [f"- [{rule.name}]({rule.name}.md): {title(rule.name)}" for rule in rules if rule.family == family]
        lines.append("")
    return {"index.md": "\n".join(lines), **{f"{rule.name}.md": page(rule.name) for rule in rules}}


def main() -> None:
    """Write the files, and remove those of rules that are gone."""
    FOLDER.mkdir(exist_ok=True)
    pages = build()
    for old in FOLDER.glob("*.md"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
