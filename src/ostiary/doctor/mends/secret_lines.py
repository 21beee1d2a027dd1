"""Which lines of a configuration hold secrets: a patch is shown in tickets, and its context must not be one of them."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from ostiary.core.log_redaction import redacted

_NAMES: Final = (
    r".*password.*|.*private[-_]?key.*|client[-_]?secret|cookie[-_]?secret|github[-_]token|jwt[-_]?key|signature[-_]key"
)
_SENSITIVE: Final = re.compile(
    rf"^(inline_?string|inline_?bytes|{_NAMES}|(?:oauth2_proxy_)(?:{_NAMES})|secret|secrets|secret_?source|token|hmac|"
    r"authorization|x-api-key)$",
    re.IGNORECASE,
)
"""Keys whose value may be one. A file's name below such a key is none, and is left out all the same."""
_WRITTEN: Final = re.compile(
    r"""(?:^|[\s"'\[{,-])(?:--?|OAUTH2_PROXY_)?(?:client[-_]?secret|cookie[-_]?secret|[\w-]*password|github[-_]token"""
    r"""|jwt[-_]key|signature[-_]key)["']?\s*[=:\s]\s*(?P<value>\S.*)?$""",
    re.IGNORECASE,
)
"""The same in a line of any other kind of file: TOML, a command line, a variable."""
_VARIABLE: Final = re.compile(r"\bOAUTH2_PROXY_[A-Z_]+=")
"""Looks like one of its cookies, and is none; those that hold a secret are named above."""
_KEY_BEGINS: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_KEY_ENDS: Final = re.compile(r"-----END [A-Z ]*PRIVATE KEY-----")
_LONG: Final = re.compile(r"\"\"\"|\'\'\'")
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def secret_lines(text: str) -> frozenset[int]:
    """Line numbers, counted from 0."""
    found = _in_lines(text)
    try:
        roots = [root for root in yaml.compose_all(text, Loader=_Loader) if root is not None]
    except (yaml.YAMLError, RecursionError):
        roots = []
    for root in roots:
        _visit(root, False, found)
    return frozenset(found)


def _in_lines(text: str) -> set[int]:
    """What each line shows by itself, and the lines of a key or of a long text that begins in a secret one."""
    found: set[int] = set()
    until: re.Pattern[str] | None = None
    next_too = False
    for number, line in enumerate(text.split("\n")):
        named = _WRITTEN.search(line)
        if until is not None or next_too or named is not None or _shows(line):
            found.add(number)
        next_too = named is not None and named["value"] is None
        if until is not None:
            until = None if until.search(line) else until
        elif _KEY_BEGINS.search(line):
            found.add(number)
            until = None if _KEY_ENDS.search(line) else _KEY_ENDS
        elif named is not None and len(_LONG.findall(line)) == 1:
            until = _LONG
    return found


def _shows(text: str) -> bool:
    plain = _VARIABLE.sub("", text)
    return redacted(plain) != plain


def _visit(node: yaml.Node, secret: bool, found: set[int]) -> None:
    if isinstance(node, yaml.MappingNode):
        names = {key.value: value.value for key, value in node.value if isinstance(value, yaml.ScalarNode)}
        variable = bool(_SENSITIVE.match(str(names.get("name", ""))))  # - name: OAUTH2_PROXY_CLIENT_SECRET
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            inner = variable if name == "value" else bool(_SENSITIVE.match(name))
            _visit(value, secret or inner, found)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _visit(item, secret, found)
    elif node.value and (secret or _shows(node.value)):  # `https://user:password@host`, a token
        found.update(range(node.start_mark.line, node.end_mark.line + 1))
