"""Every failure is told completely, and none twice."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ostiary.core
from ostiary.core.oauth2.failures import FAILURES, failure


@pytest.mark.parametrize("code", FAILURES)
def test_a_failure_says_what_happened_and_what_to_do(code: str) -> None:
    entry = FAILURES[code]
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code)
    assert 400 <= entry.status <= 504
    for text in (entry.title, entry.happened, entry.to_do):
        assert text and text[0].isupper() and "_" not in text


def test_every_code_that_is_raised_is_told() -> None:
    core = Path(ostiary.core.__file__).parent
    sources = [core / "jose.py", core / "oidc.py", *(core / "oauth2").glob("*.py")]
    raised = {
        code
        for source in sources
        for code in re.findall(r"(?:SignInError|TokenRefused|UnknownKey)\(\s*\"([a-z-]+)\"", source.read_text())
    }
    assert len(raised) > 20
    assert raised <= set(FAILURES)


def test_an_unknown_code_is_the_provider_s() -> None:
    assert failure("something-else") is FAILURES["idp-error"]
