"""Who is known to the demo provider: two people, one client."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

_LOOPBACK: Final = re.compile(r"https?://(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?/\S*")


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoUser:
    """Someone who can sign in."""

    username: str
    name: str
    email: str
    groups: tuple[str, ...] = ()
    email_verified: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoClient:
    """A registered client; `redirect_uris` empty: any address on loopback."""

    client_id: str
    client_secret: str = field(default="", repr=False)
    redirect_uris: tuple[str, ...] = ()

    def allows(self, uri: str) -> bool:
        """Whether the provider may send browsers to `uri`."""
        return uri in self.redirect_uris if self.redirect_uris else _LOOPBACK.fullmatch(uri) is not None


ADA: Final = DemoUser(username="ada", name="Ada Lovelace", email="ada@example.com", groups=("staff", "engineers"))
BOB: Final = DemoUser(username="bob", name="Bob Visitor", email="bob@example.org", groups=("visitors",))
DEMO_CLIENT: Final = DemoClient(client_id="ostiary-demo", client_secret="demo secret: 100% safe+sound")
