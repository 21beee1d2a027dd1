"""`ostiary doctor --watch` on a real Envoy: it says more for one sign-in, and is as before afterwards."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from peers.level_world import Command, levels, proxy, wait_for
from peers.proxies import Proxy
from waiting import PATIENCE

pytestmark = pytest.mark.peer
UNREACHABLE = "immediate connect error: Network is unreachable|remote address:[2606:4700::6810:a016]:443"
LINES = (
    f'[2026-11-26 02:35:14.685][9][debug][connection] [x.cc:1] [Tags: "ConnectionId":"4"] {UNREACHABLE}\n'
    "[2026-11-26 02:35:14.686][9][warning][oauth2] [x.cc:1769] Responding with 401 Unauthorized. Cause: Failed to get "
    "access token: response code: 503, response body: upstream connect error\n"
)
RAISED = (
    "oauth2", "router", "pool", "connection", "client", "dns", "happy_eyeballs", "multi_connection", "upstream",
    "secret", "config", "jwt",
)  # fmt: skip


class Doctor(Command):
    """`ostiary doctor` instead of `ostiary log`."""

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "ostiary", "doctor", *self.target, *arguments]


@pytest.fixture(scope="module")
def running(envoy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    assert envoy.exists()
    found = proxy("envoy", tmp_path_factory.mktemp("watch"))
    yield found
    found.stop()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "proxy.log"
    path.write_text("older\n")
    return path


@pytest.fixture
def doctor(running: Proxy, log: Path, tmp_path: Path) -> Doctor:
    return Doctor(tmp_path, ["--admin", f"http://127.0.0.1:{running.admin_port}", "--log", str(log)])


def test_it_ends_when_a_sign_in_has_failed(doctor: Doctor, running: Proxy, log: Path) -> None:
    before = levels(running)
    with doctor.start("--watch", "10m", "--json") as process:
        assert process.stderr is not None
        wait_for(lambda: levels(running)["happy_eyeballs"] == "debug")
        assert "sign in now" in process.stderr.readline()
        assert levels(running) == before | dict.fromkeys(RAISED, "debug")
        with log.open("a") as file:
            file.write(LINES)
        out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert json.loads(out)["findings"][0]["rule"] == "dns-family-unreachable"
    assert levels(running) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_everything_goes_back(number: int, doctor: Doctor, running: Proxy) -> None:
    before = levels(running)
    with doctor.start("--watch", "10m") as process:
        wait_for(lambda: levels(running)["oauth2"] == "debug")
        os.kill(process.pid, number)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 130
    assert levels(running) == before


def test_without_a_sign_in_it_ends_in_time(doctor: Doctor, running: Proxy) -> None:
    before = levels(running)
    done = doctor("--watch", "1s")
    assert (done.returncode, levels(running)) == (0, before), done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--log", "x", "--watch", "1s"], "--admin or --pod"),
        (["--admin", "http://127.0.0.1:1", "--watch", "1s"], "--log"),
    ],
)
def test_what_it_needs(arguments: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    done = Doctor(tmp_path, [])(*[str(tmp_path / "x") if each == "x" else each for each in arguments])
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
