"""The documentation, held to the code: every example loads, every key, flag, verb and dependency is explained."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from ostiary.cli.commands import VERBS
from ostiary.dialects import native
from ostiary.dialects.native_schema import ENVIRONMENT, FLAGS, KEYS, PRESETS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()


def blocks(page: Path) -> list[tuple[str, str]]:
    """(where it stands, text) of each YAML block that is a whole configuration of ours."""
    text = page.read_text()
    found = re.finditer(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    native_only = ((m, m[1]) for m in found if re.search(r"^provider:", m[1], re.MULTILINE))
    return [(f"{page.name}:{text.count(chr(10), 0, m.start()) + 1}", block) for m, block in native_only]


EXAMPLES = [pytest.param(text, id=where) for page in PAGES for where, text in blocks(page)]


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_can_be_run_as_it_stands(text: str) -> None:
    config, diagnostics = native.load([("example.yaml", text.encode())], flags={}, env={})
    assert [str(d) for d in diagnostics if "a random secret is used" not in d.message] == []
    assert config is not None


def test_every_provider_of_the_quickstart_takes_ten_lines() -> None:
    examples = blocks(ROOT / "docs" / "quickstart.md")
    assert len(examples) == len(PRESETS) + 1  # and any other issuer
    for where, text in examples:
        assert len([line for line in text.splitlines() if line.strip()]) <= 10, where


@pytest.mark.parametrize("section", [section for section in KEYS if not section.startswith("provider.")])
def test_every_key_is_in_the_table_of_its_section(section: str) -> None:
    title = f"## `{section}`\n" if section else "## Top level\n"
    assert title in CONFIGURATION
    table = CONFIGURATION.partition(title)[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    documented = {key for row in rows for key in re.findall(r"`([a-z0-9_]+)`", row)}
    assert documented == set(KEYS[section])


@pytest.mark.parametrize("preset", PRESETS)
def test_every_key_of_a_preset_is_in_its_row(preset: str) -> None:
    (row,) = [line for line in CONFIGURATION.splitlines() if line.startswith(f"| `{preset}` |")]
    for key in KEYS[f"provider.{preset}"]:
        assert f"`{key}`" in row


def test_every_flag_and_variable_is_listed_with_its_key() -> None:
    for flag, key in FLAGS.items():
        variable = next(name for name, path in ENVIRONMENT.items() if path == key and name.endswith(_suffix(flag)))
        assert f"| `--{flag}` | `{variable}` | `{key}` |" in CONFIGURATION
    for variable, key in ENVIRONMENT.items():
        assert f"| `{variable}` | `{key}` |" in CONFIGURATION


def _suffix(flag: str) -> str:
    return flag.upper().replace("-", "_")


def test_every_verb_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [verb for verb in VERBS if f"| `ostiary {verb}` |" not in readme] == []


def test_every_dependency_has_its_row_and_no_row_is_left_over() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    every = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    needed = {re.split(r"[^A-Za-z0-9_.-]", one)[0] for one in every}
    table = (ROOT / "docs" / "dependencies.md").read_text()
    assert set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)) == needed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target.partition("#")[0]).exists(), target


def test_every_ostiary_log_of_the_documentation_is_understood() -> None:
    from ostiary.cli.log import command
    from ostiary.core.level_change import parse_wanted

    text = (ROOT / "docs" / "logs.md").read_text()
    found = re.findall(r"ostiary log((?: +[^\s|`#\\]+)*)", text)
    assert len(found) > 10
    for line in found:
        with command.make_context("log", shlex.split(line)) as context:
            if context.params["levels"]:
                parse_wanted(context.params["levels"])
