"""The rules, one file a family; each is a pure function from a case to findings.

`all_rules` gives them in causal order: what stands earlier explains what stands later. The text of each is a Markdown
page in `pages/`, which `ostiary doctor --explain` prints and `docs/rules/` holds.
"""

from __future__ import annotations

import importlib
from importlib.resources import files
from typing import Final

from ostiary.doctor.rule import Rule

FAMILIES: Final = (
    "configuration", "secrets", "dns", "connection", "tls", "keys", "provider", "flow", "cookies", "tokens", "browser",
)  # fmt: skip
"""Modules of this package in causal order; each has `RULES`."""


def all_rules() -> tuple[Rule, ...]:
    """Every rule, in causal order."""
    found: list[Rule] = []
    for family in FAMILIES:
        found.extend(importlib.import_module(f"{__name__}.{family}").RULES)
    return tuple(found)


def page(name: str) -> str:
    """The Markdown page of a rule. Raises KeyError for a name that is none."""
    where = files(__name__) / "pages" / f"{name}.md"
    if "/" in name or not where.is_file():
        raise KeyError(name)
    return where.read_text(encoding="utf-8")


def title(name: str) -> str:
    """What is wrong, in one line: the page's heading without the name."""
    return page(name).splitlines()[0].removeprefix(f"# {name}: ")
