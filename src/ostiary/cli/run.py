"""`ostiary run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ostiary.cli.configuration import Source, config_options, given_flags, said_by_environment, show
from ostiary.cli.exit_codes import EXIT_USAGE

if TYPE_CHECKING:
    from ostiary.app.administration import Admin
    from ostiary.app.lifecycle import Doorkeeper
    from ostiary.core.trace import ConnectTrace
    from ostiary.model.clusters import Cluster


@click.command()
@config_options
def command(files: tuple[str, ...], dialect: str | None, ignore_unsupported: bool, **options: Any) -> int:
    """Sign users in before an HTTP application.

    \b
    Examples:
      ostiary run -c ostiary.yaml
      ostiary run -c envoy.yaml --log-level debug
      OSTIARY_CLIENT_SECRET=... ostiary run --upstream http://127.0.0.1:8080 \\
          --issuer https://login.example.com --client-id my-app
    """
    flags = given_flags(options)
    if not files and not flags and not said_by_environment():
        raise click.UsageError(
            "nothing says what to run: name a file with -c, set OSTIARY_* variables, or see the example in --help"
        )
    source = Source(files, dialect=dialect, flags=flags, ignore_unsupported=ignore_unsupported)
    loaded = source.load()
    show(loaded.diagnostics)
    if loaded.config is None or loaded.process is None:
        return EXIT_USAGE
    from ostiary.app import running

    return running.run(loaded.config, loaded.process, _admin, source, _explain)


def _admin(worker: Doorkeeper) -> Admin:
    from ostiary.admin.server import AdminServer  # only where the configuration has an admin API

    return AdminServer(worker)


def _explain(cluster: Cluster | None, trace: ConnectTrace) -> str:
    from ostiary.doctor.at_hand import explanation  # only where a provider can't be reached

    return explanation(cluster, trace)
