"""Upstreams that can't be reached, in the real Envoy's log and in ours, in each of the three formats.

One configuration for both; each request goes to a cluster that is broken in its own way.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import trustme

from envoy_example import PLAIN
from net.dns_server import DnsServer
from ostiary.core.log_line import LogLine, parse
from peers.in_thread import serving
from peers.level_world import wait_for
from peers.proxies import Proxy, envoy_arguments, ostiary_arguments
from ports import free_port
from waiting import PATIENCE

pytestmark = pytest.mark.peer
ISTIO = r'"%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t"'
JSON = '{time: "%Y-%m-%dT%T.%fZ", level: "%l", scope: "envoy %n", msg: "%j", caller: "%g:%#", thread: "%t"}'
FORMATS = {
    "envoy": "",
    "istio": f"application_log_config: {{log_format: {{text_format: {ISTIO}}}}}\n",
    "json": f"application_log_config: {{log_format: {{json_format: {JSON}}}}}\n",
}
TLS_ERROR = r"remote address:127\.0\.0\.1:\d+,TLS_error:\|"
UNTRUSTED = "268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: "
NO_TLS = "268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER"
NO_NAME = r'nowhere\.test c-ares status 0x0004: "Domain name not found"'
RESET = "upstream reset: reset reason: "
REFUSED = "delayed connect error: Connection refused"
CASES = {
    # cluster -> what both logs must have of it: logger, level, pattern
    "refused": (
        ("connection", "debug", REFUSED),
        ("pool", "debug", f"client disconnected, failure reason: {REFUSED}"),
        ("router", "debug", f"{RESET}remote connection failure, transport failure reason: {REFUSED}"),
        ("http", "debug", "Sending local reply with details upstream_reset_before_response_started.*refused.*"),
    ),
    "untrusted": (
        ("connection", "debug", f"{TLS_ERROR}{UNTRUSTED}.*certificate verification error.*"),
        ("pool", "debug", rf"client disconnected, failure reason: TLS_error:\|{UNTRUSTED}.*"),
    ),
    "plain": (
        (
            "connection",
            "debug",
            f"{TLS_ERROR}{NO_TLS}:TLS_error_end",
        ),
    ),
    "silent": (
        ("pool", "debug", "connect timeout"),
        ("router", "debug", f"{RESET}connection timeout, transport failure reason: "),
    ),
    "nowhere": (
        (
            "dns",
            "debug",
            f"dns resolution without records for {NO_NAME}",
        ),
        ("upstream", "debug", r"DNS refresh rate reset for nowhere\.test, \(failure\) refresh rate \d+ ms"),
    ),
}
CONFIG = PLAIN + "  clusters:\n@CLUSTERS@\n"
CLUSTER = """\
  - name: @NAME@
    connect_timeout: 0.4s
    type: @TYPE@
@MORE@    load_assignment:
      cluster_name: @NAME@
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: @ADDRESS@, port_value: @PORT@}}}
"""
TLS = """\
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: app.test
        common_tls_context: {validation_context: {trusted_ca: {filename: '@CA@'}}}
"""
DNS = """\
    typed_dns_resolver_config:
      name: envoy.network.dns_resolver.cares
      typed_config:
        '@type': type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig
        resolvers: [{socket_address: {address: 127.0.0.1, port_value: @DNS@}}]
        dns_resolver_options: {no_default_search_domain: true}
"""


@contextmanager
def accepting(context: ssl.SSLContext | None, *, says: bytes = b"") -> Iterator[int]:
    """A port where TLS is spoken, or something else is said, or nothing."""
    held: list[socket.socket] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                held.append(connection)
                with suppress(OSError):
                    if context is not None:
                        context.wrap_socket(connection, server_side=True, do_handshake_on_connect=True).close()
                    elif says:
                        connection.sendall(says)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE)
    for connection in held:
        connection.close()


def written(folder: Path, ports: dict[str, int], dns: int, ca: Path) -> tuple[str, int, int]:
    """The configuration, the listener's port and the admin port."""
    port, admin = free_port(), free_port()
    routes = "\n".join(f"              - {{match: {{prefix: /{name}}}, route: {{cluster: {name}}}}}" for name in CASES)
    clusters = ""
    for name in CASES:
        more = TLS.replace("@CA@", str(ca)) if name not in ("refused", "nowhere") else ""
        more += DNS.replace("@DNS@", str(dns)) if name == "nowhere" else ""
        filled = {
            "NAME": name,
            "TYPE": "LOGICAL_DNS" if name == "nowhere" else "STATIC",
            "ADDRESS": "nowhere.test" if name == "nowhere" else "127.0.0.1",
            "PORT": str(ports.get(name, 443)),
            "MORE": more,
        }
        text = CLUSTER
        for key, value in filled.items():
            text = text.replace(f"@{key}@", value)
        clusters += text
    text = CONFIG.replace("@ROUTES@", routes).replace("@CLUSTERS@\n", clusters)
    return text.replace("@PORT@", str(port)).replace("@ADMIN@", str(admin)), port, admin


@pytest.fixture(scope="module", params=FORMATS)
def said(
    request: pytest.FixtureRequest, envoy: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[LogLine]]:
    """Proxy -> its log, after a request to each cluster."""
    assert envoy.exists()
    folder = tmp_path_factory.mktemp("failures")
    ours, theirs = trustme.CA(), trustme.CA()
    ca = folder / "ca.pem"
    ours.cert_pem.write_to_path(str(ca))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.issue_cert("app.test").configure_cert(tls)
    found = {}
    with ExitStack() as stack:
        names = DnsServer({})
        stack.enter_context(serving(names))
        ports = {"refused": free_port()}
        ports["untrusted"] = stack.enter_context(accepting(tls))
        ports["plain"] = stack.enter_context(accepting(None, says=b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        ports["silent"] = stack.enter_context(accepting(None))
        for kind in ("envoy", "ostiary"):
            text, port, admin = written(folder, ports, names.port, ca)
            config = folder / f"{kind}.yaml"
            config.write_text(text + (FORMATS[request.param] if kind == "envoy" else ""))
            argv = envoy_arguments(config) if kind == "envoy" else [*ostiary_arguments(config), "--log-level", "info"]
            argv[argv.index("--log-level") + 1] = "debug"
            argv += ["--log-format", request.param] if kind == "ostiary" else []
            running = Proxy(kind, argv, (port,), admin, folder / f"{kind}.log").start()
            try:
                for name in CASES:
                    with pytest.raises(urllib.error.HTTPError, match="503"):
                        urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=PATIENCE)
                wait_for(lambda running=running: "(failure) refresh" in running.output())  # type: ignore[misc]
            finally:
                running.stop()
            records = [line for each in running.output().splitlines() if (line := parse(each)) is not None]
            found[kind] = [line for line in records if line.style == request.param]
    return found


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["envoy", "ostiary"])
def test_why_it_failed_is_said_alike(kind: str, case: str, said: dict[str, list[LogLine]]) -> None:
    missing = [
        (component, level, pattern)
        for component, level, pattern in CASES[case]
        if not any(
            (line.component, line.level) == (component, level) and re.fullmatch(pattern, line.message)
            for line in said[kind]
        )
    ]
    assert not missing


def test_tags_are_found_in_every_format(said: dict[str, list[LogLine]]) -> None:
    for lines in said.values():
        (line,) = [each for each in lines if each.message.startswith("cluster 'refused' match")]
        assert line.tags.keys() == {"ConnectionId", "StreamId"}
        assert line.thread.isdigit()
        assert ":" in line.place
