"""What oauth2-proxy starts with, and what does not work, or lets in whom it should not.

Only what the configuration itself proves: a browser's rules for cookies, what a regular expression matches, an option
that another one makes pointless. What may be meant (plain HTTP on a developer's machine, `email_domains = ["*"]`,
skipped checks of an upstream) is no finding.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import SplitResult

from ostiary.core.regex import Regex
from ostiary.dialects.oauth2_proxy import Item, Proxy
from ostiary.dialects.oauth2_proxy_providers import DISCOVERED
from ostiary.dialects.oauth2_proxy_values import Setting, is_filled_in
from ostiary.doctor.configuration.oauth2_proxy_findings import address, found
from ostiary.doctor.facts.configuration import ConfigurationProblem
from ostiary.doctor.facts.origin import Origin
from ostiary.doctor.finding import Confidence, Where

Problems = Iterator[ConfigurationProblem]
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_PATHS: Final = ("/", "/admin", "/api/v1/users", "/a/b/c.html", "/x7q", "/oauth2/userinfo")
"""Whoever skips all of these skips everything."""
_NAME: Final = re.compile(r"\.?[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*")
_REDIRECTS: Final = re.compile(
    r"(?:\*?\.)?[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?::(?:\d+|\*))?|\[[0-9a-fA-F:]+\](?::\S+)?"
)
_OWN: Final = "/.well-known/openid-configuration"
_MANY_TENANTS: Final = re.compile(r"https://login\.(?:microsoftonline\.(?:com|us)|partner\.microsoftonline\.cn)/"
                                  r"(?:common|organizations)/v2\.0/?")  # fmt: skip


def senseless(proxy: Proxy) -> Problems:
    """Everything of this kind."""
    for check in _CHECKS:
        yield from check(proxy)


def _sure(proxy: Proxy, *keys: str) -> Confidence:
    """Certain where these are set here or nothing else could set them; another place may set the rest."""
    known = not proxy.unseen or all(proxy.setting(key) is not None for key in keys)
    return "certain" if known else "likely"


def _redirect(proxy: Proxy) -> SplitResult:
    return address(proxy.text("redirect_url"))


def _scheme(proxy: Proxy) -> Problems:
    """The redirect URI is http where users come by https, or where cookies need it."""
    setting, parts = proxy.setting("redirect_url"), _redirect(proxy)
    secure = proxy.setting("cookie_secure")
    over_tls = [each for each in proxy.entrances if each.tls and (not parts.hostname or each.host == parts.hostname)]
    if setting is not None and parts.scheme == "http" and (parts.hostname or "") not in _LOOPBACK:
        is_secure = secure is None or secure.value is True
        if is_secure or over_tls:
            why = (
                f"The Ingress in line {over_tls[0].line} serves {over_tls[0].host} with TLS."
                if over_tls
                else "Cookies are Secure (cookie_secure): a browser that comes by http does not keep them."
            )
            yield found("redirect-scheme", setting, f"{why} Providers refuse such a redirect URI, too.",
                        title=f"The redirect URI is {setting.value}, with http", edit=("http://", "https://"),
                        mend="Write https:// and the host that users see. For plain HTTP on purpose: "
                        "cookie_secure = false.",
                        confidence="certain" if over_tls else _sure(proxy, "cookie_secure"))  # fmt: skip
    derived = setting is None and (proxy.lacks("reverse_proxy") or proxy.is_set("reverse_proxy", False))
    if derived and secure is not None and secure.value is False and over_tls:
        yield found("redirect-scheme", secure, f"TLS ends at the Ingress (line {over_tls[0].line}), oauth2-proxy is "
                    "not told that it is behind one, and makes redirect URIs of its own plain requests.",
                    title="The redirect URI is made with http",
                    mend="Set reverse_proxy and cookie_secure to true, or redirect_url to https://.")  # fmt: skip


def _force_https(proxy: Proxy) -> Problems:
    force, behind = proxy.setting("force_https"), proxy.setting("reverse_proxy")
    if force is None or force.value is not True or proxy.setting("tls_cert_file") is not None:
        return
    if behind is None or behind.value is False:
        yield found("redirect-scheme", force, "oauth2-proxy has no certificate, so whoever speaks TLS is before it, "
                    "and is not believed: each request looks like plain HTTP, and is redirected without end.",
                    title="Every request is redirected to https for ever",
                    mend="Set reverse_proxy = true and trusted_proxy_ips, or leave force_https to the proxy before it.",
                    confidence=_sure(proxy, "reverse_proxy", "tls_cert_file"))  # fmt: skip


def _callback(proxy: Proxy) -> Problems:
    setting, parts = proxy.setting("redirect_url"), _redirect(proxy)
    prefix = proxy.setting("proxy_prefix")
    if setting is None or not parts.path or (prefix is None and proxy.unseen and parts.path.endswith("/callback")):
        return
    if prefix is not None and prefix.value is None:
        return
    own = f"{proxy.text('proxy_prefix').rstrip('/')}/callback"
    if parts.path != own:
        yield found("invalid", setting, f"oauth2-proxy takes the code at {own} alone. At {parts.path} the "
                    "request is one for the application: it has no session, and the user has to sign in again.",
                    title=f"redirect_url ends in {parts.path}, where no callback is",
                    edit=(parts.path, own) if len(parts.path) > 1 else None,
                    mend=f"Write {own}, here and at the provider, or set proxy_prefix.",
                    confidence="likely")  # fmt: skip


def _domain(proxy: Proxy) -> Problems:
    """The cookie's Domain does not cover the host of the callback, so no browser keeps it."""
    host, domains = _redirect(proxy).hostname or "", proxy.items("cookie_domains")
    whole = _redirect(proxy).netloc.rpartition("@")[2]
    if not host or not domains or any(item.setting.value is None for item in domains):
        return
    ordered = sorted(domains, key=lambda item: len(item.text), reverse=True)
    chosen: Item = next((item for item in ordered if whole.endswith(item.text)), ordered[-1])
    if not _NAME.fullmatch(chosen.text):
        return  # Go leaves out a Domain that is none, and the cookie is the host's own
    wanted = chosen.text.lstrip(".").lower()
    if host != wanted and not host.endswith(f".{wanted}"):
        yield found("cookie-scope", chosen.setting, f"The callback is at {host}, which {chosen.text} does not "
                    "cover: the browser drops the cookies of the sign-in there, and it comes without them.",
                    title=f"No browser keeps a cookie of {chosen.text} that {host} sets", line=chosen.line,
                    mend=f"Set cookie_domains to {host} or a parent of it, or leave it out.")  # fmt: skip


