"""`/logging`: the same queries to a real Envoy and to what answers here, compared to the last byte."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from ostiary.core.log_levels import answer, listing
from ostiary.model.process import LOG_COMPONENTS, LogLevel
from peers.proxies import Proxy, envoy_arguments
from ports import free_port
from waiting import PATIENCE

pytestmark = pytest.mark.peer
INFO: dict[str, LogLevel] = dict.fromkeys(LOG_COMPONENTS, "info")
QUERIES = (
    "",
    "?",
    "?level=debug",
    "?level=off",
    "?level=",
    "?level=warn",
    "?level=DEBUG",
    "?level=debug&level=info",
    "?level=debug&",
    "?oauth2=trace",
    "?oauth2=",
    "?oauth2",
    "?oauth2=de%62ug",
    "?oauth2=nope",
    "?oauth=debug",
    "?nope=nope",
    "?=debug",
    "?a&b",
    "?a=1&b=2",
    "?oauth2=debug&router=debug",
    "?level=debug&oauth2=",
    "?paths=",
    "?paths=oauth2:debug,router:critical",
    "?paths=oauth2%3Adebug%2Cdns%3Aoff",
    "?paths=oauth2:debug,oauth2:error",
    "?paths=oauth2:debug,,dns:debug,",
    "?paths=,oauth2:debug",
    "?paths=oauth2",
    "?paths=:debug",
    "?paths=oauth2:",
    "?paths=oauth2:debug:info",
    "?paths=oauth2:warn",
    "?paths=oauth2:debug,oauth:debug",
    "?paths=oauth:debug,oauth2:nope",
    "?paths=**:debug",
    "?group=x:debug",
)


@pytest.fixture(scope="module")
def port(envoy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    assert envoy.exists()
    folder = tmp_path_factory.mktemp("logging")
    admin = free_port()
    config = folder / "envoy.yaml"
    config.write_text(f"admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {admin}}}}}}}\n")
    proxy = Proxy("envoy", envoy_arguments(config), (), admin, folder / "log").start()
    yield admin
    proxy.stop()


def ask(port: int, query: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("POST", f"/logging{query}")
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


@pytest.mark.parametrize("query", QUERIES)
def test_the_answer_is_envoys(query: str, port: int) -> None:
    assert ask(port, "?level=info") == (200, listing(INFO))
    ours = answer(parse_qsl(query.removeprefix("?"), keep_blank_values=True), INFO)
    assert ask(port, query) == (ours.status, ours.text)
    assert ask(port, "") == (200, listing({**INFO, **ours.changes}))
