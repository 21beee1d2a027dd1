"""A stream of asyncio: python asyncio_stream.py https://example.com/"""

import asyncio
import sys
from urllib.parse import urlsplit

import ostiary


async def main(url: str) -> int:
    try:
        connection = await ostiary.connect(url, timeout=5.0)
    except ostiary.ConnectError as error:
        print(error)  # a sentence; error.trace is all that was tried
        for attempt in error.trace.attempts:
            print(f"  {attempt.address} {attempt.outcome} in {attempt.stage}: {attempt.errno or attempt.message}")
        return 1
    async with connection:
        host = urlsplit(url).netloc
        connection.writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        status = await connection.reader.readline()
        print(status.decode().strip())
        print(connection.trace.summary)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1])))
