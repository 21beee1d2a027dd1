"""What a configuration needs beside Ostiary itself is said before anything starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cli.test_cli import MINIMAL
from waiting import PATIENCE

RUN = "import sys; sys.modules['opentelemetry'] = None; from ostiary.cli import main; sys.exit(main())"
"""The command line where opentelemetry-proto is not installed."""


def ostiary(verb: str, file: Path, text: str) -> subprocess.CompletedProcess[str]:
    file.write_text(text)
    command = [sys.executable, "-c", RUN, verb, "-c", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)


@pytest.mark.parametrize("verb", ["check", "run"])
def test_telemetry_without_its_package_names_the_command_that_installs_it(verb: str, tmp_path: Path) -> None:
    done = ostiary(verb, tmp_path / "ostiary.yaml", MINIMAL + "telemetry:\n")
    assert done.returncode == 2, done
    assert "(pip install 'ostiary[otel]')" in done.stdout + done.stderr


def test_without_telemetry_it_is_not_needed(tmp_path: Path) -> None:
    assert ostiary("check", tmp_path / "ostiary.yaml", MINIMAL).returncode == 0
