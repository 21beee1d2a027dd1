"""`provider:` of the native dialect: the providers known by name, and any other by its issuer.

A preset fills in what the provider's own documentation fixes (issuer, scopes, the claim that holds the groups); every
key beside it overrides that. Sources: Microsoft identity platform "OpenID Connect" and "National clouds", Google
Identity "OpenID Connect", GitHub "Authorizing OAuth apps", GitLab "OpenID Connect identity provider", Okta
"Authorization servers", Auth0 "Issuer", Amazon Cognito "User pool endpoints", Keycloak "Securing applications".

Some providers hold the accounts of the whole world. For those, "everyone who can sign in" is everyone, so a
configuration that doesn't say who may enter is refused (`Preset.open_to`) instead of run.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, cast, get_args
from urllib.parse import urlsplit

from ostiary.core.oauth2.memberships import READ_ORG
from ostiary.dialects.native_reader import Section
from ostiary.dialects.native_schema import PRESETS
from ostiary.model import limits
from ostiary.model.signin import ClientAuthMethod, ProviderConfig
from ostiary.model.tls import DataSource

_HOST: Final = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*", re.ASCII
)
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._~-]{1,255}", re.ASCII)
ENTRA_CLOUDS: Final = {
    "public": ("login.microsoftonline.com", "graph.microsoft.com"),
    "us": ("login.microsoftonline.us", "graph.microsoft.us"),
    "us-dod": ("login.microsoftonline.us", "dod-graph.microsoft.us"),
    "china": ("login.partner.microsoftonline.cn", "microsoftgraph.chinacloudapi.cn"),
}
"""Where to sign in, and the Microsoft Graph of that cloud."""
_OPEN_ISSUERS: Final = {
    "https://accounts.google.com": "everyone with a Google account",
    "https://gitlab.com": "everyone with a GitLab account",
}
_ENTRA_SHARED: Final = ("common", "organizations", "consumers")
_EVERY_MICROSOFT: Final = "every Microsoft account of any organisation"
_GRAPH_GROUPS: Final = "/v1.0/me/transitiveMemberOf?$select=id&$top=999"
_AUTH_METHODS: Final = tuple(m for m in get_args(ClientAuthMethod) if m != "client_assertion")
_ENDPOINT_KEYS: Final = (
    "authorization_endpoint",
    "token_endpoint",
    "userinfo_endpoint",
    "end_session_endpoint",
    "revocation_endpoint",
    "jwks_uri",
)
_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_OIDC_SCOPES: Final = ("openid", "profile", "email")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """What a provider's name stands for."""

    name: str = ""
    issuer: str = ""
    oauth2: bool = False
    scopes: tuple[str, ...] = _OIDC_SCOPES
    group_scopes: tuple[str, ...] = ()
    """Asked for as well where rules look at groups."""
    endpoints: Mapping[str, str] = field(default_factory=dict)
    authorization_params: Mapping[str, str] = field(default_factory=dict)
    user_claim: str = "sub"
    email_claim: str = "email"
    groups_claim: str = "groups"
    groups_endpoint: str = ""
    require_verified_email: bool = True
    names_groups: bool = True
    """False where the provider says nothing about groups, so that a rule about them could never hold."""
    open_to: str = ""
    """Who can sign in, if that is no organisation's people."""
    required_claims: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Claims that every rule asks for besides its own."""


def read_provider(root: Section) -> tuple[ProviderConfig, Preset]:
    """Read `provider:`; what is wrong is reported on the section."""
    section = root.section("provider", "provider")
    if not root.has("provider"):
        root.error(
            "provider", "missing", "who signs users in? for example provider: {issuer: https://login.example.com}"
        )
    allow_http = section.flag("allow_http", default=False)
    preset = _chosen(section, allow_http)
    endpoints = {key: _url(section, key, preset.endpoints.get(key, ""), allow_http) for key in _ENDPOINT_KEYS}
    if preset.oauth2:
        for key in ("authorization_endpoint", "token_endpoint", "userinfo_endpoint"):
            if not endpoints[key] and not section.has(key):
                section.error(key, "missing", "without an issuer nothing can be discovered, so it must be written")
    secret, method = _client_secret(section)
    provider = ProviderConfig(
        kind="oauth2" if preset.oauth2 else "oidc",
        preset=preset.name,
        issuer=preset.issuer,
        client_id=section.required("client_id", "the id under which the provider knows this application"),
        client_secret=secret,
        client_certificate=_client_certificate(section),
        client_auth_method=method,
        scopes=_scopes(section, preset),
        **endpoints,
        authorization_params={**preset.authorization_params, **section.mapping("authorization_params")},
        token_params=section.mapping("token_params"),
        id_token_algorithms=_algorithms(section),
        ca=section.file("ca_file"),
        timeout=section.duration("timeout", limits.PROVIDER_TIMEOUT, low=0.1),
        user_claim=section.text("user_claim", preset.user_claim),
        email_claim=section.text("email_claim", preset.email_claim),
        groups_claim=section.text("groups_claim", preset.groups_claim),
        groups_endpoint=preset.groups_endpoint,
        require_verified_email=section.flag("require_verified_email", preset.require_verified_email),
        dns_resolvers=_dns_resolvers(section),
    )
    return provider, preset


def _chosen(section: Section, allow_http: bool) -> Preset:
    """The one preset, issuer or `oauth2` that is written."""
    written = [key for key in (*PRESETS, "issuer", "oauth2") if section.get(key) is not None]
    if not written:
        if section.has("client_id") or not isinstance(section.value.content, Mapping) or not section.value.content:
            known = ", ".join(PRESETS)
            section.error("issuer", "missing", f"name a provider ({known}) or give its issuer's https:// address")
        return Preset()
    if len(written) > 1:
        section.error(written[1], f"both {written[0]} and {written[1]} are given", "keep the one that signs users in")
    key = written[0]
    if key == "issuer":
        return Preset(issuer=_url(section, "issuer", "", allow_http))
    if key == "oauth2":
        if not section.flag("oauth2", default=True):
            section.error("oauth2", "false says nothing", "leave it out, and give an issuer")
        return Preset(oauth2=True, scopes=())
    return _READERS[key](section.section(key, f"provider.{key}"), allow_http)


def _client_secret(section: Section) -> tuple[DataSource | None, ClientAuthMethod]:
    """What proves who the client is: its secret or private key, or an assertion that somebody else signed."""
    secret = section.source("client_secret")
    assertion = section.file("client_assertion_file")
    if assertion is not None:
        for key in ("client_secret", "client_secret_file", "client_certificate_file", "client_auth_method"):
            if section.has(key):
                section.error(key, f"both {key} and client_assertion_file are given", "the assertion needs no other")
        return assertion, "client_assertion"
    method = section.choice("client_auth_method", _AUTH_METHODS, "auto")
    if secret is None and method in ("client_secret_basic", "client_secret_post", "private_key_jwt"):
        section.error("client_secret_file", f"missing, and client_auth_method is {method}", "name the secret's file")
    return secret, cast(ClientAuthMethod, method)


def _client_certificate(section: Section) -> DataSource | None:
    certificate = section.file("client_certificate_file")
    if certificate is None:
        return None
    if not section.has("client_secret_file"):
        section.error("client_certificate_file", "without its private key", "name the key's file in client_secret_file")
        return None
    for key, mark, what in (
        ("client_certificate_file", b"-----BEGIN CERTIFICATE-----", "certificate"),
        ("client_secret_file", b"PRIVATE KEY-----", "private key"),
    ):
        content = section.bytes_of(key, section.text(key))
        if content is not None and mark not in content:
            section.error(key, f"holds no {what} in PEM form", "certificate and private key are PEM files")
    return certificate


def _scopes(section: Section, preset: Preset) -> tuple[str, ...]:
    scopes = tuple(scope for text in section.texts("scopes", preset.scopes) for scope in text.split())
    if not preset.oauth2 and "openid" not in scopes:
        section.error("scopes", "openid is missing: without it the provider sends no ID token", "add openid")
    return scopes


def _dns_resolvers(section: Section) -> tuple[tuple[str, int], ...]:
    """Addresses of DNS servers, `IP`, `IP:PORT` or `[IPV6]:PORT`."""
    servers = []
    for text in section.texts("dns_resolvers"):
        match = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\]:([0-9]{1,5})|([0-9.]+):([0-9]{1,5})|([0-9A-Fa-f:.]+)", text)
        groups = match.groups(default="") if match else ("", "", "", "", "")
        host, port = groups[0] or groups[2] or groups[4], int(groups[1] or groups[3] or "53")
        if is_ip(host) and 0 < port < 65536:
            servers.append((host, port))
        else:
            section.error("dns_resolvers", f"{text!r} is not a server's address", "write 10.0.0.53 or 10.0.0.53:5353")
    return tuple(servers)


def _algorithms(section: Section) -> tuple[str, ...]:
    algorithms = section.texts("id_token_algorithms", ProviderConfig(client_id="").id_token_algorithms)
    for name in algorithms:
        if name not in _ALGORITHMS:
            section.error("id_token_algorithms", f"{name!r} is not accepted", f"any of {', '.join(_ALGORITHMS)}")
    return algorithms


def is_ip(host: str) -> bool:
    """True for an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """True for localhost and loopback addresses (RFC 6761 section 6.3)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return is_ip(host) and ipaddress.ip_address(host).is_loopback


def _url(section: Section, key: str, default: str, allow_http: bool) -> str:
    """An absolute https:// address without credentials, query or fragment; http:// on loopback or where allowed."""
    text = section.text(key, default)
    if text and (problem := url_problem(text, allow_http=allow_http)):
        section.error(key, *problem)
        return ""
    return text


