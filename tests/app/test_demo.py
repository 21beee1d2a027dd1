"""The demo, clicked through over real sockets: sign in, no access, a public path, and the dead IPv6 address."""

from __future__ import annotations

import asyncio
import html
import http.cookiejar
import json
import os
import re
import shlex
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable

import pytest

from ostiary.admin.server import AdminServer
from ostiary.app.demo import PROVIDER_NAME, Demo, draw, greeting
from ports import free_port
from waiting import PATIENCE


class Browser:
    """Follows redirects and keeps cookies."""

    def __init__(self) -> None:
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(jar, urllib.request.ProxyHandler({}))
        self._opener.addheaders = [("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate")]

    def open(self, url: str, form: dict[str, str] | None = None) -> tuple[int, str, str]:
        """(status, where it ended, page)."""
        data = urllib.parse.urlencode(form).encode() if form else None
        try:
            with self._opener.open(url, data, timeout=PATIENCE) as answer:
                return answer.status, answer.url, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.url, error.read().decode()

    def sign_in(self, url: str, user: str) -> tuple[int, str, str]:
        """Open the page, and be who the provider is asked to let in."""
        _, where, page = self.open(url)
        action = re.search(r'action="([^"]+)"', page)
        assert action is not None, page
        return self.open(urllib.parse.urljoin(where, html.unescape(action[1])), {"username": user})


def with_demo(use: Callable[[Demo], None], *, broken_ipv6: bool = False) -> None:
    async def run() -> None:
        demo = Demo(0, broken_ipv6=broken_ipv6, admin=AdminServer)
        try:
            await demo.start()
            await asyncio.to_thread(use, demo)
        finally:
            await demo.stop()

    asyncio.run(run())


def test_one_user_may_enter_and_the_other_may_not() -> None:
    def use(demo: Demo) -> None:
        status, where, page = Browser().sign_in(f"{demo.url}anything?a=1", "ada")
        assert (status, where) == (200, f"{demo.url}anything?a=1")
        assert "ada@example.com" in page and "staff" in page
        status, _, page = Browser().sign_in(demo.url, "bob")
        assert status == 403
        assert "ada@example.com" not in page

    with_demo(use)


def test_the_command_that_is_printed_protects_an_application_of_ones_own() -> None:
    def use(demo: Demo) -> None:
        said = greeting(demo, broken_ipv6=False)
        line = next(line for line in said.replace("\\\n", " ").splitlines() if "OSTIARY_CLIENT_SECRET" in line)
        secret, _, *arguments = shlex.split(line)
        port = free_port()
        changed = {"127.0.0.1:4181": f"127.0.0.1:{port}", "http://127.0.0.1:8080": demo.app.url}
        argv = [sys.executable, "-m", "ostiary", *(changed.get(argument, argument) for argument in arguments)]
        process = subprocess.Popen(argv, env=os.environ | dict([secret.split("=", 1)]), stderr=subprocess.PIPE)
        try:
            assert process.stderr is not None
            while b"listening on" not in (line := process.stderr.readline()):
                assert line
            status, where, page = Browser().sign_in(f"http://127.0.0.1:{port}/anything", "ada")
            assert (status, where, "ada@example.com" in page) == (200, f"http://127.0.0.1:{port}/anything", True)
        finally:
            process.kill()
            process.communicate()

    with_demo(use)


def test_a_public_path_asks_nobody() -> None:
    def use(demo: Demo) -> None:
        assert Browser().open(f"{demo.url}status/418")[:2] == (418, f"{demo.url}status/418")

    with_demo(use)


def test_a_dead_ipv6_address_of_the_provider_costs_a_quarter_of_a_second_and_nothing_else() -> None:
    def use(demo: Demo) -> None:
        status, _, page = Browser().sign_in(demo.url, "ada")
        assert (status, "ada@example.com" in page) == (200, True)
        trace = next(trace for trace in demo.connector.traces if PROVIDER_NAME in trace.target)
        assert trace.winner is not None and trace.winner.family == "v4"
        dead = [attempt for attempt in trace.attempts if attempt.family == "v6"]
        assert [attempt.outcome for attempt in dead] in (["cancelled"], ["failed"])
        text = draw(trace)
        assert "127.0.0.1" in text and "won after" in text and "AAAA" in text
        assert demo.flights in greeting(demo, broken_ipv6=True)
        told = json.loads(urllib.request.urlopen(demo.flights, timeout=PATIENCE).read())["flights"]
        steps = [step for flight in told if flight["outcome"] == "signed-in" for step in flight["steps"]]
        tried = {one["family"] for step in steps for each in step.get("connections", ()) for one in each["attempts"]}
        assert tried == {"v4", "v6"}

    with_demo(use, broken_ipv6=True)


def test_a_taken_port_is_said_so() -> None:
    async def run() -> None:
        first, second = Demo(0), None
        try:
            await first.start()
            second = Demo(int(first.url.rstrip("/").rpartition(":")[2]))
            with pytest.raises(OSError, match="in use"):
                await second.start()
        finally:
            await first.stop()
            if second is not None:
                await second.stop()

    asyncio.run(run())
