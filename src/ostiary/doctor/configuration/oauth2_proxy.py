"""oauth2-proxy's configuration file (TOML) to facts: where its provider is, what it is told, and whether it can start.

Only what the doctor judges is read; the proxy's other options say nothing about why a sign-in fails. Its structured
(YAML) configuration is not read, and that is told.
"""

from __future__ import annotations

import base64
import binascii
import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from ostiary.doctor.facts.configuration import ClusterSeen, ConfigurationProblem, OAuth2Seen, ProblemKind
from ostiary.doctor.facts.origin import Fact, Origin
from ostiary.doctor.finding import Where
from ostiary.model import limits
from ostiary.model.secret import Secret
from ostiary.model.tls import DataSource

_AES_KEYS: Final = (16, 24, 32)
"""Bytes that a cookie_secret may have, raw or as URL-safe base64."""


def proxy_facts(file: str, content: bytes) -> list[Fact]:
    """The facts of one file. Never raises for what it holds."""
    try:
        text = content.decode()
        options = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError):
        message = "This is oauth2-proxy's structured configuration, or no TOML: the doctor reads its TOML file alone."
        return [_problem(file, 1, "", "invalid", message, "Give its log with --log, or its TOML file.")]
    found: list[Fact] = []
    issuer, token = _text(options, "oidc_issuer_url"), _text(options, "redeem_url")
    where = _split(token or issuer)
    if where.hostname:
        found.append(_provider(file, text, options, token or issuer))
    secret = options.get("client_secret")
    found.append(
        OAuth2Seen(
            origin=Origin(kind="config", source=file, line=_line(text, "oidc_issuer_url"), quote=f"issuer {issuer}"),
            token_endpoint=token,
            token_cluster=where.hostname or "",
            authorization_endpoint=_text(options, "login_url"),
            redirect_uri=_text(options, "redirect_url"),
            scopes=tuple(_text(options, "scope").split()) or ("openid", "email", "profile"),
            issuer=issuer,
            client_id=_text(options, "client_id"),
            client_secret=DataSource(inline=Secret(secret.encode())) if isinstance(secret, str) and secret else None,
        )
    )
    cookie = options.get("cookie_secret")
    if isinstance(cookie, str) and not _is_key(cookie):
        message = f"cookie_secret has {len(cookie)} characters: 16, 24 or 32 bytes are needed, raw or as base64."
        found.append(_problem(file, _line(text, "cookie_secret"), "cookie_secret", "secret-invalid", message))
    return found


def _provider(file: str, text: str, options: Mapping[str, Any], url: str) -> ClusterSeen:
    parts = _split(url)
    verified = options.get("ssl_insecure_skip_verify") is not True
    key = "redeem_url" if _text(options, "redeem_url") else "oidc_issuer_url"
    return ClusterSeen(
        origin=Origin(
            kind="config", source=file, line=_line(text, key), quote=f"{key} {parts.scheme}://{parts.netloc}"
        ),
        name=parts.hostname or "",
        hosts=(parts.hostname or "",),
        port=_port(url),
        type="native",
        lookup_family="ALL",
        family_written=False,
        connect_timeout=limits.CONNECT_TIMEOUT,
        tls=parts.scheme == "https",
        sni=parts.hostname or "",
        has_ca=verified,
        checks_name=verified,
    )


def _split(url: str) -> SplitResult:
    """The parts of a URL; of what is none, nothing."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _port(url: str) -> int:
    parts = _split(url)
    try:
        return parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return 0


def _text(options: Mapping[str, Any], key: str) -> str:
    value = options.get(key)
    return value if isinstance(value, str) else ""


def _line(text: str, key: str) -> int:
    found = re.search(rf"^[ \t]*{key}[ \t]*=", text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found is not None else 1


def _is_key(secret: str) -> bool:
    if len(secret.encode()) in _AES_KEYS:
        return True
    try:
        return len(base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4))) in _AES_KEYS
    except (binascii.Error, ValueError):
        return False


def _problem(file: str, line: int, path: str, kind: ProblemKind, message: str, mend: str = "") -> ConfigurationProblem:
    return ConfigurationProblem(
        origin=Origin(kind="config", source=file, line=line, quote=message),
        kind=kind,
        subject=path or "oauth2-proxy",
        message=message,
        mend=mend,
        where=Where(file=file, line=line, path=path),
    )
