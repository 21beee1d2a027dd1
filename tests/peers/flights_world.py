"""A doorkeeper with a flight recorder, a provider that can be made to fail, and a person who signs in."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from ostiary.testing.provider import DemoProvider
from peers.demo_provider import demo_provider
from peers.doors import CLIENT, door
from peers.person import Person
from peers.proxies import Proxy
from peers.recorders import Application
from waiting import PATIENCE


@dataclass
class FlightsWorld:
    """Everything together, running."""

    proxy: Proxy
    provider: DemoProvider
    app: Application

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.proxy.ports[0]}"

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.proxy.admin_port}"

    def flights(self, query: str = "") -> list[dict[str, Any]]:
        """The newest first."""
        found: list[dict[str, Any]] = self.json(f"/flights{query}")["flights"]
        return found

    def json(self, path: str) -> Any:
        return json.loads(self.get(path)[2])

    def get(self, path: str, accept: str = "*/*") -> tuple[int, http.client.HTTPMessage, str]:
        """Of the admin API."""
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.admin_port, timeout=PATIENCE)
        try:
            connection.request("GET", path, headers={"Accept": accept})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()
        finally:
            connection.close()

    def log_line(self, part: str) -> str:
        """The line that holds this, once it is written."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = [line for line in self.proxy.output().splitlines() if part in line]
            if found:
                return found[0]
            assert time.monotonic() < deadline, self.proxy.output()[-2000:]
            time.sleep(0.02)

    def leave(self, person: Person, path: str = "/report?quarter=3") -> str:
        """Open a page without a session; where at the provider the person is then."""
        status, headers, _ = person.step(f"{self.url}{path}")
        assert status == 302
        return dict(headers)["location"]

    def callback(self, person: Person, location: str, user: str = "ada") -> str:
        """Sign in there; the callback's address."""
        status, headers, text = person.step(location, form={"username": user})
        assert status in (302, 303), text
        return urljoin(location, {name.lower(): value for name, value in headers}["location"])

    def sign_in(self, person: Person | None = None, path: str = "/report?quarter=3", user: str = "ada") -> Any:
        """All the way; the callback's (status, headers, body)."""
        person = person or Person()
        return person.step(self.callback(person, self.leave(person, path), user))


@contextmanager
def flights_world(folder: Path, profile: str = "native", **changes: Any) -> Iterator[FlightsWorld]:
    """`changes` are the doorkeeper's settings; `workers` too."""
    with (
        demo_provider(clients=(CLIENT,)) as provider,
        Application() as app,
        door(profile, folder, app.port, provider.issuer, **changes) as proxy,
    ):
        yield FlightsWorld(proxy, provider, app)
