"""What breaks around a doorkeeper: DNS, its files, its logs, its descriptors. No hang, no leak, no wrong answer."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from net.dns_server import DnsServer, Reply
from peers import rawhttp, sealed
from peers.demo_provider import demo_provider, settings_for
from peers.doorkeeper import ask, doorkeeper
from peers.doors import CLIENT, POOLED, PROFILES, descriptors, door, settles_at, sign_in
from peers.in_thread import serving
from peers.person import Person
from peers.proxies import Proxy, ostiary_arguments
from peers.recorders import Application
from peers.same_yaml import HMAC_SECRET, HOST, TYPES, bootstrap, fill, oauth2_config
from ports import free_port
from waiting import PATIENCE, until

pytestmark = pytest.mark.peer


@pytest.fixture
def app() -> Iterator[Application]:
    """The recording application."""
    with Application() as running:
        yield running


# --- DNS


@pytest.mark.parametrize("profile", PROFILES)
def test_the_dns_dies_and_the_provider_is_still_found(profile: str, app: Application, tmp_path: Path) -> None:
    names = {"provider.test": "127.0.0.1"}
    server = DnsServer({("provider.test.", "A"): Reply(("127.0.0.1",), ttl=1)}, port=free_port())
    resolver = {"socket_address": {"address": "127.0.0.1", "port_value": server.port}}
    port = free_port()
    endpoint = {"address": {"socket_address": {"address": "provider.test", "port_value": port}}}
    cares = f"{TYPES}.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
    changes: dict[str, Any] = {
        "native": {"provider": {"dns_resolvers": [f"127.0.0.1:{server.port}"], "allow_http": True}},
        "envoy": {
            "cluster": {
                "type": "LOGICAL_DNS",
                "load_assignment": {"cluster_name": "idp", "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
                "typed_dns_resolver_config": {
                    "name": "envoy.network.dns_resolver.cares",
                    "typed_config": {"@type": cares, "resolvers": [resolver]},
                },
            }
        },
    }
    issuer = f"http://provider.test:{port}"
    with demo_provider(port, issuer=issuer, clients=(CLIENT,)):
        with serving(server):
            keeper = door(profile, tmp_path, app.port, issuer, **changes[profile])
            proxy = keeper.__enter__()
            url = f"http://127.0.0.1:{proxy.ports[0]}/"
            person = Person(names=names)
            assert sign_in(person, url).status == 200
        try:
            time.sleep(1.2)  # what DNS said has expired
            assert person.open(url).status == 200
            before = descriptors(proxy)
            for _ in range(3):
                assert sign_in(Person(names=names), url).status == 200
            assert settles_at(proxy, before + POOLED)
        finally:
            keeper.__exit__(None, None, None)


# --- secrets and certificates


def test_a_session_secret_is_replaced_under_load(app: Application, tmp_path: Path) -> None:
    new, old = tmp_path / "session-secret", tmp_path / "old-secret"
    new.write_text("11" * 32)
    old.write_text("22" * 32)
    with demo_provider() as provider:
        settings = settings_for(provider.issuer)
        with doorkeeper(tmp_path, settings, app.port, secret_file=[str(new), str(old)]) as proxy:
            url = f"http://localhost:{proxy.ports[0]}/"
            person = Person()
            assert sign_in(person, url).status == 200
            cookie = person.cookie_header(url)
            stop = threading.Event()

            def load() -> set[int]:
                seen = set()
                while not stop.is_set():
                    seen.add(
                        ask(proxy.ports[0], "GET", "/", {"Cookie": cookie, "Host": f"localhost:{proxy.ports[0]}"})[0]
                    )
                return seen

            with ThreadPoolExecutor(4) as pool:
                loads = [pool.submit(load) for _ in range(4)]
                for file, text in ((old, "11" * 32), (new, "33" * 32)):
                    replace(file, text)
                    until(lambda file=file: f"{file} changed and is in use" in proxy.output())  # type: ignore[misc]
                stop.set()
                assert set().union(*(load.result() for load in loads)) == {200}
            fresh = Person()
            assert sign_in(fresh, url).status == 200
            replace(old, "44" * 32)
            until(lambda: proxy.output().count(f"{old} changed and is in use") == 2)
            assert person.step(url)[0] != 200, "what the dropped secret sealed must not open any more"
            assert fresh.step(url)[0] == 200


def replace(path: Path, text: str) -> None:
    """As `kubectl` and careful people do: a new file over the old one."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def test_an_hmac_secret_of_envoys_is_replaced_under_load(app: Application, tmp_path: Path) -> None:
    secret_file = tmp_path / "hmac.yaml"

    def write(value: str) -> None:
        resource = {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            "name": "hmac",
            "generic_secret": {"secret": {"inline_string": value}},
        }
        replace(secret_file, yaml.safe_dump({"resources": [resource]}))

    write(HMAC_SECRET)
    sds = {"name": "hmac", "sds_config": {"path_config_source": {"path": str(secret_file)}}}
    tree = bootstrap(oauth2=oauth2_config(credentials={"hmac_secret": sds}))
    port, admin = free_port(), free_port()
    values = {"PORT": port, "ADMIN": admin, "APP": app.port, "IDP": 1, "LOG": str(tmp_path / "access.log")}
    config = tmp_path / "envoy.yaml"
    config.write_text(yaml.safe_dump(fill(tree, values)))
    proxy = Proxy("ostiary", ostiary_arguments(config), (port,), admin, tmp_path / "ostiary.log").start()

    def status(secret: str) -> int:
        expires = str(int(time.time()) + 600)
        mac = sealed.session_hmac(secret, HOST, expires, "a")
        cookie = f"OauthHMAC={mac}; OauthExpires={expires}; BearerToken={sealed.encrypt_cbc('a', secret)}"
        return rawhttp.exchange(port, rawhttp.request("GET", "/", (("cookie", cookie),), host=HOST)).status

    try:
        assert (status(HMAC_SECRET), status("the next secret")) == (200, 302)
        write("the next secret")
        deadline = time.monotonic() + PATIENCE
        seen = set()
        while (now := (status(HMAC_SECRET), status("the next secret"))) != (302, 200):
            seen.add(now)
            assert time.monotonic() < deadline, f"not read again: {seen}"
            time.sleep(0.05)
        assert seen <= {(200, 302), (200, 200)}, "one secret or the other, never neither"
    finally:
        assert proxy.stop() == 0