def url_problem(text: str, *, allow_http: bool) -> tuple[str, str] | None:
    """What is wrong with a provider's address, and the mend; None if nothing."""
    example = "write it as https://login.example.com"
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "not an address", example
    if parts.scheme not in ("http", "https") or not host or " " in text or "\\" in text:
        return "not an absolute https:// address", example
    if parts.username is not None or parts.password is not None:
        return "an address must not carry credentials", "use client_id and client_secret_file"
    if parts.fragment or parts.query:
        return "an address of a provider has no query and no fragment", example
    if parts.scheme == "http" and not (allow_http or is_loopback(host)):
        return (
            "plain http:// would carry the client's secret and everyone's tokens unencrypted",
            "use https://, or say allow_http: true if that network is yours",
        )
    return None


def open_to(issuer: str) -> str:
    """Who can sign in at an issuer that is open to everybody; empty for any other."""
    parts = urlsplit(issuer)
    if (
        parts.hostname in {login for login, _ in ENTRA_CLOUDS.values()}
        and parts.path.strip("/").split("/")[0] in _ENTRA_SHARED
    ):
        return _EVERY_MICROSOFT
    return _OPEN_ISSUERS.get(issuer.rstrip("/"), "")


def _host(section: Section, key: str, mend: str) -> str:
    text = section.required(key, mend)
    if text and not _HOST.fullmatch(text):
        section.error(key, f"{text!r} is not a host name", mend)
        return ""
    return text


