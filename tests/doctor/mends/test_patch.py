"""Patches are what `patch` takes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ostiary.doctor.finding import Edit
from ostiary.doctor.mends.patch import patch_of

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


def test_a_file_that_is_not_at_hand() -> None:
    assert patch_of([FAMILY], {}) is None
