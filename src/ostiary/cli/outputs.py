"""Where reports go: a file that can be written, or standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

STDOUT: Final = "-"


def reads(read: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A parameter's callback: reads each value with a function that raises ValueError."""

    def callback(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        try:
            if value is None:
                return None
            return read(value) if isinstance(value, str) else tuple(read(item) for item in value)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx=context, param=parameter) from error

    return callback


def writable(path: str) -> str:
    """A file that can be written, before minutes are spent on what shall be in it. Raises ValueError."""
    if path == STDOUT:
        return path
    if Path(path).is_dir():
        raise ValueError(f"{path!r} is a directory: name a file, such as {Path(path) / 'report.html'}")
    parent = Path(path).parent
    if not parent.is_dir():
        raise ValueError(f"{path!r} can't be written: there is no directory {str(parent)!r}")
    if not os.access(path if Path(path).exists() else parent, os.W_OK):
        raise ValueError(f"{path!r} can't be written: permission denied")
    return path


def write_page(page: bytes, path: str) -> None:
    """Write a report, and say where it is. Raises click.UsageError."""
    if path == STDOUT:
        sys.stdout.flush()
        sys.stdout.buffer.write(page)
        return
    try:
        Path(path).write_bytes(page)
    except OSError as error:
        raise click.UsageError(f"{path!r} can't be written: {error.strerror}") from error
    print(f"report: {path}", file=sys.stderr)
