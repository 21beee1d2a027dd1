"""After a reload the admin API tells of the new configuration, and of nothing else."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

from peers.proxies import Proxy, ostiary_arguments
from peers.recorders import Application
from peers.same_yaml import bootstrap, fill
from ports import free_port
from waiting import PATIENCE


def names(proxy: Proxy) -> list[str]:
    configs = json.loads(proxy.admin("/config_dump?resource=static_clusters&mask=cluster.name"))["configs"]
    return [each["cluster"]["name"] for each in configs]


def test_pages_follow(tmp_path: Path) -> None:
    with Application() as app:
        port, admin = free_port(), free_port()
        values = {"PORT": port, "ADMIN": admin, "APP": app.port, "IDP": 1, "LOG": str(tmp_path / "access.log")}
        tree: dict[str, Any] = fill(bootstrap(), values)
        config = tmp_path / "envoy.json"
        config.write_text(json.dumps(tree))
        proxy = Proxy("ostiary", ostiary_arguments(config), (port,), admin, tmp_path / "log").start()
        try:
            before = names(proxy)
            clusters = tree["static_resources"]["clusters"]
            clusters.append(json.loads(json.dumps(clusters[0]).replace(f'"{clusters[0]["name"]}"', '"newcomer"')))
            tree["static_resources"]["listeners"][0]["name"] = "renamed"
            config.write_text(json.dumps(tree))
            assert proxy.process is not None
            proxy.process.send_signal(signal.SIGHUP)
            deadline = time.monotonic() + PATIENCE
            while names(proxy) == before:
                assert time.monotonic() < deadline, proxy.output()
                time.sleep(0.05)
            assert names(proxy) == [*before, "newcomer"]
            assert "newcomer::observability_name::newcomer\n" in proxy.admin("/clusters")
            assert "cluster.newcomer.upstream_rq_total: 0\n" in proxy.admin("/stats")
            assert 'envoy_cluster_membership_total{envoy_cluster_name="newcomer"} 1\n' in proxy.admin(
                "/stats/prometheus"
            )
            assert proxy.admin("/listeners").startswith("renamed::")
            assert (
                proxy.admin("/stats?filter=active_clusters") == f"cluster_manager.active_clusters: {len(before) + 1}\n"
            )
            assert proxy.admin("/ready") == "LIVE\n"
        finally:
            proxy.stop()
