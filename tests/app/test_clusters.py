"""What becomes of requests when hosts fail, names move and DNS dies: real sockets, a real DNS server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.harness import address, proxy, running
from net.dns_server import DnsServer, Reply
from ostiary.app.flights import load
from ostiary.app.lifecycle import Doorkeeper
from ostiary.model.access_log import AccessLog
from ostiary.model.clusters import (
    CircuitBreakers,
    DnsRefresh,
    Endpoint,
    HealthChecking,
    HttpHealthCheck,
    LoadBalancing,
    OutlierDetection,
    TcpHealthCheck,
    TcpKeepalive,
)
from ostiary.model.config import Config
from ostiary.net.clusters import ClusterPool
from waiting import PATIENCE
from wire import Answer, Client, Heard, Upstream, scenario

NAME = "app.test."
QUICK = DnsRefresh(rate=0.05)
NO_PANIC = LoadBalancing(healthy_panic_threshold=0.0)
FAILING = b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n"


def endpoints(*ports: int) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(address="127.0.0.1", port=port) for port in ports)


def by_name(
    dns: DnsServer, port: int, kind: str = "STRICT_DNS", access_log: tuple[AccessLog, ...] = (), **more: Any
) -> Config:
    cluster = {
        "type": kind,
        "dns_refresh": QUICK,
        "dns_resolvers": (dns.address,),
        "no_default_search_domain": True,
        "endpoints": (Endpoint(address=NAME, port=port),),
        **more,
    }
    return proxy(port, cluster=cluster, access_log=access_log)


def pool(door: Doorkeeper) -> ClusterPool:
    assert door.runtime is not None
    return door.runtime.clusters["app"]


def stat(door: Doorkeeper, name: str) -> int:
    assert door.runtime is not None
    return door.runtime.stats.values()[f"cluster.app.{name}"]


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not what():
            await asyncio.sleep(0.005)


async def get(door: Doorkeeper, path: str = "/") -> Answer:
    client = await Client.connect(address(door))
    return await client.get(path)


def elsewhere(port: int, says: bytes) -> Upstream:
    """An application for `running("127.0.0.2")`."""
    app = Upstream(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(says), says))
    app.port = port
    return app


# --- hosts that fail


@scenario
async def test_a_host_that_fails_is_left_out_and_comes_back() -> None:
    async with Upstream().running() as good, Upstream(FAILING).running() as bad:
        outliers = OutlierDetection(
            consecutive_5xx=3, interval=0.05, base_ejection_time=0.2, max_ejection_time=0.2, max_ejection_percent=50
        )
        cluster = {"endpoints": endpoints(good.port, bad.port), "outlier_detection": outliers}
        async with running(proxy(0, cluster=cluster)) as door:
            statuses = [(await get(door)).status for _ in range(8)]
            assert statuses.count(500) == 3
            assert stat(door, "outlier_detection.ejections_active") == 1
            assert [(await get(door)).status for _ in range(4)] == [200] * 4
            bad.answer = good.answer
            await until(lambda: stat(door, "outlier_detection.ejections_active") == 0)
            heard = len(bad.heard)
            assert [(await get(door)).status for _ in range(4)] == [200] * 4
            assert len(bad.heard) == heard + 2


@scenario
async def test_a_host_that_is_down_is_found_by_its_checks_and_used_again_when_it_is_up() -> None:
    checks = HealthChecking(
        timeout=1.0, interval=0.02, unhealthy_threshold=2, healthy_threshold=2, check=HttpHealthCheck(path="/up"),
        no_traffic_interval=0.02, no_traffic_healthy_interval=0.02, unhealthy_interval=0.02,
        unhealthy_edge_interval=0.02, healthy_edge_interval=0.02,
    )  # fmt: skip
    async with Upstream().running() as app:
        config = proxy(app.port, cluster={"health_checking": checks, "load_balancing": NO_PANIC})
        async with running(config) as door:
            assert (await get(door)).status == 200
            app.answer = b"HTTP/1.1 503 Down\r\ncontent-length: 0\r\n\r\n"
            await until(lambda: stat(door, "membership_healthy") == 0)
            answer = await get(door)
            assert (answer.status, answer.body) == (503, b"no healthy upstream")
            app.answer = Upstream().answer
            await until(lambda: stat(door, "membership_healthy") == 1)
            assert (await get(door)).status == 200
            assert {heard.line for heard in app.heard} == {b"GET /up HTTP/1.1", b"GET / HTTP/1.1"}
            assert app.heard[0].get(b"host") == b"app", "the cluster's name, as in Envoy"


@scenario
async def test_checks_race_all_addresses_of_a_host() -> None:
    """Envoy checks only the first one, and takes a host out that would serve."""
    checks = HealthChecking(
        timeout=1.0, interval=0.02, unhealthy_threshold=1, healthy_threshold=1, check=TcpHealthCheck()
    )
    async with Upstream().running() as app:
        host = Endpoint(address="127.0.0.9", port=app.port, additional_addresses=(("127.0.0.1", app.port),))
        cluster = {"endpoints": (host,), "health_checking": checks, "load_balancing": NO_PANIC}
        async with running(proxy(0, cluster=cluster)) as door:
            assert (await get(door)).status == 200
            assert stat(door, "health_check.success") >= 1
            assert stat(door, "health_check.failure") == 0


@scenario
async def test_requests_wait_for_the_first_checks_instead_of_failing() -> None:
    asked = asyncio.Event()
    go_on = asyncio.Event()

    async def slow_check(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if heard.line == b"GET /up HTTP/1.1":
            asked.set()
            await go_on.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    checks = HealthChecking(
        timeout=5.0, interval=60.0, unhealthy_threshold=1, healthy_threshold=1, check=HttpHealthCheck(path="/up")
    )
    async with Upstream(handler=slow_check).running() as app:
        config = proxy(app.port, cluster={"health_checking": checks, "load_balancing": NO_PANIC})
        async with running(config) as door:
            waiting = asyncio.ensure_future(get(door))
            await asked.wait()
            await until(lambda: pool(door).lobby.waiting)
            assert [heard.line for heard in app.heard] == [b"GET /up HTTP/1.1"]
            go_on.set()
            assert (await waiting).status == 200


@scenario
async def test_what_the_line_waits_for_fails_once_and_not_for_each() -> None:
    """A black hole behind max_connections: 1 costs one connect timeout, not one for each who waits."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        cluster = {"connect_timeout": 0.2, "circuit_breakers": CircuitBreakers(max_connections=1)}
        async with running(proxy(listener.getsockname()[1], cluster=cluster)) as door:
            answers = await asyncio.gather(*(get(door) for _ in range(4)))
            assert [answer.status for answer in answers] == [503] * 4
            assert stat(door, "upstream_cx_connect_timeout") == 1
            assert stat(door, "upstream_rq_pending_failure_eject") == 4


