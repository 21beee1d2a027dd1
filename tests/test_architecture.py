"""The house rules that a reader would otherwise have to trust: layers, purity of the core, sizes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "ostiary"
FILES = sorted(SOURCE.rglob("*.py"))
LAYERS = {
    "_version": 0,
    "model": 0,
    "core": 1,
    "pages": 1,
    "dialects": 2,
    "report": 2,
    "net": 3,
    "testing": 4,
    "app": 4,
    "admin": 5,
    "authz": 5,
    "doctor": 5,
    "asgi": 5,
    "cli": 6,
    "__main__": 7,
}
"""Imports point strictly downward; packages of one level do not know each other."""
ALLOWED = {
    ("app", "testing"): "app/demo.py composes the demo out of both",
}
MAX_FILE_LINES = 400
LONGER: dict[str, int] = {}
"""Files that hold one state machine each, and would be harder to follow in two."""
MAX_FUNCTION_LINES = 60
IMPURE = frozenset(
    ("asyncio", "socket", "ssl", "time", "os", "random", "logging", "secrets", "select", "threading", "subprocess")
)
"""What the core must not import: it would no longer be a function of its arguments."""


def _name(path: Path) -> str:
    return ".".join(("ostiary", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")


def _layer(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def _imports(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


TREES = {_name(path): ast.parse(path.read_text()) for path in FILES}
MODULES = frozenset(TREES)


def _module_of(imported: str) -> str | None:
    """The module of ours that an import names: `ostiary.a.b.Thing` is `ostiary.a.b`."""
    while imported.startswith("ostiary"):
        if imported in MODULES:
            return imported
        imported = imported.rpartition(".")[0]
    return None


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_downward(module: str) -> None:
    layer = _layer(module)
    if not layer:
        return  # the package's own door imports lazily what it offers
    for imported in _imports(TREES[module]):
        target = _module_of(imported)
        other = _layer(target) if target else ""
        if not other or other == layer or (layer, other) in ALLOWED:
            continue
        assert LAYERS[other] < LAYERS[layer], f"{module} imports {target}: {other} is not below {layer}"


@pytest.mark.parametrize("module", sorted(m for m in MODULES if _layer(m) in ("core", "model")))
def test_the_core_does_no_input_and_no_output(module: str) -> None:
    used = {imported.split(".")[0] for imported in _imports(TREES[module])}
    assert used.isdisjoint(IMPURE), used & IMPURE


def _top_level_imports(module: str) -> set[str]:
    body = [node for node in TREES[module].body if isinstance(node, ast.Import | ast.ImportFrom)]
    found = {_module_of(imported) for imported in _imports(ast.Module(body=list(body), type_ignores=[]))}
    return {target for target in found if target is not None and target != module}


def test_no_import_goes_round_in_a_circle() -> None:
    graph = {module: _top_level_imports(module) for module in MODULES}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module not in done:
            for target in sorted(graph[module]):
                visit(target, (*trail, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_and_functions_can_be_read_at_a_sitting(path: Path) -> None:
    lines = path.read_text().count("\n")
    assert lines <= LONGER.get(str(path.relative_to(SOURCE)), MAX_FILE_LINES), f"{path.name} has {lines} lines"
    for node in ast.walk(TREES[_name(path)]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            lines = (node.end_lineno or first.lineno) - first.lineno + 1  # without signature and docstring
            assert lines <= MAX_FUNCTION_LINES, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_public_things_say_what_they_are(module: str) -> None:
    if not TREES[module].body:
        return
    assert ast.get_docstring(TREES[module]), f"{module} has no docstring"
    for node in TREES[module].body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{module}.{node.name} has no docstring"


def test_a_limit_is_set_in_one_place() -> None:
    names = [
        node.target.id
        for module, tree in TREES.items()
        if module.startswith("ostiary.model.limits.")
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    assert len(names) > 100
    assert len(names) == len(set(names))


@pytest.mark.parametrize("package", ["net", "app"])
def test_the_map_of_a_large_package_shows_every_file(package: str) -> None:
    text = ast.get_docstring(TREES[f"ostiary.{package}"]) or ""
    shown = set(re.findall(r"`([a-z0-9_]+)`", text))
    assert shown == {path.stem for path in (SOURCE / package).glob("*.py")} - {"__init__"}
