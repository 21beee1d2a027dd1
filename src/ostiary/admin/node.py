"""How this program calls itself: core.v3.Node's user agent."""

from __future__ import annotations

from typing import Any

from ostiary._version import __version__


def user_agent() -> dict[str, Any]:
    """The fields of core.v3.Node; zeros of type.v3.SemanticVersion are left out."""
    numbers = (int(each) for each in __version__.split(".") if each.isdigit())
    named = zip(("major_number", "minor_number", "patch"), numbers, strict=False)
    version = {name: number for name, number in named if number}
    return {"user_agent_name": "ostiary", "user_agent_build_version": {"version": version}}
