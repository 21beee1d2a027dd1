"""Who may enter where: the rules of the native configuration.

*Where* is `hosts`, `paths` and `methods`: the first rule that matches all three decides. *Who* is `emails`, `domains`,
`groups` and `claims`: every list that is given must hold, one member of each is enough. No rule that matches means no
access. Paths are matched on the normalised path only, at segment boundaries. Nothing here guesses: an e-mail address
that is empty fits no list, a claim that is absent fits no value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import msgspec

from ostiary.model.signin import AccessRule


class Person(Protocol):
    """What rules may ask about someone who is signed in."""

    @property
    def email(self) -> str: ...
    @property
    def groups(self) -> Sequence[str]: ...
    @property
    def claims(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome and, in words for an operator, why."""

    outcome: Literal["public", "sign_in", "admit", "deny"]
    """`sign_in`: someone has to be signed in first."""
    why: str


def judge(rules: Sequence[AccessRule], host: str, path: str, method: str, person: Person | None) -> Verdict:
    """Judge one request. `path` is normalised, `host` may carry a port, `person` is None without a session."""
    name = host_name(host)
    for index, rule in enumerate(rules):
        if _applies(rule, name, path, method):
            return _decide(rule, f"rule {index + 1}", person)
    return Verdict("deny" if person is not None else "sign_in", "no rule matches")


def host_name(authority: str) -> str:
    """The host of an authority, lower case, without port and trailing dot."""
    if authority.startswith("["):
        return authority.partition("]")[0].lower() + "]"
    return authority.partition(":")[0].rstrip(".").lower()


def host_matches(patterns: Iterable[str], host: str) -> bool:
    """Whether a name is one of `patterns`; `*.example.com` stands for any subdomain of it, not for itself."""
    return any(_name_matches(pattern.lower(), host) for pattern in patterns)


def claim_values(claims: Mapping[str, Any], path: str) -> list[str]:
    """The values of a claim as text; `a.b` walks into objects unless a claim has that very name."""
    value: Any = claims.get(path)
    if value is None:
        value = claims
        for step in path.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
    members = value if isinstance(value, list | tuple) else [value]
    return [claim_text(member) for member in members if member is not None]


def claim_text(value: Any) -> str:
    """One value as text: strings as they are, all else as JSON (`true`, `7`, `{"a":1}`)."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _applies(rule: AccessRule, host: str, path: str, method: str) -> bool:
    return (
        (not rule.hosts or host_matches(rule.hosts, host))
        and (not rule.paths or any(under(prefix, path) for prefix in rule.paths))
        and (not rule.methods or method in rule.methods)
    )


def under(prefix: str, path: str) -> bool:
    """Whether `path` is `prefix` or below it: `/admin` holds `/admin` and `/admin/x`, not `/administrator`."""
    return path == prefix or path.startswith(prefix if prefix.endswith("/") else prefix + "/")


def _decide(rule: AccessRule, name: str, person: Person | None) -> Verdict:
    if rule.deny:
        return Verdict("deny", f"{name} denies")
    if rule.public:
        return Verdict("public", f"{name} is public")
    if person is None:
        return Verdict("sign_in", f"{name} needs a signed-in user")
    missing = [what for what, holds in _conditions(rule, person) if not holds]
    if missing:
        return Verdict("deny", f"{name} asks for {' and '.join(missing)}")
    return Verdict("admit", f"{name} admits")


def _conditions(rule: AccessRule, person: Person) -> Iterable[tuple[str, bool]]:
    email = person.email.lower()
    if rule.emails:
        yield "one of its e-mail addresses", email != "" and email in {one.lower() for one in rule.emails}
    if rule.domains:
        yield "one of its e-mail domains", host_matches(rule.domains, _domain(email))
    if rule.groups:
        yield "one of its groups", not set(rule.groups).isdisjoint(person.groups)
    for claim, wanted in rule.claims.items():
        yield f"another value of claim {claim!r}", not set(wanted).isdisjoint(claim_values(person.claims, claim))


def _domain(email: str) -> str:
    local, at, domain = email.rpartition("@")
    return domain if at and local and "@" not in local else ""


def _name_matches(pattern: str, name: str) -> bool:
    if pattern.startswith("*."):
        return len(name) > len(pattern) - 1 and name.endswith(pattern[1:])
    return name != "" and name == pattern
