"""The same traffic through the real Envoy and through Ostiary, and what each has counted afterwards.

Every step is a small script; what it adds to each counter is taken by itself, so that a difference names its cause.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import trustme
import yaml

from net.dns_server import Reply
from peers.client import Client, Side
from peers.clusters_bench import Dns, SilentPort, endpoint, hosts, named
from peers.proxies import Proxy, envoy_arguments, ostiary_arguments
from peers.rawhttp import Connection, request
from peers.recorders import Answer, Application, Provider
from peers.same_yaml import (
    HOST,
    MANAGER_TYPE,
    TYPES,
    Tree,
    bootstrap,
    fill,
    filters,
    header,
    oauth2_config,
    route,
)
from ports import free_port

PATIENCE: Final = 15.0
STEPS: dict[str, Callable[[World], None]] = {}


def step(script: Callable[[World], None]) -> Callable[[World], None]:
    """Register a script under its own name."""
    STEPS[script.__name__] = script
    return script


def _tls(kind: str, **settings: Any) -> Tree:
    typed = {"@type": f"{TYPES}.transport_sockets.tls.v3.{kind}", **settings}
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed}


def _trusting(authority: str) -> Tree:
    """TLS to an upstream whose certificate that authority has to have signed."""
    trusted = {"validation_context": {"trusted_ca": {"filename": authority}}}
    return _tls("UpstreamTlsContext", sni=HOST, common_tls_context=trusted)


def one(name: str, port: str, **more: Any) -> Tree:
    """A cluster of one host."""
    return hosts(name, endpoint(port), **more)


def looked_up(name: str, host: str, kind: str) -> Tree:
    """A cluster of a name that is asked for once."""
    return named(name, host, kind, dns_lookup_family="V4_ONLY", dns_refresh_rate="300s")


def tree() -> Tree:
    """A listener that signs in, one with TLS, and clusters of every kind."""
    manager = {
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "stream_idle_timeout": "60s",
        "request_headers_timeout": "1s",
        "common_http_protocol_options": {"max_requests_per_connection": 5, "idle_timeout": "2s"},
    }
    routes = [
        route("/public/dead", cluster="dead"),
        route("/public/silent", cluster="silent"),
        {"match": {"prefix": "/public/nowhere"}, "route": {"cluster_header": "x-cluster"}},
        route("/public/slow", timeout="0.5s"),
        route("/public/named", cluster="named"),
        route("/public/logical", cluster="logical"),
        route("/public/empty", cluster="nobody"),
        route("/public/tls", cluster="encrypted"),
        route("/public/distrusted", cluster="distrusted"),
        {"match": {"prefix": "/public/moved"}, "redirect": {"path_redirect": "/public/"}},
        {"match": {"prefix": "/public/direct"}, "direct_response": {"status": 418, "body": {"inline_string": "tea"}}},
        {"match": {"prefix": "/"}, "route": {"cluster": "app"}},
    ]
    clusters = [
        one("dead", "@DEAD@"),
        one("silent", "@SILENT@", connect_timeout="0.3s"),
        looked_up("named", "named.test", "STRICT_DNS"),
        looked_up("logical", "named.test", "LOGICAL_DNS"),
        looked_up("nobody", "nobody.test", "STRICT_DNS"),
        one("encrypted", "@SECURE@", transport_socket=_trusting("@CA@")),
        one("distrusted", "@SECURE@", transport_socket=_trusting("@OTHER_CA@")),
    ]
    oauth2 = oauth2_config(pass_through_matcher=[header(":path", prefix="/public")], use_refresh_token=False)
    found = bootstrap(oauth2=oauth2, routes=routes, clusters=clusters, manager=manager)
    listeners = found["static_resources"]["listeners"]
    secure = {
        "@type": MANAGER_TYPE,
        "stat_prefix": "sec",
        "route_config": {"name": "plain", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route()]}]},
        "http_filters": filters(None),
    }
    certificate = {"certificate_chain": {"filename": "@CERT@"}, "private_key": {"filename": "@KEY@"}}
    context = {"tls_certificates": [certificate]}
    listeners.append(
        {
            "name": "secure",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": "@TLS@"}},
            "filter_chains": [
                {
                    "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": secure}],
                    "transport_socket": _tls("DownstreamTlsContext", common_tls_context=context),
                }
            ],
        }
    )
    return found


class Counted(Connection):
    """Counts what it sends and gets."""

    def __init__(self, world: World) -> None:
        super().__init__(world.port)
        self.world = world

    def send(self, data: bytes) -> None:
        self.world.sent += len(data)
        super().send(data)

    def _more(self) -> bool:
        before = len(self.buffer)
        found = super()._more()
        self.world.received += len(self.buffer) - before
        return found


class World:
    """One proxy with its clients and upstreams."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.sent = self.received = 0
        """Bytes of the first listener's clients, browsers aside."""
        self.open: Connection | None = None
        self.app, self.idp = Application(), Provider()
        self.dns = Dns({("named.test.", "A"): Reply(("127.0.0.1",))})
        self.silent = SilentPort()
        self.port, self.tls_port, admin, dead = (free_port() for _ in range(4))
        authority, other = trustme.CA(), trustme.CA()
        self.ca = folder / f"{kind}-ca.pem"
        authority.cert_pem.write_to_path(self.ca)
        other.cert_pem.write_to_path(folder / f"{kind}-other.pem")
        certificate = authority.issue_cert(HOST)
        certificate.cert_chain_pems[0].write_to_path(folder / f"{kind}.pem")
        certificate.private_key_pem.write_to_path(folder / f"{kind}.key")
        values: dict[str, Any] = {
            "PORT": self.port, "TLS": self.tls_port, "SECURE": self.tls_port, "ADMIN": admin, "DEAD": dead,
            "APP": self.app.port, "APP0": self.app.port, "IDP": self.idp.port, "DNS": self.dns.port,
            "SILENT": self.silent.port,
            "CA": str(self.ca), "OTHER_CA": str(folder / f"{kind}-other.pem"),
            "CERT": str(folder / f"{kind}.pem"), "KEY": str(folder / f"{kind}.key"),
            "LOG": str(folder / f"{kind}.access"),
        }  # fmt: skip
        config = fill(tree(), values)
        if kind == "envoy":
            config["stats_flush_on_admin"] = True  # its threads' histograms are merged whenever somebody asks
        path = folder / f"{kind}.yaml"
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        argv = envoy_arguments(path) if kind == "envoy" else ostiary_arguments(path)
        self.proxy = Proxy(kind, argv, (self.port, self.tls_port), admin, folder / f"{kind}.log")
        self.side = Side(kind, self.proxy, self.app, self.idp, folder / f"{kind}.access", self.port)

    def close(self) -> None:
        """Stop everything."""
        self.proxy.stop()
        for each in (self.app, self.idp, self.silent, self.dns):
            each.close()

    # --- clients

    @contextlib.contextmanager
    def connected(self) -> Iterator[Connection]:
        """A connection to the first listener."""
        with Counted(self) as connection:
            yield connection

    def get(self, target: str, *headers: tuple[str, str], method: str = "GET", body: bytes = b"") -> int:
        """One request on a connection of its own; its status."""
        with self.connected() as connection:
            return ask(connection, target, *headers, method=method, body=body)

    def refused(self, data: bytes) -> None:
        """Bytes after which the connection ends."""
        with self.connected() as connection:
            connection.send(data)
            with contextlib.suppress(OSError):
                connection.rest()

    def encrypted(self) -> ssl.SSLSocket:
        """A connection to the listener with TLS."""
        context = ssl.create_default_context(cafile=str(self.ca))
        connection = socket.create_connection(("127.0.0.1", self.tls_port), PATIENCE)
        return context.wrap_socket(connection, server_hostname=HOST)

    def browser(self) -> Client:
        """One that keeps cookies."""
        return Client(self.side, "browser", {}, "")

    def wait(self, what: Callable[[], bool]) -> None:
        """Until it holds. Raises AssertionError."""
        deadline = time.monotonic() + PATIENCE
        while not what():
            assert time.monotonic() < deadline, f"{self.kind}: it never came about"
            time.sleep(0.02)

    def reaches(self, name: str, value: int) -> Callable[[], bool]:
        """For `wait`."""
        return lambda: self.proxy.counters().get(name, 0) >= value

    # --- looking

    def stats(self) -> dict[str, int]:
        """Counters and gauges, and of each histogram how many there are; names without ports."""
        found = {}
        for line in self.proxy.admin("/stats").splitlines():
            name, _, value = line.rpartition(": ")
            if value.isdigit():
                found[self._named(name)] = int(value)
        for line in self.proxy.admin("/stats?type=Histograms&histogram_buckets=cumulative").splitlines():
            name, _, value = line.partition(": ")
            count = value.rpartition(",")[2].rstrip(")") if value.startswith("B") else "0"
            found[f"{self._named(name)} (count)"] = int(count)
        return found

    def _named(self, name: str) -> str:
        return name.replace(f"127.0.0.1_{self.port}", "ADDRESS").replace(f"127.0.0.1_{self.tls_port}", "SECURE")

    def settled(self) -> dict[str, int]:
        """Statistics once every client that has left is seen to have left, and nothing changes any more."""
        before: dict[str, int] = {}
        deadline = time.monotonic() + PATIENCE
        while (now := still(self.stats())) != before or self._busy(now):
            assert time.monotonic() < deadline, f"{self.kind}: it does not come to rest"
            before = now
            time.sleep(0.15)
        return before

    def _busy(self, stats: dict[str, int]) -> bool:
        open_ = int(self.open is not None)
        clients = stats["http.ing.downstream_cx_active"], stats["http.sec.downstream_cx_active"]
        encrypted = stats["cluster.encrypted.upstream_cx_active"]
        return clients != (open_, encrypted) or stats["cluster.app.upstream_rq_active"] != open_


