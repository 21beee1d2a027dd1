"""`ostiary completion`."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    get_completion_class,
)

# click's own script takes bash's words as they are, and bash ends words at `:` and `=` too, which stand inside of ours
# (`--level oauth2:debug`, `--log-level=debug`): so the words are put together again, and of a suggestion only what
# comes behind the last of these signs is handed back, because that is what readline replaces.
_BASH: Final = r"""_ostiary_completion() {
    local IFS=$'\n' rest=${COMP_LINE:0:COMP_POINT} typed=${COMP_WORDS[COMP_CWORD]} i gap kind value before found
    local -a words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        gap=${rest%%%%[![:space:]]*}
        rest=${rest#"$gap"}
        if ((i == COMP_CWORD)); then value=$rest; else value=${COMP_WORDS[i]}; fi
        if [[ -n $gap ]] || ((i == 0)); then words+=("$value"); else words[${#words[@]} - 1]+=$value; fi
        rest=${rest#"$value"}
    done
    value=${words[${#words[@]} - 1]}
    if [[ $typed == [:=]* ]]; then typed=; fi
    before=${value%%"$typed"}
    found=$(env COMP_WORDS="${words[*]}" COMP_CWORD=$((${#words[@]} - 1)) _OSTIARY_COMPLETE=bash_complete "$1")
    COMPREPLY=()
    for i in $found; do
        IFS=, read -r kind value <<<"$i"
        case $kind in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain)
                COMPREPLY+=("${value#"$before"}")
                if [[ $value == *[:=,] ]]; then compopt -o nospace; fi
                ;;
        esac
    done
}
complete -o nosort -F _ostiary_completion ostiary
"""
COMPONENTS: Final = "C:LEVEL,..."
"""The metavar of levels that are of single components only."""


def complete_levels(_context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """What a shell may complete in `info,oauth2:debug`: after `logger:` a level, before it a logger, or a level where
    all loggers may have one."""
    from ostiary.model.process import LOG_COMPONENTS, LOG_LEVELS

    done, comma, item = incomplete.rpartition(",")
    name, colon, _ = item.partition(":")
    one = [f"{component}:" for component in LOG_COMPONENTS]
    every = [] if parameter.metavar == COMPONENTS else [*LOG_LEVELS]
    fits = [f"{name}:{level}" for level in LOG_LEVELS] if colon else [*every, *one]
    return [f"{done}{comma}{each}" for each in fits if each.startswith(item)]


class _Whole(ShellComplete):
    """Of `--log-level=de` click suggests `debug`, which shells put in the place of the whole word."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """As click has them, with what stands before the value."""
        option, equals, _ = incomplete.partition("=")
        found = super().get_completions(args, incomplete)
        if equals and option.startswith("--"):
            for item in found:
                item.value = f"{option}={item.value}" if item.type == "plain" else item.value
        return found


class _Bash(_Whole, BashComplete):
    source_template = _BASH


class _Zsh(_Whole, ZshComplete): ...


class _Fish(_Whole, FishComplete): ...


def register() -> None:
    """Let shells be answered by these."""
    for shell in (_Bash, _Zsh, _Fish):
        add_completion_class(shell)


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

    register()
    complete = get_completion_class(shell)
    assert complete is not None
    click.echo(complete(root, {}, "ostiary", "_OSTIARY_COMPLETE").source())
    return 0
