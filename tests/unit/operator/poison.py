"""An API server that holds whatever a tenant put there, and objects that are poison."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from edgetran.api import API_VERSION, GROUP, KINDS, VERSION

OURS = {"app.kubernetes.io/name": "edgetran", "app.kubernetes.io/managed-by": "edgetran"}
DEEP = 1500
PLURALS = {
    **{model.PLURAL: kind for kind, model in KINDS.items()},
    "pods": "Pod",
    "jobs": "Job",
    "configmaps": "ConfigMap",
    "events": "Event",
    "nodes": "Node",
    "rayjobs": "RayJob",
}


def deep(levels: int = DEEP) -> str:
    """JSON that is nested that deep."""
    return '{"a":' * levels + "1" + "}" * levels


def brackets(count: int) -> str:
    """What no parser should be given."""
    return "[" * count


class Server:
    """Answers lists, watches and requests for one object from texts.

    Attributes:
        objects: text of each object, by plural, namespace and name.
        written: the last status that was written, by plural and name.
        asked: method, path and query of every request.
        accepted: what it was asked to answer with.
        metadata_only: whether it can leave all but the metadata out.
        refuse: what it answers instead, by path; status and headers.
        down: whether it answers nothing but 503.
        oldest: the version that watches may begin from at the earliest.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], str] = {}
        self.written: dict[tuple[str, str], dict[str, Any]] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.accepted: list[str] = []
        self.metadata_only = False
        self.refuse: dict[str, tuple[int, dict[str, str]]] = {}
        self.ends_watches = False
        self.down = False
        self.oldest = 0
        self.port = 0
        self.version = 10
        self._history: list[tuple[int, str, bytes]] = []
        self._watches: list[tuple[str, asyncio.Queue[bytes | None]]] = []

    def put(self, plural: str, name: str, namespace: str = "ns", **members: Any) -> None:
        """An object comes or changes; members that are texts are JSON already."""
        self.version += 1
        body = self.body(plural, name, namespace, **members)
        kind = "MODIFIED" if (plural, namespace, name) in self.objects else "ADDED"
        self.objects[plural, namespace, name] = body
        self.tell(plural, kind, body)

    def body(self, plural: str, name: str, namespace: str = "ns", **members: Any) -> str:
        """The text of an object."""
        kind = PLURALS[plural]
        metadata = {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{plural}-{namespace}-{name}",
            "resourceVersion": str(self.version),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "generation": self.version,
            **members.pop("metadata", {}),
        }
        texts = {key: v if isinstance(v, str) else json.dumps(v) for key, v in members.items()}
        api = API_VERSION if kind in KINDS else "v1"
        found = {"apiVersion": json.dumps(api), "kind": json.dumps(kind)}
        found |= {"metadata": json.dumps(metadata), **texts}
        return "{" + ",".join(f'"{key}":{text}' for key, text in found.items()) + "}"

    def drop(self, plural: str, name: str, namespace: str = "ns") -> None:
        """An object goes."""
        self.version += 1
        self.tell(plural, "DELETED", self.objects.pop((plural, namespace, name)))

    def tell(self, plural: str, kind: str, body: str) -> None:
        """Send a line to every watch of a collection."""
        line = f'{{"type":"{kind}","object":{body}}}\n'.encode()
        self.version += 1
        self._history.append((self.version, plural, line))
        for path, queue in self._watches:
            if path.rpartition("/")[2] == plural:
                queue.put_nowait(line)

    def cut(self) -> None:
        """End all watches, and answer nothing any more."""
        self.down = True
        for _, queue in self._watches:
            queue.put_nowait(None)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path, query = request.path.rstrip("/"), dict(request.query)
        self.asked.append((request.method, path, query))
        self.accepted.append(request.headers.get("Accept", ""))
        if self.down:
            return web.json_response({"message": "down"}, status=503)
        if path in self.refuse:
            status, headers = self.refuse[path]
            return web.json_response({"message": "no"}, status=status, headers=headers)
        if request.method != "GET":
            return await self._write(request, path)
        found = self._discovery(path)
        if found is not None:
            return web.json_response(found)
        if query.get("watch") == "true":
            return await self._watch(request, path, query)
        plural = path.rpartition("/")[2]
        if plural in PLURALS:
            return self._list(path, plural, query)
        *_, namespace, plural, name = path.split("/")
        text = self.objects.get((plural, namespace, name))
        if text is None:
            return web.json_response({"reason": "NotFound", "message": "gone"}, status=404)
        return web.Response(text=text, content_type="application/json")

    async def _write(self, request: web.Request, path: str) -> web.Response:
        plural, name, part = path.split("/")[-3:]
        if (request.method, part) != ("PATCH", "status") or (
            plural,
            "ns",
            name,
        ) not in self.objects:
            return web.json_response({"reason": "Forbidden", "message": "no"}, status=403)
        self.written[plural, name] = (await request.json())["status"]
        return web.Response(text=self.objects[plural, "ns", name], content_type="application/json")

    def _list(self, path: str, plural: str, query: dict[str, str]) -> web.Response:
        texts = [self._shown(text) for place, text in self.objects.items() if place[0] == plural]
        start = int(query.get("continue", 0))
        end = start + int(query.get("limit", 1000))
        more = f',"continue":"{end}"' if end < len(texts) else ""
        head = f'"metadata":{{"resourceVersion":"{self.version}"{more}}}'
        items = ",".join(texts[start:end])
        return web.Response(
            text=f'{{"apiVersion":"v1","items":[{items}],"kind":"List",{head}}}',
            content_type="application/json",
        )

    def _shown(self, text: str) -> str:
        if not self.metadata_only or "PartialObjectMetadata" not in self.accepted[-1]:
            return text
        body = json.loads(text)
        metadata = body["metadata"]
        fields = {f"f:{part}": {} for part in ("data", "binaryData") if part in body}
        metadata["managedFields"] = [{"manager": "worker", "fieldsV1": fields}]
        return json.dumps({"kind": "PartialObjectMetadata", "metadata": metadata})

    async def _watch(
        self, request: web.Request, path: str, query: dict[str, str]
    ) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        if self.ends_watches:
            return response
        if int(query["resourceVersion"]) < self.oldest:
            told = {"code": 410, "reason": "Expired", "message": "too old"}
            await response.write(json.dumps({"type": "ERROR", "object": told}).encode() + b"\n")
            return response
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        for version, plural, line in self._history:
            if path.endswith("/" + plural) and version > int(query["resourceVersion"]):
                queue.put_nowait(line)
        self._watches.append((path, queue))
        try:
            while True:
                line = await queue.get()
                if line is None:
                    return response
                if self.metadata_only and "PartialObjectMetadata" in request.headers["Accept"]:
                    event = json.loads(line)
                    self.accepted.append(request.headers["Accept"])
                    text = self._shown(json.dumps(event["object"]))
                    line = f'{{"type":"{event["type"]}","object":{text}}}\n'.encode()
                await response.write(line)
        finally:
            self._watches.remove((path, queue))

    def _discovery(self, path: str) -> dict[str, Any] | None:
        group = f"{GROUP}/{VERSION}"
        version = {"groupVersion": group, "version": VERSION}
        verbs = ["list", "watch", "get", "patch"]
        resources = [
            {
                "name": model.PLURAL,
                "kind": kind,
                "namespaced": True,
                "singularName": "",
                "verbs": verbs,
            }
            for kind, model in KINDS.items()
        ]
        space = {"name": "namespaces", "kind": "Namespace", "namespaced": False}
        space |= {"singularName": "", "verbs": verbs}
        return {
            "/version": {"major": "1", "minor": "30"},
            "/api": {"versions": ["v1"]},
            "/api/v1": {"groupVersion": "v1", "resources": [space]},
            "/apis": {
                "groups": [{"name": GROUP, "versions": [version], "preferredVersion": version}]
            },
            f"/apis/{group}": {"groupVersion": group, "resources": resources},
        }.get(path)

    def count(self, plural: str, *, watch: bool) -> int:
        """How often a collection was asked for."""
        return sum(
            path.rpartition("/")[2] == plural and ("watch" in query) is watch
            for _, path, query in self.asked
        )

    def kubeconfig(self, folder: Path) -> Path:
        """A kubeconfig of the server."""
        cluster = {"server": f"http://127.0.0.1:{self.port}"}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": "t"}}],
        }
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(document))
        return path


def serve(server: Server, script: Callable[[], Awaitable[None]]) -> None:
    """Run a script while the server answers."""

    async def scene() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", server.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        try:
            await script()
        finally:
            await runner.cleanup()

    asyncio.run(scene())


async def until(true: Callable[[], object], seconds: float = 300) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it is not so in time"
        await asyncio.sleep(0.02)
