"""One change in a YAML or JSON text, made where it belongs: comments, order and style of everything else stay.

Dumping the parsed tree again would move comments, quotes and line breaks, and drown the one line that matters. So the
text itself is edited: the parser says where a key stands and how its mapping is written (block or flow), and the new
lines take their indentation from it. The result is read again; an edit that does not give exactly the tree that was
wanted is refused.
"""

from __future__ import annotations

import json
from typing import Any, Final

import yaml

from ostiary.doctor.finding import Edit, Value
from ostiary.doctor.mends.yaml_tree import LOADER, Step, child, documents, follow, last_index, steps
from ostiary.model.errors import OstiaryError

_BESIDE: Final = {
    "dns_lookup_family": ("type", "connect_timeout", "name"),
    "connect_timeout": ("type", "name"),
    "sni": ("@type", "name"),
    "default_expires_in": ("token_endpoint", "authorization_endpoint"),
    "auth_scopes": ("redirect_uri", "authorization_endpoint"),
}
"""A new key is written behind the first of these that is there: a reader looks for it among its kind."""
_PLAIN_NUMBERS: Final = (int, float)


class EditRefused(OstiaryError):
    """The text can't be changed this way by a program: it has to be done by hand."""


def apply(text: str, edit: Edit) -> str:
    """The text with the change in it. Raises EditRefused, or ConfigError for a text that is not YAML."""
    newline = "\r\n" if "\r\n" in text else "\n"
    mark = text[: text.startswith("\ufeff")]  # a byte order mark, which the parser's indices leave out
    plain = text[len(mark) :].replace("\r\n", "\n")
    roots = [root for root in documents(plain, edit.file) if root is not None]
    if edit.document >= len(roots):
        raise EditRefused(f"{edit.file} has no document {edit.document + 1}")
    found = follow(roots[edit.document], steps(edit.path))
    if edit.operation != "set" and found.missing:
        raise EditRefused(f"{edit.file} has no {edit.path}")
    if edit.operation == "replace":
        changed = _replace(plain, found.node, edit.value)
    elif edit.operation == "append":
        changed = _append(plain, found.node, edit.value)
    elif edit.operation == "remove":
        changed = _remove(plain, found.node, edit.key)
    else:
        changed = _set(plain, found.node, found.missing, edit)
    _check(plain, changed, edit)
    return mark + changed.replace("\n", newline)


def _set(text: str, node: yaml.Node, missing: tuple[Step, ...], edit: Edit) -> str:
    key, value = edit.key, edit.value
    for step in reversed(missing):
        if isinstance(step, int):
            raise EditRefused(f"{edit.file} has no {edit.path}")
        key, value = step, {key: value}
    if not isinstance(node, yaml.MappingNode):
        raise EditRefused(f"{edit.path} is no mapping")
    there = child(node, key)
    if there is not None:
        return _replace(text, there, value, edit.comment)
    if node.flow_style or not node.value:
        return _set_in_flow(text, node, key, value)
    return _insert(text, node, key, value, edit.comment)


def _replace(text: str, node: yaml.Node, value: Value, comment: str = "") -> str:
    start, end = node.start_mark.index, last_index(node)
    inline = isinstance(value, (str, bool, *_PLAIN_NUMBERS)) or value is None or _in_flow(text, node)
    if inline or isinstance(node, yaml.ScalarNode):
        line_end = text.find("\n", end)
        rest = text[end : line_end if line_end >= 0 else len(text)]
        said = f"  # {comment}" if comment and not rest.strip() and not _in_flow(text, node) else ""
        return text[:start] + _flow(value, _is_json(text)) + said + text[end:]
    column: int = node.start_mark.column
    return text[:start] + _block(value, column).lstrip() + text[end:]


def _insert(text: str, node: yaml.MappingNode, key: str, value: Value, comment: str) -> str:
    """A new line in a block mapping, behind its nearest kin or at its end."""
    beside = next((name for name in _BESIDE.get(key, ()) if isinstance(child(node, name), yaml.ScalarNode)), None)
    after = child(node, beside) if beside is not None else node
    assert after is not None
    end = text.find("\n", last_index(after))
    end = end if end >= 0 else len(text)
    column: int = node.value[0][0].start_mark.column
    lines = _block({key: value}, column)
    if comment and "\n" not in lines:
        lines += f"  # {comment}"
    return text[:end] + "\n" + lines + text[end:]