MOVING: Final = re.compile(
    r"(server|main_thread|workers|runtime|filesystem|dns|thread_local|access_log|thread_local_cluster_manager"
    r"|listener_manager|cluster_manager|listener\.admin|http\.admin|listener\.[^.]+\.worker_\d+)\b"
)
"""What is about the process, or about the one who asks."""


def still(stats: dict[str, int]) -> dict[str, int]:
    """Without those."""
    return {name: value for name, value in stats.items() if not MOVING.match(name)}


def ask(connection: Connection, target: str, *headers: tuple[str, str], method: str = "GET", body: bytes = b"") -> int:
    """One request on that connection; its status."""
    connection.send(request(method, target, headers, body, host=HOST))
    while True:
        response = connection.receive(head_request=method == "HEAD")
        if response.status >= 200 or response.status == 101:
            return response.status


def reset(connection: Connection) -> None:
    """Leave with a RST."""
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.socket.close()


# --- the traffic


@step
def start(world: World) -> None:
    world.wait(lambda: world.proxy.ready() == "LIVE")
    world.wait(world.reaches("cluster.named.membership_total", 1))
    world.wait(world.reaches("cluster.logical.membership_total", 1))
    world.wait(world.reaches("cluster.nobody.update_attempt", 1))


@step
def four_gets_on_one_connection(world: World) -> None:
    with world.connected() as connection:
        for n in range(4):
            assert ask(connection, f"/public/{n}") == 200


