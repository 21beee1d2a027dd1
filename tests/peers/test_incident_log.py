"""The incident in both logs: what people search for stands in Envoy's and in ours, under one logger, at one level.

And what must stand in neither: the trace of a complete sign-in holds none of its secrets. Envoy's does.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ostiary.core.log_line import LogLine, parse
from waiting import PATIENCE

pytestmark = pytest.mark.peer
WORLD = Path(__file__).parent / "incident_world.py"
ADDRESS = r"\[2606:4700::6810:a[01]16\]:443"
UNREACHABLE = rf"immediate connect error: Network is unreachable\|remote address:{ADDRESS}"
RESET = "reset reason: remote connection failure"
BODY = rf"upstream connect error or disconnect/reset before headers\. {RESET}"
CAUSE = f"Failed to get access token: response code: 503, response body: {BODY}"

# (logger, level, pattern of the whole message) of what both say.
BOTH = (
    ("config", "info", r"loading 2 cluster\(s\)"),
    ("config", "info", r"loading 1 listener\(s\)"),
    ("config", "info", r"all dependencies initialized\. starting workers"),
    ("admin", "info", r"admin address: 127\.0\.0\.1:4181"),
    ("upstream", "trace", r"starting async DNS resolution for login\.microsoftonline\.com"),
    ("dns", "trace", r"dns resolution for login\.microsoftonline\.com started"),
    ("dns", "trace", r'dns resolution for login\.microsoftonline\.com completed with status 0x0000: "cares_success:.*'),
    ("upstream", "trace", r"async DNS resolution complete for login\.microsoftonline\.com details cares_success:.*"),
    ("upstream", "debug", r"DNS hosts have changed for login\.microsoftonline\.com"),
    ("upstream", "debug", r"DNS refresh rate reset for login\.microsoftonline\.com, refresh rate 5000 ms"),
    ("conn_handler", "debug", r"new connection from 127\.0\.0\.1:\d+"),
    ("connection", "debug", r"remote close"),
    ("http", "debug", r"new stream"),
    ("http", "debug", r"request headers complete \(end_stream=true\):.*"),
    ("http", "debug", r"Codec completed encoding stream\."),
    ("oauth2", "debug", r"can not skip oauth flow"),
    ("oauth2", "debug", r"redirecting to OAuth server: /get\?a=1"),
    ("oauth2", "debug", r"Dispatching OAuth request for access token\."),
    ("router", "debug", r"cluster 'oauth' match for URL '/contoso/v2\.0/token'"),
    ("pool", "debug", r"queueing stream due to no available connections \(ready=0 busy=0 connecting=0\)"),
    ("pool", "debug", r"trying to create new connection"),
    ("pool", "debug", r"creating a new connection \(connecting=0\)"),
    ("upstream", "debug", r"Upstream using happy eyeballs config\."),
    ("client", "debug", r"connecting"),
)
FAILED = (
    *BOTH,
    ("multi_connection", "debug", r"\[C\d+\] connections=2"),
    ("multi_connection", "debug", r"connection=1"),
    ("multi_connection", "debug", r"connections=2"),
    ("happy_eyeballs", "debug", r"C\[\d+\] address=\[2606:4700::6810:a016\]:443"),
    ("happy_eyeballs", "debug", r"C\[\d+\] address=\[2606:4700::6810:a116\]:443"),
    ("connection", "debug", rf"connecting to {ADDRESS}"),
    ("connection", "debug", UNREACHABLE),
    ("connection", "debug", r"raising immediate error"),
    ("connection", "debug", r"closing socket: 0"),
    ("client", "debug", r"disconnect\. resetting 0 pending requests"),
    ("pool", "debug", rf"client disconnected, failure reason: {UNREACHABLE}"),
    ("router", "debug", rf"upstream reset: {RESET}, transport failure reason: {UNREACHABLE}"),
    ("oauth2", "debug", r"Oauth response code: 503"),
    ("oauth2", "debug", rf"Oauth response body: {BODY}.*"),
    ("oauth2", "warning", rf"Responding with 401 Unauthorized\. Cause: {CAUSE}.*"),
    ("http", "debug", r"Sending local reply with details Failed to get access token: response code: 503, .*"),
)
SIGNED_IN = (
    *BOTH,
    ("happy_eyeballs", "debug", r"C\[\d+\] address=10\.77\.0\.7:443"),
    ("multi_connection", "debug", r"\[C\d+\] connections=3"),
    ("connection", "debug", r"connecting to 10\.77\.0\.7:443"),
    ("connection", "debug", r"connection in progress"),
    ("connection", "debug", r"connected"),
    ("client", "debug", r"connected"),
    ("pool", "debug", r"creating stream"),
    ("pool", "debug", r"response complete"),
    ("pool", "debug", r"destroying stream: 0 active remaining.*"),
    ("router", "debug", r"pool ready"),
    ("router", "debug", r"cluster 'httpbin' match for URL '/get\?a=1'"),
    ("http", "debug", r"async http request response headers \(end_stream=false\):.*"),
    ("oauth2", "debug", r"skipping oauth flow due to valid hmac cookie"),
)
OF_TOKEN = rf"cluster 'oauth' match|upstream reset: {RESET}"
Seen = dict[str, dict[str, Any]]
CASES = [f"{proxy}/{family}/trace" for proxy in ("envoy", "ostiary") for family in ("AUTO", "ALL")]
NATIVE = "ostiary/native/trace"


@pytest.fixture(scope="module")
def seen(own_network: list[str], envoy: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Case -> what came of it in a network of IPv4 only."""
    assert envoy.exists()
    command = [*own_network, sys.executable, str(WORLD), str(tmp_path_factory.mktemp("incident")), "ipv4_only"]
    result = subprocess.run([*command, *CASES, NATIVE], check=False, capture_output=True, text=True, timeout=PATIENCE)
    assert result.returncode == 0, result.stderr[-3000:]
    found: Seen = json.loads(result.stdout)
    return found


