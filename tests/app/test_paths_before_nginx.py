"""What rules judge is what an application serves: the raw path goes upstream, and the real nginx says what it reads."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ostiary.app.lifecycle import Doorkeeper
from ostiary.dialects import native
from ostiary.model.config import Config
from ports import free_port
from waiting import PATIENCE
from wire import Answer, Client, Upstream, scenario

NGINX = """\
daemon off; master_process off; pid {directory}/pid; error_log {directory}/error.log emerg;
events {{}}
http {{
  access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  {servers}
}}
"""
SERVER = """
  server {{
    listen 127.0.0.1:{port}; merge_slashes {merge}; default_type text/plain; absolute_redirect off;
    location /public {{ return 200 public; }}
    location /admin {{ return 200 admin; }}
    location / {{ return 200 other; }}
  }}
"""
ATTACKS = [
    "/public/../admin",
    "/public//../admin",
    "/public/.//../admin",
    "/public/%2f../admin",
    "/public/x//../../admin",
    "/public/;/../admin",
    "/public/%5c../admin",
    "/public//..//admin",
    "/public/..//admin",
    "/public/%2e%2e/admin",
    "/public/%2E./admin",
    "/public/..%2fadmin",
    "/public%2f..%2fadmin",
    "/public/%2f%2e%2e/admin",
    "/public/..;/admin",
    "/public/..;/../admin",
    "/public/./../admin",
    "/public/%2e/../admin",
    "/public/..\\admin",
    "/public\\..\\admin",
    "/public/%252e%252e/admin",
    "/public/..%252fadmin",
    "/public/x/%2e%2e/../admin",
    "/public/..%3f/admin",
    "/public/.%2e%2fadmin",
    "/public//%2e%2e/admin",
    "/public/..%5c../admin",
    "/public///../../admin",
    "//admin",
    "/%61dmin",
    "/public/../public/../admin",
    "/public/a/b/c//../../..//../admin",
    "http://x/public//../admin",
]
HARMLESS = [
    "/public",
    "/public/x",
    "/public/a%20b",
    "/public//x",
    "/public/x;y",
    "/public/./x",
    "/public/x/../y",
    "/public/%C3%A9",
]
SEGMENTS = [
    "public",
    "admin",
    "x",
    ".",
    "..",
    "...",
    "%2e",
    "%2e%2e",
    ".%2e",
    "%2E.",
    "%2f",
    "%2F",
    "%5c",
    ";x",
    "..",
    "..;",
    "..;x",
    ".;",
    "\\",
    "%252e",
    "%252e%252e",
    "%252f",
    "%61dmin",
    "%3b",
    "%3f",
    "%23",
    "%2f..",
    "..%2f",
    "%5c..",
    "\\..",
    "..\\",
    "%2f%2f",
    "%2e%2f",
    "admin;x",
    "",
]


def config(port: int, more: str = "public: [/public]\nescaped_slashes: keep\n") -> Config:
    text = (
        f"listen: 127.0.0.1:0\nupstream: http://127.0.0.1:{port}\nsecret: 0123456789abcdef0123456789abcdef\n"
        f"provider: {{issuer: 'http://127.0.0.1:9', client_id: app, client_secret: x}}\naccess_log: off\n{more}"
    )
    loaded = native.load_all([("o.yaml", text.encode())], flags={}, env={})
    assert loaded.config is not None, loaded.diagnostics
    return loaded.config


class Doors:
    """A doorkeeper before each nginx, on a loop that runs while it is asked."""

    def __init__(self, runner: asyncio.Runner, ports: list[int]) -> None:
        self.runner = runner
        self.ports = ports
        self.doors: list[Doorkeeper] = []

    async def start(self) -> None:
        for port in self.ports:
            door = Doorkeeper(config(port))
            await door.start()
            self.doors.append(door)

    async def stop(self) -> None:
        for door in self.doors:
            await door.stop(0)

    def ask(self, path: str) -> list[Answer]:
        """What each says to somebody without a session."""

        async def ask(door: Doorkeeper) -> Answer:
            client = await Client.connect(next(iter(door.addresses.values()))[0])
            try:
                return await client.get(path, "accept: application/json", "connection: close")
            finally:
                client.close()

        async def everyone() -> list[Answer]:
            return [await ask(door) for door in self.doors]

        return self.runner.run(everyone())


@pytest.fixture(scope="module")
def doors(nginx: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """nginx with merge_slashes on and off, and a doorkeeper before each."""
    directory = tmp_path_factory.mktemp("nginx")
    ports = [free_port(), free_port()]
    servers = "".join(SERVER.format(port=port, merge=merge) for port, merge in zip(ports, ("on", "off"), strict=True))
    (directory / "nginx.conf").write_text(NGINX.format(directory=directory, servers=servers))
    process = subprocess.Popen([nginx, "-p", directory, "-e", directory / "error.log", "-c", directory / "nginx.conf"])
    try:
        for port in ports:
            _wait(process, port)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = Doors(runner, ports)
            runner.run(found.start())
            try:
                yield found
            finally:
                runner.run(found.stop())
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, "nginx doesn't listen"
            time.sleep(0.02)


def _served(answer: Answer) -> str:
    """Which of nginx's locations answered, if any."""
    text = answer.body.decode("latin-1")
    return text if text in ("public", "admin", "other") else ""


