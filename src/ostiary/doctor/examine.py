"""One examination: every source that was named is looked at, at the same time; then the rules are applied.

What a configuration or a live proxy says decides what is probed: the hosts that its sign-in needs, asked for as it asks
for them. A source that can't be read is evidence too, and never the end of the examination.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO, Final

from ostiary.dialects.envoy_common import Reader
from ostiary.doctor.case import Case
from ostiary.doctor.diagnose import diagnose
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.fleet import elsewhere, together
from ostiary.doctor.mends.patch import with_patches
from ostiary.doctor.report import Evidence, Found, Report
from ostiary.doctor.rules import all_rules
from ostiary.doctor.rules.evidence import listed
from ostiary.net.admin_client import AdminClient

if TYPE_CHECKING:
    from ostiary.doctor.live.watch import Watch

Tell = Callable[[str, str], None]
"""(source, what is being done with it now)."""
_AT_ONCE: Final = 64
"""Admin APIs that are asked at a time: each takes a few connections."""
_SILENT: Final[Tell] = lambda _source, _what: None  # noqa: E731 - a default that says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to look at."""

    target: str = ""
    """A URL or HOST:PORT to probe."""
    configurations: tuple[tuple[str, bytes], ...] = ()
    logs: tuple[tuple[str, Callable[[], BinaryIO]], ...] = ()
    """(name, what opens it)."""
    admins: tuple[AdminClient, ...] = ()
    """Admin APIs of running proxies."""
    environment: Mapping[str, str] = field(default_factory=dict)
    open_file: Reader | None = None
    """Opens files that a configuration names."""
    watch: Watch | None = None
    """Raise the proxies' log levels for one sign-in, and read what they say meanwhile."""
    probes: bool = True
    """Whether to connect to anything that a configuration names."""

    @property
    def name(self) -> str:
        """What it is about, in a few words."""
        sources = [name for name, _ in (*self.configurations, *self.logs)]
        sources += [client.where for client in self.admins]
        return self.target or listed(sources, 5) or "nothing"


async def examine(question: Question, tell: Tell = _SILENT) -> Report:
    """Look at everything, and diagnose."""
    found = Found()
    if question.watch is not None:
        from ostiary.doctor.live.watch import watch

        found.add(await watch(question.admins, question.watch))
    lives = asyncio.gather(*_admins(question, tell))
    for each in await asyncio.gather(_configurations(question), *_logs(question, tell)):
        found.add(each)
    running = await lives
    far = [client for client in question.admins if not client.is_local]
    if question.target or (question.probes and not far):
        from ostiary.doctor.probes import probe

        needed = Case(fact for each in (found, *running) for fact in each.facts)
        found.add(await probe(question.target, needed if question.probes and not far else Case(), tell))
    elif far and question.probes:
        found.evidence += elsewhere(far, [fact for each in running for fact in each.facts])
    return conclude(question, found, running)


def conclude(question: Question, found: Found, running: Sequence[Found] = ()) -> Report:
    """The rules applied, and their edits turned into patches. `found` is true of every proxy of `running`."""
    written = {name: content.decode("utf-8", "replace") for name, content in question.configurations}
    whole = Found()
    for each in (found, *running):
        whole.add(each)
    texts = whole.texts | written
    if len(running) > 1:
        findings = together(
            found, dict(zip((client.where for client in question.admins), running, strict=True)), written
        )
    else:
        findings = with_patches(diagnose(Case(whole.facts), all_rules()), texts)
    return Report(
        target=question.name,
        evidence=tuple(whole.evidence),
        findings=tuple(findings),
        traces=tuple(whole.traces),
        texts=texts,
        taken=datetime.now(UTC),
    )


async def _configurations(question: Question) -> Found:
    if not question.configurations:
        return Found()
    from ostiary.doctor.configuration.read import read

    facts = await asyncio.to_thread(
        read, question.configurations, env=question.environment, open_file=question.open_file
    )
    from ostiary.doctor.live.files import dump_facts

    for name, content in question.configurations:
        facts += await asyncio.to_thread(dump_facts, name, content, facts)
    return Found(facts, [_configuration(name, content, facts) for name, content in question.configurations])


def _configuration(name: str, content: bytes, facts: Sequence[Fact]) -> Evidence:
    about = [fact for fact in facts if fact.origin.source == name]
    kinds = [type(fact).__name__ for fact in about]
    counts = (("ClusterSeen", "cluster"), ("OAuth2Seen", "sign-in filter"), ("ConfigurationProblem", "problem"))
    told = [f"{kinds.count(kind)} {word}{'s' * (kinds.count(kind) != 1)}" for kind, word in counts]
    return Evidence(kind="config", source=name, summary=", ".join(told), details={"bytes": len(content)})


def _admins(question: Question, tell: Tell) -> list[Coroutine[None, None, Found]]:
    if not question.admins:
        return []
    from ostiary.doctor.configuration.read import walk_files
    from ostiary.doctor.live import look

    written = walk_files(question.configurations)
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(client: AdminClient) -> Found:
        async with turn:
            try:
                return await look(client, written, tell)
            finally:
                client.close()

    return [one(client) for client in question.admins]


def _logs(question: Question, tell: Tell) -> Iterable[asyncio.Future[Found] | asyncio.Task[Found]]:
    for name, opens in question.logs:
        yield asyncio.ensure_future(asyncio.to_thread(_log, name, opens, tell))


def _log(name: str, opens: Callable[[], BinaryIO], tell: Tell) -> Found:
    from ostiary.doctor.logs import read

    with opens() as stream:
        reading = read(stream, name, lambda count: tell(name, f"{count / 1e6:,.0f} MB read"))
    lines = f"{reading.lines:,} lines, {len(reading.facts):,} distinct facts" if reading.lines else "empty"
    if reading.problem:
        lines += f"; not read to its end: {reading.problem}"
    return Found(reading.facts, [Evidence(kind="log", source=name, summary=lines, details={"lines": reading.lines})])