def _segment(section: Section, key: str, mend: str) -> str:
    text = section.required(key, mend)
    if text and not _SEGMENT.fullmatch(text):
        section.error(key, f"{text!r} can't be part of an address", mend)
        return ""
    return text


def _entra(section: Section, _allow_http: bool) -> Preset:
    tenant = _segment(
        section, "tenant", "the directory's id or one of its domains, or organizations, common, consumers"
    )
    login, graph = ENTRA_CLOUDS[section.choice("cloud", tuple(ENTRA_CLOUDS), "public")]
    first = section.choice("version", ("1", "2"), "2") == "1"
    shared = tenant.lower() in _ENTRA_SHARED
    # A user principal name lies in a domain that the directory's owner has proved; `email` is what someone typed, and
    # Entra sends no email_verified. Beyond one directory neither proves anything, so there it must be verified.
    principal_name = "upn" if first else "preferred_username"
    return Preset(
        name="entra",
        issuer=f"https://{login}/{tenant}" + ("" if first else "/v2.0"),
        # Without offline_access there is no refresh token, and an account that was disabled would stay signed in.
        # Version 1 knows no scopes of an API: access tokens are for the `resource`.
        scopes=("openid",) if first else (*_OIDC_SCOPES, "offline_access"),
        group_scopes=() if first else ("User.Read",),
        authorization_params={"resource": f"https://{graph}"} if first else {},
        email_claim="email" if shared else principal_name,
        groups_endpoint=f"https://{graph}{_GRAPH_GROUPS}",
        require_verified_email=shared,
        open_to=_EVERY_MICROSOFT if shared else "",
    )


