"""Levels that change while the process runs, and lines that the patterns of other tools read."""

from __future__ import annotations

import json
import logging
import os
import re

import pytest

from ostiary.app import logs
from ostiary.core.log_line import LogLine, parse
from ostiary.model.process import LOG_COMPONENTS, LOG_LEVELS, LogLevel
from ostiary.net.log import log, stream_id

pytestmark = pytest.mark.usefixtures("own_log")
STYLES = ("envoy", "istio", "json")
# What people's log pipelines match: the formats in Envoy's documentation and in Istio's bootstrap.
ENVOY = re.compile(r"\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3})\]\[(\d+)\]\[(\w+)\]\[(\w+)\] \[([\w./]+:\d+)\] (.*)\n")
ISTIO = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)\t(\w+)\tenvoy (\w+) ([\w./]+:\d+)\t([^\t]*)\tthread=(\d+)\n"
)
TAGGED = '[Tags: "ConnectionId":"61","StreamId":"18446744073709551615"] said'


def written(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def test_envoys_format(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("debug", {}, "envoy")
    log("oauth2").debug("%s", "said", connection=61, stream=2**64 - 1)
    found = ENVOY.fullmatch(line := written(capsys))
    assert found is not None, line
    assert found.groups()[1:4] == (str(os.getpid()), "debug", "oauth2")
    assert found[5].startswith("app/test_logs.py:")
    assert found[6] == TAGGED


def test_istios_format(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("debug", {}, "istio")
    log("oauth2").debug("said", connection=61, stream=2**64 - 1)
    found = ISTIO.fullmatch(line := written(capsys))
    assert found is not None, line
    assert (found[2], found[3], found[5], found[6]) == ("debug", "oauth2", TAGGED, str(os.getpid()))


def test_istios_json(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("debug", {}, "json")
    log("oauth2").debug("said", connection=61, stream=7)
    log("dns").warning("two\nlines")
    tagged, plain = (json.loads(line) for line in written(capsys).splitlines())
    keys = {"time", "level", "scope", "msg", "caller", "thread"}
    assert plain.keys() == keys
    assert tagged.keys() == keys | {"ConnectionId", "StreamId"}
    assert (tagged["ConnectionId"], tagged["StreamId"]) == ("61", "7")
    assert (tagged["scope"], tagged["level"], tagged["msg"]) == ("envoy oauth2", "debug", "said")
    assert (plain["level"], plain["msg"], plain["thread"]) == ("warning", "two\nlines", str(os.getpid()))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", tagged["time"])


@pytest.mark.parametrize("style", STYLES)
def test_every_style_is_read_back(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("trace", {}, style)
    log("happy_eyeballs").trace("C[%d] address=%s", 985, "[2606:4700::6810:a016]:443")
    log("oauth2").error("a [Tags: no] b\tc", connection=4)
    logging.getLogger("asyncio").warning("slow")
    first, second, third = (parse(line) for line in written(capsys).splitlines())
    assert first is not None
    assert second is not None
    assert third is not None
    assert (first.style, first.level, first.component, first.tags) == (style, "trace", "happy_eyeballs", {})
    assert first.message == "C[985] address=[2606:4700::6810:a016]:443"
    assert (second.level, second.tags) == ("error", {"ConnectionId": "4"})
    assert second.message.replace("\\t", "\t") == "a [Tags: no] b\tc"
    assert (third.component, third.message) == ("main", "slow")


@pytest.mark.parametrize("style", STYLES)
def test_a_message_can_not_forge_a_line(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", {}, style)
    log("http").info("GET /\r\n[2026-01-01 00:00:00.000][1][error][main] [x:1] forged")
    assert len(written(capsys).splitlines()) == 1


@pytest.mark.parametrize("style", STYLES)
def test_nothing_in_a_message_ends_a_line_or_reaches_a_terminal(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", {}, style)
    said = "".join(map(chr, (*range(32), *range(127, 160), 0x2028, 0x2029))) + "ä\U0001f511"
    log("oauth2").warning("%s", said)
    line = written(capsys).removesuffix("\n")
    assert len(line.splitlines()) == 1
    assert line.replace("\t", "").isprintable() and "ä\U0001f511" in line
    if style == "json":
        assert json.loads(line)["msg"] == said


@pytest.mark.parametrize(
    "line",
    [
        "",
        '[2026-11-23T09:05:04.998Z] "GET /page HTTP/1.1" 302 - oauth.missing_credentials - "-" 0 0 0 - "10.0.0.7"',
        "2026-11-23T09:05:04.998712Z\tinfo\txdsproxy\tconnected to upstream XDS server",
        "':path', '/page'",
        '{"level":"info","time":"2026-11-23T09:05:04.998712Z","msg":"agent"}',
        "{" * 100_000,
    ],
)
def test_what_is_no_record_of_a_proxy_is_none(line: str) -> None:
    assert parse(line) is None


def test_a_line_of_the_incident_is_read() -> None:
    found = parse(
        "2024-08-09T09:04:46.347021Z\tdebug\tenvoy happy_eyeballs external/envoy/source/common/network/"
        "happy_eyeballs_connection_impl.cc:33\tC[985] address=[2606:4700::6810:a016]:443\tthread=23"
    )
    assert found == LogLine(
        style="istio",
        time="2024-08-09T09:04:46.347021Z",
        thread="23",
        level="debug",
        component="happy_eyeballs",
        place="external/envoy/source/common/network/happy_eyeballs_connection_impl.cc:33",
        message="C[985] address=[2606:4700::6810:a016]:443",
        tags={},
    )


def test_all_of_envoys_components_have_a_level_that_is_put_back_exactly() -> None:
    logs.configure("warning", {"oauth2": "debug", "misc": "error", "a2a": "off"}, "envoy")
    before = logs.levels()
    assert len(before) == 72
    assert (before["oauth2"], before["misc"], before["a2a"], before["dns"]) == ("debug", "error", "off", "warning")
    logs.set_levels(dict.fromkeys(LOG_COMPONENTS, "trace"))
    assert set(logs.levels().values()) == {"trace"}
    logs.set_levels(before)
    assert logs.levels() == before


@pytest.mark.parametrize("level", LOG_LEVELS)
def test_a_changed_level_holds_at_once(level: LogLevel, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("error", {}, "istio")
    logs.set_levels({"dns": level})
    dns = log("dns")
    for say in (dns.trace, dns.debug, dns.info, dns.warning, dns.error):
        say("said")
    log("oauth2").warning("not this one")
    said = [parsed.level for line in written(capsys).splitlines() if (parsed := parse(line))]
    ladder = list(LOG_LEVELS[:5])
    assert said == (ladder[ladder.index(level) :] if level in ladder else [])
    assert (dns.traces, dns.debugs) == (level == "trace", level in ("trace", "debug"))


def test_an_unknown_component_changes_nothing() -> None:
    logs.configure("info", {}, "envoy")
    with pytest.raises(KeyError, match="oauth"):
        logs.set_levels({"dns": "debug", "oauth": "debug"})
    assert logs.levels()["dns"] == "info"


def test_streams_have_numbers_like_envoys() -> None:
    numbers = {stream_id(connection, request) for connection in range(100) for request in range(100)}
    assert len(numbers) == 10_000
    assert all(0 <= number < 2**64 for number in numbers)
