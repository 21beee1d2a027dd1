"""Outcomes that several workers share: two filters of one configuration, and what passes between them."""

from __future__ import annotations

import pytest

import envoy_signin
from ostiary.core.decision import Allow, Decision, FetchFailed, Respond, Shared, Start
from ostiary.core.oauth2.outcomes import FlowOutcomes
from ostiary.core.oauth2.session import KeyRing
from ostiary.model import limits
from ostiary.model.secret import Secret
from signin_world import Browser, World, location, sign_in_config

NEW = Secret(b"another secret of thirty-two bytes")


def start(decision: Decision) -> Start:
    assert isinstance(decision, Start), decision
    return decision


def shared(started: Start) -> Shared:
    assert started.share is not None
    outcome = started.share()
    assert outcome is not None
    return outcome


def adopted(started: Start, sealed: bytes) -> Allow | Respond:
    assert started.adopt is not None
    result = started.adopt(sealed)
    assert result is not None
    return result


class Two:
    """Two workers, a signed-in browser, and a refresh that is due."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World(sign_in_config(pass_access_token=True))
        self.one, self.two = self.world.filter, self.world.new_filter()
        self.world.drive(
            start(self.two.decide(Browser(self.world).request("/"), self.world.now)).flow
        )  # knows the provider
        self.browser = Browser(self.world)
        self.browser.sign_in()
        self.world.now += 299
        self.request = self.browser.request("/")

    def ask(self) -> tuple[Start, Start]:
        """The same request at both."""
        return tuple(start(each.decide(self.request, self.world.now)) for each in (self.one, self.two))  # type: ignore[return-value]


# --- the native profile


def test_a_refresh_of_one_worker_answers_at_the_other() -> None:
    two = Two()
    here, there = two.ask()
    assert here.single_flight == there.single_flight != b""
    result = two.world.drive(here.flow)
    outcome = shared(here)
    answer = adopted(there, outcome.sealed)
    assert isinstance(result, Allow) and isinstance(answer, Allow)
    assert (answer.via, answer.set) == ("refreshed", result.set)
    assert two.world.fetched.count("refresh") == 1
    two.browser.keep(answer)
    again = two.two.decide(two.browser.request("/"), two.world.now)
    assert isinstance(again, Allow) and again.via == "session", "the other's own cookie opens the session"


def test_what_was_adopted_is_remembered_as_long_as_where_it_was_made() -> None:
    two = Two()
    here, there = two.ask()
    two.world.drive(here.flow)
    outcome = shared(here)
    two.world.now += 20
    adopted(there, outcome.sealed)
    two.world.now += limits.REFRESH_GRACE - 20 - 1
    late = two.two.decide(two.request, two.world.now)
    assert isinstance(late, Allow) and late.via == "refreshed"
    two.world.now += 1
    assert isinstance(two.two.decide(two.request, two.world.now), Start)
    assert outcome.grace == limits.REFRESH_GRACE


def test_nothing_of_it_can_be_read_moved_or_forged() -> None:
    two = Two()
    here, there = two.ask()
    result = two.world.drive(here.flow)
    assert isinstance(result, Allow)
    sealed, token = shared(here).sealed, dict(result.set)["x-forwarded-access-token"]
    assert token.encode() not in sealed and b"ada" not in sealed and token not in repr(shared(here))
    assert there.adopt is not None
    for wrong in (b"", sealed[:11], sealed[:-1], sealed[:-1] + bytes([sealed[-1] ^ 1]), b"\0" * len(sealed)):
        assert there.adopt(wrong) is None
    other = Two(two.world)
    _, foreign = other.ask()
    assert foreign.adopt is not None and foreign.adopt(sealed) is None, "another session's"
    assert there.adopt(sealed) is not None


def test_a_refresh_that_got_no_answer_is_shared_for_as_long_as_it_is_not_tried_again() -> None:
    two = Two()
    here, there = two.ask()
    two.world.down = "timeout"
    two.world.drive(here.flow)
    outcome = shared(here)
    answer = adopted(there, outcome.sealed)
    assert isinstance(answer, Allow) and answer.via == "unrefreshed"
    late = two.two.decide(two.request, two.world.now)
    assert isinstance(late, Allow) and late.via == "unrefreshed"
    assert outcome.grace == limits.REFRESH_RETRY_DELAY
    assert two.world.fetched.count("refresh") == 1


def test_a_session_that_the_provider_ended_ends_at_both() -> None:
    two = Two()
    here, there = two.ask()
    two.world.provider.faults.token_error = "invalid_grant"
    results = (two.world.drive(here.flow), adopted(there, shared(here).sealed))
    for result in results:
        assert isinstance(result, Respond) and result.status == 302
        assert any(value.startswith("__Host-ostiary=;") for name, value in result.headers if name == "set-cookie")
    assert two.world.fetched.count("refresh") == 1


def test_a_flow_that_ended_without_an_outcome_shares_none() -> None:
    two = Two()
    here, _ = two.ask()
    next(here.flow)
    here.flow.close()
    assert here.share is not None and here.share() is None


def test_an_outcome_under_a_newer_secret_is_opened_after_a_look_at_the_files() -> None:
    two = Two()
    here, there = two.ask()
    old = two.world.ring
    two.world.ring = KeyRing([NEW, two.world.config.session.secrets[0].inline or NEW])
    two.world.drive(here.flow)
    newer, outcome = two.world.ring, shared(here)
    two.world.ring = old
    assert there.adopt is not None and there.adopt(outcome.sealed) is None

    def look_again() -> bool:
        two.world.ring = newer
        return True

    two.world.look_again = look_again
    assert isinstance(adopted(there, outcome.sealed), Allow)


def test_a_session_under_a_newer_secret_is_not_signed_out() -> None:
    world = World()
    old = world.ring
    world.ring = KeyRing([NEW])
    browser = Browser(world)
    browser.sign_in()
    newer, world.ring = world.ring, old
    assert isinstance(world.filter.decide(browser.request("/"), world.now), Respond)

    def look_again() -> bool:
        world.ring = newer
        return True

    world.look_again = look_again
    assert isinstance(world.filter.decide(browser.request("/"), world.now), Allow)


def test_a_sign_in_begun_under_a_newer_secret_is_finished() -> None:
    world = World()
    old = world.ring
    world.ring = KeyRing([NEW])
    browser = Browser(world)
    target = browser.follow(location(browser.get("/reports")))
    newer, world.ring = world.ring, old

    def look_again() -> bool:
        world.ring = newer
        return True

    world.look_again = look_again
    assert location(browser.get(target)) == "/reports"


# --- a code is redeemed once


def callback(two: Two) -> tuple[Start, Start]:
    """A fresh browser back from the provider: its callback at both workers."""
    two.browser = Browser(two.world)
    target = two.browser.follow(location(two.browser.get("/reports")))
    two.request = two.browser.request(target)
    return two.ask()


def test_a_callback_that_is_loaded_twice_redeems_its_code_once() -> None:
    two = Two()
    here, there = callback(two)
    again = start(two.one.decide(two.request, two.world.now))
    assert here.single_flight == there.single_flight == again.single_flight != b""
    before = len(two.world.provider.token_requests)
    first = two.world.drive(here.flow)
    assert again.follow is not None
    answers = [first, again.follow(first), adopted(there, shared(here).sealed)]
    two.world.now += limits.CALLBACK_GRACE - 1
    for filter_ in (two.one, two.two):
        late = filter_.decide(two.request, two.world.now)
        assert isinstance(late, Respond)
        answers.append(late)
    assert len(two.world.provider.token_requests) == before + 1
    for answer in answers:
        assert location(answer) == "/reports"
        browser = Browser(two.world)
        browser.keep(answer)
        assert isinstance(browser.get("/"), Allow)
    two.world.now += 1
    assert isinstance(two.one.decide(two.request, two.world.now), Start)


@pytest.mark.parametrize(("old", "new"), [("code=", "code=x"), ("iss=https", "iss=http")])
def test_another_code_or_issuer_is_another_flight(old: str, new: str) -> None:
    two = Two()
    two.browser = Browser(two.world)
    target = two.browser.follow(location(two.browser.get("/reports")))
    targets = {target, target.replace(old, new)}
    keys = {start(two.one.decide(two.browser.request(each), two.world.now)).single_flight for each in targets}
    assert len(keys) == len(targets) == 2


def test_a_code_that_could_not_be_redeemed_is_tried_again_but_not_by_those_who_waited() -> None:
    two = Two()
    here, there = callback(two)
    two.world.down = "connect"
    failed = two.world.drive(here.flow)
    outcome = shared(here)
    waited = adopted(there, outcome.sealed)
    assert isinstance(failed, Respond) and isinstance(waited, Respond)
    assert failed.details == waited.details and failed.details.startswith("idp-unreachable")
    assert outcome.grace == 0
    two.world.down = ""
    assert location(two.world.settle(two.one.decide(two.request, two.world.now))) == "/reports"


# --- Envoy's profile


def envoys() -> tuple[envoy_signin.World, envoy_signin.World]:
    """Two workers with the same secrets; the second one's browser is the first one's."""
    one, two = envoy_signin.World(), envoy_signin.World(seed=1000)
    two.cookies = one.cookies
    return one, two


def envoy_start(world: envoy_signin.World, target: str = "/x") -> Start:
    return start(world.filter.decide(world.request(target), world.now))


def test_envoys_refresh_is_shared() -> None:
    one, two = envoys()
    one.sign_in()
    one.now = two.now = one.now + 3600
    here, there = envoy_start(one, "/one"), envoy_start(two, "/two")
    assert here.single_flight == there.single_flight
    result = one.drive(here, one.token_answer(access_token="access-2", refresh_token="refresh-2"))
    outcome = shared(here)
    answer = adopted(there, outcome.sealed)
    assert b"access-2" not in outcome.sealed
    assert isinstance(result, Allow) and isinstance(answer, Allow)
    assert "BearerToken=access-2" in (answer.cookie or "")
    assert envoy_signin.cookie_names(answer) == envoy_signin.cookie_names(result)
    late = two.filter.decide(two.request("/three"), two.now)
    assert isinstance(late, Allow) and late.via == "refreshed"


def test_envoys_refresh_that_failed_is_shared_with_those_who_waited_only() -> None:
    one, two = envoys()
    one.sign_in()
    one.now = two.now = one.now + 3600
    here, there = envoy_start(one, "/one"), envoy_start(two, "/two")
    one.drive(here, FetchFailed("connect", "refused", one.now))
    outcome = shared(here)
    answer = adopted(there, outcome.sealed)
    assert isinstance(answer, Respond) and answer.details == "oauth.missing_credentials"
    assert outcome.grace == 0
    envoy_start(two, "/three")


def test_envoys_code_is_redeemed_once() -> None:
    one, two = envoys()
    target = f"/callback?code=c0de&state={one.begin('/page')['state']}"
    here, there, again = envoy_start(one, target), envoy_start(two, target), envoy_start(one, target)
    assert here.single_flight == there.single_flight == again.single_flight != b""
    first = one.drive(here, one.token_answer())
    assert again.follow is not None
    one.now = two.now = one.now + limits.CALLBACK_GRACE - 1
    late = one.filter.decide(one.request(target), one.now)
    for answer in (first, again.follow(first), adopted(there, shared(here).sealed), late):
        assert isinstance(answer, Respond)
        assert (answer.details, envoy_signin.location(answer)) == ("oauth.logged_in", "https://app.example/page")
        assert "BearerToken" in envoy_signin.cookie_names(answer)
    one.now += 1
    envoy_start(one, target)


def test_envoys_secrets_keep_outcomes_apart() -> None:
    one, two = envoys()
    target = f"/callback?code=c0de&state={one.begin('/page')['state']}"
    here, there = envoy_start(one, target), envoy_start(two, target)
    one.drive(here, one.token_answer())
    sealed = shared(here).sealed
    another = envoy_start(one, f"/callback?code=another&state={one.begin('/page')['state']}")
    assert another.adopt is not None and another.adopt(sealed) is None
    assert there.adopt is not None and there.adopt(sealed) is not None


# --- the memory


def test_those_who_waited_are_told_whatever_ends_in_between() -> None:
    outcomes = FlowOutcomes(str, "test", lambda count: b"\0" * count)
    outcomes.remember(b"a", "failed", 1000.0, grace=0.0)
    outcomes.remember(b"b", "done", 1001.0, grace=30.0)
    assert (outcomes.recent(b"a", 1001.0), outcomes.last(b"a")) == (None, "failed")
    outcomes.remember(b"c", "done", 1000.0 + limits.REFRESH_GRACE + 1, grace=30.0)
    assert (outcomes.last(b"a"), len(outcomes)) == (None, 2)
