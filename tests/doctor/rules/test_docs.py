"""docs/rules/ holds the pages that the doctor prints."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_pages_are_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("rule_pages", ROOT / "tools" / "rule_pages.py")
    assert spec is not None and spec.loader is not None
    tool = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    there = {path.name: path.read_text(encoding="utf-8") for path in tool.FOLDER.glob("*.md")}
    assert there == tool.build(), "run: python tools/rule_pages.py"
