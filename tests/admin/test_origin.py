"""Whom a browser may be made to speak for."""

from __future__ import annotations

import pytest

from ostiary.admin.origin import refusal


@pytest.mark.parametrize(
    ("host", "origin", "fetch_site", "mutates", "loopback", "allowed"),
    [
        ("127.0.0.1:9901", "", "", True, True, True),  # curl
        ("127.0.0.1:9901", "http://127.0.0.1:9901", "same-origin", True, True, True),  # our own page
        ("127.0.0.1:9901", "http://evil.example", "cross-site", True, True, False),
        ("127.0.0.1:9901", "http://127.0.0.1:8080", "same-site", True, True, False),  # another program's page
        ("127.0.0.1:9901", "null", "cross-site", True, True, False),  # a sandboxed frame, a file
        ("127.0.0.1:9901", "", "cross-site", True, True, False),
        ("127.0.0.1:9901", "http://evil.example", "cross-site", False, True, True),  # it can't read the answer
        ("evil.example:9901", "", "", False, True, False),  # DNS rebinding
        ("evil.example:9901", "http://evil.example:9901", "same-origin", True, True, False),
        ("evil.example:9901", "http://evil.example:9901", "", True, False, False),
        ("ostiary.apps.svc.cluster.local:9901", "", "", False, False, True),  # a scraper in a cluster
        ("ostiary.apps.svc.cluster.local:9901", "", "", True, False, True),  # curl in a cluster
        ("localhost:9901", "http://LOCALHOST:9901", "", True, True, True),
        ("[::1]:9901", "http://[::1]:9901", "", True, True, True),
        ("ostiary:9901", "", "", False, True, True),
        ("", "", "", True, True, True),
        ("[", "", "", False, True, False),
    ],
)
def test_only_its_own_page_may_use_a_browser(
    host: str, origin: str, fetch_site: str, mutates: bool, loopback: bool, allowed: bool
) -> None:
    refused = refusal(host=host, origin=origin, fetch_site=fetch_site, mutates=mutates, loopback=loopback)
    assert (refused is None) == allowed, refused