@step
def sixteen_gets(world: World) -> None:
    for n in range(16):
        assert world.get(f"/public/{n}") == 200


@step
def too_many_for_one_connection(world: World) -> None:
    with world.connected() as connection:
        for n in range(5):
            assert ask(connection, f"/public/{n}") == 200
        connection.rest()


@step
def bodies(world: World) -> None:
    assert world.get("/public/", method="POST", body=b"x" * 1000) == 200
    assert world.get("/public/", method="PUT", body=b"y" * 300_000) == 200
    chunked = b"5\r\nhello\r\n0\r\n\r\n"
    assert world.get("/public/", ("transfer-encoding", "chunked"), method="POST", body=chunked) == 200
    assert world.get("/public/", ("expect", "100-continue"), method="POST", body=b"z" * 10) == 200
    assert world.get("/public/", method="HEAD") == 200


@step
def a_large_answer(world: World) -> None:
    world.app.script.append(Answer(body=b"b" * 2_000_000))
    assert world.get("/public/large") == 200


@step
def statuses(world: World) -> None:
    for status in (201, 204, 301, 304, 404, 429, 500, 503):
        world.app.script.append(Answer(status))
        assert world.get("/public/status") == status


@step
def early_hints(world: World) -> None:
    raw = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    world.app.script.append(Answer(raw=raw))
    assert world.get("/public/hints") == 200


@step
def redirects_and_direct_answers(world: World) -> None:
    assert world.get("/public/moved") == 301
    assert world.get("/public/direct") == 418
    assert world.get("/public/nowhere", ("x-cluster", "missing")) == 503


@step
def a_sign_in(world: World) -> None:
    browser = world.browser()
    assert browser.sign_in("/page").status == 302
    assert browser.send("GET", "/page").status == 200
    assert browser.send("GET", "/page").status == 200
    assert browser.send("GET", "/signout").status == 302


@step
def a_failed_token_call(world: World) -> None:
    browser = world.browser()
    flow = browser.start("/page")
    world.idp.script.append(Answer(400, (("content-type", "application/json"),), b'{"error":"invalid_grant"}'))
    assert browser.callback(flow).status == 401
    browser = world.browser()
    flow = browser.start("/page")
    world.idp.script.append(Answer(raw=b"", close=True))
    assert browser.callback(flow).status == 401


@step
def callbacks_without_a_flow(world: World) -> None:
    browser = world.browser()
    assert browser.send("GET", "/callback?error=access_denied").status == 401
    assert browser.send("GET", "/callback?code=1&state=2").status == 401


