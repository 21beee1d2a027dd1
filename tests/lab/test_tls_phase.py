"""TLS within the race: a peer that takes the connection and fails in the handshake loses (cases T of the list)."""

from __future__ import annotations

import pytest

from lab.model import V4, V6, Peer, Rule
from lab.world import Lab, World
from ostiary.core.trace import ConnectTrace

LOOPS = ("asyncio", "uvloop")
GOOD = Peer(at=[V4], kind="tls")


def connect(world: World, loop: str = "uvloop", **options: float) -> ConnectTrace:
    """With TLS, trusting the world's authority."""
    return world.connect(ssl=world.client_tls(), loop=loop, **options)


def first(trace: ConnectTrace) -> tuple[str, str, str]:
    """How far the first attempt came, and how it ended."""
    attempt = trace.attempts[0]
    return attempt.address, attempt.stage, attempt.outcome


def address(trace: ConnectTrace) -> str | None:
    """The winner's."""
    return trace.winner.address if trace.winner is not None else None


@pytest.mark.parametrize("loop", LOOPS)
def test_t01_a_peer_that_is_silent_in_tls_loses(lab: Lab, loop: str) -> None:
    with lab.world(peers=[Peer(at=[V6], kind="silent"), GOOD]) as world:
        trace = connect(world, loop, attempt_delay=1.0)
        assert address(trace) == V4
        assert first(trace) == (V6, "tls", "cancelled")
        one, two = world.attempts()
        assert 0.8 <= two.time - one.time < 2.0


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("peer", "errno"),
    [
        (Peer(at=[V6], kind="alert"), "SSLV3_ALERT_HANDSHAKE_FAILURE"),
        (Peer(at=[V6], kind="tls", certificate="foreign"), "CERTIFICATE_VERIFY_FAILED"),
        (Peer(at=[V6], kind="tls", certificate="other name"), "CERTIFICATE_VERIFY_FAILED"),
        (Peer(at=[V6], kind="reset"), "ECONNRESET"),
    ],
    ids=["T02 alert", "T03 foreign certificate", "T03 certificate of another name", "T05 reset"],
)
def test_t02_t03_t05_a_failed_handshake_starts_the_next_attempt_and_is_told(
    lab: Lab, peer: Peer, errno: str, loop: str
) -> None:
    with lab.world(peers=[peer, GOOD]) as world:
        trace = connect(world, loop, attempt_delay=5.0)
        assert address(trace) == V4
        assert first(trace) == (V6, "tls", "failed")
        assert trace.attempts[0].errno == errno
        assert trace.elapsed_ms < 4000
        assert "failed in the TLS handshake" in trace.summary
        assert V6 in trace.summary


def test_t04_a_slow_handshake_behind_a_fast_tcp_is_overtaken_but_not_ended(lab: Lab) -> None:
    with lab.world(peers=[Peer(at=[V6], kind="tls", pause=0.6), Peer(at=[V4], kind="tls", pause=1.5)]) as world:
        trace = connect(world)
        assert address(trace) == V6
        assert [attempt.address for attempt in world.attempts()] == [V6, V4]


def test_t04_a_handshake_over_a_long_path_is_given_its_time(lab: Lab) -> None:
    """TCP takes 400 ms, TLS as long again: together more than the attempt delay, and nothing is wrong."""
    with lab.world(peers=[Peer(kind="tls")], rules=[Rule(to=V6, delay=0.4)]) as world:
        trace = connect(world, attempt_delay=0.7)
        assert address(trace) == V6
        assert trace.elapsed_ms > 700
        assert [attempt.address for attempt in world.attempts()] == [V6]


def test_t06_a_path_that_loses_large_packets_loses(lab: Lab) -> None:
    with lab.world(peers=[Peer(kind="tls")], rules=[Rule(to=V6, max_size=1000)]) as world:
        trace = connect(world, attempt_delay=1.0)
        assert address(trace) == V4
        assert first(trace) == (V6, "tls", "cancelled")
        assert next(seen.packet.source for seen in world.packets() if seen.fate == "lost") == V6


def test_t07_a_peer_without_alpn_is_as_good(lab: Lab) -> None:
    with lab.world(peers=[Peer(kind="tls", alpn=())]) as world:
        trace = connect(world)
        assert trace.tls is not None
        assert trace.tls.alpn is None
        assert address(trace) == V6


def test_every_handshake_that_failed_is_in_the_error(lab: Lab) -> None:
    with lab.world(peers=[Peer(at=[V6], kind="alert"), Peer(at=[V4], kind="tls", certificate="foreign")]) as world:
        trace = connect(world)
        assert not trace.ok
        assert V6 in trace.summary and V4 in trace.summary
        assert "its certificate is not trusted" in trace.summary
