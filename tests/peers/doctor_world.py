"""A network of its own in which a real Envoy is broken in one way at a time, and the doctor is asked why.

    unshare --net --mount python doctor_world.py FOLDER CASE...

Each case has an Envoy, a provider with a name and an address of its own, and somebody who tries to sign in. Then the
doctor looks at the admin port (and, where the case says so, at the configuration file and the log). Where it prints a
patch of the file, `patch` applies it, Envoy starts again, and somebody signs in. What came of it is printed as JSON.

The network has IPv4 only. One DNS server answers for all names; `doctor_cases.py` says what is broken.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import trustme
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' directory is not a package

from net.dns_server import DnsServer, Reply
from ostiary.doctor.examine import Question, examine
from ostiary.net.admin_client import HttpAdmin
from ostiary.testing.provider import DemoClient, DemoProvider
from ostiary.testing.provider_server import ProviderServer
from ostiary.testing.provider_server import Reply as ProviderReply
from peers.doctor_cases import CASES, Broken, between
from peers.in_thread import serving
from peers.person import Person
from peers.proxies import Proxy, envoy_arguments
from peers.recorders import Application
from waiting import PATIENCE

CLIENT = DemoClient(client_id="app", client_secret="the-client-secret")
AT_ONCE = 8
"""They mostly wait for a timeout."""
SYSTEM_ROOTS = Path("/etc/ssl/certs/ca-certificates.crt")


def sh(command: str) -> None:
    """One command, without a shell."""
    subprocess.run(command.split(), check=True, capture_output=True)


def build(folder: Path, roots: Path) -> None:
    """The addresses and routes, DNS, and a system that trusts the tests' CA."""
    resolv = folder / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    sh(f"mount --bind {resolv} /etc/resolv.conf")
    if SYSTEM_ROOTS.exists():
        sh(f"mount --bind {roots} {SYSTEM_ROOTS}")
    sh("ip link set lo up")
    sh("ip addr add 10.77.0.1/16 dev lo")
    # A neighbour that is not there: what is sent to it is lost, and nobody says so.
    sh("ip link add hole type veth peer name void")
    sh("ip link set hole up")
    sh("ip link set void up")
    sh("ip addr add 10.99.0.1/24 dev hole")
    sh("ip neigh add 10.99.0.7 lladdr 02:00:00:00:00:07 dev hole nud permanent")
    sh("ip route add prohibit 10.98.0.0/24")