def _same_site(proxy: Proxy) -> Problems:
    own, csrf = proxy.setting("cookie_samesite"), proxy.setting("cookie_csrf_samesite")
    deciding = csrf if csrf is not None and csrf.value else own
    if deciding is None:
        return
    secure = proxy.setting("cookie_secure")
    if deciding.value == "none" and secure is not None and secure.value is False:
        yield found("cookie-scope", deciding, "SameSite=None needs Secure: browsers drop the cookie otherwise.",
                    title="No browser keeps a cookie with SameSite=None and without Secure", edit=("none", "lax"),
                    mend="Set it to lax, or cookie_secure = true and serve https.")  # fmt: skip
    host, other = _redirect(proxy).hostname or "", address(proxy.text("oidc_issuer_url")).hostname or ""
    if deciding.value == "strict" and host and other and host.split(".")[-2:] != other.split(".")[-2:]:
        yield found("cookie-scope", deciding, f"The browser comes back from {other}, another site than {host}, "
                    "and sends no Strict cookie: the callback is answered 403 (no valid CSRF token).",
                    title="The cookie of the sign-in is not sent on the way back from the provider",
                    edit=("strict", "lax"), confidence="likely",
                    mend="Set cookie_csrf_samesite to lax.")  # fmt: skip


def _cookie(proxy: Proxy) -> Problems:
    path, prefix = proxy.text("cookie_path"), f"{proxy.text('proxy_prefix').rstrip('/')}/callback"
    setting = proxy.setting("cookie_path")
    covers = prefix == path or prefix.startswith(path if path.endswith("/") else f"{path}/")
    if setting is not None and path and not covers:
        yield found("cookie-scope", setting, f"The callback is {prefix}, which the cookies' path {path} does "
                    "not cover: it comes without the cookie of the sign-in.",
                    title=f"No cookie of the path {path} reaches {prefix}",
                    mend="Leave cookie_path out, or set proxy_prefix below it.")  # fmt: skip
    name = proxy.setting("cookie_name")
    if name is None or not isinstance(name.value, str):
        return
    why = []
    if name.value.startswith("__Host-"):
        why = ["it has a Domain (cookie_domains)"] * bool(proxy.items("cookie_domains"))
        why += ["its path is not /"] * (path not in ("", "/"))
    if name.value.startswith(("__Host-", "__Secure-")):
        why += ["it is not Secure (cookie_secure)"] * proxy.is_set("cookie_secure", False)
    if why:
        yield found("cookie-scope", name, f"A browser takes a cookie of such a name only on terms, and "
                    f"{' and '.join(why)}.",
                    title=f"No browser keeps the cookie {name.value}", mend="Change that, or the name.")  # fmt: skip


