"""`access:`, `public:`, `session:` and what else makes up the native sign-in filter.

Access rules are tried in the order in which they are written, the first whose hosts, paths and methods fit decides,
and a request that fits none may not enter. `public` is short for a rule with these paths before all others.
"""

from __future__ import annotations

import re
from typing import Final, Literal, cast
from urllib.parse import urlsplit

from msgspec.structs import replace

from ostiary.core.decision import Entropy
from ostiary.core.oauth2.identity import wants_groups
from ostiary.core.oauth2.session import MIN_SECRET_BYTES, SecretInvalid, parse_secret
from ostiary.dialects.native_presets import Preset, is_loopback, read_provider
from ostiary.dialects.native_reader import Section, scalar
from ostiary.dialects.native_upstreams import check_host_pattern, path_problem
from ostiary.dialects.native_values import Value
from ostiary.model import limits
from ostiary.model.secret import Secret
from ostiary.model.signin import AccessRule, SessionConfig, SignIn
from ostiary.model.tls import DataSource

_METHOD: Final = re.compile(r"[A-Z][A-Z-]{0,31}", re.ASCII)
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}", re.ASCII)
_COOKIE_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_DOMAIN: Final = re.compile(r"(\*\.)?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", re.ASCII)
_MAKE_SECRET: Final = "make one: openssl rand -base64 32 > ostiary.secret, then secret_file: ostiary.secret"
_NOBODY_SAID: Final = "say who may enter, as in access: [{domains: [example.com]}], or access: anyone if that is meant"
_FORBIDDEN_HEADERS: Final = frozenset(
    ("host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "cookie", "expect")
)


def read_sign_in(root: Section, *, loopback: bool, entropy: Entropy) -> SignIn:
    """Read everything that the sign-in filter needs. `loopback`: nobody but this machine can connect."""
    provider, preset = read_provider(root)
    prefix = root.text("prefix", "/.ostiary").rstrip("/")
    if problem := path_problem(prefix or "/"):
        root.error("prefix", *problem)
    elif not prefix:
        root.error("prefix", "can't be the whole site", "for example /.ostiary")
    passing = root.section("pass", "pass")
    sign_in = SignIn(
        provider=provider,
        session=_session(root, loopback=loopback, entropy=entropy),
        rules=_rules(root, preset),
        external_url=_external_url(root),
        prefix=prefix,
        pass_groups=passing.flag("groups", default=True),
        pass_access_token=passing.flag("access_token", default=False),
        pass_authorization=passing.flag("authorization", default=False),
        claim_headers=_claim_headers(passing),
        sign_out_redirect=_sign_out_redirect(root),
        allowed_redirect_hosts=_domains(root, "redirect_hosts"),
    )
    return _with_group_scopes(root, sign_in, preset) if wants_groups(sign_in) else sign_in


def _with_group_scopes(root: Section, sign_in: SignIn, preset: Preset) -> SignIn:
    section, scopes = root.section("provider", "provider"), sign_in.provider.scopes
    missing = tuple(scope for scope in preset.group_scopes if scope not in scopes)
    if not section.has("scopes"):
        return replace(sign_in, provider=replace(sign_in.provider, scopes=(*scopes, *missing)))
    if missing and preset.name == "github":
        section.error("scopes", f"{missing[0]} is missing, which groups need", f"add {missing[0]}, or remove scopes")
    return sign_in


def _claim_headers(passing: Section) -> dict[str, str]:
    headers = passing.mapping("claims")
    for name in headers:
        if not _TOKEN.fullmatch(name):
            passing.error("claims", f"{name!r} can't be a header's name", "claims: {X-Department: department}")
        elif name.lower() in _FORBIDDEN_HEADERS:
            passing.error("claims", f"{name} belongs to the protocol and can't carry a claim", "choose an X- name")
    return {name.lower(): claim for name, claim in headers.items()}


def _sign_out_redirect(root: Section) -> str:
    text = root.text("sign_out_redirect", "/")
    on_site = text.startswith("/") and not text.startswith(("//", "/\\"))
    if not on_site and not re.fullmatch(r"https?://[^/\\@?#\s]+(/[^\\\s]*)?", text):
        root.error("sign_out_redirect", f"{text!r} is neither a path nor an http(s) address", "write / or https://…")
        return "/"
    return text


def _external_url(root: Section) -> str:
    text = root.text("external_url")
    if not text:
        return ""
    mend = "write it as https://app.example.com, without a path"
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        root.error("external_url", "not an address", mend)
        return ""
    if parts.scheme not in ("http", "https") or not re.fullmatch(r"[A-Za-z0-9.:_-]+", host):
        root.error("external_url", "not an absolute address", mend)
    elif parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None:
        root.error("external_url", "more than a scheme, a host and a port", mend)
    elif parts.scheme == "http" and not is_loopback(host):
        root.warning("external_url", "browsers send cookies over plain http:// to anyone listening", "use https://")
    return text.rstrip("/")


# --- who may enter


def _rules(root: Section, preset: Preset) -> tuple[AccessRule, ...]:
    public = _public(root)
    value = root.get("access")
    if value is not None and value.content == "anyone":
        rules: list[AccessRule] = [AccessRule()]
    else:
        items = root.items("access")
        if value is not None and not items and value.content is not None:
            root.error("access", "an empty list", _NOBODY_SAID)
        rules = [_rule(Section(item, path, "access", root.report)) for path, item in items]
        if not rules and preset.open_to:
            root.error("access", f"missing: {preset.open_to} could enter", _NOBODY_SAID)
        for (path, item), rule in zip(items, rules, strict=True):
            asks_nothing = replace(rule, hosts=(), paths=(), methods=()) == AccessRule()
            if asks_nothing and item.content and preset.open_to:
                root.report.error(item, path, f"admits everyone: {preset.open_to}", _NOBODY_SAID)
        _warn_unreachable(root, items, rules)
        rules = rules or [AccessRule()]
        if not preset.names_groups and any(rule.groups for rule in rules):
            root.error("access", f"{preset.name} names no groups, so a rule about them could never hold", "use emails")
    if preset.required_claims:
        rules = [_also(rule, preset) for rule in rules]
    return (*public, *rules)


def _also(rule: AccessRule, preset: Preset) -> AccessRule:
    """A rule that admits also asks for what the preset requires; the rule's own word on the same claim wins."""
    if rule.public or rule.deny:
        return rule
    return replace(rule, claims={**preset.required_claims, **rule.claims})


def _public(root: Section) -> tuple[AccessRule, ...]:
    paths = _paths(root, "public")
    if "/" in paths:
        root.error("public", "/ would make everything public, so nobody would ever sign in", "name the public parts")
    return (AccessRule(paths=paths, public=True),) if paths else ()


def _paths(section: Section, key: str) -> tuple[str, ...]:
    for path, item in section.items(key):
        text = scalar(item, path, section.report)
        if text and (problem := path_problem(text)):
            section.report.error(item, path, *problem)
    return section.texts(key)


def _domains(section: Section, key: str) -> tuple[str, ...]:
    for path, item in section.items(key):
        text = item.content
        if isinstance(text, str) and not _DOMAIN.fullmatch(text):
            section.report.error(item, path, f"{text!r} is not a domain", "write example.com or *.example.com")
    return tuple(text.lower() for text in section.texts(key))


def _rule(section: Section) -> AccessRule:
    for path, item in section.items("hosts"):
        check_host_pattern(item, path, section.report)
    methods = tuple(method.upper() for method in section.texts("methods"))
    for method in methods:
        if not _METHOD.fullmatch(method):
            section.error("methods", f"{method!r} is not a method", "write GET, POST, …")
    emails = section.texts("emails")
    for email in emails:
        if email.count("@") != 1 or email.startswith("@") or email.endswith("@"):
            section.error("emails", f"{email!r} is not an e-mail address", "a whole domain goes into domains")
    rule = AccessRule(
        hosts=tuple(host.lower() for host in section.texts("hosts")),
        paths=_paths(section, "paths"),
        methods=methods,
        public=section.flag("public", default=False),
        emails=tuple(email.lower() for email in emails),
        domains=_domains(section, "domains"),
        groups=section.texts("groups"),
        claims=section.mapping_of_lists("claims"),
        deny=section.flag("deny", default=False),
    )
    _refuse_empty(section)
    conditions = [key for key in ("emails", "domains", "groups", "claims") if section.has(key)]
    if rule.public and (conditions or rule.deny):
        other = conditions[0] if conditions else "deny"
        section.error(other, f"a public rule asks nobody who they are, so {other} can't hold", "remove one of the two")
    return rule


def _refuse_empty(section: Section) -> None:
    """`domains: []` would read as "no condition", the opposite of what an empty list of friends says."""
    for key in ("hosts", "paths", "methods", "emails", "domains", "groups"):
        if section.has(key) and not section.items(key):
            section.error(key, "an empty list", "leave the key out to mean all, or name some")
    claims = section.get("claims")
    if claims is not None and claims.content == {}:
        section.error("claims", "an empty mapping", "leave the key out to mean all, or name some")
    if section.value.content in (None, {}):
        mend = "write conditions, or access: anyone if everybody may enter"
        section.report.error(section.value, section.path, "an empty rule", mend)


def _warn_unreachable(root: Section, items: list[tuple[str, Value]], rules: list[AccessRule]) -> None:
    catch_all = next((i for i, r in enumerate(rules) if not (r.hosts or r.paths or r.methods)), len(rules))
    for path, item in items[catch_all + 1 :]:
        root.report.warning(
            item,
            path,
            f"never reached: access[{catch_all}] holds for every host and path, and the first that fits decides",
            "put rules with paths or hosts first; list several groups or domains in one rule",
        )


# --- sessions


def _session(root: Section, *, loopback: bool, entropy: Entropy) -> SessionConfig:
    section = root.section("session", "session")
    name = section.text("cookie_name", "ostiary")
    if not _COOKIE_NAME.fullmatch(name) or name.startswith(("__Host-", "__Secure-")):
        section.error("cookie_name", f"{name!r} can't be used", "letters, digits, - and _; the prefix is added")
    domain = section.text("cookie_domain").lower().lstrip(".")
    if domain and not _DOMAIN.fullmatch(domain):
        section.error("cookie_domain", f"{domain!r} is not a domain")
    keep = section.flag("keep_access_token", default=False) if section.has("keep_access_token") else None
    lifetime = section.duration("lifetime", limits.SESSION_ABSOLUTE_LIFETIME, low=60.0)
    idle = section.duration("idle_lifetime", min(limits.SESSION_IDLE_LIFETIME, lifetime), low=60.0)
    if idle > lifetime:
        section.error("idle_lifetime", "longer than lifetime, so it could never end a session", "make it shorter")
    same_site = section.choice("same_site", ("lax", "strict", "none"), "lax")
    return SessionConfig(
        secrets=_secrets(root, loopback=loopback, entropy=entropy),
        lasting=root.has("secret_file") or root.has("secret"),
        cookie_name=name,
        cookie_domain=domain,
        same_site=cast(Literal["lax", "strict", "none"], same_site),
        absolute_lifetime=lifetime,
        idle_lifetime=idle,
        refresh_margin=section.duration("refresh_margin", limits.REFRESH_MARGIN),
        keep_access_token=keep,
        keep_id_token=section.flag("keep_id_token", default=True),
    )


def _secrets(root: Section, *, loopback: bool, entropy: Entropy) -> tuple[DataSource, ...]:
    """The key ring: `secret_file` may be a list, newest first, to change keys without signing anyone out."""
    files = root.texts("secret_file")
    inline = root.text("secret")
    if inline and files:
        root.error("secret", "both secret and secret_file are given", "keep secret_file")
    if inline:
        _check_secret(root, "secret", inline.encode())
        return (DataSource(inline=Secret(inline)),)
    for filename in files:
        if (content := root.bytes_of("secret_file", filename)) is not None:
            _check_secret(root, "secret_file", content)
    if files:
        return tuple(DataSource(filename=filename) for filename in files)
    if root.has("secret_file") or root.has("secret"):
        root.error("secret_file", "empty", _MAKE_SECRET)
    elif not loopback:
        root.error("secret_file", "missing: sessions are sealed with it", _MAKE_SECRET)
    else:
        message = "missing: a random secret is used, so everyone has to sign in again after a restart"
        root.warning("secret_file", message, _MAKE_SECRET)
    return (DataSource(inline=Secret(entropy(MIN_SECRET_BYTES))),)


def _check_secret(root: Section, key: str, content: bytes) -> None:
    try:
        parse_secret(Secret(content))
    except SecretInvalid as error:
        root.error(key, str(error), _MAKE_SECRET)
