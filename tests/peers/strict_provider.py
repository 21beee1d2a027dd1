"""npm's oidc-provider, an application, and the doorkeeper between them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peers.doorkeeper import ask, doorkeeper, json_of, program
from peers.person import Page, Person
from peers.recorders import Application
from ports import free_port

CLIENT_SECRET = "a secret: 100% safe+sound"  # as op.mjs knows it


@dataclass(slots=True)
class Place:
    """A provider, an application, and the port of the doorkeeper between them."""

    provider_port: int
    port: int
    app: Application
    directory: Path

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.provider_port}"

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"  # another host than the provider: cookies are kept by host

    def doorkeeper(self, **changes: Any) -> Any:
        """The doorkeeper."""
        provider = {"issuer": self.issuer, "client_id": "ostiary", "client_secret": CLIENT_SECRET}
        provider["scopes"] = "openid profile email groups offline_access"
        settings: dict[str, Any] = {"port": self.port, "pass": {"access_token": True}, **changes}
        return doorkeeper(self.directory, provider, self.app.port, **settings)

    def token_requests(self) -> list[dict[str, Any]]:
        """What the provider saw at its token endpoint."""
        seen: list[dict[str, Any]] = json_of(self.provider_port, "/test/token-requests")
        return seen

    def tokens_live(self, seconds: int) -> None:
        """Access tokens that are issued from now on; they are refreshed at half of that. An hour unless said here."""
        assert ask(self.provider_port, "POST", f"/test/lifetime/{seconds}")[0] == 200

    def delay_tokens(self, seconds: float) -> None:
        """From now on the provider takes its time for each token request, and drops those whose sender has gone."""
        assert ask(self.provider_port, "POST", f"/test/delay/{seconds}")[0] == 200


@contextmanager
def strict_provider(node: Path, directory: Path) -> Iterator[Place]:
    """The provider, running."""
    provider_port, port = free_port(), free_port()
    home = f"http://localhost:{port}"
    argv = [str(node), "op.mjs", str(provider_port), f"{home}/.ostiary/callback", f"{home}/"]
    with Application() as app, program(argv, directory, provider_port, "oidc-provider"):
        yield Place(provider_port, port, app, directory)


def sign_in(person: Person, url: str, user: str) -> Page:
    """Open a page and do what the provider asks: log in, consent."""
    page = person.open(url)
    for _ in range(3):
        if "/interaction/" not in page.url:
            return page
        page = answer(person, page, user)
    return page


def answer(person: Person, page: Page, user: str) -> Page:
    """One page of the provider."""
    return person.submit(page, **({"login": user, "password": "any"} if 'name="login"' in page.text else {}))
