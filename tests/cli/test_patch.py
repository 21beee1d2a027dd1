"""`ostiary patch` as a user meets it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from cli.test_cli import ostiary

SIDECAR = Path(__file__).parents[1] / "dialects" / "istio_traps" / "sidecar.yaml"
GOOD = """\
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: buffer, namespace: default}
spec:
  workloadSelector: {labels: {app: httpbin}}
  configPatches:
  - applyTo: HTTP_FILTER
    match:
      context: SIDECAR_INBOUND
      listener:
        portNumber: 8080
        filterChain:
          filter:
            name: envoy.filters.network.http_connection_manager
            subFilter: {name: envoy.filters.http.router}
    patch:
      operation: INSERT_BEFORE
      value:
        name: mine
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer
          max_request_bytes: 9
"""
LOST = GOOD.replace("portNumber: 8080", "portNumber: 9090")


@pytest.fixture
def good(tmp_path: Path) -> str:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return str(path)


@pytest.fixture
def lost(tmp_path: Path) -> str:
    path = tmp_path / "lost.yaml"
    path.write_text(LOST)
    return str(path)


def filters_of(config: dict) -> list[str]:  # type: ignore[type-arg]
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    return [each["name"] for each in manager["http_filters"]]


def test_the_patched_configuration_comes_in_the_form_in_which_it_was(good: str) -> None:
    done = ostiary("patch", "-f", good, "--proxy", str(SIDECAR))
    assert (done.returncode, done.stderr) == (0, "1 of 1 patch applied\n")
    names = ["envoy.filters.http.cors", "oauth-mine", "mine", "envoy.filters.http.router"]
    assert filters_of(yaml.safe_load(done.stdout)) == names
    config = json.dumps(yaml.safe_load(SIDECAR.read_text()))
    done = ostiary("patch", "-f", good, "--proxy", "-", stdin=config)
    assert filters_of(json.loads(done.stdout)) == names


def test_what_comes_out_is_a_configuration_that_envoy_takes(good: str, envoy: Path, tmp_path: Path) -> None:
    done = ostiary("patch", "-f", good, "--proxy", str(SIDECAR))
    patched = tmp_path / "patched.yaml"
    patched.write_text(done.stdout)
    checked = subprocess.run([str(envoy), "--mode", "validate", "-c", str(patched)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_diff_shows_the_change_alone(good: str) -> None:
    done = ostiary("patch", "-f", good, "--proxy", str(SIDECAR), "--diff")
    assert done.returncode == 0
    changed = [line for line in done.stdout.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert [line.strip("+ ") for line in changed] == [
        "- name: mine",
        "typed_config:",
        "'@type': type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer",
        "max_request_bytes: 9",
    ]


def test_diff_as_json_is_one_document(good: str) -> None:
    text, document = (ostiary("patch", "-f", good, "--proxy", str(SIDECAR), *more) for more in (
        ("--diff",), ("--diff", "--json")))  # fmt: skip
    changed = json.loads(document.stdout)
    assert list(changed) == ["diff"]
    assert changed["diff"].startswith("--- ")
    assert (changed["diff"].count("\n@@"), text.stdout.count("\n@@")) == (1, 1)


def test_one_standard_input_and_objects_without_patches(good: str, tmp_path: Path) -> None:
    done = ostiary("patch", "-f", "-", "--proxy", "-", stdin=GOOD)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is one standard input" in done.stderr
    (tmp_path / "none.yaml").write_text(GOOD[: GOOD.index("  configPatches")])
    done = ostiary("patch", "-f", str(tmp_path / "none.yaml"), "--proxy", str(SIDECAR), "--explain")
    assert (done.returncode, done.stdout) == (0, "")
    assert "none.yaml:1) has no patches" in done.stderr


def test_a_patch_that_does_nothing_is_exit_1_with_its_reason(lost: str) -> None:
    done = ostiary("patch", "-f", lost, "--proxy", str(SIDECAR))
    assert done.returncode == 1
    assert "lost.yaml:12:9: error: spec.configPatches[0].match.listener.filterChain: does nothing: " in done.stderr
    assert "chain 0.0.0.0_8080 of virtualInbound is for 8080, not for port 9090" in done.stderr
    assert done.stderr.endswith("0 of 1 patch applied\n")


def test_explain_says_of_each_patch_what_it_hit(good: str, lost: str) -> None:
    done = ostiary("patch", "-f", good, "-f", lost, "--proxy", str(SIDECAR), "--explain")
    assert done.returncode == 1
    assert "  1. INSERT_BEFORE HTTP_FILTER (line 7): applied\n" in done.stdout
    assert "inserted mine before envoy.filters.http.router\n" in done.stdout
    assert "  1. INSERT_BEFORE HTTP_FILTER (line 7): DOES NOTHING\n" in done.stdout


def test_explain_as_json_is_one_document(lost: str) -> None:
    done = ostiary("patch", "-f", lost, "--proxy", str(SIDECAR), "--explain", "--json")
    (patch,) = json.loads(done.stdout)["patches"]
    assert (patch["applied"], patch["panics"], patch["apply_to"], patch["line"]) == (False, False, "HTTP_FILTER", 7)
    (finding,) = patch["findings"]
    assert (finding["code"], finding["rule"], finding["where"]["line"]) == ("no-filter-chain", "patch-not-applied", 12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--labels", "app=other"], "the pod hasn't the label app=httpbin (it has: app=other)"),
        (["--namespace", "other"], "it is of namespace default, the proxy of other"),
        (["--context", "gateway"], "its context is SIDECAR_INBOUND, what is here is GATEWAY"),
    ],
)
def test_options_say_what_the_proxy_is(options: list[str], message: str, good: str) -> None:
    done = ostiary("patch", "-f", good, "--proxy", str(SIDECAR), *options)
    assert done.returncode == 1
    assert message in done.stderr


def test_wrong_input_is_exit_2_with_its_place(good: str, tmp_path: Path) -> None:
    slip = tmp_path / "slip.yaml"
    slip.write_text(GOOD.replace("portNumber", "portNumbr"))
    done = ostiary("patch", "-f", str(slip), "--proxy", str(SIDECAR))
    assert (done.returncode, done.stdout) == (2, "")
    assert "slip.yaml:11:9: error: spec.configPatches[0].match.listener.portNumbr: " in done.stderr
    assert "(did you mean 'portNumber'?)" in done.stderr
    done = ostiary("patch", "-f", str(SIDECAR), "--proxy", str(SIDECAR))
    assert done.returncode == 2
    assert "no EnvoyFilter of networking.istio.io is in it" in done.stderr
    huge = tmp_path / "huge.json"
    huge.write_bytes(b" " * ((16 << 20) + 1))
    done = ostiary("patch", "-f", good, "--proxy", str(huge))
    assert done.returncode == 2
    assert "more than 16 MiB (ask the proxy for one part at a time: /config_dump?resource=" in done.stderr
    done = ostiary("patch", "-f", good, "--proxy", good)
    assert done.returncode == 2
    assert "neither static_resources nor configs are in it" in done.stderr


def test_the_output_in_the_documentation_is_what_comes_out(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "istio.md").read_text()
    section = page[page.index("## What a patch does") :]
    text = section.partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "envoyfilter.yaml").write_text(text)
    shown = section.partition("--proxy sidecar.json --explain\n")[2].partition("```")[0]
    done = ostiary("patch", "-f", str(tmp_path / "envoyfilter.yaml"), "--proxy", str(SIDECAR), "--explain")
    assert done.stdout.replace(f"{tmp_path}/", "") + done.stderr == shown
