"""The server: the protocol's addresses, `/metrics`, and the verdict on what is served.

- `GET /v2`, `/v2/health/live`, `/v2/health/ready`
- `GET /v2/models/NAME`, `/v2/models/NAME/ready`, `POST /v2/models/NAME/infer`, and the same below
  `/v2/models/NAME/versions/VERSION`
- `GET /metrics`, for Prometheus
- `GET /served-as-measured`: the verdict as JSON

The model answers one request at a time, as it was measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import numpy as np
from aiohttp import web
from prometheus_client import exposition

from edgetran import __version__
from edgetran.devices import EngineError
from edgetran.serving.drift import Tolerances, Verdict, Window, judge, latency_ms, summary
from edgetran.serving.metrics import DriftCollector, ServedMetrics
from edgetran.serving.protocol import (
    MAX_BODY_BYTES,
    InferenceRequest,
    ProtocolError,
    answer,
    model_metadata,
    read_request,
    server_metadata,
    version_of,
)
from edgetran.serving.served_model import ServingError
from edgetran.serving.text_model import TextModel, Tokens

MAX_WAITING: Final = 64
"""Most requests that wait for the model; the next one is told to come again."""
FRESH_SECONDS: Final = 10.0
"""How long a prediction shows that the model answers; after that a probe asks for another."""
JUDGE_SECONDS: Final = 15.0
"""Time between two looks at whether the model is served as measured."""
_STOP_SECONDS: Final = 10.0

Answer = TypeVar("Answer")
VerdictListener = Callable[[Verdict], Awaitable[None]]


class ModelServer:
    """Answers requests with one model.

    Args:
        text_model: the opened model.
        tolerances: how far what is served may be off what was measured.

    Raises:
        EngineError: the model does not answer.
    """

    def __init__(self, text_model: TextModel, tolerances: Tolerances) -> None:
        self.model = text_model.model
        self._text_model, self._tolerances = text_model, tolerances
        self._window = Window()
        text_model.answer_sample()
        self._start_latency_ms = text_model.latency_ms()
        self._answered = time.monotonic()
        self._waiting = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._metrics = ServedMetrics(self.model)
        self._metrics.registry.register(
            DriftCollector(
                self.model,
                self.verdict,
                lambda: summary(self.model, self._window),
                lambda: latency_ms(self._window, self._start_latency_ms),
            )
        )

    def verdict(self) -> Verdict:
        """Whether the model is served as measured, as it stands."""
        return judge(self.model, self._window, self._start_latency_ms, self._tolerances)

    def application(self) -> web.Application:
        """The application with all addresses."""
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_sentences])
        model = "/v2/models/{name}"
        app.add_routes(
            [
                web.get("/v2", self._server),
                web.get("/v2/health/live", self._live),
                web.get("/v2/health/ready", self._ready),
                web.get("/metrics", self._show_metrics),
                web.get("/served-as-measured", self._show_verdict),
            ]
        )
        for base in (model, model + "/versions/{version}"):
            app.add_routes(
                [
                    web.get(base, self._model),
                    web.get(f"{base}/ready", self._model_ready),
                    web.post(f"{base}/infer", self._infer),
                ]
            )
        return app

    def close(self) -> None:
        """Let the request that runs end, and no other begin."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _server(self, _: web.Request) -> web.Response:
        return web.json_response(server_metadata(__version__))

    async def _live(self, _: web.Request) -> web.Response:
        return web.json_response({"live": True})

    async def _ready(self, _: web.Request) -> web.Response:
        problem = await self._problem()
        return _answer(503 if problem else 200, {"ready": not problem}, problem)

    async def _model(self, request: web.Request) -> web.Response:
        self._check_name(request)
        return web.json_response(model_metadata(self.model))

    async def _model_ready(self, request: web.Request) -> web.Response:
        self._check_name(request)
        problem = await self._problem()
        about = {"name": self.model.name, "ready": not problem}
        return _answer(503 if problem else 200, about, problem)

    async def _show_metrics(self, request: web.Request) -> web.Response:
        encode, kind = exposition.choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._metrics.registry), headers={"Content-Type": kind})

    async def _show_verdict(self, _: web.Request) -> web.Response:
        return web.json_response(verdict_record(self.verdict(), self.model.artifact.sha256))

    async def _infer(self, request: web.Request) -> web.Response:
        begun, code = time.perf_counter(), 500
        try:
            self._check_name(request)
            asked = read_request(await request.read(), self.model)
            response = web.json_response(answer(self.model, asked, await self._logits(asked)))
            code = 200
        except web.HTTPException as error:
            code = error.status
            raise
        except ProtocolError:
            code = 400
            raise
        finally:
            self._metrics.requests.labels(str(code)).inc()
            self._metrics.request_seconds.observe(time.perf_counter() - begun)
        return response

    async def _logits(self, asked: InferenceRequest) -> np.ndarray:
        if self._waiting >= MAX_WAITING:
            raise web.HTTPServiceUnavailable(
                text=f"{MAX_WAITING} requests wait already", headers={"Retry-After": "1"}
            )
        tokens, logits, seconds = await self._in_thread(lambda: self._predict(asked))
        self._window.add(logits)
        lengths = [len(each["input_ids"]) for each in tokens]
        self._metrics.observe(logits, lengths, seconds)
        if max(lengths) <= self.model.workload.sequence_length:
            self._window.latencies_ms.append(seconds * 1e3 / len(lengths))
        return logits

    def _predict(self, asked: InferenceRequest) -> tuple[Tokens, np.ndarray, float]:
        tokens = asked.tokens
        if tokens is None:
            tokens = self._text_model.tokens(asked.texts or (), asked.pairs)
        return tokens, *self._text_model.logits(tokens)

    async def _in_thread(self, call: Callable[[], Answer]) -> Answer:
        self._waiting += 1
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._thread, call)
        finally:
            self._waiting -= 1
        self._answered = time.monotonic()
        return found

    async def _problem(self) -> str:
        """Why the model does not answer; empty where a real prediction shows that it does."""
        if time.monotonic() - self._answered < FRESH_SECONDS:
            return ""
        try:
            async with asyncio.timeout(FRESH_SECONDS):
                await self._in_thread(self._text_model.answer_sample)
        except TimeoutError:
            return f"the model did not answer within {FRESH_SECONDS:g} s"
        except EngineError as error:
            return str(error)
        return ""

    def _check_name(self, request: web.Request) -> None:
        name, version = request.match_info["name"], request.match_info.get("version")
        known = version_of(self.model)
        if name != self.model.name:
            raise web.HTTPNotFound(text=f"model {name!r}: allowed is {self.model.name}")
        if version is not None and version != known:
            raise web.HTTPNotFound(text=f"version {version!r}: allowed is {known}")