def records(log: str) -> list[LogLine]:
    return [line for each in log.splitlines() if (line := parse(each)) is not None]


@pytest.mark.parametrize(
    ("family", "expected"), [("AUTO", FAILED), ("ALL", SIGNED_IN)], ids=["the incident", "signed in"]
)
@pytest.mark.parametrize("proxy", ["envoy", "ostiary"])
def test_what_people_search_for_is_there(
    proxy: str, family: str, expected: tuple[tuple[str, str, str], ...], seen: Seen
) -> None:
    said = records(seen[f"{proxy}/{family}/trace"]["log"])
    missing = [
        (component, level, pattern)
        for component, level, pattern in expected
        if not any(
            (line.component, line.level) == (component, level) and re.fullmatch(pattern, line.message) for line in said
        )
    ]
    assert not missing


def test_lines_of_one_request_carry_its_numbers(seen: Seen) -> None:
    for proxy in ("envoy", "ostiary"):
        said = records(seen[f"{proxy}/AUTO/trace"]["log"])
        of_callback = {str(line.tags) for line in said if line.component == "oauth2"
                       and line.message.startswith(("Dispatching", "Oauth response", "Responding"))}  # fmt: skip
        assert len(of_callback) == 1
        assert of_callback != {"{}"}
        of_token = {line.tags["StreamId"] for line in said if re.match(OF_TOKEN, line.message)}
        assert len(of_token) == 1


def test_a_failure_is_one_warning_and_one_refusal(seen: Seen) -> None:
    warned = [line for line in records(seen["ostiary/AUTO/trace"]["log"]) if line.level in ("warning", "error")]
    assert [line.component for line in warned] == ["happy_eyeballs", "oauth2"]


@pytest.mark.parametrize("case", ["ostiary/AUTO/trace", "ostiary/ALL/trace", NATIVE])
def test_no_secret_is_in_the_trace_of_a_sign_in(case: str, seen: Seen) -> None:
    secrets = set(seen[case]["secrets"])
    assert len(secrets) >= 4
    assert [secret for secret in secrets if secret in seen[case]["log"]] == []


def test_the_secrets_are_those_that_envoy_logs(seen: Seen) -> None:
    case = seen["envoy/ALL/trace"]
    assert any(secret in case["log"] for secret in case["secrets"])
