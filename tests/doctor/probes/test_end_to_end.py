"""`ostiary doctor` as another process, at a provider that answers wrong: rules, exit codes, what stands where."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from email.utils import formatdate
from pathlib import Path
from time import time
from typing import Any

import pytest
import yaml

from cli.test_cli import ostiary
from doctor.probes.probing import in_thread, native
from ostiary.testing.provider import DemoProvider
from ostiary.testing.provider_server import Reply

NO_PROXY = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"), "")


class Told(DemoProvider):
    """Answers with a Date, `ahead` seconds off."""

    ahead = 0.0
    slow = "nothing"
    """The endpoint that never answers."""

    async def _slowly(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        if url.startswith(self.slow):
            await asyncio.sleep(60)
        return await super()._slowly(method, url, headers, body)

    def handle(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        reply = super().handle(method, url, headers, body)
        date = ("date", formatdate(time() + self.ahead, usegmt=True))
        return Reply(status=reply.status, headers=(*reply.headers, date), body=reply.body)


def doctor(*arguments: str, cwd: Path, **env: str) -> tuple[int, Any]:
    done = ostiary("doctor", "--json", *arguments, cwd=cwd, **{**NO_PROXY, **env})
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize(
    ("change", "first"),
    [
        (lambda _: None, ""),
        (lambda demo: setattr(demo, "ahead", 1.5), ""),
        (lambda demo: setattr(demo, "ahead", 600.0), "clock-skew"),
        (lambda demo: setattr(demo, "ahead", -600.0), "clock-skew"),
        (lambda demo: setattr(demo.faults, "discovery_status", 404), "discovery-failed"),
        (lambda demo: setattr(demo.faults, "empty_jwks", True), "jwks-fetch-failed"),
        (lambda demo: setattr(demo.faults, "token_error", "invalid_client"), "client-rejected"),
        (lambda demo: setattr(demo.faults, "html_token", True), "idp-not-oauth"),
        (lambda demo: setattr(demo.faults, "delay", 30.0), "discovery-failed"),
        (lambda demo: setattr(demo, "slow", "/token"), "idp-timeout"),
    ],
)
def test_a_configured_provider(tmp_path: Path, change: Callable[[Told], object], first: str) -> None:
    with in_thread(Told()) as demo:
        change(demo)
        (tmp_path / "ostiary.yaml").write_text(yaml.safe_dump(native(demo.issuer, timeout="2s")))
        code, document = doctor("-c", "ostiary.yaml", cwd=tmp_path)
    assert [each["rule"] for each in document["findings"]][:1] == ([first] if first else []), document
    assert (code, document["healthy"]) == (bool(first), not first)
    assert {each["kind"] for each in document["evidence"]} == {"config", "probe"}


def test_a_typed_provider_and_its_answers_in_the_evidence(tmp_path: Path) -> None:
    with in_thread(Told()) as demo:
        code, document = doctor(demo.issuer, cwd=tmp_path)
        place, provider = document["evidence"]
    assert code == 0
    assert place["connection"]["ok"]
    assert (provider["source"], provider["answers"]["discovery"]) == (demo.issuer, "answers 200")


def test_nothing_is_probed_that_is_not_asked_for(tmp_path: Path) -> None:
    with in_thread(Told()) as demo:
        (tmp_path / "ostiary.yaml").write_text(yaml.safe_dump(native(demo.issuer)))
        code, document = doctor("-c", "ostiary.yaml", "--no-probe", cwd=tmp_path)
        assert demo.token_requests == []
    assert (code, [each["kind"] for each in document["evidence"]]) == (0, ["config"])


def test_an_http_proxy_that_others_leave_through(tmp_path: Path) -> None:
    """A name that leads nowhere, so that the direct way fails; loopback is never sent through a proxy."""
    config = native("https://idp.invalid", timeout="1s")
    (tmp_path / "ostiary.yaml").write_text(yaml.safe_dump(config))
    where = {"HTTPS_PROXY": "http://somebody:secret@proxy.example:3128"}
    _, document = doctor("127.0.0.1:1", "-c", "ostiary.yaml", cwd=tmp_path, **where)
    found = {each["rule"]: each for each in document["findings"]}
    assert "proxy.example:3128" in found["http-proxy-ignored"]["cause"]
    assert "secret" not in json.dumps(found["http-proxy-ignored"]["proof"])
    _, document = doctor("127.0.0.1:1", "-c", "ostiary.yaml", cwd=tmp_path, NO_PROXY=".invalid", **where)
    assert "http-proxy-ignored" not in {each["rule"] for each in document["findings"]}


def test_a_redirecting_token_endpoint(tmp_path: Path) -> None:
    class Moved(DemoProvider):
        def _token(self, form: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
            return Reply.redirect("https://elsewhere.example/token")

    with in_thread(Moved()) as demo:
        (tmp_path / "ostiary.yaml").write_text(yaml.safe_dump(native(demo.issuer)))
        _, document = doctor("-c", "ostiary.yaml", cwd=tmp_path)
    assert [each["rule"] for each in document["findings"]] == ["idp-not-oauth"]


def test_a_document_that_names_endpoints_without_tls(tmp_path: Path) -> None:
    """Sent to by somebody else's document: plain http is refused, as the doorkeeper refuses it."""

    class Careless(DemoProvider):
        def discovery(self) -> dict[str, Any]:
            return {**super().discovery(), "token_endpoint": "ftp://idp.example/token"}

    with in_thread(Careless()) as demo:
        _, document = doctor(demo.issuer, cwd=tmp_path)
    assert [each["rule"] for each in document["findings"]] == ["discovery-failed"]
    assert "token_endpoint" in document["findings"][0]["cause"]
