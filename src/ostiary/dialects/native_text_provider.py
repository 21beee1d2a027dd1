"""How a provider is named in a native configuration: by its name where Ostiary knows one, else by its issuer."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from ostiary.dialects.native_presets import ENTRA_CLOUDS
from ostiary.model.signin import ProviderConfig

Tree = dict[str, Any]
_ENTRA_HOSTS: Final = {login: cloud for cloud, (login, _) in reversed(ENTRA_CLOUDS.items())}


def preset_section(provider: ProviderConfig) -> Tree:
    """`entra: {tenant: ...}` and the like, `issuer:`, or `oauth2: true` with its endpoints."""
    write = _WRITERS.get(provider.preset)
    section = write(provider) if write is not None else None
    if section is not None:
        return {provider.preset: section}
    if provider.kind == "oauth2":
        names = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint")
        return {"oauth2": True} | {name: getattr(provider, name) for name in names}
    return {"issuer": provider.issuer}


def _entra(provider: ProviderConfig) -> Tree | None:
    parts = urlsplit(provider.issuer)
    tenant, _, version = parts.path.strip("/").partition("/")
    cloud = _ENTRA_HOSTS.get(parts.netloc)
    if cloud is None:
        return None
    if "dod-graph" in provider.groups_endpoint:
        cloud = "us-dod"
    return {"tenant": tenant} | ({} if cloud == "public" else {"cloud": cloud}) | ({} if version else {"version": "1"})


def _google(provider: ProviderConfig) -> Tree:
    domain = provider.authorization_params.get("hd", "")
    return {"hosted_domain": domain} if domain else {}


def _keycloak(provider: ProviderConfig) -> Tree:
    url, _, realm = provider.issuer.partition("/realms/")
    return {"url": url, "realm": realm}


def _github(provider: ProviderConfig) -> Tree:
    url = provider.authorization_endpoint.removesuffix("/login/oauth/authorize")
    return {} if url == "https://github.com" else {"url": url}


def _gitlab(provider: ProviderConfig) -> Tree:
    return {} if provider.issuer == "https://gitlab.com" else {"url": provider.issuer}


def _okta(provider: ProviderConfig) -> Tree:
    parts = urlsplit(provider.issuer)
    server = parts.path.removeprefix("/oauth2/") if parts.path else ""
    return {"domain": parts.netloc} | ({"authorization_server": server} if server else {})


def _auth0(provider: ProviderConfig) -> Tree:
    return {"domain": urlsplit(provider.issuer).netloc}


def _cognito(provider: ProviderConfig) -> Tree | None:
    found = re.fullmatch(r"https://cognito-idp\.([a-z0-9-]+)\.amazonaws\.com/(\S+)", provider.issuer)
    return {"region": found[1], "user_pool": found[2]} if found is not None else None


_WRITERS: Final[dict[str, Callable[[ProviderConfig], Tree | None]]] = {
    "entra": _entra,
    "google": _google,
    "keycloak": _keycloak,
    "github": _github,
    "gitlab": _gitlab,
    "okta": _okta,
    "auth0": _auth0,
    "cognito": _cognito,
}


def recognised(authorization_endpoint: str) -> tuple[str, str]:
    """The preset and the issuer behind an authorization endpoint; empty where it tells neither."""
    parts = urlsplit(authorization_endpoint)
    host, path = parts.netloc, parts.path
    if host in _ENTRA_HOSTS and (found := re.fullmatch(r"/([^/]+)/oauth2/(v2\.0/)?authorize", path)):
        return "entra", f"https://{host}/{found[1]}" + ("/v2.0" if found[2] else "")
    if host == "accounts.google.com":
        return "google", "https://accounts.google.com"
    if found := re.fullmatch(r"(.*/realms/[^/]+)/protocol/openid-connect/auth", path):
        return "keycloak", f"{parts.scheme}://{host}{found[1]}"
    if path == "/login/oauth/authorize":
        return "github", ""
    if host == "gitlab.com":
        return "gitlab", "https://gitlab.com"
    okta = re.fullmatch(r"/oauth2(/[^/]+)?/v1/authorize", path)
    if okta is not None and re.search(r"\.okta(preview|-emea)?\.com$", host):
        return "okta", f"https://{host}" + (f"/oauth2{okta[1]}" if okta[1] else "")
    if host.endswith(".auth0.com") and path == "/authorize":
        return "auth0", f"https://{host}/"
    return "", ""