@step
def refused(world: World) -> None:
    assert world.get("/public/dead") == 503


@step
def never_connected(world: World) -> None:
    assert world.get("/public/silent") == 503


@step
def no_hosts(world: World) -> None:
    assert world.get("/public/empty") == 503


@step
def too_slow(world: World) -> None:
    world.app.script.append(Answer(delay=60.0))
    assert world.get("/public/slow") == 504


@step
def no_answer(world: World) -> None:
    world.app.script.append(Answer(raw=b"", close=True))
    assert world.get("/public/nothing") == 503


@step
def an_answer_that_is_none(world: World) -> None:
    world.app.script.append(Answer(raw=b"what?\r\n\r\n", close=True))
    assert world.get("/public/nonsense") == 502


@step
def half_an_answer(world: World) -> None:
    world.app.script.append(Answer(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", close=True))
    world.refused(request("GET", "/public/half", host=HOST))


@step
def the_application_closes(world: World) -> None:
    world.app.script.append(Answer(headers=(("connection", "close"),), close=True))
    assert world.get("/public/closing") == 200


@step
def a_websocket(world: World) -> None:
    with world.connected() as connection:
        headers = (("connection", "upgrade"), ("upgrade", "websocket"))
        assert ask(connection, "/public/ws", *headers) == 101
        connection.send(b"echo this")
        assert connection._take(9) == b"echo this"


@step
def a_websocket_that_is_open(world: World) -> None:
    connection = Counted(world)
    headers = (("connection", "upgrade"), ("upgrade", "websocket"))
    assert ask(connection, "/public/ws", *headers) == 101
    world.open = connection


@step
def and_is_closed(world: World) -> None:
    assert world.open is not None
    world.open.close()
    world.open = None


@step
def clients_that_leave(world: World) -> None:
    world.app.script.append(Answer(delay=60.0))
    with world.connected() as connection:
        connection.send(request("GET", "/public/left", host=HOST))
        world.wait(world.reaches("http.ing.downstream_rq_active", 1))


@step
def clients_that_reset(world: World) -> None:
    world.app.script.append(Answer(delay=60.0))
    connection = Counted(world)
    connection.send(request("GET", "/public/left", host=HOST))
    world.wait(world.reaches("http.ing.downstream_rq_active", 1))
    reset(connection)
    connection = Counted(world)
    assert ask(connection, "/public/") == 200
    reset(connection)


@step
def nonsense(world: World) -> None:
    world.refused(b"nonsense\r\n\r\n")


@step
def no_host(world: World) -> None:
    world.refused(b"GET / HTTP/1.1\r\n\r\n")


@step
def old_version(world: World) -> None:
    world.refused(b"GET /public HTTP/1.0\r\nhost: a\r\n\r\n")


@step
def a_huge_head(world: World) -> None:
    world.refused(b"GET /public HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 70_000 + b"\r\n\r\n")


@step
def bad_framing(world: World) -> None:
    world.refused(b"POST /public HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")


@step
def heads_that_never_end(world: World) -> None:
    with world.connected() as connection:
        connection.send(b"GET /public HTTP/1.1\r\nhost: a\r\n")
        connection.rest()


@step
def connections_without_a_request(world: World) -> None:
    with world.connected():
        pass


@step
def idle_connections(world: World) -> None:
    with world.connected() as connection:
        assert ask(connection, "/public/") == 200
        connection.rest()


@step
def names(world: World) -> None:
    assert world.get("/public/named") == 200
    assert world.get("/public/logical") == 200


@step
def pipelined(world: World) -> None:
    with world.connected() as connection:
        connection.send(request("GET", "/public/1", host=HOST) * 3)
        for _ in range(3):
            assert connection.receive().status == 200


@step
def tls(world: World) -> None:
    with world.encrypted() as sock:
        for _ in range(2):
            sock.sendall(request("GET", "/over-tls", host=HOST))
            got = b""
            while not got.endswith(b"you asked for /over-tls\n"):
                got += sock.recv(10_000)


@step
def tls_upstream(world: World) -> None:
    assert world.get("/public/tls") == 200


@step
def tls_that_fails(world: World) -> None:
    with socket.create_connection(("127.0.0.1", world.tls_port)) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        with contextlib.suppress(OSError):
            while sock.recv(1000):
                pass
    context = ssl.create_default_context()
    with contextlib.suppress(ssl.SSLError), socket.create_connection(("127.0.0.1", world.tls_port)) as sock:
        context.wrap_socket(sock, server_hostname=HOST)


@step
def tls_upstream_distrusted(world: World) -> None:
    assert world.get("/public/distrusted") == 503
