"""A configuration as Envoy dumps it: every part under the name that tools look for, and no secret.

What is dumped is made of the model, so it is what runs, whatever dialect it was written in. Secrets that stand in the
configuration itself are replaced by `[redacted]`, as Envoy replaces the fields that its API calls sensitive; those in
files appear by the files' names. The sign-in filter of the native dialect has no message in Envoy's API: it is dumped
as a TypedStruct, which Envoy's tools can read, with its own field names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from ostiary.dialects.envoy_text import bootstrap, oauth2_configs
from ostiary.dialects.envoy_text_values import Secrets, Tree
from ostiary.model.config import Config
from ostiary.model.secret import Secret
from ostiary.model.signin import SignIn
from ostiary.model.tls import DataSource

REDACTED: Final = "[redacted]"
_TYPES: Final = "type.googleapis.com/"
_ADMIN: Final = f"{_TYPES}envoy.admin.v3."
_ASSIGNMENT: Final = "envoy.config.endpoint.v3.ClusterLoadAssignment"
_CLUSTER: Final = "envoy.config.cluster.v3.Cluster"
_LISTENER: Final = "envoy.config.listener.v3.Listener"
_ROUTES: Final = "envoy.config.route.v3.RouteConfiguration"
_SECRET: Final = "envoy.extensions.transport_sockets.tls.v3.Secret"
_TYPED_STRUCT: Final = f"{_TYPES}xds.type.v3.TypedStruct"
_SENSITIVE_MAPS: Final = frozenset(("token_params", "headers"))
"""Their values may be credentials."""


class Redacted(Secrets):
    """Writes secrets so that nobody can read them."""

    def source(self, source: DataSource, what: str) -> Tree:  # noqa: ARG002 - Secrets' shape
        """core.v3.DataSource of a secret."""
        return {"filename": source.filename} if source.filename is not None else {"inline_string": REDACTED}

    def sign_in(self, config: SignIn) -> Tree:
        """The native filter."""
        return {"@type": _TYPED_STRUCT, "type_url": f"{_TYPES}ostiary.SignIn", "value": described(config)}


def described(value: Any) -> Any:
    """A part of the model as plain values: what differs from its default, secrets redacted."""
    if isinstance(value, Secret):
        return REDACTED
    if isinstance(value, DataSource):
        return {"filename": value.filename} if value.filename is not None else {"inline_string": REDACTED}
    if isinstance(value, msgspec.Struct):
        fields = msgspec.structs.fields(value)
        given = {field.name: getattr(value, field.name) for field in fields if not _is_default(field, value)}
        return {name: _field(name, each) for name, each in given.items()}
    if isinstance(value, Mapping):
        return {str(key): described(each) for key, each in value.items()}
    if isinstance(value, tuple | list | frozenset | set):
        return [described(each) for each in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _field(name: str, value: Any) -> Any:
    if name in _SENSITIVE_MAPS and isinstance(value, Mapping):
        return dict.fromkeys(map(str, value), REDACTED)
    return described(value)


def _is_default(field: msgspec.structs.FieldInfo, owner: msgspec.Struct) -> bool:
    value = getattr(owner, field.name)
    if field.default_factory is not msgspec.NODEFAULT:
        return bool(value == field.default_factory())
    return bool(value == field.default)


def config_dump(config: Config, updated: str, *, endpoints: list[Tree] | None = None) -> list[Tree]:
    """admin.v3.ConfigDump.configs. `updated` (RFC 3339) is when the configuration came into use; `endpoints` are
    config.endpoint.v3.ClusterLoadAssignments, where they are asked for."""
    tree = bootstrap(config, Redacted(placeholder=REDACTED))
    static = tree.get("static_resources", {})
    listeners = static.get("listeners", ())
    routes = [each for each in map(_route_configuration, listeners) if each is not None]

    def loaded(field: str, kind: str, trees: Iterable[Tree]) -> list[Tree]:
        return [{field: _typed(kind, each), "last_updated": updated} for each in trees]

    eds = [{"endpoint_config": _typed(_ASSIGNMENT, each)} for each in endpoints or ()]
    return [
        {"@type": f"{_ADMIN}BootstrapConfigDump", "bootstrap": tree, "last_updated": updated},
        _section("ClustersConfigDump", static_clusters=loaded("cluster", _CLUSTER, static.get("clusters", ()))),
        *([_section("EndpointsConfigDump", static_endpoint_configs=eds)] if endpoints is not None else []),
        _section("ListenersConfigDump", static_listeners=loaded("listener", _LISTENER, listeners)),
        _section("ScopedRoutesConfigDump"),
        _section("RoutesConfigDump", static_route_configs=loaded("route_config", _ROUTES, routes)),
        _section(
            "SecretsConfigDump",
            static_secrets=[_secret(each) for each in static.get("secrets", ())],
            dynamic_active_secrets=[_secret(each) | {"last_updated": updated} for each in _delivered(config)],
        ),
    ]


def _section(kind: str, **lists: list[Tree]) -> Tree:
    return {"@type": f"{_ADMIN}{kind}"} | {name: items for name, items in lists.items() if items}


def _typed(kind: str, tree: Tree) -> Tree:
    return {"@type": f"{_TYPES}{kind}", **tree}


def _secret(tree: Tree) -> Tree:
    return {"name": tree["name"], "secret": _typed(_SECRET, tree)}


def _route_configuration(listener: Tree) -> Tree | None:
    for chain in listener.get("filter_chains", ()):
        for each in chain.get("filters", ()):
            if (found := each["typed_config"].get("route_config")) is not None:
                return dict(found)
    return None


def _delivered(config: Config) -> list[Tree]:
    """Secrets that files deliver, without what is in them."""
    names: dict[str, None] = {}
    for each in oauth2_configs(config):
        for secret in (each.credentials.token_secret, each.credentials.hmac_secret):
            if secret is not None and secret.path is not None:
                names[secret.name] = None
    return [{"name": name, "generic_secret": {"secret": {"inline_string": REDACTED}}} for name in names]
