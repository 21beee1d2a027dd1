"""Logs of any program into facts: `read` takes an open file, of any size, in any of the formats people have.

`scan` finds the lines that matter, `formats` takes them apart, `patterns` know what programs say, `joining` knows which
lines belong together, `collected` counts. Lines are known by their messages, never by a source file's line number.
"""

from __future__ import annotations

from ostiary.doctor.logs.read import Reading, read

__all__ = ["Reading", "read"]
