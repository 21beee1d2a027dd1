"""The provider as probes find it: the repository's own, healthy and with each of its faults."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from doctor.probes.probing import examined, native, rules
from ostiary.doctor.probes.provider import INVENTED
from ostiary.doctor.report import Report
from ostiary.testing.provider import DemoProvider

Change = Callable[[DemoProvider], object]


def look(
    change: Change | None = None, *, typed: bool = False, suffix: str = "", clock: float = 0.0, **provider: Any
) -> tuple[Report, DemoProvider]:
    """A report on the provider, which somebody typed or a configuration names."""

    async def run() -> tuple[Report, DemoProvider]:
        async with DemoProvider(clock=lambda: time.time() + clock) as demo:
            if change is not None:
                change(demo)
            if typed:
                return await examined(demo.issuer + suffix), demo
            return await examined(config=native(demo.issuer + suffix, **provider)), demo

    return asyncio.run(run())


def fault(**faults: Any) -> Change:
    def change(demo: DemoProvider) -> None:
        for name, value in faults.items():
            setattr(demo.faults, name, value)

    return change


def test_a_healthy_provider_gives_no_finding_and_is_asked_once_each() -> None:
    report, demo = look()
    assert report.findings == ()
    assert report.healthy
    (asked,) = demo.token_requests
    assert (asked["grant_type"], asked["auth"], asked["status"]) == ("authorization_code", "basic", 400)
    answers = next(each for each in report.evidence if each.source == demo.issuer).details["answers"]
    assert answers == {"discovery": "answers 200", "jwks": "answers 200", "token": "answers 400",
                       "authorization": "answers 303"}  # fmt: skip


@pytest.mark.parametrize("suffix", ["", "/", "/.well-known/openid-configuration", "/?x=1"])
def test_a_provider_that_somebody_types_in_any_form(suffix: str) -> None:
    report, demo = look(typed=True, suffix=suffix)
    assert report.findings == ()
    assert [each["client_id"] for each in demo.token_requests] == [""]


@pytest.mark.parametrize(
    ("change", "first"),
    [
        (fault(discovery_status=404), "discovery-failed"),
        (fault(discovery_status=503), "discovery-failed"),
        (fault(wrong_discovery_issuer=True), "discovery-failed"),
        (fault(jwks_status=403), "jwks-fetch-failed"),
        (fault(empty_jwks=True), "jwks-fetch-failed"),
        (fault(token_status=502), "idp-server-error"),
        (fault(html_token=True), "idp-not-oauth"),
        (fault(token_error="invalid_client"), "client-rejected"),
        (fault(token_error="unauthorized_client"), "client-rejected"),
        (fault(authorize_error="invalid_scope"), "scope-rejected"),
        (fault(authorize_error="unauthorized_client"), "client-rejected"),
        (fault(authorize_error="server_error"), "idp-error"),
    ],
)
def test_each_answer_that_is_wrong(change: Change, first: str) -> None:
    report, _ = look(change)
    assert rules(report)[:1] == [first]
    assert report.findings[0].proof


@pytest.mark.parametrize(
    "change",
    [fault(token_error="invalid_grant"), fault(token_error="invalid_request"), fault(authorize_error="login_required")],
)
def test_answers_that_say_that_all_is_well(change: Change) -> None:
    assert look(change)[0].findings == ()


def test_a_client_that_the_provider_does_not_know() -> None:
    report, _ = look(client_id="nobody")
    assert rules(report)[:1] == ["client-rejected"]


def test_a_secret_that_is_wrong_and_is_shown_nowhere() -> None:
    report, _ = look(client_secret="not the secret at all")
    assert rules(report) == ["client-rejected"]
    assert "not the secret" not in str(report.as_dict())


def test_without_the_secret_at_hand_the_client_is_not_judged() -> None:
    report, _ = look(client_secret="", client_secret_file="/nowhere/secret")
    assert "client-rejected" not in rules(report)


def test_an_issuer_must_be_the_document_s_to_the_letter() -> None:
    report, _ = look(suffix="/")
    assert rules(report)[:1] == ["discovery-failed"]


def test_a_place_without_a_document_is_no_provider_and_nothing_is_wrong_with_it() -> None:
    report, _ = look(fault(discovery_status=404), typed=True)
    assert report.findings == ()


def test_a_redirect_uri_that_is_not_registered() -> None:
    async def run() -> Report:
        async with DemoProvider() as demo:
            config = {**native(demo.issuer), "external_url": "https://elsewhere.example"}
            return await examined(config=config)

    report = asyncio.run(run())
    assert report.findings == (), "the demo's page does not tell which of two things it is"


def test_what_is_asked_is_harmless() -> None:
    """A code that nobody issued, no page that anybody would see, nothing twice."""
    seen: list[tuple[str, str, bytes]] = []

    async def run() -> None:
        async with DemoProvider() as demo:
            answer = demo.handle

            def handle(method: str, url: str, headers: Any, body: bytes = b"") -> Any:
                seen.append((method, url, body))
                return answer(method, url, headers, body)

            demo.handle = handle  # type: ignore[method-assign]
            await examined(config=native(demo.issuer))

    asyncio.run(run())
    assert sorted(method for method, _, _ in seen if method != "HEAD") == ["GET", "GET", "GET", "POST"]
    (posted,) = [body for method, _, body in seen if method == "POST"]
    assert INVENTED.encode() in posted
    (authorization,) = [url for _, url, _ in seen if "/authorize?" in url]
    assert "prompt=none" in authorization
