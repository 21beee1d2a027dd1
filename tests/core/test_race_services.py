"""HTTPS records in the race, with exact times. The cases (S01 to S14) are listed in tests/CASES.md."""

from __future__ import annotations

import pytest

from core.race_world import NEVER, World, rfc8305
from ostiary.core.services import ServiceRecord
from ostiary.model import limits

V6, V6B, V6C = "2001:db8::1", "2001:db8::2", "2001:db8::3"
V4, V4B = "192.0.2.1", "192.0.2.2"
GOOD = (10.0, "up")
DEAD = (NEVER, "up")
ASK = [(0, "ask HTTPS"), (0, "ask AAAA"), (0, "ask A")]
PLAIN = ServiceRecord(priority=1)
NOTHING = (0.0, ())


def world(**changes: object) -> World:
    """Both families and an HTTPS record without news, all after 30 ms; every peer is good."""
    made = World(
        dns={"AAAA": (30, [V6]), "A": (30, [V4])},
        https={"": (30, [PLAIN])},
        peers=dict.fromkeys([V6, V6B, V6C, V4, V4B], GOOD),
        config=rfc8305(service_records=True),
    )
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def service(priority: int, **fields: object) -> ServiceRecord:
    return ServiceRecord(priority=priority, **fields)  # type: ignore[arg-type]


def order_of_dials(made: World) -> list[str]:
    made.peers = dict.fromkeys([*made.peers, *(f"{a}#8443" for a in made.peers)], DEAD)
    made.run()
    return [address for _, address in made.dials()]


def test_d12_https_is_asked_for_first_then_ipv6_then_ipv4() -> None:
    assert world().run()[:3] == ASK


def test_s01_the_record_is_waited_for() -> None:
    log = world(https={"": (40, [PLAIN])}).run()
    assert log == [*ASK, (40, f"dial {V6}"), (50, f"won {V6}")]


@pytest.mark.parametrize(("first", "start"), [("AAAA", 80), ("A", 80)])
def test_s02_but_no_longer_than_the_resolution_delay(first: str, start: float) -> None:
    dns = {"AAAA": (NEVER, []), "A": (NEVER, []), first: (30, [V6 if first == "AAAA" else V4])}
    assert world(https={}, dns=dns).run()[3][0] == start


def test_s03_hints_are_answers_and_the_race_starts_with_them() -> None:
    records = [service(1, hints=(V6, V4))]
    made = world(https={"": (10, records)}, dns={"AAAA": (NEVER, []), "A": (NEVER, [])}, peers={V6: DEAD, V4: GOOD})
    assert made.run()[3:] == [(10, f"dial {V6}"), (260, f"dial {V4}"), (270, f"cancel {V6}"), (270, f"won {V4}")]


def test_s03_a_hint_of_ipv4_alone_waits_for_ipv6() -> None:
    made = world(https={"": (10, [service(1, hints=(V4,))])}, dns={"AAAA": (NEVER, []), "A": (NEVER, [])})
    assert made.run()[3] == (60, f"dial {V4}")


def test_s04_hints_stay_when_the_lookups_fail() -> None:
    made = world(
        https={"": (10, [service(1, hints=(V6, V4))])},
        dns={"AAAA": (20, []), "A": (20, [])},
        peers={V6: (50, "fail"), V4: GOOD},
    )
    assert made.run()[3:] == [(10, f"dial {V6}"), (60, f"dial {V4}"), (70, f"won {V4}")]


def test_s05_hints_after_empty_answers_are_all_there_is() -> None:
    made = world(https={"": (20, [service(1, hints=(V6,))])}, dns={"AAAA": (5, []), "A": (5, [])})
    assert made.run()[3:] == [(20, f"dial {V6}"), (30, f"won {V6}")]


def test_s05_without_addresses_the_record_is_waited_for_and_no_longer() -> None:
    assert world(https={}, dns={"AAAA": (5, []), "A": (7, [])}).run()[3:] == [(57, "lost no_addresses")]