@pytest.mark.peer
@pytest.mark.parametrize("path", ATTACKS)
def test_no_known_trick_gets_past_a_public_path(doors: Doors, path: str) -> None:
    for answer in doors.ask(path):
        assert answer.status in (400, 401) and _served(answer) == ""


@pytest.mark.peer
@pytest.mark.parametrize("path", HARMLESS)
def test_what_is_public_in_every_reading_is_served(doors: Doors, path: str) -> None:
    assert {"public" if _served(answer) == "public" else answer.status for answer in doors.ask(path)} <= {"public", 401}
    if ";" not in path and "//" not in path:
        assert [_served(answer) for answer in doors.ask(path)] == ["public", "public"]


@pytest.mark.peer
@example(["public", "", "..", "admin"])
@settings(max_examples=300)
@given(st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=8))
def test_nginx_serves_nothing_else_to_somebody_without_a_session(doors: Doors, segments: list[str]) -> None:
    for first in ("/public/", "/"):
        for answer in doors.ask(first + "/".join(segments)):
            assert _served(answer) in ("", "public")


async def _answers(more: str, *paths: str) -> tuple[list[tuple[int, str]], list[bytes]]:
    """(status, location) for each path, and what came to the application."""
    async with Upstream().running() as upstream:
        door = Doorkeeper(config(upstream.port, more))
        await door.start()
        try:
            client = await Client.connect(next(iter(door.addresses.values()))[0])
            found = []
            for path in paths:
                answer = await client.get(path, "accept: application/json")
                found.append((answer.status, answer.get("location") or ""))
                if answer.get("connection") == "close":
                    client = await Client.connect(next(iter(door.addresses.values()))[0])
            return found, [heard.line.split(b" ")[1] for heard in upstream.heard]
        finally:
            await door.stop(0)


@scenario
async def test_escaped_slashes_are_refused_where_rules_name_paths() -> None:
    found, heard = await _answers(
        "public: [/public]\n", "/public/a%2Fb", "/public/a%5cb?x", "/public/a?b=%2F", "/public/%252f"
    )
    assert found == [(400, ""), (400, ""), (200, ""), (200, "")]
    assert heard == [b"/public/a?b=%2F", b"/public/%252f"]


@scenario
async def test_escaped_slashes_are_kept_where_told() -> None:
    paths = ("/public/a%2Fb?x", "/public%2Fa", "/public/..%2fadmin", "/public/%5cadmin", "/%2fpublic")
    found, heard = await _answers("public: [/public]\nescaped_slashes: keep\n", *paths)
    assert found == [(200, ""), (401, ""), (400, ""), (200, ""), (401, "")]
    assert heard == [b"/public/a%2Fb?x", b"/public/%5cadmin"]


@scenario
async def test_escaped_slashes_are_decoded_where_told_and_what_comes_out_is_judged() -> None:
    paths = (
        "/public%2Fa?b=%2F",
        "/public/..%2fadmin",
        "/public%5c..%5Cadmin",
        "/public/a%5Cb",
        "/%2fpublic",
        "/public/x%20y",
    )
    found, heard = await _answers("public: [/public]\nescaped_slashes: decode\n", *paths)
    assert found == [(200, ""), (401, ""), (401, ""), (200, ""), (200, ""), (200, "")]
    assert heard == [b"/public/a?b=%2F", b"/public/a/b", b"/public", b"/public/x%20y"]


@scenario
async def test_escaped_slashes_are_redirected_where_told_and_never_to_another_host() -> None:
    paths = (
        "/public%2Fa?b=%2F",
        "/public/..%2fadmin",
        "/%2fevil.example/x",
        "/%5cevil.example",
        "/%2f%2F",
        "/public/a",
    )
    for rules in ("public: [/public]\n", ""):
        found, heard = await _answers(f"{rules}escaped_slashes: redirect\n", *paths)
        assert found[:5] == [
            *((307, "/public/a?b=%2F"), (307, "/admin"), (307, "/evil.example/x"), (307, "/evil.example"), (307, "/")),
        ]
        assert heard == ([b"/public/a"] if rules else [])


@scenario
async def test_an_ambiguous_path_is_refused_whatever_the_rules_say() -> None:
    for more in ("", "public: [/public]\n"):
        found, heard = await _answers(more, "/public//../admin", "/a/..;/b", "http://x/public//../x")
        assert [status for status, _ in found] == [400, 400, 400] and heard == []
