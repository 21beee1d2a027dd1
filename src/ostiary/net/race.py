"""Drives the machine of `core.eyeballs` with real sockets, on any asyncio loop.

A TCP attempt is a non-blocking connect watched by `add_writer` (not `sock_connect`, which a cancelled caller can leave
watching a descriptor that is already someone else's). With TLS the handshake belongs to the attempt: the loop's own
TLS transport runs it with a protocol that only keeps what arrives, and the winner's transport is then handed to the
caller's protocol, bytes included.

A loser ends in the same tick as the winner is known: a socket of ours by `close`, one that the loop's transport owns
by `shutdown`, which ends both directions at once and lets the transport close the descriptor itself.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from ostiary.core.addresses import Candidate, Destination, RecordType
from ostiary.core.endpoints import Answered
from ostiary.core.eyeballs import Action, Cancel, Dial, Done, Query, Race, RaceConfig
from ostiary.core.services import Client
from ostiary.core.trace import Attempt
from ostiary.net import routes
from ostiary.net.attempt import HeldProtocol, Runner, describe, disown, explained, open_socket, source_of
from ostiary.net.dns_exchange import Answer
from ostiary.net.race_log import RaceLog
from ostiary.net.resolver import Lookup

CheckPeer: TypeAlias = Callable[[ssl.SSLObject], None]

_TIMER_GRAIN = 0.001
"""uvloop's timers count in milliseconds; a shorter one would fire too early, again and again."""


@dataclass(slots=True, kw_only=True)
class Setting:
    """What a race needs besides its machine's configuration."""

    host: str
    port: int
    ask: Callable[[RecordType, str], Lookup]
    """Record type and name (empty: the race's own) to lookup."""
    judge: Callable[[Iterable[Destination]], list[Candidate]]
    """What the kernel and the memory say about addresses."""
    protocols: Sequence[str] = ()
    """What the client speaks, in ALPN's terms: HTTPS records are chosen by it."""
    local: Sequence[routes.LocalAddress] = ()
    ssl_context: ssl.SSLContext | None = None
    server_hostname: str = ""
    check_peer: CheckPeer | None = None
    drop_unroutable: bool = False
    """An answer none of whose addresses has a route is none (Envoy's filter_unroutable_families)."""


