from __future__ import annotations

import json
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from cli.world_in_thread import running
from net.dns_server import DnsServer, Reply, dual
from net.peers_on_loopback import Behaviour, Peers
from ostiary.cli.commands import run
from waiting import PATIENCE, until


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
    assert {line.split()[1] for line in lines if line.startswith("DNS")} == {"AAAA", "A"}
    assert [line.split()[1] for line in lines if line.startswith("TCP")] == ["IPv6", "IPv4"]
    assert "ECONNREFUSED" in shown.out
    assert lines[-1].startswith("✓ Connected to dual.test:")
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
    rows = {line.split()[0]: line for line in shown.splitlines() if line.startswith(("A", "V"))}
    expected = {"AUTO": False, "V4_ONLY": True, "V6_ONLY": False, "V4_PREFERRED": True, "ALL": True}
    assert {family: "✗" not in line for family, line in rows.items()} == expected
    families = documents["families"]
    assert {family: document["ostiary"]["ok"] for family, document in families.items()} == expected
    assert {family: document["logical_dns"]["fate"] == "works" for family, document in families.items()} == expected
    assert families["AUTO"]["logical_dns"]["reason"] == "delayed_connect_error:_Connection_refused"
    assert "! 503 for some requests" in rows["ALL"], "of STRICT_DNS"
    assert documents["recommended"]["dns_lookup_family"] == "ALL"
    assert "Recommended here: ALL" in shown and "first_address_family_version: V4" in shown


def test_tls_is_verified_unless_told_otherwise(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, ca: trustme.CA, good: ssl.SSLContext
) -> None:
    roots = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(roots))
    with world("greets", "greets", {"v6": good, "v4": good}) as arguments:
        assert run(["connect", *arguments]) == 1
        assert "certificate is not trusted" in capsys.readouterr().out
        assert run(["connect", "--ca", str(roots), *arguments]) == 0
        assert "TLSv1.3 · SNI dual.test" in capsys.readouterr().out
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
        (["x.test:1", "--families", "--dns-lookup-family", "ALL"], "leave --dns-lookup-family out"),
        (["127.0.0.1:1", "--families"], "needs a name"),
        (["x.test:1", "--html", "."], "is a directory"),
        (["x.test:1", "--html", "nowhere/report.html"], "no directory 'nowhere'"),
        (["x.test:1", "--html", "-", "--json"], "both want standard output"),
        (["x.test/path"], "write https://x.test/path"),
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


TRACE = {"target", "ok", "elapsed_ms", "winner", "dns", "attempts", "tls", "error", "summary"}
FAMILIES = {"target", "connect_timeout_ms", "dns", "addresses", "families", "recommended"}


def test_the_keys_of_the_json_documents_are_exactly_the_documented_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with world("refuses", "greets") as arguments:
        run(["connect", "--no-tls", "--json", *arguments])
        one = json.loads(capsys.readouterr().out)
        run(["connect", "--no-tls", "--json", "--families", *arguments])
        five = json.loads(capsys.readouterr().out)
    assert set(one) == TRACE
    assert set(one["winner"]) == {"address", "port", "family"}
    assert {frozenset(query) for query in one["dns"]} == {
        frozenset({"name", "type", "server", "started_ms", "ended_ms", "rcode", "ttl", "answers", "outcome"})
    }
    assert {frozenset(attempt) for attempt in one["attempts"]} == {
        frozenset(
            {"address", "port", "family", "source", "started_ms", "ended_ms", "stage", "outcome", "errno", "message"}
        )
    }
    assert set(five) == FAMILIES
    assert set(five["families"]) == {"AUTO", "V4_ONLY", "V6_ONLY", "V4_PREFERRED", "ALL"}
    for family in five["families"].values():
        assert set(family) == {"asks", "addresses", "dns_ms", "logical_dns", "strict_dns", "ostiary"}
        assert set(family["ostiary"]) == TRACE
        forecast = {"fate", "winner", "elapsed_ms", "response_flags", "reason", "dead_hosts"}
        assert set(family["logical_dns"]) == set(family["strict_dns"]) == forecast
    assert set(five["recommended"]) == {
        "dns_lookup_family", "first_address_family_version", "reason", "warnings", "yaml",
    }  # fmt: skip
    assert {frozenset(address) for address in five["addresses"]} == {
        frozenset({"address", "family", "ok", "route", "elapsed_ms", "stage", "errno", "message"})
    }


def test_a_series_shows_percentiles_winners_and_the_slowest(capsys: pytest.CaptureFixture[str]) -> None:
    with world("black_hole", "greets") as arguments:
        assert run(["connect", "--no-tls", "--repeat", "5", *arguments]) == 0
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert lines[1].split() == ["min", "p50", "p90", "p99", "max"]
    assert [line.split()[0] for line in lines[2:6]] == ["total", "DNS", "TCP", "waiting"]
    assert "won IPv4     5  100%" in shown and "127.0.0.1" in shown
    assert "The slowest (number 1):" in shown


def test_a_series_with_failures_counts_them_and_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    with world("refuses", "refuses") as arguments:
        assert run(["connect", "--no-tls", "--repeat", "3", *arguments]) == 1
    shown = capsys.readouterr().out
    assert "✗ failed 3 (100%): ECONNREFUSED" in shown and "The first that failed (number 1):" in shown


@pytest.mark.parametrize("more", [[], ["--repeat", "3"], ["--families"]])
def test_html_goes_into_a_file_beside_the_timeline_or_to_standard_output_alone(
    capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path, more: list[str]
) -> None:
    report = tmp_path / "report.html"
    with world("refuses", "greets") as arguments:
        assert run(["connect", "--no-tls", *more, "--html", str(report), *arguments]) == 0
        beside = capfdbinary.readouterr()
        assert run(["connect", "--no-tls", *more, "--html", "-", *arguments]) == 0
        alone = capfdbinary.readouterr()
    assert b"127.0.0.1" in beside.out and b"<" not in beside.out.replace(b"<module>", b"")
    assert beside.err.decode().strip() == f"report: {report}"
    assert report.read_bytes().startswith(b"<!doctype html>")
    assert alone.out.startswith(b"<!doctype html>") and alone.out.rstrip().endswith(b"</html>")
    assert alone.err == b""


def test_ctrl_c_shows_what_was_seen_so_far_and_exits_with_130() -> None:
    """In a process of its own: it is a signal."""
    records = dual()
    records["dual.test.", "A"] = Reply(silent=True)
    server, peers = DnsServer(records), Peers("silent", "silent", tls={})
    ways: list[tuple[list[str], int]] = [([], 1), (["--json"], 1), (["--repeat", "9"], 1), (["--families"], 3)]
    for more, connections in ways:  # of the families, AUTO, V6_ONLY and ALL get that far
        with running(server, peers):
            command = [
                sys.executable, "-m", "ostiary", "connect", "--insecure", "--connect-timeout", "600", *more,
                "--nameserver", f"127.0.0.1:{server.port}", f"dual.test:{peers.port}",
            ]  # fmt: skip
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
                try:
                    until(lambda connections=connections: len(peers.accepted) == connections)  # type: ignore[misc]
                    process.send_signal(signal.SIGINT)
                    out, err = process.communicate(timeout=PATIENCE)
                finally:
                    process.kill()
        peers.accepted.clear()
        assert process.returncode == 130, err
        assert "::1" in out and "Interrupted after" in out
        assert err == "", "no traceback, and no progress where nobody watches"
        if more == ["--json"]:
            assert json.loads(out)["error"] == "interrupted"
            assert json.loads(out)["attempts"][0]["outcome"] == "cancelled"
