"""A doorkeeper of either profile for tests that break something, and what must not leak when they do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from ostiary.testing.provider import DemoClient
from peers.doorkeeper import doorkeeper
from peers.person import Page, Person
from peers.proxies import Proxy, ostiary_arguments
from peers.same_yaml import HMAC_SECRET, bootstrap, fill, header, oauth2_config, secret
from ports import free_port
from waiting import PATIENCE

POOLED = 4
"""Descriptors that may stay: connections to the application that are kept for the next request."""
PROFILES = ("native", "envoy")
CLIENT = DemoClient(client_id="door", client_secret="plain-secret")
"""Envoy leaves some characters of a secret as they are; this one has none of them."""


@contextmanager
def door(
    profile: str,
    directory: Path,
    app_port: int,
    issuer: str = "http://127.0.0.1:1",
    *,
    timeout: str = "60s",
    **more: Any,
) -> Iterator[Proxy]:
    """A doorkeeper of either profile; `/open` needs no sign-in. `timeout` is how long it waits for the provider, `more`
    changes the native file, or Envoy's listener."""
    if profile == "native":
        provider = {"issuer": issuer, "client_id": "door", "client_secret": "plain-secret", "timeout": timeout}
        provider |= more.pop("provider", {})
        with doorkeeper(directory, provider, app_port, public=["/open"], **more) as proxy:
            yield proxy
        return
    config = oauth2_config(
        token_endpoint={"uri": f"{issuer}/token", "timeout": timeout},
        authorization_endpoint=f"{issuer}/authorize",
        redirect_uri="http://%REQ(:authority)%/callback",
        pass_through_matcher=[header(":path", prefix="/open")],
        credentials={"client_id": "door"},
    )
    tree = bootstrap(oauth2=config, secrets=[secret("token", "plain-secret"), secret("hmac", HMAC_SECRET)])
    (listener,), clusters = tree["static_resources"]["listeners"], tree["static_resources"]["clusters"]
    clusters[1] |= more.pop("cluster", {})
    listener["filter_chains"][0] |= more.pop("chain", {})
    port, admin = free_port(), free_port()
    log = more.pop("access_log", str(directory / "access.log"))
    assert not more
    values = {"PORT": port, "ADMIN": admin, "APP": app_port, "IDP": urlsplit(issuer).port, "LOG": log}
    path = directory / "envoy.yaml"
    path.write_text(yaml.safe_dump(fill(tree, values)))
    proxy = Proxy("ostiary", ostiary_arguments(path), (port,), admin, directory / "ostiary.log").start()
    try:
        yield proxy
    finally:
        status = proxy.stop()
    assert status == 0, proxy.output()[-3000:]


def sign_in(person: Person, url: str, user: str = "ada") -> Page:
    """Through the demo provider's page."""
    page = person.open(url)
    return person.submit(page, username=user)


def descriptors(proxy: Proxy) -> int:
    """Open files and sockets of the process and its workers."""
    total = 0
    pids = [proxy.pid]
    for pid in pids:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            pids += [int(child) for child in children.read_text().split()]
        total += len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return total


def settles_at(proxy: Proxy, limit: int, seconds: float = PATIENCE) -> bool:
    """Whether the number of descriptors comes down to `limit` in time."""
    deadline = time.monotonic() + seconds
    while descriptors(proxy) > limit:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
