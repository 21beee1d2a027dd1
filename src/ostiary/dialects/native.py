"""Ostiary's own configuration: a short YAML, the environment and flags, in that order of precedence from low to high.

    provider:
      issuer: https://login.example.com
      client_id: my-app
      client_secret_file: /run/secrets/client
    upstream: http://127.0.0.1:8080
    secret_file: /run/secrets/ostiary

All three are laid over each other first (`native_values`) and read once after (`native_reader`), so a mistake is told
the same way wherever it was made. Nothing here opens a file: `read`, where given, is the caller's.
"""

from __future__ import annotations

import difflib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from ostiary.core.decision import Entropy
from ostiary.dialects import yaml_nodes
from ostiary.dialects.native_reader import Read, Report, Section, nearest
from ostiary.dialects.native_schema import ENVIRONMENT, FLAGS, PROCESS_FLAGS, SECRET_KEYS
from ostiary.dialects.native_values import Value, at_path, from_node, overlay_all, without_place
from ostiary.model import limits
from ostiary.model.config import Config
from ostiary.model.errors import ConfigError, Diagnostic
from ostiary.model.process import LOG_COMPONENTS, LOG_FORMATS, LOG_LEVELS, LogFormat, LogLevel, Process

MAX_WORKERS: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What was read. `config` and `process` are None if a diagnostic is an error."""

    config: Config | None
    process: Process | None
    diagnostics: tuple[Diagnostic, ...]


def load(
    files: Sequence[tuple[str, bytes]],
    *,
    flags: Mapping[str, str],
    env: Mapping[str, str],
    read: Read | None = None,
    entropy: Entropy = secrets.token_bytes,
) -> tuple[Config | None, list[Diagnostic]]:
    """The configuration alone; see `load_all`."""
    loaded = load_all(files, flags=flags, env=env, read=read, entropy=entropy)
    return loaded.config, list(loaded.diagnostics)


def load_all(
    files: Sequence[tuple[str, bytes]],
    *,
    flags: Mapping[str, str],
    env: Mapping[str, str],
    read: Read | None = None,
    entropy: Entropy = secrets.token_bytes,
) -> Loaded:
    """Read files (name, bytes), flags and environment into the model. Never raises for what they hold.

    `flags` are named without dashes (`listen`, `client-id`); `--set KEY=VALUE` is the flag `set KEY`. From `env` only
    `OSTIARY_*` is read. `read` gives the bytes of a file that the configuration names (raising OSError), to check it;
    None checks nothing. `entropy` makes the secret of a loopback listener that has none.
    """
    report = Report(read)
    tree = _tree(files, flags, env, report)
    if report.failed():
        return Loaded(config=None, process=None, diagnostics=tuple(report.diagnostics))
    root = Section(tree, "", "", report)
    process = _process(root)
    from ostiary.dialects.native_config import read_config  # not needed where only process options are read

    config = read_config(root, entropy)
    diagnostics = tuple(sorted(report.diagnostics, key=lambda d: (d.file, d.line, d.column)))
    if report.failed():
        return Loaded(config=None, process=None, diagnostics=diagnostics)
    return Loaded(config=config, process=process, diagnostics=diagnostics)


def load_process(*, flags: Mapping[str, str], env: Mapping[str, str]) -> tuple[Process | None, list[Diagnostic]]:
    """The process options for another dialect, whose files say nothing about them. Other native flags are refused."""
    report = Report()
    for flag in flags:
        if flag not in PROCESS_FLAGS:
            name = f"--{flag}"
            message = "this flag belongs to the native dialect; here the configuration file says it"
            report.error(Value(None, name), "", message, "change the file, or leave the flag out")
    variables = {name: text for name, text in env.items() if ENVIRONMENT.get(name) in _PROCESS_KEYS}
    known = {flag: text for flag, text in flags.items() if flag in PROCESS_FLAGS}
    process = _process(Section(_tree((), known, variables, report), "", "", report))
    return (None if report.failed() else process), report.diagnostics


_PROCESS_KEYS: Final = frozenset(FLAGS[flag] for flag in PROCESS_FLAGS)


def _tree(
    files: Sequence[tuple[str, bytes]], flags: Mapping[str, str], env: Mapping[str, str], report: Report
) -> Value:
    """All sources laid over each other; an error in the report means that one of them can't be read at all."""
    documents: list[Value] = []
    for name, content in files:
        try:
            documents.extend(from_node(node) for node in yaml_nodes.parse_all(content, name))
        except ConfigError as error:
            report.diagnostics.extend(error.diagnostics)
    tree = overlay_all(documents, files[0][0] if files else "command line")
    for name in sorted(env):
        if (key := ENVIRONMENT.get(name)) is not None:
            tree = at_path(tree, key, Value(env[name], name)) or tree
        elif name.startswith("OSTIARY_") and not _is_service_link(name):
            report.warning(
                Value(None, name), "", "this environment variable is not read", nearest(name, tuple(ENVIRONMENT))
            )
    for flag, text in flags.items():
        tree = _with_flag(tree, flag, text, report)
    if isinstance(tree.content, Mapping) and "telemetry" in tree.content:
        from ostiary.dialects.native_telemetry import with_environment

        tree = with_environment(tree, env, report)
    return tree


