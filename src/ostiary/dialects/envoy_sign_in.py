"""A sign-in as Envoy's OAuth2 filter does it: the filter's configuration and the one cluster that it needs.

What is decided here, and why:

- The browser goes to the authorization endpoint by itself; Envoy only calls the token endpoint. Its host gets a
  LOGICAL_DNS cluster (one host, all its addresses in one race) with a lookup family, a CA and the host's name
  written out: without them Envoy takes IPv6 alone where there is any, and believes every certificate.
- `:path` in pass_through_matcher is the path as it came. `/public/*` must not let `/public/../admin` or
  `/public/..%2fadmin` by, so a part of a path after the prefix has no `%` and begins with no dot.
- Programs (fetch, WebSocket) can't follow a redirect to a sign-in page: they get 401.
- The cookies are SameSite=Lax: Strict ones don't come back with the redirect from the provider.
- Scopes hold `openid` where the provider is an OpenID Connect one: Envoy's default is `user`, without an ID token.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from msgspec.structs import replace

from ostiary.core.addresses import is_ip_address
from ostiary.core.oidc import ProviderMetadata
from ostiary.model.clusters import Cluster, DnsLookupFamily, Endpoint
from ostiary.model.matchers import HeaderMatcher, StringMatcher
from ostiary.model.oauth2 import (
    AuthType,
    CookieConfig,
    CookieConfigs,
    HttpUri,
    OAuth2Config,
    OAuth2Credentials,
    SameSite,
    SdsSecret,
)
from ostiary.model.routes import RetryPolicy
from ostiary.model.tls import CertificateValidationContext, DataSource, SanMatcher, UpstreamTlsContext

TRUSTED_CA: Final = "/etc/ssl/certs/ca-certificates.crt"
"""The system's bundle in Istio's proxy images, and on Debian."""
TOKEN_TIMEOUT: Final = 10.0
"""Seconds for one token request, its retry included."""
DEFAULT_EXPIRES_IN: Final = 3600.0
"""Where the provider doesn't say how long a token lives; Envoy would refuse the sign-in."""
_SEGMENTS: Final = r"(?:[^./%?\\][^/%?\\]*/?)*"
_QUERY: Final = r"(?:\?.*)?"
_PROGRAMS: Final = (
    HeaderMatcher(
        name="sec-fetch-mode", string_match=StringMatcher("safe_regex", "cors|no-cors|same-origin|websocket")
    ),
    HeaderMatcher(name="x-requested-with", string_match=StringMatcher("exact", "XMLHttpRequest", ignore_case=True)),
    HeaderMatcher(name="accept", string_match=StringMatcher("prefix", "application/json")),
)
_PREFLIGHT: Final = HeaderMatcher(name=":method", string_match=StringMatcher("exact", "OPTIONS"))
_UNENCODED: Final = re.compile(r"[A-Za-z0-9._~:@/-]+", re.ASCII)
_UNENCODED_IN_BODY: Final = frozenset(' %#";<>\\^`{|}')


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInChoices:
    """What the caller wants; the rest is decided here."""

    client_id: str
    metadata: ProviderMetadata
    openid: bool = True
    """False: plain OAuth 2.0, without ID tokens."""
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    authorization_params: Mapping[str, str] = field(default_factory=dict)
    resources: tuple[str, ...] = ()
    external_url: str = ""
    """`https://app.example.com`; empty: the host that the request names, over https."""
    redirect_uri: str = ""
    """A format string; empty: made of `external_url` and `callback_path`."""
    redirect_domains: tuple[str, ...] = ()
    """Where people may be sent after the sign-in; empty: the host of `external_url`."""
    callback_path: str = "/oauth2/callback"
    signout_path: str = "/oauth2/sign_out"
    pass_through: tuple[str, ...] = ()
    """Paths without sign-in: `/healthz` is that one, `/public/*` all below."""
    preflight: bool = False
    redirect_programs: bool = False
    forward_bearer_token: bool = True
    use_refresh_token: bool = True
    auth_type: AuthType | None = None
    """None: what the provider says it takes."""
    cookie_domain: str = ""
    same_site: SameSite = "LAX"
    token_secret: SdsSecret
    hmac_secret: SdsSecret
    cluster_name: str
    dns_lookup_family: DnsLookupFamily = "ALL"
    connect_timeout: float = 5.0
    token_timeout: float = TOKEN_TIMEOUT
    trusted_ca: DataSource = field(default_factory=lambda: DataSource(filename=TRUSTED_CA))


