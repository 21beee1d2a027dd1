"""Whole sign-ins over real sockets at two providers that others wrote.

npm's `oidc-provider` is certified and strict: PKCE demanded, refresh tokens rotate, a used one ends its family. PyPI's
`oidc-provider-mock` is loose and odd: no `kid` in ID tokens, no ID token at refresh.
"""

from __future__ import annotations

import base64
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote_plus, urlsplit

import pytest

from peers.doorkeeper import ask, doorkeeper, identity, program
from peers.person import Person
from peers.recorders import Application
from peers.strict_provider import CLIENT_SECRET, Place, sign_in
from ports import free_port
from waiting import PATIENCE

pytestmark = pytest.mark.peer


def wait_for_refresh(person: Person, place: Place, path: str = "/again") -> None:
    """Keep asking until the provider has given new tokens."""
    before, cookie = len(place.token_requests()), person.value("ostiary")
    deadline = time.monotonic() + PATIENCE
    while len(place.token_requests()) == before:
        assert person.open(place.url + path).status == 200
        assert time.monotonic() < deadline, "no refresh"
        time.sleep(0.2)
    assert place.token_requests()[-1]["status"] == 200
    assert person.value("ostiary") != cookie, "the refreshed session was not set"


def test_sign_in_and_who_it_was(place: Place) -> None:
    with place.doorkeeper():
        person = Person()
        page = sign_in(person, f"{place.url}/reports?year=2026", "jane")
        assert (page.status, page.url) == (200, f"{place.url}/reports?year=2026")
        assert identity(place.app) == {
            "x-forwarded-user": "jane",
            "x-forwarded-email": "jane@example.com",
            "x-forwarded-preferred-username": "jane",
            "x-forwarded-groups": "staff",
        }
        [request] = place.token_requests()
        scheme, _, credentials = request["authorization"].partition(" ")
        assert scheme == "Basic"
        client, _, secret = base64.b64decode(credentials).decode().partition(":")
        assert (unquote_plus(client), unquote_plus(secret)) == ("ostiary", CLIENT_SECRET)


def test_what_a_client_claims_to_be_does_not_reach_the_application(place: Place) -> None:
    with place.doorkeeper():
        person = Person()
        sign_in(person, f"{place.url}/", "jane")
        place.app.drain()
        spoofed = {"X-Forwarded-User": "root", "X_Forwarded_User": "root", "x-forwarded-groups": "admins"}
        status, _, _ = person.step(f"{place.url}/", headers={"Accept": "text/html", **spoofed})
        assert status == 200
        [request] = place.app.drain()
        users = [v for k, v in request.headers if k.lower().replace("_", "-") == "x-forwarded-user"]
        assert (users, request.get_all("x-forwarded-groups")) == (["jane"], ["staff"])


def test_scripts_get_401_and_no_flow(place: Place) -> None:
    with place.doorkeeper():
        headers = {"Accept": "*/*", "Sec-Fetch-Mode": "cors"}
        status, fields, text = Person().step(f"{place.url}/api", headers=headers)
        assert status == 401
        assert {k.lower() for k, _ in fields} >= {"www-authenticate", "content-type"}
        assert "set-cookie" not in {k.lower() for k, _ in fields}
        assert text.startswith("{")
        assert place.app.drain() == []


def test_refresh_rotates_and_parallel_requests_share_it(place: Place) -> None:
    with place.doorkeeper():
        person = Person()
        place.tokens_live(2)
        sign_in(person, f"{place.url}/", "jane")
        wait_for_refresh(person, place)
        wait_for_refresh(person, place)
        place.tokens_live(3600)
        time.sleep(1.1)  # the third refresh is due: eight requests at once
        before = len(place.token_requests())
        cookie = person.cookie_header(f"{place.url}/")
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: ask(place.port, "GET", f"/p/{n}", {"Cookie": cookie}), range(8)))
        assert [status for status, _ in answers] == [200] * 8
        assert len(place.token_requests()) == before + 1
        assert ask(place.port, "GET", "/late", {"Cookie": cookie})[0] == 200, "the old cookie within its grace"
        assert len(place.token_requests()) == before + 1


