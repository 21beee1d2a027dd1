"""`ostiary log` on a real Envoy and on Ostiary: what it changes, what it leaves, and that everything goes back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ostiary.core.log_line import parse
from peers.level_world import Command, levels, post, proxy, wait_for
from peers.proxies import Proxy, envoy_arguments
from waiting import PATIENCE

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module", params=["envoy", "ostiary"])
def running(request: pytest.FixtureRequest, envoy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    assert envoy.exists()
    found = proxy(request.param, tmp_path_factory.mktemp("levels"))
    yield found
    found.stop()


@pytest.fixture
def before(running: Proxy) -> dict[str, str]:
    """The levels before the test: those that the proxy was started with, but for one that somebody has changed."""
    post(running, "/logging?level=warning")
    post(running, "/logging?paths=misc:error,oauth2:info,dns:debug")
    return levels(running)


@pytest.fixture
def log(running: Proxy, tmp_path: Path) -> Command:
    return Command(tmp_path, ["--admin", f"http://127.0.0.1:{running.admin_port}"])


def test_the_list_is_istioctls(before: dict[str, str], log: Command, running: Proxy) -> None:
    done = log()
    assert (done.returncode, done.stderr) == (0, "")
    head, rest = done.stdout.split("\n", 1)
    assert head == f"http://127.0.0.1:{running.admin_port}:"
    assert rest == "active loggers:\n" + "".join(f"  {name}: {level}\n" for name, level in before.items())
    document = json.loads(log("--json").stdout)
    assert document == {"target": head.rstrip(":"), "levels": before}


def test_levels_are_set_and_nothing_else(before: dict[str, str], log: Command, running: Proxy) -> None:
    done = log("--level", "happy_eyeballs:debug,ns::connection=trace")
    assert done.returncode == 0
    assert done.stdout.splitlines()[1:] == [
        "  happy_eyeballs: debug (was warning)", "  connection: trace (was warning)",
    ]  # fmt: skip
    assert levels(running) == {**before, "happy_eyeballs": "debug", "connection": "trace"}
    log("--level", "http:debug,warn")
    assert levels(running) == dict.fromkeys(before, "warning") | {"http": "debug"}


def test_many_that_change_alike_are_counted(before: dict[str, str], log: Command, running: Proxy) -> None:
    alike = sum(level == "warning" for name, level in before.items() if name != "oauth2")
    lines = log("--level", "debug,oauth2:trace").stdout.splitlines()
    assert f"  oauth2: trace (was {before['oauth2']})" in lines
    assert lines[-1] == f"  {alike} loggers: debug (were warning)" and len(lines) < 5


def test_what_changed_is_said_at_once(before: dict[str, str], log: Command, running: Proxy) -> None:
    """In a pipe too, long before the levels go back."""
    with log.start("--level", "oauth2:debug", "--for", "10m") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{log.target[1]}:\n"
        assert process.stdout.readline() == f"  oauth2: debug (was {before['oauth2']})\n"
        process.terminate()
        process.communicate(timeout=PATIENCE)
        assert levels(running) == before


def test_reset_goes_back_to_before_the_first_change(before: dict[str, str], log: Command, running: Proxy) -> None:
    log("--level", "debug")
    log("--level", "trace,oauth2:off")
    assert levels(running)["oauth2"] == "off"
    done = log("--reset")
    assert (done.returncode, done.stdout.splitlines()[0].partition(": ")[2]) == (0, "as before the first change")
    assert levels(running) == before
    assert not list(Path(log.env["XDG_STATE_HOME"]).rglob("*.json"))


def test_a_mistake_is_refused_before_anything_changes(before: dict[str, str], log: Command, running: Proxy) -> None:
    done = log("--level", "dns:trace,oauth:debug")
    assert (done.returncode, done.stdout) == (2, "")
    assert "this proxy has no logger 'oauth': did you mean oauth2?" in done.stderr
    assert levels(running) == before


def test_for_a_while(before: dict[str, str], log: Command, running: Proxy) -> None:
    with log.start("--level", "debug,oauth2:trace", "--for", "1s") as process:
        wait_for(lambda: levels(running)["oauth2"] == "trace")
        assert process.communicate(timeout=PATIENCE)[1].startswith("put back: ")
        assert process.returncode == 0
        assert levels(running) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_goes_back_all_the_same(
    number: int, before: dict[str, str], log: Command, running: Proxy
) -> None:
    with log.start("--level", "trace", "--for", "10m") as process:
        wait_for(lambda: set(levels(running).values()) == {"trace"})
        os.kill(process.pid, number)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 130
        assert levels(running) == before


def test_a_log_is_followed_meanwhile_also_over_a_rotation(
    before: dict[str, str], log: Command, running: Proxy, tmp_path: Path
) -> None:
    file = tmp_path / "proxy.log"
    file.write_text("old\n")
    with log.start("--level", "oauth2:debug", "--for", "10m", "--follow", "--log", str(file)) as process:
        assert process.stdout is not None
        wait_for(lambda: levels(running)["oauth2"] == "debug")
        with file.open("a") as grown:
            grown.write("first\nsec")
            grown.flush()
            assert process.stdout.readline() == "first\n"
            grown.write("ond\n")
            grown.flush()
            assert process.stdout.readline() == "second\n"
        file.rename(tmp_path / "proxy.log.1")
        file.write_text("third\n")
        assert process.stdout.readline() == "third\n"
        process.terminate()
        process.communicate(timeout=PATIENCE)
        assert levels(running) == before


def test_who_reads_no_more_does_not_keep_the_levels(
    before: dict[str, str], log: Command, running: Proxy, tmp_path: Path
) -> None:
    file = tmp_path / "proxy.log"
    file.touch()
    with log.start("--level", "oauth2:debug", "--for", "10m", "--follow", "--log", str(file)) as process:
        assert process.stdout is not None
        wait_for(lambda: levels(running)["oauth2"] == "debug")
        process.stdout.close()
        with file.open("a") as grown:
            grown.write("line\n")
        process.wait(PATIENCE)
        assert levels(running) == before
        assert process.stderr is not None
        process.stderr.close()


def test_as_json(before: dict[str, str], log: Command) -> None:
    document = json.loads(log("--level", "dns:trace", "--json").stdout)
    assert document["changed"] == {"dns": {"from": "debug", "to": "trace"}}
    assert document["levels"] == {**before, "dns": "trace"}
    document = json.loads(log("--level", "dns:off", "--for", "0.1s", "--json").stdout)
    assert (document["restored"], document["levels"]["dns"]) == (True, "trace")


@pytest.mark.parametrize("kind", ["envoy", "ostiary"])
def test_without_memory_reset_goes_back_to_the_start(kind: str, envoy: Path, tmp_path: Path) -> None:
    assert envoy.exists()
    running = proxy(kind, tmp_path)
    try:
        fresh = levels(running)
        post(running, "/logging?level=debug")
        log = Command(tmp_path, ["--admin", f"127.0.0.1:{running.admin_port}"])
        done = log("--reset")
        assert (done.returncode, done.stdout.splitlines()[0].partition(": ")[2]) == (0, "as it was started")
        assert levels(running) == fresh
        assert (fresh["misc"], fresh["oauth2"], fresh["dns"]) == ("error", "info", "warning")
    finally:
        running.stop()


def test_every_worker_of_ostiary_follows_also_one_that_is_started_later(tmp_path: Path) -> None:
    running = proxy("ostiary", tmp_path)

    def workers() -> set[str]:
        """Those that have logged a request to the listener."""
        urllib.request.urlopen(f"http://127.0.0.1:{running.ports[0]}/", timeout=PATIENCE).close()
        said = (parse(line) for line in running.output().splitlines())
        return {line.thread for line in said if line is not None and line.message == "new stream"}

    try:
        assert not workers()
        Command(tmp_path, ["--admin", f"127.0.0.1:{running.admin_port}"])("--level", "http:debug")
        wait_for(lambda: len(workers()) == 2)
        os.kill(int(min(workers())), signal.SIGKILL)
        wait_for(lambda: len(workers()) == 3)
    finally:
        running.stop()


def test_an_admin_api_on_a_unix_socket(envoy: Path, tmp_path: Path) -> None:
    assert envoy.exists()
    config, path = tmp_path / "envoy.yaml", tmp_path / "admin"
    config.write_text(f"admin: {{address: {{pipe: {{path: {path}}}}}}}\n")
    with subprocess.Popen([*envoy_arguments(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            wait_for(path.exists)
            log = Command(tmp_path, ["--admin", f"unix:{path}"])
            assert log("--level", "dns:trace").returncode == 0
            assert "  dns: trace" in log().stdout.splitlines()
        finally:
            running.terminate()


def test_nobody_there(tmp_path: Path) -> None:
    done = Command(tmp_path, ["--admin", "http://127.0.0.1:9"])()
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing listens at http://127.0.0.1:9" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--follow"], "--log FILE names the proxy's"),
        (["--for", "5"], "--level says what"),
        (["--for", "soon", "--level", "debug"], "'soon' is no time"),
        (["--level", "debug", "--reset"], "exclude each other"),
        (["--admin", "ftp://x"], "no address of an admin port"),
        (["--admin", "127.0.0.1:99999"], "no address of an admin port"),
        (["--follow", "--log", "/nowhere/to/be/found"], "'/nowhere/to/be/found' does not exist"),
        (["--log", "/dev/null"], "add --follow"),
        (["--pod", "a/"], "names no pod"),
        (["--level", "dns:lout"], "'lout' is not a level"),
    ],
)
def test_wrong_usage_says_what_to_write(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = Command(tmp_path, [])(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