def _is_service_link(name: str) -> bool:
    """Variables that Kubernetes sets for a Service whose name starts with "ostiary"."""
    return "_SERVICE_" in name or name.endswith("_PORT") or "_PORT_" in name


def _with_flag(tree: Value, flag: str, text: str, report: Report) -> Value:
    name = f"--{flag}"
    if flag in FLAGS:
        return at_path(tree, FLAGS[flag], Value(text, name)) or tree
    word, _, key = flag.partition(" ")
    if word != "set" or not key:
        report.error(Value(None, name), "", "unknown flag", nearest(flag, tuple(FLAGS)))
        return tree
    mend = next((mend for secret, mend in SECRET_KEYS.items() if f"{key}.".startswith(f"{secret}.")), None)
    if mend is not None:
        message = "a secret on the command line can be read by everyone on this machine"
        report.error(Value(None, name), key, message, f"use {mend}")
        return tree
    if text.startswith("%"):  # a format; in YAML it would be a directive, which means nothing in a value
        return _placed(tree, key, Value(text, name), name, report)
    try:
        nodes = yaml_nodes.parse_all(text.encode(errors="surrogateescape"), name)
    except ConfigError as error:
        report.diagnostics += [
            Diagnostic(file=name, line=0, column=0, path=key, message=d.message, mend=d.mend) for d in error.diagnostics
        ]
        return tree
    value = without_place(from_node(nodes[0]), name) if len(nodes) == 1 else Value(None, name)
    return _placed(tree, key, value, name, report)


def _placed(tree: Value, key: str, value: Value, name: str, report: Report) -> Value:
    placed = at_path(tree, key, value)
    if placed is None:
        report.error(Value(None, name), key, "there is no such place", "keys are joined by dots: session.lifetime")
    return placed or tree


def _process(root: Section) -> Process:
    section = root.section("log", "log")
    timeouts = root.section("timeouts", "timeouts") if root.has("timeouts") else None
    automatic = root.text("workers") == "auto"
    return Process(
        workers=0 if automatic else root.integer("workers", 1, low=1, high=MAX_WORKERS),
        log_level=cast(LogLevel, section.choice("level", LOG_LEVELS, "info")),
        component_log_level=_component_levels(section),
        log_format=cast(LogFormat, section.choice("format", LOG_FORMATS, "envoy")),
        flight_users=root.flag("flight_users", True),
        watch=root.flag("watch", True),
        drain_timeout=timeouts.duration("drain", limits.DRAIN_TIMEOUT) if timeouts else limits.DRAIN_TIMEOUT,
    )


def _component_levels(section: Section) -> dict[str, LogLevel]:
    """A mapping, or Envoy's short form `dns:debug,oauth2:trace`."""
    value = section.get("components")
    if value is not None and isinstance(value.content, str):
        pairs = [pair.strip().partition(":") for pair in value.content.split(",") if pair.strip()]
        levels = {name: level for name, _, level in pairs}
    else:
        levels = section.mapping("components")
    for name, level in levels.items():
        if name not in LOG_COMPONENTS:
            close = difflib.get_close_matches(name[:64], sorted(LOG_COMPONENTS), 1, 0.6)
            mend = f"did you mean {close[0]}?" if close else "for example oauth2, happy_eyeballs, http or main"
            section.error("components", f"{name!r} is no component", mend)
        elif level.lower() not in LOG_LEVELS:
            section.error("components", f"{name}: {level!r} is not a level", f"one of {', '.join(LOG_LEVELS)}")
    return {name: cast(LogLevel, level.lower()) for name, level in levels.items()}
