"""Files of the native dialect, read for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ostiary.dialects import native
from ostiary.model.config import Config
from ostiary.model.signin import SignIn

MINIMAL = """\
upstream: http://127.0.0.1:8080
provider:
  issuer: https://login.example.com
  client_id: app
secret: 0123456789abcdef0123456789abcdef
"""


def load_all(text: str = "", flags: Mapping[str, str] | None = None, env: Mapping[str, str] | None = None, **rest: Any):
    """A file read."""
    files = [("o.yaml", text.encode())] if text else []
    return native.load_all(files, flags=flags or {}, env=env or {}, **rest)


def good(text: str = "", *more: str, **rest: Any) -> Config:
    """A file's configuration; it must have no mistakes."""
    loaded = load_all(text, **rest)
    assert [str(d) for d in loaded.diagnostics if d.severity == "error"] == []
    assert loaded.config is not None
    return loaded.config


def sign_in(config: Config) -> SignIn:
    """Its first filter, which signs in."""
    found = config.listeners[0].http.http_filters[0].config
    assert isinstance(found, SignIn)
    return found


def told(text: str = "", **rest: Any) -> list[str]:
    """What is said about a file."""
    return [str(d) for d in load_all(text, **rest).diagnostics]