def filter_config(choices: SignInChoices) -> OAuth2Config:
    """filters.http.oauth2.v3.OAuth2Config. Paths and URLs of `choices` are taken as they are."""
    metadata = choices.metadata
    cookie = CookieConfig(same_site=choices.same_site)
    base = choices.external_url
    end_session = metadata.end_session_endpoint if "openid" in choices.scopes else ""
    if "?" in end_session:
        end_session = ""  # Envoy appends `?id_token_hint=` to whatever is there
    return OAuth2Config(
        token_endpoint=HttpUri(
            uri=metadata.token_endpoint, cluster=choices.cluster_name, timeout=choices.token_timeout
        ),
        # Older versions of Envoy, 1.39 among them, retry on any 5xx whatever is written here.
        retry_policy=RetryPolicy(num_retries=1, retry_on="connect-failure,refused-stream,reset-before-request"),
        authorization_endpoint=_with_params(metadata.authorization_endpoint, choices.authorization_params),
        end_session_endpoint=end_session,
        post_logout_redirect_uri=f"{base}/" if base and end_session else None,
        credentials=OAuth2Credentials(
            client_id=choices.client_id,
            token_secret=choices.token_secret,
            hmac_secret=choices.hmac_secret,
            cookie_domain=choices.cookie_domain,
        ),
        redirect_uri=choices.redirect_uri or f"{base or 'https://%REQ(:authority)%'}{choices.callback_path}",
        redirect_path_matcher=StringMatcher("exact", choices.callback_path),
        signout_path=StringMatcher("exact", choices.signout_path),
        forward_bearer_token=choices.forward_bearer_token,
        pass_through_matcher=pass_through(choices.pass_through, preflight=choices.preflight),
        deny_redirect_matcher=() if choices.redirect_programs else _PROGRAMS,
        auth_scopes=choices.scopes,
        resources=choices.resources,
        auth_type=choices.auth_type or auth_type(metadata, openid=choices.openid),
        use_refresh_token=choices.use_refresh_token,
        default_expires_in=DEFAULT_EXPIRES_IN,
        disable_access_token_set_cookie=not choices.forward_bearer_token,  # nobody needs it, and cookies end at 4 KB
        cookie_configs=CookieConfigs(**dict.fromkeys(CookieConfigs.__struct_fields__, cookie)),
        original_request_uri=base,
        allowed_redirect_domains=choices.redirect_domains or (((urlsplit(base).hostname or ""),) if base else ()),
    )


def token_cluster(choices: SignInChoices) -> Cluster:
    """The cluster of the token endpoint's host."""
    cluster = url_cluster(choices.cluster_name, choices.metadata.token_endpoint, choices.trusted_ca)
    family = None if cluster.type == "STATIC" else choices.dns_lookup_family
    return replace(cluster, connect_timeout=choices.connect_timeout, dns_lookup_family=family)


def url_cluster(name: str, url: str, trusted_ca: DataSource) -> Cluster:
    """The cluster of a URL's host, its certificate verified."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    is_ip = is_ip_address(host)
    tls: UpstreamTlsContext | None = None
    if parts.scheme == "https":
        san = SanMatcher(san_type="IP_ADDRESS" if is_ip else "DNS", matcher=StringMatcher("exact", host))
        validation = CertificateValidationContext(trusted_ca=trusted_ca, match_typed_subject_alt_names=(san,))
        tls = UpstreamTlsContext(sni="" if is_ip else host, validation_context=validation)
    return Cluster(
        name=name,
        type="STATIC" if is_ip else "LOGICAL_DNS",
        dns_lookup_family=None if is_ip else "ALL",
        endpoints=(Endpoint(address=host, port=parts.port or (443 if tls is not None else 80)),),
        transport_socket=tls,
        per_connection_buffer_limit_bytes=1024 * 1024,
    )


def auth_type(metadata: ProviderMetadata, *, openid: bool) -> AuthType:
    """How the client proves who it is. What a provider takes that says nothing is BASIC (Discovery section 3).

    Where both are possible the body is better: in Envoy's BASIC_AUTH refresh requests, `+` and `=` of a token go
    unencoded and arrive as something else.
    """
    methods = metadata.token_endpoint_auth_methods_supported
    if "client_secret_post" in methods or (not methods and not openid):
        return "URL_ENCODED_BODY"
    return "BASIC_AUTH" if not methods or "client_secret_basic" in methods else "URL_ENCODED_BODY"


def pass_through(paths: tuple[str, ...], *, preflight: bool) -> tuple[HeaderMatcher, ...]:
    """Matchers of what needs no sign-in: paths (`/a` is that one, `/a/*` all below), and CORS preflights."""
    found = [HeaderMatcher(name=":path", string_match=StringMatcher("safe_regex", _path_regex(path))) for path in paths]
    return (*found, _PREFLIGHT) if preflight else tuple(found)


def _path_regex(path: str) -> str:
    fixed = path.removesuffix("*")
    quoted = re.sub(r"[^A-Za-z0-9/_-]", r"\\\g<0>", fixed)
    return quoted + (_SEGMENTS if fixed != path else "") + _QUERY


def _with_params(url: str, params: Mapping[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(params)}" if params else url


def path_problem(path: str, *, below: bool = False) -> str:
    """What is wrong with a path of a request, empty if nothing; `below`: it may end in `/*`."""
    fixed = path.removesuffix("/*") or "/" if below else path
    if not re.fullmatch(r"/[A-Za-z0-9._~!$&'()+,;=:@/-]*", fixed, re.ASCII):
        return "not a plain path that begins with /"
    if "//" in fixed or any(segment in (".", "..") for segment in fixed.split("/")):
        return "not normalised: no request would match it"
    return "everything would be open to everybody" if below and fixed == "/" and path != fixed else ""


def encoded_secret(secret: str, auth: AuthType) -> str:
    """A client secret as it has to be written so that Envoy sends the right one.

    In a body Envoy encodes `& + / : = ?` and no other printable character; for HTTP Basic it encodes nothing, where
    RFC 6749 section 2.3.1 wants all of it encoded. What is missing is done here. Raises ValueError if it is not ASCII.
    """
    if not secret.isascii() or not secret.isprintable():
        raise ValueError("the client's secret has characters that are not printable ASCII")
    if auth == "BASIC_AUTH":
        return quote(secret, safe="")
    return "".join(f"%{ord(c):02X}" if c in _UNENCODED_IN_BODY else c for c in secret)


def client_id_problem(client_id: str) -> str:
    """Why Envoy can't send this client id as it is; empty if it can."""
    return "" if _UNENCODED.fullmatch(client_id) else "Envoy puts the client id into the URL unencoded"
