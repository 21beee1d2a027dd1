"""Groups that a provider doesn't put into a token: asked for at its own API, page by page.

Entra ID leaves groups out of a token that would have more than 200 of them. Microsoft Graph lists them all, nested ones
included, to any access token that was issued for Graph with User.Read; what Entra names in `_claim_sources` is an API
that is switched off. GitHub has no token at all: an organisation is a group by its name, a team as `organisation/team`.

The access token goes to the origin that the configuration names and to no other, whatever an answer calls its next
page. A list that is cut off is no list: beyond MAX_GROUP_PAGES the sign-in fails and says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from ostiary.core.decision import Fetch, Fetched
from ostiary.core.oauth2 import token
from ostiary.core.oauth2.failures import SignInError
from ostiary.core.oidc import ask
from ostiary.model import limits
from ostiary.model.signin import ProviderConfig

Groups = Generator[Fetch, Fetched, tuple[list[str], float]]

READ_ORG: Final = "read:org"
"""GitHub's scope for organisations and teams."""
_NEXT: Final = re.compile(r'<([^<>]+)>\s*;\s*rel="?next"?')


def graph_groups(config: ProviderConfig, access_token: str, now: float) -> Groups:
    """The ids of the groups and roles of Entra's user. Raises SignInError("group-overage")."""

    def members(document: Any) -> list[str]:
        return [entry["id"] for entry in document["value"]]

    def following(answer: Fetched, document: Any) -> str:  # noqa: ARG001 - the shape of both
        return str(document.get("@odata.nextLink", ""))

    return (yield from _all(config.groups_endpoint, config, access_token, now, "group-overage", members, following))


def github_groups(user_url: str, config: ProviderConfig, access_token: str, now: float) -> Groups:
    """The organisations and teams of GitHub's user. Raises SignInError("groups-unavailable")."""

    def following(answer: Fetched, document: Any) -> str:  # noqa: ARG001 - the shape of both
        found = _NEXT.search(answer.headers.get("link") or "")
        return found[1] if found else ""

    groups: list[str] = []
    for path, members in (("orgs", _organisations), ("teams", _teams)):
        url = f"{user_url.removesuffix('/')}/{path}?per_page=100"
        found, now = yield from _all(url, config, access_token, now, "groups-unavailable", members, following)
        groups += found
    return groups, now


def _organisations(document: Any) -> list[str]:
    return [entry["login"] for entry in document]


def _teams(document: Any) -> list[str]:
    return [f"{entry['organization']['login']}/{entry['slug']}" for entry in document]


def _all(
    url: str,
    config: ProviderConfig,
    access_token: str,
    now: float,
    code: str,
    members: Callable[[Any], list[str]],
    following: Callable[[Fetched, Any], str],
) -> Groups:
    scheme, host, *_ = urlsplit(url)
    found: list[str] = []
    for _ in range(limits.MAX_GROUP_PAGES):
        answer = yield from ask(token.userinfo_request(url, config, access_token, "groups"), "idp-unreachable", now)
        now = answer.now
        if answer.status >= 500 or answer.status == 429:
            raise SignInError("idp-server-error", f"{host} answered {answer.status} when asked for groups")
        if answer.status != 200:
            raise SignInError(code, f"{host} answered {answer.status} when asked for groups")
        try:
            document = msgspec.json.decode(answer.body)
            found += members(document)
            url = following(answer, document)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError, TypeError, AttributeError):
            raise SignInError(code, f"{host} answered something else when asked for groups") from None
        if not url:
            return [group for group in found if isinstance(group, str)], now
        if not (url.startswith(f"{scheme}://{host}/") and url.isascii() and url.isprintable() and " " not in url):
            raise SignInError(code, f"{host} says that the next page of groups is elsewhere")
    raise SignInError(code, f"more than {limits.MAX_GROUP_PAGES} pages of groups at {host}")
