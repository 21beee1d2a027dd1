"""Pages for people: one file each, styles inside, no script and nothing from elsewhere.

What is meant to be read or told apart has the contrast of WCAG 2.2 AA, bars and the edges of fields included (3:1).

Templates escape everything they are given; an unknown name in a template is an error, not an empty string. They are
compiled when the first page is needed, so that starting costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def render(name: str, context: Mapping[str, Any]) -> bytes:
    """The page `name` (`error`, `no_access`, `signed_out`) as UTF-8 HTML. Raises jinja2.TemplateError."""
    return _environment().get_template(f"{name}.html").render(context).encode()


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("ostiary.pages", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
