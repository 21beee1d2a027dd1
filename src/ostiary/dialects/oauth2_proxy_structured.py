"""oauth2-proxy's structured configuration (`--alpha-config`, YAML) to settings: its keys, their types, and their rules.

Keys are compared without regard to case, and an unknown one is refused, as is text without quotes that looks like a
number where text is needed: unlike the other file, this one is read strictly. A setting that has a key there as well
gets that key's option (`providers[0].clientID` is `client_id`), so that one judgement serves both.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterator
from collections.abc import Mapping as MappingType
from typing import Final

from ostiary.dialects.oauth2_proxy_options import BY_KEY, Value
from ostiary.dialects.oauth2_proxy_values import Mistake, Refused, Setting, duration, is_filled_in
from ostiary.dialects.yaml_nodes import Mapping, Node, Scalar, Sequence, kind, parse_all
from ostiary.model.errors import ConfigError, Diagnostic

_SECRET: Final = {"value": "bytes", "fromEnv": "text", "fromFile": "text"}
_HEADER: Final = {
    "name": "text", "preserveRequestValue": "bool", "InsecureSkipHeaderNormalization": "bool", "values": "[HeaderValue",
}  # fmt: skip
_SERVER: Final = {"bindAddress": "text", "secureBindAddress": "text", "tls": "TLS"}
_MESSAGES: Final[MappingType[str, MappingType[str, str]]] = {
    "": {
        "upstreamConfig": "UpstreamConfig", "injectRequestHeaders": "[Header", "injectResponseHeaders": "[Header",
        "server": "Server", "metricsServer": "Server", "providers": "[Provider",
    },
    "UpstreamConfig": {"proxyRawPath": "bool", "upstreams": "[Upstream"},
    "Upstream": {
        "id": "text", "path": "text", "rewriteTarget": "text", "uri": "text", "insecureSkipTLSVerify": "bool",
        "static": "bool", "staticCode": "integer", "flushInterval": "duration", "passHostHeader": "bool",
        "proxyWebSockets": "bool", "timeout": "duration", "disableKeepAlives": "bool",
    },
    "Header": _HEADER,
    "HeaderValue": {"secretSource": "Secret", "claimSource": "Claim"},
    "Secret": _SECRET,
    "Claim": {"claim": "text", "prefix": "text", "basicAuthPassword": "Secret"},
    "Server": _SERVER,
    "TLS": {"key": "Secret", "cert": "Secret", "minVersion": "text", "cipherSuites": "[text"},
    "Provider": {
        "id": "text", "provider": "text", "name": "text", "clientID": "text", "clientSecret": "text",
        "clientSecretFile": "text", "caFiles": "[text", "useSystemTrustStore": "bool", "loginURL": "text",
        "loginURLParameters": "[LoginParameter", "authRequestResponseMode": "text", "redeemURL": "text",
        "profileURL": "text", "skipClaimsFromProfileURL": "bool", "resource": "text", "validateURL": "text",
        "scope": "text", "allowedGroups": "[text", "code_challenge_method": "text", "additionalClaims": "[text",
        "backendLogoutURL": "text", "oidcConfig": "OIDC", "keycloakConfig": "Keycloak", "azureConfig": "Azure",
        "microsoftEntraIDConfig": "Entra", "ADFSConfig": "ADFS", "bitbucketConfig": "Bitbucket",
        "githubConfig": "GitHub", "gitlabConfig": "GitLab", "googleConfig": "Google", "loginGovConfig": "LoginGov",
    },
    "LoginParameter": {"name": "text", "default": "[text", "allow": "[LoginRule"},
    "LoginRule": {"value": "text", "pattern": "text"},
    "OIDC": {
        "issuerURL": "text", "insecureAllowUnverifiedEmail": "bool", "insecureSkipIssuerVerification": "bool",
        "insecureSkipNonce": "bool", "skipDiscovery": "bool", "jwksURL": "text", "publicKeyFiles": "[text",
        "emailClaim": "text", "groupsClaim": "text", "userIDClaim": "text", "audienceClaims": "[text",
        "extraAudiences": "[text", "enabledSigningAlgs": "[text",
    },
    "Keycloak": {"groups": "[text", "roles": "[text"},
    "Azure": {"tenant": "text", "graphGroupField": "text"},
    "Entra": {"allowedTenants": "[text", "federatedTokenAuth": "bool"},
    "ADFS": {"skipScope": "bool"},
    "Bitbucket": {"team": "text", "repository": "text"},
    "GitHub": {"org": "text", "team": "text", "repo": "text", "token": "text", "users": "[text"},
    "GitLab": {"group": "[text", "projects": "[text"},
    "Google": {
        "group": "[text", "adminEmail": "text", "serviceAccountJson": "text", "targetPrincipal": "text",
        "useApplicationDefaultCredentials": "bool", "useOrganizationID": "bool", "adminAPIUserScope": "text",
    },
    "LoginGov": {"jwtKey": "text", "jwtKeyFile": "text", "pubjwkURL": "text"},
}  # fmt: skip
KEYS: Final = frozenset(key.lower() for key in _MESSAGES[""])
"""Its top-level keys, in lower case."""
_SAME_AS: Final = {
    "providers[0].clientID": "client_id", "providers[0].clientSecret": "client_secret",
    "providers[0].clientSecretFile": "client_secret_file", "providers[0].provider": "provider",
    "providers[0].caFiles": "provider_ca_files", "providers[0].useSystemTrustStore": "use_system_trust_store",
    "providers[0].loginURL": "login_url", "providers[0].redeemURL": "redeem_url",
    "providers[0].profileURL": "profile_url", "providers[0].validateURL": "validate_url",
    "providers[0].scope": "scope", "providers[0].allowedGroups": "allowed_groups",
    "providers[0].code_challenge_method": "code_challenge_method",
    "providers[0].oidcConfig.issuerURL": "oidc_issuer_url", "providers[0].oidcConfig.jwksURL": "oidc_jwks_url",
    "providers[0].oidcConfig.skipDiscovery": "skip_oidc_discovery",
    "providers[0].oidcConfig.publicKeyFiles": "oidc_public_key_files",
    "providers[0].oidcConfig.insecureSkipIssuerVerification": "insecure_oidc_skip_issuer_verification",
    "providers[0].oidcConfig.enabledSigningAlgs": "oidc_enabled_signing_algs",
    "providers[0].oidcConfig.extraAudiences": "oidc_extra_audiences",
    "providers[0].azureConfig.tenant": "azure_tenant",
    "providers[0].microsoftEntraIDConfig.allowedTenants": "entra_id_allowed_tenants",
    "providers[0].microsoftEntraIDConfig.federatedTokenAuth": "entra_id_federated_token_auth",
    "providers[0].googleConfig.group": "google_groups", "providers[0].githubConfig.org": "github_org",
    "providers[0].githubConfig.repo": "github_repo", "providers[0].gitlabConfig.group": "gitlab_groups",
    "server.bindAddress": "http_address", "server.secureBindAddress": "https_address",
    "server.tls.cert.fromFile": "tls_cert_file", "server.tls.key.fromFile": "tls_key_file",
    "server.tls.minVersion": "tls_min_version",
}  # fmt: skip
_NEST: Final = {
    "claim": "claimSource", "prefix": "claimSource", "basicAuthPassword": "claimSource", "value": "secretSource",
    "fromEnv": "secretSource", "fromFile": "secretSource",
}  # fmt: skip
"""Keys that stood in a header's value before 7.14, and in many examples still do."""
_BOOLEAN: Final = frozenset({"true", "True", "TRUE", "false", "False", "FALSE"})
_NUMBER: Final = re.compile(
    r"[-+]?(?:0[xob]?[\da-fA-F_]+|\d[\d_]*|(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?|\.inf|\.nan)"
)
_DATE: Final = re.compile(r"\d{4}-\d\d?-\d\d?(?:[Tt ].*)?")


