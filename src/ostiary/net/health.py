"""Active health checks of one host, over HTTP/1.1 or TCP, through the same races of addresses as its requests.

What results mean is decided in core/health.py. Checks have connections of their own, kept between them unless
`reuse_connection` is false; they count as nobody's requests.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, final

from ostiary.core.health import Change, HealthState, contains, verdict
from ostiary.core.response import ResponseReader
from ostiary.model import limits
from ostiary.model.clusters import HealthChecking, HttpHealthCheck, TcpHealthCheck
from ostiary.net.roles import Answered, Owner, Watch
from ostiary.net.traffic import Traffic
from ostiary.net.upstream import UpstreamConnection

if TYPE_CHECKING:
    from ostiary.core.header_lines import HeaderLine
    from ostiary.core.response import ResponseHead
    from ostiary.core.trace import ConnectTrace
    from ostiary.net.roles import Carrier

P = TypeVar("P", bound=asyncio.BaseProtocol)
_USER_AGENT: Final = "Envoy/HC"
"""What applications that leave checks out of their logs look for."""


class Dial(Protocol):
    """Opens a connection to the host."""

    def __call__(self, factory: Callable[[], P]) -> Awaitable[tuple[P, Any]]:
        """The protocol, connected. Raises OSError."""


class _Broken(OSError):
    """The connection ended before the answer did."""


@final
class _HttpChecker:
    """Asks over HTTP; owner of its connection and the one who waits for its answers."""

    is_head = False
    request_complete = True
    replayable = False
    name = ""
    buffer_limit = limits.WRITE_HIGH_WATER
    pool: Owner | None = None

    def __init__(self, check: HttpHealthCheck, authority: str, dial: Dial, *, reuse: bool) -> None:
        self._check = check
        self._dial = dial
        self._reuse = reuse
        self._request = _request(check, authority)
        self.is_head = check.method == "HEAD"
        self.reader = ResponseReader()
        self.codes = [0] * 1000
        self.watch: Watch | None = None
        self.traffic = Traffic()
        self._connection: UpstreamConnection | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._status = 0
        self._body = b""

    async def check(self) -> tuple[bool, bool]:
        """(good, retriable). Raises OSError."""
        self._status, self._body = 0, b""
        answer = self._answer = asyncio.get_running_loop().create_future()
        connection = self._connection
        if connection is None or connection.closed:
            connection, _ = await self._dial(lambda: UpstreamConnection(self))
            if connection.closed:
                raise _Broken
            self._connection = connection
        connection.begin(self)
        try:
            status, body = await answer
        except BaseException:
            self.close()
            raise
        if not self._reuse:
            self.close()
        return verdict(self._check, status, body)

    def close(self) -> None:
        """Drop the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    # --- an Answered

    def on_upstream(self, connection: Carrier) -> None:
        connection.write(self._request)

    def on_response(self, head: ResponseHead, body: bytes, done: bool) -> None:
        if head.status >= 200:
            self._status = head.status
            self.on_body(body, done, [])

    def on_body(self, data: bytes, done: bool, trailers: list[HeaderLine]) -> None:  # noqa: ARG002 - Answered's shape
        room = (self._check.response_buffer_size or limits.MAX_PROVIDER_RESPONSE_BYTES) - len(self._body)
        if self._check.receive and room > 0:
            self._body += data[:room]
        if done and self._answer is not None and not self._answer.done():
            self._answer.set_result((self._status, self._body))

    def on_dialled(self, trace: ConnectTrace) -> None:
        """Checks have no trace."""

    def on_tunnel(self, data: bytes) -> None:  # noqa: ARG002 - Answered's shape
        self.close()
        self.on_failure("", "", "")

    def on_failure(self, flag: str, details: str, reason: str, cause: BaseException | None = None) -> None:  # noqa: ARG002
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(_Broken())

    def pause(self) -> None:
        """Checks are small."""

    def resume(self) -> None:
        """Checks are small."""

    # --- an Owner: nothing of a check is counted

    def submit(self, client: Answered, fresh: bool = False) -> None: ...

    def withdraw(self, client: Answered) -> None: ...

    def release(self, connection: UpstreamConnection) -> None: ...

    def lost(self, connection: UpstreamConnection, *, local: bool, active: bool) -> None: ...

    def ended(self) -> None: ...

    def broke(self, status: int, *, charged: bool) -> None: ...

    def timed_out(self, *, charged: bool) -> None: ...

    def noted(self, what: str) -> None: ...


