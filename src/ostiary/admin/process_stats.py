"""Statistics of a worker that nobody counts: `server.*`, `listener_manager.*`, `cluster_manager.*`, `listener.*`.

They have Envoy's names, for dashboards. What has no meaning here (watchdogs, hot restart, merge windows) is absent.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Final

from ostiary.admin.memory import memory
from ostiary.admin.state import STATES, state_of
from ostiary.app.lifecycle import Doorkeeper
from ostiary.app.metrics import Bins
from ostiary.net.listener import ListenerServer

NO_CERTIFICATE: Final = 2**32 - 1
"""`server.days_until_first_cert_expiring` where there is none, as in Envoy."""
_OF_LISTENERS: Final = tuple(f"downstream_rq_{each}" for each in ("1xx", "2xx", "3xx", "4xx", "5xx", "completed"))


_SSL: Final = ("ssl.handshake", "ssl.no_certificate")


def gauges(worker: Doorkeeper) -> dict[str, int]:
    """What can go down."""
    runtime = worker.runtime
    state, _ = state_of(worker)
    listening = sum(server.is_listening for server in worker.servers)
    clusters = runtime.clusters.values() if runtime is not None else ()
    found = {
        "server.live": int(state in ("LIVE", "DRAINING")),
        "server.state": STATES.index(state),
        "server.uptime": int(time.time() - worker.started_at),
        "server.concurrency": worker.peers.count + 1,
        "server.total_connections": sum(len(server.connections) for server in worker.servers),
        "server.parent_connections": 0,
        "server.hot_restart_epoch": 0,
        "listener_manager.total_listeners_active": listening,
        "listener_manager.total_listeners_warming": 0 if listening or runtime is not None else len(worker.servers),
        "listener_manager.total_listeners_draining": len(worker.servers) - listening if worker.stopping else 0,
        "listener_manager.workers_started": int(runtime is not None),
        "cluster_manager.active_clusters": sum(pool.is_warm for pool in clusters),
        "cluster_manager.warming_clusters": sum(not pool.is_warm for pool in clusters),
    }
    certificates = [each for every in (runtime.certificates() if runtime else ()) for each in every]
    days = [each.days_left(time.time()) for each in certificates if each.is_readable]
    found["server.days_until_first_cert_expiring"] = min(days, default=NO_CERTIFICATE)
    names = {"physical": "memory_physical_size", "allocated": "memory_allocated", "heap": "memory_heap_size"}
    found |= {f"server.{names[kind]}": size for kind, size in memory().items()}
    for server, address in _listeners(worker):
        found[f"listener.{address}.downstream_cx_active"] = len(server.connections)
    return found


def counters(worker: Doorkeeper, counted: Mapping[str, int]) -> dict[str, int]:
    """What can't; `counted` is what connection managers have counted."""
    clusters = len(worker.runtime.clusters) if worker.runtime is not None else 0
    found = {
        "listener_manager.listener_added": len(worker.servers),
        "listener_manager.listener_create_success": len(worker.servers),
        "listener_manager.listener_create_failure": 0,
        "cluster_manager.cluster_added": clusters,
    }
    shared = Counter(server.listener.http.stat_prefix for server in worker.servers)
    for server, address in _listeners(worker):
        prefix = server.listener.http.stat_prefix
        if shared[prefix] > 1:
            continue  # whose each is nobody knows
        for name in ("downstream_cx_total", "downstream_cx_destroy", "downstream_cx_overflow"):
            found[f"listener.{address}.{name}"] = counted.get(f"http.{prefix}.{name}", 0)
        if server.listener.tls is not None and server.acceptor is not None:
            counts = server.acceptor.service.counts
            for name in (*_SSL, *(each for each in counts if each.startswith("ssl."))):
                found[f"listener.{address}.{name}"] = counts[name]
            found[f"listener.{address}.ssl.connection_error"] = server.acceptor.service.handshakes.failed
        for name in _OF_LISTENERS:
            found[f"listener.{address}.http.{prefix}.{name}"] = counted.get(f"http.{prefix}.{name}", 0)
    return found


def histograms(worker: Doorkeeper) -> dict[str, Bins]:
    """What lasts how long."""
    known = worker.runtime.stats.histograms() if worker.runtime is not None else {}
    found = {}
    shared = Counter(server.listener.http.stat_prefix for server in worker.servers)
    for server, address in _listeners(worker):
        name = f"http.{server.listener.http.stat_prefix}.downstream_cx_length_ms"
        if shared[server.listener.http.stat_prefix] == 1 and name in known:
            found[f"listener.{address}.downstream_cx_length_ms"] = known[name]
    return found


def _listeners(worker: Doorkeeper) -> list[tuple[ListenerServer, str]]:
    return [(server, server.addresses[0].replace(":", "_")) for server in worker.servers]