def read_structured(text: bytes, file: str, *, line: int = 1) -> tuple[list[Setting], list[Mistake]]:
    """The settings of a structured configuration, and what is wrong with it. `line`: where it begins in `file`."""
    reading = _Reading(line - 1)
    try:
        documents = parse_all(text, file)
    except ConfigError as error:
        return [], [Mistake(diagnostic=reading.moved(each), kind="invalid") for each in error.diagnostics]
    if documents:
        reading.message(documents[0], "", "")
    return reading.settings, reading.mistakes


def read_node(node: Node) -> tuple[list[Setting], list[Mistake]]:
    """The same of what is already a tree (`alphaConfig.configData` of a chart's values)."""
    reading = _Reading(0)
    reading.message(node, "", "")
    return reading.settings, reading.mistakes


class _Reading:
    """One configuration as it is walked."""

    def __init__(self, before: int) -> None:
        self.settings: list[Setting] = []
        self.mistakes: list[Mistake] = []
        self._before = before

    def moved(self, found: Diagnostic) -> Diagnostic:
        """The same at its line of the whole file."""
        return Diagnostic(file=found.file, line=found.line + self._before, column=found.column, path=found.path,
                          message=found.message, mend=found.mend)  # fmt: skip

    def _wrong(self, node: Node, path: str, message: str, mend: str = "", *, unknown: bool = False, old: str = "",
               new: str = "") -> None:  # fmt: skip
        found = self.moved(node.problem(path, message, mend))
        self.mistakes.append(Mistake(diagnostic=found, kind="unknown" if unknown else "invalid", old=old, new=new))

    def message(self, node: Node, name: str, path: str) -> None:
        """A mapping of known keys."""
        if isinstance(node, Scalar) and node.is_null:
            return
        if not isinstance(node, Mapping):
            self._wrong(node, path, f"a mapping is needed, not {kind(node)}")
            return
        fields = _MESSAGES[name]
        folded = {key.lower(): key for key in fields}
        seen: set[str] = set()
        for key, value in node:
            field = key.text if key.text in fields else folded.get(key.text.lower(), "")
            below = f"{path}.{field or key.text}" if path else field or key.text
            if not field or field in seen:
                self._unknown(key, name, below, twice=bool(field))
                continue
            seen.add(field)
            self._value(value, fields[field], below)
        for wrong, mend in _rules(name, node, seen):
            self._wrong(node, path, wrong, mend)

    def _unknown(self, key: Scalar, name: str, path: str, *, twice: bool) -> None:
        message, near = f"there is no key '{key.text}'", ""
        if twice:
            message, mend = f"the key '{key.text}' is there twice: case makes no difference", "remove one of them"
        elif name == "HeaderValue" and key.text in _NEST:
            mend = f"write it below {_NEST[key.text]}"
        elif not name and key.text == "upstreams":
            mend = "write it below upstreamConfig"
        else:
            folded = {each.lower(): each for each in _MESSAGES[name]}
            near = next(iter(difflib.get_close_matches(key.text.lower()[:64], folded, 1, 0.75)), "")
            near = folded.get(near, "")
            mend = f"write {near}" if near else f"known are {', '.join(_MESSAGES[name])}"
        self._wrong(key, path, message, mend, unknown=not twice, old=key.text if near else "", new=near)

    def _value(self, node: Node, wanted: str, path: str) -> None:
        if isinstance(node, Scalar) and node.is_null:
            return
        if wanted.startswith("["):
            self._list(node, wanted[1:], path)
        elif wanted in _MESSAGES:
            self.message(node, wanted, path)
        else:
            self._keep(path, self._scalar(node, wanted, path), node)

    def _list(self, node: Node, wanted: str, path: str) -> None:
        if not isinstance(node, Sequence):
            self._wrong(node, path, f"a list is needed, not {kind(node)}", "write it behind a dash: `- ...`")
            return
        if wanted != "text":
            for index, item in enumerate(node):
                self.message(item, wanted, f"{path}[{index}]")
            if wanted == "Provider":
                self._providers(node, path)
            elif wanted == "Upstream":
                self._upstreams(node, path)
            elif wanted == "Header":
                self._headers(node, path)
            return
        items = [(self._scalar(item, "text", f"{path}[{index}]"), item) for index, item in enumerate(node)]
        if all(isinstance(value, str) for value, _ in items):
            self._keep(path, tuple(str(value) for value, _ in items), node, [item for _, item in items])

    def _keep(self, path: str, value: Value | None, node: Node, items: list[Node] | None = None) -> None:
        option = BY_KEY.get(_SAME_AS.get(path, ""))
        if option is not None:
            lines = tuple(item.line + self._before for item in items or ())
            self.settings.append(
                Setting(option=option, value=value, source="structured", file=node.file, line=node.line + self._before,
                        column=node.column, path=path, lines=lines)
            )  # fmt: skip

    def _scalar(self, node: Node, wanted: str, path: str) -> Value | None:
        if not isinstance(node, Scalar):
            if wanted != "bytes":
                self._wrong(node, path, f"{_NAMES[wanted]} is needed, not {kind(node)}")
            return None
        if is_filled_in(node.text):
            return None
        is_text = not node.plain or not (
            node.text in _BOOLEAN or _NUMBER.fullmatch(node.text) or _DATE.fullmatch(node.text)
        )
        if wanted in ("text", "bytes"):
            if not is_text:
                self._wrong(node, path, "text is needed, and this is read as something else", "put it in quotes")
            return node.text if is_text else None
        if wanted == "duration":
            return self._duration(node, path, is_text)
        good = node.plain and (
            node.text in _BOOLEAN if wanted == "bool" else re.fullmatch(r"[-+]?\d+", node.text) is not None
        )
        if not good:
            self._wrong(node, path, f"{_NAMES[wanted]} is needed, without quotes")
            return None
        return node.text.lower() == "true" if wanted == "bool" else int(node.text)

    def _duration(self, node: Scalar, path: str, is_text: bool) -> float | None:
        try:
            if is_text:
                return duration(node.text)
            if "." in node.text:
                return float(node.text)
        except (Refused, ValueError) as error:
            self._wrong(node, path, str(error))
            return None
        self._wrong(node, path, "a number without a unit is nanoseconds", f"write {node.text}s")
        return None

    def _upstreams(self, node: Sequence, path: str) -> None:
        """They are settings together: `upstreams` of the other file."""
        whole: list[tuple[str, Node]] = []
        seen: dict[tuple[str, str], int] = {}
        for index, item in enumerate(node):
            uri = _get(item, "uri")
            if isinstance(uri, Scalar) and not is_filled_in(uri.text):
                whole.append((uri.text, uri))
            for key in ("id", "path"):
                value = _get(item, key)
                if not isinstance(value, Scalar):
                    continue
                if (key, value.text) in seen:
                    message = f"the upstream in line {seen[key, value.text]} has the same {key}"
                    self._wrong(value, f"{path}[{index}].{key}", message, "give each one of its own")
                seen[key, value.text] = value.line + self._before
        self.settings.append(
            Setting(option=BY_KEY["upstreams"], value=tuple(text for text, _ in whole), source="structured",
                    file=node.file, line=node.line + self._before, path=path,
                    lines=tuple(uri.line + self._before for _, uri in whole))
        )  # fmt: skip

    def _providers(self, node: Sequence, path: str) -> None:
        """Of several only the first is used; of none oauth2-proxy ends with a panic."""
        if not len(node):
            self._wrong(node, path, "a provider is needed", "add one, with id, provider, clientID and clientSecret")
        for item in node.items[1:]:
            found = self.moved(item.problem(path, "only the first provider is used", "remove the others"))
            self.mistakes.append(Mistake(diagnostic=dataclasses.replace(found, severity="warning"), kind="invalid"))

    def _headers(self, node: Sequence, path: str) -> None:
        seen: dict[str, int] = {}
        for index, item in enumerate(node):
            name = _get(item, "name")
            if isinstance(name, Scalar):
                if name.text in seen:
                    message = f"the header of that name is in line {seen[name.text]} already"
                    self._wrong(name, f"{path}[{index}].name", message, "put the values below one name")
                seen[name.text] = name.line + self._before


