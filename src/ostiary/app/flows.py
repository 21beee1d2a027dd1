"""Drives the core's flows: what a generator asks for is fetched, and what it returns is the decision.

Flows with the same `single_flight` key run once: whoever comes meanwhile gets the same outcome. A refresh token that
rotates is so used only once, however many tabs wake up together. Where several processes serve the same sessions,
`Leases` says which of them runs a flow, and the others adopt its outcome.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Final, final

from ostiary.app.calls import Fetcher, told, with_calls
from ostiary.core.decision import Allow, Fetch, Fetched, FetchFailed, Flow, Respond, Start
from ostiary.net.log import log

if TYPE_CHECKING:
    from ostiary.core.flights.parts import Call
    from ostiary.core.leases import Leases

_LOG: Final = log("oauth2")
_DISPATCHED: Final = {
    "token": "Dispatching OAuth request for access token.",
    "refresh": "Dispatching OAuth request for update access token by refresh token.",
}


Tags = Mapping[str, int]
"""The request that log lines are about: its `connection` and its `stream`."""
_NOBODY: Final[Tags] = {}


async def drive(flow: Flow, fetcher: Fetcher, tags: Tags = _NOBODY) -> Allow | Respond:
    """Run one flow to its end."""
    calls: list[Call] = []
    try:
        wanted = next(flow)
        while True:
            if wanted.purpose in _DISPATCHED:
                _LOG.debug("%s", _DISPATCHED[wanted.purpose], **tags)
            try:
                answer = await told(wanted, fetcher, calls)
            except FetchFailed as error:
                _unanswered(wanted, error, tags)
                wanted = flow.throw(error)
            else:
                _answered(wanted, answer, tags)
                wanted = flow.send(answer)
    except StopIteration as stop:
        result: Allow | Respond = stop.value
        return with_calls(result, calls)
    finally:
        flow.close()


def _answered(wanted: Fetch, answer: Fetched, tags: Tags) -> None:
    """Envoy says no more about a good answer."""
    if answer.status == 200 or not _LOG.debugs:
        return
    if wanted.purpose in _DISPATCHED:
        from ostiary.core.oauth2.envoy.token_response import shown  # for debugging only

        _LOG.debug("Oauth response code: %d", answer.status, **tags)
        _LOG.debug("Oauth response body: %s", shown(answer), **tags)
    else:
        _LOG.debug("%s request answered: %d", wanted.purpose, answer.status, **tags)


def _unanswered(wanted: Fetch, error: FetchFailed, tags: Tags) -> None:
    """Envoy's router answers where a provider doesn't."""
    if not _LOG.debugs:
        return
    if wanted.purpose in _DISPATCHED and error.kind != "no_cluster":
        from ostiary.core.oauth2.envoy.token_response import router_answer  # for debugging only

        status, body = router_answer(error)
        _LOG.debug("Oauth response code: %d", status, **tags)
        _LOG.debug("Oauth response body: %s", body, **tags)
    _LOG.debug("%s request failed: %s", wanted.purpose, error.reason, **tags)


async def drive_maintenance(wanted: Generator[Fetch, Fetched, None], fetcher: Fetcher) -> None:
    """Run a generator that only keeps something up to date; it deals with failures itself."""
    try:
        fetch = next(wanted)
        while True:
            try:
                fetch = wanted.send(await fetcher.fetch(fetch))
            except FetchFailed as error:
                said = _LOG.debug if error.kind == "connect" else _LOG.warning  # of that there is a warning already
                said("%s: %s", fetch.purpose, error.reason)
                fetch = wanted.throw(error)
    except StopIteration:
        return
    finally:
        wanted.close()


Running = dict[bytes, "asyncio.Task[Allow | Respond]"]


def _unheard(_result: Allow | Respond) -> None:
    """Nobody wants to know."""


def _tell(task: asyncio.Task[Allow | Respond], late: Callable[[Allow | Respond], object]) -> None:
    if not task.cancelled() and task.exception() is None:
        late(task.result())


@final
class Flows:
    """The flows under way in this worker."""

    def __init__(self, fetcher: Fetcher, leases: Leases | None = None, running: Running | None = None) -> None:
        """`running`: flows of other listeners too, so that a key runs once in the whole process."""
        self._fetcher = fetcher
        self._leases = leases
        self._running: Running = {} if running is None else running
        self.own: set[asyncio.Task[Allow | Respond]] = set()
        """Those of them that run here."""

    async def run(
        self, start: Start, tags: Tags = _NOBODY, late: Callable[[Allow | Respond], object] = _unheard
    ) -> Allow | Respond:
        """The flow's result, whether it runs for this request or another one with the same key.

        `tags`: what log lines about this request carry. `late` is told the result if the client that it ran for is
        gone by then.
        """
        key = start.single_flight
        if not key:
            return await drive(start.flow, self._fetcher, tags)
        task = self._running.get(key)
        leads = task is None
        if task is None:
            task = asyncio.get_running_loop().create_task(self._lead(start, tags))
            self._running[key] = task
            self.own.add(task)
            task.add_done_callback(lambda done: self._ended(key, done))
        else:
            start.flow.close()
        try:
            result = await asyncio.shield(task)  # one client leaving ends it for nobody else
        except asyncio.CancelledError:
            if leads:
                task.add_done_callback(lambda done: _tell(done, late))
            raise
        return result if leads or start.follow is None else start.follow(result)

    async def _lead(self, start: Start, tags: Tags) -> Allow | Respond:
        """Run the flow, or take its outcome from the process that does."""
        leases = self._leases
        if leases is None or start.share is None or start.adopt is None:
            return await drive(start.flow, self._fetcher, tags)
        lease = await leases.ask(start.single_flight, start.longest)
        if lease.outcome is not None:
            adopted = start.adopt(lease.outcome)
            if adopted is not None:
                start.flow.close()
                return adopted
            _LOG.debug("the outcome of another worker's %s can't be opened", start.purpose)
        shared = None
        try:
            result = await drive(start.flow, self._fetcher, tags)
            shared = start.share()
        finally:
            if shared is None:
                lease.release()
            else:
                lease.done(shared.sealed, shared.grace)
        return result

    def _ended(self, key: bytes, task: asyncio.Task[Allow | Respond]) -> None:
        del self._running[key]
        self.own.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits gets it; if nobody does any more, it is no news

    async def finish(self, patience: float) -> None:
        """Let flows end whose clients have left: other processes may wait for what they come to."""
        if self._leases is not None and self.own:
            await asyncio.wait(self.own, timeout=patience)

    async def close(self) -> None:
        """Cancel what still runs."""
        tasks = list(self.own)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
