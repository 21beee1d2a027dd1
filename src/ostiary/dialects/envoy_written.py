"""What was written for Envoy, read back by the dialect: a mistake in it is found before a proxy finds it."""

from __future__ import annotations

import json

from ostiary.dialects import envoy
from ostiary.dialects.envoy_text import bootstrap
from ostiary.dialects.envoy_text_values import Secrets, Tree
from ostiary.dialects.yaml_text import plain
from ostiary.model.clusters import Cluster
from ostiary.model.config import Address, Config, HttpConnectionManager, HttpFilter, Listener, Router
from ostiary.model.errors import Diagnostic
from ostiary.model.oauth2 import EnvoyOAuth2, OAuth2Config
from ostiary.model.routes import DirectResponseAction, Route, RouteConfiguration, RouteMatch, VirtualHost

_WRITTEN = "what was made"


def errors(tree: Tree) -> list[Diagnostic]:
    """What is wrong with a bootstrap; its files are not looked at."""
    _, found = envoy.load([(_WRITTEN, json.dumps(plain(tree)).encode())])
    return [each for each in found if each.severity == "error"]


def filter_errors(config: OAuth2Config, clusters: tuple[Cluster, ...]) -> list[Diagnostic]:
    """What is wrong with an OAuth2 filter and its clusters."""
    everything = Route(match=RouteMatch(prefix="/"), action=DirectResponseAction(status=200))
    routes = RouteConfiguration(virtual_hosts=(VirtualHost(name="all", domains=("*",), routes=(everything,)),))
    chain = (
        HttpFilter(name="oauth2", config=EnvoyOAuth2(config=config)),
        HttpFilter(name="router", config=Router()),
    )
    http = HttpConnectionManager(stat_prefix="check", route_config=routes, http_filters=chain)
    listener = Listener(name="check", address=Address(host="127.0.0.1", port=1), http=http)
    return errors(bootstrap(Config(dialect="envoy", listeners=(listener,), clusters=clusters), Secrets()))