def _tls(proxy: Proxy) -> Problems:
    for key, whom, instead in (
        ("ssl_insecure_skip_verify", "the provider", "provider_ca_files"),
        ("redis_insecure_skip_tls_verify", "Redis", "redis_ca_path"),
    ):
        setting = proxy.setting(key)
        if setting is None or setting.value is not True:
            continue
        if key.startswith("redis") and proxy.text("session_store_type") != "redis":
            continue
        what = "the client secret, and can sign anybody in" if whom == "the provider" else "every session"
        yield found("tls-not-verified", setting, "oauth2-proxy checks neither chain nor name: whoever can "
                    f"redirect its connections gets {what}.",
                    title=f"The certificate of {whom} is not verified", severity="warning",
                    mend=f"Leave it out, and name the CA in {instead}.", edit=_off(setting))  # fmt: skip


def _off(setting: Setting) -> tuple[str, str] | None:
    """What to put for what, so that a true one is false; a flag may stand with a value or without."""
    return None if setting.source == "flag" else ("true", "false")


def _lets_in(proxy: Proxy) -> Problems:
    for key in ("skip_auth_routes", "skip_auth_regex"):
        for item in proxy.items(key):
            if _skips_everything(item.text, routes=key == "skip_auth_routes"):
                yield found("filter-fails-open", item.setting, f"{item.text!r} matches every path: an expression "
                            "matches anywhere in it, unless ^ and $ hold it.",
                            title=f"{item.setting.path} lets everybody in",
                            line=item.line, mend="Anchor it: ^/public/, ^/healthz$.")  # fmt: skip
    for item in proxy.items("trusted_ips"):
        try:
            everyone = ipaddress.ip_network(item.text).prefixlen == 0
        except ValueError:
            continue
        if everyone:
            yield found("filter-fails-open", item.setting, f"Who comes from {item.text} needs no session, and that is "
                        "everybody.", title="trusted_ips lets everybody in", line=item.line,
                        mend="Name the addresses that may pass.")  # fmt: skip
    emails, file = proxy.items("email_domains"), proxy.setting("authenticated_emails_file")
    everyone_of = next((item for item in emails if item.text == "*"), None)
    if everyone_of is not None and file is not None and file.value:
        yield found("filter-fails-open", everyone_of.setting, "* lets in everybody whom the provider knows, "
                    f"and the addresses in {file.path} restrict nobody.",
                    title="The list of e-mail addresses has no effect",
                    severity="warning", line=everyone_of.line, mend='Leave email_domains "*" out.')  # fmt: skip


def _skips_everything(rule: str, *, routes: bool) -> bool:
    method, sign, expression = "", "", rule
    if routes:
        split = re.fullmatch(r"([^=!]*)(!?=)(.*)", rule, re.DOTALL)
        if split is not None:
            method, sign, expression = split[1], split[2], split[3]
    if method not in ("", "GET"):
        return False
    try:
        matcher = Regex(expression)
    except ValueError:
        return False
    return all(matcher.search(path) != (sign == "!=") for path in _PATHS)


def _domains(proxy: Proxy) -> Problems:
    """Domains written so that they are nobody's: they are compared as they are."""
    for item in proxy.items("whitelist_domains"):
        if item.text and not is_filled_in(item.text) and not _REDIRECTS.fullmatch(item.text):
            host = address(item.text).netloc.rpartition("@")[2]
            yield found("invalid", item.setting, f"No redirect fits {item.text!r}, and users land at / after they have "
                        "signed in: a host is needed, .host or *.host for those below it, and a port or :* where "
                        "there is one.", title=f"{item.setting.path} allows nothing: {item.text}", severity="warning",
                        line=item.line, mend=f"Write {host or '.example.com'}.",
                        edit=(item.text, host) if host else None)  # fmt: skip
    for item in proxy.items("email_domains"):
        name = item.text.rpartition("@")[2]
        if "@" in item.text and not is_filled_in(item.text):
            whom = "a domain is written without @" if item.text == f"@{name}" else "whole addresses are for a file"
            yield found("invalid", item.setting, f"No address ends in @{item.text}, so this lets nobody in: {whom}.",
                        title=f"{item.setting.path} lets nobody in: {item.text}", line=item.line,
                        mend=f"Write {name}, or name addresses in authenticated_emails_file.",
                        edit=(item.text, name) if item.text == f"@{name}" else None)  # fmt: skip


