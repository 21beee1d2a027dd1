"""`/logging` over HTTP. What each query comes to, beside a real Envoy: tests/peers/test_envoy_compare_logging.py."""

from __future__ import annotations

import pytest

from admin.admin_world import ask, doorkeeper
from ostiary.app import logs
from ostiary.core.log_levels import listing
from ostiary.core.log_line import parse
from ostiary.model.process import LOG_COMPONENTS
from ostiary.net.log import log
from wire import scenario

pytestmark = pytest.mark.usefixtures("own_log")


@scenario
async def test_levels_are_read_changed_and_put_back() -> None:
    logs.configure("warning", {"admin": "info"}, "istio")
    before = logs.levels()
    async with doorkeeper() as (door, _):
        answer = await ask(door, "/logging", method="POST")
        assert (answer.status, answer.body.decode()) == (200, listing(before))
        answer = await ask(door, "/logging?paths=dns:debug,oauth2:trace", method="POST")
        assert answer.body.decode() == listing({**before, "dns": "debug", "oauth2": "trace"})
        assert (log("dns").debugs, log("oauth2").traces, log("router").debugs) == (True, True, False)
        back = ",".join(f"{name}:{level}" for name, level in before.items())
        assert (await ask(door, f"/logging?paths={back}", method="POST")).body.decode() == listing(before)
        assert (log("dns").debugs, log("oauth2").traces) == (False, False)


def test_a_get_changes_nothing_and_changes_are_logged(capsys: pytest.CaptureFixture[str]) -> None:
    @scenario
    async def ask_twice() -> None:
        async with doorkeeper() as (door, _):
            answer = await ask(door, "/logging?level=debug")
            assert (answer.status, answer.body) == (405, b"Method GET not allowed, POST required.")
            assert (await ask(door, "/logging?dns=off", method="POST")).status == 200

    logs.configure("warning", {"admin": "info"}, "istio")
    ask_twice()
    said = [(line.level, line.component, line.message) for each in capsys.readouterr().err.splitlines()
            if (line := parse(each)) is not None]  # fmt: skip
    assert ("error", "admin", 'admin path "/logging" mutates state, method=GET rather than POST') in said
    assert ("info", "admin", "change log level: name='dns' level='off'") in said
    assert set(logs.levels()) == set(LOG_COMPONENTS)
    assert logs.levels()["oauth2"] == "warning"
