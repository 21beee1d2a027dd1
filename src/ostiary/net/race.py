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
from functools import partial

from ostiary.core.addresses import Candidate, Destination, RecordType
from ostiary.core.eyeballs import Action, Cancel, Dial, Done, Query, Race, RaceConfig
from ostiary.core.trace import Attempt
from ostiary.net import routes
from ostiary.net.attempt import HeldProtocol, Runner, describe, disown, source_of
from ostiary.net.dns_exchange import Answer
from ostiary.net.resolver import Lookup

Ask = Callable[[RecordType], Lookup]
CheckPeer = Callable[[ssl.SSLObject], None]

_TIMER_GRAIN = 0.001
"""uvloop's timers count in milliseconds; a shorter one would fire too early, again and again."""


class RaceDriver:
    """One race: `run` it once, then `close` it, whatever happened."""

    __slots__ = (
        "_answered",
        "_ask",
        "_check_peer",
        "_config",
        "_done",
        "_lookups",
        "_loop",
        "_port",
        "_race",
        "_runners",
        "_server_hostname",
        "_ssl",
        "_tasks",
        "_timer",
        "candidates",
        "result",
    )  # fmt: skip

    def __init__(
        self,
        config: RaceConfig,
        *,
        ask: Ask,
        ssl_context: ssl.SSLContext | None,
        server_hostname: str,
        check_peer: CheckPeer | None,
        tasks: set[asyncio.Task[None]],
        now: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._config = config
        self._race = Race(config, now)
        self._ask = ask
        self._ssl = ssl_context
        self._server_hostname = server_hostname
        self._check_peer = check_peer
        self._tasks = tasks
        self._runners: dict[Destination, Runner] = {}
        self._lookups: dict[RecordType, tuple[Lookup, Callable[[Answer], None]]] = {}
        self._answered: list[Lookup] = []
        self._timer: asyncio.TimerHandle | None = None
        self._done: asyncio.Future[None] = self._loop.create_future()
        self.candidates: dict[Destination, Candidate] = {}
        self.result: Done | None = None

    async def run(self, port: int, addresses: Sequence[tuple[str, int]] | None) -> Runner | None:
        """The winner, whose socket (or TLS transport) is the caller's from here on; None if there is none."""
        self._port = port
        now = time.monotonic()
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
        winner = self.result.winner if self.result is not None else None
        for destination, runner in self._runners.items():
            if destination != winner:
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
        untried = [
            Attempt(
                address=destination.address,
                port=destination.port,
                family=destination.family,
                source=self.candidates[destination].source,
                stage="tcp" if self.candidates[destination].routable else "route",
                message="" if self.candidates[destination].routable else "no route from this host, so tried last",
            )
            for destination in self._race.untried
        ]
        return [*(runner.record for runner in self._runners.values()), *untried]

    # --- actions

    def _apply(self, actions: Iterable[Action]) -> None:
        queue = deque(actions)
        known: list[tuple[RecordType, Sequence[Candidate]]] = []
        while queue:
            action = queue.popleft()
            match action:
                case Query(record_type):
                    lookup = self._ask(record_type)
                    if lookup.answer is not None:
                        self._answered.append(lookup)
                        known.append((record_type, self._resolved(lookup.answer)))
                    else:
                        on_answer = partial(self._on_answer, record_type)
                        self._lookups[record_type] = (lookup, on_answer)
                        lookup.wait(on_answer)
                case Dial(destination):
                    queue.extend(self._dial(destination))
                case Cancel(destination):
                    self._cancel(destination)
                case Done():
                    self._finish(action)
            if known and not any(isinstance(waiting, Query) for waiting in queue):
                queue.extend(self._race.answers(known, time.monotonic()))
                known = []
        self._arm()

    def _finish(self, result: Done) -> None:
        self.result = result
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
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._race.deadline
        if deadline is not None:
            delay = max(deadline - time.monotonic(), _TIMER_GRAIN)
            self._timer = self._loop.call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._apply(self._race.tick(time.monotonic()))

    # --- addresses

    def _on_answer(self, record_type: RecordType, answer: Answer) -> None:
        candidates = self._resolved(answer)
        self._apply(self._race.answer(record_type, candidates, time.monotonic()))

    def _resolved(self, answer: Answer) -> list[Candidate]:
        return self._checked(Destination(address, self._port) for address in answer.addresses)

    def _given(self, addresses: Sequence[tuple[str, int]]) -> list[Candidate]:
        """Ready addresses. A single one is tried whatever the kernel says, so it isn't asked."""
        if len(addresses) > 1:
            return self._checked(Destination(*address) for address in addresses)
        candidates = [Candidate(destination=Destination(*address)) for address in addresses]
        self.candidates.update((candidate.destination, candidate) for candidate in candidates)
        return candidates

    def _checked(self, destinations: Iterable[Destination]) -> list[Candidate]:
        """Each with the kernel's word on its route."""
        candidates = [routes.check(destination) for destination in dict.fromkeys(destinations)]
        self.candidates.update((candidate.destination, candidate) for candidate in candidates)
        return candidates

    # --- attempts

    def _dial(self, destination: Destination) -> list[Action]:
        now = time.monotonic()
        record = Attempt(
            address=destination.address, port=destination.port, family=destination.family, started=now
        )  # fmt: skip
        runner = self._runners[destination] = Runner(destination, record)
        try:
            sock = socket.socket(socket.AF_INET6 if destination.family == "v6" else socket.AF_INET, socket.SOCK_STREAM)
        except OSError as error:
            record.stage = "route" if routes.is_local_error(error.errno) else "tcp"
            return self._failed(runner, error)
        runner.sock = sock
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect(destination)
        except (BlockingIOError, InterruptedError):
            record.source = source_of(sock)
            self._loop.add_writer(sock, self._on_writable, runner)
            return []
        except OSError as error:
            record.stage = "route" if routes.is_local_error(error.errno) else "tcp"
            return self._failed(runner, error)
        record.source = source_of(sock)
        return self._tcp_up(runner)

    def _on_writable(self, runner: Runner) -> None:
        sock = runner.sock
        if runner.closed or sock is None:
            return
        self._loop.remove_writer(sock)
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._apply(self._failed(runner, OSError(number, os.strerror(number))) if number else self._tcp_up(runner))

    def _tcp_up(self, runner: Runner) -> list[Action]:
        runner.record.connected = now = time.monotonic()
        if self._ssl is None:
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
                ssl=self._ssl,
                server_hostname=self._server_hostname,
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
            if self._check_peer is not None:
                self._check_peer(transport.get_extra_info("ssl_object"))
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
        runner.close(self._loop)
        return self._race.failed(runner.destination, now)
