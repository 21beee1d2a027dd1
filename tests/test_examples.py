"""The recipes of docs/examples, run as a reader would run them: a name with both families, one of them dead."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from cli.world_in_thread import running
from net.dns_server import DnsServer
from net.http_peers import HttpPeers
from waiting import PATIENCE

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
HOST = "dual.localhost"
"""Never asked on a network (RFC 6761), and of both families."""
RACES_TLS = [path for path in EXAMPLES if path.stem != "urllib3_requests"]


def run(example: Path, scheme: str, peers: HttpPeers, roots: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(ROOT / "src"), "SSL_CERT_FILE": str(roots or "")}
    if roots is None:
        del env["SSL_CERT_FILE"]
    with running(DnsServer({}), peers):
        url = f"{scheme}://{HOST}:{peers.port}/"
        command = [sys.executable, "-W", "error", str(example), url]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=env, check=False)


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def roots(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("roots") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="module")
def certificate(ca: trustme.CA) -> dict[str, ssl.SSLContext]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(HOST).configure_cert(context)
    return {"v6": context, "v4": context}


def test_there_are_recipes() -> None:
    assert {path.stem for path in EXAMPLES} == {
        "aiohttp_client", "asyncio_stream", "httpx_client", "urllib3_requests",
    }  # fmt: skip


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_a_dead_family_is_got_past(example: Path) -> None:
    done = run(example, "http", HttpPeers("black_hole", "greets"))
    assert done.returncode == 0, done.stderr
    assert "200" in done.stdout
    assert "over IPv4" in done.stdout and "[::1]" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_tls_is_verified(example: Path, certificate: dict[str, ssl.SSLContext], roots: Path) -> None:
    done = run(example, "https", HttpPeers("refuses", "greets", tls=certificate), roots)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "200" in done.stdout and "over IPv4" in done.stdout


@pytest.mark.parametrize("example", RACES_TLS, ids=lambda path: path.stem)
def test_a_peer_that_is_silent_in_tls_loses(example: Path, certificate: dict[str, ssl.SSLContext], roots: Path) -> None:
    done = run(example, "https", HttpPeers("silent", "greets", tls=certificate), roots)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "over IPv4 with TLSv1.3" in done.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_a_failure_says_what_was_tried(example: Path) -> None:
    done = run(example, "http", HttpPeers("refuses", "refuses"))
    assert done.returncode == 1, done.stderr
    assert "Can't connect to dual.localhost" in done.stdout
    assert "IPv6 failed" in done.stdout and "IPv4 failed" in done.stdout and "Traceback" not in done.stderr
