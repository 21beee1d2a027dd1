"""What oauth2-proxy refuses to start with: its own checks of values and of what must, or must not, go together.

Checked against oauth2-proxy 7.15's `--config-test` (tests/doctor/configuration/oauth2_proxy.yaml has what it prints).
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Final

from ostiary.core.regex import Regex
from ostiary.dialects.oauth2_proxy import Proxy
from ostiary.dialects.oauth2_proxy_providers import DISCOVERED, KNOWN
from ostiary.dialects.oauth2_proxy_values import Setting
from ostiary.doctor.configuration.oauth2_proxy_findings import address, found, missing
from ostiary.doctor.facts.configuration import ConfigurationProblem

Problems = Iterator[ConfigurationProblem]
_AES_KEYS: Final = (16, 24, 32)
"""Bytes that a cookie secret may have."""
_MAKE_ONE: Final = (
    "Make one: openssl rand -base64 32 | tr -- '+/' '-_' (without the newline). Everybody signs in once more."
)
_URL_SAFE: Final = re.compile(r"[A-Za-z0-9_-]*")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 6265 section 4.1.1: a cookie's name."""
_MOST_NAME: Final = 256
_ALGORITHMS: Final = frozenset(
    {"EdDSA", *(f"{kind}{size}" for kind in ("HS", "RS", "ES", "PS") for size in (256, 384, 512))}
)
_REAL_IP: Final = frozenset({"x-forwarded-for", "x-real-ip", "x-proxyuser-ip", "x-envoy-external-address",
                             "cf-connecting-ip"})  # fmt: skip
_UPSTREAMS: Final = ("http", "https", "file", "unix", "static")
_REDIS: Final = ("redis", "rediss", "unix")
_SIGNATURES: Final = frozenset({"md4", "md5", "sha1", "sha224", "sha256", "sha384", "sha512", "ripemd160"})
_ENUMS: Final = {
    "cookie_samesite": ("", "lax", "strict", "none"), "cookie_csrf_samesite": ("", "lax", "strict", "none"),
    "session_store_type": ("cookie", "redis"), "code_challenge_method": ("", "S256", "plain"),
    "tls_min_version": ("", "TLS1.2", "TLS1.3"),
}  # fmt: skip


def refusals(proxy: Proxy) -> Problems:
    """Everything of this kind."""
    for check in _CHECKS:
        yield from check(proxy)


def _cookie_secret(proxy: Proxy) -> Problems:
    secret = proxy.setting("cookie_secret")
    if secret is None:
        if proxy.lacks("cookie_secret", "cookie_secret_file"):
            yield missing(proxy, "cookie_secret", "There is no cookie_secret and no cookie_secret_file.", _MAKE_ONE)
    elif isinstance(secret.value, str) and not is_key(secret.value):
        yield found("secret-invalid", secret, _about_key(secret.value), mend=_MAKE_ONE)


def is_key(secret: str) -> bool:
    """Whether a cookie secret has a length that AES takes, as URL-safe base64 or as it is."""
    return len(_bytes(secret)) in _AES_KEYS


def _bytes(secret: str) -> bytes:
    """As oauth2-proxy takes it: decoded if that gives a key, else as it is."""
    plain = secret.replace("\r", "").replace("\n", "").rstrip("=")
    if _URL_SAFE.fullmatch(plain) and len(plain) % 4 != 1:
        decoded = base64.urlsafe_b64decode(plain + "=" * (-len(plain) % 4))
        if len(decoded) in _AES_KEYS:
            return decoded
    return secret.encode()


def _about_key(secret: str) -> str:
    text = f"cookie_secret is {len(secret.encode())} bytes: 16, 24 or 32 are needed, as they are or as URL-safe base64."
    if secret != secret.strip() and is_key(secret.strip()):
        return f"{text} White space or a newline at its end is one too many."
    if secret[:1] in "\"'" and is_key(secret.strip("\"'")):
        return f"{text} The quotes are part of it."
    try:
        decoded = base64.b64decode(secret, validate=True)
    except (binascii.Error, ValueError):
        return text
    if len(decoded) in _AES_KEYS and set("+/") & set(secret):
        return f"{text} It is base64 with + and /, which oauth2-proxy does not decode: - and _ take their place."
    if decoded.endswith(b"\n") and len(decoded) - 1 in _AES_KEYS:
        return f"{text} It is base64 of a secret with a newline at its end (echo makes that; printf %s does not)."
    return f"{text} Decoded it is {len(decoded)} bytes."


