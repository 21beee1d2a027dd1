"""The rules of protoc-gen-validate, as written into Envoy's API files.

https://github.com/bufbuild/protoc-gen-validate, README "Constraint Rules". A scalar without presence is judged also
when it is not written, by its default; a wrapper, a duration or a member of a oneof only when it is written.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final

import re2

_HEADER_PATTERNS: Final = {
    ("HTTP_HEADER_NAME", True): r"^:?[0-9a-zA-Z!#$%&'*+\-.^_|~`]+$",
    ("HTTP_HEADER_NAME", False): r"^[^\x00\x0A\x0D]*$",
    ("HTTP_HEADER_VALUE", True): r"^[^\x00-\x08\x0A-\x1F\x7F]*$",
    ("HTTP_HEADER_VALUE", False): r"^[^\x00\x0A\x0D]*$",
}


@functools.cache
def _compiled(pattern: str) -> Any:
    return re2.compile(pattern)


def violations(rules: Mapping[str, Any], value: Any) -> list[str]:
    """What `value` does wrong, one sentence each; nothing if it keeps the rules of its field."""
    if rules.get("ignore_empty") and value in ("", b"", 0, [], {}):
        return []
    if isinstance(value, bool):
        return [f"must be {_json(rules['const'])}"] if "const" in rules and value != rules["const"] else []
    if isinstance(value, int | float):
        return _numeric(rules, value)
    if isinstance(value, str):
        return _text(rules, value)
    if isinstance(value, bytes):
        return _sizes(rules, len(value), "min_len", "max_len", "byte")
    if isinstance(value, list):
        problems = _sizes(rules, len(value), "min_items", "max_items", "item")
        if rules.get("unique") and len({repr(item) for item in value}) != len(value):
            problems.append("the items must differ")
        return problems
    if isinstance(value, dict):
        return _sizes(rules, len(value), "min_pairs", "max_pairs", "entry")
    return []


def _numeric(rules: Mapping[str, Any], value: float) -> list[str]:
    problems = []
    if "gt" in rules and not value > rules["gt"]:
        problems.append(f"must be greater than {_json(rules['gt'])}")
    if "gte" in rules and not value >= rules["gte"]:
        problems.append(f"must be at least {_json(rules['gte'])}")
    if "lt" in rules and not value < rules["lt"]:
        problems.append(f"must be less than {_json(rules['lt'])}")
    if "lte" in rules and not value <= rules["lte"]:
        problems.append(f"must be at most {_json(rules['lte'])}")
    return problems


def _text(rules: Mapping[str, Any], value: str) -> list[str]:
    if rules.get("min_len", 0) == 1 and not value:
        return ["must not be empty"]
    problems = _sizes(rules, len(value), "min_len", "max_len", "character")
    problems += _sizes(rules, len(value.encode(errors="surrogatepass")), "min_bytes", "max_bytes", "byte")
    if "in" in rules and value not in rules["in"]:
        problems.append(f"must be one of {', '.join(rules['in'])}")
    if "prefix" in rules and not value.startswith(rules["prefix"]):
        problems.append(f"must start with `{rules['prefix']}`")
    if "suffix" in rules and not value.endswith(rules["suffix"]):
        problems.append(f"must end with `{rules['suffix']}`")
    if "pattern" in rules and not _compiled(rules["pattern"]).search(value):
        problems.append(f"must match {rules['pattern']}")
    if "well_known_regex" in rules:
        pattern = _HEADER_PATTERNS[rules["well_known_regex"], rules.get("strict", True)]
        if not _compiled(pattern).search(value):
            what = rules["well_known_regex"].removeprefix("HTTP_HEADER_").lower()
            problems.append(f"must be an HTTP header {what}")
    return problems


def _sizes(rules: Mapping[str, Any], size: int, low: str, high: str, unit: str) -> list[str]:
    plural = "entries" if unit == "entry" else f"{unit}s"
    if size < rules.get(low, 0):
        return [f"must have at least {rules[low]} {unit if rules[low] == 1 else plural}"]
    if size > rules.get(high, size):
        return [f"must have at most {rules[high]} {unit if rules[high] == 1 else plural}"]
    return []


def _json(value: Any) -> str:
    return (
        str(value).lower() if isinstance(value, bool) else f"{value:.12g}" if isinstance(value, float) else str(value)
    )
