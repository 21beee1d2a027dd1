"""A closer look at TLS: which certificate came, whether one of the client is wanted, and what speaks there instead.

What a verdict says is bound to what the configuration checks: a certificate that it would accept unchecked is no cause,
and one that its own CA file would judge, where that file is elsewhere, can't be judged here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from msgspec.structs import replace as changed

from ostiary.core.trace import ConnectTrace
from ostiary.doctor.facts.configuration import ClusterSeen
from ostiary.doctor.facts.origin import Fact, Origin
from ostiary.doctor.facts.provider import ProtocolMismatch
from ostiary.doctor.facts.tls import HandshakeDone, HandshakeFailed, HandshakeFault, PlainTextToTls
from ostiary.doctor.probes.traces import fault_of
from ostiary.doctor.probes.trust import Trust
from ostiary.doctor.rules.tls import LARGE_ARE_LOST
from ostiary.net.glance import Glance, Shown, glance, plain_hello, survives_small_segments
from ostiary.net.survey import Place
from ostiary.net.tls import UpstreamTls

_CHAIN: Final = ("untrusted-ca", "expired", "not-yet-valid")
_JUDGED: Final = (*_CHAIN, "name-mismatch")
_ANSWERS_PLAIN: Final = "it answers plain HTTP"
_QUICK: Final = 2.0
"""Seconds for a second look, at most: what is wrong with the first one is known already."""


class Closer:
    """Looks at one place; `first` is what runs beside the survey, `then` what a failure asks for."""

    def __init__(self, place: Place, where: str, cluster: ClusterSeen | None, trust: Trust) -> None:
        self._place = place
        self._where = where
        self._cluster = cluster
        self._trust = trust
        self._started = time.monotonic()

    @property
    def _left(self) -> float:
        return max(min(self._place.timeout - (time.monotonic() - self._started), _QUICK), 0.2)

    async def first(self) -> list[Fact]:
        """The handshake as the configuration has it, what HTTP version it leads to, and whether it needs a name."""
        if self._place.ssl is None:
            return await self._plain()
        looks = [self._accepted()]
        if self._cluster is not None and not self._cluster.sni and self._cluster.tls:
            looks.append(self._without_name())
        if self._cluster is not None and self._cluster.http2:
            looks.append(self._http2())
        return [fact for facts in await asyncio.gather(*looks) for fact in facts]

    async def _accepted(self) -> list[Fact]:
        looks: list[Callable[[], ConnectTrace]] = []
        silence = asyncio.ensure_future(self._silence(looks))
        try:
            seen = await glance(self._place, watch=looks.append)
            if seen.trace.tls is None:
                silent = any(a.stage == "tls" and a.outcome == "timeout" for a in seen.trace.attempts)
                return await silence if silent else []
        finally:
            silence.cancel()
        if seen.alert:
            return [self._fault("client-certificate", f"the peer ends it with {seen.alert.replace('_', ' ').lower()}")]
        names = seen.certificate.names if seen.certificate is not None else ()
        tls = seen.trace.tls
        said = f"{tls.version}, certificate {seen.certificate}"
        return [
            HandshakeDone(origin=self._origin(said), target=self._where, version=tls.version,
                          verified=self._trust.checks_chain, names=names, not_after=tls.not_after)
        ]  # fmt: skip

    async def _without_name(self) -> list[Fact]:
        """Envoy sends no name unless it is told one."""
        unnamed = replace(self._place, ssl=UpstreamTls(self._trust.unverified)())
        named, nameless = await asyncio.gather(glance(unnamed), glance(unnamed, server_hostname=""))
        if named.trace.tls is None or nameless.certificate == named.certificate:
            return []
        if nameless.trace.tls is None and all(fault_of(a) is None for a in nameless.trace.attempts):
            return []  # it failed before TLS: that says nothing about names
        shown = f"shows a certificate {nameless.certificate}" if nameless.certificate else "ends the handshake"
        return [self._fault("unrecognized-name", f"without SNI the peer {shown}")]

    async def _http2(self) -> list[Fact]:
        """Whether a peer to which HTTP/2 will be spoken agrees to it."""
        offers = changed(self._trust.unverified, alpn_protocols=("h2", "http/1.1"))
        seen = await glance(replace(self._place, ssl=UpstreamTls(offers)()))
        tls = seen.trace.tls
        if tls is None or tls.alpn == "h2":
            return []
        said = f"offered h2 and http/1.1, the peer chooses {tls.alpn or 'nothing'}"
        return [ProtocolMismatch(origin=self._origin(said), target=self._where, detail=said)]

    async def _plain(self) -> list[Fact]:
        """Plain HTTP as it is configured; where that gets no answer of HTTP, whether the port speaks TLS."""
        answer = await plain_hello(self._place)
        turned_away = b" 400 " in answer[:16] and b"https" in answer.lower()
        if answer.startswith(b"HTTP/") and not turned_away:
            return []
        encrypted = replace(self._place, ssl=UpstreamTls(self._trust.unverified)(), timeout=self._left)
        seen = await glance(encrypted)
        if seen.trace.tls is None:
            return []
        said = f"plain HTTP gets no answer of HTTP, and a TLS handshake succeeds ({seen.trace.tls.version})"
        return [PlainTextToTls(origin=self._origin(said), target=self._where)]

    # --- after a failure

    async def then(self, facts: Iterable[Fact]) -> list[Fact]:
        """The facts with handshakes that failed looked into."""
        known = list(facts)
        failed = [fact for fact in known if isinstance(fact, HandshakeFailed)]
        if not failed:
            return known
        faults = {fact.fault for fact in failed}
        if faults & set(_JUDGED):
            return self._judged(known, await self._unverified())
        if "not-tls" in faults:
            said = next((fact.detail for fact in failed if fact.detail.startswith(_ANSWERS_PLAIN)), "")
            said = said or _plain_http(await plain_hello(replace(self._place, timeout=self._left)))
            heard = [f for f in known if not (said and isinstance(f, HandshakeFailed) and f.fault == "silent")]
            return [_detailed(fact, said) for fact in heard]
        return known

    async def _silence(self, looks: Sequence[Callable[[], ConnectTrace]]) -> list[Fact]:
        """Where a handshake is silent for a while: whether large packets are lost, or it is plain HTTP that waits."""
        await asyncio.sleep(min(self._place.timeout / 3, _QUICK))
        attempts = looks[0]().attempts if looks else []
        waiting = [a.address for a in attempts if a.stage == "tls" and a.ended is None]
        if not waiting:
            return []
        place = replace(self._place, timeout=self._left)
        hello, through = await asyncio.gather(
            plain_hello(place),
            asyncio.gather(*(survives_small_segments(place, address) for address in waiting)),
        )
        if said := _plain_http(hello):
            return [self._fault("not-tls", said)]
        lost = f"with small packets the handshake succeeds: {LARGE_ARE_LOST}"
        return [self._fault("silent", f"{a}: {lost}") for a, well in zip(waiting, through, strict=True) if well]

    async def _unverified(self) -> Glance:
        return await glance(replace(self._place, ssl=UpstreamTls(self._trust.unverified)(), timeout=self._left))

    def _judged(self, facts: list[Fact], seen: Glance) -> list[Fact]:
        shown: Shown | None = seen.certificate
        kept: list[Fact] = []
        for fact in facts:
            if not isinstance(fact, HandshakeFailed) or fact.fault not in _JUDGED:
                kept.append(fact)
                continue
            excuse = self._excuse(fact.fault)
            if excuse and seen.trace.tls is not None and shown is not None:
                said = f"certificate {shown}; {excuse}"
                kept.append(
                    HandshakeDone(origin=self._origin(said), target=self._where, version=seen.trace.tls.version,
                                  verified=None if self._trust.checks_chain else False, names=shown.names,
                                  not_after=shown.not_after)
                )  # fmt: skip
            else:
                kept.append(_detailed(fact, f"the certificate is {shown}" if shown is not None else ""))
        return list(dict.fromkeys(kept))

    def _excuse(self, fault: HandshakeFault) -> str:
        """Why a verdict from here is none there; empty if it is one."""
        if not self._trust.checks_chain:
            return "the configuration does not verify it"
        if fault == "name-mismatch" and not self._trust.checks_name:
            return "the configuration does not compare names"
        if fault == "untrusted-ca" and not self._trust.conclusive:
            return f"whether it is trusted there can't be told: {', '.join(self._trust.missing)} is not here"
        return ""

    def _origin(self, said: str) -> Origin:
        return Origin(kind="probe", source=self._where, quote=said)

    def _fault(self, fault: HandshakeFault, said: str) -> HandshakeFailed:
        return HandshakeFailed(origin=self._origin(said), target=self._where, fault=fault, detail=said, who="probe")


def _plain_http(hello: bytes) -> str:
    first = hello.split(b"\r\n")[0][:60].decode("latin-1")
    return f"{_ANSWERS_PLAIN}: {first}" if first.startswith("HTTP/") else ""


def _detailed(fact: Fact, said: str) -> Fact:
    if not isinstance(fact, HandshakeFailed) or not said:
        return fact
    quote = f"{fact.origin.quote}: {said}" if said not in fact.origin.quote else fact.origin.quote
    return replace(fact, origin=replace(fact.origin, quote=quote), detail=said)
