"""Configurations that a real Envoy refuses to start with: the reason is a line of its own, behind a dump of all."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from doctor.logs.reading import told
from peers.proxies import Proxy, envoy_arguments
from peers.same_yaml import Tree, bootstrap, fill, filters, oauth2_config
from ports import free_port

pytestmark = pytest.mark.peer


def without(*path: str) -> Tree:
    """An OAuth2 filter's configuration that lacks something."""
    config = copy.deepcopy(oauth2_config())
    place: Any = config
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return config


CASES: dict[str, tuple[Tree, str]] = {
    "timeout": (without("token_endpoint", "timeout"), "invalid timeout"),
    "redirect_uri": (without("redirect_uri"), "invalid redirect_uri"),
    "redirect_path_matcher": (without("redirect_path_matcher"), "invalid redirect_path_matcher"),
    "signout_path": (without("signout_path"), "invalid signout_path"),
    "credentials": (without("credentials"), "invalid credentials"),
    "client_id": (without("credentials", "client_id"), "invalid client_id"),
    "authorization_endpoint": (without("authorization_endpoint"), "invalid authorization_endpoint"),
    "token_secret": (without("credentials", "token_secret"), "secret-missing token_secret"),
    "unknown secret": (
        oauth2_config(credentials={"client_id": "a", "token_secret": {"name": "x"}, "hmac_secret": {"name": "hmac"}}),
        "secret-missing token",
    ),
    "unknown field": (oauth2_config() | {"pkce_enabled": True}, "unknown-field pkce_enabled"),
}


def log_of(tree: Tree, folder: Path) -> str:
    """What Envoy prints before it gives up."""
    port, admin = free_port(), free_port()
    path = folder / "envoy.json"
    values = {"PORT": port, "ADMIN": admin, "APP": 1, "IDP": 2, "LOG": str(folder / "access.log")}
    path.write_text(json.dumps(fill(tree, values)))
    proxy = Proxy("envoy", envoy_arguments(path), (port,), admin, folder / "log")
    with pytest.raises(RuntimeError):
        proxy.start()
    return proxy.output()


@pytest.mark.parametrize("case", CASES)
def test_the_reason_is_found_behind_the_dump(case: str, envoy: Path, tmp_path: Path) -> None:
    assert envoy.exists()
    config, expected = CASES[case]
    assert told(log_of(bootstrap(oauth2=config), tmp_path)) == {f"ConfigurationProblem {expected} True"}


def test_a_filter_behind_the_router(envoy: Path, tmp_path: Path) -> None:
    assert envoy.exists()
    tree = bootstrap(http_filters=[*reversed(filters(oauth2_config()))])
    assert told(log_of(tree, tmp_path)) == {"ConfigurationProblem filter-order True"}
