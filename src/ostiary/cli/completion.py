"""`ostiary completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> int:
    """Print a shell's completion script.

    \b
    Examples:
      source <(ostiary completion bash)      # in ~/.bashrc; for zsh in ~/.zshrc, after compinit
      ostiary completion fish > ~/.config/fish/completions/ostiary.fish
    """
    from ostiary.cli.commands import root

    complete = get_completion_class(shell)
    assert complete is not None
    click.echo(complete(root, {}, "ostiary", "_OSTIARY_COMPLETE").source())
    return 0
