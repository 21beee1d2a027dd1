"""Requests to an admin API, Envoy's or ours: over HTTP, over a Unix socket, or in a pod through kubectl.

A pod's admin API listens on its loopback, so what asks is `pilot-agent request` in the container, which prints the
answer's body; who may do that is Kubernetes' business. Many requests may be under way at once.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol, final
from urllib.parse import urlsplit

from ostiary.core.chunked import ChunkedReader
from ostiary.core.header_lines import BadMessage
from ostiary.model import limits
from ostiary.model.errors import OstiaryError

_HEAD: Final = "host: localhost\r\naccept: */*\r\ncontent-length: 0\r\n\r\n"
_READ: Final = 1 << 20
_MAX_BODY: Final = 1 << 29
"""Bytes: the dump of the largest meshes has a quarter of it."""
_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_REFUSED: Final = re.compile(rb"unsuccessful status code (\d{3}):? ?(.*)", re.DOTALL)
_KLOG: Final = re.compile(r"[IWEF]\d{4} \d\d:\d\d:")
"""How a line of kubectl's log begins, of which it writes several before it says why it gives up."""
_LOOPBACK: Final = ("localhost", "::1")
_KINDS: Final = frozenset(
    {"po", "pod", "pods", "deploy", "deployment", "deployments", "sts", "statefulset", "statefulsets", "ds",
     "daemonset", "daemonsets", "rs", "replicaset", "replicasets", "job", "jobs", "svc", "service", "services"}
)  # fmt: skip
"""What kubectl takes before the slash of a TYPE/NAME."""
_NO_PAGE: Final = b"invalid path."
_MENDS: Final = (
    ("executable file not found", "no pilot-agent there: --container names the proxy's; other Envoys by --admin"),
    ("is not valid for pod", "--container names the container of the proxy"),
    ("container not found", "--container names the container of the proxy"),
    ("forbidden", "who asks needs the right to `create` on `pods/exec` there"),
    ("not found", "`kubectl get pods -A` lists what there is"),
    ("unable to connect to the server", "is this the right cluster? --context chooses"),
    ("connection refused", "is this the right cluster? --context chooses"),
    ("does not exist", "`kubectl config get-contexts` lists contexts"),
)  # fmt: skip


class AdminError(OstiaryError):
    """No answer. The text says why and what to do."""


@final
@dataclass(frozen=True, slots=True)
class AdminAnswer:
    """What an admin API said."""

    status: int
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")


class AdminClient(Protocol):
    """Asks one admin API."""

    @property
    def where(self) -> str:
        """Whom it asks, for people and as a key: `http://127.0.0.1:9901`, `pod default/httpbin-1`."""

    @property
    def is_local(self) -> bool:
        """Whether the proxy is on this machine, in this network."""

    async def request(self, path: str, method: str = "GET") -> AdminAnswer:
        """One request; `path` with its query. Raises AdminError."""

    def close(self) -> None:
        """Nothing more is asked."""


@final
class HttpAdmin:
    """An admin port, `http://HOST:PORT` or `unix:PATH`. Connections are kept; a few requests run at a time."""

    def __init__(self, url: str, *, timeout: float = limits.ADMIN_ANSWER_TIMEOUT) -> None:
        """Raises ValueError for another kind of address."""
        self._path = url.removeprefix("unix:").removeprefix("//") if url.startswith("unix:") else ""
        wrong = f"{url!r} is no address of an admin port: http://HOST:PORT, HOST:PORT or unix:PATH"
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            self._host, self._port = parts.hostname or "", parts.port or 80
        except ValueError as error:
            raise ValueError(f"{wrong} ({error})") from error
        if not self._path and (parts.scheme != "http" or not self._host or parts.path not in ("", "/")):
            raise ValueError(wrong)
        self.where = url if self._path or "://" in url else f"http://{url}"
        self.is_local = bool(self._path) or self._host in _LOOPBACK or self._host.startswith("127.")
        self._timeout = timeout
        self._turn = asyncio.Semaphore(limits.MAX_ADMIN_REQUESTS)
        self._idle: list[_Streams] = []

    async def request(self, path: str, method: str = "GET") -> AdminAnswer:
        """One request. What an idle connection does not answer is asked again on a new one."""
        async with self._turn:
            try:
                if self._idle:
                    with suppress(OSError, EOFError):
                        return await self._ask(self._idle.pop(), path, method)
                return await self._ask(await self._open(), path, method)
            except ConnectionRefusedError as error:
                text = f"nothing listens at {self.where}: is the proxy running, and its admin there?"
                raise AdminError(text) from error
            except TimeoutError:
                raise AdminError(f"{self.where} gives no answer: timed out") from None
            except (OSError, EOFError, ValueError, BadMessage, asyncio.LimitOverrunError) as error:
                why = (isinstance(error, OSError) and error.strerror) or error or type(error).__name__
                raise AdminError(f"{self.where} gives no answer: {why}") from error

    async def _open(self) -> _Streams:
        async with asyncio.timeout(self._timeout):
            if self._path:
                return await asyncio.open_unix_connection(self._path, limit=_READ)
            return await asyncio.open_connection(self._host, self._port, limit=_READ)

    async def _ask(self, streams: _Streams, path: str, method: str) -> AdminAnswer:
        reader, writer = streams
        keep = False
        try:
            writer.write(f"{method} /{path.lstrip('/')} HTTP/1.1\r\n{_HEAD}".encode())
            async with asyncio.timeout(self._timeout):
                head = await reader.readuntil(b"\r\n\r\n")
            status, fields = _head(head)
            body, keep = await self._body(reader, fields)
            keep = keep and b"close" not in fields.get(b"connection", b"") and not head.startswith(b"HTTP/1.0")
            return AdminAnswer(status, body)
        finally:
            if keep:
                self._idle.append(streams)
            else:
                writer.close()

    async def _body(self, reader: asyncio.StreamReader, fields: dict[bytes, bytes]) -> tuple[bytes, bool]:
        """(the body, whether the connection is good for more). The time-out is for each part."""
        parts: list[bytes] = []
        chunks = ChunkedReader() if b"chunked" in fields.get(b"transfer-encoding", b"") else None
        length = int(fields[b"content-length"]) if b"content-length" in fields else None
        size = 0
        while size != length and not (chunks is not None and chunks.done):
            async with asyncio.timeout(self._timeout):
                data = await reader.read(_READ if length is None else min(_READ, length - size))
            if not data and (length is not None or chunks is not None):
                raise EOFError("the answer is cut off")
            if not data:
                return b"".join(parts), False
            parts.append(chunks.feed(data) if chunks is not None else data)
            size += len(parts[-1])
            if size > _MAX_BODY:
                raise ValueError(f"an answer of more than {_MAX_BODY >> 20} MB")
        return b"".join(parts), True

    def close(self) -> None:
        """Nothing more is asked."""
        for _, writer in self._idle:
            with suppress(RuntimeError):  # the loop may have ended
                writer.close()
        self._idle.clear()


