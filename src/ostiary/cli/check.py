"""`ostiary check`."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ostiary.cli.configuration import Loaded, config_options, given_flags, load, said_by_environment
from ostiary.cli.exit_codes import EXIT_PROBLEM, EXIT_USAGE
from ostiary.model.errors import Diagnostic

if TYPE_CHECKING:
    from ostiary.cli.probe import Probed
    from ostiary.doctor.finding import Finding


@click.command()
@config_options
@click.option("--probe", "probes", is_flag=True, help="Also try the connections and the provider.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(
    files: tuple[str, ...], dialect: str | None, ignore_unsupported: bool, probes: bool, as_json: bool, **options: Any
) -> int:
    """Validate a configuration of any dialect.

    Prints `file:line:column: severity: path: message (mend)` for each finding; `info` is where it runs otherwise than
    in Envoy. --probe adds what `ostiary doctor` finds. Exits with 2 if it can't be run, with 1 if a probe fails.

    \b
    Examples:
      ostiary check -c ostiary.yaml
      ostiary check -c envoy.yaml --json
      ostiary check -c ostiary.yaml --probe
    """
    flags = given_flags(options)
    if not files and not flags and not said_by_environment():
        raise click.UsageError("name a file with -c")
    standard_input: dict[str, bytes] = {}
    loaded = load(
        files, dialect=dialect, flags=flags, ignore_unsupported=ignore_unsupported, standard_input=standard_input
    )
    if loaded.dialect == "oauth2-proxy":
        from ostiary.cli.check_oauth2_proxy import check

        return check(files, standard_input, probes=probes, as_json=as_json)
    loaded = dataclasses.replace(loaded, diagnostics=(*loaded.diagnostics, *_differences(loaded, files)))
    probed, findings = _probe(loaded, files) if probes else ([], ())
    if as_json:
        print(json.dumps(_document(loaded, probed, findings, probes=probes), indent=2, ensure_ascii=False))
    else:
        for diagnostic in loaded.diagnostics:
            print(diagnostic)
        for one in probed:
            print(f"{'ok' if one.ok else 'failed'}: {one.what}: {one.message}")
        for finding in findings:
            print(f"{finding.severity}: {finding.rule}: {finding.title}. {finding.cause} ({finding.mend})")
        print(_summary(loaded), file=sys.stderr)
    if loaded.config is None:
        return EXIT_USAGE
    return 0 if _is_well(probed, findings) else EXIT_PROBLEM


def _differences(loaded: Loaded, files: tuple[str, ...]) -> list[Diagnostic]:
    """Where it would run otherwise than its original, as findings."""
    file = files[0] if files else "environment"
    found = () if loaded.config is None else loaded.config.differences
    return [Diagnostic(file=file, line=0, column=0, severity="info", path="", message=one) for one in found]


def _probe(loaded: Loaded, files: tuple[str, ...]) -> tuple[list[Probed], tuple[Finding, ...]]:
    if loaded.config is None:
        return [], ()
    from ostiary.cli.probe import diagnosed, probe

    return probe(loaded.config), diagnosed(loaded.config, files[0] if files else "environment")


def _is_well(probed: Sequence[Probed], findings: Sequence[Finding]) -> bool:
    return all(one.ok for one in probed) and all(each.severity == "info" for each in findings)


def _document(loaded: Loaded, probed: list[Probed], findings: Sequence[Finding], *, probes: bool) -> dict[str, Any]:
    return {
        "ok": loaded.config is not None and _is_well(probed, findings),
        "dialect": loaded.dialect,
        "diagnostics": [dataclasses.asdict(diagnostic) for diagnostic in loaded.diagnostics],
        "probes": [dataclasses.asdict(one) for one in probed],
        **({"findings": [each.as_dict() for each in findings]} if probes else {}),
    }


def _summary(loaded: Loaded) -> str:
    errors = sum(d.severity == "error" for d in loaded.diagnostics)
    warnings = sum(d.severity == "warning" for d in loaded.diagnostics)
    if loaded.config is None:
        dialect = "no configuration" if loaded.dialect == "unknown" else loaded.dialect
        return f"{dialect}: {errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}"
    where = ", ".join(str(listener.address) for listener in loaded.config.listeners)
    return f"{loaded.dialect}: good, {warnings} warning{'s' * (warnings != 1)}; would listen on {where}"
