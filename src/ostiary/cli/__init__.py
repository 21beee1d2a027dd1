"""The command line's door. `ostiary --version` is answered here, before anything heavy is imported."""

from __future__ import annotations

import gc
import sys

from ostiary._version import __version__


def main() -> None:
    """Run the command line and exit: 0 done, 1 a problem was found, 2 wrong usage or configuration, 130 interrupted."""
    if sys.argv[1:] == ["--version"]:
        print(f"ostiary {__version__}")
        return
    if sys.argv[1:2] == ["run"]:
        gc.disable()  # importing makes no garbage worth a pause; app/lifecycle.py switches it on
    from ostiary.cli.commands import run

    sys.exit(run(sys.argv[1:]))
