"""What a page of the admin API is made of.

An answer is about all workers. So a page has two halves: `collect` runs in every worker and gives that worker's part
(for an action, it acts there); `render` runs once, in the worker that was asked, and makes the answer out of the parts.
A part travels between processes as JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Final, final
from urllib.parse import parse_qs

from ostiary.app.lifecycle import Doorkeeper
from ostiary.model import limits

_SLASHES: Final = re.compile("/{2,}")
TEXT: Final = "text/plain; charset=UTF-8"
JSON: Final = "application/json"
HTML: Final = "text/html; charset=UTF-8"

Part = Any
"""What `json` can carry; of a page that is `alike`, anything."""
Slices = Generator[None, None, Part]


@final
@dataclass(frozen=True, slots=True)
class Request:
    """What was asked, the same in every worker."""

    method: str
    target: str
    """Path and query as sent."""
    accept: str = ""
    """The Accept field."""
    form: str = ""
    """The body of a form; it counts where the target has no query, as in Envoy."""

    @property
    def path(self) -> str:
        """The path, without its query. Several slashes are one, as for Envoy: `http://HOST:PORT/` + `/stats`."""
        return _SLASHES.sub("/", self.target.partition("?")[0])

    def parameters(self) -> dict[str, list[str]]:
        """Name -> values, in order."""
        if query := self.target.partition("?")[2]:
            return parse_qs(query, keep_blank_values=True)
        return parse_qs(self.form)  # a form sends what was left empty, too

    def parameter(self, name: str) -> str | None:
        """The first value of that name, or None."""
        return self.parameters().get(name, [None])[0]

    @property
    def wants_html(self) -> bool:
        """A browser asks: it names text/html, which programs don't."""
        return "text/html" in self.accept


@final
@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered."""

    body: str | bytes = ""
    status: int = 200
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()
    ends_process: bool = False
    """Afterwards the process ends, with all its workers."""


def json_reply(document: Any, status: int = 200) -> Reply:
    """A document as Envoy writes JSON: indented by one blank."""
    return Reply(json.dumps(document, indent=1, ensure_ascii=False) + "\n", status, JSON)


def nothing(_worker: Doorkeeper, _request: Request) -> None:
    """The part of a page that says the same whatever the workers do."""


@final
@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter, as `/help` lists it."""

    name: str
    help: str
    choices: tuple[str, ...] = ()
    flag: bool = False
    """It counts that it is there, not what it says."""

    @property
    def text(self) -> str:
        """Its help with its choices."""
        return f"{self.help}; One of ({', '.join(self.choices)})" if self.choices else self.help


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One path."""

    path: str
    """`/clusters`; with a slash at its end it holds everything below (`/flights/`)."""
    help: str
    render: Callable[[list[Part], Request], Reply]
    """The parts, this worker's first; never empty. Raises nothing, uses nothing but these: it may run in a thread."""
    collect: Callable[[Doorkeeper, Request], Part | Slices] = nothing
    """This worker's part, or what makes it in slices (app/slices.py). Raises nothing."""
    parameters: tuple[Parameter, ...] = ()
    mutates: bool = False
    """It changes something: POST only, and never for a page of another site."""
    patience: float = limits.WORKER_ANSWER_TIMEOUT
    """Seconds that other workers have to give their parts."""
    large: bool = False
    """It can take as long as many requests do: it is made in a thread, so that they go on; so are parts' bytes."""
    alike: bool = False
    """Every worker would say the same: only the one that was asked is."""
    hidden: bool = False
    """`/help` doesn't list it."""
