"""`ostiary check`."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

import click

from ostiary.cli.configuration import Loaded, config_options, given_flags, load


@click.command()
@config_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(
    files: tuple[str, ...], dialect: str | None, ignore_unsupported: bool, as_json: bool, **options: Any
) -> int:
    """Validate a configuration of any dialect.

    Prints `file:line:column: severity: path: message (mend)` for each finding. Exits with 2 if it can't be run.

    \b
    Examples:
      ostiary check -c ostiary.yaml
      ostiary check -c envoy.yaml --json
    """
    if not files:
        raise click.UsageError("name a file with -c")
    flags = given_flags(options)
    loaded = load(files, dialect=dialect, flags=flags, ignore_unsupported=ignore_unsupported)
    if as_json:
        print(json.dumps(_document(loaded), indent=2, ensure_ascii=False))
    else:
        for diagnostic in loaded.diagnostics:
            print(diagnostic)
        print(_summary(loaded), file=sys.stderr)
    return 0 if loaded.config is not None else 2


def _document(loaded: Loaded) -> dict[str, Any]:
    return {
        "ok": loaded.config is not None,
        "dialect": loaded.dialect,
        "diagnostics": [dataclasses.asdict(diagnostic) for diagnostic in loaded.diagnostics],
    }


def _summary(loaded: Loaded) -> str:
    errors = sum(d.severity == "error" for d in loaded.diagnostics)
    warnings = sum(d.severity == "warning" for d in loaded.diagnostics)
    if loaded.config is None:
        return f"{loaded.dialect}: {errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}"
    where = ", ".join(str(listener.address) for listener in loaded.config.listeners)
    return f"{loaded.dialect}: good, {warnings} warning{'s' * (warnings != 1)}; would listen on {where}"
