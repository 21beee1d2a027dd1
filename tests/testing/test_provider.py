"""The demo provider: strict where a provider has to be, and reachable by plain HTTP clients."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import json
import time
from typing import Any
from urllib.parse import parse_qs, quote_plus, urlencode, urlsplit

import pytest

from ostiary.core.jose import IdTokenPolicy, parse_key_set, verify_id_token
from ostiary.core.oidc import parse_discovery
from ostiary.model.signin import ProviderConfig
from ostiary.testing.provider import DEMO_CLIENT, DemoProvider
from ostiary.testing.provider_server import Reply
from waiting import PATIENCE

CALLBACK = "http://127.0.0.1:9000/cb"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
BASIC = base64.b64encode(
    f"{quote_plus(DEMO_CLIENT.client_id)}:{quote_plus(DEMO_CLIENT.client_secret)}".encode()
).decode()
REQUEST = {
    "response_type": "code",
    "client_id": DEMO_CLIENT.client_id,
    "redirect_uri": CALLBACK,
    "scope": "openid profile email",
    "state": "s",
    "nonce": "n",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


class Client:
    """A client that does everything right unless told otherwise."""

    def __init__(self, algorithm: str = "ES256") -> None:
        self.now = 1_800_000_000.0
        self.provider = DemoProvider(issuer="https://idp.example", algorithm=algorithm, clock=lambda: self.now)
        self.cookie = ""

    def authorize(self, user: str = "ada", **changes: str) -> Reply:
        url = f"/authorize?{urlencode({**REQUEST, **changes})}"
        body = urlencode({"username": user}).encode() if user else b""
        return self.provider.handle("POST" if user else "GET", url, {"cookie": self.cookie}, body)

    def code(self) -> str:
        return params(self.authorize())["code"]

    def token(self, *, basic: str = BASIC, **form: str) -> tuple[int, dict[str, Any]]:
        headers = {"authorization": f"Basic {basic}"} if basic else {}
        reply = self.provider.handle("POST", "/token", headers, urlencode(form).encode())
        return reply.status, json.loads(reply.body)

    def exchange(self, code: str, **changes: str) -> tuple[int, dict[str, Any]]:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
        return self.token(**{**form, **changes})

    def refresh(self, token: str) -> tuple[int, dict[str, Any]]:
        return self.token(grant_type="refresh_token", refresh_token=token)


def params(reply: Reply) -> dict[str, str]:
    assert reply.status == 303, reply
    location = dict(reply.headers)["location"]
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_its_tokens_are_what_our_own_verifier_believes(algorithm: str) -> None:
    client = Client(algorithm)
    config = ProviderConfig(issuer="https://idp.example", client_id=DEMO_CLIENT.client_id)
    metadata = parse_discovery(client.provider.handle("GET", "/.well-known/openid-configuration", {}).body, config)
    _, tokens = client.exchange(client.code())
    policy = IdTokenPolicy(
        issuer=metadata.issuer,
        client_id=DEMO_CLIENT.client_id,
        algorithms=(algorithm,),
        keys=parse_key_set(client.provider.handle("GET", "/jwks", {}).body),
        nonce="n",
        access_token=tokens["access_token"],
    )
    claims = verify_id_token(tokens["id_token"], policy, client.now)
    assert (claims["sub"], claims["email"], claims["groups"]) == ("ada", "ada@example.com", ["staff", "engineers"])
    assert params(client.authorize())["iss"] == "https://idp.example"


def test_the_login_page_offers_its_users_and_a_way_out() -> None:
    client = Client()
    reply = client.authorize(user="")
    text = reply.body.decode()
    assert reply.status == 200 and 'value="ada"' in text and 'value="bob"' in text and "state=s&amp;" in text
    declined = client.provider.handle("POST", f"/authorize?{urlencode(REQUEST)}", {}, b"decline=1")
    assert params(declined)["error"] == "access_denied"


def test_its_own_session_saves_the_second_click() -> None:
    client = Client()
    client.cookie = dict(client.authorize().headers)["set-cookie"].partition(";")[0]
    assert "code" in params(client.authorize(user=""))
    assert client.authorize(user="", prompt="login").status == 200
    reply = client.provider.handle("GET", "/end_session", {"cookie": client.cookie})
    assert reply.status == 200
    assert params(client.authorize(user="", prompt="none"))["error"] == "login_required"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "profile"}, "invalid_scope"),
    ],
)
def test_requests_that_are_refused_at_the_client(changes: dict[str, str], error: str) -> None:
    assert params(Client().authorize(**changes))["error"] == error


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": "https://evil.example/cb"},
        {"redirect_uri": "http://127.0.0.1.evil.example/"},
        {"client_id": "x"},
    ],
)
def test_requests_that_are_never_redirected(changes: dict[str, str]) -> None:
    assert Client().authorize(**changes).status == 400


@pytest.mark.parametrize(
    "changes", [{"code_verifier": "w" * 43}, {"code_verifier": ""}, {"redirect_uri": "x"}, {"code": "x"}]
)
def test_codes_are_bound(changes: dict[str, str]) -> None:
    client = Client()
    status, answer = client.exchange(**{"code": client.code(), **changes})
    assert (status, answer["error"]) == (400, "invalid_grant")


def test_a_code_used_twice_ends_what_grew_from_it() -> None:
    client = Client()
    code = client.code()
    _, tokens = client.exchange(code)
    assert client.exchange(code)[0] == 400
    assert client.refresh(tokens["refresh_token"])[0] == 400


def test_a_code_expires() -> None:
    client = Client()
    code = client.code()
    client.now += 60
    assert client.exchange(code)[0] == 400


def test_refresh_tokens_rotate_and_reuse_ends_the_family() -> None:
    client = Client()
    _, first = client.exchange(client.code())
    status, second = client.refresh(first["refresh_token"])
    assert status == 200 and second["refresh_token"] != first["refresh_token"]
    assert client.refresh(first["refresh_token"])[0] == 400
    assert client.refresh(second["refresh_token"])[0] == 400


@pytest.mark.parametrize(
    "basic", ["", base64.b64encode(b"ostiary-demo:wrong").decode(), "!", base64.b64encode(b"x").decode()]
)
def test_clients_authenticate(basic: str) -> None:
    client = Client()
    status, answer = client.exchange(client.code(), basic=basic)
    assert (status, answer["error"]) == (401, "invalid_client")


def test_requests_are_recorded_without_secrets() -> None:
    client = Client()
    client.exchange(client.code())
    assert client.provider.token_requests == [
        {"grant_type": "authorization_code", "client_id": "ostiary-demo", "auth": "basic", "status": 200}
    ]


def test_userinfo_and_revocation() -> None:
    client = Client()
    _, tokens = client.exchange(client.code())
    bearer = {"authorization": f"Bearer {tokens['access_token']}"}
    assert json.loads(client.provider.handle("GET", "/userinfo", bearer).body)["sub"] == "ada"
    body = urlencode({"token": tokens["refresh_token"]}).encode()
    assert client.provider.handle("POST", "/revoke", {"authorization": f"Basic {BASIC}"}, body).status == 200
    assert client.provider.handle("GET", "/userinfo", bearer).status == 401
    assert client.refresh(tokens["refresh_token"])[0] == 400


def test_an_unknown_algorithm_is_refused() -> None:
    with pytest.raises(ValueError, match="ES256"):
        DemoProvider(algorithm="HS256")


async def _over_sockets() -> tuple[float, list[int], bytes]:
    began = time.perf_counter()
    async with DemoProvider(["127.0.0.1", "::1"]) as provider:
        took = time.perf_counter() - began
        port = provider.port

        def ask() -> tuple[list[int], bytes]:
            statuses = []
            for host in ("127.0.0.1", "::1"):
                connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
                for _ in range(2):
                    connection.request("GET", "/.well-known/openid-configuration")
                    answer = connection.getresponse()
                    body = answer.read()
                    statuses.append(answer.status)
                connection.close()
            return statuses, body

        statuses, body = await asyncio.to_thread(ask)
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"garbage\r\n\r\n")
        assert json.loads(body)["issuer"] == provider.issuer
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    return took, statuses, body


def test_it_serves_several_addresses_and_stops_clean() -> None:
    took, statuses, _ = asyncio.run(_over_sockets())
    assert statuses == [200] * 4 and took < 60
