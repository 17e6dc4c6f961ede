"""The probes of the operator's pod: /healthz fails when it hangs, /readyz until it knows enough."""

from __future__ import annotations

import time
from collections.abc import Sequence

from aiohttp import web

from edgetran_operator.controller.loop_lag import LoopLag
from edgetran_operator.kube.informers import Informer
from edgetran_operator.settings import Settings


class Health:
    """Judges the operator.

    Attributes:
        informers: the watches that must not fall silent.
    """

    def __init__(self, settings: Settings, lag: LoopLag) -> None:
        self._settings = settings
        self._lag = lag
        self.informers: Sequence[Informer] = ()

    def problems(self) -> list[str]:
        """What keeps the operator from its work, a sentence each."""
        found = []
        if self._lag.last > self._settings.max_loop_lag_seconds:
            found.append(f"the event loop lags by {self._lag.last:.1f} s")
        for informer in self.informers:
            silence = time.monotonic() - informer.heard
            if silence > self._settings.max_watch_silence_seconds:
                found.append(f"the watch of {informer.source.name} is silent for {silence:.0f} s")
        return found

    def waits_for(self) -> list[str]:
        """What is not known yet."""
        return [
            f"{informer.source.name} are not listed yet"
            for informer in self.informers
            if not informer.synced.is_set()
        ]


async def serve_probes(health: Health, port: int) -> web.AppRunner:
    """Serve /healthz and /readyz on all addresses; the runner is to be cleaned up."""

    async def healthz(_: web.Request) -> web.Response:
        return _answer(health.problems())

    async def readyz(_: web.Request) -> web.Response:
        return _answer(health.problems() or health.waits_for())

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, None, port).start()
    return runner


def _answer(problems: list[str]) -> web.Response:
    return web.Response(status=503 if problems else 200, text="\n".join(problems) or "ok")
