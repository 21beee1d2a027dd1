"""Request heads for tests of the core, made from as little as a test wants to say."""

from __future__ import annotations

from ostiary.core.decision import Request
from ostiary.model.headers import Headers


def make_request(
    target: str = "/",
    *headers: tuple[str, str],
    method: str = "GET",
    authority: str = "app.test",
    scheme: str = "http",
) -> Request:
    """A request whose path is its target's, as it is."""
    path, _, query = target.partition("?")
    return Request(
        method=method,
        target=target,
        path=path,
        query=query,
        scheme=scheme,
        authority=authority,
        headers=Headers(headers),
        client="192.0.2.7",
    )


def entropy(size: int) -> bytes:
    """Bytes that are the same every time."""
    return bytes(range(size))
