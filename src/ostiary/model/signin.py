"""The native profile's sign-in: what the short configuration means, in full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from ostiary.model import limits
from ostiary.model.tls import DataSource

ClientAuthMethod = Literal[
    "auto", "client_secret_basic", "client_secret_post", "private_key_jwt", "client_assertion", "none"
]
"""`client_assertion`: the secret is an assertion that another issuer signed (workload identity federation)."""


class ProviderConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The provider. With `issuer` alone the rest comes from discovery; what is written here wins.

    `kind` "oauth2" is a provider without ID tokens (GitHub): identity comes from `userinfo_endpoint`.
    """

    kind: Literal["oidc", "oauth2"] = "oidc"
    preset: str = ""
    """`entra`, `google`, `keycloak`, `github`, ...: for quirks and messages; empty = generic."""
    issuer: str = ""
    client_id: str
    client_secret: DataSource | None = None
    client_certificate: DataSource | None = None
    """The certificate of the private key in `client_secret`, if it isn't in the same file."""
    client_auth_method: ClientAuthMethod = "auto"
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    userinfo_endpoint: str = ""
    end_session_endpoint: str = ""
    revocation_endpoint: str = ""
    jwks_uri: str = ""
    authorization_params: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Extra parameters of the authorization request: `prompt`, `audience`, `login_hint`, ..."""
    token_params: Mapping[str, str] = msgspec.field(default_factory=dict)
    id_token_algorithms: tuple[str, ...] = ("RS256", "PS256", "ES256", "ES384", "EdDSA", "RS384", "RS512")
    ca: DataSource | None = None
    """Trusted CA of the provider's certificate; None = the system's roots."""
    dns_resolvers: tuple[tuple[str, int], ...] = ()
    """DNS servers asked for the provider's name; empty = the system's."""
    timeout: float = limits.PROVIDER_TIMEOUT
    user_claim: str = "sub"
    email_claim: str = "email"
    groups_claim: str = "groups"
    groups_endpoint: str = ""
    """Microsoft Graph's list of a user's groups, asked where they are too many for a token."""
    require_verified_email: bool = True


class AccessRule(msgspec.Struct, frozen=True, kw_only=True):
    """Who may enter where. The first rule whose `hosts`, `paths` and `methods` all match decides; then every other list
    that is given must hold.

    `paths` are prefixes of the normalised path at a segment boundary:
    `/admin` matches `/admin/x`, not `/administrator`.
    A rule without conditions admits everyone who is signed in; `public` needs no sign-in at all.
    """

    hosts: tuple[str, ...] = ()
    """Empty = all; `*.example.com` matches any subdomain."""
    paths: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    public: bool = False
    emails: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    """E-mail domains, exact, without case; `*.example.com` for subdomains."""
    groups: tuple[str, ...] = ()
    """Any of them."""
    claims: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """Claim -> any of these values; a claim that is a list matches if one member does. Dots walk into objects."""
    deny: bool = False


class SessionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Cookies and lifetimes."""

    secrets: tuple[DataSource, ...]
    """The key ring: the first seals, all open. 32 random bytes or more each, raw, hex or base64."""
    lasting: bool = True
    """False: nobody wrote a secret, and the one that is there is of this start."""
    cookie_name: str = "ostiary"
    """The base name; `__Host-` is put before it where it can be."""
    cookie_domain: str = ""
    same_site: Literal["lax", "strict", "none"] = "lax"
    absolute_lifetime: float = limits.SESSION_ABSOLUTE_LIFETIME
    idle_lifetime: float = limits.SESSION_IDLE_LIFETIME
    refresh_margin: float = limits.REFRESH_MARGIN
    keep_access_token: bool | None = None
    """None: kept only if something forwards it."""
    keep_id_token: bool = True
    """For id_token_hint at sign-out; dropped first when the session would grow too large."""


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """The native OAuth 2.0 / OpenID Connect filter."""

    provider: ProviderConfig
    session: SessionConfig
    rules: tuple[AccessRule, ...] = (AccessRule(),)
    """Tried in order; no match = no access."""
    external_url: str = ""
    """The address browsers use (`https://app.example.com`); empty: taken from each request."""
    prefix: str = "/.ostiary"
    pass_groups: bool = True
    """X-Forwarded-Groups."""
    pass_access_token: bool = False
    """X-Forwarded-Access-Token."""
    pass_authorization: bool = False
    """Authorization: Bearer <access token>."""
    claim_headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Header -> claim (dots walk into objects)."""
    sign_out_redirect: str = "/"
    allowed_redirect_hosts: tuple[str, ...] = ()
    """Hosts besides the request's own that `rd=` may name; `*.example.com` for subdomains."""
