"""Lists and watches against a server that speaks as an API server does, outages included."""

import asyncio
import json
import time

import pytest
from aiohttp import web
from kubernetes.aio import client as api

from edgetran_operator.controller.loop_lag import LoopLag
from edgetran_operator.controller.probes import Health
from edgetran_operator.kube.client import ApiError, Client
from edgetran_operator.kube.informers import Informer, Source
from edgetran_operator.settings import Settings

PATH = "/api/v1/things"


def thing(name, version):
    return {"metadata": {"name": name, "namespace": "ns", "resourceVersion": str(version)}}


class FakeServer:
    """Answers lists from `things` in pages, and watches from a script.

    Attributes:
        things: the objects that exist.
        watches: for each watch to come, its lines; where there are none, it stays silent.
        asked: queries so far.
    """

    def __init__(self):
        self.things = [thing("a", 1), thing("b", 2), thing("c", 3)]
        self.watches = []
        self.asked = []
        self.status = 200

    async def answer(self, request):
        self.asked.append(dict(request.query))
        if self.status != 200:
            return web.json_response({"reason": "Broken", "message": "no"}, status=self.status)
        if "watch" in request.query:
            return await self._watch(request)
        start = int(request.query.get("continue", 0))
        end = start + 2
        metadata = {"resourceVersion": "10"}
        if end < len(self.things):
            metadata["continue"] = str(end)
        return web.json_response({"metadata": metadata, "items": self.things[start:end]})

    async def _watch(self, request):
        response = web.StreamResponse()
        await response.prepare(request)
        if not self.watches:
            await asyncio.sleep(60)
        for line in self.watches.pop(0):
            await response.write(line)
        return response


def line(kind, body):
    return json.dumps({"type": kind, "object": body}).encode() + b"\n"


class Scene:
    """A server, a client and an informer whose news are kept."""

    def __init__(self, *, served=False):
        self.server = FakeServer()
        self.known = {}
        self.told = []
        self.served = []
        self.source = Source(
            name="Things",
            path=PATH,
            query={"labelSelector": "x=y"},
            changed=lambda body: self.known.update({body["metadata"]["name"]: body}),
            gone=lambda body: self.known.pop(body["metadata"]["name"], None),
            known=lambda: {("ns", name) for name in self.known},
            forget=lambda _, name: self.known.pop(name, None),
            served=self.served.append if served else None,
        )

    def play(self, script):
        async def scene():
            app = web.Application()
            app.router.add_get(PATH, self.server.answer)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = site._server.sockets[0].getsockname()[1]
            client = Client(api.ApiClient(api.Configuration(host=f"http://127.0.0.1:{port}")))
            self.informer = Informer(client, self.source, watch_seconds=5)
            task = asyncio.create_task(self.informer.run())
            try:
                await script(self)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await client.close()
                await runner.cleanup()

        asyncio.run(scene())

    async def until(self, true, seconds=10):
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)


def test_a_list_comes_in_pages_and_then_changes_come():
    async def script(scene):
        await scene.informer.synced.wait()
        assert set(scene.known) == {"a", "b", "c"}
        await scene.until(lambda: set(scene.known) == {"a", "c", "d"})
        assert scene.known["a"]["metadata"]["resourceVersion"] == "11"

    scene = Scene()
    changes = [line("MODIFIED", thing("a", 11)), line("DELETED", thing("b", 12))]
    scene.server.watches = [[*changes, line("ADDED", thing("d", 13))]]
    scene.play(script)
    first, second, watch = scene.server.asked[:3]
    assert first["labelSelector"] == second["labelSelector"] == "x=y"
    assert watch["resourceVersion"] == "10"
    assert watch["allowWatchBookmarks"] == "true"


def test_a_watch_that_ends_goes_on_where_the_last_bookmark_was():
    async def script(scene):
        await scene.until(lambda: sum("watch" in each for each in scene.server.asked) == 2)

    scene = Scene()
    scene.server.watches = [[line("BOOKMARK", thing("", 99))]]
    scene.play(script)
    watches = [each for each in scene.server.asked if "watch" in each]
    assert [each["resourceVersion"] for each in watches] == ["10", "99"]


@pytest.mark.parametrize("inside", [True, False])
def test_what_went_away_while_nobody_watched_is_forgotten(inside):
    """Whether the server says 410 as the answer or within the watch."""
    gone = {"code": 410, "reason": "Expired", "message": "too old"}

    async def script(scene):
        await scene.informer.synced.wait()
        del scene.server.things[1]
        await scene.until(lambda: set(scene.known) == {"a", "c"})

    scene = Scene()
    if inside:
        scene.server.watches = [[line("ERROR", gone)]]
        scene.play(script)
    else:

        async def refused(scene):
            await scene.informer.synced.wait()
            scene.server.status = 410
            scene.server.things = []
            await asyncio.sleep(0.2)
            scene.server.status = 200
            await scene.until(lambda: scene.known == {})

        scene.server.watches = [[]]
        scene.play(refused)


def test_a_line_that_comes_in_pieces_is_read_whole():
    async def script(scene):
        await scene.until(lambda: "long" in scene.known)

    scene = Scene()
    body = thing("long", 11)
    body["data"] = "x" * 3_000_000
    whole = line("ADDED", body)
    scene.server.watches = [[whole[:100], whole[100:70_000], whole[70_000:]]]
    scene.play(script)


def test_an_outage_is_waited_out():
    async def script(scene):
        await asyncio.sleep(0.7)
        assert not scene.informer.synced.is_set()
        scene.server.status = 200
        await asyncio.wait_for(scene.informer.synced.wait(), 10)

    scene = Scene()
    scene.server.status = 500
    scene.play(script)
    assert len(scene.server.asked) < 10, "with pauses"


def test_an_api_that_is_not_served_is_told():
    async def script(scene):
        await scene.until(lambda: scene.served == [False])

    scene = Scene(served=True)
    scene.server.status = 404
    scene.play(script)
    assert len(scene.server.asked) == 1


def test_an_api_that_is_served_is_told():
    async def script(scene):
        await scene.until(lambda: scene.served == [True])

    Scene(served=True).play(script)


def test_a_refusal_says_what_the_server_said():
    async def script(scene):
        scene.server.status = 403
        with pytest.raises(ApiError, match="403 Broken: no"):
            await scene.informer._client.get(PATH)

    Scene().play(script)


def test_health_knows_a_silent_watch_and_a_late_loop():
    async def script(scene):
        await scene.informer.synced.wait()
        lag = LoopLag(lambda _: None)
        settings = Settings(max_watch_silence_seconds=0.2, max_loop_lag_seconds=1)
        health = Health(settings, lag)
        health.informers = [scene.informer]
        assert health.problems() == []
        assert health.waits_for() == []
        await asyncio.sleep(0.3)
        assert health.problems() == ["the watch of Things is silent for 0 s"]
        lag.last = 2.0
        assert health.problems()[0] == "the event loop lags by 2.0 s"

    Scene().play(script)


def test_the_loops_lag_is_measured():
    async def scene():
        seen = []
        lag = LoopLag(seen.append)
        task = asyncio.create_task(lag.run())
        await asyncio.sleep(0.05)
        time.sleep(0.4)
        await asyncio.sleep(0.05)
        task.cancel()
        return seen

    assert max(asyncio.run(scene())) > 0.25
