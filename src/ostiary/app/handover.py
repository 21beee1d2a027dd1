"""A configuration as bytes, from the parent to its workers and to nobody else.

Secrets refuse to be pickled, so that none gets anywhere by accident. Here it is meant: the bytes travel over a socket
that only this family of processes holds, and end with the question that they belong to.
"""

from __future__ import annotations

import copyreg
import io
import pickle

from ostiary.model.config import Config
from ostiary.model.process import Process
from ostiary.model.secret import Secret

Sockets = list[tuple[str, int]]
"""Listeners whose sockets come along as descriptors, in this order, and how many each has."""


def pack(config: Config, process: Process, sockets: Sockets, admin: int = 0) -> bytes:
    """For `unpack` in a worker. `admin`: how many descriptors of a new admin address come last."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer)
    pickler.dispatch_table = {**copyreg.dispatch_table, Secret: lambda secret: (Secret, (secret.reveal(),))}
    pickler.dump((config, process, sockets, admin))
    return buffer.getvalue()


def unpack(data: bytes) -> tuple[Config, Process, Sockets, int]:
    """What the parent packed."""
    config, process, sockets, admin = pickle.loads(data)  # noqa: S301 - only the parent can have written it
    assert isinstance(config, Config) and isinstance(process, Process)
    return config, process, sockets, admin
