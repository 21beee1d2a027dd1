"""Several workers before a provider that ends a session whose refresh token is used twice."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
import yaml

from peers import rawhttp, sealed
from peers.crew import alone, connections, state, until, whole, workers
from peers.person import NAVIGATION, Page, Person
from peers.proxies import Proxy, ostiary_arguments
from peers.rawhttp import Connection, Response
from peers.recorders import Answer, Application, Provider
from peers.same_yaml import HMAC_SECRET, HOST, bootstrap, fill, oauth2_config
from peers.strict_provider import Place, answer, sign_in
from ports import free_port
from waiting import PATIENCE

pytestmark = pytest.mark.peer

WORKERS = 3
SOON = 2
"""Seconds that a first access token lives; it is refreshed at half of that. The next ones live for an hour."""


class Session:
    """A person who is signed in at a doorkeeper of several workers, and the doors they have open."""

    def __init__(self, place: Place, proxy: Proxy, each: int = 4) -> None:
        self.place, self.proxy = place, proxy
        self.host = f"localhost:{place.port}"
        self.pids = whole(proxy, WORKERS)
        self.person = Person()
        place.tokens_live(SOON)
        assert sign_in(self.person, f"{place.url}/", "jane").status == 200
        self._due = time.monotonic() + SOON / 2
        place.tokens_live(3600)
        self.cookie = self.person.cookie_header(f"{place.url}/")
        self.doors = connections(proxy, self.pids, each)

    def wait_until_due(self) -> None:
        """The next request with the session's cookie refreshes its tokens."""
        time.sleep(max(0.0, self._due + 0.1 - time.monotonic()))

    def close(self) -> None:
        for door in self.all_doors():
            door.close()

    def send(self, door: Connection, cookie: str = "", target: str = "/") -> None:
        headers = {**NAVIGATION, "Cookie": cookie or self.cookie}
        door.send(rawhttp.request("GET", target, tuple(headers.items()), host=self.host))

    def all_doors(self) -> list[Connection]:
        return [door for doors in self.doors.values() for door in doors]

    def token_requests(self) -> int:
        return len(self.place.token_requests())

    def refresh_begins(self, pid: int, before: int, target: str = "/") -> Connection:
        """One request at one worker, up to where the provider has its token request."""
        door = self.doors[pid][0]
        self.send(door, target=target)
        until(lambda: self.token_requests() == before + 1, "no token request")
        return door

    def works_everywhere(self, cookie: str) -> None:
        """A session opens at every worker."""
        for pid in workers(self.proxy):
            with alone(workers(self.proxy), pid), Connection(self.proxy.ports[0]) as door:
                self.send(door, cookie)
                response = door.receive()
                assert (response.status, response.body) == (200, b"you asked for /\n"), (pid, response)


@contextmanager
def session(place: Place, **changes: Any) -> Iterator[Session]:
    with place.doorkeeper(workers=WORKERS, **changes) as proxy, closing(Session(place, proxy)) as found:
        yield found
        place.delay_tokens(0)
    assert "Traceback" not in proxy.output()


def cookie_of(response: Response) -> str:
    """What the browser sends from now on."""
    pairs = [line.partition(";")[0] for line in response.get_all("set-cookie") if "Max-Age=0" not in line]
    assert any(pair.startswith("ostiary=") for pair in pairs), response
    return "; ".join(pairs)


def let_in(responses: list[Response]) -> list[str]:
    """Everybody got through, with a renewed session."""
    assert [response.status for response in responses] == [200] * len(responses)
    return [cookie_of(response) for response in responses]


def test_requests_at_all_workers_make_one_token_request(place: Place) -> None:
    with session(place) as here:
        cookie, doors = here.cookie, here.all_doors()
        place.delay_tokens(0.3)
        here.wait_until_due()
        for lifetime in (6, 3600):
            place.tokens_live(lifetime)
            before = here.token_requests()
            for door in doors:
                here.send(door, cookie)
            cookies = let_in([door.receive() for door in doors])
            assert here.token_requests() == before + 1
            assert place.token_requests()[-1]["status"] == 200
            if lifetime == 6:
                time.sleep(3.1)
                cookie = cookies[-1]
        here.works_everywhere(cookie)
        assert here.token_requests() == before + 1, "the old cookie has its grace, at every worker"
        here.works_everywhere(cookies[0])


