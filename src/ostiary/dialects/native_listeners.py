"""The listening side of the native dialect: addresses, TLS, access log, timeouts and limits.

The native listener is an edge: the peer is the client, unless `trusted_hops` proxies stand before it. WebSocket
upgrades are on and routes have no timeout, so that streams live as long as both sides want; idle timeouts still bound
them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, cast

from ostiary.core.formatter import compile_format
from ostiary.dialects.native_presets import is_ip, is_loopback
from ostiary.dialects.native_reader import Report, Section, scalar
from ostiary.dialects.native_values import Value
from ostiary.model import limits
from ostiary.model.access_log import DEFAULT_FORMAT, AccessLog, AccessLogFilter, JsonFormat
from ostiary.model.config import Address, HttpConnectionManager, HttpFilter, Router
from ostiary.model.routes import RouteConfiguration, VirtualHost
from ostiary.model.signin import SignIn
from ostiary.model.tls import DataSource, DownstreamTlsContext, TlsCertificate, TlsVersion

DEFAULT_LISTEN: Final = "127.0.0.1:4180"
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", re.ASCII)
_LISTEN_MEND: Final = "write it as 127.0.0.1:4180, [::]:4180, :4180 (every address) or unix:/run/ostiary.sock"
TLS_VERSIONS: Final[Mapping[str, TlsVersion]] = {"1.2": "TLSv1_2", "1.3": "TLSv1_3"}
ESCAPED_SLASHES: Final = {
    "keep": "KEEP_UNCHANGED",
    "reject": "REJECT_REQUEST",
    "redirect": "UNESCAPE_AND_REDIRECT",
    "decode": "UNESCAPE_AND_FORWARD",
}
_EscapedSlashes = Literal["KEEP_UNCHANGED", "REJECT_REQUEST", "UNESCAPE_AND_REDIRECT", "UNESCAPE_AND_FORWARD"]


def parse_address(text: str) -> Address | None:
    """`HOST:PORT`, `[IPV6]:PORT`, `:PORT`, or `unix:/path`; None if it is none of them."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        return Address(pipe=path) if path.startswith("/") and len(path) <= 107 else None
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) or int(port) > 65535:
        return None
    if host.startswith("[") and host.endswith("]"):
        inner = host[1:-1]
        return Address(host=inner, port=int(port)) if ":" in inner and is_ip(inner) else None
    if host in ("", "*"):
        return Address(host="0.0.0.0", port=int(port))  # noqa: S104 - asked for in so many words
    return Address(host=host, port=int(port)) if _HOST.fullmatch(host) else None


def is_private_to_this_machine(address: Address) -> bool:
    """True if nobody but this machine can connect."""
    return address.pipe is not None or is_loopback(address.host)


def read_addresses(root: Section) -> tuple[Address, ...]:
    """`listen`: one address or several."""
    addresses = []
    value = root.get("listen")
    default = Value(DEFAULT_LISTEN, root.value.file, root.value.line, root.value.column)
    items = root.items("listen") if value is not None else [("listen", default)]
    for path, item in items:
        text = scalar(item, path, root.report)
        address = parse_address(text)
        if address is None:
            root.report.error(item, path, f"{text!r} is not an address to listen on", _LISTEN_MEND)
        elif address in addresses and address.port:
            root.report.error(item, path, f"{text!r} is written twice", "remove one of them")
        else:
            addresses.append(address)
    if not items:
        root.error("listen", "an empty list", _LISTEN_MEND)
    return tuple(addresses)


def read_admin(root: Section) -> Address | None:
    """`admin`: where the admin API listens; nowhere by default."""
    text = root.text("admin")
    if not text or text == "off":
        return None
    address = parse_address(text)
    if address is None:
        root.error("admin", f"{text!r} is not an address to listen on", "write it as 127.0.0.1:9901, or off")
    elif not is_private_to_this_machine(address):
        message = "whoever can connect to the admin address can stop this process and read its statistics"
        root.warning("admin", message, "listen on 127.0.0.1")
    return address


def read_tls(root: Section) -> DownstreamTlsContext | None:
    """`tls`: the listener's certificate."""
    if root.get("tls") is None:
        return None
    section = root.section("tls", "tls")
    section.required("certificate_file", "the certificate chain, PEM")
    section.required("key_file", "the certificate's private key, PEM")
    version = section.choice("minimum_version", tuple(TLS_VERSIONS), "1.2")
    certificate = TlsCertificate(
        certificate_chain=section.file("certificate_file") or DataSource(),
        private_key=section.file("key_file") or DataSource(),
        password=section.file("key_password_file"),
    )
    return DownstreamTlsContext(
        tls_certificates=(certificate,),
        alpn_protocols=("http/1.1",),
        tls_minimum_protocol_version=TLS_VERSIONS[version],
    )


