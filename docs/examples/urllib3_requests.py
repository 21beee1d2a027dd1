"""urllib3 and requests, which are synchronous: python urllib3_requests.py https://example.com/

The race runs on an event loop in a thread of its own and hands over a plain socket. TLS is urllib3's, after the race: a
peer that accepts TCP and stays silent in TLS is not raced against, unlike in the other recipes.
"""

import asyncio
import os
import socket
import sys
import threading
from functools import cache
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.exceptions import NewConnectionError

import ostiary


@cache
def background() -> tuple[asyncio.AbstractEventLoop, ostiary.Connector]:
    """One loop and one connector for the whole program: the connector remembers dead families and DNS answers."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="ostiary", daemon=True).start()
    return loop, ostiary.Connector()


def connect(host: str, port: int, timeout: float) -> socket.socket:
    """A connected, blocking socket. Raises ostiary.ConnectError."""
    loop, connector = background()

    async def race() -> socket.socket:
        transport, _, trace = await connector.connect(host, port, asyncio.Protocol, timeout=timeout)
        transport.pause_reading()
        mine = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        transport.abort()  # closes the loop's descriptor; ours keeps the connection
        print(trace.summary)
        return mine

    sock = asyncio.run_coroutine_threadsafe(race(), loop).result()
    sock.settimeout(timeout)
    return sock


class _Raced:
    def _new_conn(self: Any) -> socket.socket:
        timeout = self.timeout if isinstance(self.timeout, int | float) else 5.0
        try:
            return connect(self._dns_host, self.port, timeout)
        except ostiary.ConnectError as error:
            raise NewConnectionError(self, str(error)) from error


class HTTPConnection(_Raced, urllib3.connection.HTTPConnection):
    pass


class HTTPSConnection(_Raced, urllib3.connection.HTTPSConnection):
    pass


class HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = HTTPConnection


class HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = HTTPSConnection


class PoolManager(urllib3.PoolManager):
    """Use it as urllib3's own."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.pool_classes_by_scheme = {"http": HTTPPool, "https": HTTPSPool}


class OstiaryAdapter(HTTPAdapter):
    """`session.mount("https://", OstiaryAdapter())`."""

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        self.poolmanager = PoolManager(num_pools=connections, maxsize=maxsize, block=block, **options)


def main(url: str) -> int:
    session = requests.Session()
    session.trust_env = False
    session.verify = os.environ.get("SSL_CERT_FILE") or True
    for scheme in ("http://", "https://"):
        session.mount(scheme, OstiaryAdapter())
    try:
        response = session.get(url, timeout=5.0)
    except requests.ConnectionError as error:
        print(error.args[0].reason.__cause__)  # Ostiary's ConnectError, with its .trace
        return 1
    print(response.status_code, response.text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