def _head(block: bytes) -> tuple[int, dict[bytes, bytes]]:
    """Raises ValueError for what is no answer of HTTP."""
    first, *lines = block.split(b"\r\n")
    version, _, rest = first.partition(b" ")
    if not version.startswith(b"HTTP/1."):
        raise ValueError("it does not speak HTTP")
    pairs = (line.partition(b":") for line in lines if line)
    return int(rest[:3]), {name.lower(): value.strip().lower() for name, _, value in pairs}


@final
@dataclass(frozen=True, slots=True)
class Pod:
    """A container, and how kubectl gets at it."""

    name: str
    """`httpbin-1`, or `deploy/httpbin`."""
    namespace: str = ""
    """Empty: that of the context."""
    container: str = "istio-proxy"
    context: str = ""
    kubeconfig: str = ""

    @classmethod
    def parse(cls, text: str, container: str = "istio-proxy", context: str = "", kubeconfig: str = "") -> Pod:
        """`NAMESPACE/POD`, or `POD`; for POD also what kubectl takes, `deploy/NAME`, of which it chooses a pod.

        Raises ValueError.
        """
        namespace, slash, name = text.partition("/")
        if not slash or (namespace.partition(".")[0] in _KINDS and "/" not in name):
            namespace, slash, name = "", "", text
        if not name or name.startswith("-") or namespace.startswith("-") or (slash and not namespace):
            raise ValueError(f"{text!r} names no pod: NAMESPACE/POD, or NAMESPACE/deploy/NAME")
        return cls(name, namespace, container, context, kubeconfig)

    def kubectl(self, verb: str, *options: str) -> list[str]:
        """A command line: `kubectl ... VERB OPTIONS POD -c CONTAINER`."""
        place = {"--context": self.context, "--kubeconfig": self.kubeconfig, "--namespace": self.namespace}
        chosen = [f"{name}={value}" for name, value in place.items() if value]
        return ["kubectl", *chosen, verb, *options, self.name, "-c", self.container]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@final
class PodAdmin:
    """The admin API in a pod of Istio's."""

    def __init__(
        self, pod: Pod, *, timeout: float = limits.KUBECTL_TIMEOUT, turn: asyncio.Semaphore | None = None
    ) -> None:
        """`turn` is shared by pods that are asked at the same time."""
        self.pod = pod
        self.where = f"pod {pod}"
        self.is_local = False
        self._timeout = timeout
        self._turn = turn or asyncio.Semaphore(limits.MAX_KUBECTLS)

    async def request(self, path: str, method: str = "GET") -> AdminAnswer:
        """One request: one run of kubectl."""
        command = [*self.pod.kubectl("exec"), "--", "pilot-agent", "request", method, path.lstrip("/")]
        async with self._turn:
            code, out, err = await self._run(command)
        if code == 0:
            body = out.removesuffix(b"\n")  # pilot-agent's own
            return AdminAnswer(404 if body.startswith(_NO_PAGE) else 200, body)
        refused = _REFUSED.search(err)
        if refused is not None:
            body = re.sub(rb"\n?command terminated with exit code \d+\s*$", b"", refused[2])
            return AdminAnswer(int(refused[1]), body)
        raise AdminError(explained(err.decode("utf-8", "replace").strip() or f"kubectl ended with {code}"))

    async def _run(self, command: list[str]) -> tuple[int, bytes, bytes]:
        process = await start(command)
        try:
            async with asyncio.timeout(self._timeout):
                out, err = await process.communicate()
        except TimeoutError:
            text = f"kubectl gave no answer within {self._timeout:g} s: is the cluster reachable?"
            raise AdminError(text) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode or 0, out, err

    def close(self) -> None:
        """Every run of kubectl ends by itself."""


async def start(command: list[str]) -> asyncio.subprocess.Process:
    """A program with pipes, out of reach of the terminal's Ctrl-C. Raises AdminError if it isn't there."""
    pipe = asyncio.subprocess.PIPE
    try:
        return await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=True
        )
    except FileNotFoundError:
        raise AdminError(f"there is no {command[0]} here: install it, or give --admin an address") from None


def explained(said: str) -> str:
    """What kubectl said, without its own log where it also says it in words, and what to do about it."""
    mend = next((mend for part, mend in _MENDS if part in said.lower()), "")
    lines = said.splitlines()
    told = "\n".join([line for line in lines if not _KLOG.match(line)] or lines)
    return f"{told}\nMend: {mend}." if mend else told