def read_http(root: Section, sign_in: SignIn, hosts: tuple[VirtualHost, ...]) -> HttpConnectionManager:
    """Everything between the connection and the routes."""
    timeouts, bounds = root.section("timeouts", "timeouts"), root.section("limits", "limits")
    by_path = any(rule.paths for rule in sign_in.rules) or any(
        route.match.path_separated_prefix for host in hosts for route in host.routes
    )
    # Where a path decides who may enter, `/public/..%2fadmin` must not mean one thing here and another behind: such
    # requests are refused. Where no path decides anything, applications that use %2F in names keep working.
    slashes = root.choice("escaped_slashes", tuple(ESCAPED_SLASHES), "reject" if by_path else "keep")
    most_kb = limits.MAX_REQUEST_HEADERS_BYTES // 1024
    return HttpConnectionManager(
        stat_prefix="ostiary",
        route_config=RouteConfiguration(name="native", virtual_hosts=hosts, ignore_port_in_host_matching=True),
        http_filters=(
            HttpFilter(name="ostiary.sign_in", config=sign_in),
            HttpFilter(name="envoy.filters.http.router", config=Router(suppress_envoy_headers=True)),
        ),
        access_log=read_access_log(root),
        server_header_transformation="PASS_THROUGH",
        use_remote_address=True,
        xff_num_trusted_hops=root.integer("trusted_hops", 0, high=20),
        normalize_path=True,
        merge_slashes=by_path,
        path_with_escaped_slashes_action=cast(_EscapedSlashes, ESCAPED_SLASHES[slashes]),
        max_request_headers_kb=bounds.integer("request_headers_kb", most_kb, low=1, high=8192),
        max_headers_count=bounds.integer("headers_count", limits.MAX_HEADERS_COUNT, low=10, high=10_000),
        max_requests_per_connection=bounds.integer("requests_per_connection", 0, high=1_000_000_000) or None,
        request_timeout=timeouts.duration("request", 0.0, off=True),
        request_headers_timeout=timeouts.duration("request_headers", limits.REQUEST_HEADERS_TIMEOUT, low=0.1),
        idle_timeout=timeouts.duration("idle", limits.IDLE_TIMEOUT, low=1.0),
        stream_idle_timeout=timeouts.duration("stream_idle", limits.STREAM_IDLE_TIMEOUT, off=True),
        upgrade_types={"websocket": True},
        profile="ostiary",
    )


def read_access_log(root: Section) -> tuple[AccessLog, ...]:
    """`access_log`: `stdout` (the default), `stderr`, `off`, a file's path, or a mapping."""
    value = root.get("access_log")
    if value is None or isinstance(value.content, str) or value.content is None:
        return _log_to(root.text("access_log", "stdout"), DEFAULT_FORMAT, None)
    section = root.section("access_log", "access_log")
    json_format = _json_format(section)
    text_format = section.text("format", DEFAULT_FORMAT)
    if problem := _format_problem(text_format):
        section.error("format", problem)
    if section.has("format") and section.has("json"):
        section.error("json", "both format and json are given", "keep one of them")
    status = section.integer("status_at_least", 0, high=599)
    quiet = section.flag("without_health_checks", default=False)
    return _log_to(
        section.text("to", "stdout"),
        text_format if text_format.endswith("\n") else text_format + "\n",
        json_format,
        omit_empty=section.flag("omit_empty_values", default=False),
        only=AccessLogFilter(status_code_at_least=status or None, not_health_check=quiet) if status or quiet else None,
    )


def _log_to(
    to: str,
    text_format: str,
    json_format: JsonFormat | None,
    *,
    omit_empty: bool = False,
    only: AccessLogFilter | None = None,
) -> tuple[AccessLog, ...]:
    if to in ("off", "none"):
        return ()
    sink: Literal["file", "stdout", "stderr"] = "stdout" if to == "stdout" else "stderr" if to == "stderr" else "file"
    return (
        AccessLog(
            sink=sink,
            path=to if sink == "file" else "",
            text_format=None if json_format else text_format,
            json_format=json_format,
            omit_empty_values=omit_empty,
            filter=only,
        ),
    )


def _json_format(section: Section) -> JsonFormat | None:
    value = section.get("json")
    if value is None or value.content is None:
        return None
    if not isinstance(value.content, Mapping):
        section.error("json", f"a mapping of names to format strings is needed, not {value.kind}")
        return None
    return _nested(value.content, section.at("json"), section.report)


def _nested(content: Mapping[str, Value], path: str, report: Report) -> JsonFormat:
    result: dict[str, str | JsonFormat] = {}
    for name, item in content.items():
        inner = f"{path}.{name}"
        if isinstance(item.content, Mapping):
            result[name] = _nested(item.content, inner, report)
        else:
            result[name] = text = scalar(item, inner, report)
            if problem := _format_problem(text):
                report.error(item, inner, problem)
    return result


def _format_problem(text: str) -> str:
    """What is wrong with a format string; empty if nothing."""
    try:
        compile_format(text)
    except ValueError as error:
        return str(error)
    return ""
