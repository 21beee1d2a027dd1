"""The providers that oauth2-proxy knows: which are asked where, and which it asks for their discovery document."""

from __future__ import annotations

from typing import Final

DISCOVERED: Final = frozenset({"adfs", "azure", "cidaas", "entra-id", "gitlab", "keycloak-oidc", "oidc"})
"""They need an issuer, whose document (unless that is skipped) wins over every address that is set."""
ADDRESSES: Final = {
    "bitbucket": ("https://bitbucket.org/site/oauth2/authorize", "https://bitbucket.org/site/oauth2/access_token"),
    "digitalocean": ("https://cloud.digitalocean.com/v1/oauth/authorize", "https://cloud.digitalocean.com/v1/oauth/token"),
    "facebook": ("https://www.facebook.com/v2.5/dialog/oauth", "https://graph.facebook.com/v2.5/oauth/access_token"),
    "github": ("https://github.com/login/oauth/authorize", "https://github.com/login/oauth/access_token"),
    "google": ("https://accounts.google.com/o/oauth2/auth", "https://www.googleapis.com/oauth2/v3/token"),
    "linkedin": ("https://www.linkedin.com/oauth/v2/authorization", "https://www.linkedin.com/uas/oauth2/accessToken"),
    "login.gov": ("https://secure.login.gov/openid_connect/authorize", "https://secure.login.gov/api/openid_connect/token"),
    "sourcehut": ("https://meta.sr.ht/oauth2/authorize", "https://meta.sr.ht/oauth2/access-token"),
}  # fmt: skip
"""Authorization and token endpoint where none is set."""
OTHERS: Final = frozenset({"keycloak", "nextcloud"})
"""Those that have no address of their own."""
SCOPES: Final = {
    "azure": "openid", "bitbucket": "email", "cidaas": "openid email profile roles groups", "digitalocean": "read",
    "facebook": "public_profile email", "github": "user:email read:org", "gitlab": "openid email",
    "google": "profile email", "keycloak": "api", "linkedin": "r_emailaddress r_liteprofile",
    "login.gov": "email openid", "sourcehut": "meta.sr.ht/PROFILE:RO",
}  # fmt: skip
"""What is asked for where nothing is set; `openid email profile` otherwise."""
KNOWN: Final = DISCOVERED | OTHERS | frozenset(ADDRESSES)
