"""A loop of sign-ins in access logs, and what only looks like one."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable

import pytest

from doctor.rules.facts import find
from ostiary.doctor.finding import Finding
from ostiary.doctor.logs import read

Entry = tuple[float, str, int, str]
"""(seconds, path, status, who)."""
ADA, BOB = "10.0.0.7", "10.0.0.8"


def istio(at: float, path: str, status: int, who: str) -> str:
    details = "oauth_redirect" if status == 302 else "via_upstream"
    return (f'[2026-11-26T10:12:{at:06.3f}Z] "GET {path} HTTP/1.1" {status} - {details} - "-" 0 18 3 - '
            f'"{who}" "Firefox" "edb" "app.example.com" "-" backend - 127.0.0.1:21101 {who}:0 - default')  # fmt: skip


def istio_inbound(at: float, path: str, status: int, who: str) -> str:
    return istio(at, path, status, who).replace(f'"{who}" "Firefox"', '"-" "Firefox"')


def envoy(at: float, path: str, status: int, who: str) -> str:
    return (f'[2026-11-26T10:12:{at:06.3f}Z] "GET {path} HTTP/2" {status} - 0 18 3 - "{who}" "Firefox" "edb" '
            '"app.example.com" "10.0.0.1:80"')  # fmt: skip


def json(at: float, path: str, status: int, who: str) -> str:
    return (f'{{"start_time":"2026-11-26T10:12:{at:06.3f}Z","method":"GET","path":"{path}","response_code":{status},'
            f'"response_flags":"-","authority":"app.example.com","user_agent":"Firefox",'
            f'"x_forwarded_for":"{who}"}}')  # fmt: skip


def nginx(at: float, path: str, status: int, who: str) -> str:
    return f'{who} - - [26/Nov/2026:10:12:{int(at):02d} +0000] "GET {path} HTTP/2.0" {status} 138 "-" "Firefox"'


def oauth2_proxy(at: float, path: str, status: int, who: str) -> str:
    return (f'{who}:51342 - 7a1 - - [2026/11/26 10:12:{int(at):02d}] app.example.com GET - "{path}" HTTP/1.1 "Firefox" '
            f"{status} 24 0.000")  # fmt: skip


FORMATS: list[Callable[[float, str, int, str], str]] = [istio, istio_inbound, envoy, json, nginx, oauth2_proxy]


def found(entries: Iterable[Entry], form: Callable[[float, str, int, str], str] = istio) -> list[Finding]:
    log = "\n".join(form(*entry) for entry in entries) + "\n"
    return [each for each in find(*read(io.BytesIO(log.encode()), "access.log").facts) if each.severity != "info"]


def sign_in(at: float, who: str = ADA, *, page: bool = False, path: str = "/") -> list[Entry]:
    steps = [(at, path, 302, who), (at + 0.3, "/oauth2/callback?code=s3cr3t1&state=x", 302, who)]
    return [*steps, (at + 0.4, path, 200, who)] if page else steps


@pytest.mark.parametrize("form", FORMATS)
def test_a_browser_that_goes_round(form: Callable[[float, str, int, str], str]) -> None:
    entries = [entry for turn in range(7) for entry in sign_in(1 + turn)]
    (finding,) = found(entries, form)
    assert (finding.rule, finding.severity, finding.confidence) == ("signin-loop", "error", "likely")
    assert "7 times in 6 s" in finding.cause
    assert "s3cr3t1" not in str(finding.as_dict())
    assert "access.log:8" in finding.proof[0]


def test_others_who_get_their_page_meanwhile() -> None:
    loop = [entry for turn in range(6) for entry in sign_in(1 + turn)]
    others = [entry for turn in range(6) for entry in sign_in(1.5 + turn, BOB, page=True)]
    assert [finding.rule for finding in found(sorted([*loop, *others]))] == ["signin-loop"]


NEAR_MISSES: dict[str, list[Entry]] = {
    "one that succeeds at the third": [*sign_in(1), *sign_in(2), *sign_in(3, page=True)],
    "many people behind one address": [entry for turn in range(12) for entry in sign_in(1 + turn, page=True)],
    "as many, all at once": [
        *((1.0 + turn / 100, "/", 302, ADA) for turn in range(8)),
        *((1.5 + turn / 100, "/oauth2/callback?code=c&state=s", 302, ADA) for turn in range(8)),
        *((1.6 + turn / 100, "/", 200, ADA) for turn in range(8)),
    ],
    "each by another": [entry for turn in range(8) for entry in sign_in(1 + turn, f"10.0.1.{turn}")],
    "again after a while": [entry for turn in range(5) for entry in sign_in(11.0 * turn)],
    "redirects alone": [(float(turn), "/api", 302, ADA) for turn in range(20)],
    "callbacks alone, which fail": [(float(turn), "/callback?code=c&state=s", 401, ADA) for turn in range(20)],
    "the application's own redirect": [
        entry for turn in range(6)
        for entry in (*sign_in(1 + turn), (1.5 + turn, "/", 302, ADA), (1.6 + turn, "/home", 200, ADA))
    ],
}  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("case", NEAR_MISSES)
def test_what_is_none(case: str, form: Callable[[float, str, int, str], str]) -> None:
    assert found(NEAR_MISSES[case], form) == []


def test_entries_that_name_nobody() -> None:
    entries = [entry for turn in range(7) for entry in sign_in(1 + turn, "-")]
    assert found(entries, envoy) == []