def _request(check: HttpHealthCheck, authority: str) -> bytes:
    headers = {"host": authority, "user-agent": _USER_AGENT}
    for name, value in check.request_headers_to_add:
        headers[name] = f"{headers[name]},{value}" if name in headers and name != "host" else value
    for name in check.request_headers_to_remove:
        headers.pop(name, None)
    headers.setdefault("host", authority)
    if check.send:
        headers["content-length"] = str(len(check.send))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{check.method} {check.path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1", "replace") + check.send


@final
class _Probe(asyncio.Protocol):
    """A TCP connection that is listened to."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.closed = False
        self.data = b""
        self.expected: tuple[bytes, ...] = ()
        self.found: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self.transport = transport  # type: ignore[assignment] # uvloop's are not subclasses of asyncio's

    def data_received(self, data: bytes) -> None:
        """Part of an answer."""
        self.data = (self.data + data)[-limits.MAX_HEALTH_CHECK_BYTES :]
        if not self.found.done() and contains(self.expected, self.data):
            self.found.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's shape
        """The host closed."""
        self.closed = True
        if not self.found.done():
            self.found.set_exception(_Broken())
            self.found.exception()  # nobody may be waiting

    async def exchange(self, send: bytes, expected: tuple[bytes, ...]) -> None:
        """Send, and wait for what is expected. Raises OSError."""
        assert self.transport is not None
        self.data, self.expected = b"", expected
        self.found = asyncio.get_running_loop().create_future()
        if self.closed:
            raise _Broken
        if send:
            self.transport.write(send)
        await self.found


@final
class _TcpChecker:
    """Connects, sends, listens."""

    def __init__(self, check: TcpHealthCheck, dial: Dial, *, reuse: bool) -> None:
        self._check = check
        self._dial = dial
        self._reuse = reuse
        self._probe: _Probe | None = None

    async def check(self) -> tuple[bool, bool]:
        """(good, retriable). Raises OSError."""
        probe = self._probe
        try:
            if probe is None or probe.closed:
                probe, _ = await self._dial(_Probe)
                self._probe = probe
            if self._check.receive:
                await probe.exchange(self._check.send, self._check.receive)
            elif self._check.send and probe.transport is not None:
                probe.transport.write(self._check.send)
        except BaseException:
            self.close()
            raise
        if not (self._reuse and self._check.receive):
            self.close()
        return True, False

    def close(self) -> None:
        """Drop the connection."""
        probe, self._probe = self._probe, None
        if probe is not None and probe.transport is not None:
            probe.transport.close()


@final
class HealthSession:
    """Checks one host again and again."""

    def __init__(
        self,
        config: HealthChecking,
        state: HealthState,
        counts: Counter[str],
        dial: Dial,
        authority: str,
        traffic: Callable[[], bool],
        on_result: Callable[[Change, bool], None],
    ) -> None:
        """`traffic` says whether the cluster has been used; `on_result` gets the change, and whether it was good."""
        self._config = config
        self._state = state
        self._counts = counts
        self._traffic = traffic
        self._on_result = on_result
        check = config.check
        self._checker: _HttpChecker | _TcpChecker
        if isinstance(check, HttpHealthCheck):
            self._checker = _HttpChecker(check, authority, dial, reuse=config.reuse_connection)
        else:
            self._checker = _TcpChecker(check, dial, reuse=config.reuse_connection)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    def start(self) -> None:
        """Check for the first time, soon."""
        self._arm(self._state.initial_delay())

    def _arm(self, delay: float) -> None:
        if not self._stopped:
            self._timer = self._loop.call_later(delay, self._begin)

    def _begin(self) -> None:
        self._counts["attempt"] += 1
        self._task = self._loop.create_task(self._check())

    async def _check(self) -> None:
        state = self._state
        good = False
        try:
            async with asyncio.timeout(self._config.timeout):
                good, retriable = await self._checker.check()
        except TimeoutError as error:
            change = state.broke("network" if error.errno is not None else "timeout")
        except (OSError, ValueError):
            change = state.broke("network")
        else:
            change = state.succeeded() if good else state.broke("active", retriable=retriable)
        if not self._stopped:
            self._on_result(change, good)
            self._arm(state.delay(good, change, traffic=self._traffic()))

    def stop(self) -> None:
        """Check no more."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        self._checker.close()
