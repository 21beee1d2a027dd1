"""An HTTPS answer in the terms of the race: which services there are for us, and what they add."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

from ostiary.core.addresses import Candidate, Destination
from ostiary.core.endpoints import Answered, Service
from ostiary.core.services import HTTPS_PORT, ServiceRecord, alias_of, query_name, usable
from ostiary.net.dns_exchange import Answer

Judge = Callable[[Iterable[Destination]], list[Candidate]]


def read_services(answer: Answer, name: str, host: str, port: int, protocols: Sequence[str], judge: Judge) -> Answered:
    """`name` is the query's as the race knows it (empty: the race's own, which is `host`)."""
    alias = alias_of(answer.services, os.urandom)
    if alias is not None:
        return Answered("HTTPS", name=name, final=not answer.stale, alias=alias)
    owner = name or ("" if port == HTTPS_PORT else query_name(host, port))
    services = [_service(record, owner, port, judge) for record in usable(answer.services, protocols, os.urandom)]
    return Answered("HTTPS", name=name, final=not answer.stale, services=services)


def _service(record: ServiceRecord, owner: str, port: int, judge: Judge) -> Service:
    there = record.port if record.port is not None else port
    return Service(
        target=record.target or owner,
        port=record.port,
        hints=tuple(judge(Destination(hint, there) for hint in record.hints)),
    )
