"""What the tests with real peers share: running pairs of proxies, and the count of comparisons at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from peers.compare import Pair
from peers.same_yaml import Tree
from peers.strict_provider import Place, strict_provider

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TALLY: Counter[str] = Counter()


class Fleet:
    """Pairs that run, started when first asked for."""

    def __init__(self, configs: dict[str, Callable[[], Tree]], directory: Path) -> None:
        self.configs = configs
        self.directory = directory
        self.pairs: dict[str, Pair] = {}

    def pair(self, name: str) -> Pair:
        """The running pair of that configuration."""
        if name not in self.pairs:
            pair = Pair(name, self.configs[name](), self.directory)
            try:
                self.pairs[name] = pair.start()
            except RuntimeError:
                pair.stop()
                raise
        return self.pairs[name]

    def stop(self) -> None:
        """Stop all; their logs are complete afterwards."""
        for pair in self.pairs.values():
            pair.stop()


@pytest.fixture(scope="module")
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The pairs of the module's CONFIGS."""
    running = Fleet(request.module.CONFIGS, tmp_path_factory.mktemp(request.module.__name__.rpartition(".")[2]))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def tally() -> Counter[str]:
    """Counts of comparisons, printed at the end."""
    return TALLY


@pytest.fixture
def place(node: Path, oidc_provider: Path, tmp_path: Path) -> Iterator[Place]:
    """npm's oidc-provider, an application, and where the doorkeeper will be."""
    assert oidc_provider.is_dir()
    with strict_provider(node, tmp_path) as running:
        yield running


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line: how much was compared with the real Envoy."""
    if TALLY:
        counts = ", ".join(f"{count} {name}" for name, count in TALLY.items())
        terminalreporter.write_line(f"compared with real Envoy: {counts}")


@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator[Browser]:
    """Chromium."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(
            executable_path=str(chromium), args=["--no-sandbox", "--disable-dev-shm-usage"], timeout=30_000
        )
        yield running
        running.close()
