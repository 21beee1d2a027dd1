"""A connector for aiohttp: python aiohttp_client.py https://example.com/

The race and TLS are Ostiary's; pooling, limits and everything above stay aiohttp's.
"""

import asyncio
import ssl
import sys
from typing import Any

import aiohttp

import ostiary


class OstiaryConnector(aiohttp.BaseConnector):
    """`aiohttp.ClientSession(connector=OstiaryConnector())`. Proxies are not supported."""

    allowed_protocol_schema_set = frozenset({"", "http", "https", "ws", "wss"})

    def __init__(self, context: ssl.SSLContext | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._context = context or ssl.create_default_context()
        self._connector = ostiary.Connector()  # remembers dead families and DNS answers: keep it

    async def _create_connection(self, req: Any, traces: Any, timeout: aiohttp.ClientTimeout) -> Any:
        key = req.connection_key
        try:
            _, protocol, trace = await self._connector.connect(
                key.host,
                key.port,
                self._factory,
                ssl=self._context if key.is_ssl else None,
                timeout=timeout.sock_connect or timeout.connect or 5.0,
            )
        except ostiary.ConnectError as error:
            raise aiohttp.ClientConnectorError(key, error) from error
        print(trace.summary)
        return protocol


async def main(url: str) -> int:
    async with aiohttp.ClientSession(connector=OstiaryConnector()) as session:
        try:
            async with session.get(url) as response:
                print(response.status, await response.text())
        except aiohttp.ClientConnectorError as error:
            print(error.os_error)  # ostiary's ConnectError, with its .trace
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1])))