def test_s05_real_addresses_replace_hints_that_had_no_turn() -> None:
    made = world(
        https={"": (10, [service(1, hints=(V6, V4))])},
        dns={"AAAA": (20, [V6B]), "A": (20, [V4B])},
        peers={V6: DEAD, V6B: DEAD, V4B: DEAD},
        config=rfc8305(service_records=True, timeout=1.0),
    )
    made.run()
    assert [address for _, address in made.dials()] == [V6, V6B, V4B], "what has started goes on"


def test_all_refused_is_not_held_up_by_a_record_that_never_comes() -> None:
    made = world(https={}, peers={V6: (1, "fail"), V4: (1, "fail")})
    assert made.run()[-1] == (82, "lost exhausted")


def test_s06_an_alias_is_followed_and_its_addresses_come_first() -> None:
    made = world(
        https={"": (10, [service(0, target="cdn.test.")]), "cdn.test.": (20, [])},
        names={("cdn.test.", "AAAA"): (10, [V6B]), ("cdn.test.", "A"): (10, [V4B])},
    )
    assert made.run() == [
        *ASK,
        (10, "ask HTTPS cdn.test."), (10, "ask AAAA cdn.test."), (10, "ask A cdn.test."),
        (30, f"dial {V6B}"),
        (40, f"won {V6B}"),
    ]  # fmt: skip
    assert order_of_dials(made) == [V6B, V4B, V6, V4]


def test_s06_an_alias_that_leads_nowhere_leaves_the_name_itself() -> None:
    made = world(https={"": (10, [service(0, target="gone.test.")])})
    assert made.run()[-2:] == [(80, f"dial {V6}"), (90, f"won {V6}")]


def test_s06_the_services_of_an_alias_have_its_addresses() -> None:
    made = world(
        https={"": (10, [service(0, target="cdn.test.")]), "cdn.test.": (10, [service(1, port=8443)])},
        names={("cdn.test.", "AAAA"): (10, [V6B]), ("cdn.test.", "A"): (10, [])},
        peers={f"{V6B}#8443": GOOD},
    )
    assert made.run()[-1] == (30, f"won {V6B}#8443"), "the name's own addresses are not waited for"


def test_s06_aliases_in_a_circle_end() -> None:
    circle = {"": (1, [service(0, target="a.test.")]), "a.test.": (1, [service(0, target="b.test.")]),
              "b.test.": (1, [service(0, target="a.test.")])}  # fmt: skip
    made = world(https=circle)
    assert made.run()[-1] == (90, f"won {V6}"), "nothing is known of the alias: 50 ms after the name's own addresses"
    chain = {f"n{n}.test.": (1, [service(0, target=f"n{n + 1}.test.")]) for n in range(50)}
    made = world(https={"": (1, [service(0, target="n0.test.")]), **chain})
    made.run()
    asked = [text for _, text in made.log if text.startswith("ask HTTPS")]
    assert len(asked) == limits.MAX_SERVICE_ALIASES + 1


def test_s07_services_come_by_priority_and_the_name_itself_last() -> None:
    made = world(
        https={"": (10, [service(2, target="two.test."), service(1, target="one.test.")])},
        names={
            ("one.test.", "AAAA"): (5, [V6B]), ("one.test.", "A"): (5, [V4B]),
            ("two.test.", "AAAA"): (5, [V6C]), ("two.test.", "A"): NOTHING,
        },
    )  # fmt: skip
    assert order_of_dials(made) == [V6B, V4B, V6C, V6, V4]


def test_s07_a_better_service_is_waited_for_while_a_worse_one_is_known() -> None:
    made = world(
        https={"": (10, [service(1, target="one.test.")])},
        names={("one.test.", "AAAA"): (45, []), ("one.test.", "A"): (45, [V4B])},
    )
    assert made.run()[-2:] == [(55, f"dial {V4B}"), (65, f"won {V4B}")]


