"""HTTP/2 to the application: the real Envoy and Ostiary run the same YAML before the same scripted HTTP/2 server."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from h2_server import OK, Got, H2Server, Headers
from peers.proxies import Proxy, envoy_arguments, ostiary_arguments
from peers.same_yaml import Tree, bootstrap, cluster, fill
from ports import free_port
from wire import Client, scenario

pytestmark = pytest.mark.peer

OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
COUNTERS = (
    "upstream_cx_http1_total", "upstream_cx_http2_total", "upstream_cx_total", "http2.rx_reset",
    "http2.rx_messaging_error", "upstream_rq_total", "upstream_rq_completed", "upstream_rq_2xx", "upstream_rq_3xx",
    "upstream_rq_5xx", "upstream_rq_active", "upstream_rq_pending_active", "upstream_cx_connect_fail", "http2.tx_reset",
    "upstream_cx_protocol_error", "upstream_cx_close_notify", "upstream_cx_destroy", "upstream_cx_destroy_local",
    "upstream_cx_destroy_remote", "upstream_cx_destroy_with_active_rq",
)  # fmt: skip
LOG_FORMAT = (
    "%RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %RESPONSE_FLAGS% %UPSTREAM_PROTOCOL% %BYTES_RECEIVED% %BYTES_SENT%\n"
)
CONNECTION_ENDED = ("upstream_cx_protocol_error", "upstream_cx_destroy", "upstream_cx_destroy_local")
NEW_CONNECTION = ("upstream_cx_http2_total", "upstream_cx_total")
UNLIKE = re.compile(r"date|server|x-envoy-upstream-service-time|transfer-encoding|content-length|connection")
"""Of answers: time, and how HTTP/1.1 frames a body, which is a choice."""


def typed(**options: Any) -> Tree:
    return {"typed_extension_protocol_options": {OPTIONS: {"@type": f"type.googleapis.com/{OPTIONS}", **options}}}


HTTP2: dict[str, Tree] = {
    "explicit": typed(explicit_http_config={"http2_protocol_options": {"max_concurrent_streams": 50}}),
    "deprecated": {"http2_protocol_options": {"initial_stream_window_size": 65536}},
}


def tree(protocol: Tree) -> Tree:
    manager = {
        "http_protocol_options": {"enable_trailers": True},
        "upgrade_configs": [{"upgrade_type": "websocket"}],
    }
    made = bootstrap(manager=manager)
    [chain] = made["static_resources"]["listeners"][0]["filter_chains"]
    log = chain["filters"][0]["typed_config"]["access_log"][0]["typed_config"]["log_format"]["text_format_source"]
    log["inline_string"] = LOG_FORMAT
    made["static_resources"]["clusters"] = [cluster("app", "@APP@", **protocol)]  # type: ignore[arg-type]
    return made


@dataclass
class Side:
    """One proxy and the server behind it."""

    proxy: Proxy
    app: H2Server
    port: int
    log: Path


@contextlib.asynccontextmanager
async def both(protocol: Tree, directory: Path) -> AsyncIterator[list[Side]]:
    """Envoy and Ostiary, running."""
    sides = []
    async with contextlib.AsyncExitStack() as stack:
        for kind in ("envoy", "ostiary"):
            app = await stack.enter_async_context(H2Server().running())
            port, admin = free_port(), free_port()
            log = directory / f"{kind}.access.log"
            values = {"PORT": port, "ADMIN": admin, "APP": app.port, "LOG": str(log)}
            config = directory / f"{kind}.yaml"
            config.write_text(yaml.safe_dump(fill(tree(protocol), values), sort_keys=False))
            argv = envoy_arguments(config) if kind == "envoy" else ostiary_arguments(config)
            proxy = Proxy(kind, argv, (port,), admin, directory / f"{kind}.log").start()
            stack.callback(proxy.stop)
            sides.append(Side(proxy, app, port, log))
        yield sides


@dataclass(frozen=True)
class Case:
    """What the application does, what a client asks for, and what is to be the same beyond what always is."""

    id: str
    script: Callable[[Got], None]
    request: bytes = b"GET /page?a=b HTTP/1.1\r\nHost: app.example.com\r\nCookie: a=b; c=d\r\nX-A: 1\r\nX-A: 2\r\n\r\n"
    on_end: Callable[[Got], None] = field(default=lambda _got: None)
    malformed: bool = False
    """Envoy closes the connection over it; here it is one request's misfortune."""
    after_malformed: bool = False
    """So Envoy needs a new one."""


