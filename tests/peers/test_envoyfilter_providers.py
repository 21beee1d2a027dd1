"""What `ostiary envoyfilter` prints for the providers that people have, from their discovery documents alone.

Each at its own address, by its own certificate; the real Envoy signs in, and its jwt_authn verifies the token after it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.peer
WORLD = Path(__file__).parent / "envoyfilter_world.py"
CALLBACK = "http://127.0.0.1:4180/oauth2/callback"
TOKEN_HOSTS = {
    "Entra": "login.microsoftonline.com", "Google": "oauth2.googleapis.com", "Keycloak": "sso.example.com",
    "Okta": "example.okta.com", "OktaCustom": "example.okta.com", "Auth0": "example.eu.auth0.com",
    "Dex": "dex.example.com", "Cognito": "auth.example.com", "Authentik": "auth.example.org",
    "Zitadel": "my-instance.zitadel.cloud", "GitLab": "gitlab.com",
}  # fmt: skip
OPEN_TO = {"Google": "everyone with a Google account", "GitLab": "everyone with a GitLab account"}


@pytest.mark.parametrize("name", TOKEN_HOSTS)
def test_people_sign_in(name: str, own_network: list[str], envoy: Path, tmp_path: Path) -> None:
    command = [*own_network, sys.executable, str(WORLD), str(tmp_path), name]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=50)
    assert result.returncode == 0, result.stderr[-3000:]
    found: dict[str, Any] = json.loads(result.stdout)
    assert (found["status"], found["text"]) == (200, "you asked for /reports?year=2026\n"), found["log"]
    assert found["reached"] == [["/reports?year=2026", "Bearer"]]
    assert found["asked"]["redirect_uri"] == found["token"]["redirect_uri"] == CALLBACK
    assert found["asked"]["code_challenge_method"] == "S256"
    assert "openid" in found["asked"]["scope"].split()

    cluster = found["objects"]["EnvoyFilter"]["spec"]["configPatches"][0]["patch"]["value"]
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
    tls = cluster["transport_socket"]["typed_config"]
    [san] = tls["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"]
    assert {endpoint["address"], tls["sni"], san["matcher"]["exact"]} == {TOKEN_HOSTS[name]}
    assert (endpoint["port_value"], cluster["dns_lookup_family"], cluster["connect_timeout"]) == (443, "ALL", "5s")

    who = OPEN_TO.get(name)
    said = f"ostiary: warning: {who} can sign in: say who may enter with an AuthorizationPolicy\n"
    assert found["stderr"] == (said if who else "")
