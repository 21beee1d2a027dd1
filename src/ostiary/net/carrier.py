"""What a request goes out on, whichever protocol carries it: all that an exchange knows of its upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from ostiary.net.upstream import Answered


class Writer(Protocol):
    """The part of a transport that whoever sends a request uses."""

    def write(self, data: bytes) -> None:
        """Send, or keep until there is room."""

    def can_write_eof(self) -> bool:
        """Whether one side can end before the other."""

    def write_eof(self) -> None:
        """End this side."""


class Carrier(Protocol):
    """What carries one request and its answer: a connection of HTTP/1.1, or a stream of HTTP/2 (net/h2_stream.py)."""

    protocol: ClassVar[str]
    client: Answered | None
    paused: bool

    @property
    def transport(self) -> Writer:
        """Takes the request as HTTP/1.1 bytes."""

    @property
    def remote_address(self) -> str:
        """The upstream's address."""

    @property
    def local_address(self) -> str:
        """Ours."""

    def abort(self) -> None:
        """End it at once; nothing more will be told to the client."""

    def pause_reading(self) -> None:
        """The client is slow."""

    def resume_reading(self) -> None:
        """It has caught up."""