# --- names that move


@scenario
@pytest.mark.parametrize("kind", ["LOGICAL_DNS", "STRICT_DNS"])
async def test_a_name_moves_and_running_requests_finish_where_they_are(kind: str) -> None:
    finish = asyncio.Event()

    async def slowly(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\no")
        if heard.line == b"GET /slow HTTP/1.1":
            await finish.wait()
        writer.write(b"ld")

    records = {(NAME, "A"): Reply(("127.0.0.1",)), (NAME, "AAAA"): Reply()}
    async with (
        Upstream(handler=slowly).running() as old,
        elsewhere(old.port, b"new").running("127.0.0.2"),
        DnsServer(records) as dns,
        running(by_name(dns, old.port, kind)) as door,
    ):
        assert (await get(door)).body == b"old"
        slow = asyncio.ensure_future(get(door, "/slow"))
        await until(lambda: len(old.heard) == 2)
        records[NAME, "A"] = Reply(("127.0.0.2",))
        await until(lambda: stat(door, "membership_change") == 2)
        assert [(await get(door)).body for _ in range(3)] == [b"new"] * 3
        assert stat(door, "upstream_cx_active") == 2
        finish.set()
        assert (await slow).body == b"old"
        await until(lambda: stat(door, "upstream_cx_active") == 1)
        assert stat(door, "upstream_rq_total") == 5, "hosts that are gone keep their counts"


@scenario
@pytest.mark.parametrize("kind", ["LOGICAL_DNS", "STRICT_DNS"])
@pytest.mark.parametrize("way", [Reply(rcode="SERVFAIL"), Reply(silent=True)], ids=["fails", "is silent"])
async def test_the_last_answer_is_kept_when_dns_dies(kind: str, way: Reply) -> None:
    records = {(NAME, "A"): Reply(("127.0.0.1",)), (NAME, "AAAA"): Reply()}
    async with (
        Upstream().running() as app,
        DnsServer(records) as dns,
        running(by_name(dns, app.port, kind, max_requests_per_connection=1)) as door,
    ):
        assert (await get(door)).status == 200
        records.update({(NAME, "A"): way, (NAME, "AAAA"): way})
        asked = len(dns.asked)
        await until(lambda: len(dns.asked) >= asked + 2)
        assert [(await get(door)).status for _ in range(3)] == [200] * 3
        assert app.connections == 4


@scenario
async def test_hosts_that_dns_takes_away_stay_as_long_as_their_checks_pass() -> None:
    checks = HealthChecking(
        timeout=1.0, interval=0.02, unhealthy_threshold=1, healthy_threshold=1, check=HttpHealthCheck(path="/up"),
        unhealthy_interval=0.02, unhealthy_edge_interval=0.02, healthy_edge_interval=0.02,
        no_traffic_interval=0.02, no_traffic_healthy_interval=0.02,
    )  # fmt: skip
    records = {(NAME, "A"): Reply(("127.0.0.1",)), (NAME, "AAAA"): Reply()}
    async with (
        Upstream().running() as app,
        DnsServer(records) as dns,
        running(by_name(dns, app.port, health_checking=checks)) as door,
    ):
        assert (await get(door)).status == 200
        records[NAME, "A"] = Reply()
        await until(lambda: [host.health_flags for host in pool(door).hosts] == ["/pending_dynamic_removal"])
        assert (await get(door)).status == 200
        app.answer = FAILING
        await until(lambda: stat(door, "membership_total") == 0)
        assert (await get(door)).body == b"no healthy upstream"


# --- names that take their time


@scenario
@pytest.mark.parametrize("kind", ["LOGICAL_DNS", "STRICT_DNS"])
async def test_requests_wait_for_the_first_answer(kind: str) -> None:
    records = {(NAME, "A"): Reply(("127.0.0.1",), delay=0.2), (NAME, "AAAA"): Reply(delay=0.2)}
    async with (
        Upstream().running() as app,
        DnsServer(records) as dns,
        running(by_name(dns, app.port, kind)) as door,
    ):
        assert not pool(door).members
        answers = await asyncio.gather(*(get(door) for _ in range(3)))
        assert [answer.status for answer in answers] == [200] * 3


@scenario
@pytest.mark.parametrize("kind", ["LOGICAL_DNS", "STRICT_DNS"])
async def test_they_do_not_wait_for_ever(kind: str) -> None:
    records = {(NAME, "A"): Reply(silent=True), (NAME, "AAAA"): Reply(silent=True)}
    async with DnsServer(records) as dns, running(by_name(dns, 1, kind, connect_timeout=0.2)) as door:
        answer = await get(door)
        assert (answer.status, answer.body) == (503, b"no healthy upstream")
        assert stat(door, "upstream_cx_none_healthy") == 1


@scenario
@pytest.mark.parametrize("kind", ["LOGICAL_DNS", "STRICT_DNS"])
async def test_a_family_that_is_never_answered_delays_nobody(kind: str) -> None:
    """Envoy waits 5 seconds for it, at each refresh and before it opens its listener."""
    records = {(NAME, "A"): Reply(("127.0.0.1",)), (NAME, "AAAA"): Reply(silent=True)}
    async with (
        Upstream().running() as app,
        DnsServer(records) as dns,
        running(by_name(dns, app.port, kind, dns_lookup_family="ALL")) as door,
    ):
        assert (await get(door)).status == 200
        assert stat(door, "update_success") == 0, "the round still runs"


@scenario
async def test_without_a_lookup_family_a_strict_host_has_both() -> None:
    """Happy Eyeballs is the default everywhere: nobody listens at ::1, and no request notices."""
    records = {(NAME, "A"): Reply(("127.0.0.1",)), (NAME, "AAAA"): Reply(("::1",))}
    async with Upstream().running() as app, DnsServer(records) as dns:
        async with running(by_name(dns, app.port, max_requests_per_connection=1)) as door:
            assert [(await get(door)).status for _ in range(4)] == [200] * 4
            assert stat(door, "membership_total") == 1
            assert stat(door, "upstream_cx_connect_fail") == 0
        config = by_name(dns, app.port, max_requests_per_connection=1, dns_lookup_family="ALL")
        async with running(config) as door:
            await until(lambda: stat(door, "membership_total") == 2)
            assert sorted([(await get(door)).status for _ in range(4)]) == [200, 200, 503, 503], "as in Envoy"


@scenario
async def test_an_order_that_changes_is_no_change() -> None:
    records = {(NAME, "A"): Reply(("127.0.0.1", "127.0.0.2")), (NAME, "AAAA"): Reply()}
    async with (
        Upstream().running() as app,
        DnsServer(records) as dns,
        running(by_name(dns, app.port, "LOGICAL_DNS")) as door,
    ):
        assert (await get(door)).status == 200
        records[NAME, "A"] = Reply(("127.0.0.2", "127.0.0.1"))
        rounds = stat(door, "update_success")
        await until(lambda: stat(door, "update_success") >= rounds + 2)
        assert stat(door, "membership_change") == 1
        assert stat(door, "upstream_cx_active") == 1


@scenario
async def test_why_a_name_has_no_address_is_in_the_log_line_and_among_the_flights(tmp_path: Path) -> None:
    line = "%RESPONSE_FLAGS% %UPSTREAM_TRANSPORT_FAILURE_REASON%\n"
    log = AccessLog(sink="file", path=str(tmp_path / "log"), text_format=line)
    async with DnsServer({}) as dns, running(by_name(dns, 1, access_log=(log,))) as door:
        await until(lambda: stat(door, "update_success") >= 1)
        assert (await get(door)).body == b"no healthy upstream"
        (recorded,) = load([door.flights.export()])
    (cause,) = recorded.unreachable
    assert (cause.cluster, cause.count) == ("app", 1)
    assert cause.trace.summary == "app.test. has no address: AAAA nxdomain, A nxdomain."
    assert (tmp_path / "log").read_text() == "UH app.test. has no address: AAAA nxdomain, A nxdomain\n"


# --- sockets


@scenario
async def test_keepalive_is_set_on_connections() -> None:
    async with Upstream().running() as app:
        keepalive = TcpKeepalive(probes=3, time=7, interval=5)
        async with running(proxy(app.port, cluster={"tcp_keepalive": keepalive})) as door:
            await get(door)
            (connection,) = pool(door).hosts[0].pool.connections
            shown = connection.transport.get_extra_info("socket")
            with socket.socket(fileno=os.dup(shown.fileno())) as sock:
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                options = (socket.TCP_KEEPCNT, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL)
                assert [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [3, 7, 5]
