"""What every verb that takes a configuration shares: the options, and reading files of any dialect.

Files and the environment are read here, at the edge; the dialects themselves see bytes.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar, final

import click

from ostiary.cli.completion import COMPONENTS, complete_levels
from ostiary.cli.extras import missing_extras
from ostiary.core.decision import Entropy
from ostiary.dialects import native
from ostiary.dialects.native_schema import ENVIRONMENT, FLAGS, KEYS, PROCESS_FLAGS
from ostiary.model import limits
from ostiary.model.config import Config
from ostiary.model.errors import ConfigError, Diagnostic
from ostiary.model.process import LOG_FORMATS, LOG_LEVELS, Process

DIALECTS: Final = ("native", "envoy", "istio", "oauth2-proxy")
_Command = TypeVar("_Command", bound=Callable[..., Any])

_BOOL: Final = ("true", "false")
_WORDS: Final = {"LEVEL": LOG_LEVELS, "FORMAT": LOG_FORMATS, "BOOL": _BOOL, "true|false": _BOOL, "N": ("auto",)}
"""What may be written for a flag, by its metavar; for shells."""
_HELP: Final = {
    "listen": ("HOST:PORT", "Where to listen (default 127.0.0.1:4180)."),
    "upstream": ("URL", "The application: http://, https:// or unix:/path."),
    "issuer": ("URL", "The OpenID Connect provider."),
    "client-id": ("ID", "The id under which the provider knows this application."),
    "client-secret-file": ("FILE", "The client's secret (or OSTIARY_CLIENT_SECRET in the environment)."),
    "secret-file": ("FILE", "32 random bytes or more that seal sessions (or OSTIARY_SECRET)."),
    "admin": ("HOST:PORT", "The admin API; nowhere by default."),
    "workers": ("N", "Worker processes; auto = one for each CPU (default 1)."),
    "log-level": ("LEVEL", f"{', '.join(LOG_LEVELS)} (default info)."),
    "component-log-level": (COMPONENTS, "Levels of single components, as in dns:debug,oauth2:trace."),
    "log-format": ("FORMAT", f"{', '.join(LOG_FORMATS)} (default envoy)."),
    "flight-users": ("true|false", "Whether /flights says who signed in (default true)."),
    "drain-timeout": ("TIME", "How long running requests may finish after SIGTERM (default 10m)."),
    "watch": ("BOOL", "Read the configuration again when its files change (default true), not only on SIGHUP."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What the files, the flags and the environment say. `config` and `process` are None if that can't be run."""

    dialect: str
    config: Config | None
    process: Process | None
    diagnostics: tuple[Diagnostic, ...]


def config_options(command: _Command) -> _Command:
    """The options `-c`, `--dialect`, `--ignore-unsupported`, `--set`, and every flag of the native dialect."""
    options = [
        click.option(
            "-c",
            "--config",
            "files",
            multiple=True,
            type=click.Path(readable=False),
            metavar="FILE",
            help="A configuration; may be repeated.",
        ),
        click.option("--dialect", type=click.Choice(DIALECTS), help="Don't tell the dialect from the content."),
        click.option("--ignore-unsupported", is_flag=True, help="Warn about unsupported fields instead of refusing."),
        *(_flag(flag, metavar, text) for flag, (metavar, text) in _HELP.items()),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="KEY=VALUE",
            shell_complete=_keys,
            help="Any other key: session.lifetime=8h.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _flag(name: str, metavar: str, text: str) -> Callable[[_Command], _Command]:
    """A flag of the native dialect: read there, so that its errors are the same everywhere; here shells complete it."""
    words = _WORDS.get(metavar, ())

    def complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete.lower())]

    kind = click.Path(readable=False) if metavar == "FILE" else None
    completes = complete_levels if metavar == COMPONENTS else complete if words else None
    return click.option(f"--{name}", metavar=metavar, help=text, type=kind, shell_complete=completes)


