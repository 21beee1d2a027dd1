"""The real Keycloak, signed in at with the file of the quickstart.

Only where OSTIARY_KEYCLOAK names the directory of a Keycloak (it needs Java), as in
`OSTIARY_KEYCLOAK=~/keycloak-26.2.5 make test ARGS='-k keycloak'`: it is too large to install for a test.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from peers.doorkeeper import answers, doorkeeper, identity
from peers.person import Page, Person
from peers.recorders import Application
from ports import free_port
from provider_world import quickstart
from waiting import PATIENCE

pytestmark = [pytest.mark.peer, pytest.mark.timeout(300)]  # it starts in ten seconds, or in a minute

CLIENT_SECRET = "a secret: 100% safe+sound"
PASSWORD = "a long password"
START_LIMIT = 240
TOKEN_LIFETIME = 4
"""Seconds; refreshed at half of it."""


@dataclass
class Keycloak:
    """A running Keycloak and its admin API."""

    port: int
    token: str = field(default="", repr=False)

    def request(self, method: str, path: str, document: Any = None) -> Any:
        """One request to the admin API; the JSON of the answer, if there is one."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        return self._send(method, f"/admin/realms{path}", json.dumps(document), headers)

    def sign_in_as_admin(self) -> None:
        form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": PASSWORD}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        path = "/realms/master/protocol/openid-connect/token"
        self.token = self._send("POST", path, urlencode(form), headers)["access_token"]

    def _send(self, method: str, path: str, body: str, headers: dict[str, str]) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            text = response.read()
            assert response.status < 300, (method, path, response.status, text)
            return json.loads(text) if text else None
        finally:
            connection.close()


@pytest.fixture(scope="module")
def keycloak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keycloak]:
    """Keycloak on loopback, its database in memory."""
    home = os.environ.get("OSTIARY_KEYCLOAK", "")
    if not home:
        pytest.skip("OSTIARY_KEYCLOAK names no Keycloak")
    port, log = free_port(), tmp_path_factory.mktemp("keycloak") / "keycloak.log"
    argv = [str(Path(home) / "bin" / "kc.sh"), "start-dev", "--db=dev-mem"]
    argv += ["--http-host=127.0.0.1", f"--http-port={port}", "--http-management-port", str(free_port())]
    admin = {"KC_BOOTSTRAP_ADMIN_USERNAME": "admin", "KC_BOOTSTRAP_ADMIN_PASSWORD": PASSWORD}
    with log.open("wb") as out:
        process = subprocess.Popen(
            argv, stdout=out, stderr=out, env={**os.environ, **admin}, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        deadline = time.monotonic() + START_LIMIT
        while not answers(port):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.5)
        yield Keycloak(port)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


@dataclass
class Place:
    """The realm, the application and where the doorkeeper will be."""

    keycloak: Keycloak
    app: Application
    port: int
    directory: Path

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def doorkeeper(self, **changes: Any) -> Any:
        """`ostiary run` with the quickstart's file, but for addresses and files."""
        document = quickstart("Keycloak")
        (self.directory / "client").write_text(CLIENT_SECRET)
        document["provider"]["keycloak"]["url"] = f"http://127.0.0.1:{self.keycloak.port}"
        document["provider"]["client_secret_file"] = str(self.directory / "client")
        document["provider"] |= changes.pop("provider", {})
        mine = {"access": document["access"], "pass": {"access_token": True}, **changes}
        return doorkeeper(self.directory, document["provider"], self.app.port, port=self.port, **mine)


@pytest.fixture
def place(keycloak: Keycloak, tmp_path: Path) -> Iterator[Place]:
    """A realm as the quickstart tells to make it."""
    port = free_port()
    home = f"http://localhost:{port}"
    keycloak.sign_in_as_admin()
    keycloak.request("POST", "", realm(home))
    try:
        with Application() as app:
            yield Place(keycloak, app, port, tmp_path)
    finally:
        keycloak.sign_in_as_admin()
        keycloak.request("DELETE", "/main")


def realm(home: str) -> dict[str, Any]:
    """A realm with a confidential client, a group and two people, one of them in it."""
    membership = {
        "name": "groups",
        "protocol": "openid-connect",
        "protocolMapper": "oidc-group-membership-mapper",
        "config": {"claim.name": "groups", "full.path": "true", "id.token.claim": "true"},
    }
    client = {
        "clientId": "my-app",
        "secret": CLIENT_SECRET,
        "standardFlowEnabled": True,
        "directAccessGrantsEnabled": False,
        "redirectUris": [f"{home}/.ostiary/callback"],
        "attributes": {"post.logout.redirect.uris": f"{home}/"},
        "protocolMappers": [membership],
    }
    people = [person("jane", ["/staff"], ["operator"]), person("john", [], [])]
    return {
        "realm": "main",
        "enabled": True,
        "accessTokenLifespan": TOKEN_LIFETIME,
        "roles": {"realm": [{"name": "operator"}]},
        "groups": [{"name": "staff"}],
        "clients": [client],
        "users": people,
    }