def test_another_worker_takes_over_from_one_that_is_killed(place: Place) -> None:
    with session(place) as here:
        here.wait_until_due()
        before = here.token_requests()
        place.delay_tokens(20)
        first, *others = here.pids
        here.refresh_begins(first, before)
        waiting = [door for pid in others for door in here.doors[pid]]
        for door in waiting:
            here.send(door)
        place.delay_tokens(0)
        os.kill(first, signal.SIGKILL)
        [cookie, *_] = let_in([door.receive() for door in waiting])
        assert here.token_requests() == before + 2, "the dead worker's, and one of those who waited"
        assert len(set(whole(here.proxy, WORKERS)) - set(here.pids)) == 1
        here.works_everywhere(here.cookie)
        assert here.token_requests() == before + 2, "a new worker knows what came of it, too"
        here.works_everywhere(cookie)


def test_a_worker_that_is_told_to_end_finishes_what_others_wait_for(place: Place) -> None:
    with session(place) as here:
        here.wait_until_due()
        before = here.token_requests()
        place.delay_tokens(1)
        first, *others = here.pids
        door = here.refresh_begins(first, before)
        for pid in others:
            here.send(here.doors[pid][0])
        os.kill(first, signal.SIGTERM)
        let_in([each.receive() for each in (door, *(here.doors[pid][0] for pid in others))])
        until(lambda: first not in workers(here.proxy), "it was told to end")
        whole(here.proxy, WORKERS)
        here.works_everywhere(here.cookie)
        assert here.token_requests() == before + 1


def test_a_client_that_leaves_takes_nothing_with_it(place: Place) -> None:
    """Neither when its request runs the flow, nor when its worker is told to end before the flow has."""
    with session(place) as here:
        here.wait_until_due()
        before = here.token_requests()
        place.delay_tokens(1)
        first, second, _ = here.pids
        here.refresh_begins(first, before).close()
        os.kill(first, signal.SIGTERM)
        here.send(here.doors[second][0])
        [cookie] = let_in([here.doors[second][0].receive()])
        assert here.token_requests() == before + 1
        until(lambda: first not in workers(here.proxy), "it was told to end")
        whole(here.proxy, WORKERS)
        here.works_everywhere(cookie)


def test_the_secret_changes_meanwhile(place: Place) -> None:
    files = [place.directory / name for name in ("session-secret", "old-secret")]
    for file, text in zip(files, ("11" * 32, "22" * 32), strict=True):
        file.write_text(text)

    def write(number: int, text: str) -> None:
        fresh = files[number].with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(files[number])

    with session(place, secret_file=[str(file) for file in files]) as here:
        here.wait_until_due()
        before = here.token_requests()
        place.delay_tokens(0.5)
        first, *others = here.pids
        door = here.refresh_begins(first, before)
        for pid in others:
            here.send(here.doors[pid][0])
        write(1, "11" * 32)
        write(0, "33" * 32)
        cookies = let_in([each.receive() for each in (door, *(here.doors[pid][0] for pid in others))])
        assert here.token_requests() == before + 1
        for cookie in (here.cookie, *cookies):
            here.works_everywhere(cookie)
        until(lambda: here.proxy.output().count("session-secret changed and is in use") == WORKERS, "not read")
        fresh = Person()
        assert sign_in(fresh, f"{place.url}/", "john").status == 200
        here.works_everywhere(fresh.cookie_header(f"{place.url}/"))


def test_sigterm_drains_workers_that_wait_for_each_other(place: Place) -> None:
    with place.doorkeeper(workers=WORKERS) as proxy, closing(Session(place, proxy)) as here:
        here.wait_until_due()
        before = here.token_requests()
        place.delay_tokens(1)
        here.refresh_begins(here.pids[0], before)
        doors = here.all_doors()
        for door in doors[1:]:
            here.send(door)
        proxy.process.terminate()
        let_in([door.receive() for door in doors])
        assert here.token_requests() == before + 1
        assert all(door.closed_within(PATIENCE) for door in doors)
        assert proxy.process.wait(PATIENCE) == 0
    assert "Traceback" not in proxy.output()


