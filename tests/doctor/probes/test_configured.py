"""Envoy's configuration probed: token requests go where its cluster leads, with the secret of its file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from doctor.probes.probing import rules
from ostiary.doctor.examine import Question, examine
from ostiary.doctor.report import Report
from ostiary.testing.provider import DEMO_CLIENT, DemoProvider

OAUTH2 = "type.googleapis.com/envoy.extensions.filters.http.oauth2.v3.OAuth2"


def bootstrap(port: int, secret_file: Path, **changes: Any) -> bytes:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    assignment = {"cluster_name": "idp", "endpoints": endpoints}
    cluster = {"name": "idp", "type": "STATIC", "connect_timeout": "2s", "load_assignment": assignment}
    secret = {"name": "token", "sds_config": {"path_config_source": {"path": str(secret_file)}}}
    config = {
        "token_endpoint": {"cluster": "idp", "uri": "http://idp.example/token", "timeout": "2s"},
        "authorization_endpoint": f"http://127.0.0.1:{port}/authorize",
        "redirect_uri": "%REQ(x-forwarded-proto)%://%REQ(:authority)%/callback",
        "redirect_path_matcher": {"path": {"exact": "/callback"}},
        "signout_path": {"path": {"exact": "/signout"}},
        "auth_scopes": ["openid"],
        "credentials": {"client_id": DEMO_CLIENT.client_id, "token_secret": secret, "hmac_secret": secret},
        **changes,
    }
    link = {"name": "envoy.filters.http.oauth2", "typed_config": {"@type": OAUTH2, "config": config}}
    router = {"name": "envoy.filters.http.router"}
    manager = {"stat_prefix": "in", "http_filters": [link, router]}
    listener = {"name": "in", "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}]}
    return yaml.safe_dump({"static_resources": {"clusters": [cluster], "listeners": [listener]}}).encode()


def look(tmp_path: Path, secret: str | None, **changes: Any) -> tuple[Report, DemoProvider]:
    file = tmp_path / "token.yaml"
    if secret is not None:
        held = {"name": "token", "generic_secret": {"secret": {"inline_string": secret}}}
        kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
        file.write_text(yaml.safe_dump({"resources": [{"@type": kind, **held}]}))

    async def run() -> tuple[Report, DemoProvider]:
        async with DemoProvider() as demo:
            text = bootstrap(int(demo.issuer.rpartition(":")[2]), file, **changes)
            return await examine(Question(configurations=(("envoy.yaml", text),))), demo

    return asyncio.run(run())


def found(report: Report) -> list[str]:
    """What probes found; what the configuration itself lacks is tested elsewhere."""
    return [each for each in rules(report) if not each.startswith(("config-", "tls-", "filter-", "extension-"))]


def test_the_secret_of_the_file_is_tried_where_the_cluster_leads(tmp_path: Path) -> None:
    report, demo = look(tmp_path, DEMO_CLIENT.client_secret)
    assert found(report) == []
    assert [(each["client_id"], each["auth"], each["status"]) for each in demo.token_requests] == [
        (DEMO_CLIENT.client_id, "post", 400)]  # fmt: skip


def test_a_wrong_secret(tmp_path: Path) -> None:
    report, _ = look(tmp_path, "not the one")
    assert found(report) == ["client-rejected"]
    assert "not the one" not in str(report.as_dict())


def test_a_secret_with_a_newline_at_its_end_is_sent_as_envoy_sends_it(tmp_path: Path) -> None:
    report, _ = look(tmp_path, DEMO_CLIENT.client_secret + "\n")
    assert found(report)[:1] == ["client-rejected"]


def test_a_secret_that_is_not_here_is_not_judged(tmp_path: Path) -> None:
    report, demo = look(tmp_path, None)
    assert "client-rejected" not in found(report)
    assert [each["auth"] for each in demo.token_requests] == ["none"]


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({"redirect_uri": "http://127.0.0.1:8080/callback", "auth_scopes": ["user"]}, "scope-rejected"),
        ({"redirect_uri": "http://127.0.0.1:8080/callback", "auth_scopes": []}, "scope-rejected"),
        ({"token_endpoint": {"cluster": "idp", "uri": "http://idp.example/oauth/tokens", "timeout": "2s"}},
         "idp-not-oauth"),
    ],
)  # fmt: skip
def test_endpoints_and_scopes(tmp_path: Path, changes: dict[str, Any], first: str) -> None:
    report, _ = look(tmp_path, DEMO_CLIENT.client_secret, **changes)
    assert found(report)[:1] == [first], report.as_dict()
