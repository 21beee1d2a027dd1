"""`/listeners`: where it listens."""

from __future__ import annotations

from typing import Any, Final

from ostiary.admin.page import Page, Parameter, Part, Reply, Request, json_reply
from ostiary.app.lifecycle import Doorkeeper


def _collect(worker: Doorkeeper, _request: Request) -> Part:
    return [
        [server.listener.name, server.listener.address.pipe, server.addresses]
        for server in worker.servers
        if server.is_listening
    ]


def _render(parts: list[Part], request: Request) -> Reply:
    found = max(parts, key=len)
    if request.parameter("format") == "json":
        return json_reply({"listener_statuses": [_status(*each) for each in found]})
    return Reply("".join(f"{name}::{address}\n" for name, _, addresses in found for address in addresses))


def _status(name: str, pipe: str | None, addresses: list[str]) -> dict[str, Any]:
    if pipe is not None:
        return {"name": name, "local_address": {"pipe": {"path": pipe}}}
    first, *others = map(_address, addresses)
    status: dict[str, Any] = {"name": name, "local_address": first}
    return status | ({"additional_local_addresses": others} if others else {})


def _address(text: str) -> dict[str, Any]:
    host, _, port = text.rpartition(":")
    return {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}


PAGES: Final = (
    Page(
        path="/listeners",
        help="print listener info",
        collect=_collect,
        render=_render,
        parameters=(Parameter("format", "File format to use", ("text", "json")),),
    ),
)