def _keys(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    every = (f"{section}.{key}=".removeprefix(".") for section, keys in KEYS.items() for key in keys)
    return [key for key in every if key.startswith(incomplete)]


def given_flags(options: dict[str, Any]) -> dict[str, str]:
    """Take the native flags out of a command's options, in the form in which dialects read them."""
    settings: Sequence[str] = options.pop("settings")
    flags = {flag: value for flag in FLAGS if (value := options.pop(flag.replace("-", "_"))) is not None}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            raise click.UsageError(f"--set {key}: KEY=VALUE is needed")
        flags[f"set {key.strip()}"] = value
    return flags


def said_by_environment() -> bool:
    """Whether OSTIARY_* variables say what to run, and not only how many workers or how much to log."""
    process = {FLAGS[flag] for flag in PROCESS_FLAGS}
    return any(os.environ.get(name) for name, key in ENVIRONMENT.items() if key not in process)


@final
class Source:
    """The same files, flags and environment each time it is asked (`app.reload.Source`)."""

    def __init__(
        self, files: Sequence[str], *, dialect: str | None, flags: dict[str, str], ignore_unsupported: bool
    ) -> None:
        self.files = tuple(name for name in files if name != "-")
        seed = secrets.token_bytes(32)
        self._load = partial(
            load,
            files,
            dialect=dialect,
            flags=flags,
            ignore_unsupported=ignore_unsupported,
            entropy=lambda size: hashlib.shake_256(seed).digest(size),  # a secret that nobody gave stays the same
            standard_input={},
        )

    def load(self) -> Loaded:
        """Read it as it is now; standard input as it was."""
        return self._load()


def load(
    files: Sequence[str],
    *,
    dialect: str | None,
    flags: dict[str, str],
    ignore_unsupported: bool,
    entropy: Entropy = secrets.token_bytes,
    standard_input: dict[str, bytes] | None = None,
) -> Loaded:
    """Read the configuration. The first file decides the dialect; without files it is the native one.

    Whatever is wrong is a diagnostic, a file that can't be read too. `standard_input` keeps what can be read only once.
    """
    try:
        contents = [(name, read_bytes(name, standard_input)) for name in files]
        chosen = dialect or (_detected(contents) if contents else "native")
    except ConfigError as error:
        return Loaded(dialect="unknown", config=None, process=None, diagnostics=error.diagnostics)
    if chosen == "native":
        found = native.load_all(contents, flags=flags, env=os.environ, read=read_file, entropy=entropy)
        return _loaded(chosen, contents[0][0] if files else "", found.config, found.process, found.diagnostics)
    if chosen == "oauth2-proxy":
        message = f"this is written in the dialect {chosen}, which this version can't run"
        mend = "native, envoy and istio it can; `ostiary check` and `ostiary doctor` say what is wrong with it"
        refused = Diagnostic(file=files[0], line=1, column=1, path="", message=message, mend=mend)
        return Loaded(dialect=chosen, config=None, process=None, diagnostics=(refused,))
    from ostiary.dialects import envoy, istio  # their schema takes a while to load, and not everyone needs it

    own = {flag: text for flag, text in flags.items() if chosen == "istio" and flag in istio.FLAGS}
    rest = {flag: text for flag, text in flags.items() if flag not in own}
    process, about_flags = native.load_process(flags=rest, env=os.environ)
    options: Any = {"ignore_unsupported": ignore_unsupported, "read": read_file}
    if chosen == "istio":
        config, about_files = istio.load(contents, flags=own, env=os.environ, **options)
    else:
        config, about_files = envoy.load(contents, **options)
    return _loaded(chosen, files[0], config, process, (*about_flags, *about_files))


def _loaded(
    dialect: str, file: str, config: Config | None, process: Process | None, diagnostics: Sequence[Diagnostic]
) -> Loaded:
    """Nothing can be run if a part of it is missing."""
    missing = missing_extras(config, file) if config is not None else []
    usable = config is not None and process is not None and not missing
    return Loaded(
        dialect=dialect,
        config=config if usable else None,
        process=process if usable else None,
        diagnostics=(*diagnostics, *missing),
    )


def _detected(contents: Sequence[tuple[str, bytes]]) -> str:
    """The dialect of the first file that has one: a Secret may come before the EnvoyFilter. Raises ConfigError."""
    from ostiary.dialects.detect import detect  # loads Envoy's schema

    errors = []
    for name, content in contents:
        try:
            return detect(content, name)
        except ConfigError as error:
            errors.append(error)
    raise errors[0]


def read_bytes(name: str, standard_input: dict[str, bytes] | None = None) -> bytes:
    """A configuration file's bytes; `-` is standard input. Raises ConfigError."""
    try:
        if name == "-" and standard_input is not None:
            if name not in standard_input:
                standard_input[name] = read_bytes(name)
            return standard_input[name]
        if name == "-":
            return sys.stdin.buffer.read(limits.MAX_CONFIG_BYTES + 1)
        return read_file(name)
    except OSError as error:
        message = f"can't read it: {error.strerror or error}"
        raise ConfigError([Diagnostic(file=name, line=0, column=0, path="", message=message)]) from None


def read_file(name: str) -> bytes:
    """A file's bytes, no more than a configuration may have (a device never ends). Raises OSError."""
    with Path(name).open("rb") as file:
        return file.read(limits.MAX_CONFIG_BYTES + 1)


def show(diagnostics: Sequence[Diagnostic]) -> None:
    """Print diagnostics to stderr, one line each."""
    for diagnostic in diagnostics:
        print(diagnostic, file=sys.stderr)