def _client(proxy: Proxy) -> Problems:
    if proxy.lacks("client_id"):
        note = " OAUTH2_PROXY_CLIENT_ID has no effect beside --alpha-config." if proxy.structured else ""
        where = "providers[0].clientID" if proxy.structured else "client_id"
        yield missing(proxy, where, f"There is no client_id.{note}", "Set the client id that the provider has given.")
    provider = proxy.text("provider")
    federated = proxy.value("entra_id_federated_token_auth")
    needs = provider != "login.gov" and not (provider == "entra-id" and federated is not False)
    if needs and proxy.lacks("client_secret", "client_secret_file"):
        where = "providers[0].clientSecret" if proxy.structured else "client_secret"
        yield missing(proxy, where, "There is no client_secret and no client_secret_file.", "Set one of them.")
    secret = proxy.setting("client_secret")
    if secret is not None and isinstance(secret.value, str) and secret.value != secret.value.strip():
        message = "client_secret begins or ends with white space or a newline, and all of it is sent to the provider."
        yield found("secret-invalid", secret, message)


def _provider(proxy: Proxy) -> Problems:
    provider = proxy.setting("provider")
    kind = proxy.text("provider")
    if provider is not None and isinstance(provider.value, str) and kind not in KNOWN:
        yield found(
            "invalid", provider, f"There is no provider {kind!r}.", mend=f"Known are {', '.join(sorted(KNOWN))}."
        )
        return
    if provider is None and proxy.unseen:
        return
    skips = proxy.value("skip_oidc_discovery")
    if kind in DISCOVERED:
        if proxy.lacks("oidc_issuer_url"):
            yield missing(proxy, "oidc_issuer_url", f"The provider {kind} needs oidc_issuer_url.",
                          "Set it to the issuer, exactly as its discovery document names it.")  # fmt: skip
        skipping = proxy.setting("skip_oidc_discovery")
        if skips is True and skipping is not None and proxy.lacks("oidc_jwks_url", "oidc_public_key_files"):
            yield found("invalid", skipping, "Without discovery, oidc_jwks_url or oidc_public_key_files is needed.",
                        mend="Set one of them, and login_url and redeem_url.")  # fmt: skip
        keys = proxy.setting("oidc_public_key_files")
        if keys is not None and keys.value and proxy.text("oidc_jwks_url"):
            yield found("invalid", keys, "oidc_jwks_url and oidc_public_key_files exclude each other.",
                        mend="Remove one of them.")  # fmt: skip
    for item in proxy.items("oidc_enabled_signing_algs"):
        if item.text not in _ALGORITHMS:
            yield found("invalid", item.setting, f"There is no signing algorithm {item.text!r}.", line=item.line,
                        mend="RS256, ES256, PS256, EdDSA and their sizes are known.")  # fmt: skip


def _google(proxy: Proxy) -> Problems:
    """Its groups are asked for as an administrator, by one kind of credentials."""
    kinds = ("google_service_account_json", "google_use_application_default_credentials")
    admin, file, implicit = (proxy.setting(key) for key in ("google_admin_email", *kinds))
    implicit = implicit if implicit is not None and implicit.value is True else None
    credentials = file or implicit
    if proxy.text("provider") != "google" or proxy.structured:
        return
    if file is not None and implicit is not None:
        yield found("invalid", implicit, f"{kinds[0]} and {kinds[1]} exclude each other.", mend="Remove one of them.")
    elif credentials is not None and proxy.lacks("google_admin_email"):
        yield found("invalid", credentials, "It needs google_admin_email beside it.")
    elif admin is not None and proxy.lacks(*kinds):
        yield found("invalid", admin, f"It needs {kinds[0]} or {kinds[1]} beside it.")


def _login_gov(proxy: Proxy) -> Problems:
    if proxy.text("provider") == "login.gov" and proxy.lacks("jwt_key", "jwt_key_file") and not proxy.structured:
        yield missing(proxy, "jwt_key_file", "login.gov needs a private key.", "Set jwt_key or jwt_key_file.")


def _cookies(proxy: Proxy) -> Problems:
    refresh, expire = proxy.setting("cookie_refresh"), proxy.number("cookie_expire")
    if refresh is not None and isinstance(refresh.value, float) and expire and refresh.value >= expire:
        message = f"cookie_refresh ({_time(refresh.value)}) must be less than cookie_expire ({_time(expire)})."
        yield found("invalid", refresh, message, mend="Refresh well before the session ends: 1h, and 168h.")
    name = proxy.setting("cookie_name")
    if name is not None and isinstance(name.value, str):
        if not _TOKEN.fullmatch(name.value):
            yield found("invalid", name, "A cookie's name has letters, digits and a few signs, no spaces.")
        elif len(name.value) > _MOST_NAME:
            yield found("invalid", name, f"A cookie's name has at most {_MOST_NAME} characters.")
    for key in ("cookie_expire", "cookie_refresh", "cookie_csrf_expire", "upstream_timeout"):
        setting = proxy.setting(key)
        if setting is not None and isinstance(setting.value, float) and 0 < setting.value < _SHORTEST:
            count = round(setting.value * 1e9)
            yield found("invalid", setting, "A number without a unit is nanoseconds: what it limits is over at once.",
                        title=f"{setting.path} is {count} nanoseconds", mend=f'Write a unit: "{count}s", '
                        '"168h".')  # fmt: skip