class RaceDriver:
    """One race: `run` it once, then `close` it, whatever happened."""

    __slots__ = (
        "_answered", "_config", "_done", "_lookups", "_loop", "_race", "_runners", "_setting", "_tasks", "_timer",
        "_wakes_at", "candidates", "log", "result",
    )  # fmt: skip

    def __init__(self, config: RaceConfig, setting: Setting, tasks: set[asyncio.Task[None]], now: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._config = config
        self._setting = setting
        self._race = Race(config, now)
        self._tasks = tasks
        self._runners: dict[Destination, Runner] = {}
        self._lookups: dict[tuple[RecordType, str], tuple[Lookup, Callable[[Answer], None]]] = {}
        self._answered: list[Lookup] = []
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = 0.0
        self._done: asyncio.Future[None] = self._loop.create_future()
        self.candidates: dict[Destination, Candidate] = {}
        self.result: Done | None = None
        self.log = RaceLog(setting.host)

    async def run(self, addresses: Sequence[tuple[str, int]] | None) -> Runner | None:
        """The winner, whose socket (or TLS transport) is the caller's from here on; None if there is none."""
        now = time.monotonic()
        self.log.begins(None if addresses is None else len(addresses))
        if addresses is None:
            self._apply(self._race.resolve(now))
        else:
            self._apply(self._race.start(self._given(addresses), now))
        await self._done
        assert self.result is not None
        return None if self.result.winner is None else self._runners[self.result.winner]

    def close(self, linger: float = 0.0) -> None:
        """Stop everything but the winner. Queries nobody else waits for may go on for `linger` seconds."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        winner = self.result.winner if self.result is not None else None
        for destination, runner in self._runners.items():
            if not runner.closed and destination != winner:
                runner.close(self._loop)
        for lookup, on_answer in self._lookups.values():
            lookup.release(on_answer, linger)

    def abandon(self) -> None:
        """Stop everything, the winner too: nobody wants it any more."""
        self.close()
        for runner in self._runners.values():
            runner.close(self._loop)

    def lookups(self) -> list[Lookup]:
        """Every lookup of this race, answered or not."""
        return [*self._answered, *(lookup for lookup, _ in self._lookups.values())]

    def attempts(self) -> list[Attempt]:
        """Records in the order of starting, then those without a turn."""
        return [*(runner.record for runner in self._runners.values()), *map(self._untried, self._race.untried)]

    def _untried(self, destination: Destination) -> Attempt:
        known = self.candidates.get(destination)  # the port may be that of a service
        return Attempt(
            address=destination.address,
            port=destination.port,
            family=destination.family,
            source=known.source if known is not None else None,
            stage="tcp" if known is None or known.routable else "route",
            message="" if known is None or known.routable else "no route from this host, so tried last",
        )

    # --- actions

    def _apply(self, actions: Iterable[Action]) -> None:
        queue = deque(actions)
        known: list[Answered] = []
        while queue:
            action = queue.popleft()
            if isinstance(action, Dial):
                queue.extend(self._dial(action.destination))
            elif isinstance(action, Query):
                known += self._query(action.type, action.name)
            elif isinstance(action, Cancel):
                self._cancel(action.destination)
            else:
                self._finish(action)
            if known and not any(isinstance(waiting, Query) for waiting in queue):
                queue.extend(self._race.answers(known, time.monotonic()))
                known = []
        self._arm()

    def _query(self, record_type: RecordType, name: str) -> list[Answered]:
        """Ask, or say what is known already."""
        lookup = self._setting.ask(record_type, name)
        answer = lookup.answer
        if answer is None or answer.stale:
            on_answer = partial(self._on_answer, record_type, name)
            self._lookups[record_type, name] = (lookup, on_answer)
            lookup.wait(on_answer)
        else:
            self._answered.append(lookup)
        return [] if answer is None else [self._read(record_type, name, answer)]

    def _finish(self, result: Done) -> None:
        self.result = result
        outcomes = {query.outcome for lookup in self.lookups() for query in lookup.queries if query.type != "HTTPS"}
        self.log.ends(won=result.winner is not None, late=result.reason == "timeout", outcomes=outcomes)
        for runner in self._runners.values():
            record = runner.record
            if runner.destination == result.winner:
                record.outcome = "won"
            elif result.reason == "timeout" and record.outcome == "cancelled":
                record.outcome = "timeout"
                record.message = "no answer" if record.stage == "tcp" else "the TLS handshake did not end"
        if not self._done.done():
            self._done.set_result(None)

    def _cancel(self, destination: Destination) -> None:
        runner = self._runners[destination]
        if runner.record.ended is None:
            runner.record.ended = time.monotonic()
        runner.record.outcome = "cancelled"
        runner.close(self._loop)

    def _arm(self) -> None:
        """A timer that is due too early costs less than a new one at each event; a late one is replaced."""
        deadline = self._race.deadline
        if deadline is None or (self._timer is not None and self._wakes_at <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._wakes_at = deadline
        self._timer = self._loop.call_later(max(deadline - time.monotonic(), _TIMER_GRAIN), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._apply(self._race.tick(time.monotonic()))

    # --- addresses

    def _on_answer(self, record_type: RecordType, name: str, answer: Answer) -> None:
        lookup, on_answer = self._lookups[record_type, name]
        if answer.stale:
            lookup.wait(on_answer)
        self._apply(self._race.answers((self._read(record_type, name, answer),), time.monotonic()))

    def _read(self, record_type: RecordType, name: str, answer: Answer) -> Answered:
        if record_type == "HTTPS":
            client = Client(
                host=self._setting.host,
                port=self._setting.port,
                protocols=self._setting.protocols,
                judge=self._judge,
                entropy=os.urandom,
            )
            return client.read(answer.services, name, final=not answer.stale)
        found = self._judge(Destination(address, self._setting.port) for address in answer.addresses)
        if self._setting.drop_unroutable and not any(candidate.routable for candidate in found):
            found = []
        return Answered(record_type, found, name, not answer.stale)

    def _given(self, addresses: Sequence[tuple[str, int]]) -> list[Candidate]:
        """Ready addresses. A single one is tried whatever the kernel says, so it isn't asked."""
        if len(addresses) > 1:
            return self._judge(Destination(*address) for address in addresses)
        candidates = [Candidate(Destination(*address)) for address in addresses]
        self.candidates.update((candidate.destination, candidate) for candidate in candidates)
        return candidates

    def _judge(self, destinations: Iterable[Destination]) -> list[Candidate]:
        """Each with the kernel's word on its route, and what the memory knows."""
        candidates = self._setting.judge(dict.fromkeys(destinations))
        for candidate in candidates:
            self.candidates[candidate.destination] = candidate
        return candidates

    # --- attempts

    def _dial(self, destination: Destination) -> list[Action]:
        now = time.monotonic()
        record = Attempt(
            address=destination.address, port=destination.port, family=destination.family, started=now
        )  # fmt: skip
        runner = self._runners[destination] = Runner(destination, record)
        self.log.dials(runner)
        try:
            sock = runner.sock = open_socket(destination, self._setting.local)
            sock.connect(destination if "%" not in destination.address else routes.sockaddr(*destination))
        except (BlockingIOError, InterruptedError):
            assert runner.sock is not None
            self.log.waits(runner)
            record.source = self._source(runner)
            self._loop.add_writer(runner.sock, self._on_writable, runner)
            return []
        except OSError as error:
            record.stage = "route" if routes.is_local_error(error.errno) else "tcp"
            return self._failed(runner, explained(error, destination, self._setting.local))
        record.source = self._source(runner)
        return self._tcp_up(runner)

    def _source(self, runner: Runner) -> str | None:
        known = self.candidates.get(runner.destination)
        if known is not None and known.source is not None:
            return known.source
        return source_of(runner.sock) if runner.sock is not None else None

    def _on_writable(self, runner: Runner) -> None:
        sock = runner.sock
        if runner.closed or sock is None:
            return
        self._loop.remove_writer(sock)
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._apply(self._failed(runner, OSError(number, os.strerror(number))) if number else self._tcp_up(runner))

    def _tcp_up(self, runner: Runner) -> list[Action]:
        runner.record.connected = now = time.monotonic()
        self.log.connected(runner)
        if self._setting.ssl_context is None:
            runner.record.ended = now
            return self._race.connected(runner.destination, now)
        runner.record.stage = "tls"
        runner.held = HeldProtocol()
        task = self._loop.create_task(self._handshake(runner, runner.held))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return self._race.handshaking(runner.destination, now)

    async def _handshake(self, runner: Runner, held: HeldProtocol) -> None:
        sock = runner.sock
        assert sock is not None
        try:
            transport, _ = await self._loop.create_connection(
                lambda: held,
                sock=sock,
                ssl=self._setting.ssl_context,
                server_hostname=self._setting.server_hostname,
                ssl_handshake_timeout=self._config.timeout + 1.0,  # the race's own deadline comes first
            )
        except BaseException as error:
            disown(self._loop, sock)
            if isinstance(error, OSError | ValueError):  # ValueError: a server name that TLS can't carry
                if not runner.closed:
                    self._apply(self._failed(runner, error))
                return
            raise
        if runner.closed:
            transport.abort()
            return
        try:
            if self._setting.check_peer is not None:
                self._setting.check_peer(transport.get_extra_info("ssl_object"))
        except ssl.CertificateError as error:
            self._apply(self._failed(runner, error))
            return
        runner.record.ended = now = time.monotonic()
        self._apply(self._race.connected(runner.destination, now))

    def _failed(self, runner: Runner, error: Exception) -> list[Action]:
        record = runner.record
        record.ended = now = time.monotonic()
        record.outcome = "failed"
        record.errno, record.message = describe(error)
        self.log.failed(runner)
        runner.close(self._loop)
        return self._race.failed(runner.destination, now)
