"""`/clusters`, as istioctl's `proxy-config endpoint` and people with grep read it."""

from __future__ import annotations

import json

from admin.admin_world import ask, doorkeeper, visit
from ostiary.admin.pages.clusters import _merged
from wire import scenario


@scenario
async def test_text_and_json_tell_of_hosts() -> None:
    async with doorkeeper() as (door, app):
        assert (await visit(door)).status == 200
        text = (await ask(door, "/clusters")).body.decode()
        assert f"app::127.0.0.1:{app.port}::rq_success::1\n" in text
        assert f"app::127.0.0.1:{app.port}::health_flags::healthy\n" in text
        answer = await ask(door, "/clusters?format=json")
        assert answer.get("content-type") == "application/json"
        (status,) = json.loads(answer.body)["cluster_statuses"]
        (host,) = status["host_statuses"]
        assert host["address"]["socket_address"]["port_value"] == app.port
        assert {"name": "rq_success", "value": "1"} in host["stats"], "counters are strings"
        assert {"name": "rq_error"} in host["stats"], "and zero is left out"
        assert host["health_status"]["eds_health_status"] == "HEALTHY"


@scenario
async def test_filter() -> None:
    async with doorkeeper() as (door, _):
        assert (await ask(door, "/clusters?filter=nothing")).body == b""
        answer = await ask(door, "/clusters?filter=(")
        assert (answer.status, answer.body) == (400, b"Invalid re2 regex")


def test_a_host_has_every_flag_that_some_worker_gave_it() -> None:
    def part(flags: list[str], health: dict[str, object], total: int) -> list[dict[str, object]]:
        host = {
            "address": "1.2.3.4:80",
            "stats": {"rq_total": total},
            "health": health,
            "health_flags": flags,
            "connecting": {},
        }
        return [{"name": "app", "hosts": [{**host, "connecting": {}}]}]

    well, ejected = part(["healthy"], {}, 3), part(["failed_outlier_check"], {"failed_outlier_check": True}, 4)
    for parts in ([well, ejected], [ejected, well]):
        ((host,),) = (cluster["hosts"] for cluster in _merged(parts))
        assert host["health_flags"] == ["failed_outlier_check"]
        assert host["health"] == {"failed_outlier_check": True}
        assert host["stats"] == {"rq_total": 7}
