"""Standard input that Ctrl-C ends: what has come until then is a whole log, as it is for `connect`'s timeline.

`kubectl logs -f POD | ostiary doctor --log -` never ends by itself. A thread that waits in `read` can't be interrupted,
so it waits for the pipe and for a word of ours at the same time.
"""

from __future__ import annotations

import io
import os
import select
from typing import final


@final
class EndableInput(io.RawIOBase):
    """Reads a descriptor to its end, or until `end`."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._ended, self._end = os.pipe()

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1) -> bytes:
        """So many bytes; fewer at the end alone, as a file gives them. Raises OSError."""
        read = bytearray()
        while size < 0 or len(read) < size:
            ready = select.select([self._descriptor, self._ended], [], [])[0]
            if self._ended in ready:
                break
            block = os.read(self._descriptor, size - len(read) if size >= 0 else io.DEFAULT_BUFFER_SIZE)
            if not block:
                break
            read += block
        return bytes(read)

    def end(self) -> None:
        """From now on nothing comes."""
        os.write(self._end, b"\0")

    def close(self) -> None:
        """Standard input itself stays open."""
        if not self.closed:
            os.close(self._ended)
            os.close(self._end)
        super().close()
