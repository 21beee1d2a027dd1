"""What a race promises whatever happens, in whichever order: driven by hypothesis."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from core.race_world import World
from ostiary.core.addresses import Candidate, Destination
from ostiary.core.endpoints import Answered, Service
from ostiary.core.eyeballs import Action, Cancel, Dial, Done, Query, Race, RaceConfig

delays = st.one_of(st.none(), st.integers(0, 1500))
sixes = [f"2001:db8::{n}" for n in range(1, 5)]
fours = [f"192.0.2.{n}" for n in range(1, 5)]


@given(
    aaaa=st.tuples(delays, st.lists(st.sampled_from(sixes), max_size=4)),
    a=st.tuples(delays, st.lists(st.sampled_from(fours), max_size=4)),
    peers=st.fixed_dictionaries(
        {address: st.tuples(delays, st.sampled_from(["up", "fail", "tls"])) for address in sixes + fours}
    ),
    stranded=st.sets(st.sampled_from(sixes + fours)),
    family=st.sampled_from(["AUTO", "V4_ONLY", "V6_ONLY", "V4_PREFERRED", "ALL"]),
    timeout=st.sampled_from([0.05, 0.25, 1.0, 5.0]),
)
def test_whatever_happens_a_race_keeps_its_promises(aaaa, a, peers, stranded, family, timeout) -> None:  # type: ignore[no-untyped-def]
    config = replace(RaceConfig(), dns_lookup_family=family, timeout=timeout, max_parallel=3)
    world = World(dns={"AAAA": aaaa, "A": a}, peers=peers, stranded=sorted(stranded), config=config)
    log = world.run()
    dialled = [text[5:] for _, text in log if text.startswith("dial")]
    cancelled = [text[7:] for _, text in log if text.startswith("cancel")]
    assert len(dialled) == len(set(dialled)), "an address is tried once"
    assert len(cancelled) == len(set(cancelled))
    assert set(cancelled) <= set(dialled)
    assert [text for _, text in log if text.startswith(("won", "lost"))] == [log[-1][1]], "one end, and it is the last"
    assert log[-1][0] <= timeout * 1000 + 0.001
    if log[-1][1].startswith("won"):
        assert log[-1][1][4:] not in cancelled
    running: set[str] = set()
    for at, text in log:
        verb, _, address = text.partition(" ")
        if verb == "dial":
            running.add(address)
            assert len(running - failed_before(world, log, at)) <= 3
    if log[-1][1] == "lost exhausted":
        known = {address for kind, (delay, found) in (("AAAA", aaaa), ("A", a)) for address in found
                 if delay is not None and (0.0, f"ask {kind}") in log}  # fmt: skip
        assert set(dialled) >= known, "nothing was left untried"


def failed_before(world: World, log: list[tuple[float, str]], at: float) -> set[str]:
    """Addresses whose attempt had failed by then."""
    return {
        text[5:]
        for started, text in log
        if text.startswith("dial")
        and world.peers[text[5:]][1] == "fail"
        and (delay := world.peers[text[5:]][0]) is not None
        and started + delay <= at + 0.001
    }


# --- any order of events, sensible or not

PLACES = [Destination(address, port) for address in (*sixes[:2], *fours[:2]) for port in (443, 8443)]
some = st.lists(st.sampled_from(PLACES), max_size=4)
candidates = some.map(lambda places: [Candidate(p, routable=p.port == 443) for p in places])
names = st.sampled_from(["", "svc.test."])
services = st.lists(
    st.builds(
        Service,
        target=names,
        port=st.sampled_from([None, 443, 8443]),
        hints=candidates.map(tuple),
    ),
    max_size=3,
)
answers = st.one_of(
    st.builds(Answered, type=st.sampled_from(["A", "AAAA"]), candidates=candidates, name=names, final=st.booleans()),
    st.builds(
        Answered,
        type=st.just("HTTPS"),
        name=names,
        services=services,
        alias=st.sampled_from([None, None, "svc.test.", "other.test."]),
    ),
)
places = st.sampled_from(PLACES)
events = st.one_of(
    st.tuples(st.just("answers"), st.lists(answers, min_size=1, max_size=3)),
    st.tuples(st.sampled_from(["connected", "failed", "handshaking"]), places),
    st.tuples(st.just("tick"), st.none()),
)


@dataclass
class Watched:
    """A race, and what it has been seen to do."""

    race: Race
    config: RaceConfig
    now: float = 0.0
    asked: list[Query] = field(default_factory=list)
    running: set[Destination] = field(default_factory=set)
    dialled: set[Destination] = field(default_factory=set)
    ended: set[Destination] = field(default_factory=set)
    done: Done | None = None
    last_start: float = -1.0
    failed_since: bool = False

    def see(self, actions: list[Action], told: Destination | None = None) -> None:
        """`told`: the destination whose event this answers."""
        for action in actions:
            assert self.done is None or action == Cancel(told), "nothing after the end"  # type: ignore[arg-type]
            match action:
                case Query():
                    assert action not in self.asked, "nothing is asked for twice"
                    self.asked.append(action)
                case Dial(destination):
                    assert destination not in self.dialled, "an address is tried once"
                    apart = self.now - self.last_start
                    assert apart > 0.0099 or self.failed_since or not self.running, "never two in a burst"
                    self.last_start, self.failed_since = self.now, False
                    self.dialled.add(destination)
                    self.running.add(destination)
                    assert len(self.running) <= self.config.max_parallel
                case Cancel(destination):
                    assert destination == told or destination in self.running
                    self.running.discard(destination)
                    self.ended.add(destination)
                case Done(winner):
                    self.done = action
                    if winner is not None:
                        assert winner == told
                        self.running.discard(winner)
                    assert not self.running, "all others were cancelled before the end"
        deadline = self.race.deadline
        assert (deadline is None) == (self.done is not None)
        assert deadline is None or self.now <= deadline <= self.config.timeout
        assert self.race.result == self.done


@given(
    steps=st.lists(st.tuples(st.floats(0, 0.4), events), max_size=25),
    given_=st.one_of(st.none(), candidates),
    family=st.sampled_from(["AUTO", "V4_ONLY", "V6_ONLY", "V4_PREFERRED", "ALL"]),
    first=st.sampled_from([None, "v4", "v6"]),
    service_records=st.booleans(),
)
def test_no_order_of_events_breaks_a_race(steps, given_, family, first, service_records) -> None:  # type: ignore[no-untyped-def]
    config = RaceConfig(
        timeout=2.0, dns_lookup_family=family, first_family=first, max_parallel=2, service_records=service_records
    )
    race = Race(config, 0.0)
    watched = Watched(race, config)
    watched.see(race.resolve(0.0) if given_ is None else race.start(given_, 0.0))
    for wait, (kind, what) in steps:
        watched.now = min(watched.now + wait, race.deadline if race.deadline is not None else watched.now)
        if kind == "tick":
            watched.see(race.tick(watched.now))
        elif kind == "answers":
            watched.see(race.answers(what, watched.now))
        else:
            if kind == "failed" and what in watched.running:
                watched.running.discard(what)
                watched.failed_since = True
            watched.see(getattr(race, kind)(what, watched.now), told=what)
    for _ in range(100):
        if race.deadline is None:
            break
        watched.now = race.deadline
        watched.see(race.tick(watched.now))
    assert watched.done is not None, "every race ends, at its deadline at the latest"
    assert watched.now <= config.timeout
    if watched.done.winner is not None:
        assert watched.done.winner in watched.dialled