def informational(got: Got) -> None:
    got.connection.h2.send_headers(got.id, [(b":status", b"100")])
    got.answer()


def with_trailers(got: Got) -> None:
    got.answer(b"body", OK, end=False)
    got.end([(b"grpc-status", b"0"), (b"x-trailer", b"t")])


def begun(got: Got) -> None:
    got.answer(b"ab", [*OK, (b"content-length", b"4")], end=False)
    asyncio.get_running_loop().call_later(0.1, got.send_reset, ErrorCodes.INTERNAL_ERROR)


def counted(got: Got) -> None:
    got.answer(b"%d" % len(got.body))


POST = b"POST /form HTTP/1.1\r\nHost: app.example.com\r\n"
HOP = b"Connection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nTE: gzip, trailers\r\n"
CASES = [
    Case("plain", lambda got: got.answer(b"hello", [*OK, (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")])),
    Case("head", lambda got: got.answer(b"", [*OK, (b"content-length", b"7")]),
         b"HEAD / HTTP/1.1\r\nHost: app.example.com\r\n\r\n"),
    Case("no content", lambda got: got.answer(b"", [(b":status", b"204")])),
    Case("not modified", lambda got: got.answer(b"", [(b":status", b"304"), (b"etag", b"x")])),
    Case("hop by hop", lambda got: got.answer(), b"GET / HTTP/1.1\r\nHost: app.example.com\r\n" + HOP + b"\r\n"),
    Case("upload", lambda _got: None, POST + b"Content-Length: 100000\r\n\r\n" + b"x" * 100_000, counted),
    Case("chunked upload", lambda _got: None,
         POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nx-trailer: 1\r\n\r\n", counted),
    Case("empty upload", lambda _got: None, POST + b"Content-Length: 0\r\n\r\n", counted),
    Case("trailers", with_trailers),
    Case("continue", informational),
    Case("reset", lambda got: got.send_reset(ErrorCodes.INTERNAL_ERROR)),
    Case("reset after the head", begun),
    Case("refused", lambda _got: None, POST + b"Content-Length: 1\r\n\r\nx",
         lambda got: got.send_reset(ErrorCodes.REFUSED_STREAM)),
    Case("dropped", lambda got: got.connection.transport.abort(), POST + b"Content-Length: 0\r\n\r\n"),
    Case("value with white space", lambda got: got.answer(b"ok", [*OK, (b"x-a", b" b ")])),
    Case("upper-case name", lambda got: got.answer(b"ok", [*OK, (b"X-A", b"b")]), malformed=True),
    Case("connection header", lambda got: got.answer(b"ok", [*OK, (b"connection", b"close")]), malformed=True,
         after_malformed=True),
    Case("zero byte", lambda got: got.answer(b"ok", [*OK, (b"x-a", b"b\0")]), malformed=True,
         after_malformed=True),
    Case("line break", lambda got: got.answer(b"ok", [*OK, (b"x-a", b"b\r\nx-b: c")]), malformed=True,
         after_malformed=True),
    Case("no status", lambda got: got.answer(b"ok", [(b"x-a", b"b")]), malformed=True,
         after_malformed=True),
    Case("large head", lambda got: got.answer(b"ok", [*OK, *[(b"x-%d" % n, b"v" * 300) for n in range(50)]]),
         after_malformed=True),
]  # fmt: skip


async def observe(side: Side, case: Case) -> dict[str, Any]:
    """What a client, the application, the counters and the access log saw."""
    app = side.app
    app.script, app.on_end = case.script, case.on_end
    app.got.clear()
    before = side.proxy.counters()
    client = await Client.connect(f"127.0.0.1:{side.port}")
    client.send(case.request)
    seen: dict[str, Any] = {}
    try:
        answer = await client.answer(case.request.startswith(b"HEAD"))
        seen["status"], seen["body"], seen["trailers"] = answer.status, answer.body, sorted(answer.trailers)
        seen["headers"] = sorted(item for item in answer.headers if not UNLIKE.fullmatch(item[0]))
    except (asyncio.IncompleteReadError, ConnectionError):
        seen["status"] = "cut off"
    client.close()
    got = app.got[0]
    sent: Headers = [(name, value) for name, value in got.headers if name != b"x-request-id"]
    seen["upstream"] = sorted(sent)
    seen["upstream trailers"], seen["upstream body"] = got.trailers, bytes(got.body)
    after = await asyncio.to_thread(side.proxy.counters)
    for name in COUNTERS:
        key = f"cluster.app.{name}"
        seen[name] = after.get(key, 0) - before.get(key, 0)
    app.errors.clear()  # what the server's library thinks of the proxies' goodbyes is no finding
    return seen


@pytest.mark.parametrize("protocol", HTTP2)
def test_same_as_envoy(protocol: str, envoy: Path, tmp_path: Path, tally: Counter[str]) -> None:
    assert envoy.exists()

    @scenario
    async def compared() -> None:
        problems = []
        async with both(HTTP2[protocol], tmp_path) as (theirs, ours):
            for case in CASES:
                expected, found = await observe(theirs, case), await observe(ours, case)
                tally["scripts"] += 1
                tally["observations"] += len(expected)
                for name in expected:
                    wanted, here = expected[name], found.get(name)
                    if case.malformed and name in CONNECTION_ENDED:
                        wanted -= 1
                    if case.after_malformed and name in NEW_CONNECTION:
                        wanted -= 1
                    if wanted != here:
                        problems.append(f"{case.id}: {name}\n    envoy:   {wanted!r}\n    ostiary: {here!r}")
            for side in (theirs, ours):
                side.proxy.stop()  # their logs are complete now
            lines = [side.log.read_text().splitlines() for side in (theirs, ours)]
            problems += [
                f"{case.id}: access log\n    envoy:   {wanted}\n    ostiary: {here}"
                for case, wanted, here in zip(CASES, *lines, strict=True)
                if wanted != here
            ]
        assert not problems, "\n".join(problems)

    compared()


def test_a_websocket_through_either(envoy: Path, tmp_path: Path) -> None:
    """Both send an extended CONNECT; only Ostiary adds what browsers insist on, Sec-WebSocket-Accept."""
    assert envoy.exists()
    handshake = (
        b"GET /ws HTTP/1.1\r\nHost: app.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )

    def back(got: Got) -> None:
        got.connection.h2.send_data(got.id, bytes(got.body))
        got.body.clear()
        got.connection.flush()

    @scenario
    async def compared() -> None:
        seen = []
        async with both(HTTP2["explicit"], tmp_path) as sides:
            for side in sides:
                side.app.settings = {SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}
                side.app.script = lambda got: got.answer(b"", [(b":status", b"200")], end=False)
                side.app.on_data = back
                client = await Client.connect(f"127.0.0.1:{side.port}")
                client.send(handshake)
                answer = await client.answer()
                client.send(b"there and back")
                echoed = await client.reader.readexactly(14)
                upstream = sorted(item for item in side.app.got[0].headers if item[0] != b"x-request-id")
                seen.append((answer.status, answer.get("upgrade"), echoed, upstream))
                accept = answer.get("sec-websocket-accept")
                assert accept == (None if side.proxy.name == "envoy" else "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
                client.close()
        assert seen[0] == seen[1]

    compared()
