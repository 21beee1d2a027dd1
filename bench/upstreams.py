"""What the proxies stand before: nginx for anything it can answer, a small uvloop program for uploads and WebSockets.

Both live on the load generator's core, so that the proxy has its own.
"""

from __future__ import annotations

import http.client
import os
import socket
import sys
import time
from pathlib import Path

from bench.machine import LOAD_CORE, Program, pin

SMALL_BODY = '{"id":1893405331,"name":"Quarterly report","owner":"jane@example.com","state":"published","pages":42}'

NGINX = """
daemon off;
{user}
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx.error.log warn;
worker_rlimit_nofile 40000;
events {{ worker_connections 30000; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  large_client_header_buffers 8 64k;
  sendfile on;
  tcp_nodelay on;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ default_type application/json; return 200 '{body}'; }}
    location /files/ {{ root {directory}; default_type application/octet-stream; }}
    location = /upstream-status {{ stub_status; }}
  }}
}}
"""


def free_port() -> int:
    """A loopback port that nobody had a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, program: Program, patience: float = 15.0, pause: float = 0.01) -> None:
    """Return once the port takes connections. Raises RuntimeError if the program ends, TimeoutError if it is late."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        program.check()
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
        except OSError:
            time.sleep(pause)
        else:
            return
    raise TimeoutError(f"{program.argv[0]} took no connection on port {port} within {patience} s")


class Nginx:
    """Small answers and files, from memory."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        files = directory / "files"
        files.mkdir(exist_ok=True)
        (files / "64k").write_bytes(bytes(range(256)) * 256)
        (files / "10m").write_bytes(bytes(range(256)) * 40960)
        conf = directory / "nginx.conf"
        user = "user root;" if os.getuid() == 0 else ""  # the directory is private to whoever runs the benchmark
        conf.write_text(NGINX.format(directory=directory, port=self.port, body=SMALL_BODY, user=user))
        self.program = Program([*pin(LOAD_CORE), "nginx", "-c", str(conf)], directory / "nginx.log")

    def start(self) -> None:
        self.program.start()
        wait_for_port(self.port, self.program)

    def stop(self) -> None:
        self.program.stop()

    def requests_served(self) -> int:
        """nginx's own count of requests, this one included."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.request("GET", "/upstream-status")
        third_line = connection.getresponse().read().decode().splitlines()[2]
        connection.close()
        return int(third_line.split()[2])


class Sink:
    """Takes uploads to their end before it answers; speaks WebSocket by returning every frame."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        argv = [*pin(LOAD_CORE), sys.executable, "-m", "bench.sink", str(self.port)]
        self.program = Program(argv, directory / "sink.log")

    def start(self) -> None:
        self.program.start()
        wait_for_port(self.port, self.program)

    def stop(self) -> None:
        self.program.stop()
