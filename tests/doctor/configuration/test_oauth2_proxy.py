"""oauth2-proxy's configuration: what its files say, and what is found in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from doctor.rules.facts import find
from ostiary.doctor.case import Case
from ostiary.doctor.configuration.read import read
from ostiary.doctor.facts.configuration import ClusterSeen, OAuth2Seen
from ostiary.doctor.finding import Finding
from ostiary.doctor.mends.patch import together, with_patches

HERE: Final = Path(__file__).parent / "oauth2_proxy"
OPTIONS: Final = yaml.safe_load((HERE / "options.yaml").read_text())
FILE: Final = "oauth2-proxy.cfg"


def found(files: dict[str, str]) -> list[Finding]:
    return find(*read([(name, text.encode()) for name, text in files.items()], env={}))


def told(finding: Finding) -> tuple[str, int]:
    return finding.rule, finding.where.line if finding.where is not None else 0


def written(case: dict[str, Any]) -> str:
    text: str = OPTIONS["base"]
    if "drop" in case:
        text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith(case["drop"]))
    if "change" in case:
        before, after = case["change"]
        assert before in text
        text = text.replace(before, after.replace("\n", "\\n"))
    return text + (f"{case['add']}\n" if "add" in case else "")


@pytest.mark.parametrize("case", OPTIONS["cases"], ids=lambda case: case.get("add") or str(case["change"][1]))
def test_an_option(case: dict[str, Any]) -> None:
    text = written(case)
    findings = found({FILE: text})
    wrong = [finding for finding in findings if finding.severity != "info"]
    assert [told(finding) for finding in wrong] == ([tuple(case["found"])] if case["found"] else [])
    assert [finding.title for finding in findings if finding.severity == "info"] == (
        [case["told"]] if "told" in case else []
    )
    for finding in wrong:
        assert finding.mend.startswith(case.get("mend", ""))
        assert case.get("says", "") in finding.cause
        assert "hunter2" not in str(finding.as_dict())
        (mended,) = with_patches([finding], {FILE: text})
        assert (mended.patch is not None) == bool(finding.edits)
        if "becomes" in case:
            assert f"\n+{case['becomes']}\n" in (mended.patch or "")


def test_what_it_says() -> None:
    case = Case(read([(FILE, OPTIONS["base"].encode())], env={}))
    (provider,), (sign_in,) = case.all(ClusterSeen), case.all(OAuth2Seen)
    assert (provider.hosts, provider.port, provider.tls, provider.origin.line) == (("login.example.com",), 443, True, 2)
    assert (sign_in.issuer, sign_in.client_id) == ("https://login.example.com", "app")
    assert "hunter2" not in repr(sign_in)


@pytest.mark.parametrize("url", ["http://[", "https://a:99999", "", "login.example.com"])
def test_no_url_is_an_exception(url: str) -> None:
    found({FILE: OPTIONS["base"].replace("https://login.example.com", url)})


@pytest.mark.parametrize("case", yaml.safe_load((HERE / "places.yaml").read_text()), ids=lambda case: case["name"])
def test_a_place(case: dict[str, Any]) -> None:
    files: dict[str, str] = case["files"]
    findings = [finding for finding in found(files) if finding.severity != "info"]
    seen = sorted((finding.rule, finding.where.file, finding.where.line) for finding in findings if finding.where)
    assert seen == sorted(map(tuple, case["found"]))
    patch = together(findings, files) or ""
    new = {line[1:].strip() for line in patch.splitlines() if line.startswith("+")}
    assert {line.strip() for line in case.get("becomes", ())} <= new
    assert "hunter2" not in patch + str([finding.as_dict() for finding in findings])


@pytest.mark.parametrize("case", yaml.safe_load((HERE / "healthy.yaml").read_text()), ids=lambda case: case["name"])
def test_an_example_of_its_own_is_healthy(case: dict[str, Any]) -> None:
    assert found(case["files"]) == []