def _issuer(proxy: Proxy) -> Problems:
    setting = proxy.setting("oidc_issuer_url")
    if setting is None or not isinstance(setting.value, str) or proxy.is_set("skip_oidc_discovery", True):
        return
    if setting.value.endswith(_OWN):
        yield found("discovery-failed", setting, f"oauth2-proxy asks for {_OWN} below the issuer: it is there twice.",
                    title="The issuer is the address of its discovery document", edit=(_OWN, ""),
                    mend="Write the issuer alone.")  # fmt: skip
    skips = proxy.setting("insecure_oidc_skip_issuer_verification")
    if (
        _MANY_TENANTS.fullmatch(setting.value)
        and (skips is None or skips.value is False)
        and proxy.text("provider") in DISCOVERED
    ):
        yield found("jwt-issuer", setting, "The discovery document of many tenants names the issuer {tenantid}, "
                    "which equals none: oauth2-proxy ends at its start, and each token has its own tenant's issuer.",
                    title="The issuer of many tenants never equals a token's",
                    mend="Name your tenant in its place. For many tenants: provider entra-id, "
                    "insecure_oidc_skip_issuer_verification = true, and entra_id_allowed_tenants.",
                    confidence=_sure(proxy, "insecure_oidc_skip_issuer_verification"))  # fmt: skip


def _headers(proxy: Proxy) -> Problems:
    """An Ingress takes over headers that oauth2-proxy does not send."""
    if proxy.structured or proxy.unseen:
        return
    for guarded in proxy.guarded:
        for prefix, keys, kind in (
            ("authorization", ("set_authorization_header", "set_basic_auth"), "jwt-missing"),
            ("x-auth-request-", ("set_xauthrequest",), "invalid"),
        ):
            asked = next((name for name in guarded.headers if name.startswith(prefix)), "")
            if asked and not any(proxy.is_set(key, True) for key in keys):
                yield ConfigurationProblem(
                    origin=Origin(kind="config", source=guarded.file, line=guarded.line, quote=f"takes over {asked}"),
                    kind=kind, subject=asked,  # type: ignore[arg-type] # both are kinds
                    message=f"The Ingress hands {asked} of oauth2-proxy's answer on, and oauth2-proxy does not send it "
                    "(pass_* is for its own upstreams alone).", title=f"The application never gets {asked}",
                    mend=f"Set {keys[0]} = true.", where=Where(file=guarded.file, line=guarded.line, path=asked),
                )  # fmt: skip


def _pointless(proxy: Proxy) -> Problems:
    store, redis = proxy.setting("session_store_type"), proxy.setting("redis_connection_url")
    if redis is not None and redis.value != "" and (store is None or store.value == "cookie"):
        yield found("invalid", redis, "Sessions are in cookies unless session_store_type is redis: large ones "
                    "are split, and refused by whoever limits headers.",
                    title="Redis is named, and not used", severity="warning",
                    mend='Set session_store_type = "redis".',
                    confidence=_sure(proxy, "session_store_type"))  # fmt: skip
    own = proxy.setting("http_address")
    for item in proxy.items("upstreams"):
        if own is not None and isinstance(own.value, str) and _place(item.text) == _place(f"http://{own.value}"):
            yield found("invalid", item.setting, f"{item.text} is where oauth2-proxy itself listens ({own.path}).",
                        title="The upstream is oauth2-proxy itself", line=item.line,
                        mend="Name the application's address.")  # fmt: skip


def _place(url: str) -> tuple[str, int]:
    parts = address(url)
    return (parts.hostname or "", parts.port or 0) if parts.port else (url, -1)


_CHECKS: Final[tuple[Callable[[Proxy], Problems], ...]] = (
    _scheme, _force_https, _callback, _domain, _same_site, _cookie, _tls, _lets_in, _domains,
    _issuer, _headers, _pointless,
)  # fmt: skip
