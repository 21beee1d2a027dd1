"""The flight recorder of a running doorkeeper: a person reads out a code, and the operator finds what happened."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from ostiary.testing.provider_faults import Faults
from peers.demo_provider import holding
from peers.doors import PROFILES
from peers.flights_world import FlightsWorld, flights_world
from peers.person import Person
from waiting import PATIENCE, until

pytestmark = pytest.mark.peer
FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "5xx": ({"token_status": 503}, "idp-server-error", "idp-server-error"),
    "code refused": ({"token_error": "invalid_grant"}, "grant-rejected", "grant-rejected"),
    "client refused": ({"token_error": "invalid_client"}, "client-rejected", "client-rejected"),
    "odd error": ({"token_error": "something_else"}, "idp-error", "idp-error"),
    "html": ({"html_token": True}, "idp-not-oauth", "token-response-invalid"),
    "empty": ({"empty_token": True}, "token-response-invalid", "token-response-invalid"),
    "no token": ({"no_access_token": True}, "token-response-invalid", "token-response-invalid"),
    "declined": ({"authorize_error": "access_denied"}, "sign-in-declined", "sign-in-declined"),
    "slow": ({"delay": 3600.0}, "idp-timeout", "idp-timeout"),
    "no id token": ({"no_id_token": True}, "jwt-missing", ""),
    "nonce": ({"wrong_nonce": True}, "jwt-nonce", ""),
    "no nonce": ({"no_nonce": True}, "jwt-nonce", ""),
    "issuer": ({"wrong_issuer": True}, "jwt-issuer", ""),
    "audience": ({"wrong_audience": True}, "jwt-audience", ""),
    "party": ({"foreign_party": True}, "jwt-audience", ""),
    "at_hash": ({"wrong_at_hash": True}, "jwt-access-token", ""),
    "signature": ({"wrong_signature": True}, "jwt-signature", ""),
    "key": ({"unknown_key": True}, "jwt-key", ""),
    "expired": ({"expired": True}, "jwt-expired", ""),
    "future": ({"from_the_future": True}, "clock-skew", ""),
    "unsigned": ({"alg_none": True}, "jwt-algorithm", ""),
    "hmac": ({"hmac_with_public_key": True}, "jwt-algorithm", ""),
    "mail": ({"email_unverified": True}, "email-unverified", ""),
    "mix-up": ({"iss_parameter": "https://evil.example"}, "issuer-mismatch", ""),
}
"""Fault -> switches of the provider, the code in the native profile, in Envoy's; empty: Envoy doesn't mind."""


@pytest.fixture(scope="module", params=PROFILES)
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, FlightsWorld]]:
    with flights_world(tmp_path_factory.mktemp(request.param), request.param, timeout="2s") as running:
        assert running.sign_in()[0] == 302, "the provider's keys are known from now on"
        yield request.param, running


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlightsWorld]:
    rules = [{"paths": ["/admin"], "groups": ["admins"]}, {"domains": ["example.com"]}]
    with flights_world(tmp_path_factory.mktemp("native"), access=rules) as running:
        yield running


def failing(world: FlightsWorld, switches: dict[str, Any]) -> Any:
    """Somebody signs in while the provider is wrong."""
    person = Person()
    location = world.leave(person)
    slow = switches.get("delay")
    callback = world.callback(person, location) if slow else ""
    for name, value in switches.items():
        setattr(world.provider.faults, name, value)
    try:
        return person.step(callback or world.callback(person, location))
    finally:
        for name in switches:
            setattr(world.provider.faults, name, getattr(Faults(), name))


def code_on(page: str) -> str:
    """What a person reads out."""
    found = re.search(r"<dt>Code</dt><dd><code>(\w{8})</code>", page)
    assert found is not None, page
    return found[1]


@pytest.mark.parametrize("fault", FAULTS)
def test_every_failure_is_found_by_its_code(fault: str, world: tuple[str, FlightsWorld]) -> None:
    profile, running = world
    switches, *codes = FAULTS[fault]
    code = codes[profile == "envoy"]
    status, headers, text = failing(running, switches)
    newest = running.flights("?limit=1")[0]
    if not code:
        assert (status, newest["outcome"]) == (302, "signed-in")
        return
    assert (newest["outcome"], newest["kind"], newest["code"]) == ("failed", "sign-in", code)
    told = [step["step"] for step in newest["steps"] if step["step"] != "call"]
    assert told[:3] == ["redirect", "away", "callback"]
    assert newest["away_ms"] > 0 and newest["mends"] and newest["reason"]
    if profile == "native":
        assert code_on(text) == newest["id"] and code in text
    else:
        assert (status, text) == (401, "OAuth flow failed.")
        assert not any(newest["id"] in value for _, value in headers), "Envoy's answers have no such header"
    native_line = f"code {newest['id']}: GET answered with {status}: {code}"
    line = running.log_line(native_line if profile == "native" else f"(code {newest['id']})")
    assert "[warning][oauth2]" in line
    assert running.json(f"/flights/{newest['id']}") == newest
    assert [each["id"] for each in running.flights(f"?code={newest['id']}")] == [newest["id"]]


def test_a_sign_in_is_told_from_the_redirect_to_the_rules(native: FlightsWorld) -> None:
    person = Person()
    assert native.sign_in(person)[0] == 302
    assert person.step(f"{native.url}/report")[0] == 200
    flight = native.flights("?limit=1")[0]
    told = [step["step"] for step in flight["steps"] if step["step"] != "call"]
    assert told == ["redirect", "away", "callback", "verification", "decision"]
    assert (flight["user"], flight["path"], flight["client"], flight["user_agent"]) == (
        "ada@example.com", "/report", "127.0.0.1", "person",
    )  # fmt: skip
    assert flight["steps"][-1]["why"] == "rule 3 admits" and flight["session"]["cookies"] == 1
    token = next(step for step in flight["steps"] if step.get("purpose") == "token")
    (connection,) = token["connections"]
    assert connection["ok"] and connection["winner"]["address"] == "127.0.0.1" and token["status"] == 200


def test_no_access_is_told_to_the_person_and_to_the_operator(native: FlightsWorld) -> None:
    person = Person()
    native.sign_in(person)
    status, _, text = person.step(f"{native.url}/admin/users?secret=1")
    flight = native.json(f"/flights/{code_on(text)}")
    assert (status, flight["outcome"], flight["code"]) == (403, "denied", "access-denied")
    assert flight["summary"].endswith("may not open /admin/users: rule 2 asks for one of its groups.")


def test_who_gives_up_waiting_is_told_too(native: FlightsWorld) -> None:
    person = Person()
    callback = urlsplit(native.callback(person, native.leave(person)))
    with (
        holding(native.provider) as asked,
        socket.create_connection(("127.0.0.1", native.proxy.ports[0])) as browser,
    ):
        head = f"GET {callback.path}?{callback.query} HTTP/1.1\r\nHost: {callback.netloc}\r\nAccept: text/html\r\n"
        browser.sendall(f"{head}Cookie: {person.cookie_header(callback.geturl())}\r\n\r\n".encode())
        assert asked.wait(PATIENCE)
        browser.close()
        until(lambda: native.proxy.counters()["http.ostiary.downstream_rq_active"] == 0)
    until(lambda: native.flights("?limit=1")[0]["outcome"] != "away")
    (flight,) = native.flights("?limit=1")
    (back,) = [step for step in flight["steps"] if step["step"] == "callback"]
    assert (flight["outcome"], back["status"]) == ("signed-in", 499)
    assert flight["summary"].endswith("The browser did not wait for it.")


def test_programs_get_the_code_in_their_json(native: FlightsWorld) -> None:
    status, _, text = Person().step(f"{native.url}/api", headers={"Accept": "application/json"})
    code = re.search(r'"flight":"(\w{8})"', text)
    assert status == 401 and code is not None
    assert native.json(f"/flights/{code[1]}")["outcome"] == "unauthenticated"


def test_a_lost_cookie_is_told_where_it_was_lost(native: FlightsWorld) -> None:
    person, stranger = Person(), Person()
    callback = native.callback(person, native.leave(person))
    status, headers, _ = stranger.step(callback)
    assert status == 302, "the sign-in begins once more"
    first, second = sorted(native.flights("?limit=2"), key=lambda each: str(each["started"]))
    assert (first["outcome"], second["outcome"]) == ("restarted", "away")
    again = dict(headers)["location"]
    status, _, text = Person().step(native.callback(Person(), again))
    assert code_on(text) == second["id"] and native.json(f"/flights/{second['id']}")["code"] == "csrf-cookie-missing"


def test_a_callback_without_its_cookie_belongs_to_its_redirect(world: tuple[str, FlightsWorld]) -> None:
    profile, running = world
    if profile == "native":
        return  # it begins once more: below
    person = Person()
    callback = running.callback(person, running.leave(person, "/lost-cookie"))
    assert Person().step(callback)[2] == "OAuth flow failed."
    flight = running.flights("?q=/lost-cookie")[0]
    assert [step["step"] for step in flight["steps"]] == ["redirect", "away", "callback"]
    assert (flight["outcome"], flight["code"]) == ("failed", "csrf-cookie-missing")


def test_nothing_secret_is_recorded(world: tuple[str, FlightsWorld]) -> None:
    _, running = world
    person = Person()
    location = running.leave(person, "/report?password=hunter2")
    callback = running.callback(person, location)
    secrets = [value for name, value in parse_qsl(urlsplit(callback).query) if name in ("code", "state")]
    secrets += [value for name, value in parse_qsl(urlsplit(location).query) if name in ("nonce", "code_challenge")]
    secrets += list(person.cookies.values())
    person.step(callback)
    secrets += [value for value in person.cookies.values() if value]
    failing(running, {"token_error": "invalid_grant"})
    secrets += ["plain-secret"]
    shown = running.get("/flights?limit=1000")[2] + running.get("/flights?limit=1000", "text/html")[2]
    for flight in running.flights():
        shown += running.get(f"/flights/{flight['id']}", "text/html")[2]
    for secret in secrets:
        assert secret not in shown and secret not in running.proxy.output()
    assert "hunter2" not in shown  # what applications are asked is in the access log alone, as in Envoy's


def test_an_application_that_is_down_is_one_entry_however_many_ask(tmp_path: Path) -> None:
    with flights_world(tmp_path) as running:
        person = Person()
        running.sign_in(person)
        running.app.__exit__(None, None, None)
        for _ in range(30):
            assert person.step(f"{running.url}/report")[0] == 503
        down, signed_in = running.flights()
        running.app.__enter__()
    assert (down["kind"], down["outcome"], down["count"]) == ("connect", "unreachable", 30)
    assert down["connection"]["attempts"][0]["errno"] == "ECONNREFUSED" and down["cluster"] == "upstream"
    assert signed_in["outcome"] == "signed-in"


def test_workers_speak_with_one_voice(tmp_path: Path) -> None:
    with flights_world(tmp_path, workers=2) as running:
        made = 0
        while True:  # until a redirect and its callback have met different workers
            assert running.sign_in()[0] == 302
            made += 1
            flights = running.flights()
            assert [flight["outcome"] for flight in flights] == ["signed-in"] * made
            workers = [{step["worker"] for step in flight["steps"] if "worker" in step} for flight in flights]
            if any(len(each) == 2 for each in workers):
                break
            assert made < 200


def test_who_signed_in_can_be_left_out(tmp_path: Path) -> None:
    with flights_world(tmp_path, flight_users=False) as running:
        running.sign_in()
        assert running.flights()[0]["user"] is None
        assert "ada@example.com" not in running.get("/flights", "text/html")[2]


def test_hostile_browsers_and_providers_do_not_become_markup(native: FlightsWorld) -> None:
    hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    headers = {"Accept": "text/html", "User-Agent": hostile}
    native_answer = Person().step(f"{native.url}/%3Cscript%3Ealert(2)%3C/script%3E", headers=headers)
    assert native_answer[0] == 302
    failing(native, {"token_error": hostile})
    for flight in native.flights("?limit=2"):
        for path in ("/flights", f"/flights/{flight['id']}"):
            page = native.get(path, "text/html")[2]
            assert "<script>alert" not in page and "<img" not in page


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/flights/nosuch00", 404),
        ("/flights?since=tomorrow", 400),
        ("/flights?outcome=nothing", 400),
        ("/flights?since=1h&limit=x&q=nothing", 400),
        ("/flights?since=1h&limit=5&q=nothing", 200),
    ],
)
def test_what_is_not_there_is_said(native: FlightsWorld, path: str, status: int) -> None:
    for accept in ("text/html", "application/json"):
        assert native.get(path, accept)[0] == status


def test_a_page_that_has_it_all_is_not_made_again(native: FlightsWorld) -> None:
    page = native.get("/flights", "text/html")[2]
    have = re.search(r'data-have="(\w+)"', page)
    assert have is not None
    deadline = time.monotonic() + PATIENCE  # the page is made anew now and then, for its times
    while native.get(f"/flights?have={have[1]}", "text/html")[0] != 204:
        assert time.monotonic() < deadline
        have = re.search(r'data-have="(\w+)"', native.get("/flights", "text/html")[2])
        assert have is not None
    native.leave(Person())
    assert native.get(f"/flights?have={have[1]}", "text/html")[0] == 200


def test_a_new_configuration_forgets_no_flight(tmp_path: Path) -> None:
    with flights_world(tmp_path) as running:
        running.sign_in()
        before = running.flights()
        (config,) = tmp_path.glob("doorkeeper-*.yaml")
        config.write_text(config.read_text() + "redirect_hosts: [other.example]\n")
        os.kill(running.proxy.pid, signal.SIGHUP)
        running.log_line("the new configuration is in use")
        assert running.flights() == before
        assert running.sign_in()[0] == 302 and len(running.flights()) == 2
