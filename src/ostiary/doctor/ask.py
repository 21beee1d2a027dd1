"""`ostiary.diagnose`: the doctor for programs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from ostiary.core.target import parse_target
from ostiary.doctor.examine import Question, examine
from ostiary.doctor.report import Report

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


async def diagnose(target: str = "", *, config: Paths = (), log: Paths = (), probes: bool = True) -> Report:
    """What is wrong with a sign-in, as `ostiary doctor` finds it: causes first, each with its proof and its mend.

    `target` is a URL or HOST:PORT to probe from here, `config` and `log` are files of any dialect and program. `probes`
    False connects to nothing that a configuration names. Raises ValueError for a target that is none or nothing to look
    at, OSError for a file that can't be read.
    """
    configurations, logs = _paths(config), _paths(log)
    if not (target or configurations or logs):
        raise ValueError("nothing to look at: name a target, a configuration or a log")
    if target:
        parse_target(target)
    for path in logs:
        if not path.is_fifo():  # whoever writes into one would be gone after that
            path.open("rb").close()
    question = Question(
        target=target,
        configurations=tuple((str(path), path.read_bytes()) for path in configurations),
        logs=tuple((str(path), _opens(path)) for path in logs),
        environment=os.environ,
        open_file=lambda name: Path(name).read_bytes(),
        probes=probes,
    )
    return await examine(question)


def _paths(given: Paths) -> tuple[Path, ...]:
    return (Path(given),) if isinstance(given, str | os.PathLike) else tuple(map(Path, given))


def _opens(path: Path) -> Callable[[], BinaryIO]:
    return lambda: path.open("rb")
