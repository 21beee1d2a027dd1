"""Access log entries: Istio's text format, Envoy's default, JSON, nginx's and oauth2-proxy's request lines.

The details of an answer (`%RESPONSE_CODE_DETAILS%`) may hold a provider's JSON with blanks, quotes and braces, so a
line is taken from both ends: the request and the status in front, the fixed tail behind, and what is left in between
is the details. A truncated line has no tail; its details are then all that follows the flags.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from ostiary.doctor.logs.record import Record

_TIME: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z?"
_HEAD: Final = re.compile(
    rf'\[(?P<start_time>{_TIME})\]\s+"(?P<method>\S+)\s+(?P<path>\S+)\s+(?P<protocol>[^"\s]+)"\s+'
    r"(?P<response_code>\d+)\s+(?P<response_flags>-|[A-Z]+[A-Z0-9]*(?:,[A-Z0-9]+)*)(?:\s+|$)"
)
_WORD: Final = r"\S+"
_QUOTED: Final = r'"[^"]*"'
_CLIENT: Final = r'"(?P<x_forwarded_for>[^"]*)"\s+"(?P<user_agent>[^"]*)"'
_TAIL: Final = re.compile(
    r'\s+(?P<connection_termination_details>\S+)\s+"(?P<upstream_transport_failure_reason>[^"]*)"\s+\d+\s+\d+\s+'
    rf'(?:\d+|-)\s+(?:\d+|-)\s+{_CLIENT}\s+{_QUOTED}\s+"(?P<authority>[^"]*)"\s+'
    r'"(?P<upstream_host>[^"]*)"\s+'
    rf"(?P<upstream_cluster>{_WORD})\s+{_WORD}\s+{_WORD}\s+(?P<downstream_remote_address>{_WORD})\s+(?P<requested_server_name>{_WORD})\s+"
    r"(?P<route_name>\S+)\s*$"
)
_ENVOY_TAIL: Final = re.compile(
    rf'^(?:\d+|-)\s+(?:\d+|-)\s+(?:\d+|-)\s+(?:\d+|-)\s+{_CLIENT}\s+{_QUOTED}\s+"(?P<authority>[^"]*)"\s+'
    r'"(?P<upstream_host>[^"]*)"'
)
_COMBINED: Final = re.compile(
    r"^(?P<client>[0-9a-fA-F.:]+) - \S+ \[(?P<start_time>[^\]]+)\] "
    r'"(?P<method>[A-Z]+) (?P<path>\S+) (?P<protocol>[^"]+)" (?P<response_code>\d{3}) \d+'
    r'(?: "[^"]*" "(?P<user_agent>[^"]*)")?'
)
_PROXY_REQUEST: Final = re.compile(
    r"(?P<client>\S+) - \S+ - \S+ \[(?P<start_time>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d)\] (?P<authority>\S+) "
    r'(?P<method>[A-Z]+) (?P<upstream_cluster>\S+) "(?P<path>[^"]*)" (?P<protocol>\S+) "(?P<user_agent>[^"]*)" '
    r"(?P<response_code>\d{3}) "
)
_NEAR: Final = 300


def parse_access(line: str) -> Record | None:
    """The record of an access log's text line; its message is the details. None if it is none."""
    if (found := _HEAD.search(line)) is not None and found.start() < _NEAR:
        return _envoy_entry(line, found)
    if (found := _COMBINED.search(line)) is not None:
        return _record(found.groupdict(), "", "nginx")
    if (found := _PROXY_REQUEST.search(line)) is not None:
        return _record(found.groupdict(), "", "oauth2-proxy")
    return None


def _envoy_entry(line: str, head: re.Match[str]) -> Record:
    values: dict[str, str] = head.groupdict()
    rest = line[head.end() :]
    if (plain := _ENVOY_TAIL.match(rest)) is not None:
        values.update(plain.groupdict())
    elif (tail := _TAIL.search(rest)) is not None:
        values.update(tail.groupdict())
        values["response_code_details"] = rest[: tail.start()]
    else:
        values["response_code_details"] = rest
    return _record(values, line[: head.start()].strip(), "envoy")


def _record(values: Mapping[str, str], place: str, program: str) -> Record:
    reason = values.get("upstream_transport_failure_reason", "-")
    details = values.get("response_code_details", "")
    return Record(
        message=details if reason in ("-", "") else f"{details} {reason}",
        format="access-log",
        when=values.get("start_time", ""),
        program=program,
        place=place,
        access=values,
    )


def standard_names(values: Mapping[str, Any], place: str) -> Record:
    """The record of an access log's JSON entry (keys as Istio names them)."""
    texts = {name: "-" if value is None else str(value) for name, value in values.items()}
    record = _record(texts, place, "envoy")
    record.format = "access-log-json"
    return record
