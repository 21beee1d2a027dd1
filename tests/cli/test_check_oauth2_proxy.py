"""`ostiary check` of what oauth2-proxy reads: judged, though not run."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ostiary.cli.check import command
from ostiary.testing.provider import DEMO_CLIENT, DemoProvider

GOOD = """\
provider = "oidc"
oidc_issuer_url = "{issuer}"
client_id = "{id}"
client_secret = "{secret}"
cookie_secret = "0123456789abcdef"
email_domains = ["*"]
"""


def run(*arguments: str, given: str = "") -> tuple[int, str, str]:
    result = CliRunner().invoke(command, arguments, input=given, standalone_mode=False)
    code = result.return_value if result.exception is None else -1
    return code, result.stdout, result.stderr


def test_a_good_one(tmp_path: Path) -> None:
    file = tmp_path / "oauth2-proxy.cfg"
    file.write_text(GOOD.format(issuer="https://login.example.com", id="app", secret="hunter2"))
    code, out, err = run("-c", str(file))
    assert (code, out) == (0, "")
    assert "good for oauth2-proxy" in err


def test_a_wrong_key_is_told_with_line_and_mend_also_of_standard_input() -> None:
    code, out, _ = run("-c", "-", given='provider = "oidc"\ncookie_secur = true\n')
    assert code == 2
    assert out.startswith("-:2:1: error: cookie_secur: oauth2-proxy has no key cookie_secur.")
    assert "(Write cookie_secure)" in out


def test_as_json() -> None:
    code, out, _ = run("-c", "-", "--json", given="OAUTH2_PROXY_COOKIE_SECRET=hunter2\n")
    document = json.loads(out)
    assert (code, document["ok"], document["dialect"]) == (2, False, "oauth2-proxy")
    assert [(each["line"], each["path"]) for each in document["diagnostics"]] == [(1, "OAUTH2_PROXY_COOKIE_SECRET")]
    assert "hunter2" not in out


@pytest.mark.parametrize(("secret", "expected"), [(DEMO_CLIENT.client_secret, 0), ("other", 1)])
def test_its_provider_is_probed(tmp_path: Path, secret: str, expected: int) -> None:
    async def probed() -> tuple[int, str, str]:
        async with DemoProvider() as demo:
            file = tmp_path / "oauth2-proxy.cfg"
            file.write_text(GOOD.format(issuer=demo.issuer, id=DEMO_CLIENT.client_id, secret=secret))
            return await asyncio.to_thread(run, "-c", str(file), "--probe")

    code, out, _ = asyncio.run(probed())
    assert code == expected
    assert ("client-rejected" in out) == (expected == 1)
