"""A Kubernetes API with one pod in it, whose `pilot-agent` asks a real proxy's admin port.

It speaks what kubectl needs of it: the pod, `exec` over a WebSocket (v5.channel.k8s.io), and `log`. Where there is no
kubectl, a script of that name does the same without the API: SCRIPT.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from waiting import PATIENCE

POD, NAMESPACE, CONTAINER, CONTEXT = "httpbin-1", "shop", "istio-proxy", "mesh"
_STDOUT, _STDERR, _STATUS = b"\x01", b"\x02", b"\x03"
_RESOURCES = [
    {"name": name, "singularName": "pod", "namespaced": True, "kind": kind, "verbs": ["get", "create", "list"]}
    for name, kind in (("pods", "Pod"), ("pods/exec", "PodExecOptions"), ("pods/log", "Pod"))
]
_DISCOVERY: dict[str, dict[str, Any]] = {
    "/version": {"major": "1", "minor": "32", "gitVersion": "v1.32.4"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    f"/api/v1/namespaces/{NAMESPACE}": {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": NAMESPACE}},
    "/api/v1": {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1", "resources": _RESOURCES},
}

SCRIPT = """\
#!@PYTHON@
import sys
sys.path[:0] = @PATHS@
from peers.kube_world import stand_in
sys.exit(stand_in(sys.argv[1:], @PORT@, @LOG@))
"""


def pilot_agent(port: int, method: str, path: str) -> tuple[int, str, str]:
    """`pilot-agent request METHOD PATH`: exit code, stdout, stderr; as Istio's source prints them."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request(method, "/" + path.removeprefix("/"))
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    if response.status > 399 and response.status != 404:
        return 255, "", f"Error: received unsuccessful status code {response.status}: {text}\n"
    return 0, text + "\n", ""


def refused(namespace: str, pod: str, container: str) -> tuple[int, str] | None:
    """Why Kubernetes has no such thing: (status, message)."""
    if (namespace, pod) != (NAMESPACE, POD):
        return 404, f'pods "{pod}" not found'
    if container != CONTAINER:
        return 400, f"container {container} is not valid for pod {pod}"
    return None


def stand_in(argv: list[str], port: int, log: str) -> int:
    """What kubectl would do."""
    import sys

    options = dict(each.partition("=")[::2] for each in argv if each.startswith("--") and each != "--")
    command = argv[argv.index("--") + 1 :] if "--" in argv else []
    mine = argv[: argv.index("--")] if "--" in argv else argv
    container = mine[mine.index("-c") + 1]
    pod = mine[mine.index("-c") - 1]
    if options.get("--context", CONTEXT) != CONTEXT:
        print(f'error: context "{options["--context"]}" does not exist', file=sys.stderr)
        return 1
    wrong = refused(options.get("--namespace", "default"), pod, container)
    if wrong is not None:
        print(f"Error from server: {wrong[1]}", file=sys.stderr)
        return 1
    if "logs" in mine:
        import time

        with Path(log).open() as file:
            while True:
                sys.stdout.write(file.read())
                sys.stdout.flush()
                time.sleep(0.05)
    code, out, err = pilot_agent(port, *command[2:])
    sys.stdout.write(out)
    sys.stderr.write(err + (f"command terminated with exit code {code}\n" if code else ""))
    return code


async def _discovery(document: dict[str, Any], _request: web.Request) -> web.Response:
    return web.json_response(document)


class Cluster:
    """The API, in a thread of its own."""

    def __init__(self, admin_port: int, log: Path) -> None:
        self._admin_port = admin_port
        self._log = log
        self.port = 0
        self.asked: list[str] = []
        """Targets of requests."""

    def write_kubeconfig(self, path: Path) -> None:
        """A kubeconfig whose current context leads nowhere: --context has to be given."""
        named = {"cluster": "here", "user": "me"}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "elsewhere",
            "clusters": [
                {"name": "here", "cluster": {"server": f"http://127.0.0.1:{self.port}"}},
                {"name": "nowhere", "cluster": {"server": "http://127.0.0.1:9"}},
            ],
            "users": [{"name": "me", "user": {}}],
            "contexts": [
                {"name": CONTEXT, "context": named},
                {"name": "elsewhere", "context": {"cluster": "nowhere", "user": "me"}},
            ],
        }
        path.write_text(json.dumps(document))

    @contextmanager
    def running(self) -> Iterator[Cluster]:
        loop = asyncio.new_event_loop()
        ready = threading.Event()

        async def serve() -> None:
            app = web.Application()
            for path, document in _DISCOVERY.items():
                app.router.add_get(path, partial(_discovery, document))
            app.router.add_get("/api/v1/namespaces/{namespace}/pods/{pod}", self._pod)
            app.router.add_route("*", "/api/v1/namespaces/{namespace}/pods/{pod}/exec", self._exec)
            app.router.add_get("/api/v1/namespaces/{namespace}/pods/{pod}/log", self._logs)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.port = runner.addresses[0][1]
            self._stop = asyncio.Event()
            ready.set()
            await self._stop.wait()
            await runner.cleanup()

        thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
        thread.start()
        assert ready.wait(PATIENCE)
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(self._stop.set)
            thread.join(PATIENCE)
            loop.close()

    def _refusal(self, request: web.Request, container: str) -> web.Response | None:
        self.asked.append(request.path_qs)
        wrong = refused(request.match_info["namespace"], request.match_info["pod"], container)
        if wrong is None:
            return None
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": wrong[1], "code": wrong[0]}
        status |= {"reason": "NotFound"} if wrong[0] == 404 else {"reason": "BadRequest"}
        status["details"] = {"name": request.match_info["pod"], "kind": "pods"}
        return web.json_response(status, status=wrong[0])

    async def _pod(self, request: web.Request) -> web.Response:
        spec = {"containers": [{"name": "httpbin"}, {"name": CONTAINER}]}
        meta = {"name": POD, "namespace": NAMESPACE}
        pod = {"kind": "Pod", "apiVersion": "v1", "metadata": meta, "spec": spec, "status": {"phase": "Running"}}
        return self._refusal(request, CONTAINER) or web.json_response(pod)

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        refusal = self._refusal(request, request.query["container"])
        if refusal is not None:
            return refusal
        socket = web.WebSocketResponse(protocols=("v5.channel.k8s.io",))
        await socket.prepare(request)
        command = request.query.getall("command")
        assert command[:2] == ["pilot-agent", "request"], command
        code, out, err = await asyncio.to_thread(pilot_agent, self._admin_port, command[2], command[3])
        for channel, text in ((_STDOUT, out), (_STDERR, err)):
            if text:
                await socket.send_bytes(channel + text.encode())
        status: dict[str, Any] = {"metadata": {}, "status": "Success"}
        if code:
            causes = [{"reason": "ExitCode", "message": str(code)}]
            message = f"command terminated with exit code {code}"
            status |= {"status": "Failure", "reason": "NonZeroExitCode", "message": message}
            status["details"] = {"causes": causes}
        await socket.send_bytes(_STATUS + json.dumps(status).encode())
        await socket.close()
        async for message in socket:
            if message.type in (WSMsgType.CLOSE, WSMsgType.ERROR):
                break
        return socket

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        refusal = self._refusal(request, request.query["container"])
        if refusal is not None:
            return refusal
        response = web.StreamResponse()
        await response.prepare(request)
        with self._log.open("rb") as file:
            while not self._stop.is_set():
                if data := file.read():
                    await response.write(data)
                await asyncio.sleep(0.05)
        return response
