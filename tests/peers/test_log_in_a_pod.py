"""`ostiary log --pod`: the incident's commands, through kubectl, to a real Envoy.

kubectl is the real one where it is 1.30 or newer (older ones know no WebSocket), against an API of the tests'; and a
script that stands in for both, everywhere.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from peers.kube_world import CONTEXT, NAMESPACE, POD, SCRIPT, Cluster
from peers.level_world import Command, levels, proxy, wait_for
from peers.proxies import ROOT, Proxy
from waiting import PATIENCE

pytestmark = pytest.mark.peer
_REFUSED = "Responding with 401 Unauthorized. Cause: Failed to get access token"
_INCIDENT = "C[985] address=[2606:4700::6810:a016]:443"


@pytest.fixture(scope="module")
def running(envoy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    assert envoy.exists()
    found = proxy("envoy", tmp_path_factory.mktemp("pod"))
    yield found
    found.stop()


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """What the pod's container prints."""
    path = tmp_path / "container.log"
    path.touch()
    return path


@pytest.fixture(params=["kubectl", "stand-in"])
def log(request: pytest.FixtureRequest, running: Proxy, output: Path, tmp_path: Path) -> Iterator[Command]:
    kubeconfig = tmp_path / "kubeconfig"
    target = ["--pod", f"{NAMESPACE}/{POD}", "--context", CONTEXT, "--kubeconfig", str(kubeconfig)]
    if request.param == "stand-in":
        paths = [str(ROOT / "tests"), str(ROOT / "src")]
        filled = {"PYTHON": sys.executable, "PATHS": repr(paths), "LOG": repr(str(output))}
        filled["PORT"] = str(running.admin_port)
        script = tmp_path / "bin" / "kubectl"
        script.parent.mkdir()
        text = SCRIPT
        for name, value in filled.items():
            text = text.replace(f"@{name}@", value)
        script.write_text(text)
        script.chmod(0o755)
        yield Command(tmp_path / "state", target, str(script.parent))
        return
    _needs_kubectl()
    with Cluster(running.admin_port, output).running() as cluster:
        cluster.write_kubeconfig(kubeconfig)
        found = Command(tmp_path / "state", target)
        found.env["HOME"] = str(tmp_path)
        yield found


def _needs_kubectl() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl here")
    said = subprocess.run(
        ["kubectl", "version", "--client"], check=False, capture_output=True, text=True, timeout=PATIENCE
    )
    version = re.search(r"v1\.(\d+)", said.stdout)
    if version is None or int(version[1]) < 30:
        pytest.skip(f"kubectl is older than 1.30: {said.stdout.strip()[:80]}")


def test_the_incidents_commands(log: Command, running: Proxy) -> None:
    before = levels(running)
    listed = log()
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.splitlines()[0] == f"pod {NAMESPACE}/{POD}:"
    assert "  happy_eyeballs: warning" in listed.stdout.splitlines()
    assert log("--level", "happy_eyeballs:debug").returncode == 0
    assert levels(running) == {**before, "happy_eyeballs": "debug"}
    assert log("--level", "debug").returncode == 0
    assert set(levels(running).values()) == {"debug"}
    assert log("--reset").returncode == 0
    assert levels(running) == before


def test_the_pods_log_is_followed_while_it_says_more(log: Command, running: Proxy, output: Path) -> None:
    before = levels(running)
    with log.start("--level", "happy_eyeballs:debug", "--for", "10m", "--follow") as process:
        assert process.stdout is not None
        wait_for(lambda: levels(running)["happy_eyeballs"] == "debug")
        with output.open("a") as printed:
            printed.write(f"2024-08-09T09:04:46.347021Z\tdebug\tenvoy happy_eyeballs x.cc:33\t{_INCIDENT}\tthread=23\n")
        assert _INCIDENT in process.stdout.readline()
        process.terminate()
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 130
        assert levels(running) == before


def test_what_envoy_refuses_arrives_as_it_is(log: Command, running: Proxy) -> None:
    before = levels(running)
    done = log("--level", "nope:debug")
    assert (done.returncode, "has no logger 'nope'" in done.stderr) == (2, True)
    assert levels(running) == before


@pytest.mark.parametrize(
    ("arguments", "said", "mend"),
    [
        (["--pod", f"{NAMESPACE}/nobody"], 'pods "nobody" not found', "kubectl get pods"),
        (["--container", "nothing"], "container nothing is not valid for pod", "--container names"),
        (["--context", "nowhere"], 'context "nowhere" does not exist', "kubectl config get-contexts"),
    ],
)
def test_kubectls_errors_come_with_a_mend(arguments: list[str], said: str, mend: str, log: Command) -> None:
    done = log(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert mend in done.stderr.partition("Mend: ")[2]


def doctor(log: Command, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "ostiary", "doctor", *log.target, "--json", *arguments]


def test_the_doctor_asks_a_pod(log: Command) -> None:
    done = subprocess.run(doctor(log), check=False, capture_output=True, text=True, timeout=PATIENCE, env=log.env)
    document = json.loads(done.stdout)
    assert (done.returncode, document["findings"]) == (0, []), done.stderr
    (seen,) = document["evidence"]
    assert (seen["source"], seen["state"], seen["version"]) == (f"pod {NAMESPACE}/{POD}", "LIVE", "1.39.3")


def test_the_doctor_watches_a_sign_in_in_a_pod(log: Command, running: Proxy, output: Path) -> None:
    before = levels(running)
    pipe = subprocess.PIPE
    with subprocess.Popen(doctor(log, "--watch", "10m"), stdout=pipe, stderr=pipe, text=True, env=log.env) as process:
        try:
            assert process.stderr is not None
            assert "sign in now" in process.stderr.readline()
            assert levels(running)["happy_eyeballs"] == "debug"
            said = "immediate connect error: Network is unreachable|remote address:[2606:4700::6810:a016]:443"
            with output.open("a") as printed:
                printed.write(f"2024-08-09T09:04:46.347021Z\tdebug\tenvoy connection x.cc:33\t{said}\tthread=23\n")
                printed.write(f"2024-08-09T09:04:46.347022Z\twarning\tenvoy oauth2 x.cc:1\t{_REFUSED}\tthread=23\n")
            out, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert json.loads(out)["findings"][0]["rule"] == "dns-family-unreachable"
    assert levels(running) == before


def test_without_kubectl(tmp_path: Path) -> None:
    log = Command(tmp_path, ["--pod", "a/b"])
    log.env["PATH"] = str(tmp_path)
    done = log("--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no kubectl here: install it" in done.stderr


def test_json_of_a_pod(log: Command, running: Proxy) -> None:
    document = json.loads(log("--json").stdout)
    assert document == {"target": f"pod {NAMESPACE}/{POD}", "levels": levels(running)}


def test_kubectls_own_log_is_no_answer(tmp_path: Path) -> None:
    """Without a cluster it writes lines of its log before it says why, in words, at last."""
    script = tmp_path / "kubectl"
    script.write_text(
        "#!/bin/sh\n"
        'echo \'E1126 04:44:02.924069 14890 memcache.go:265] "Unhandled Error" err="connection refused"\' >&2\n'
        "echo 'The connection to the server localhost:8080 was refused' >&2\nexit 1\n"
    )
    script.chmod(0o755)
    done = Command(tmp_path, ["--pod", "shop/web-1"])
    done.env["PATH"] = f"{tmp_path}:{done.env.get('PATH', '')}"
    said = done()
    assert said.returncode == 1
    assert said.stderr.startswith("ostiary: error: The connection to the server localhost:8080 was refused\n")
    assert "--context chooses" in said.stderr
