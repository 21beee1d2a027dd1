"""What TLS handshakes come to, under Envoy's names.

A handshake of a client that fails is told to nobody: its connection is dropped before it was made. So those that began
are kept track of, weakly; who is gone and was never made has failed.
"""

from __future__ import annotations

import ssl
import time
from collections import Counter
from typing import TYPE_CHECKING, final
from weakref import WeakSet

from ostiary.model import limits

if TYPE_CHECKING:
    from ostiary.core.trace import ConnectTrace
    from ostiary.net.http1 import Downstream


@final
class Handshakes:
    """Of the clients of one listener."""

    def __init__(self) -> None:
        self._began = self._made = 0
        self._under_way: WeakSet[Downstream] = WeakSet()

    def begin(self, connection: Downstream) -> None:
        """A client has connected."""
        self._began += 1
        self._under_way.add(connection)

    def finish(self, connection: Downstream, counts: Counter[str]) -> None:
        """The connection is made."""
        if connection in self._under_way:
            self._under_way.discard(connection)
            self._made += 1
        tls: ssl.SSLObject = connection.transport.get_extra_info("ssl_object")
        _shaken(counts, tls.version() or "", (tls.cipher() or ("",))[0])
        counts["ssl.no_certificate"] += not connection.transport.get_extra_info("peercert")

    @property
    def under_way(self) -> int:
        """How many may still come about; one that ran into its time and was not collected yet doesn't."""
        oldest = time.monotonic() - limits.TLS_HANDSHAKE_TIMEOUT
        return sum(each.opened_at > oldest for each in self._under_way)

    def fill(self, room: int) -> bool:
        """Whether so many or more are under way."""
        return len(self._under_way) >= room and self.under_way >= room

    @property
    def failed(self) -> int:
        """How many came to nothing."""
        return self._began - self._made - self.under_way


def _shaken(counts: Counter[str], version: str, cipher: str) -> None:
    counts["ssl.handshake"] += 1
    counts[f"ssl.versions.{version}"] += 1
    counts[f"ssl.ciphers.{cipher}"] += 1


def count_handshakes(counts: Counter[str], trace: ConnectTrace) -> None:
    """What the handshakes of a connection of our own came to."""
    if trace.tls is not None:
        _shaken(counts, trace.tls.version, trace.tls.cipher)
    for attempt in trace.attempts:
        if attempt.stage != "tls" or attempt.outcome != "failed":
            continue
        name = "connection_error"
        if attempt.errno == "CERTIFICATE_VERIFY_FAILED":
            name = "fail_verify_san" if "mismatch" in attempt.message else "fail_verify_error"
        counts[f"ssl.{name}"] += 1