def test_a_stolen_and_used_refresh_token_ends_the_session_everywhere(place: Place) -> None:
    with place.doorkeeper() as first, place.doorkeeper(port=free_port()) as second:
        person = Person()
        place.tokens_live(2)
        sign_in(person, f"{place.url}/", "jane")
        thief = Person()
        thief.cookies = dict(person.cookies)
        wait_for_refresh(person, place)
        page = thief.open(f"http://localhost:{second.ports[0]}/")  # knows nothing of the first one's grace
        assert urlsplit(page.url).port == place.provider_port, "the used token must not open anything"
        assert place.token_requests()[-1]["status"] == 400
        deadline = time.monotonic() + PATIENCE
        while (page := person.open(f"{place.url}/")).status == 200 and urlsplit(page.url).port == place.port:
            assert time.monotonic() < deadline, "the family was revoked, the session must end at its next refresh"
            time.sleep(0.3)
        assert "Traceback" not in first.output() + second.output()


def test_sign_out_ends_the_session_here_and_there(place: Place) -> None:
    with place.doorkeeper():
        person = Person()
        sign_in(person, f"{place.url}/", "jane")
        again = person.open(f"{place.url}/second")
        assert (again.status, len(again.hops)) == (200, 1)
        out = person.open(f"{place.url}/.ostiary/sign_out")
        assert urlsplit(out.url).port == place.provider_port
        assert "id_token_hint=" in out.url
        assert person.value("ostiary") is None
        back = person.submit(out, logout="yes")
        assert "/interaction/" in back.url, (
            "back at the application, which asks to sign in, and nobody is signed in there"
        )
        assert f"{place.url}/" in back.hops


def test_keys_rotate_while_we_run(place: Place) -> None:
    with place.doorkeeper():
        assert sign_in(Person(), f"{place.url}/", "jane").status == 200
        assert ask(place.provider_port, "POST", "/test/rotate") == (200, "rotated-1")
        deadline = time.monotonic() + PATIENCE  # keys are not fetched again within JWKS_MIN_REFETCH (10 s)
        while (page := sign_in(Person(), f"{place.url}/after", "john")).status == 502:
            assert time.monotonic() < deadline, page.text
            time.sleep(0.5)
        assert (page.status, page.url) == (200, f"{place.url}/after")
        assert identity(place.app)["x-forwarded-user"] == "john"


def test_groups_decide(place: Place) -> None:
    access = [{"paths": ["/admin"], "groups": ["admins"]}, {"groups": ["staff"]}]
    with place.doorkeeper(access=access):
        person = Person()
        assert sign_in(person, f"{place.url}/", "jane").status == 200
        assert person.open(f"{place.url}/admin/x").status == 403
        assert person.open(f"{place.url}/%61dmin").status == 403
        assert person.open(f"{place.url}/x/../admin").status == 403


def test_nothing_secret_is_written_anywhere(place: Place) -> None:
    with place.doorkeeper(log={"level": "debug"}) as proxy:
        person = Person()
        sign_in(person, f"{place.url}/", "jane")
        token = place.app.drain()[-1].get("x-forwarded-access-token")
        cookie = person.value("ostiary")
        dump = proxy.admin("/stats")
    written = proxy.output() + dump
    assert token and cookie
    for secret in (CLIENT_SECRET, token, cookie, "safe%2Bsound", "safe+sound"):
        assert secret not in written


def test_an_odd_second_provider(tmp_path: Path) -> None:
    provider_port = free_port()
    code = "import warnings; warnings.simplefilter('ignore'); from oidc_provider_mock.__main__ import run; run()"
    argv = [sys.executable, "-c", code, "-p", str(provider_port)]
    argv += ["--user-claims", '{"sub": "jane", "email": "jane@example.com", "email_verified": true}']
    provider = {"issuer": f"http://127.0.0.1:{provider_port}", "client_id": "any", "client_secret": "any"}
    with (
        Application() as app,
        program(argv, tmp_path, provider_port, "oidc-provider-mock"),
        doorkeeper(tmp_path, provider, app.port) as proxy,
    ):
        person, url = Person(), f"http://localhost:{proxy.ports[0]}/page?x=1"
        page = person.submit(person.open(url), sub="jane")
        assert (page.status, page.url) == (200, url)
        assert identity(app)["x-forwarded-user"] == "jane"
        out = person.open(f"http://localhost:{proxy.ports[0]}/.ostiary/sign_out")
        assert urlsplit(out.url).port == provider_port
        assert person.value("ostiary") is None


def test_live_and_ready(place: Place) -> None:
    with place.doorkeeper():
        assert ask(place.port, "GET", "/.ostiary/live")[0] == 200
        assert ask(place.port, "GET", "/.ostiary/ready")[0] == 200
