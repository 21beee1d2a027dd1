"""Envoy's bootstrap, as YAML or JSON, becomes the model.

Three steps, each in its own files: nodes with their places (`yaml_nodes`), values by Envoy's schema (`schema_*`), the
model (`envoy_*`, by noun). What is written and not taken on the way is reported as not implemented
(`schema_tree.unread`), so that a configuration is accepted in full or refused out loud.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ostiary.dialects.envoy_cluster import cluster
from ostiary.dialects.envoy_common import Context, Reader, listen_address
from ostiary.dialects.envoy_listener import listener
from ostiary.dialects.envoy_mends import MENDS
from ostiary.dialects.envoy_telemetry import stats_sinks
from ostiary.dialects.schema import nearest
from ostiary.dialects.schema_reader import read as read_message
from ostiary.dialects.schema_tree import Message, Report, unread
from ostiary.dialects.yaml_nodes import Mapping, Node, Scalar, parse
from ostiary.model.config import Address, Config
from ostiary.model.errors import ConfigError, Diagnostic
from ostiary.model.oauth2 import RuntimeFlags

BOOTSTRAP: Final = "envoy.config.bootstrap.v3.Bootstrap"
_FLAG: Final = "envoy.reloadable_features."
_FLAGS: Final = ("oauth2_use_gcm_encryption", "oauth2_legacy_cbc_decrypt_compat", "oauth2_cleanup_cookies")


def load(
    files: Sequence[tuple[str, bytes]], *, ignore_unsupported: bool = False, read: Reader | None = None
) -> tuple[Config | None, list[Diagnostic]]:
    """The bootstrap in `files` (name, content) as a configuration, or None, and everything there is to say about it.

    `ignore_unsupported` turns "not implemented in Ostiary" into warnings. `read` opens the files whose content
    belongs to the configuration (bodies of direct responses, formats, SDS files of certificates); secrets and
    certificates stay references. Never raises for anything a file can hold.
    """
    if not files:
        return None, [Diagnostic(file="-", line=0, column=0, path="", message="there is no configuration")]
    report = Report(ignore_unsupported=ignore_unsupported)
    for name, _ in files[1:]:
        report.diagnostics.append(
            Diagnostic(
                file=name,
                line=1,
                column=1,
                path="",
                message="an Envoy configuration is one bootstrap; there is one already",
                mend=f"put everything into {files[0][0]}, secrets into files that path_config_source names",
            )
        )
    try:
        root = parse(files[0][1], files[0][0], merge=False)
    except ConfigError as error:
        return None, _sorted([*report.diagnostics, *error.diagnostics])
    config = convert(root, report, read)
    return None if report.failed else config, _sorted(report.diagnostics)


def convert(root: Node, report: Report, read: Reader | None) -> Config:
    """The bootstrap that `root` describes; what is wrong with it goes to `report`, and then it can't be run."""
    return _bootstrap(read_message(root, BOOTSTRAP, report), Context(report=report, read=read))


def _sorted(diagnostics: Sequence[Diagnostic]) -> list[Diagnostic]:
    return sorted(diagnostics, key=lambda found: (found.file, found.line, found.column))


def _bootstrap(message: Message, context: Context) -> Config:
    node = message.optional("node")
    context.node_cluster = node.text("cluster")
    context.node_id, context.zone = node.text("id"), node.optional("locality").text("zone")
    node.ignore(*node.written())
    message.ignore("use_tcp_for_dns_lookups")
    context.runtime = _runtime(message, context.report)
    context.dns_resolver = message.message("typed_dns_resolver_config")
    context.bind_config = message.optional("cluster_manager").message("upstream_bind_config")
    static = message.optional("static_resources")
    for secret in static.messages("secrets"):
        _named(secret, secret.text("name"), context.secrets)
    clusters: dict[str, Message] = {}
    for item in static.messages("clusters"):
        _named(item, item.text("name"), clusters)
    context.clusters = frozenset(clusters)
    built = [cluster(item, context) for item in static.messages("clusters")]
    context.http2_clusters = frozenset(each.name for each in built if each.http2 is not None)
    listeners: dict[str, Message] = {}
    for item in static.messages("listeners"):
        _named(item, item.text("name"), listeners)
    serving = [found for item in static.messages("listeners") if (found := listener(item, context)) is not None]
    if not static.messages("listeners"):
        message.problem("static_resources", "no listener: nothing is served", severity="warning")
    config = Config(
        dialect="envoy",
        listeners=tuple(serving),
        clusters=tuple(built),
        admin=_admin(message),
        metrics=stats_sinks(message, context),
        differences=tuple(context.differences),
    )
    for secret in context.secrets.values():
        if secret.taken <= {"name"}:
            secret.ignore(*secret.written())  # nobody refers to it, in Envoy neither
    for root in (message, *context.included):
        unread(root, context.report, MENDS)
    return config


def _named(item: Message, name: str, known: dict[str, Message]) -> None:
    """Two things of one kind and name are one too many."""
    if name and name in known:
        first = known[name].node.line
        item.problem("name", f"'{name}' is the name of another one already, in line {first}", "choose another name")
    elif name:
        known[name] = item


def _admin(message: Message) -> Address | None:
    admin = message.message("admin")
    if admin is None:
        return None
    admin.ignore("access_log", "access_log_path", "profile_path", "ignore_global_conn_limit")
    address = admin.message("address")
    return listen_address(address) if address is not None else None


def _runtime(message: Message, report: Report) -> RuntimeFlags:
    """The flags of `layered_runtime` that the OAuth2 filter reads; later layers win."""
    flags: dict[str, bool] = {}
    names: dict[str, Message] = {}
    for layer in message.optional("layered_runtime").messages("layers"):
        _named(layer, layer.text("name"), names)
        layer.ignore("admin_layer")  # nothing can be changed through it: it is empty for ever
        layer.take("static_layer")
        node = layer.node.get("static_layer") if isinstance(layer.node, Mapping) else None
        if node is not None:
            _static_layer(node, layer.at("static_layer"), "", flags, report)
    return RuntimeFlags(**flags)


def _static_layer(node: Node, path: str, prefix: str, flags: dict[str, bool], report: Report) -> None:
    """Keys may be written with dots or as mappings in mappings."""
    for key, value in node if isinstance(node, Mapping) else ():
        name = f"{prefix}.{key.text}" if prefix else key.text
        at = f'{path}["{name}"]'
        if isinstance(value, Mapping):
            _static_layer(value, path, name, flags, report)
            continue
        flag = name.removeprefix(_FLAG)
        if flag == name or flag not in _FLAGS:
            close = nearest(flag, _FLAGS)
            report.unsupported(key, at, f"did you mean {_FLAG}{close}?" if close else "remove it")
        elif isinstance(value, Scalar) and value.text.lower() in ("true", "false"):
            flags[flag] = value.text.lower() == "true"
        else:
            report.add(value, at, "true or false is expected here")
