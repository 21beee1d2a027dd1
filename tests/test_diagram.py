"""The diagram in docs/happy-eyeballs.md is what the machine does today."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    path = ROOT / "tools" / "happy_eyeballs_diagram.py"
    spec = importlib.util.spec_from_file_location("happy_eyeballs_diagram", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_diagram_is_up_to_date(tool: ModuleType) -> None:
    assert tool.FILE.read_bytes() == tool.build(), "run: python tools/happy_eyeballs_diagram.py"


def test_it_tells_the_story_that_the_page_tells(tool: ModuleType) -> None:
    trace = tool.World().run()
    dead, winner = trace.attempts[:2]
    assert dead.started == pytest.approx(0.040), "AAAA was waited for, less than the Resolution Delay"
    assert winner.started == pytest.approx(0.240), "200 ms later"
    assert (dead.outcome, winner.outcome, winner.family, winner.stage) == ("cancelled", "won", "v4", "tls")
    assert trace.attempts[2].outcome == "not_started"


def test_it_is_an_image_that_stands_alone(tool: ModuleType) -> None:
    root = ElementTree.fromstring(tool.FILE.read_bytes())
    assert root.tag == f"{SVG}svg" and root.find(f"{SVG}title") is not None
    assert len(root.findall(f"{SVG}g")) == 5
    assert not [node for node in root.iter() if node.tag in (f"{SVG}script", f"{SVG}image")]
    assert b"prefers-color-scheme: dark" in tool.FILE.read_bytes()
