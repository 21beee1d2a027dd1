"""`ostiary demo`."""

from __future__ import annotations

import click

from ostiary.cli.exit_codes import EXIT_USAGE
from ostiary.model.errors import OstiaryError


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=4180, show_default=True, help="The doorkeeper's port.")
@click.option("--broken-ipv6", is_flag=True, help="Put a dead IPv6 address before the provider's good one.")
def command(port: int, broken_ipv6: bool) -> int:
    """A provider, an application and the doorkeeper on this machine, ready to click. Works offline.

    \b
    Examples:
      ostiary demo
      ostiary demo --broken-ipv6
    """
    from ostiary.admin.server import AdminServer
    from ostiary.app.demo import run
    from ostiary.cli.commands import fail

    try:
        return run(port, broken_ipv6, AdminServer)
    except OstiaryError as error:
        return fail(str(error), EXIT_USAGE)
