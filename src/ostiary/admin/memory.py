"""What a process has of the machine's memory, in bytes."""

from __future__ import annotations

from typing import Final

_WANTED: Final = {"VmRSS": "physical", "RssAnon": "allocated", "VmData": "heap"}


def memory() -> dict[str, int]:
    """`physical`: what is resident; `allocated`: of that, what is no file's; `heap`: what is reserved for data.

    Linux tells (proc(5), /proc/self/status); elsewhere there is nothing.
    """
    found = dict.fromkeys(_WANTED.values(), 0)
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name in _WANTED:
                    found[_WANTED[name]] = int(value.split()[0]) * 1024
    except OSError:
        return {}
    return found