_NAMES: Final = {
    "text": "text", "bytes": "text", "bool": "true or false", "integer": "a whole number", "duration": "a duration",
}  # fmt: skip
_ONE_SOURCE: Final = {"HeaderValue": ("secretSource", "claimSource"), "Secret": ("value", "fromEnv", "fromFile")}
_NEEDED: Final = {"Upstream": ("id", "path"), "Header": ("name",), "Provider": ("id",), "Claim": ("claim",)}


def _rules(name: str, node: Mapping, seen: set[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with a mapping as a whole: (message, mend)."""
    for key in _NEEDED.get(name, ()):
        if key not in seen:
            yield f"it has no {key}, and needs one", f"add {key}"
    sources = _ONE_SOURCE.get(name)
    if sources and len(seen.intersection(sources)) != 1 and (seen or not len(node)):
        yield f"one of {', '.join(sources)} is needed, and not several", ""
    if name == "Upstream":
        static = _get(node, "static")
        is_static = isinstance(static, Scalar) and static.text.lower() == "true"
        if not is_static and "uri" not in seen:
            yield "it has no uri, and is no static one", "add uri, or static: true"
        if not is_static and "staticCode" in seen:
            yield "staticCode is for a static upstream", "add static: true, or remove it"


def _get(node: Node, key: str) -> Node | None:
    if not isinstance(node, Mapping):
        return None
    return next((value for name, value in node if name.text.lower() == key.lower()), None)