_SHORTEST: Final = 1e-3
"""Seconds; whoever sets less has forgotten the unit (a number of nanoseconds)."""


def _time(seconds: float) -> str:
    return f"{seconds / 3600:g}h" if seconds >= 3600 else f"{seconds:g}s"


def _enums(proxy: Proxy) -> Problems:
    for key, known in _ENUMS.items():
        setting = proxy.setting(key)
        if setting is None or not isinstance(setting.value, str) or setting.value in known:
            continue
        if key == "tls_min_version" and proxy.setting("tls_cert_file") is None:
            continue
        said = ", ".join(each or '""' for each in known)
        right = next((each for each in known if each.lower() == setting.value.lower()), "")
        yield found("invalid", setting, f"{setting.path} must be one of {said}.", mend=f"Write {right or known[-1]}.",
                    edit=(setting.value, right) if right else None)  # fmt: skip


def _email(proxy: Proxy) -> Problems:
    if proxy.lacks("email_domains", "authenticated_emails_file", "htpasswd_file"):
        yield missing(proxy, "email_domains", "Nothing says who may sign in.",
                      'email_domains = ["example.com"], or authenticated_emails_file; ["*"] lets everybody in whom the '
                      "provider knows.")  # fmt: skip


def _sessions(proxy: Proxy) -> Problems:
    minimal = proxy.setting("session_cookie_minimal")
    if minimal is not None and minimal.value is True:
        refresh = proxy.number("cookie_refresh")
        needs = [key for key in ("pass_access_token", "pass_authorization_header", "set_authorization_header")
                 if proxy.is_set(key, True)] + ["cookie_refresh"] * bool(refresh)  # fmt: skip
        if needs:
            yield found("invalid", minimal, f"A session without tokens can't serve {', '.join(needs)}.",
                        mend="Leave session_cookie_minimal out, or keep sessions in Redis.")  # fmt: skip
    store = proxy.setting("session_store_type")
    if store is not None and store.value == "redis":
        yield from _redis(proxy, store)


def _redis(proxy: Proxy, store: Setting) -> Problems:
    sentinel, cluster = proxy.is_set("redis_use_sentinel", True), proxy.is_set("redis_use_cluster", True)
    if sentinel and cluster:
        which = proxy.setting("redis_use_cluster")
        yield found("invalid", which or store, "redis_use_sentinel and redis_use_cluster exclude each other.")
        return
    key = "redis_connection_url"
    key = "redis_sentinel_connection_urls" if sentinel else "redis_cluster_connection_urls" if cluster else key
    setting = proxy.setting(key)
    if setting is None:
        if proxy.lacks(key):
            yield found(
                "invalid", store, f"Sessions in Redis need {key}.", mend="redis://HOST:6379, or rediss:// for TLS."
            )
        return
    urls = setting.value if isinstance(setting.value, tuple) else (setting.value,)
    for url in urls:
        scheme = address(url).scheme if isinstance(url, str) else "redis"
        if scheme not in _REDIS:
            message = f"{key} begins with {scheme + ':' if scheme else 'no scheme'}: redis://, rediss:// or "
            "unix:// is needed."
            yield found("invalid", setting, message, mend="redis://HOST:6379, or rediss:// for TLS.")


def _upstreams(proxy: Proxy) -> Problems:
    seen: dict[str, int] = {}
    for item in proxy.items("upstreams"):
        parts = address(item.text)
        if parts.scheme not in _UPSTREAMS or (parts.scheme in ("http", "https") and not parts.hostname):
            near = item.text if "://" not in item.text and parts.scheme != "unix" else ""
            yield found("invalid", item.setting, f"{item.text!r} is no upstream: it needs http://, https://, file://, "
                        "unix:// or static://.", line=item.line, mend=f"Write http://{near}." if near else "",
                        edit=(item.text, f"http://{near}") if near else None)  # fmt: skip
            continue
        if item.setting.source == "structured":
            continue  # it has ids and paths of its own
        path = parts.fragment if parts.scheme == "file" and parts.fragment else parts.path or "/"
        path = "/" if parts.scheme in ("unix", "static") else path
        if path in seen:
            yield found("invalid", item.setting, f"Two upstreams have the path {path} (the other is in line "
                        f"{seen[path]}).",
                        line=item.line, mend="Give each a path of its own: http://app/, http://api/api/.")  # fmt: skip
        seen[path] = item.line


