"""Many proxies: each judged by itself, equal findings told once."""

from __future__ import annotations

import asyncio
import json

from doctor.live.test_documents import CLUSTER, OAUTH2, dump, hosts, listener
from ostiary.doctor.examine import Question, examine
from ostiary.doctor.report import Report
from ostiary.net.admin_client import AdminAnswer


class Recorded:
    """An admin API with fixed answers."""

    is_local = False

    def __init__(self, where: str, **bodies: bytes) -> None:
        self.where = where
        self._bodies = {"ready": b"LIVE\n", "clusters": b"{}", **bodies}

    async def request(self, path: str, method: str = "GET") -> AdminAnswer:
        assert method == "GET"
        name = path.strip("/").partition("?")[0]
        if name == "config_dump":
            static = {"cluster": CLUSTER}
            body = dump(dynamic_listeners=[listener(OAUTH2)]) if "listeners" in path else dump(static_clusters=[static])
            return AdminAnswer(200, body)
        return AdminAnswer(200 if name in self._bodies else 404, self._bodies.get(name, b""))

    def close(self) -> None:
        """Nothing is open."""


def report(*proxies: Recorded) -> Report:
    return asyncio.run(examine(Question(admins=proxies)))


def broken(name: str) -> Recorded:
    return Recorded(name, clusters=hosts("2606:4700::1", cx_connect_fail="3"))


def test_equal_findings_are_one_that_counts_proxies() -> None:
    found = report(*(broken(f"http://10.0.0.{n}:1") for n in range(3)), Recorded("http://10.0.1.1:1"))
    first = found.findings[0]
    assert first.rule == "dns-family-unreachable"
    assert first.proxies == tuple(f"http://10.0.0.{n}:1" for n in range(3))
    assert "in 3 of 4 proxies" in first.cause
    assert first.patch is not None
    assert [each.rule for each in found.findings].count("dns-family-unreachable") == 1
    assert json.loads(json.dumps(first.as_dict()))["proxies"] == list(first.proxies)


def test_what_is_true_of_all_names_none() -> None:
    first = report(*(broken(f"http://10.0.0.{n}:1") for n in range(3))).findings[0]
    assert (first.proxies, "in all 3 proxies" in first.cause) == ((), True)


def test_one_proxy_that_signs_in_says_nothing_against_another() -> None:
    well = Recorded("http://10.0.0.9:1", stats=b'{"stats": [{"name": "http.a.oauth_success", "value": 90}]}')
    first = report(broken("http://10.0.0.1:1"), well).findings[0]
    assert (first.rule, first.confidence, first.proxies) == (
        "dns-family-unreachable",
        "certain",
        ("http://10.0.0.1:1",),
    )


def test_a_proxy_elsewhere_is_not_probed_from_here() -> None:
    evidence = report(broken("http://10.0.0.1:1")).evidence
    (told,) = [each for each in evidence if each.kind == "probe"]
    assert "ostiary connect login.example:443 --families" in told.summary