def test_a_callback_is_redeemed_once_whoever_gets_it(place: Place) -> None:
    with session(place) as here:
        person = Person()
        page = answer(person, person.open(f"{place.url}/reports"), "john")  # signed in, not consented yet
        target = callback_of(person, page)
        before = here.token_requests()
        place.delay_tokens(0.3)
        doors = here.all_doors()
        for door in doors:
            here.send(door, person.cookie_header(target), target.removeprefix(place.url))
        responses = [door.receive() for door in doors]
        assert here.token_requests() == before + 1
        assert {(each.status, each.get("location")) for each in responses} == {(302, "/reports")}
        for cookie in {cookie_of(each) for each in responses}:
            here.works_everywhere(cookie)


def callback_of(person: Person, page: Page) -> str:
    """Consent, and follow the provider's redirects up to the callback, which is not loaded."""
    url = urljoin(page.url, page.text.partition('action="')[2].partition('"')[0])
    form: dict[str, str] | None = {"prompt": "consent"}
    for _ in range(10):
        status, headers, _ = person.step(url, form)
        assert status in (302, 303), status
        url, form = urljoin(url, next(value for name, value in headers if name.lower() == "location")), None
        if "/.ostiary/callback" in url:
            return url
    raise AssertionError("no callback")


def test_envoys_profile_does_the_same(tmp_path: Path) -> None:
    port, admin = free_port(), free_port()
    with Application() as app, Provider() as provider:
        values = {"PORT": port, "ADMIN": admin, "APP": app.port, "IDP": provider.port, "LOG": str(tmp_path / "log")}
        config = tmp_path / "envoy.yaml"
        config.write_text(yaml.safe_dump(fill(bootstrap(oauth2=oauth2_config()), values)))
        argv = ostiary_arguments(config, WORKERS)
        proxy = Proxy("ostiary", argv, (port,), admin, tmp_path / "ostiary.log").start()
        try:
            found = connections(proxy, whole(proxy, WORKERS), 4)
            doors = [door for each in found.values() for door in each]
            cookie = f"RefreshToken={sealed.encrypt_cbc('refresh-0', HMAC_SECRET)}"
            new = Answer(delay=0.3, body=json.dumps({**Provider.TOKENS, "access_token": "access-2"}).encode())
            provider.script.append(new)
            for door in doors:
                door.send(rawhttp.request("GET", "/", (("cookie", cookie),), host=HOST))
            responses = [door.receive() for door in doors]
            assert [response.status for response in responses] == [200] * len(doors)
            assert all("BearerToken" in str(response.get_all("set-cookie")) for response in responses)
            assert len(provider.drain()) == 1
            assert {request.get("cookie") for request in app.drain()} == {"BearerToken=access-2; IdToken=id-1"}
            for door in doors:
                door.close()
        finally:
            assert proxy.stop() == 0


def test_without_the_parent_each_worker_finishes_what_it_does_and_ends(place: Place) -> None:
    proxy_context = place.doorkeeper(workers=WORKERS)
    proxy = proxy_context.__enter__()
    here = Session(place, proxy)
    try:
        here.wait_until_due()
        before = here.token_requests()
        place.delay_tokens(1)
        door = here.refresh_begins(here.pids[0], before)
        here.send(here.doors[here.pids[1]][0])
        assert proxy.process is not None
        proxy.process.kill()
        assert door.receive().status == 200
        assert here.doors[here.pids[1]][0].receive().status in (200, 302), "answered, if only with a new sign-in"
        until(lambda: proxy.output().count("this one drains and ends") == WORKERS, "nobody noticed")
        here.close()
        until(lambda: all(state(pid) in "XZ" for pid in here.pids), "workers that nobody looks after")
    finally:
        here.close()
        proxy.process.wait(PATIENCE)