def _expressions(proxy: Proxy) -> Problems:
    for key in ("skip_auth_routes", "skip_auth_regex", "api_routes"):
        for item in proxy.items(key):
            expression = item.text.partition("=")[2] if key == "skip_auth_routes" and "=" in item.text else item.text
            try:
                Regex(expression)
            except ValueError as error:
                yield found("invalid", item.setting, f"{error}.", line=item.line)


def _networks(proxy: Proxy) -> Problems:
    for key in ("trusted_ips", "trusted_proxy_ips"):
        for item in proxy.items(key):
            try:
                ipaddress.ip_network(item.text)
            except ValueError as error:
                near = ""
                if "has host bits set" in str(error):
                    near = str(ipaddress.ip_network(item.text, strict=False))
                mend, edit = (f"Write {near}.", (item.text, near)) if near else ("", None)
                yield found("invalid", item.setting, f"{item.text!r} is no address and no network.", line=item.line,
                            mend=mend, edit=edit)  # fmt: skip


def _headers(proxy: Proxy) -> Problems:
    header = proxy.setting("real_client_ip_header")
    used = header is not None and isinstance(header.value, str) and proxy.is_set("reverse_proxy", True)
    if used and proxy.text("real_client_ip_header").lower() not in _REAL_IP:
        assert header is not None
        yield found("invalid", header, "oauth2-proxy can't take the client's address from that header.",
                    mend="X-Forwarded-For, X-Real-IP, X-ProxyUser-IP, X-Envoy-External-Address or "
                        "CF-Connecting-IP.")  # fmt: skip
    if proxy.structured:
        return
    basic = proxy.setting("set_basic_auth")
    if basic is not None and basic.value is True:
        if proxy.lacks("basic_auth_password"):
            yield found("invalid", basic, "set_basic_auth needs basic_auth_password.")
        if proxy.is_set("set_authorization_header", True):
            yield found("invalid", basic, "set_basic_auth and set_authorization_header both write Authorization.",
                        mend="Leave one of them out.")  # fmt: skip
    bearer = proxy.setting("pass_authorization_header")
    password = proxy.setting("basic_auth_password")
    both = password is not None and password.value != "" and not proxy.is_set("pass_basic_auth", False)
    if both and bearer is not None and bearer.value is True:
        yield found("invalid", bearer, "pass_authorization_header and pass_basic_auth with a password both write "
                    "Authorization.", mend="Set pass_basic_auth = false, or leave the password out.")  # fmt: skip


def _rest(proxy: Proxy) -> Problems:
    for item in proxy.items("extra_jwt_issuers") if proxy.is_set("skip_jwt_bearer_tokens", True) else ():
        if "=" not in item.text:
            yield found("invalid", item.setting, "An extra issuer is written ISSUER=AUDIENCE.", line=item.line)
    signature = proxy.setting("signature_key")
    if signature is not None and isinstance(signature.value, str) and signature.value:
        algorithm, colon, _ = signature.value.partition(":")
        if not colon or algorithm.lower() not in _SIGNATURES:
            yield found("invalid", signature, "A signature key is written ALGORITHM:KEY, as in sha256:...")
    certificate, key = proxy.setting("tls_cert_file"), proxy.setting("tls_key_file")
    one = certificate or key
    if one is not None and one.value and (certificate is None or key is None) and not proxy.unseen:
        lacking = "tls_key_file" if key is None else "tls_cert_file"
        yield found("invalid", one, f"{one.path} needs {lacking} beside it.")
    redirect = proxy.setting("redirect_url")
    url = proxy.text("redirect_url")
    if redirect is not None and url and not url.startswith("/") and not address(url).hostname:
        title = f"{redirect.path} is no address: {url}"
        yield found("invalid", redirect, "It needs a scheme and a host; this is taken for a path.", title=title,
                    mend="Write it as https://app.example.com/oauth2/callback.")  # fmt: skip


_CHECKS: Final[tuple[Callable[[Proxy], Problems], ...]] = (
    _cookie_secret, _client, _provider, _google, _login_gov, _cookies, _enums, _email, _sessions, _upstreams,
    _expressions, _networks, _headers, _rest,
)  # fmt: skip
