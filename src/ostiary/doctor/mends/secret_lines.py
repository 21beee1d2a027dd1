"""Which lines of a configuration hold secrets: a patch is shown in tickets, and its context must not be one of them."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from ostiary.core.redaction import redacted

_SENSITIVE: Final = re.compile(
    r"^(inline_?string|inline_?bytes|.*password.*|.*private_?key.*|client_?secret|cookie_?secret|secret|secrets|token|"
    r"hmac|authorization|x-api-key)$",
    re.IGNORECASE,
)
"""Keys whose value may be one. A file's name below such a key is none, and is left out all the same."""
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def secret_lines(text: str) -> frozenset[int]:
    """Line numbers, counted from 0. Everything, if the text can't be read."""
    try:
        roots = [root for root in yaml.compose_all(text, Loader=_Loader) if root is not None]
    except yaml.YAMLError:
        return frozenset(range(text.count("\n") + 1))
    found: set[int] = set()
    for root in roots:
        _visit(root, False, found)
    return frozenset(found)


def _visit(node: yaml.Node, secret: bool, found: set[int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            _visit(value, secret or bool(_SENSITIVE.match(name)), found)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _visit(item, secret, found)
    elif node.value and (secret or redacted(node.value) != node.value):  # `https://user:password@host`, a token
        found.update(range(node.start_mark.line, node.end_mark.line + 1))
