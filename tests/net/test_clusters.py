"""Nothing of a cluster is left behind, on either loop; the rest of it is in tests/app/test_clusters.py."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from net.dns_server import DnsServer, Reply, dual
from net.loops import Run
from net.peers_on_loopback import Peers
from ostiary.core.addresses import Candidate, Destination
from ostiary.core.cluster_dns import Schedule
from ostiary.model.clusters import (
    Cluster,
    DnsRefresh,
    Endpoint,
    HealthChecking,
    HttpHealthCheck,
    OutlierDetection,
    TcpHealthCheck,
)
from ostiary.model.dns import DnsOptions
from ostiary.net.cluster_names import Known, NameWatcher
from ostiary.net.clusters import ClusterPool
from ostiary.net.connector import Connector
from ostiary.net.resolver import Resolver
from ostiary.net.roles import Owner
from ostiary.net.ticker import Ticker
from ostiary.net.upstream import UpstreamConnection
from waiting import PATIENCE

CHECKS = HealthChecking(
    timeout=0.5, interval=0.01, unhealthy_threshold=1, healthy_threshold=1, check=TcpHealthCheck(),
    no_traffic_interval=0.01, no_traffic_healthy_interval=0.01, unhealthy_interval=0.01,
    unhealthy_edge_interval=0.01, healthy_edge_interval=0.01,
)  # fmt: skip


class Asker:
    """Somebody who waits for an answer."""

    is_head = False
    request_complete = True
    replayable = False

    def __init__(self) -> None:
        self.pool: Owner | None = None
        self.failed: list[str] = []
        self.connection: UpstreamConnection | None = None

    def on_upstream(self, connection: UpstreamConnection) -> None:
        self.connection = connection

    def on_dialled(self, trace: object) -> None: ...

    def on_failure(self, flag: str, details: str, reason: str, cause: BaseException | None = None) -> None:
        self.failed.append(flag)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"nobody answers here: {name}")


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not what():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("moment", ["while DNS is asked", "in use", "while DNS flaps", "while a check hangs"])
def test_a_cluster_that_is_closed_leaves_nothing_behind(moment: str, run: Run) -> None:
    async def scenario() -> None:
        records = {("a.test.", "A"): Reply(("127.0.0.1",), delay=9.0 if moment == "while DNS is asked" else 0.0)}
        records["a.test.", "AAAA"] = Reply()
        connector, ticker = Connector(), Ticker(asyncio.get_running_loop())
        async with DnsServer(records) as dns, Peers(v6="refuses", v4="silent") as peers:
            checking = replace(CHECKS, check=HttpHealthCheck(path="/")) if moment == "while a check hangs" else CHECKS
            cluster = Cluster(
                name="a", type="STRICT_DNS", endpoints=(Endpoint(address="a.test.", port=peers.port),),
                dns_refresh=DnsRefresh(rate=0.01), dns_resolvers=(dns.address,), no_default_search_domain=True,
                health_checking=checking, outlier_detection=OutlierDetection(interval=0.01),
            )  # fmt: skip
            pool = ClusterPool(cluster, lambda: connector, lambda: None, ticker)
            pool.start()
            asker = Asker()
            pool.submit(asker)  # type: ignore[arg-type] # what it lacks nobody may call
            if moment == "while DNS is asked":
                await until(lambda: dns.asked)
            elif moment == "while a check hangs":
                await until(lambda: pool.health_counts["attempt"])
            else:
                await until(lambda: asker.connection is not None)
            if moment == "while DNS flaps":
                for number in range(20):
                    changes = pool.counts["membership_change"]
                    records["a.test.", "A"] = Reply((f"127.0.0.{2 + number % 2}",))
                    for host in pool.hosts:
                        host.health = None  # or it would stay: its checks pass
                    await until(lambda changes=changes: pool.counts["membership_change"] > changes)  # type: ignore[misc]
                assert len(pool.hosts) == 1
                assert len(pool.retired) == 1, "the one that somebody still waits at"
            pool.close()
            if asker.connection is not None:
                asker.connection.abort()
            connector.close()
            ticker.stop()

    run(scenario())


def test_choosing_looks_at_no_host_where_there_is_one(run: Run) -> None:
    """The hot path: one healthy host is found without asking the balancing."""

    async def scenario() -> None:
        ticker = Ticker(asyncio.get_running_loop())
        draining = Endpoint(address="127.0.0.1", port=2, health_status="DRAINING")
        cluster = Cluster(name="a", endpoints=(Endpoint(address="127.0.0.1", port=1), draining))
        pool = ClusterPool(cluster, lambda: None, lambda: None, ticker)  # type: ignore[arg-type, return-value]
        pool.start()
        pool.balancer = None  # type: ignore[assignment]
        assert pool.pick() is pool.hosts[0].pool
        pool.close()
        ticker.stop()

    run(scenario())


def test_a_family_without_a_route_is_not_in_dns_where_a_cluster_says_so(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(destination: Destination, _local: object) -> Candidate:
        return Candidate(destination, routable=destination.family == "v4")

    monkeypatch.setattr("ostiary.net.cluster_names.routes.check", check)

    async def main() -> None:
        async with DnsServer(dual()) as server:
            for filtered, expected in ((True, {"A": ("127.0.0.1",)}), (False, {"AAAA": ("::1",)})):
                cluster = Cluster(
                    name="c",
                    type="STRICT_DNS",
                    dns_resolvers=(server.address,),
                    dns_options=DnsOptions(filter_unroutable_families=filtered),
                )
                told: list[Known] = []

                def on_change(known: Known | None, told: list[Known] = told) -> bool:
                    told.append(known or {})
                    return True

                schedule = Schedule(DnsRefresh(rate=60.0), lambda: 0.5)
                resolver = Resolver()
                watcher = NameWatcher(cluster, "dual.test", "AUTO", schedule, Counter(), on_change)
                watcher.start(resolver)
                await until(lambda told=told: told)  # type: ignore[misc]
                assert {kind: found for kind, found in told[-1].items() if found} == expected
                watcher.stop()
                resolver.close()

    run(main())