def test_s08_services_of_equal_priority_come_by_chance() -> None:
    records = [service(1, target="one.test."), service(1, target="two.test.")]
    names = {("one.test.", "AAAA"): (0, [V6B]), ("one.test.", "A"): NOTHING,
             ("two.test.", "AAAA"): (0, [V6C]), ("two.test.", "A"): NOTHING}  # fmt: skip
    for entropy, first in ((b"\x00\x00\xff\xff", V6B), (b"\xff\xff\x00\x00", V6C)):
        made = world(https={"": (10, records)}, names=names, entropy=entropy)
        assert order_of_dials(made)[0] == first


def test_s09_a_service_that_speaks_nothing_of_ours_is_skipped() -> None:
    records = [service(1, target="h3.test.", alpn=("h3",), no_default_alpn=True), service(2, port=8443)]
    made = world(https={"": (10, records)})
    assert order_of_dials(made)[:2] == [f"{V6}#8443", f"{V4}#8443"]
    assert not any("h3.test" in text for _, text in made.log), "nor are its addresses asked for"


def test_s10_without_the_default_protocol_only_what_is_named_counts() -> None:
    h2 = [service(1, alpn=("h2",), no_default_alpn=True, port=8443)]
    assert order_of_dials(world(https={"": (10, h2)})) == [V6, V4]
    assert order_of_dials(world(https={"": (10, h2)}, protocols=("h2", "http/1.1")))[0] == f"{V6}#8443"
    default = [service(1, alpn=("h3",), port=8443)]
    assert order_of_dials(world(https={"": (10, default)}))[0] == f"{V6}#8443", "h3 and http/1.1"


def test_s11_a_port_is_used_and_the_usual_one_stays_as_the_last() -> None:
    made = world(https={"": (10, [service(1, port=8443, hints=(V6,))])})
    assert order_of_dials(made) == [f"{V6}#8443", f"{V4}#8443", V6, V4]


def test_s12_records_with_and_without_ech_are_equals() -> None:
    records = [service(1, ech=True), service(2, port=8443)]
    made = world(https={"": (10, records)})
    assert order_of_dials(made) == [V6, V4, f"{V6}#8443", f"{V4}#8443"]
    assert str(records[0]) == "1 . ech"


def test_s13_a_record_that_demands_the_unknown_is_ignored() -> None:
    made = world(https={"": (10, [service(1, port=8443, mandatory_known=False)])})
    assert order_of_dials(made) == [V6, V4]


def test_s14_a_failed_lookup_aborts_nothing_as_dns_is_not_protected() -> None:
    assert world(https={"": (5, [])}).run()[3:] == [(30, f"dial {V6}"), (40, f"won {V6}")]


@pytest.mark.parametrize(("family", "expected"), [("V4_ONLY", [V4]), ("V6_ONLY", [V6]), ("AUTO", [V6])])
def test_a_lookup_family_holds_for_hints_and_targets_too(family: str, expected: list[str]) -> None:
    config = rfc8305(service_records=True, dns_lookup_family=family)  # type: ignore[arg-type]
    made = world(https={"": (1, [service(1, hints=(V6, V4)), service(2, target="x.test.")])}, config=config)
    assert order_of_dials(made) == expected
    wrong = "A x.test." if expected == [V6] else "AAAA x.test."
    assert not any(text == f"ask {wrong}" for _, text in made.log)


def test_auto_asks_for_ipv4_although_the_record_is_not_answered() -> None:
    config = rfc8305(service_records=True, dns_lookup_family="AUTO")
    made = world(https={}, dns={"AAAA": (5, []), "A": (5, [V4])}, config=config)
    assert made.run()[2:] == [(5, "ask A"), (60, f"dial {V4}"), (70, f"won {V4}")]


def test_a_port_of_the_urls_own_has_a_record_of_its_own() -> None:
    made = world(
        port=8443,
        https={"": (10, [PLAIN])},
        names={("_8443._https.origin.test", "AAAA"): NOTHING, ("_8443._https.origin.test", "A"): NOTHING},
        peers={f"{V6}#8443": GOOD},
    )
    assert made.run()[-1] == (40, f"won {V6}#8443")