def verdict_record(verdict: Verdict, artifact: str) -> dict[str, Any]:
    """A verdict as JSON."""
    return {
        "artifact": artifact,
        "servedAsMeasured": verdict.status,
        "message": verdict.message,
        "checks": [
            {
                "name": check.name,
                "servedAsMeasured": check.status,
                "message": check.message,
                "value": check.value,
                "allowed": check.allowed,
            }
            for check in verdict.checks
        ],
    }


async def serve(
    server: ModelServer,
    host: str,
    port: int,
    *,
    started: Callable[[int], None],
    told: VerdictListener | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, or until `stop` is set.

    Args:
        server: the model.
        host: address to listen at; every one where empty.
        port: 0 takes a free one.
        started: is told the port.
        told: is told the verdict at the start, and whenever a check changes.
        stop: ends it.

    Raises:
        ServingError: the address is taken, or is none of this machine.
    """
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(ValueError, NotImplementedError, RuntimeError):
            loop.add_signal_handler(each, stop.set)
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=_STOP_SECONDS)
    await runner.setup()
    judging: asyncio.Task[None] | None = None
    try:
        try:
            await _site(runner, host, port).start()
        except OSError as error:
            raise ServingError(
                f"{host or '*'}:{port}: {error.strerror or error}; allowed is a free port, or "
                "--port 0 for any, at an address of this machine"
            ) from None
        started(runner.addresses[0][1])
        if told is not None:
            judging = asyncio.create_task(_judge(server, told))
        await stop.wait()
    finally:
        if judging is not None:
            judging.cancel()
        await runner.cleanup()
        server.close()


def _site(runner: web.AppRunner, host: str, port: int) -> web.BaseSite:
    """Where requests are taken: every address by one socket, or a free port would be two."""
    if host:
        return web.TCPSite(runner, host, port)
    if not socket.has_dualstack_ipv6():
        return web.TCPSite(runner, "0.0.0.0", port)  # noqa: S104 - as was asked for
    both = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return web.SockSite(runner, both)


async def _judge(server: ModelServer, told: VerdictListener) -> None:
    """Tell the verdict when it changes."""
    before: tuple[tuple[str, str], ...] | None = None
    while True:
        verdict = server.verdict()
        found = tuple((check.name, check.status) for check in verdict.checks)
        if found != before:
            await told(verdict)
            before = found
        await asyncio.sleep(JUDGE_SECONDS)


@web.middleware
async def _sentences(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """What goes wrong is answered as the protocol has it: `{"error": SENTENCE}`."""
    try:
        return await handler(request)
    except ProtocolError as error:
        return _answer(400, {}, str(error))
    except EngineError as error:
        return _answer(500, {}, str(error))
    except web.HTTPException as error:
        if error.status == web.HTTPRequestEntityTooLarge.status_code:
            return _answer(error.status, {}, f"the request is longer than {MAX_BODY_BYTES} bytes")
        response = _answer(error.status, {}, error.text or error.reason)
        for name in ("Allow", "Retry-After"):
            if name in error.headers:
                response.headers[name] = error.headers[name]
        return response


def _answer(status: int, data: dict[str, Any], problem: str) -> web.Response:
    return web.json_response({**data, "error": problem} if problem else data, status=status)
