"""The verbs. Each lives in `ostiary.cli.<verb>` as `command` and is imported only when it is called."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from ostiary._version import __version__
from ostiary.cli.exit_codes import EXIT_INTERRUPTED, EXIT_PROBLEM, EXIT_USAGE
from ostiary.model.errors import ConfigError, OstiaryError

VERBS: Final[Mapping[str, str]] = {
    "demo": "A provider, an application and the doorkeeper on this machine, ready to click.",
    "run": "The doorkeeper: sign users in before an HTTP application.",
    "check": "Validate a configuration of any dialect.",
    "log": "Show and change the log levels of a running proxy, and follow its log.",
    "connect": "Draw one connection as a timeline: DNS, attempts, TLS, and the winner.",
    "envoyfilter": "Print an Istio EnvoyFilter that signs users in, and what belongs to it.",
    "patch": "Apply Istio's EnvoyFilters to a proxy's configuration, and explain each patch.",
    "convert": "Write a configuration in another dialect.",
    "doctor": "Find out why sign-in fails: root cause, proof, mend.",
    "completion": "Print a shell's completion script.",
}
_EPILOG: Final = "Exit codes: 0 done, 1 a problem was found, 2 wrong usage or configuration, 130 interrupted."

_version_option = click.version_option(__version__, message="ostiary %(version)s")


class _LazyGroup(click.Group):
    """A group that knows its verbs' names and imports a verb when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(f"ostiary.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        if not any(isinstance(option, click.Option) and "--version" in option.opts for option in command.params):
            _version_option(command)
        command.epilog = _EPILOG
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Raises click.UsageError with the verb that may be meant."""
        if args[0] not in VERBS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], VERBS, 1)
            raise click.UsageError(
                f"there is no command {args[0]!r}" + (f": did you mean {near[0]}?" if near else ""), ctx
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EPILOG,
)
@_version_option
def root() -> None:
    """Signs users in, in front of any HTTP application, and says exactly why when it can't.

    Start with: ostiary demo
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code. Errors go to stderr in one form."""
    if "_OSTIARY_COMPLETE" in os.environ:
        from ostiary.cli.completion import register

        register()
    try:
        result: Any = root.main(args=list(arguments), prog_name="ostiary", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return EXIT_USAGE
    except click.ClickException as error:
        return _usage(error)
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except ConfigError as error:
        return fail(str(error), EXIT_USAGE)
    except BrokenPipeError:
        # Whoever read our output has seen enough (`| head`); Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PROBLEM
    except OstiaryError as error:
        return fail(str(error), EXIT_PROBLEM)
    except OSError as error:
        return fail(_told(error), EXIT_PROBLEM)
    return result if isinstance(result, int) else 0


def _told(error: OSError) -> str:
    """Without its number, which tells people nothing."""
    said = error.strerror or str(error)
    return f"{error.filename}: {said}" if error.filename else said


def fail(message: str, code: int) -> int:
    """Say what is wrong and return the exit code."""
    print(f"ostiary: error: {message}", file=sys.stderr)
    return code


def _usage(error: click.ClickException) -> int:
    context = getattr(error, "ctx", None)
    code = fail(error.format_message(), EXIT_USAGE)
    if context is not None:
        print(f"Try '{context.command_path} --help'.", file=sys.stderr)
    return code
