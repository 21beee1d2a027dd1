"""`/stats` and `/stats/prometheus`: names, filters, forms, and that what is counted is true."""

from __future__ import annotations

import json

import pytest

from admin.admin_world import ask, client, doorkeeper, visit
from ostiary.admin.page import Request
from ostiary.admin.pages.stats import PAGES
from ostiary.app.lifecycle import Doorkeeper
from wire import Client, scenario


async def stats(door: Doorkeeper, query: str = "") -> dict[str, str]:
    text = (await ask(door, f"/stats?{query}")).body.decode()
    return dict(line.split(": ", 1) for line in text.splitlines())


@scenario
async def test_what_happened_is_counted() -> None:
    async with doorkeeper() as (door, _):
        opened = await Client.connect(door.addresses["main"][0])
        assert (await opened.get()).status == 200
        assert (await opened.get("*", method="OPTIONS")).status == 404
        found = await stats(door)
        listener = f"listener.{door.addresses['main'][0].replace(':', '_')}"
        expected = {
            "http.test.downstream_cx_total": "1",
            "http.test.downstream_cx_active": "1",
            "http.test.downstream_rq_total": "2",
            "http.test.downstream_rq_2xx": "1",
            "http.test.downstream_rq_4xx": "1",
            "cluster.app.upstream_rq_total": "1",
            "cluster.app.upstream_rq_200": "1",
            f"{listener}.downstream_cx_total": "1",
            f"{listener}.downstream_cx_active": "1",
            f"{listener}.http.test.downstream_rq_completed": "2",
            "listener_manager.total_listeners_active": "1",
            "cluster_manager.active_clusters": "1",
            "server.live": "1",
            "server.state": "0",
            "server.concurrency": "1",
        }
        assert {name: found.get(name) for name in expected} == expected
        assert found["http.test.downstream_rq_time"].startswith("P0(nan,")
        assert found["cluster.app.upstream_rq_time"].startswith("P0(nan,")
        assert found["cluster.app.upstream_cx_connect_ms"].startswith("P0(nan,")
        assert int(found["server.memory_physical_size"]) > 1_000_000


@scenario
async def test_filter_used_only_and_type() -> None:
    async with doorkeeper() as (door, _):
        assert list(await stats(door, "filter=^server.state$")) == ["server.state"]
        # pilot-agent asks so whether a sidecar is ready: what is 0 and a gauge has to be there
        assert await stats(door, "usedonly&filter=^server\\.state$") == {"server.state": "0"}
        used = await stats(door, "usedonly")
        assert "cluster.app.upstream_rq_total" not in used
        assert "http.test.downstream_rq_time" not in used
        listener = f"listener.{door.addresses['main'][0].replace(':', '_')}"
        assert set(await stats(door, "type=Histograms")) == {
            "cluster.app.upstream_cx_connect_ms",
            "cluster.app.upstream_rq_time",
            "http.test.downstream_cx_length_ms",
            "http.test.downstream_rq_time",
            f"{listener}.downstream_cx_length_ms",
        }
        assert "server.live" not in await stats(door, "type=counters")
        assert "cluster.app.upstream_rq_total" not in await stats(door, "type=Gauges")


@scenario
async def test_json() -> None:
    async with doorkeeper() as (door, _):
        await visit(door)
        found = json.loads((await ask(door, "/stats?format=json&filter=rq_time$|server.live")).body)["stats"]
        assert {"name": "server.live", "value": 1} in found
        histograms = found[-1]["histograms"]
        assert histograms["supported_quantiles"] == [0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100]
        names = [each["name"] for each in histograms["computed_quantiles"]]
        external = "cluster.app.external.upstream_rq_time"
        assert names == [external, "cluster.app.upstream_rq_time", "http.test.downstream_rq_time"]
        assert len(histograms["computed_quantiles"][0]["values"]) == 10


@scenario
async def test_prometheus_has_envoys_names_and_labels() -> None:
    async with doorkeeper() as (door, _):
        await visit(door)
        address = door.addresses["main"][0].replace(":", "_")
        prefix = 'envoy_http_conn_manager_prefix="test"'
        text = (await ask(door, "/stats/prometheus")).body.decode()
        assert (await ask(door, "/stats?format=prometheus&filter=live")).body.decode() in text
        for line in (
            '_cx_total counter\nenvoy_cluster_upstream_cx_total{envoy_cluster_name="app"} 1',
            '_cx_active gauge\nenvoy_cluster_upstream_cx_active{envoy_cluster_name="app"} 1',
            'envoy_cluster_upstream_rq{envoy_response_code="200",envoy_cluster_name="app"} 1',
            'envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="app"} 1',
            'envoy_http_downstream_rq_xx{envoy_response_code_class="2",envoy_http_conn_manager_prefix="test"} 1',
            "envoy_server_live{} 1",
            'envoy_http_downstream_rq_time_bucket{envoy_http_conn_manager_prefix="test",le="0.5"}',
            'envoy_http_downstream_rq_time_bucket{envoy_http_conn_manager_prefix="test",le="+Inf"} 1',
            'envoy_http_downstream_rq_time_count{envoy_http_conn_manager_prefix="test"} 1',
            f'{{envoy_response_code_class="2",{prefix},envoy_listener_address="{address}"}} 1',
        ):
            assert line in text, line
        names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
        assert len(names) == len(set(names)), "a metric is described once"


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("filter=(", "Invalid re2 regex: missing ): ("),
        ("type=Bogus", "invalid &type= param"),
        ("format=blergh", "usage: /stats?format=(html|active-html|json|prometheus|text)\n\n"),
    ],
)
def test_bad_queries_are_answered_as_by_envoy(query: str, body: str) -> None:
    part = {"counters": {}, "gauges": {}, "histograms": {}, "clusters": [], "prefixes": [], "listeners": []}
    reply = PAGES[0].render([part], Request("GET", f"/stats?{query}"))
    assert (reply.status, reply.body) == (400, body)


def test_parts_of_workers() -> None:
    """Counters and most gauges are summed; what each worker sees of the same thing is not."""

    def part(requests: int, active: int, uptime: int, members: int) -> dict[str, object]:
        gauges = {"server.uptime": uptime, "http.x.downstream_cx_active": active, "cluster.x.membership_total": members}
        histograms = {"http.x.downstream_rq_time": [[requests, 0], 0]}
        counters = {"http.x.downstream_rq_total": requests}
        names = {kind: ["x"] for kind in ("clusters", "prefixes", "listeners")}
        return {"counters": counters, "gauges": gauges, "histograms": histograms, **names}

    parts = [part(3, 1, 50, 2), part(4, 2, 9, 2)]
    reply = PAGES[0].render(parts, Request("GET", "/stats?filter=(total|active|uptime)$"))
    values = ("cluster.x.membership_total: 2", "http.x.downstream_cx_active: 3", "http.x.downstream_rq_total: 7")
    assert reply.body == "".join(f"{line}\n" for line in (*values, "server.uptime: 50"))
    prometheus = PAGES[1].render(parts, Request("GET", "/stats/prometheus"))
    assert 'envoy_http_downstream_rq_time_count{envoy_http_conn_manager_prefix="x"} 7' in str(prometheus.body)


@scenario
async def test_a_scraper_keeps_its_connection() -> None:
    async with doorkeeper() as (door, _):
        scraper = await client(door)
        for _ in range(3):
            assert (await scraper.get("/stats/prometheus?usedonly", host="localhost")).status == 200
