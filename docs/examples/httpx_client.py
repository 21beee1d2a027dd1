"""A transport for httpx: python httpx_client.py https://example.com/

httpcore connects first and starts TLS afterwards. To have TLS inside the race, the stream below waits until it knows
whether TLS is wanted, and connects then.
"""

import asyncio
import contextlib
import ssl
import sys
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

import ostiary


class Stream(httpcore.AsyncNetworkStream):
    def __init__(self, connector: ostiary.Connector, host: str, port: int, timeout: float | None) -> None:
        self._connector, self._host, self._port = connector, host, port
        self._timeout = 5.0 if timeout is None else timeout
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def _connect(self, context: ssl.SSLContext | None, name: str | None, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        try:
            transport, protocol, trace = await self._connector.connect(
                self._host,
                self._port,
                lambda: asyncio.StreamReaderProtocol(reader, loop=loop),
                ssl=context,
                server_hostname=name,
                timeout=timeout,
            )
        except ostiary.ConnectTimeoutError as error:
            raise httpcore.ConnectTimeout(error) from error
        except ostiary.ConnectError as error:
            raise httpcore.ConnectError(error) from error
        self._reader, self._writer = reader, asyncio.StreamWriter(transport, protocol, reader, loop)
        print(trace.summary)

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        await self._connect(ssl_context, server_hostname, self._timeout if timeout is None else timeout)
        return self

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._writer is None:
            await self._connect(None, None, self._timeout)
        assert self._writer is not None
        self._writer.write(buffer)
        try:
            await asyncio.wait_for(self._writer.drain(), timeout)
        except TimeoutError as error:
            raise httpcore.WriteTimeout from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        assert self._reader is not None, "httpcore writes first"
        try:
            return await asyncio.wait_for(self._reader.read(max_bytes), timeout)
        except TimeoutError as error:
            raise httpcore.ReadTimeout from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    async def aclose(self) -> None:
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    def get_extra_info(self, info: str) -> Any:
        if self._writer is None:
            return None
        if info == "is_readable":  # httpcore asks this of idle connections: has the peer closed?
            return self._reader is None or self._reader.at_eof()
        names = {"client_addr": "sockname", "server_addr": "peername"}
        return self._writer.get_extra_info(names.get(info, info))


class Backend(httpcore.AsyncNetworkBackend):
    def __init__(self) -> None:
        self._connector = ostiary.Connector()  # remembers dead families and DNS answers: keep it

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return Stream(self._connector, host, port, timeout)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class OstiaryTransport(httpx.AsyncHTTPTransport):
    """`httpx.AsyncClient(transport=OstiaryTransport())`."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__()
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context or ssl.create_default_context(), network_backend=Backend()
        )


async def main(url: str) -> int:
    async with httpx.AsyncClient(transport=OstiaryTransport()) as client:
        try:
            response = await client.get(url)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            print(error)
            print(len(error.__cause__.args[0].trace.attempts), "attempts")  # httpcore's error, and in it Ostiary's
            return 1
        print(response.status_code, response.text)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1])))
