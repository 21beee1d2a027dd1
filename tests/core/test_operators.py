"""Every operator, and the ones that must not exist."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.operators import NAMES, compile_operator
from ostiary.core.record import Record
from ostiary.model.headers import Headers
from requests_for_tests import make_request

WITH_ARGUMENT = {"REQ": "x", "RESP": "x", "TRAILER": "x", "QUERY_PARAM": "x"}


def test_every_operator_has_nothing_or_zero_to_say_about_nothing() -> None:
    for name in NAMES:
        value = compile_operator(name, WITH_ARGUMENT.get(name), None)(Record())
        assert value in (None, 0, "1970-01-01T00:00:00.000Z"), name


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("RESPONSE_COD", "RESPONSE_CODE"),
        ("DURATIONS", "DURATION"),
        ("REQUEST", "REQ"),
        ("UPSTREAM_HOSTS", "UPSTREAM_HOST"),
    ],
)
def test_an_unknown_operator_is_named_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"%{name}%.*%{near}"):
        compile_operator(name, None, None)


@pytest.mark.parametrize("name", ["ENVIRONMENT", "FILE_CONTENT", "SECRET", "DYNAMIC_METADATA", "FILTER_STATE", "CEL"])
def test_operators_that_could_reach_secrets_do_not_exist(name: str) -> None:
    with pytest.raises(ValueError, match="unsupported format operator"):
        compile_operator(name, "X", None)


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("DURATION", "x"),
        ("DOWNSTREAM_REMOTE_ADDRESS", "x"),
        ("REQ", None),
        ("REQ", ""),
        ("REQ", "a?b?c"),
        ("REQ", "?a"),
        ("REQ", ":status"),
        ("RESP", ":path"),
        ("PATH", "XX"),
        ("PATH", "NQ:WHAT"),
        ("QUERY_PARAM", None),
        ("QUERY_PARAMS", "x"),
        ("START_TIME", "%Q"),
    ],
)
def test_a_bad_argument_is_refused(name: str, argument: str | None) -> None:
    with pytest.raises(ValueError, match="%"):
        compile_operator(name, argument, None)


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [("192.0.2.1:80", "192.0.2.1", 80), ("[2001:db8::1]:443", "2001:db8::1", 443), ("", None, None)],
)
def test_addresses(address: str, host: str | None, port: int | None) -> None:
    record = Record()
    record.downstream_remote_address = address
    assert compile_operator("DOWNSTREAM_REMOTE_ADDRESS", None, None)(record) == (address or None)
    assert compile_operator("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", None, None)(record) == host
    assert compile_operator("DOWNSTREAM_REMOTE_PORT", None, None)(record) == port


def test_set_headers_shadow_those_that_came() -> None:
    record = Record.of(make_request("/", ("x", "came")))
    record.request_set = {"x": "set"}
    record.response_headers = Headers([("y", "came")])
    record.response_set = {"y": "set"}
    assert compile_operator("REQ", "X", None)(record) == "set"
    assert compile_operator("RESP", "Y", None)(record) == "set"


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (None, "/old?q"),
        ("WQ", "/old?q"),
        ("NQ", "/old"),
        ("WQ:PATH", "/new?q"),
        ("NQ:PATH", "/new"),
        ("NQ:ORIG", "/old"),
        (":ORIG_OR_PATH", "/old?q"),
    ],
)
def test_path(argument: str | None, expected: str) -> None:
    record = Record.of(make_request("/new?q", ("x-envoy-original-path", "/old?q")))
    assert compile_operator("PATH", argument, None)(record) == expected


def test_path_without_a_rewrite() -> None:
    record = Record.of(make_request("/new?q"))
    assert compile_operator("PATH", "NQ:ORIG", None)(record) is None
    assert compile_operator("PATH", "NQ", None)(record) == "/new"


def test_query_parameters() -> None:
    record = Record.of(make_request("/?a=x%20y&a=2&b="))
    assert compile_operator("QUERY_PARAM", "a", None)(record) == "x y"
    assert compile_operator("QUERY_PARAM", "b", None)(record) is None
    assert compile_operator("QUERY_PARAMS", None, None)(record) == "a=x%20y&a=2&b="


WIRE = st.text(st.characters(max_codepoint=255), max_size=20)


@given(st.sampled_from(NAMES), WIRE, st.none() | st.integers(0, 9))
def test_no_request_makes_an_operator_raise(name: str, value: str, longest: int | None) -> None:
    record = Record.of(make_request(f"/{value}?x={value}", ("x", value), authority=value))
    record.upstream_host = record.downstream_remote_address = record.downstream_local_address = value
    found = compile_operator(name, WITH_ARGUMENT.get(name), longest)(record)
    assert found is None or isinstance(found, str | int)
    if longest is not None and isinstance(found, str):
        assert len(found) <= longest


@given(WIRE)
def test_a_query_parameter_is_what_was_encoded(value: str) -> None:
    record = Record.of(make_request(f"/?a=1&x={quote(value.encode('latin-1'))}&x=2"))
    assert compile_operator("QUERY_PARAM", "x", None)(record) == (value or None)
