"""Signing out: whose idea it was, and where it leads.

A link or image on another site must not sign anybody out, so the request has to come from a page of this origin or from
the user alone (address bar, bookmark), judged by Sec-Fetch-Site, Origin and Referer, whichever the browser sends. A
client that sends none of them is no browser that another site could drive, save for a very old one.

The provider's own session is ended by RP-initiated logout (OpenID Connect RP-Initiated Logout 1.0) where the provider
has an end_session_endpoint. Amazon Cognito's takes other parameters, and is not in every pool's discovery document;
older Auth0 tenants have only an address of their own.
"""

from __future__ import annotations

from ostiary.core.decision import Request
from ostiary.core.oauth2.return_url import Origin, parse_origin
from ostiary.core.oauth2.token import with_query
from ostiary.core.oidc import ProviderMetadata
from ostiary.model.signin import ProviderConfig


def is_deliberate(request: Request, origin: Origin) -> bool:
    """Whether the user, or a page of this origin, asks."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        mode = request.headers.get("sec-fetch-mode")
        return site == "same-origin" or (site == "none" and mode in (None, "navigate"))
    said = request.headers.get("origin") or request.headers.get("referer")
    return said is None or _origin_of(said) == origin


def end_session_url(metadata: ProviderMetadata, provider: ProviderConfig, *, id_token: str, return_to: str) -> str:
    """The provider's logout address, empty if it has none; `return_to` is absolute and has to be registered there."""
    endpoint, client = metadata.end_session_endpoint, {"client_id": provider.client_id}
    if provider.preset == "cognito":
        beside = metadata.authorization_endpoint.removesuffix("/oauth2/authorize")
        return with_query(endpoint or f"{beside}/logout", {**client, "logout_uri": return_to})
    if endpoint:
        hint = {"id_token_hint": id_token} if id_token else {}
        return with_query(endpoint, {**hint, **client, "post_logout_redirect_uri": return_to})
    if provider.preset == "auth0":
        return with_query(f"{provider.issuer}v2/logout", {**client, "returnTo": return_to})
    return ""


def _origin_of(url: str) -> Origin | None:
    scheme, separator, rest = url.partition("://")
    return parse_origin(scheme, rest.partition("/")[0].partition("?")[0]) if separator else None