@pytest.mark.parametrize("profile", PROFILES)
def test_a_certificate_is_replaced_under_load(profile: str, app: Application, tmp_path: Path) -> None:
    authorities = [trustme.CA() for _ in range(2)]
    leaves = [authority.issue_cert("localhost") for authority in authorities]
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"

    def install(number: int, between: Callable[[], None] = lambda: None) -> None:
        replace(chain, b"".join(blob.bytes() for blob in leaves[number].cert_chain_pems).decode())
        between()
        replace(key, leaves[number].private_key_pem.bytes().decode())

    def served() -> int:
        """By which of the authorities the certificate is; fails for anything but a good handshake and a 200."""
        for number, authority in enumerate(authorities):
            context = ssl.create_default_context()
            authority.configure_trust(context)
            try:
                with (
                    socket.create_connection(("127.0.0.1", proxy.ports[0]), 10) as plain,
                    context.wrap_socket(plain, server_hostname="localhost") as connection,
                ):
                    connection.sendall(rawhttp.request("GET", "/open", host=HOST))
                    assert connection.recv(12) == b"HTTP/1.1 200"
                    return number
            except ssl.SSLCertVerificationError:
                continue
        raise AssertionError("a certificate of nobody")

    install(0)
    certificates = [{"certificate_chain": {"filename": str(chain)}, "private_key": {"filename": str(key)}}]
    tls = {
        "@type": f"{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"tls_certificates": certificates},
    }
    changes: dict[str, Any] = {
        "native": {"tls": {"certificate_file": str(chain), "key_file": str(key)}},
        "envoy": {"chain": {"transport_socket": {"name": "tls", "typed_config": tls}}},
    }
    with door(profile, tmp_path, app.port, **changes[profile]) as proxy:
        before = descriptors(proxy)
        assert served() == 0
        stop = threading.Event()

        def load() -> set[int]:
            seen = set()
            while not stop.is_set():
                seen.add(served())
            return seen

        with ThreadPoolExecutor(2) as pool:
            loads = [pool.submit(load) for _ in range(2)]
            said = proxy.output
            install(1, between=lambda: until(lambda: "certificates can't be used" in said()))  # chain and key don't fit
            until(lambda: "changed certificates are in use" in said())
            stop.set()
            assert set().union(*(each.result() for each in loads)) <= {0, 1}
        assert served() == 1
        assert settles_at(proxy, before + POOLED)


