"""The `state` parameter: base64url({"url":...,"csrf_token":...,"flow_id":...}), in this order, without spaces."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ostiary.core.oauth2.envoy.codec import base64url, decode_base64url


class StateError(Exception):
    """A `state` that can't be read; the text is the cause as Envoy words it."""


@dataclass(frozen=True, slots=True)
class State:
    """What a sign-in brings back from the provider."""

    url: str
    """Where the browser wanted to go."""
    csrf_token: str
    flow_id: str
    """Empty, as older Envoys had none, or 16 hex digits."""


def encode_state(state: State) -> str:
    """The parameter's value. `state.url` is latin-1 text."""
    members = {"url": state.url, "csrf_token": state.csrf_token, "flow_id": state.flow_id}
    text = json.dumps(members, ensure_ascii=False, separators=(",", ":"))
    return base64url(text.encode("latin-1"))


def decode_state(text: str) -> State:
    """Read the parameter as it stands in the query, not percent-decoded. Raises StateError."""
    data = decode_base64url(text) or b""
    shown = data.decode("latin-1")
    try:
        members = json.loads(data.decode("utf-8"), object_pairs_hook=_distinct)
        if members is None:
            members = {}
        if not isinstance(members, dict):
            raise ValueError("not an object")
    except (ValueError, RecursionError):
        raise StateError(f"State query param is not a valid JSON: {shown}") from None
    url, csrf_token, flow_id = (members.get(name) for name in ("url", "csrf_token", "flow_id"))
    if not isinstance(url, str) or not isinstance(csrf_token, str):
        raise StateError(f"State query param does not contain url or CSRF token: {shown}")
    return State(url, csrf_token, flow_id if isinstance(flow_id, str) else "")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two members of one name could be read as two different states."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member twice")
    return members
