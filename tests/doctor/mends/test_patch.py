"""Patches are what `patch` takes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from doctor.rules.facts import find
from ostiary.doctor.configuration.read import read
from ostiary.doctor.finding import Edit
from ostiary.doctor.mends.patch import patch_of, with_patches

TEXT = "# provider\nname: oauth\ntype: LOGICAL_DNS\n"
FAMILY = Edit(file="cluster.yaml", path="", key="dns_lookup_family", value="ALL", comment="both families race")


@pytest.mark.parametrize("text", [TEXT, TEXT.rstrip("\n"), TEXT.replace("\n", "\r\n")])
def test_patch_applies_it(tmp_path: Path, text: str) -> None:
    patch = patch_of([FAMILY], {"cluster.yaml": text})
    assert patch is not None
    (tmp_path / "cluster.yaml").write_bytes(text.encode())
    ran = subprocess.run(["patch", "-p0", "--binary"], cwd=tmp_path, input=patch.encode(), capture_output=True)
    assert ran.returncode == 0, ran.stdout
    after = (tmp_path / "cluster.yaml").read_bytes().decode()
    assert "dns_lookup_family: ALL  # both families race" in after
    assert patch_of([FAMILY], {"cluster.yaml": after}) is None, "it is mended"


def test_several_edits_of_one_file_are_one_patch() -> None:
    edits = [FAMILY, Edit(file="cluster.yaml", path="", key="connect_timeout", value="10s")]
    patch = patch_of(edits, {"cluster.yaml": TEXT})
    assert patch is not None
    assert patch.count("--- cluster.yaml") == 1
    assert "+connect_timeout: 10s" in patch


SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    ("text", "context"),
    [
        (f"client_secret: {SECRET}\na: 1\nb: 2\nc: 3\nname: oauth\ntype: LOGICAL_DNS\n", 3),
        (f"a: 1\nclient_secret: {SECRET}\nname: oauth\ntype: LOGICAL_DNS\n", 1),
        (f"name: oauth\ntype: LOGICAL_DNS\nsecret:\n- |\n  {SECRET}\n  {SECRET}\n", 2),
        (f"name: oauth\ntype: LOGICAL_DNS\nprivate_key: {{inline_string: {SECRET}}}\n", 0),
    ],
)
def test_no_secret_is_in_the_context(tmp_path: Path, text: str, context: int) -> None:
    patch = patch_of([FAMILY], {"cluster.yaml": text})
    assert patch is not None
    assert SECRET not in patch
    assert max(len([line for line in patch.splitlines() if line.startswith(" ")]) // 2, 0) <= context
    (tmp_path / "cluster.yaml").write_text(text)
    subprocess.run(["patch", "-p0"], cwd=tmp_path, input=patch.encode(), capture_output=True, check=True)
    assert "dns_lookup_family: ALL" in (tmp_path / "cluster.yaml").read_text()


def test_a_change_that_would_show_a_secret_is_not_shown() -> None:
    text = f"secret: {SECRET}\n"
    edit = Edit(file="cluster.yaml", path="", key="secret", value="other")
    assert patch_of([edit], {"cluster.yaml": text}) is None


def test_a_file_that_is_not_at_hand() -> None:
    assert patch_of([FAMILY], {}) is None


def test_the_template_of_a_redirect_uri_loses_the_colon_that_no_header_has() -> None:
    text = (
        "name: o\ntyped_config:\n  '@type': type.googleapis.com/envoy.extensions.filters.http.oauth2.v3.OAuth2\n"
        "  config:\n    redirect_uri: '%REQ(:x-forwarded-proto)%://%REQ(:authority)%/callback'  # theirs\n"
    )
    facts = read([("f.yaml", text.encode())], env={})
    (found,) = with_patches(find(*facts), {"f.yaml": text})
    assert found.rule == "redirect-uri-template"
    assert [line for line in (found.patch or "").splitlines() if line.startswith("+ ")] == [
        "+    redirect_uri: '%REQ(x-forwarded-proto)%://%REQ(:authority)%/callback'  # theirs"
    ]