def person(name: str, groups: list[str], roles: list[str]) -> dict[str, Any]:
    return {
        "username": name,
        "enabled": True,
        "email": f"{name}@example.com",
        "emailVerified": True,
        "firstName": name.title(),
        "lastName": "Doe",
        "groups": groups,
        "realmRoles": roles,
        "credentials": [{"type": "password", "value": PASSWORD, "temporary": False}],
    }


def sign_in(someone: Person, url: str, name: str) -> Page:
    page = someone.open(url)
    assert "/realms/main/protocol/openid-connect/auth" in page.url, page.text[-1500:]
    return someone.submit(page, username=name, password=PASSWORD)


def test_the_quickstart_signs_in_refreshes_and_signs_out(place: Place) -> None:
    with place.doorkeeper() as proxy:
        jane = Person()
        page = sign_in(jane, f"{place.url}/reports?year=2026", "jane")
        assert (page.status, page.url) == (200, f"{place.url}/reports?year=2026")
        [user] = place.keycloak.request("GET", "/main/users?username=jane")
        seen = place.app.drain()[-1]
        assert {
            name: seen.get(f"x-forwarded-{name}") for name in ("user", "email", "preferred-username", "groups")
        } == {
            "user": user["id"],
            "email": "jane@example.com",
            "preferred-username": "jane",
            "groups": "/staff",
        }

        deadline = time.monotonic() + PATIENCE
        token = seen.get("x-forwarded-access-token")
        while token == seen.get("x-forwarded-access-token"):
            assert jane.open(f"{place.url}/again").status == 200
            seen = place.app.drain()[-1]
            assert time.monotonic() < deadline, "no refresh"
            time.sleep(0.2)

        out = jane.open(f"{place.url}/.ostiary/sign_out")
        assert jane.value("ostiary") is None
        leaving = next(hop for hop in out.hops if "/openid-connect/logout" in hop)
        asked = parse_qs(urlsplit(leaving).query)
        assert set(asked) == {"id_token_hint", "client_id", "post_logout_redirect_uri"}
        assert f"{place.url}/" in out.hops, "back at the application, without a question at Keycloak"
        assert 'name="password"' in out.text, "and Keycloak knows nobody any more"
        assert place.keycloak.request("GET", f"/main/users/{user['id']}/sessions") == []
    assert CLIENT_SECRET not in proxy.output()


def test_who_is_not_in_the_group_may_not_enter(place: Place) -> None:
    with place.doorkeeper():
        page = sign_in(Person(), f"{place.url}/", "john")
        assert page.status == 403
        assert "access-denied" in page.text
        assert place.app.drain() == []


def test_a_session_that_keycloak_ended_ends_here_at_the_next_refresh(place: Place) -> None:
    with place.doorkeeper():
        jane = Person()
        assert sign_in(jane, f"{place.url}/", "jane").status == 200
        [user] = place.keycloak.request("GET", "/main/users?username=jane")
        place.keycloak.request("POST", f"/main/users/{user['id']}/logout")
        deadline = time.monotonic() + PATIENCE
        while urlsplit((page := jane.open(f"{place.url}/")).url).port == place.port:
            assert time.monotonic() < deadline, page.text
            time.sleep(0.2)
        assert 'name="password"' in page.text


def test_realm_roles_as_groups_once_they_are_in_the_id_token(place: Place) -> None:
    scopes = place.keycloak.request("GET", "/main/client-scopes")
    [roles] = [scope for scope in scopes if scope["name"] == "roles"]
    [mapper] = [each for each in roles["protocolMappers"] if each["name"] == "realm roles"]
    mapper["config"]["id.token.claim"] = "true"
    changes = {"provider": {"groups_claim": "realm_access.roles"}, "access": [{"groups": ["operator"]}]}
    with place.doorkeeper(**changes):
        assert sign_in(Person(), f"{place.url}/", "jane").status == 403
        path = f"/main/client-scopes/{roles['id']}/protocol-mappers/models/{mapper['id']}"
        place.keycloak.request("PUT", path, mapper)
        assert sign_in(Person(), f"{place.url}/", "jane").status == 200
        assert "operator" in identity(place.app)["x-forwarded-groups"].split(",")


def test_a_wrong_client_secret_is_named(place: Place) -> None:
    with place.doorkeeper() as proxy:
        (place.directory / "client").write_text("another")
        deadline = time.monotonic() + PATIENCE
        while "client changed and is in use" not in proxy.output():
            assert time.monotonic() < deadline, proxy.output()
            time.sleep(0.1)
        page = sign_in(Person(), f"{place.url}/", "jane")
        assert page.status == 500
        assert "client-rejected" in page.text
