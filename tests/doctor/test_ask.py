"""`ostiary.diagnose`, as a program calls it; and its example in the documentation."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path
from textwrap import dedent

import pytest

import ostiary
from doctor.probes.probing import in_thread
from ostiary.testing.provider import DemoProvider

DOCUMENT = Path(__file__).parents[2] / "docs" / "doctor.md"


def test_a_target_that_is_healthy_and_one_that_is_not() -> None:
    async def main() -> tuple[ostiary.Report, ostiary.Report]:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            dead = f"127.0.0.1:{closed.getsockname()[1]}"
        async with DemoProvider() as provider:
            return await ostiary.diagnose(provider.issuer), await ostiary.diagnose(dead)

    good, bad = asyncio.run(main())
    assert good.healthy
    assert (bad.healthy, [each.rule for each in bad.findings]) == (False, ["tcp-refused"])


def test_files(tmp_path: Path) -> None:
    log = tmp_path / "proxy.log"
    log.write_text("dial tcp: lookup login.example on 10.0.0.10:53: no such host\n")
    config = tmp_path / "ostiary.yaml"
    config.write_text("upstream: http://127.0.0.1:9\nprovidr: {}\n")
    report = asyncio.run(ostiary.diagnose(log=[log], config=str(config), probes=False))
    assert {each.rule for each in report.findings} >= {"dns-name-not-found", "config-unknown-field"}


@pytest.mark.parametrize(("arguments", "error"), [
    ({}, ValueError), ({"target": "login.example"}, ValueError), ({"log": "/nowhere.log"}, OSError),
    ({"config": "/nowhere.yaml"}, OSError),
])  # fmt: skip
def test_what_can_t_be_looked_at(arguments: dict[str, str], error: type[Exception]) -> None:
    with pytest.raises(error):
        asyncio.run(ostiary.diagnose(**arguments))


def test_the_example_of_the_documentation(capsys: pytest.CaptureFixture[str]) -> None:
    section = DOCUMENT.read_text().partition("## From Python")[2]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None
    with in_thread(DemoProvider()) as provider:
        exec(compile(dedent(found[1]).replace("https://login.example.com", provider.issuer), "example", "exec"), {})
    assert capsys.readouterr().out == "all is well\n"
