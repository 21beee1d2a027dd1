"""A proxy's log as it grows: of a pod through kubectl, or of a file that may be rotated away under the reader."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from ostiary.net.admin_client import AdminError, Pod, explained, start

Write = Callable[[str], None]
"""Takes one line, without its end."""
_LOOK: Final = 0.2
"""Seconds between two looks at a file."""
_LIMIT: Final = 1 << 20


async def follow_pod(pod: Pod, write: Write) -> None:
    """Until cancelled. Raises AdminError when kubectl ends."""
    process = await start(pod.kubectl("logs", "--follow", "--since=1s"))
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.create_task(process.stderr.read(_LIMIT))
    try:
        while line := await process.stdout.readline():
            write(line.decode("utf-8", "replace").rstrip("\r\n"))
        said = (await errors).decode("utf-8", "replace").strip()
        raise AdminError(explained(said or "kubectl logs has ended: is the pod gone?"))
    finally:
        errors.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def follow_file(path: Path, write: Write) -> None:
    """Until cancelled, from the file's end on. Raises OSError if it isn't there now."""
    file: BinaryIO = path.open("rb")
    try:
        file.seek(0, os.SEEK_END)
        rest = b""
        while True:
            *lines, rest = (rest + file.read(_LIMIT)).split(b"\n")
            for line in lines:
                write(line.decode("utf-8", "replace").rstrip("\r"))
            if not lines:
                await asyncio.sleep(_LOOK)
                file = _current(path, file)
    finally:
        file.close()


def _current(path: Path, file: BinaryIO) -> BinaryIO:
    """The file that has the name by now, from its start if it is another one or was emptied."""
    try:
        found, ours = path.stat(), os.fstat(file.fileno())
    except OSError:
        return file  # between two files; the next look finds it
    if (found.st_ino, found.st_dev) != (ours.st_ino, ours.st_dev):
        file.close()
        return path.open("rb")
    if found.st_size < file.tell():
        file.seek(0)
    return file
