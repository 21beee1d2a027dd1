"""One flow for all who want the same, whatever came between its decision and its start."""

from __future__ import annotations

import asyncio
import os

import pytest

from envoy_signin import World, config
from ostiary.app.flows import Flows, Running
from ostiary.core.decision import Allow, Fetch, Fetched, Respond, Start
from ostiary.core.oauth2.envoy.filter import Outcomes
from wire import scenario

EXPIRED = ("OauthHMAC", "OauthExpires", "BearerToken", "IdToken")


class Provider:
    """Answers each token request after a while with tokens that replace the last ones; as its clock says."""

    def __init__(self, world: World, *, ahead: float = 0.0) -> None:
        self.world = world
        self.ahead = ahead
        self.asked = 0

    async def fetch(self, _fetch: Fetch) -> Fetched:
        self.asked += 1
        await asyncio.sleep(0.01)
        self.world.now += self.ahead
        answer = self.world.token_answer(access_token=f"a{self.asked}", refresh_token=f"r{self.asked}")
        self.world.now -= self.ahead
        return answer


def expired(**worlds: object) -> World:
    """A browser whose session has run out, with its refresh token."""
    world = World(config(), **worlds)  # type: ignore[arg-type] # RuntimeFlags
    world.sign_in()
    world.now += 3600
    for name in EXPIRED:
        world.cookies.pop(name, None)
    return world


async def ask(world: World, flows: Flows, target: str = "/") -> Allow | Respond:
    decision = world.filter.decide(world.request(target), world.now)
    return await flows.run(decision) if isinstance(decision, Start) else decision


def refreshed(answer: Allow | Respond) -> bool:
    return isinstance(answer, Allow) and answer.via == "refreshed"


@pytest.mark.parametrize("ahead", [0.0, 0.05])
@scenario
async def test_a_token_is_used_once_though_requests_are_judged_by_an_older_clock(ahead: float) -> None:
    world = expired()
    provider = Provider(world, ahead=ahead)
    flows = Flows(provider)
    together = await asyncio.gather(*(ask(world, flows, f"/{n}") for n in range(5)))
    late = [await ask(world, flows) for _ in range(3)]
    assert all(refreshed(answer) for answer in (*together, *late))
    assert provider.asked == 1


@scenario
async def test_a_flow_that_was_decided_before_another_ended_finds_its_outcome() -> None:
    world = expired()
    provider = Provider(world)
    flows = Flows(provider)
    decided = world.filter.decide(world.request("/late"), world.now)
    assert isinstance(decided, Start)
    assert refreshed(await ask(world, flows))
    assert refreshed(await flows.run(decided))
    assert provider.asked == 1


@scenario
async def test_routes_with_filters_of_their_own_and_other_listeners_share_a_flow() -> None:
    world, outcomes, running = expired(), Outcomes(os.urandom), Running()
    provider = Provider(world)
    others = [world.another_filter(config(), outcomes), world.another_filter(config(use_refresh_token=True), outcomes)]
    flows = [Flows(provider, running=running) for _ in others]

    async def at(number: int) -> Allow | Respond:
        decision = others[number].decide(world.request("/"), world.now)
        return await flows[number].run(decision) if isinstance(decision, Start) else decision

    assert all(refreshed(answer) for answer in await asyncio.gather(at(0), at(1)))
    assert refreshed(await at(0)) and refreshed(await at(1))
    assert provider.asked == 1


@scenario
async def test_a_client_that_leaves_ends_it_for_nobody() -> None:
    world = expired()
    provider = Provider(world)
    flows = Flows(provider)
    first = asyncio.ensure_future(ask(world, flows))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(ask(world, flows))
    await asyncio.sleep(0)
    first.cancel()
    assert refreshed(await second)
    assert provider.asked == 1
