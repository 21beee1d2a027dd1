"""A log says the same whatever its format: what a real Envoy printed, and what it has to mean."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from doctor.logs.reading import captured, facts, reading, told
from ostiary.doctor.facts.connection import Attempted

CAPTURED = captured()
EXPECTED = yaml.safe_load(Path(__file__).with_name("expected.yaml").read_text())
INCIDENT = """\
2024-10-04T13:37:05.541213Z\tdebug\tenvoy oauth2 external/envoy/source/extensions/filters/http/oauth2/oauth_client.cc:87\tOauth response code: 503\tthread=28
2024-10-04T13:37:05.541215Z\tdebug\tenvoy oauth2 external/envoy/source/extensions/filters/http/oauth2/oauth_client.cc:88\tOauth response body: upstream connect error or disconnect/reset before headers. reset reason: connection failure, transport failure reason: immediate connect error: Network is unreachable\tthread=28
"""  # noqa: E501 - as it was printed
RACE = (
    "2024-08-09T09:04:46.347021Z\tdebug\tenvoy happy_eyeballs external/envoy/source/common/network/"
    "happy_eyeballs_connection_impl.cc:33\tC[985] address=[2606:4700::6810:a016]:443\tthread=23\n"
)


@pytest.mark.parametrize("case", CAPTURED["cases"])
def test_a_captured_case_says_its_cause_in_every_format(case: str) -> None:
    expected = EXPECTED["cases"][case]
    for kind, lines in CAPTURED["cases"][case].items():
        wanted = expected[kind] if kind in expected else expected["elsewhere"]
        assert told("\n".join(lines)) == set(wanted), kind


@pytest.mark.parametrize("case", CAPTURED["rejected"])
def test_a_rejected_configuration_says_what_is_wrong(case: str) -> None:
    assert told("\n".join(CAPTURED["rejected"][case])) == set(EXPECTED["rejected"][case])


def test_the_incident() -> None:
    assert told(INCIDENT) == {"ConnectFailed ENETUNREACH True"}
    assert told(RACE) == {"Attempted 2606:4700::6810:a016 443 v6 started tcp"}


def test_a_proof_is_the_line_without_its_file_and_number() -> None:
    (fact,) = facts(RACE)
    assert isinstance(fact, Attempted)
    origin = fact.origin
    assert (origin.kind, origin.source, origin.line) == ("log", "sidecar.log", 1)
    assert origin.quote == "C[985] address=[2606:4700::6810:a016]:443"
    assert origin.when == "2024-08-09T09:04:46.347021Z"


def test_equal_lines_are_one_fact_with_their_number_and_times() -> None:
    line = CAPTURED["cases"]["other_hmac"]["warning"][0]
    later = line.replace("09:05:39", "09:07:00")
    (fact,) = facts("\n".join([line, *["nothing"] * 5, line, later]))
    assert (fact.origin.count, fact.origin.line) == (3, 1)
    assert fact.origin.when.startswith("2026-11-23T09:05:39")
    assert fact.origin.until.startswith("2026-11-23T09:07:00")


def test_a_reading_says_what_was_read() -> None:
    lines = CAPTURED["cases"]["invalid_client"]["debug"]
    found = reading("\n".join(lines) + "\n")
    assert found.lines == len(lines)
    assert (found.first, found.last) == ("2026-11-23T09:05:05.824828Z", "2026-11-23T09:05:05.828999Z")
    assert found.formats["istio"] > 0
    assert (found.left_out, found.problem) == (0, "")
