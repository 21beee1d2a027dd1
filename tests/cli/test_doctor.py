"""`ostiary doctor` as a user types it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from cli.test_cli import ostiary
from ports import free_port

ENVOY_FILTER = """\
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: sign-in, namespace: httpbin}
spec:
  configPatches:
  - applyTo: CLUSTER
    patch:
      operation: ADD
      value:
        name: oauth
        connect_timeout: 10s
        # where the provider is
        load_assignment:
          cluster_name: oauth
          endpoints:
          - lb_endpoints:
            - endpoint: {address: {socket_address: {address: login.example, port_value: 443}}}
        transport_socket:
          name: envoy.transport_sockets.tls
          typed_config:
            '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
            sni: login.example
            common_tls_context:
              validation_context:
                trusted_ca: {filename: /etc/ssl/certs/ca-certificates.crt}
                match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: login.example}}]
        type: LOGICAL_DNS
"""
PLACE = "external/envoy/source/extensions/filters/http/oauth2/oauth_client.cc:88"
INCIDENT = (
    f"2024-10-04T13:37:05.541215Z\tdebug\tenvoy oauth2 {PLACE}\tOauth response body: upstream connect error or "
    "disconnect/reset before headers. reset reason: connection failure, transport failure reason: immediate connect "
    "error: Network is unreachable\tthread=28\n"
)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "envoyfilter.yaml").write_text(ENVOY_FILTER)
    (tmp_path / "sidecar.log").write_text(INCIDENT)
    return tmp_path


def document(*arguments: str, cwd: Path) -> Any:
    return json.loads(ostiary("doctor", "--json", *arguments, cwd=cwd).stdout)


def test_the_incident_s_log(files: Path) -> None:
    ran = ostiary("doctor", "--log", "sidecar.log", cwd=files)
    assert ran.returncode == 1
    first = ran.stdout.splitlines()
    assert "IPv6" in first[0]
    assert first[1].strip().startswith("dns-family-unreachable")
    assert "dns_lookup_family: ALL" in ran.stdout


def test_json_has_the_keys_that_others_rely_on(files: Path) -> None:
    found = document("--log", "sidecar.log", "-c", "envoyfilter.yaml", "--no-probe", cwd=files)
    assert (found["healthy"], found["target"]) == (False, "envoyfilter.yaml, sidecar.log")
    assert [(each["kind"], each["source"]) for each in found["evidence"]] == [
        ("config", "envoyfilter.yaml"), ("log", "sidecar.log")]  # fmt: skip
    (first, *_) = found["findings"]
    assert set(first) == {"rule", "severity", "title", "cause", "proof", "where", "mend", "patch", "confidence", "see"}
    assert (first["rule"], first["severity"], first["confidence"]) == ("dns-family-unreachable", "error", "certain")
    assert first["where"] == {"file": "envoyfilter.yaml", "line": 10, "path": "spec.configPatches[0].patch.value"}
    assert first["see"] == "rules/dns-family-unreachable"


def test_the_patch_applies_and_mends(files: Path) -> None:
    arguments = ("--log", "sidecar.log", "-c", "envoyfilter.yaml", "--no-probe")
    ran = ostiary("doctor", *arguments, "--patch", cwd=files)
    subprocess.run(["patch", "-p0"], cwd=files, input=ran.stdout, text=True, check=True, capture_output=True)
    text = (files / "envoyfilter.yaml").read_text()
    assert "        dns_lookup_family: ALL" in text
    assert "        # where the provider is\n" in text
    assert document("-c", "envoyfilter.yaml", "--no-probe", cwd=files)["healthy"]


def test_a_log_from_a_pipe(files: Path) -> None:
    ran = ostiary("doctor", "--log", "-", cwd=files, stdin=INCIDENT)
    assert "dns-family-unreachable" in ran.stdout


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_ctrl_c_ends_a_log_that_never_ends_and_shows_what_there_is(files: Path, more: tuple[str, ...]) -> None:
    """As in `kubectl logs -f POD | ostiary doctor --log -`."""
    command = [sys.executable, "-m", "ostiary", "doctor", "--log", "-", *more]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=files, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as ran:
        assert ran.stdin is not None
        ran.stdin.write(INCIDENT)
        ran.stdin.flush()
        while struct.unpack("i", fcntl.ioctl(ran.stdin, termios.FIONREAD, bytes(4))) != (0,):
            assert ran.poll() is None
            time.sleep(0.01)
        ran.send_signal(signal.SIGINT)
        assert ran.wait(20) == 130, "with the pipe still open"
        assert ran.stdout is not None and ran.stderr is not None
        out, err = ran.stdout.read(), ran.stderr.read()
    assert err == ""
    assert "dns-family-unreachable" in out


def test_a_log_from_a_named_pipe_whose_writer_is_there_once(files: Path) -> None:
    os.mkfifo(files / "pipe")
    with subprocess.Popen(["cp", files / "sidecar.log", files / "pipe"]) as writer:
        found = document("--log", "pipe", cwd=files)
        assert writer.wait() == 0
    assert found["findings"][0]["rule"] == "dns-family-unreachable"


def test_an_empty_log_proves_nothing(files: Path) -> None:
    ran = ostiary("doctor", "--log", "-", cwd=files, stdin="")
    assert ran.returncode == 2 and ran.stdout == ""
    assert "standard input is empty: nothing can be told from it" in ran.stderr
    (files / "empty.log").write_text("")
    ran = ostiary("doctor", "--json", "--log", "empty.log", cwd=files)
    assert ran.returncode == 2 and ran.stdout == "" and "empty.log is empty" in ran.stderr
    both = document("--log", "empty.log", "--log", "sidecar.log", cwd=files)
    assert both["evidence"][0]["summary"] == "empty" and not both["healthy"]


def test_a_proxy_that_can_t_be_asked_is_not_said_to_be_down(files: Path) -> None:
    (found,) = document("--admin", f"http://127.0.0.1:{free_port()}", cwd=files)["findings"]
    assert (found["rule"], found["confidence"]) == ("sidecar-not-ready", "possible")
    assert "could not be asked" in found["title"] and "nothing listens at" in found["proof"][0]
    assert "holdApplicationUntilProxyStarts" not in found["mend"]


def test_nothing_wrong(files: Path) -> None:
    (files / "quiet.log").write_text("2024-10-04T13:37:05.541213Z\tinfo\tenvoy main server.cc:1\tstarting\tthread=1\n")
    ran = ostiary("doctor", "--log", "quiet.log", cwd=files)
    assert ran.returncode == 0
    assert "Nothing wrong" in ran.stdout


def test_a_report_for_a_ticket(files: Path) -> None:
    ran = ostiary(
        "doctor", "--log", "sidecar.log", "-c", "envoyfilter.yaml", "--no-probe", "--html", "r.html", cwd=files
    )
    assert ran.returncode == 1
    page = (files / "r.html").read_text()
    assert "IPv6" in page
    assert "dns_lookup_family: ALL" in page
    assert "http://" not in page and "src=" not in page


def test_the_rules_are_listed_and_explained(files: Path) -> None:
    listed = ostiary("doctor", "--list-rules", cwd=files)
    assert "  dns-family-unreachable" in listed.stdout
    assert len(json.loads(ostiary("doctor", "--list-rules", "--json", cwd=files).stdout)) == 75
    assert ostiary("doctor", "--explain", "tls-sni", cwd=files).stdout.startswith("# tls-sni: ")
    wrong = ostiary("doctor", "--explain", "tls-sin", cwd=files)
    assert (wrong.returncode, "did you mean tls-sni" in wrong.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing to look at"),
        (("-c", "missing.yaml"), "missing.yaml"),
        (("--log", "missing.log"), "missing.log"),
        (("login.example",), "has no port"),
        (("--log", "sidecar.log", "--html", "-", "--json"), "--html -"),
    ],
)
def test_wrong_usage(files: Path, arguments: tuple[str, ...], said: str) -> None:
    ran = ostiary("doctor", *arguments, cwd=files)
    assert (ran.returncode, said in ran.stderr) == (2, True), ran.stderr