class Place:
    """One case: everything that it needs, running."""

    def __init__(self, number: int, broken: Broken, folder: Path, authority: trustme.CA) -> None:
        self.broken, self.folder = broken, folder
        self.host = f"{broken.name}.idp.test"
        self.address = f"10.77.{1 + number // 200}.{1 + number % 200}"
        self.port, self.admin = 20000 + 2 * number, 20001 + 2 * number
        self.config = folder / "envoy.yaml"
        self.log = folder.with_suffix(".log")  # not in the folder, which Envoy watches for secrets
        self.authority = authority

    def bootstrap(self, app: int) -> dict[str, Any]:
        """A configuration that works, and then as the case breaks it."""
        text = BOOTSTRAP
        values = {"ADMIN": self.admin, "PORT": self.port, "APP": app, "HOST": self.host, "FOLDER": self.folder}
        for name, value in (values | {"ROOTS": SYSTEM_ROOTS}).items():
            text = text.replace(f"@{name}@", str(value))
        tree: dict[str, Any] = yaml.safe_load(text)
        for name, secret in {"token": CLIENT.client_secret, "hmac": "0123456789abcdef0123456789abcdef"}.items():
            secret_file = {"resources": [{"@type": SECRET_TYPE, "name": name,
                                          "generic_secret": {"secret": {"inline_string": secret}}}]}  # fmt: skip
            (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(secret_file))
        self.broken.configure(tree, self.folder)
        return tree

    def records(self) -> dict[tuple[str, str], Reply]:
        """What DNS says of the name."""
        usual = {"A": Reply((self.address,)), "AAAA": Reply()}
        return {(f"{self.host}.", kind): reply for kind, reply in {**usual, **self.broken.dns}.items()}

    @contextmanager
    def provider(self) -> Iterator[None]:
        """The provider of this case, or whatever is at its address instead."""
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.broken.certificate(self.authority, self.host).configure_cert(tls)
        self.broken.server_tls(tls)
        provider = DemoProvider(host=self.address, issuer=f"https://{self.host}", clients=(CLIENT,))
        self.broken.provider(provider)
        with ExitStack() as stack:
            stack.enter_context(serving(Pages(provider)))
            stack.enter_context(listening(self.address, 443, partial(tls_relay, tls)))
            for port, serve in self.broken.others.items():
                stack.enter_context(listening(self.address, port, serve))
            yield

    def envoy(self) -> Proxy:
        """The proxy, not started."""
        argv = envoy_arguments(self.config)
        argv[argv.index("--log-level") + 1] = self.broken.level
        return Proxy("envoy", argv, () if self.broken.until else (self.port,), self.admin, self.log)

    def sign_in(self, trusts: ssl.SSLContext, app: Application) -> str:
        """What somebody gets who opens a page: `in`, or what they see instead."""
        person = Person(trusts, {self.host: self.address})
        try:
            page = person.open(f"http://127.0.0.1:{self.port}/page")
            if "/authorize" not in page.url:
                return f"{page.status} {page.text[:80]}"
            _, headers, text = person.step(page.url, form={"username": "ada"})
            callback = {name.lower(): value for name, value in headers}.get("location", "")
            if not callback:
                return text[:80]
            status, headers, text = person.step(callback)
            if status != 302:
                return f"{status} {text[:80]}"
            page = person.open(urljoin(callback, {name.lower(): value for name, value in headers}["location"]))
        except (OSError, ValueError) as error:
            return f"{type(error).__name__}: {error}"
        return "in" if page.status == 200 and app.drain() else f"{page.status} {page.text[:80]}"

    def when(self, state: str, proxy: Proxy) -> str:
        """Waits until the proxy says that of itself."""
        deadline = time.monotonic() + 10
        while proxy.ready() != state and time.monotonic() < deadline:
            time.sleep(0.02)
        return proxy.ready()

    def doctor(self) -> dict[str, Any]:
        """The report, and the patch that it prints for the file."""
        sources = self.broken.sources
        name = str(self.config)
        question = Question(
            admins=(HttpAdmin(f"http://127.0.0.1:{self.admin}"),),
            configurations=((name, self.config.read_bytes()),) if "config" in sources else (),
            logs=((str(self.log), lambda: self.log.open("rb")),) if "log" in sources else (),
            environment=os.environ,
            open_file=lambda path: Path(path).read_bytes(),
        )
        report = asyncio.run(examine(question))
        return report.as_dict() | {"patch": report.patch}


def tls_relay(tls: ssl.SSLContext, connection: socket.socket, address: str) -> None:
    """The provider's TLS. A blocking socket, because asyncio's sends no alert when it refuses a handshake."""
    with suppress(OSError), connection:
        connection.settimeout(PATIENCE)
        with tls.wrap_socket(connection, server_side=True) as inside:
            between(inside, (address, 8080))


