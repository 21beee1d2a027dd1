from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from cli.world_in_thread import running
from net.dns_server import DnsServer, dual
from net.peers_on_loopback import Behaviour, Peers
from ostiary.cli.commands import run


@contextmanager
def world(v6: Behaviour, v4: Behaviour, tls: dict[str, ssl.SSLContext] | None = None) -> Iterator[list[str]]:
    """Gives the arguments that reach it: name server and target."""
    server, peers = DnsServer(dual()), Peers(v6, v4, tls=tls or {})
    with running(server, peers):
        yield ["--nameserver", f"127.0.0.1:{server.port}", "--attempt-delay-ms", "30", f"dual.test:{peers.port}"]


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def good(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("dual.test").configure_cert(context)
    return context


def test_the_timeline_shows_queries_attempts_and_the_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with world("refuses", "greets") as arguments:
        assert run(["connect", "--no-tls", *arguments]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert {line.split()[1] for line in lines if line.startswith("dns")} == {"AAAA", "A"}
    assert [line.split()[1] for line in lines if line.startswith("tcp")] == ["IPv6", "IPv4"]
    assert "ECONNREFUSED" in shown.out
    assert lines[-1].startswith("Connected to dual.test:")
    assert "\x1b" not in shown.out, "no colours where nobody sees them"
    assert shown.err == ""


def test_json_is_one_document_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    with world("black_hole", "greets") as arguments:
        assert run(["connect", "--no-tls", "--json", *arguments]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is True
    assert document["winner"]["family"] == "v4"
    assert [a["outcome"] for a in document["attempts"]] == ["cancelled", "won"]


def test_no_connection_is_exit_code_1_with_the_evidence(capsys: pytest.CaptureFixture[str]) -> None:
    with world("refuses", "refuses") as arguments:
        assert run(["connect", "--no-tls", "--json", *arguments]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert document["winner"] is None
    assert document["error"].startswith("ECONNREFUSED")


def test_repeat_is_a_list_and_later_connections_know_more(capsys: pytest.CaptureFixture[str]) -> None:
    with world("black_hole", "greets") as arguments:
        assert run(["connect", "--no-tls", "--json", "--repeat", "2", *arguments]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["attempts"][0]["family"] == "v6"
    assert second["attempts"][0]["family"] == "v4"
    assert {q["server"] for q in second["dns"]} == {"cache"}


def test_the_five_lookup_families_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    with world("refuses", "greets") as arguments:
        assert run(["connect", "--no-tls", "--families", *arguments]) == 0
        shown = capsys.readouterr().out
        assert run(["connect", "--no-tls", "--families", "--json", *arguments]) == 0
        documents = json.loads(capsys.readouterr().out)
    verdicts = {line.split()[0]: "connects" in line for line in shown.splitlines()[:5]}
    expected = {"AUTO": False, "V4_ONLY": True, "V6_ONLY": False, "V4_PREFERRED": True, "ALL": True}
    assert verdicts == expected
    assert {family: document["ok"] for family, document in documents.items()} == expected
    assert "Mend: set dns_lookup_family: ALL" in shown


def test_tls_is_verified_unless_told_otherwise(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, ca: trustme.CA, good: ssl.SSLContext
) -> None:
    roots = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(roots))
    with world("greets", "greets", {"v6": good, "v4": good}) as arguments:
        assert run(["connect", *arguments]) == 1
        assert "certificate is not trusted" in capsys.readouterr().out
        assert run(["connect", "--ca", str(roots), *arguments]) == 0
        assert "TLSv1.3, SNI dual.test" in capsys.readouterr().out
        assert run(["connect", "--ca", str(roots), "--sni", "other.test", *arguments]) == 1
        assert "other.test" in capsys.readouterr().out
        assert run(["connect", "--insecure", "--json", *arguments]) == 0
        tls = json.loads(capsys.readouterr().out)["tls"]
    assert tls["verified"] is False
    assert tls["peer"], "the subject is shown although nobody vouches for it"
    assert tls["not_after"].endswith("Z")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["no-port"], "has no port"),
        (["ftp://x.test"], "not a scheme"),
        (["x.test:1", "--nameserver", "dns.example"], "not the IP address"),
        (["x.test:1", "--ca", "/nowhere.pem"], "/nowhere.pem"),
        (["x.test:1", "--connect-timeout", "0"], "--connect-timeout"),
        (["x.test:1", "--dns-lookup-family", "V5"], "V5"),
        (["http://x.test", "--insecure"], "without TLS"),
        (["x.test:1", "--families", "--repeat", "2"], "exclude each other"),
        ([], "URL|HOST:PORT"),
    ],
)
def test_wrong_usage_is_exit_code_2_on_stderr(
    capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    assert run(["connect", *arguments]) == 2
    shown = capsys.readouterr()
    assert reason in shown.err
    assert shown.out == ""
