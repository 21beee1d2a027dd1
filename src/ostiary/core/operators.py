"""The command operators of Envoy's format strings, each compiled to a function of a `Record`.

Only operators that need neither secrets nor files exist: `ENVIRONMENT`, `FILE_CONTENT` and the like are refused, and
so is every operator that Ostiary has no value for. A getter answers None where there is nothing to say. Where the text
ends up in a log (`redact`), headers that carry credentials show only that they were there.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Final, final
from urllib.parse import unquote_to_bytes

from ostiary.core.matching import first_parameters
from ostiary.core.record import Record
from ostiary.core.redaction import without_credentials
from ostiary.core.regex import wire_text
from ostiary.core.timestamps import time_formatter

Value = str | int | None
Getter = Callable[[Record], Value]

_RESPONSE_OPERATORS: Final = frozenset(("RESP", "TRAILER"))
_REQUEST_FIELDS: Final = {
    "PROTOCOL": "protocol",
    "BYTES_RECEIVED": "bytes_received",
    "REQUESTED_SERVER_NAME": "requested_server_name",
    "DOWNSTREAM_TLS_VERSION": "downstream_tls_version",
    "DOWNSTREAM_TLS_CIPHER": "downstream_tls_cipher",
    "HOSTNAME": "hostname",
    "CONNECTION_ID": "connection_id",
    "STREAM_ID": "stream_id",
    "TRACE_ID": "trace_id",
}
_ADDRESSES: Final = {
    "DOWNSTREAM_REMOTE": "downstream_remote_address",
    "DOWNSTREAM_DIRECT_REMOTE": "downstream_direct_remote_address",
    "DOWNSTREAM_LOCAL": "downstream_local_address",
    "UPSTREAM_LOCAL": "upstream_local_address",
    "UPSTREAM_REMOTE": "upstream_host",
}
_LATER_FIELDS: Final = {
    "RESPONSE_CODE": "response_code",
    "RESPONSE_CODE_DETAILS": "response_code_details",
    "RESPONSE_FLAGS": "response_flags",
    "CONNECTION_TERMINATION_DETAILS": "connection_termination_details",
    "BYTES_SENT": "bytes_sent",
    "DURATION": "duration",
    "REQUEST_DURATION": "request_duration",
    "REQUEST_TX_DURATION": "request_tx_duration",
    "RESPONSE_DURATION": "response_duration",
    "RESPONSE_TX_DURATION": "response_tx_duration",
    "UPSTREAM_HOST": "upstream_host",
    "UPSTREAM_HOST_NAME": "upstream_host_name",
    "UPSTREAM_CLUSTER": "upstream_cluster",
    "UPSTREAM_CLUSTER_RAW": "upstream_cluster",
    "UPSTREAM_PROTOCOL": "upstream_protocol",
    "UPSTREAM_TRANSPORT_FAILURE_REASON": "upstream_transport_failure_reason",
    "UPSTREAM_REQUEST_ATTEMPT_COUNT": "upstream_request_attempt_count",
    "UPSTREAM_CONNECTION_ID": "upstream_connection_id",
    "UPSTREAM_TLS_VERSION": "upstream_tls_version",
    "UPSTREAM_TLS_CIPHER": "upstream_tls_cipher",
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON": "downstream_transport_failure_reason",
    "ROUTE_NAME": "route_name",
}
_SIMPLE: Final = _REQUEST_FIELDS | _LATER_FIELDS
_WITH_ARGUMENT: Final = ("REQ", "RESP", "TRAILER", "START_TIME", "PATH", "QUERY_PARAM", "QUERY_PARAMS")
_ADDRESS_OPERATORS: Final = {
    f"{side}{part}": (field, part)
    for side, field in _ADDRESSES.items()
    for part in ("_ADDRESS", "_ADDRESS_WITHOUT_PORT", "_PORT")
}
NAMES: Final = tuple(sorted((*_SIMPLE, *_WITH_ARGUMENT, *_ADDRESS_OPERATORS)))
"""Every operator there is."""


def compile_operator(name: str, argument: str | None, max_length: int | None, *, redact: bool = False) -> Getter:
    """The getter of `%NAME(argument):max_length%`. Raises ValueError, naming the operator, for what is unsupported."""
    if name in _HEADER_OPERATORS:
        one = _HEADER_OPERATORS[name]
        getter = _alternatives(name, argument, _redacting(one) if redact else one)
    else:
        getter = _compile(name, argument)
    if max_length is None:
        return getter
    return _truncated(getter, max_length)


def needs_response(name: str) -> bool:
    """True if the operator has no value before an upstream was chosen or a response came."""
    return name in _RESPONSE_OPERATORS or name in _LATER_FIELDS or name.startswith("UPSTREAM_")


def _compile(name: str, argument: str | None) -> Getter:
    if name in _SIMPLE or name in _ADDRESS_OPERATORS:
        if argument is not None:
            raise ValueError(f"%{name}% takes no argument")
        if name in _ADDRESS_OPERATORS:
            return _address(*_ADDRESS_OPERATORS[name])
        return Field(_SIMPLE[name])
    match name:
        case "START_TIME":
            return _start_time(argument or "")
        case "PATH":
            return _path(argument or "")
        case "QUERY_PARAM":
            return _query_parameter(argument)
        case "QUERY_PARAMS":
            if argument not in (None, "", "ORIG", "RAW"):
                raise ValueError("%QUERY_PARAMS% takes no argument here")
            return lambda record: record.path.partition("?")[2] or None
    raise _unknown(name)


def _unknown(name: str) -> ValueError:
    near = difflib.get_close_matches(name, NAMES, 1, 0.5)
    hint = f"; the nearest is %{near[0]}%" if near else ""
    return ValueError(f"unsupported format operator %{name}%{hint}")


@final
class Field:
    """The getter of one attribute of a record; a format fetches all that it has of these at once."""

    __slots__ = ("attribute",)

    def __init__(self, attribute: str) -> None:
        self.attribute = attribute

    def __call__(self, record: Record) -> Value:
        """Its value; empty text counts as missing."""
        value: Value = getattr(record, self.attribute)
        return None if value == "" else value


def _truncated(getter: Getter, max_length: int) -> Getter:
    def get(record: Record) -> Value:
        value = getter(record)
        return value[:max_length] if isinstance(value, str) else value

    return get


def _address(attribute: str, part: str) -> Getter:
    if part == "_ADDRESS":
        return Field(attribute)

    def get(record: Record) -> Value:
        host, _, port = getattr(record, attribute).rpartition(":")
        if not host:
            return None
        if part == "_PORT":
            return int(port) if port.isascii() and port.isdigit() else None
        return str(host).strip("[]")

    return get


def _alternatives(name: str, argument: str | None, one: Callable[[str], Getter]) -> Getter:
    names = (argument or "").split("?")
    if len(names) > 2 or not all(names):
        raise ValueError(f"%{name}({argument or ''})%: one header, or two with ? between them, is expected")
    if len(names) == 1:
        return one(names[0].lower())
    first, second = (one(each.lower()) for each in names)

    def get(record: Record) -> Value:
        value = first(record)
        return second(record) if value is None else value

    return get


_PSEUDO_HEADERS: Final = {
    ":method": "method",
    ":path": "path",
    ":authority": "authority",
    "host": "authority",
    ":scheme": "scheme",
}


def _request_header(name: str) -> Getter:
    if name in _PSEUDO_HEADERS:
        return Field(_PSEUDO_HEADERS[name])
    if name.startswith(":"):
        raise ValueError(f"%REQ({name})%: there are :method, :path, :authority and :scheme")

    def get(record: Record) -> Value:
        value = record.request_set.get(name)
        return record.request_headers.get(name) if value is None else value

    return get


def _response_header(name: str) -> Getter:
    if name == ":status":
        return lambda record: str(record.response_code) if record.response_code else None
    if name.startswith(":"):
        raise ValueError(f"%RESP({name})%: there is :status")

    def get(record: Record) -> Value:
        value = record.response_set.get(name)
        return record.response_headers.get(name) if value is None else value

    return get


def _trailer(name: str) -> Getter:
    return lambda record: record.response_trailers.get(name)


_HEADER_OPERATORS: Final = {"REQ": _request_header, "RESP": _response_header, "TRAILER": _trailer}
_CREDENTIALS: Final = frozenset(
    ("authorization", "proxy-authorization", "cookie", "set-cookie", "x-forwarded-access-token", "x-ostiary-assertion")
)
_REDACTED: Final = "[secret]"


def _redacting(one: Callable[[str], Getter]) -> Callable[[str], Getter]:
    def compile_header(name: str) -> Getter:
        getter = one(name)
        if name == "referer":  # the callback's own address, for what its page loads

            def referer(record: Record) -> Value:
                value = getter(record)
                return without_credentials(value) if isinstance(value, str) else value

            return referer
        if name not in _CREDENTIALS:
            return getter
        return lambda record: None if getter(record) is None else _REDACTED

    return compile_header


def _start_time(pattern: str) -> Getter:
    render = time_formatter(pattern)
    if pattern.isascii():
        return lambda record: render(record.start_time)
    return lambda record: wire_text(render(record.start_time))


def _path(argument: str) -> Getter:
    """%PATH(WQ|NQ:ORIG|PATH|ORIG_OR_PATH)%: with or without the query; the path before a rewrite, now, or either."""
    query, _, source = argument.partition(":")
    if query not in ("", "WQ", "NQ") or source not in ("", "ORIG", "PATH", "ORIG_OR_PATH"):
        raise ValueError(f"%PATH({argument})%: expected WQ or NQ, then optionally :ORIG, :PATH or :ORIG_OR_PATH")
    original = _request_header("x-envoy-original-path")
    current = Field("path")

    def get(record: Record) -> Value:
        value = None if source == "PATH" else original(record)
        if value is None and source != "ORIG":
            value = current(record)
        return value.partition("?")[0] if query == "NQ" and isinstance(value, str) else value

    return get


def _query_parameter(argument: str | None) -> Getter:
    if not argument:
        raise ValueError("%QUERY_PARAM(name)% needs a name")

    def get(record: Record) -> Value:
        value = first_parameters(record.path.partition("?")[2]).get(argument)
        return unquote_to_bytes(value).decode("latin-1") if value else None

    return get
