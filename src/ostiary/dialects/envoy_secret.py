"""Secrets: static ones, files in SDS form, and what such a file holds.

An SDS file is a DiscoveryResponse (`resources:` with typed secrets); a single secret, with or without its `@type`, is
taken as well, because that is what people try first.
"""

from __future__ import annotations

from ostiary.dialects.envoy_common import Context, Reader, content, data_source
from ostiary.dialects.schema_reader import read
from ostiary.dialects.schema_tree import Message, Report, unread
from ostiary.dialects.yaml_nodes import Mapping, Node, Scalar, Sequence, parse
from ostiary.model.errors import ConfigError, Diagnostic
from ostiary.model.oauth2 import SdsSecret
from ostiary.model.secret import Secret

SECRET = "envoy.extensions.transport_sockets.tls.v3.Secret"
_DISCOVERY_RESPONSE = "envoy.service.discovery.v3.DiscoveryResponse"


def sds_path(config: Message) -> tuple[str, str | None] | None:
    """The file (and watched directory) of a core.v3.ConfigSource; None, reported, for any other source."""
    config.ignore("initial_fetch_timeout")
    config.choice("resource_api_version", ("V3", "AUTO"))
    if (source := config.message("path_config_source")) is not None:
        watched = source.message("watched_directory")
        return source.text("path"), watched.text("path") if watched is not None else None
    if config.has("path"):
        return config.text("path"), None
    for other in ("ads", "api_config_source", "self"):
        if config.has(other):
            config.unsupported(other, "deliver the secret as a file: path_config_source")
    return None


def generic_secret(config: Message, context: Context, what: str) -> SdsSecret:
    """tls.v3.SdsSecretConfig that refers to a generic secret; `what` is it in words, for Envoy's own error."""
    name = config.text("name")
    if (source := config.message("sds_config")) is not None:
        found = sds_path(source)
        path, watched = found if found is not None else ("", None)
        _look_at(source, path, name, context)
        return SdsSecret(name=name, path=path, watched_directory=watched)
    static = context.secrets.get(name)
    generic = static.message("generic_secret") if static is not None else None
    if generic is None:
        known = ", ".join(sorted(n for n, secret in context.secrets.items() if secret.has("generic_secret")))
        mend = f"static_resources.secrets has {known}" if known else "add it to static_resources.secrets"
        config.problem("name", f"invalid {what} secret configuration: no generic secret is called '{name}'", mend)
        return SdsSecret(name=name)
    secret = generic.required("secret")
    return SdsSecret(name=name, value=data_source(secret, context))


def _look_at(source: Message, path: str, name: str, context: Context) -> None:
    """Report a file that holds no such secret. It is read anew by whoever uses it: nothing is kept of it here."""
    inner = source.message("path_config_source")
    place, field = (inner, "path") if inner is not None else (source, "path")
    text = context.look_at(place, field, path)
    if text is None:
        return
    try:
        parse_sds(text, path, name, context.read)
    except ConfigError as error:
        known = context.report.diagnostics
        known += [diagnostic for diagnostic in error.diagnostics if diagnostic not in known]


def parse_sds(text: bytes, file: str, name: str, read_file: Reader | None = None) -> Secret:
    """The generic secret called `name` in an SDS file.

    `file` is the file's name in diagnostics, `read_file` opens the files it refers to. A trailing line break is part of
    the secret, as in Envoy. Raises ConfigError if the file is not one, has no such secret, or the secret is empty.
    """
    report = Report()
    secret = sds_message(text, file, name, report)
    value: bytes | None = None
    if (generic := secret.message("generic_secret")) is not None:
        value = content(generic.required("secret"), Context(report=report, read=read_file))
    else:
        secret.problem(None, f"the secret '{name}' is no generic_secret")
    unread(secret, report, {})
    if report.failed or value is None:
        raise ConfigError(report.diagnostics)
    return Secret(value)


def sds_message(text: bytes, file: str, name: str, report: Report) -> Message:
    """The secret of any type called `name` in an SDS file, read into `report`. Raises ConfigError if there is none."""
    root = parse(text, file, merge=False)
    before = len(report.diagnostics)
    secrets = [read(node, SECRET, report, path) for node, path in _resources(root, report)]
    if any(found.severity == "error" for found in report.diagnostics[before:]):
        raise ConfigError([report.diagnostics.pop(before) for _ in range(len(report.diagnostics) - before)])
    for secret in secrets:
        if secret.text("name") == name:
            return secret
    if len(secrets) == 1 and not secrets[0].text("name"):
        return secrets[0]
    names = ", ".join(secret.text("name") for secret in secrets) or "none"
    message = f"the file has no secret called '{name}' (it has: {names})"
    raise ConfigError(
        [Diagnostic(file=file, line=root.line, column=root.column, path="", message=message, mend="name it so")]
    )


def _resources(root: Node, report: Report) -> list[tuple[Node, str]]:
    """The secrets of a file as nodes without their `@type`, and where they stand."""
    resources = root.get("resources") if isinstance(root, Mapping) else None
    if isinstance(root, Mapping) and resources is not None:
        rest = Mapping(root.file, root.line, root.column, tuple(e for e in root.entries if e[0].text != "resources"))
        unread(read(rest, _DISCOVERY_RESPONSE, report), Report(), {})
        items = resources.items if isinstance(resources, Sequence) else (resources,)
        return [(_untyped(item, report, f"resources[{i}]"), f"resources[{i}]") for i, item in enumerate(items)]
    return [(_untyped(root, report, ""), "")]


def _untyped(node: Node, report: Report, path: str) -> Node:
    if not isinstance(node, Mapping) or (url := node.get("@type")) is None:
        return node
    if not isinstance(url, Scalar) or url.text.rpartition("/")[2] != SECRET:
        report.add(
            url, f"{path}.@type" if path else "@type", f"a secret is expected here: type.googleapis.com/{SECRET}"
        )
    return Mapping(node.file, node.line, node.column, tuple(e for e in node.entries if e[0].text != "@type"))