class Pages:
    """The provider without TLS. People go there, so that they reach it whatever is broken for proxies."""

    def __init__(self, provider: DemoProvider) -> None:
        self._provider = provider
        self._server = ProviderServer(self._answer)

    async def _answer(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> ProviderReply:
        await asyncio.sleep(self._provider.faults.delay)
        return self._provider.handle(method, url, headers, body)

    async def __aenter__(self) -> Pages:
        await self._server.start(self._provider.hosts[0], 8080, None)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop()


def run(place: Place, app: Application, trusts: ssl.SSLContext) -> dict[str, Any]:
    """One case from its start to its end."""
    place.config.write_text(yaml.safe_dump(place.bootstrap(app.port), sort_keys=False))
    with place.provider():
        proxy = place.envoy().start()
        try:
            if place.broken.until:
                seen = [place.when(place.broken.until, proxy)]
            else:
                seen = [place.broken.use(place, trusts, app) for _ in range(place.broken.attempts)]
            report = place.doctor()
            stats = proxy.admin("/stats?filter=cluster.idp&usedonly")
        finally:
            proxy.stop()
        found = {"seen": seen, "report": report, "stats": stats}
        if report["patch"] and "config" in place.broken.sources:
            done = subprocess.run(["patch", "-p0", "-d", "/", "--input=-"], input=report["patch"], text=True,
                                  capture_output=True, check=False)  # fmt: skip
            proxy = place.envoy().start()
            try:
                found["healed"] = f"{done.stdout}{place.sign_in(trusts, app)}".rpartition("\n")[2]
            finally:
                proxy.stop()
    return found | {"log": place.log.read_text(errors="replace")[-3000:]}


@contextmanager
def listening(address: str, port: int, serve: Any) -> Iterator[None]:
    """A TCP server that does with each connection what `serve` does."""
    with socket.create_server((address, port)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection, address), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)


SECRET_TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
BOOTSTRAP = """\
admin: {address: {socket_address: {address: 127.0.0.1, port_value: @ADMIN@}}}
static_resources:
  listeners:
  - name: ingress
    address: {socket_address: {address: 127.0.0.1, port_value: @PORT@}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress
          access_log:
          - name: envoy.access_loggers.stdout
            typed_config: {'@type': type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog}
          route_config:
            virtual_hosts:
            - name: app
              domains: ['*']
              routes:
              - match: {prefix: /}
                route: {cluster: app}
          http_filters:
          - name: envoy.filters.http.oauth2
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.oauth2.v3.OAuth2
              config:
                token_endpoint: {cluster: idp, uri: 'https://@HOST@/token', timeout: 3s}
                authorization_endpoint: 'http://@HOST@:8080/authorize'
                redirect_uri: 'http://%REQ(:authority)%/callback'
                redirect_path_matcher: {path: {exact: /callback}}
                signout_path: {path: {exact: /signout}}
                forward_bearer_token: true
                auth_scopes: [openid, profile]
                credentials:
                  client_id: app
                  token_secret: {name: token, sds_config: {path_config_source: {path: '@FOLDER@/token.yaml'}}}
                  hmac_secret: {name: hmac, sds_config: {path_config_source: {path: '@FOLDER@/hmac.yaml'}}}
          - name: envoy.filters.http.router
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: app
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: @APP@}}}
  - name: idp
    type: LOGICAL_DNS
    dns_lookup_family: ALL
    connect_timeout: 2s
    load_assignment:
      cluster_name: idp
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: '@HOST@', port_value: 443}}}
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: '@HOST@'
        common_tls_context:
          validation_context:
            trusted_ca: {filename: '@ROOTS@'}
            match_typed_subject_alt_names:
            - {san_type: DNS, matcher: {exact: '@HOST@'}}
"""


def main(folder: Path, names: list[str]) -> None:
    """All cases, some at a time."""
    authority = trustme.CA()
    roots = folder / "roots.pem"
    authority.cert_pem.write_to_path(str(roots))
    build(folder, roots)
    trusts = ssl._create_unverified_context()
    places = [Place(n, CASES[name], folder / name, authority) for n, name in enumerate(names)]
    records: dict[tuple[str, str], Reply] = {}
    for place in places:
        place.folder.mkdir()
        records |= place.records()

    def one(place: Place) -> dict[str, Any]:
        try:
            with Application() as app:
                return run(place, app, trusts)
        except Exception:
            return {"error": traceback.format_exc()}

    with serving(DnsServer(records, port=53)), ThreadPoolExecutor(AT_ONCE) as pool:
        found = dict(zip(names, pool.map(one, places), strict=True))
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
