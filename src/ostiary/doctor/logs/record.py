"""One record of a log, whatever format it was written in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Format = Literal[
    "envoy", "istio", "istio-json", "json", "access-log", "access-log-json", "oauth2-proxy", "istio-agent", "nginx",
    "go", "text",
]  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Record:
    """What a line says, taken apart."""

    message: str
    format: Format = "text"
    when: str = ""
    """As written."""
    level: str = ""
    logger: str = ""
    """Envoy's component (`oauth2`), or a scope of Istio's programs."""
    program: str = ""
    """`envoy`, `istiod`, `oauth2-proxy`, `nginx`, `ostiary`; empty where the format doesn't say."""
    place: str = ""
    """What stood before the record (a pod's name): ids of one place mean nothing in another."""
    thread: str = ""
    connection: str = ""
    """Envoy's ConnectionId."""
    stream: str = ""
    """Envoy's StreamId."""
    line: int = 0
    """1-based."""
    following: Callable[[], tuple[str, ...]] = tuple
    """Lines that follow and begin no record: a dump, a traceback. Cut out only for who asks."""
    access: Mapping[str, str] = field(default_factory=dict)
    """An access log's entry, by Istio's JSON names (`response_code_details`)."""

    @property
    def rest(self) -> tuple[str, ...]:
        """The lines that follow."""
        return self.following()
