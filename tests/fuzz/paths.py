"""Targets: whatever order servers read a path in, no rule for one place is got past, and normal forms are final.

The input is a request target.
"""

from __future__ import annotations

import itertools
from urllib.parse import urlsplit

from ostiary.app.targets import TargetReader
from ostiary.core.access import under
from ostiary.core.paths import EscapedSlashes, PathRejected, normalise, split_target, strict
from ostiary.model.config import HttpConnectionManager
from ostiary.model.routes import RouteConfiguration
from servers_read_paths import every_reading

SEEDS = (
    b"/", b"/a/b.c?d=e", b"/public/../admin", b"/public/%2e%2e/admin", b"/public//../admin", b"/public/..%2fadmin",
    b"/public/..;/admin", b"/public/%252e%252e/admin", b"/public\\admin", b"/a;x=1/b;y", b"/a%3fb%23c", b"//admin",
    b"/%2fadmin", b"/%5cadmin", b"/a%20b/%C3%A9", b"http://app.example/a/../b?c", b"https://app.example?x", b"*",
    b"app.example:443", b"http://user@app.example/", b"/%00", b"/%", b"/a%%32e", b"/a#b", b"/{a}|^",
)  # fmt: skip
WORDS = (
    b"%2e", b"%2f", b"%5c", b"%252e", b"%252f", b"%25", b"%3b", b"%3f", b"%23", b"%61", b"..", b"../", b"/..", b"..;",
    b";x", b"//", b"\\", b"/public/", b"/admin", b"/.", b"%2F..", b"http://app.example", b"?",
)  # fmt: skip
ACTIONS: tuple[EscapedSlashes, ...] = (
    "KEEP_UNCHANGED",
    "REJECT_REQUEST",
    "UNESCAPE_AND_REDIRECT",
    "UNESCAPE_AND_FORWARD",
)
MANAGERS = [
    HttpConnectionManager(
        stat_prefix="", route_config=RouteConfiguration(name="", virtual_hosts=()), http_filters=(), profile=profile,
        normalize_path=True, merge_slashes=True, path_with_escaped_slashes_action=action,
    )
    for profile in ("ostiary", "envoy")
    for action in ACTIONS
]  # fmt: skip
PREFIXES = ("/public", "/a", "/admin")


def one(data: bytes) -> None:
    _targets(data)
    try:
        path, query = split_target(data.decode("latin-1"))
    except PathRejected:
        return
    assert path.startswith("/") and "?" not in path and "#" not in path + query
    _normal_forms(path)
    for raw in (path, f"/public{path}"):
        _readings(raw)


def _normal_forms(path: str) -> None:
    for normalize, merge, action in itertools.product((True, False), (True, False), ACTIONS):
        try:
            once = normalise(path, normalize=normalize, merge_slashes=merge, escaped_slashes=action).path
        except PathRejected:
            continue
        again = normalise(once, normalize=normalize, merge_slashes=merge, escaped_slashes=action)
        assert again.path == once and not again.redirect
        assert not (normalize and {".", ".."} & set(once.split("/")))
        assert not (merge and "//" in once.removeprefix("/"))


def _readings(path: str) -> None:
    try:
        seen = strict(path)
    except PathRejected:
        return
    assert seen.readings[0] == seen.path and path in seen.readings
    assert strict(seen.path).path == seen.path
    assert not {".", "..", ""} & set(seen.path.split("/")[1:-1])
    for prefix in PREFIXES:
        if all(under(prefix, reading) for reading in seen.readings):
            assert all(under(prefix, reading) for reading in every_reading(path))


def _targets(raw: bytes) -> None:
    """What is sent on names the same place for whoever reads it next."""
    for http in MANAGERS:
        target = TargetReader(http, lambda _path: True).read(raw)
        if target.rejected:
            continue
        assert target.wire.startswith(b"/") and target.wire.decode("latin-1") == target.text
        assert not any(byte <= 0x20 or byte >= 0x7F for byte in target.wire)
        if target.redirect:  # a path, not another host's address
            assert http.profile == "envoy" or not urlsplit(target.redirect).netloc
            continue
        again = TargetReader(http, lambda _path: True).read(target.wire)
        assert (again.path, again.query, again.rejected) == (target.path, target.query, "")
        assert not target.ordinary or not target.readings