def _set_in_flow(text: str, node: yaml.MappingNode, key: str, value: Value) -> str:
    as_json = _is_json(text)
    name = json.dumps(key) if as_json else _flow(key, False)
    entry = f"{name}: {_flow(value, as_json)}"
    if not node.value and not node.flow_style:
        raise EditRefused(f"an empty value stands where {key} belongs")
    if not node.value:
        return f"{text[: node.start_mark.index]}{{{entry}}}{text[node.end_mark.index :]}"
    end = last_index(node.value[-1][1])
    separator = ", "
    if node.start_mark.line != node.end_mark.line:  # one key a line
        separator = ",\n" + " " * node.value[-1][0].start_mark.column
    return text[:end] + separator + entry + text[end:]


def _append(text: str, node: yaml.Node, value: Value) -> str:
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        raise EditRefused("there is no list to append to")
    end = last_index(node.value[-1])
    if node.flow_style:
        return f"{text[:end]}, {_flow(value, _is_json(text))}{text[end:]}"
    line_end = text.find("\n", end)
    line_end = line_end if line_end >= 0 else len(text)
    dash = node.value[0].start_mark.column - 2
    item = _block(value, dash + 2).lstrip()
    return f"{text[:line_end]}\n{' ' * dash}- {item}{text[line_end:]}"


def _remove(text: str, node: yaml.Node, key: str) -> str:
    if not isinstance(node, yaml.MappingNode):
        raise EditRefused("there is no mapping to remove from")
    place = next((i for i, (name, _) in enumerate(node.value) if name.value == key), None)
    if place is None:
        raise EditRefused(f"there is no {key} to remove")
    name, value = node.value[place]
    start, end = name.start_mark.index, last_index(value)
    if node.flow_style:
        if place + 1 < len(node.value):
            return text[:start] + text[node.value[place + 1][0].start_mark.index :]
        before = last_index(node.value[place - 1][1]) if place else start
        return text[:before] + text[end:]
    line_end = text.find("\n", end)
    line_end = line_end + 1 if line_end >= 0 else len(text)
    line_start = text.rfind("\n", 0, start) + 1
    if text[line_start:start].strip():  # `- key: value`: the next key moves up to the dash
        if place + 1 >= len(node.value):
            raise EditRefused(f"{key} is all that this item has")
        return text[:start] + text[node.value[place + 1][0].start_mark.index :]
    return text[:line_start] + text[line_end:]


def _block(value: Value, column: int) -> str:
    """The value in block style, every line indented by `column`."""
    dumped: str = yaml.safe_dump(value, sort_keys=False, default_flow_style=False, allow_unicode=True, width=1000)
    lines = dumped.removesuffix("\n").removesuffix("\n...").split("\n")
    return "\n".join(" " * column + line for line in lines)


def _flow(value: Value, as_json: bool) -> str:
    """The value on one line."""
    if as_json:
        return json.dumps(value, ensure_ascii=False)
    dumped: str = yaml.safe_dump(value, sort_keys=False, default_flow_style=True, allow_unicode=True, width=100_000)
    return dumped.removesuffix("\n").removesuffix("\n...")


def _is_json(text: str) -> bool:
    return text.lstrip()[:1] in ("{", "[")


def _in_flow(text: str, node: yaml.Node) -> bool:
    """Whether a value stands within braces or brackets, where a comment or a line break would be part of it."""
    if _is_json(text):
        return True
    line = text[text.rfind("\n", 0, node.start_mark.index) + 1 : node.start_mark.index]
    return line.count("{") > line.count("}") or line.count("[") > line.count("]")


def _check(before: str, after: str, edit: Edit) -> None:
    """The edited text must say what was wanted, and nothing else may have changed."""
    wanted = [_unshared(root) for root in yaml.load_all(before, Loader=LOADER) if root is not None]
    try:
        got = [root for root in yaml.load_all(after, Loader=LOADER) if root is not None]
    except yaml.YAMLError:
        got = None
    _apply_to_tree(wanted, edit)
    if got != wanted:
        raise EditRefused(f"{edit.file}: {edit.path} is written in a way that a program can't change safely")


def _unshared(data: Any) -> Any:
    """A copy in which an alias is no longer the thing that it names: a change there is a change here as well."""
    if isinstance(data, dict):
        return {key: _unshared(value) for key, value in data.items()}
    return [_unshared(item) for item in data] if isinstance(data, list) else data


def _apply_to_tree(roots: list[Any], edit: Edit) -> None:
    """The same change on plain data."""
    path: list[Step] = [edit.document, *steps(edit.path)]
    if edit.operation == "replace":
        _parent(roots, path)[path[-1]] = edit.value
        return
    there = _parent(roots, [*path, edit.key])
    if edit.operation == "append":
        there.append(edit.value)
    elif edit.operation == "remove":
        del there[edit.key]
    else:
        there[edit.key] = edit.value


def _parent(roots: list[Any], path: list[Step]) -> Any:
    here: Any = roots
    for step in path[:-1]:
        if isinstance(here, dict) and here.get(step) is None:
            here[step] = {}
        here = here[step]
    return here
