"""`/runtime`: the flags of `layered_runtime` that are set. Only the configuration changes them."""

from __future__ import annotations

from typing import Any, Final

from ostiary.admin.page import Page, Part, Reply, Request, json_reply
from ostiary.app.lifecycle import Doorkeeper


def _collect(worker: Doorkeeper, _request: Request) -> Part:
    from ostiary.dialects.envoy_text import runtime

    return runtime(worker.config) or {"layers": []}


def _render(parts: list[Part], _request: Request) -> Reply:
    layers = parts[0]["layers"]
    entries: dict[str, Any] = {}
    for index, layer in enumerate(layers):
        for name, value in layer["static_layer"].items():
            entry = entries.setdefault(name, {"layer_values": [""] * len(layers), "final_value": ""})
            entry["layer_values"][index] = entry["final_value"] = str(value).lower()
    return json_reply({"entries": entries, "layers": [layer["name"] for layer in layers]})


PAGES: Final = (Page(path="/runtime", help="print runtime values", collect=_collect, render=_render, alike=True),)
