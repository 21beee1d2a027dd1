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
"""Bytes, of a line or of what is read at once."""


async def follow_pod(pod: Pod, write: Write) -> None:
    """Until cancelled. Raises AdminError when kubectl ends."""
    process = await start(pod.kubectl("logs", "--follow", "--since=1s"))
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.create_task(process.stderr.read(_LIMIT))
    try:
        rest = b""
        while data := await process.stdout.read(_LIMIT):
            rest = _written(rest + data, write)
        if rest:
            _written(rest + b"\n", write)
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
            data = file.read(_LIMIT)
            rest = _written(rest + data, write)
            if not data:
                await asyncio.sleep(_LOOK)
                file = _current(path, file)
    finally:
        file.close()


def _written(data: bytes, write: Write) -> bytes:
    """Write the lines that are complete, or so long that nobody waits for their end; what is left."""
    *lines, rest = data.split(b"\n")
    if len(rest) > _LIMIT:
        lines, rest = [*lines, rest], b""
    for line in lines:
        write(line.decode("utf-8", "replace").rstrip("\r"))
    return rest


def _current(path: Path, file: BinaryIO) -> BinaryIO:
    """The file that has the name by now, from its start if it is another one or was emptied."""
    try:
        found, ours = path.stat(), os.fstat(file.fileno())
    except OSError:
        return file  # between two files; the next look finds it
    if (found.st_ino, found.st_dev) != (ours.st_ino, ours.st_dev):
        try:
            successor = path.open("rb")
        except OSError:  # it was taken away again, or isn't ours to read yet
            return file
        file.close()
        return successor
    if found.st_size < file.tell():
        file.seek(0)
    return file
