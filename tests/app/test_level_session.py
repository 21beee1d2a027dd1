"""Changes that go wrong half-way, and proxies older than `paths`: what a real one can't be made to do."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from ostiary.app.level_memory import LevelMemory
from ostiary.app.level_session import LevelSession
from ostiary.core.level_change import Wanted
from ostiary.core.log_levels import answer, listing
from ostiary.model.process import LogLevel
from ostiary.net.admin_client import AdminAnswer, AdminError
from wire import scenario

BEFORE: dict[str, LogLevel] = {"dns": "warning", "http": "warning", "misc": "error", "oauth2": "warning"}


class Proxy:
    """An admin API in memory. `knows_paths` False: an Envoy of before 2022; `breaks_at`: that request gets lost."""

    where = "http://proxy"

    def __init__(self, *, knows_paths: bool = True, breaks_at: int = -1, deaf: str = "", uptime: int = 10) -> None:
        self.levels = dict(BEFORE)
        self.posts: list[str] = []
        self.knows_paths, self.breaks_at, self.deaf, self.uptime = knows_paths, breaks_at, deaf, uptime

    async def request(self, path: str, method: str = "GET") -> AdminAnswer:
        if path == "server_info":
            options = {"log_level": "warning", "component_log_level": "misc:error"}
            document = {"uptime_current_epoch": f"{self.uptime}s", "command_line_options": options}
            return AdminAnswer(200, json.dumps(document).encode())
        assert method == "POST"
        query = path.partition("?")[2]
        self.posts += [query] if query else []
        if query.startswith("paths=") and not self.knows_paths:
            usage = "usage: /logging?<name>=<level> (change single level)\nusage: /logging?level=<level>\n"
            return AdminAnswer(404, usage.encode())
        answered = answer(parse_qsl(query), self.levels)
        self.levels.update({name: level for name, level in answered.changes.items() if name != self.deaf})
        if len(self.posts) == self.breaks_at:
            raise AdminError("the connection broke")
        text = listing(self.levels) if answered.status == 200 else answered.text
        return AdminAnswer(answered.status, text.encode())

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def session(proxy: Proxy) -> LevelSession:
    return LevelSession(proxy, LevelMemory(proxy.where))


WANTED = Wanted(None, {"dns": "debug", "oauth2": "trace"})


@scenario
async def test_an_envoy_without_paths_is_told_one_by_one() -> None:
    proxy = Proxy(knows_paths=False)
    changed = await session(proxy).change(WANTED)
    assert proxy.posts == ["paths=dns:debug,oauth2:trace", "dns=debug", "oauth2=trace"]
    assert proxy.levels == {**BEFORE, "dns": "debug", "oauth2": "trace"}
    await session(proxy).put_back(changed)
    assert proxy.levels == BEFORE


@pytest.mark.parametrize(("breaks_at", "knows_paths"), [(1, True), (2, False), (3, False)])
@scenario
async def test_a_change_that_breaks_half_way_is_undone(breaks_at: int, knows_paths: bool) -> None:
    proxy = Proxy(knows_paths=knows_paths, breaks_at=breaks_at)
    with pytest.raises(AdminError, match="the connection broke"):
        await session(proxy).change(WANTED)
    assert proxy.levels == BEFORE


@scenario
async def test_a_change_that_is_not_confirmed_is_undone() -> None:
    proxy = Proxy(deaf="oauth2")
    with pytest.raises(AdminError, match="did not set oauth2"):
        await session(proxy).change(WANTED)
    assert proxy.levels == BEFORE


@scenario
async def test_putting_back_is_tried_again() -> None:
    proxy = Proxy(breaks_at=2)
    changed = await session(proxy).change(WANTED)
    await session(proxy).put_back(changed)
    assert proxy.levels == BEFORE


@scenario
async def test_levels_of_an_earlier_life_are_not_put_back() -> None:
    proxy = Proxy()
    proxy.levels["http"] = "trace"
    await session(proxy).change(WANTED)
    again = Proxy(uptime=0)  # it was started again, 10 seconds later than the one before
    again.levels["dns"] = "off"
    changed = await session(again).reset()
    assert changed.why == "as it was started"
    assert again.levels == BEFORE


@scenario
async def test_a_memory_that_can_not_be_kept_is_said_before_anything_changes() -> None:
    proxy = Proxy()
    LevelMemory(proxy.where).path.parent.parent.mkdir(parents=True)
    LevelMemory(proxy.where).path.parent.touch()
    with pytest.raises(OSError, match="XDG_STATE_HOME names another directory"):
        await session(proxy).change(WANTED)
    assert proxy.levels == BEFORE


@scenario
async def test_what_is_no_admin_api_is_said() -> None:
    class Other(Proxy):
        async def request(self, path: str, method: str = "GET") -> AdminAnswer:
            return AdminAnswer(200, b"<html>hello</html>")

    with pytest.raises(AdminError, match="no admin API of Envoy's kind: /logging says '<html>"):
        await session(Other()).read()