# --- logs and descriptors


@pytest.mark.parametrize("profile", PROFILES)
def test_a_full_disk_loses_log_lines_and_says_so(profile: str, app: Application, tmp_path: Path) -> None:
    with door(profile, tmp_path, app.port, access_log="/dev/full") as proxy:
        for _ in range(10):
            assert ask(proxy.ports[0], "GET", "/open")[0] == 200
    assert "[warning][file]" in proxy.output()
    assert "access log /dev/full can't be written (No space left on device)" in proxy.output()


@pytest.mark.parametrize("profile", PROFILES)
def test_a_log_reader_that_stalls_holds_up_nobody(profile: str, app: Application, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with (
            door(profile, tmp_path, app.port, access_log=str(pipe)) as proxy,
            rawhttp.Connection(proxy.ports[0]) as connection,
        ):
            for _ in range(600):  # 1.2 MB of lines, where the pipe holds 64 KiB
                connection.send(rawhttp.request("GET", f"/open/{'x' * 2000}", host=HOST))
                assert connection.receive().status == 200
    finally:
        os.close(reader)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_log_that_can_not_be_opened_again_stays_in_use(profile: str, app: Application, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    with door(profile, tmp_path, app.port, access_log=str(folder / "access.log")) as proxy:
        shutil.move(folder, tmp_path / "moved")
        os.kill(proxy.pid, signal.SIGUSR1)
        assert ask(proxy.ports[0], "GET", "/open/after")[0] == 200
    assert "can't open the access log" in proxy.output()
    assert "Traceback" not in proxy.output()
    assert len((tmp_path / "moved" / "access.log").read_text().splitlines()) == 1


@pytest.mark.parametrize("name", ["nowhere/access.log", "pipe"])
def test_a_log_that_can_not_be_opened_is_named_at_the_start(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    os.mkfifo(tmp_path / "pipe")  # nobody reads it
    with pytest.raises(RuntimeError, match=f"ended with 2:(.|\n)*can't open the access log {path}"):
        door("native", tmp_path, 1, access_log=str(path)).__enter__()


def processor_seconds(proxy: Proxy) -> float:
    """What the process has used so far."""
    fields = Path(f"/proc/{proxy.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("profile", PROFILES)
def test_without_descriptors_it_waits_and_recovers(profile: str, app: Application, tmp_path: Path) -> None:
    with door(profile, tmp_path, app.port) as proxy:
        assert ask(proxy.ports[0], "GET", "/open")[0] == 200
        before = descriptors(proxy)
        resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (before + 10, before + 10))
        crowd = [socket.create_connection(("127.0.0.1", proxy.ports[0]), 10) for _ in range(100)]
        began = processor_seconds(proxy)
        time.sleep(1)
        assert processor_seconds(proxy) - began < 0.5, "it must not spin"
        assert descriptors(proxy) <= before + 10
        for connection in crowd:
            connection.close()
        assert settles_at(proxy, before + POOLED)
        assert ask(proxy.ports[0], "GET", "/open")[0] == 200


def test_clients_leave_descriptors_to_upstreams(app: Application, tmp_path: Path) -> None:
    """Under a low limit a crowd is turned away; those who are in are served."""
    with door("native", tmp_path, app.port) as proxy:
        (config,) = tmp_path.glob("doorkeeper-*.yaml")
    limited = Proxy("limited", ["prlimit", "--nofile=128:128", *ostiary_arguments(config)], proxy.ports,
                    proxy.admin_port, tmp_path / "limited.log").start()  # fmt: skip
    crowd: list[rawhttp.Connection] = []
    try:
        crowd += [rawhttp.Connection(limited.ports[0]) for _ in range(200)]
        assert crowd[-1].closed_within(PATIENCE), "turned away: so all before it have been looked at"
        served = [connection for connection in crowd[:-1] if not connection.closed_within(0.01)]
        assert 0 < len(served) < len(crowd)
        for connection in served:
            connection.send(rawhttp.request("GET", "/open", host=HOST))
        assert {connection.receive().status for connection in served} == {200}
        assert "clients are connected, more are turned away" in limited.output()
    finally:
        for connection in crowd:
            connection.close()
        assert limited.stop() == 0
