"""A cluster at run time: its hosts as DNS and health checks leave them, and which of them takes the next request.

How a connection is made (names, families, the race, TLS) is the connector's; how requests share connections is the
pool's; who is chosen is decided in core/balancing.py. This file keeps the hosts.

A host is one address (STATIC, STRICT_DNS) or all addresses of a name, which race for each connection (LOGICAL_DNS). A
STRICT_DNS cluster without `dns_lookup_family` pairs IPv6 and IPv4 addresses, so that Happy Eyeballs stays the default
everywhere. Without `dns_refresh`, as for the doorkeeper's own upstreams and providers, no name is asked for ahead of
time: a host is a name, and the connector resolves it.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, final

from ostiary.core.addresses import Destination, is_ip_address
from ostiary.core.balancing import Balancer
from ostiary.core.cluster_dns import Schedule, hosts_of
from ostiary.core.health import Change
from ostiary.core.outlier import Detector
from ostiary.model import limits
from ostiary.model.clusters import Cluster, Endpoint
from ostiary.net.cluster_names import Known, NameWatcher
from ostiary.net.host_maker import HostMaker, TlsSource
from ostiary.net.hosts import Addresses, Host, HostWatch
from ostiary.net.load import Load
from ostiary.net.lobby import Lobby
from ostiary.net.log import log
from ostiary.net.pool import Pool
from ostiary.net.roles import Answered
from ostiary.net.ticker import Ticker

if TYPE_CHECKING:
    from ostiary.net.connector import Connector

_LOG: Final = log("upstream")


@final
class ClusterPool:
    """The hosts and connections of one cluster."""

    def __init__(
        self,
        cluster: Cluster,
        connector: Callable[[], Connector],
        tls: TlsSource,
        ticker: Ticker,
        random_float: Callable[[], float] = random.random,
        check_tls: TlsSource | None = None,
    ) -> None:
        """`check_tls` is for health checks, where they speak another protocol than requests."""
        self.cluster = cluster
        self._connector = connector
        self._random = random_float
        self._loop = asyncio.get_running_loop()
        self.load = Load(cluster.circuit_breakers)
        self._maker = HostMaker(cluster, self.load, connector, tls, check_tls or tls, ticker, random_float)
        self.hosts: list[Host] = []
        self.retired: list[Pool] = []
        """Of hosts that are gone, as long as somebody is on them."""
        self.counts: Counter[str] = Counter()
        self.codes: Counter[int] = Counter()
        """What clients got where no host was chosen."""
        self.health_counts: Counter[str] = Counter()
        self.balancer: Balancer[Host] = Balancer(cluster.lb_policy, cluster.load_balancing, random_float)
        outliers = cluster.outlier_detection
        self.detector = Detector(outliers, random_float) if outliers is not None else None
        self._interval: asyncio.TimerHandle | None = None
        self._single: Pool | None = None
        self._started = False
        self._warm = False
        self.lobby = Lobby(self._choose, self.refuse, cluster.connect_timeout)
        self._watchers: list[NameWatcher] = []
        self._groups: list[list[Host]] = []
        for endpoint in cluster.endpoints:
            self._groups.append(self._first_hosts(endpoint))
        self._changed()
        self.counts["membership_change"] += len({host.priority for host in self.members})

    # --- the hot path

    def pick(self) -> Pool | Lobby | None:
        """Who takes the next request; None if the cluster has no host."""
        single = self._single
        if single is not None:
            return single
        return self._choose() if self._warm else self.lobby

    def _choose(self) -> Pool | None:
        host = self.balancer.pick()
        return host.pool if host is not None else None

    def submit(self, client: Answered, fresh: bool = False) -> None:
        """Send one request, on a new connection if `fresh`."""
        client.pool = pool = self.pick()
        if pool is None:
            self.refuse(client)
        else:
            pool.submit(client, fresh)

    def refuse(self, client: Answered) -> None:
        """There is no host for it."""
        self.counts["upstream_cx_none_healthy"] += 1
        self.codes[503] += 1
        client.pool = None
        why = next((watcher.why for watcher in self._watchers if watcher.why), "") if not self.hosts else ""
        cause = LookupError(why) if why else None
        if why:
            self._tell_nameless(why)
        client.on_failure("UH", "no_healthy_upstream", "no healthy upstream", cause)

    def _tell_nameless(self, why: str) -> None:
        """For whoever is told of connections that fail: this one failed before there was anybody to connect to."""
        from ostiary.core.trace import ConnectTrace

        on_failure = self._connector().on_failure
        if on_failure is not None:
            endpoint, now = self.cluster.endpoints[0], self._loop.time()
            target = str(Destination(endpoint.address, endpoint.port))
            trace = ConnectTrace(target=target, started=now, ended=now, error="the name did not resolve")
            trace.dns = [replace(query) for watcher in self._watchers for query in watcher.queries]
            trace.summary = f"{why}."
            on_failure(self.cluster.name, trace)

    # --- life

    def start(self) -> None:
        """Begin to ask for names and to check hosts."""
        if self._started:
            return
        self._started = True
        for host in self.hosts:
            self._start_checks(host)
        if self._watchers:
            resolver = self._connector().resolver
            for watcher in self._watchers:
                watcher.start(resolver)
        if self.detector is not None:
            self._interval = self._loop.call_later(self.detector.config.interval, self._end_interval)
        self._settle()

    def close(self) -> None:
        """Close idle connections, busy ones as they finish."""
        if self._interval is not None:
            self._interval.cancel()
        for watcher in self._watchers:
            watcher.stop()
        for host in self.hosts:
            if host.session is not None:
                host.session.stop()
            host.pool.close()
        for pool in self.retired:
            pool.close()
        self.lobby.close()

    @property
    def is_warm(self) -> bool:
        """Whether its hosts are known and, where they are checked, have been; a name that fails counts as known."""
        return self._warm

    @property
    def used(self) -> bool:
        """Whether there has ever been a connection for a request."""
        pools = [host.pool for host in self.hosts]
        return any(pool.counts["upstream_cx_total"] for pool in (*pools, *self.retired)) or bool(
            self.counts["upstream_cx_total"]
        )

    # --- hosts

    @property
    def members(self) -> list[Host]:
        """The hosts that are known: not a name that stands for addresses nobody has looked up yet."""
        ahead = self.cluster.dns_refresh is not None
        return [host for host in self.hosts if host.addresses or host.endpoint.pipe is not None or not ahead]

    def _first_hosts(self, endpoint: Endpoint) -> list[Host]:
        """The hosts of an endpoint before any name has been asked for."""
        cluster = self.cluster
        is_address = endpoint.pipe is None and is_ip_address(endpoint.address)
        if endpoint.pipe is not None or cluster.dns_refresh is None or is_address:
            addresses: Addresses | None = None
            if is_address:
                addresses = ((endpoint.address, endpoint.port), *endpoint.additional_addresses)
            return [self._host(endpoint, addresses)]
        hosts: list[Host] = [self._host(endpoint, None)] if cluster.type == "LOGICAL_DNS" else []
        schedule = Schedule(cluster.dns_refresh, self._random)
        family = cluster.dns_lookup_family or "ALL"
        on_change = partial(self._resolved, len(self._groups), endpoint)
        self._watchers.append(NameWatcher(cluster, endpoint.address, family, schedule, self.counts, on_change))
        return hosts

    def _host(self, endpoint: Endpoint, addresses: Addresses | None) -> Host:
        host = self._maker.make(endpoint, addresses)
        if self.detector is not None:
            HostWatch(host, self.detector, self._loop.time, self._health_failed)
        self._maker.add_checks(host, self.health_counts, lambda: self.used, partial(self._checked, host))
        return host

    def _start_checks(self, host: Host) -> None:
        if host.session is not None and self._started:
            host.session.start()

    def _resolved(self, index: int, endpoint: Endpoint, known: Known | None) -> bool:
        """A name was asked for; True if that changed the hosts."""
        group = self._groups[index]
        if known is None:
            if self.cluster.type == "LOGICAL_DNS" and group and group[0].addresses is None:
                self._replace(index, [], group)
                self.counts["membership_change"] -= 1  # nobody has seen the one that is gone
            self._settle()
            return False
        found = hosts_of(known, self.cluster.type, self.cluster.dns_lookup_family)[: limits.MAX_HOSTS]
        wanted = [tuple((address, endpoint.port) for address in addresses) for addresses in found]
        first = group[0] if group else None
        if self.cluster.type == "LOGICAL_DNS" and first is not None and first.addresses is None:
            self._maker.settle(first, wanted[0])
            self._replace(index, [first], [])
            return True
        have = {_key(host): host for host in group}
        new = {frozenset(addresses): addresses for addresses in wanted}
        removed = [host for key, host in have.items() if key not in new and not self._keeps(host)]
        for key, host in have.items():
            host.removed = key not in new
        added = [self._host(endpoint, addresses) for key, addresses in new.items() if key not in have]
        if not added and not removed:
            self._settle()
            return False
        self._replace(index, [*(host for host in group if host not in removed), *added], removed)
        for host in added:
            self._start_checks(host)
        return True

    def _keeps(self, host: Host) -> bool:
        """Gone from the DNS, but alive: health checks know better, as in Envoy."""
        health = host.health
        return health is not None and not health.failed and not self.cluster.ignore_health_on_host_removal

    def _replace(self, index: int, group: list[Host], removed: list[Host]) -> None:
        self._groups[index] = group
        for host in removed:
            host.retire(self.submit)
            self.retired.append(host.pool)
        self.counts["membership_change"] += 1
        self._changed()

    # --- health

    def _checked(self, host: Host, change: Change, good: bool) -> None:
        """A health check has ended."""
        back = False
        if good and host.monitor is not None and self.detector is not None and host.health is not None:
            back = not host.health.failed and self.detector.passed_health_check(host.monitor, self._loop.time())
        failed = host.health is not None and host.health.failed
        if change == "changed":
            said = "fails its health checks and gets no more requests" if failed else "passes its health checks"
            (_LOG.warning if failed else _LOG.info)("%s %s", self._named(host), said)
        if failed and change == "changed":
            host.pool.drain()
            if host.removed:
                self._drop(host)
        if change == "changed" or back:
            self._update()
        self._settle()

    def _named(self, host: Host) -> str:
        return f"cluster {self.cluster.name!r}: {host.address}"

    def _drop(self, host: Host) -> None:
        index = next(index for index, group in enumerate(self._groups) if host in group)
        self._replace(index, [other for other in self._groups[index] if other is not host], [host])

    def _health_failed(self, host: Host) -> None:
        """Ejected: what is open to it is used no more."""
        _LOG.warning("%s fails too many requests and gets none for a while (outlier_detection)", self._named(host))
        host.pool.drain()
        self._update()

    def _end_interval(self) -> None:
        detector = self.detector
        assert detector is not None
        before = {host for host in self.hosts if host.is_ejected}
        if detector.tick(self._loop.time()):
            after = {host for host in self.hosts if host.is_ejected}
            for host in after - before:
                self._health_failed(host)
            for host in before - after:
                _LOG.info("%s gets requests again", self._named(host))
            self._update()
        self._interval = self._loop.call_later(detector.config.interval, self._end_interval)

    # --- what is known

    def _changed(self) -> None:
        """Hosts have come or gone."""
        self.hosts = [host for group in self._groups for host in group]
        self.forget_retired()
        self._update()

    def _update(self) -> None:
        """Hosts, or their health, have changed."""
        self.balancer.update(self.hosts)
        self._settle()

    def _settle(self) -> None:
        """Let requests in once the hosts are known and checked; find out whether there is a choice at all."""
        if not self._warm:
            named = bool(self.hosts) or all(watcher.resolved for watcher in self._watchers)
            self._warm = named and all(host.health is None or host.health.checked for host in self.hosts)
            if self._warm:
                self.lobby.open()
        single = self.balancer.single
        self._single = single.pool if single is not None and self._warm else None

    def forget_retired(self) -> None:
        """Keep the counters of hosts that are gone, and nothing else of them."""
        for pool in list(self.retired):
            if not pool.open and not pool.pending:
                self.retired.remove(pool)
                self.counts.update(pool.counts)
                self.counts["upstream_rq_total"] += pool.total
                self.codes.update({status: count for status, count in enumerate(pool.codes) if count})


def _key(host: Host) -> frozenset[tuple[str, int]]:
    return frozenset(host.addresses or ())
