"""Signing in across reloads and changed secrets: nobody is signed out, nobody is asked twice, no request fails."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from app.reload_world import Run, native, running
from load import Load, application
from ostiary.testing.provider import DEMO_CLIENT, DemoClient, DemoProvider
from ports import free_port
from waiting import PATIENCE
from wire import Answer, Client, Upstream, scenario

NAVIGATION = ("Accept: text/html", "Sec-Fetch-Mode: navigate")


@dataclass
class Place:
    """A provider, an application and a doorkeeper between them."""

    run: Run
    provider: DemoProvider
    port: int
    document: dict[str, Any]

    async def get(self, target: str, cookies: dict[str, str]) -> Answer:
        """One request of a browser, which keeps what cookies it gets."""
        client = await Client.connect(f"127.0.0.1:{self.port}")
        sent = "; ".join(f"{name}={value}" for name, value in cookies.items())
        answer = await client.get(target, *NAVIGATION, f"Cookie: {sent}", host=f"127.0.0.1:{self.port}")
        client.close()
        for line in answer.all("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            cookies[name] = value
            if "Max-Age=0" in line:
                del cookies[name]
        return answer

    async def depart(self, cookies: dict[str, str]) -> str:
        """To the provider; the callback's target, when the user has said who they are."""
        answer = await self.get("/page", cookies)
        assert answer.status == 302, answer
        form = urlencode({"username": "ada"}).encode()
        reply = self.provider.handle("POST", answer.get("location") or "", {}, form)
        back = urlsplit(dict(reply.headers)["location"])
        return f"{back.path}?{back.query}"

    async def sign_in(self) -> dict[str, str]:
        cookies: dict[str, str] = {}
        answer = await self.get(await self.depart(cookies), cookies)
        assert (answer.status, answer.get("location")) == (302, "/page"), answer
        return cookies

    def load(self, cookies: dict[str, str]) -> Load:
        """Somebody who is signed in and busy."""
        sent = "; ".join(f"{name}={value}" for name, value in cookies.items())
        return Load(f"127.0.0.1:{self.port}", headers=(f"Cookie: {sent}",))


@contextlib.asynccontextmanager
async def place(directory: Path, workers: int, **more: Any) -> AsyncIterator[Place]:
    port = free_port()
    client = DemoClient(
        client_id=DEMO_CLIENT.client_id,
        client_secret=DEMO_CLIENT.client_secret,
        redirect_uris=(f"http://127.0.0.1:{port}/.ostiary/callback",),
    )
    (directory / "client").write_text(client.client_secret)
    async with DemoProvider(clients=(client,)) as provider, Upstream(handler=application("one")).running() as app:
        who = {
            "issuer": provider.issuer,
            "client_id": client.client_id,
            "client_secret_file": str(directory / "client"),
        }
        document = {**native(port, app.port, access="anyone", **more), "provider": who}
        if more.get("secret", True) is None:
            del document["secret"]
        async with running(directory, document, port, "--workers", str(workers)) as run:
            yield Place(run, provider, port, document)


@pytest.mark.parametrize("workers", [1, 2])
@scenario
async def test_a_session_and_a_sign_in_that_had_begun_live_on(tmp_path: Path, workers: int) -> None:
    """Without a secret of its own too: the one that was made at start stays."""
    admin = free_port()
    async with place(tmp_path, workers, secret=None, admin=f"127.0.0.1:{admin}") as here:
        ada = await here.sign_in()
        bob: dict[str, str] = {}
        callback = await here.depart(bob)
        load = here.load(ada)
        async with load.running(websockets=1, streams=1):
            for access in ([{"emails": "ada@example.com"}], [{"domains": "example.com"}], "anyone"):
                await here.run.reload({**here.document, "access": access})
                await load.progress()
            assert (await here.get(callback, bob)).get("location") == "/page"
            assert (await here.get("/page", bob)).status == 200
            asks = await Client.connect(f"127.0.0.1:{admin}")
            async with asyncio.timeout(PATIENCE):  # every worker knows the provider
                while (await asks.get("/ready", host=f"127.0.0.1:{admin}")).status != 200:
                    await asyncio.sleep(0.05)
            await here.provider.stop()  # what was discovered is known still, so nobody waits for it
            await here.run.reload(here.document)
            again = await here.get("/page", {})
            assert (again.status, (again.get("location") or "")[:4]) == (302, "http")
            assert (await here.get("/.ostiary/ready", {})).status == 200
        assert load.failures == []


@scenario
async def test_a_drain_is_told_to_probes(tmp_path: Path) -> None:
    async with place(tmp_path, 1) as here:
        await here.sign_in()
        probe = await Client.connect(f"127.0.0.1:{here.port}")
        assert (await probe.get("/.ostiary/ready")).status == 200
        here.run.process.send_signal(signal.SIGTERM)
        await here.run.hears("draining: running requests may finish")
        answer = await probe.get("/.ostiary/ready")
        assert (answer.status, json.loads(answer.body)) == (503, {"ready": False, "error": "draining"})
        assert answer.get("connection") == "close"


@scenario
async def test_new_rules_hold_from_the_next_request_of_an_open_connection(tmp_path: Path) -> None:
    async with place(tmp_path, 1) as here:
        cookies = await here.sign_in()
        cookie = "Cookie: " + "; ".join(f"{name}={value}" for name, value in cookies.items())
        client = await Client.connect(f"127.0.0.1:{here.port}")
        assert (await client.get("/", cookie, host=f"127.0.0.1:{here.port}")).status == 200
        await here.run.reload({**here.document, "access": [{"emails": "somebody@else.example"}]})
        assert (await client.get("/", cookie, host=f"127.0.0.1:{here.port}")).status == 403


@pytest.mark.parametrize("workers", [1, 2])
@scenario
async def test_a_client_secret_and_a_session_secret_change_under_load(tmp_path: Path, workers: int) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text(os.urandom(32).hex())
    new.write_text(os.urandom(32).hex())
    async with place(tmp_path, workers, secret=None) as here:
        await here.run.reload({**here.document, "secret_file": str(old)})
        load = here.load(await here.sign_in())
        async with load.running(websockets=1, streams=1):
            await here.run.reload({**here.document, "secret_file": [str(new), str(old)]})
            await load.progress()
            fresh = await here.sign_in()
            here.provider.clients[DEMO_CLIENT.client_id] = DemoClient(
                client_id=DEMO_CLIENT.client_id,
                client_secret="another",
                redirect_uris=(f"http://127.0.0.1:{here.port}/.ostiary/callback",),
            )
            (tmp_path / "client").write_text("another")
            await here.run.hears("client changed and is in use", workers)
            await here.sign_in()
            newest = os.urandom(32).hex()
            swapped = tmp_path / "swapped"
            swapped.write_text(new.read_text())
            await here.run.reload({**here.document, "secret_file": [str(swapped), str(new), str(old)]})
            swapped.write_text(newest)
            await here.run.hears("swapped changed and is in use", workers)
            await load.progress()
            assert (await here.get("/page", fresh)).status == 200
        assert load.failures == []
        assert (await here.get("/page", await here.sign_in())).status == 200
