"""Cookies as Envoy's OAuth2 filter reads and writes them, and the Cookie header that goes on to the application.

Reading follows Envoy: split at `;`, trim, split at the first `=`, the first of a name wins, surrounding quotes go.
Rewriting does not: Envoy rebuilds the header from a hash map, which loses order, quotes, duplicates and cookies
without a value. Here every cookie of the application stays as it was sent; only the filter's own are edited.

A name of ours that comes twice, or spelt with space around it, is a second opinion about who the user is: an
application that reads the other one would believe a value nobody has checked, so only the checked one goes on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from ostiary.model import limits
from ostiary.model.headers import Headers
from ostiary.model.oauth2 import CookieConfig, CookieConfigs, CookieNames, SameSite

_SAME_SITE: Final[Mapping[SameSite, str]] = {
    "DISABLED": "",
    "STRICT": ";SameSite=Strict",
    "LAX": ";SameSite=Lax",
    "NONE": ";SameSite=None",
}
_COOKIE_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_SPACE: Final = " \t\v\f"


def unquote(value: str) -> str:
    """Without one pair of surrounding double quotes."""
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return value[1:-1]
    return value


class RequestCookies:
    """The cookies of one request."""

    __slots__ = ("_pieces", "_values", "present")

    def __init__(self, headers: Headers) -> None:
        lines = headers.get_all("cookie")
        self.present = bool(lines)
        self._pieces = [stripped for line in lines for piece in line.split(";") if (stripped := piece.strip(_SPACE))]
        self._values: dict[str, str] = {}
        for piece in self._pieces:
            name, equals, value = piece.partition("=")
            if equals:
                self._values.setdefault(name, unquote(value))

    def get(self, name: str) -> str:
        """The first cookie of that name, without surrounding quotes; "" if there is none."""
        return self._values.get(name, "")

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def names_of(self, base: str) -> list[str]:
        """Every distinct name that is `base` or `base.<suffix>`, in the order in which they were sent.

        Only names that may stand in a Set-Cookie header: they are about to be sent back.
        """
        prefix = base + "."
        return [
            name
            for name in self._values
            if (name == base or (name.startswith(prefix) and name != prefix))
            and _COOKIE_NAME.fullmatch(name) is not None
        ]

    def rewritten(self, values: Mapping[str, str], owned: Iterable[str], owned_prefixes: tuple[str, ...]) -> str:
        """The Cookie header with `values` in place of those names, and without everything else that is `owned`.

        `values` that the request did not have are appended. An empty result means that nothing is left.
        """
        missing = dict(values)
        drop = frozenset(owned) | values.keys()
        kept: list[str] = []
        for piece in self._pieces:
            name = piece.partition("=")[0].strip()
            if name in missing:
                kept.append(f"{name}={missing.pop(name)}")
            elif name not in drop and not name.startswith(owned_prefixes):
                kept.append(piece)
        kept += [f"{name}={value}" for name, value in missing.items()]
        return "; ".join(kept)


class CookieWriter:
    """The filter's Set-Cookie lines, byte for byte as Envoy writes them (RFC 6265 section 4.1)."""

    def __init__(self, names: CookieNames, configs: CookieConfigs, domain: str) -> None:
        self.names = names
        self._domain = domain
        self._config: dict[str, CookieConfig] = {
            names.bearer_token: configs.bearer_token,
            names.oauth_hmac: configs.oauth_hmac,
            names.oauth_expires: configs.oauth_expires,
            names.id_token: configs.id_token,
            names.refresh_token: configs.refresh_token,
            names.oauth_nonce: configs.oauth_nonce,
            names.code_verifier: configs.code_verifier,
        }

    def set(self, name: str, value: str, max_age: int, *, suffix: str = "") -> tuple[str, str]:
        """A Set-Cookie header; `suffix` (with its dot) names one sign-in's own copy. `max_age` in seconds."""
        config = self._config[name]
        domain = f";domain={self._domain}" if self._domain else ""
        partitioned = ";Partitioned" if config.partitioned else ""
        attributes = f"{domain};path={config.path or '/'};Max-Age={max_age};secure;HttpOnly"
        return "set-cookie", f"{name}{suffix}={value}{attributes}{_SAME_SITE[config.same_site]}{partitioned}"

    def delete(self, name: str, *, suffix: str = "") -> tuple[str, str]:
        """A Set-Cookie header that ends a cookie.

        Browsers ignore it for `__Secure-` and `__Host-` names without `Secure`, and for partitioned cookies without
        `Partitioned` (which also wants `Secure`), so both are there wherever the cookie needs them.
        """
        config = self._config[name]
        domain = f";domain={self._domain}" if self._domain else ""
        prefixed = name.startswith(("__Secure-", "__Host-"))
        secure = "; Secure" if prefixed or config.partitioned else ""
        partitioned = "; Partitioned" if config.partitioned else ""
        attributes = f"; path={config.path or '/'}; expires=Thu, 01 Jan 1970 00:00:00 GMT{domain}"
        return "set-cookie", f"{name}{suffix}=deleted{attributes}{secure}{partitioned}"

    def set_flow(
        self, flow_id: str, nonce: str, verifier: str, nonce_age: int, verifier_age: int
    ) -> list[tuple[str, str]]:
        """The four cookies of a sign-in that begins: each one under its own name, and under the shared one."""
        names = self.names
        suffix = "." + flow_id
        return [
            self.set(names.oauth_nonce, nonce, nonce_age, suffix=suffix),
            self.set(names.oauth_nonce, nonce, nonce_age),
            self.set(names.code_verifier, verifier, verifier_age, suffix=suffix),
            self.set(names.code_verifier, verifier, verifier_age),
        ]

    def delete_flow(self, flow_id: str) -> list[tuple[str, str]]:
        """Ends the cookies of one sign-in; only the shared ones if it has no name."""
        names = self.names
        lines = []
        for name in (names.oauth_nonce, names.code_verifier):
            if flow_id:
                lines.append(self.delete(name, suffix="." + flow_id))
            lines.append(self.delete(name))
        return lines

    def delete_all_flows(self, cookies: RequestCookies) -> list[tuple[str, str]]:
        """Ends every sign-in whose cookies the request carried, MAX_FLOW_DELETIONS cookies at most."""
        lines = []
        for name in (self.names.oauth_nonce, self.names.code_verifier):
            lines += [self.delete(name, suffix=full[len(name) :]) for full in cookies.names_of(name)]
        return lines[: limits.MAX_FLOW_DELETIONS]

    def delete_oldest_flows(self, cookies: RequestCookies) -> list[tuple[str, str]]:
        """Makes room for one more sign-in. Browsers send the oldest cookie first (RFC 6265 section 5.4)."""
        names = self.names
        suffixes = [full[len(names.oauth_nonce) :] for full in cookies.names_of(names.oauth_nonce)]
        pending = [suffix for suffix in suffixes if suffix]
        surplus = len(pending) + 1 - limits.MAX_PENDING_FLOWS
        lines = []
        for suffix in pending[: max(0, surplus)]:
            lines += [self.delete(names.oauth_nonce, suffix=suffix), self.delete(names.code_verifier, suffix=suffix)]
        return lines[: limits.MAX_FLOW_DELETIONS]
