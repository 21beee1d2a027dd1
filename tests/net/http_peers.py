"""Peers on both loopback families that speak HTTP/1.1, as far as a GET goes."""

from __future__ import annotations

import asyncio

from net.peers_on_loopback import Behaviour, Peers


class HttpPeers(Peers):
    """They say which family they are to whoever asks."""

    def _greeter(self, family: str, behaviour: Behaviour):  # type: ignore[no-untyped-def]
        async def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._writers.append(writer)
            try:
                if behaviour == "silent":
                    await reader.read()
                else:
                    while True:
                        await reader.readuntil(b"\r\n\r\n")
                        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{family}".encode())
            except (OSError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        return on_client
