"""Every fuzz target takes its own seeds, and would notice if Ostiary broke what the target says of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fuzz import configuration, heads, paths, state, tokens
from fuzz import cookies as cookies_target
from fuzz.targets import NAMES, target
from ostiary.core.chunked import ChunkedReader
from ostiary.core.http1 import RequestHead
from ostiary.core.oauth2.cookies import CookiePolicy
from ostiary.core.response import ResponseHead
from ostiary.model.config import Config


@pytest.mark.parametrize("name", NAMES)
def test_a_target_takes_its_seeds(name: str) -> None:
    chosen = target(name)
    assert chosen.SEEDS and chosen.WORDS
    for seed in chosen.SEEDS:
        chosen.one(seed)
        for word in chosen.WORDS:  # and a little beyond them
            chosen.one(seed[: len(seed) // 2] + word + seed[len(seed) // 2 :])


def test_every_module_with_a_target_is_listed() -> None:
    modules = {path.stem for path in Path(__file__).parent.glob("*.py") if "\ndef one(" in path.read_text()}
    assert modules == set(NAMES)


def test_an_input_can_be_looked_at_again(tmp_path: Path) -> None:
    kept = tmp_path / "crash-1"
    kept.write_bytes(heads.SEEDS[0])

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    again = run("heads", str(kept))
    assert (again.returncode, again.stdout) == (0, f"{kept}: nothing found\n"), again.stderr
    unknown = run("heads", str(kept) + "x")
    assert unknown.returncode == 2 and "neither a target nor a file; targets are heads, bodies" in unknown.stderr


def test_seeds_reach_what_they_are_for() -> None:
    """A seed that is refused at the door tests nothing behind it."""
    for seed in (configuration.MINIMAL, configuration.FULL):
        assert isinstance(configuration._native(seed)[0], Config)
    for seed in (configuration.BOOTSTRAP.encode(), configuration.ROUTES, configuration.CLUSTERS):
        assert isinstance(configuration._envoy(seed, False)[0], Config)
    assert tokens._verified(tokens.TOKEN) == tokens.CLAIMS
    received, written, _ = heads._served([heads.SEEDS[1]])
    assert len(received) == 2 and written.count(b"HTTP/1.1 200") == 2
    assert state.ENVOY_COOKIES and state.NATIVE.filter.is_ready


def _take_seeds(name: str) -> None:
    for seed in target(name).SEEDS:
        target(name).one(seed)


def _last(self: RequestHead, *_: Any) -> RequestHead:
    return self


def _renumbered(self: ResponseHead, line: object) -> None:
    self.content_length = id(line)


def _whatever(*_: Any, **__: Any) -> Any:
    return cookies_target.SESSION


BROKEN: dict[str, tuple[str, object, str, object]] = {
    "a head is taken for the last": ("heads", RequestHead, "followed_by", _last),
    "half a line is forgotten": ("bodies", ChunkedReader, "_keep", lambda self, rest: None),
    "a length is read twice": ("answers", ResponseHead, "_special", _renumbered),
    "our cookies pass": ("cookies", CookiePolicy, "is_ours", lambda self, name: False),
    "anything opens": ("cookies", cookies_target, "open_sealed", _whatever),
    "every address is good": ("state", state, "return_url", lambda wanted, *_: wanted),
    "every token is good": ("tokens", tokens, "verify_id_token", lambda *_: {"iss": "https://evil.example"}),
    "a path is read in one way": ("paths", paths, "strict", lambda path: SimpleNamespace(path=path, readings=(path,))),
    "formats let anything through": ("formats", target("formats"), "wire_text", lambda text: "?" + text),
    "the place is lost": ("configuration", configuration, "_COMMENT", b"{\n"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "where", "what", "instead"), BROKEN.values(), ids=BROKEN)
def test_a_defect_is_found(
    name: str, where: object, what: str, instead: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, what, instead)
    with pytest.raises(AssertionError):
        _take_seeds(name)
