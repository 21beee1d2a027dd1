"""oauth2-proxy: where its binary is, how it is told to do what the others do, and a real sign-in for its cookie.

Its session is sealed by itself: before it is measured, it runs once beside a provider on loopback, and someone signs
in. The cookie outlives that run (the secret is the same), and without `--cookie-refresh` it asks no provider again.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import secrets
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from bench.machine import Program
from bench.sessions import APP_COOKIES, jwt
from bench.upstreams import wait_for_port
from ostiary.testing.provider import ADA, DEMO_CLIENT, DemoProvider
from ostiary.testing.provider_server import Reply

BUILT = Path(__file__).parents[1] / ".cache" / "oauth2-proxy"
"""Where `tools/setup bench` puts it."""
ENVIRONMENT = {"GOMAXPROCS": "1"}
COOKIE = "_oauth2_proxy"


def binary() -> str | None:
    """OSTIARY_OAUTH2_PROXY, or what `tools/setup bench` built, or None."""
    given = os.environ.get("OSTIARY_OAUTH2_PROXY", "")
    if given:
        return given
    return str(BUILT) if os.access(BUILT, os.X_OK) else None


def version(program: str) -> str:
    """Its name and version, and the Go that built it."""
    told = subprocess.run([program, "--version"], check=True, capture_output=True, text=True, timeout=20).stdout
    return told.strip().replace("oauth2-proxy undefined", "oauth2-proxy of an unknown version")


def command(program: str, port: int, provider: int, app: int, sink: int, log: Path) -> list[str]:
    """The command line. Each has its own secret: call it once for the sign-in and the measured runs."""
    issuer = f"http://127.0.0.1:{provider}"
    return [
        program,
        f"--http-address=127.0.0.1:{port}",
        f"--upstream=http://127.0.0.1:{app}/",
        f"--upstream=http://127.0.0.1:{sink}/sink/",
        "--provider=oidc",
        f"--oidc-issuer-url={issuer}",
        "--skip-oidc-discovery",
        f"--login-url={issuer}/authorize",
        f"--redeem-url={issuer}/token",
        f"--oidc-jwks-url={issuer}/jwks",
        f"--client-id={DEMO_CLIENT.client_id}",
        f"--client-secret={DEMO_CLIENT.client_secret}",
        "--code-challenge-method=S256",
        "--scope=openid profile email",
        f"--redirect-url=http://127.0.0.1:{port}/oauth2/callback",
        "--email-domain=*",
        f"--cookie-name={COOKIE}",
        f"--cookie-secret={secrets.token_hex(16)}",
        "--cookie-secure=false",
        "--skip-provider-button",
        "--pass-access-token",
        f"--logging-filename={log}",
        "--logging-max-size=100000",
    ]


def sign_in(program: Program, port: int, provider: int, size: int = 3072) -> str:
    """The Cookie header after signing in, about `size` bytes long in all; `program` is ended again.

    Raises RuntimeError with what the program said.
    """
    program.start()
    try:
        wait_for_port(port, program)
        return asyncio.run(_sign_in(port, provider, size))
    except RuntimeError as error:
        raise RuntimeError(f"{error}\n{program.log.read_text()[-1000:]}") from error
    finally:
        program.stop()


async def _sign_in(port: int, provider: int, size: int) -> str:
    token_size, cookies = 1000, ""
    # Without discovery it takes RS256 only, and never a fraction as a lifetime.
    running = _Provider(port=provider, algorithm="RS256", access_token_lifetime=86400)
    async with running:
        for _ in range(2):  # the second time with an access token that makes the session as long as the others'
            running.access_token = jwt({"iss": running.issuer, "sub": ADA.username}, token_size)
            cookies = "; ".join((APP_COOKIES, await asyncio.to_thread(_as_browser, port)))
            token_size += (size - len(cookies)) * 3 // 4  # what is sealed is base64 again
    return cookies


class _Provider(DemoProvider):
    """With access tokens as long as one likes, like those of large providers."""

    access_token = ""

    def handle(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        reply = super().handle(method, url, headers, body)
        if urlsplit(url).path != "/token" or reply.status != 200:
            return reply
        document = json.loads(reply.body) | {"access_token": self.access_token}
        return replace(reply, body=json.dumps(document).encode())


def _as_browser(port: int) -> str:
    """Start, choose a user, come back: the pairs of the session's cookies. Raises RuntimeError."""
    login, pending = _hop("GET", f"http://127.0.0.1:{port}/oauth2/start?rd=/")
    callback, _ = _hop("POST", login, body=f"username={ADA.username}")
    _, session = _hop("GET", callback, cookie="; ".join(pending))
    pairs = [pair for pair in session if pair.startswith(COOKIE) and not pair.startswith(f"{COOKIE}_csrf")]
    if not pairs:
        raise RuntimeError("oauth2-proxy set no session cookie")
    return "; ".join(pairs)


def _hop(method: str, url: str, *, cookie: str = "", body: str = "") -> tuple[str, list[str]]:
    """Where an answer redirects to, and the cookies it sets. Raises RuntimeError if it does not redirect."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    headers = {"Cookie": cookie} if cookie else {}
    if body:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    connection.request(method, f"{parts.path}?{parts.query}", body or None, headers)
    response = connection.getresponse()
    response.read()
    connection.close()
    location = response.headers.get("location", "")
    if response.status not in (302, 303) or not location:
        raise RuntimeError(f"sign-in at oauth2-proxy: {method} {parts.path} answered {response.status}")
    return location, [line.partition(";")[0] for line in response.headers.get_all("set-cookie", [])]
