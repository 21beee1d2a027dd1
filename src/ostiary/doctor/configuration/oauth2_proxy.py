"""oauth2-proxy's configuration, whatever it is written in, to facts: its provider, what it is told, what is wrong.

`dialects.oauth2_proxy` reads it; what starts at all is judged in `oauth2_proxy_refusals`, what then works in
`oauth2_proxy_sense`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ostiary.dialects.oauth2_proxy import Proxy, read
from ostiary.dialects.oauth2_proxy_providers import ADDRESSES, DISCOVERED, SCOPES
from ostiary.doctor.configuration.oauth2_proxy_findings import address, of_mistakes, quoted
from ostiary.doctor.configuration.oauth2_proxy_refusals import refusals
from ostiary.doctor.configuration.oauth2_proxy_sense import senseless
from ostiary.doctor.facts.configuration import ClusterSeen, OAuth2Seen
from ostiary.doctor.facts.origin import Fact, Origin
from ostiary.model import limits
from ostiary.model.secret import Secret
from ostiary.model.tls import CertificateValidationContext, DataSource, UpstreamTlsContext

_SCOPE = "openid email profile"


def proxy_facts(files: Sequence[tuple[str, bytes]]) -> list[Fact]:
    """The facts of files (name, content) that configure or start oauth2-proxy. Never raises for what they hold."""
    facts: list[Fact] = []
    for proxy in read(files):
        facts += [*_provider(proxy), *of_mistakes(proxy), *refusals(proxy), *senseless(proxy)]
    return facts


def _provider(proxy: Proxy) -> list[Fact]:
    """Where its provider is, and what it asks there."""
    kind = proxy.text("provider")
    if proxy.setting("provider") is None and proxy.unseen and proxy.setting("oidc_issuer_url") is not None:
        kind = "oidc"  # whatever names an issuer is none of the providers without one
    issuer = proxy.text("oidc_issuer_url") if kind in DISCOVERED else ""
    discovers = bool(issuer) and not proxy.is_set("skip_oidc_discovery", True)
    known = ADDRESSES.get(kind, ("", "")) if proxy.setting("client_id") is not None else ("", "")
    login = "" if discovers else proxy.text("login_url") or known[0]
    token = "" if discovers else proxy.text("redeem_url") or known[1]
    secret = proxy.setting("client_secret")
    file = proxy.text("client_secret_file")
    source = DataSource(inline=Secret(secret.value)) if secret is not None and isinstance(secret.value, str) else None
    if secret is None and file:
        source = DataSource(filename=file)
    cluster = _cluster(proxy, token or issuer)
    seen = OAuth2Seen(
        origin=_origin(proxy, "oidc_issuer_url" if issuer else "redeem_url"),
        token_endpoint=token,
        token_cluster=cluster.name if cluster is not None else "",
        authorization_endpoint=login,
        redirect_uri=proxy.text("redirect_url"),
        scopes=tuple((proxy.text("scope") or SCOPES.get(kind, _SCOPE)).split()),
        issuer=issuer if discovers else "",
        client_id=proxy.text("client_id"),
        client_secret=source,
        plain_http=True,
    )
    return [seen] if cluster is None else [cluster, seen]


def _cluster(proxy: Proxy, url: str) -> ClusterSeen | None:
    parts = address(url)
    host = parts.hostname
    if not host:
        return None
    files = [item.text for item in proxy.items("provider_ca_files")]
    # Several files, or the system's beside them, are no CA that can be had here in one: then nothing is concluded.
    alone = len(files) == 1 and not proxy.is_set("use_system_trust_store", True)
    ca = DataSource(filename=files[0] if alone else "") if files else None
    verified = not proxy.is_set("ssl_insecure_skip_verify", True)
    tls = UpstreamTlsContext(
        validation_context=CertificateValidationContext(trusted_ca=ca)
        if verified
        else CertificateValidationContext(accept_untrusted=True)
    )
    return ClusterSeen(
        origin=_origin(proxy, "oidc_issuer_url" if url == proxy.text("oidc_issuer_url") else "redeem_url"),
        name=host,
        hosts=(host,),
        port=parts.port or (443 if parts.scheme == "https" else 80),
        type="native",
        lookup_family="ALL",
        family_written=False,
        connect_timeout=limits.CONNECT_TIMEOUT,
        tls=parts.scheme == "https",
        sni=host,
        has_ca=True,
        checks_name=True,
        tls_context=tls if parts.scheme == "https" else None,
    )


def _origin(proxy: Proxy, key: str) -> Origin:
    setting = proxy.setting(key) or proxy.setting("provider")
    if setting is None:
        return Origin(kind="config", source=proxy.file, line=proxy.line, quote=proxy.name)
    return Origin(kind="config", source=setting.file, line=setting.line, quote=quoted(setting))