def _google(section: Section, _allow_http: bool) -> Preset:
    domain = section.text("hosted_domain").lower()
    if domain and not _HOST.fullmatch(domain):
        section.error("hosted_domain", f"{domain!r} is not a domain")
    # `hd` in the request is only a hint that users can remove: the claim of the same name is what proves it.
    return Preset(
        name="google",
        issuer="https://accounts.google.com",
        authorization_params={"access_type": "offline"} | ({"hd": domain} if domain else {}),
        names_groups=False,
        open_to="" if domain else open_to("https://accounts.google.com"),
        required_claims={"hd": (domain,)} if domain else {},
    )


def _keycloak(section: Section, allow_http: bool) -> Preset:
    section.required("url", "the server's address, as in https://sso.example.com")
    url = _url(section, "url", "", allow_http).rstrip("/")
    realm = _segment(section, "realm", "the realm's name")
    return Preset(name="keycloak", issuer=f"{url}/realms/{realm}")


def _github(section: Section, allow_http: bool) -> Preset:
    url = _url(section, "url", "https://github.com", allow_http).rstrip("/")
    api = "https://api.github.com" if url == "https://github.com" else f"{url}/api/v3"
    return Preset(
        name="github",
        oauth2=True,
        scopes=("read:user", "user:email"),
        endpoints={
            "authorization_endpoint": f"{url}/login/oauth/authorize",
            "token_endpoint": f"{url}/login/oauth/access_token",
            "userinfo_endpoint": f"{api}/user",
        },
        group_scopes=(READ_ORG,),
        user_claim="id",
        open_to="everyone with a GitHub account" if url == "https://github.com" else "",
    )


def _gitlab(section: Section, allow_http: bool) -> Preset:
    url = _url(section, "url", "https://gitlab.com", allow_http).rstrip("/")
    return Preset(
        name="gitlab",
        issuer=url,
        groups_claim="groups_direct",
        open_to=open_to(url),
    )


def _okta(section: Section, _allow_http: bool) -> Preset:
    domain = _host(section, "domain", "the organisation's domain, as in example.okta.com")
    server = section.text("authorization_server")
    if server and not _SEGMENT.fullmatch(server):
        section.error("authorization_server", f"{server!r} is not a server's id", "often it is: default")
    if server:  # has the scopes that its administrator made, and claims that need none
        return Preset(name="okta", issuer=f"https://{domain}/oauth2/{server}")
    return Preset(name="okta", issuer=f"https://{domain}", group_scopes=("groups",))


def _auth0(section: Section, _allow_http: bool) -> Preset:
    domain = _host(section, "domain", "the tenant's domain, as in example.eu.auth0.com")
    return Preset(name="auth0", issuer=f"https://{domain}/")  # the slash is part of Auth0's issuer


def _cognito(section: Section, _allow_http: bool) -> Preset:
    region = _segment(section, "region", "as in eu-central-1")
    pool = _segment(section, "user_pool", "the user pool's id, as in eu-central-1_AbCdEfGhI")
    return Preset(
        name="cognito",
        issuer=f"https://cognito-idp.{region}.amazonaws.com/{pool}",
        groups_claim="cognito:groups",
    )


_READERS: Final[Mapping[str, Callable[[Section, bool], Preset]]] = {
    "entra": _entra,
    "google": _google,
    "keycloak": _keycloak,
    "github": _github,
    "gitlab": _gitlab,
    "okta": _okta,
    "auth0": _auth0,
    "cognito": _cognito,
}
