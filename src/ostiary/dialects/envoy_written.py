"""What was written for Envoy, read back by the dialect: a mistake in it is found before a proxy finds it."""

from __future__ import annotations

import json

from ostiary.dialects import envoy
from ostiary.dialects.envoy_text import bootstrap
from ostiary.dialects.envoy_text_values import Secrets, Tree
from ostiary.dialects.lost import lost
from ostiary.dialects.yaml_text import plain
from ostiary.model.clusters import Cluster
from ostiary.model.config import Address, Config, HttpConnectionManager, HttpFilter, Listener, Router
from ostiary.model.errors import ConfigError, Diagnostic
from ostiary.model.oauth2 import EnvoyOAuth2, OAuth2Config
from ostiary.model.routes import DirectResponseAction, Route, RouteConfiguration, RouteMatch, VirtualHost

_WRITTEN = "what was made"


def read_back(tree: Tree) -> Config:
    """A bootstrap as it will be read; its files are not looked at. Raises ConfigError if it can't be."""
    config, found = envoy.load([(_WRITTEN, json.dumps(plain(tree)).encode())])
    if config is None:
        raise ConfigError([each for each in found if each.severity == "error"])
    return config


def no_longer_said(before: Config, after: Config) -> list[Diagnostic]:
    """What a configuration of Envoy's says that has no place in the model, because it changes nothing here: Envoy would
    heed it, and doesn't find it any more."""
    mend = "write it again if Envoy is to heed it"
    return [lost("", each, mend) for each in before.differences if each not in after.differences]


def check_filter(config: OAuth2Config, clusters: tuple[Cluster, ...]) -> None:
    """Raises ConfigError for what is wrong with an OAuth2 filter and its clusters."""
    everything = Route(match=RouteMatch(prefix="/"), action=DirectResponseAction(status=200))
    routes = RouteConfiguration(virtual_hosts=(VirtualHost(name="all", domains=("*",), routes=(everything,)),))
    chain = (
        HttpFilter(name="oauth2", config=EnvoyOAuth2(config=config)),
        HttpFilter(name="router", config=Router()),
    )
    http = HttpConnectionManager(stat_prefix="check", route_config=routes, http_filters=chain)
    listener = Listener(name="check", address=Address(host="127.0.0.1", port=1), http=http)
    read_back(bootstrap(Config(dialect="envoy", listeners=(listener,), clusters=clusters), Secrets()))
