"""What servers do with the path of a request, each in an order of its own: the oracle for `ostiary.core.paths`."""

from __future__ import annotations

import re
from collections.abc import Callable


def _unescaped(path: str) -> str:
    return re.sub("%([0-9a-fA-F]{2})", lambda found: chr(int(found[1], 16)), path)


def _dots_removed(path: str) -> str:
    kept: list[str] = []
    for part in path.split("/")[1:]:
        if part == "..":
            del kept[-1:]
        elif part != ".":
            kept.append(part)
    return "/" + "/".join(kept)


STEPS: dict[str, Callable[[str], str]] = {
    "decode": _unescaped,
    "decode all but slashes": lambda path: _unescaped(re.sub("%(?=2[fF]|5[cC])", "%25", path)),
    "merge": lambda path: re.sub("/+", "/", path),
    "parameters": lambda path: re.sub(";[^/]*", "", path),
    "backslashes": lambda path: path.replace("\\", "/"),
    "query": lambda path: re.split("[?#]", path, maxsplit=1)[0],
    "dots": _dots_removed,
}


def every_reading(path: str, most: int = 400) -> set[str]:
    """What comes out of any order of these steps, with at most two decodings; no more than about `most` of them."""
    seen = {(path, 0)}
    fresh = [(path, 0)]
    while fresh and len(seen) < most:
        text, decoded = fresh.pop()
        for name, step in STEPS.items():
            is_decoding = name.startswith("decode")
            if is_decoding and decoded == 2:
                continue
            found = (step(text), decoded + is_decoding)
            if found[0] != text and found not in seen:
                seen.add(found)
                fresh.append(found)
    return {text for text, _ in seen}
