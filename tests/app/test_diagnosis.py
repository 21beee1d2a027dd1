"""A doorkeeper that can't reach its provider says why, once, with the mend; nobody waits for it."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ostiary.app.diagnosis import Diagnosis
from ostiary.core.trace import ConnectTrace
from ostiary.dialects import native
from ostiary.doctor.at_hand import explanation, findings_of
from ostiary.model.clusters import Cluster, Endpoint
from ostiary.net.connect_error import ConnectError
from ostiary.net.connector import Connector
from waiting import PATIENCE

FILE = """\
listen: 127.0.0.1:0
upstream: http://127.0.0.1:9
provider: {{issuer: 'http://127.0.0.1:{port}', client_id: app}}
secret: 0123456789abcdef0123456789abcdef
"""
FINDING = re.compile(r"\[warning\]\[oauth2\].* (\S+) refuses the connection\. .* Mend: .*--explain tcp-refused\)")


@contextmanager
def run(path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "ostiary", "run", "-c", str(path)], stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def test_the_finding_is_logged_once_after_the_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = tmp_path / "ostiary.yaml"
    path.write_text(FILE.format(port=port))
    with run(path) as process:
        assert process.stderr is not None
        lines: list[str] = []
        while not (lines and FINDING.search(lines[-1])):
            lines.append(process.stderr.readline())
            assert lines[-1], lines
    started = next(index for index, line in enumerate(lines) if "listening on" in line)
    found = [index for index, line in enumerate(lines) if FINDING.search(line)]
    assert len(found) == 1 and found[0] > started
    assert f"127.0.0.1:{port}" in lines[found[0]]


def failed(host: str, port: int) -> ConnectTrace:
    async def main() -> ConnectTrace:
        connector = Connector(linger=0.0)
        try:
            await connector.connect(host, port, asyncio.Protocol, timeout=2.0)
        except ConnectError as error:
            return error.trace
        finally:
            connector.close()
        raise AssertionError("there is a connection")

    return asyncio.run(main())


@pytest.fixture
def refused() -> ConnectTrace:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return failed("127.0.0.1", port)


def test_what_is_at_hand_is_judged_by_the_doctor_s_rules(refused: ConnectTrace) -> None:
    assert [each.rule for each in findings_of(None, refused)] == ["tcp-refused"]
    assert explanation(None, refused).endswith("(ostiary doctor --explain tcp-refused)")


def test_the_cluster_s_own_settings_count() -> None:
    trace = ConnectTrace(target="login.example:443", started=0.0)
    cluster = Cluster(
        name="idp", type="LOGICAL_DNS", connect_timeout=5.0, endpoints=(Endpoint(address="login.example", port=443),)
    )
    assert explanation(cluster, trace).startswith("Plain HTTP is sent to login.example:443, which speaks TLS.")


def test_it_is_looked_at_once_and_only_for_providers(refused: ConnectTrace) -> None:
    asked: list[str] = []
    both = threading.Event()

    def explain(_cluster: Cluster | None, _trace: ConnectTrace) -> str:
        asked.append(threading.current_thread().name)
        if len(asked) == 2:
            both.set()
        return ""

    diagnosis = Diagnosis(explain)
    for cluster in ("upstream", "http://idp:80", "http://idp:80", "https://other:443"):
        diagnosis.failed(cluster, refused)
    assert both.wait(PATIENCE)
    assert asked == ["diagnosis", "diagnosis"]


def test_a_collector_is_no_provider(refused: ConnectTrace) -> None:
    text = FILE.format(port=9) + "telemetry: {endpoint: 'http://collector:4318'}\n"
    config, _ = native.load([("f", text.encode())], flags={}, env={})
    assert config is not None
    asked: list[str] = []
    provider = threading.Event()
    diagnosis = Diagnosis(lambda _cluster, _trace: asked.append("asked") or provider.set() or "")
    diagnosis.know(config.listeners[0].http, config)
    diagnosis.failed("http://collector:4318", refused)
    diagnosis.failed("http://127.0.0.1:9", refused)
    assert provider.wait(PATIENCE)
    assert asked == ["asked"]


def test_a_rule_that_fails_is_no_failure_of_the_doorkeeper(refused: ConnectTrace) -> None:
    def explain(_cluster: Cluster | None, _trace: ConnectTrace) -> str:
        raise LookupError("a rule's mistake")

    Diagnosis(explain).failed("http://idp:80", refused)
    Diagnosis(None).failed("http://idp:80", refused)
