"""The HTTP session that kopf is given: what it parses is bounded, and its watches pause.

By itself kopf parses any page and any line, ends for good at the first that it cannot parse, and
asks again at once where a watch ends.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import aiohttp
import kopf
from multidict import CIMultiDict

from edgetran.api import GROUP, KINDS, VERSION
from edgetran_operator.border import UNREADABLE, UnreadableError, read_event
from edgetran_operator.client import Page, lines_of, read_page, retry_after
from edgetran_operator.pauses import HEALTHY_SECONDS, Pauses
from edgetran_operator.skipped import Skipped, place_of

_OURS: Final = f"/apis/{GROUP}/{VERSION}/"
_GONE: Final = 410
_PLURALS: Final = frozenset(model.PLURAL for model in KINDS.values())

Handler = Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]]


def session(info: kopf.ConnectionInfo, skipped: Skipped) -> kopf.AiohttpSession:
    """The session of a login.

    Args:
        info: where the API server is, and the credentials.
        skipped: is told of resources that cannot be read.
    """
    inner = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
        headers=info.as_http_headers(),
        proxy=info.proxy_url,
        trust_env=info.trust_env,
        response_class=_response_class(skipped),
        middlewares=(Pace(),),
    )
    return kopf.AiohttpSession(
        server=info.server,
        priority=info.priority,
        default_namespace=info.default_namespace,
        expiration=info.expiration,
        aiohttp_session=inner,
    )


class Pace:
    """Lets a watch that ended at once wait, and does what Retry-After asks for."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}
        self._pauses: dict[str, Pauses] = {}

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: Handler
    ) -> aiohttp.ClientResponse:
        """Ask for one thing."""
        path = request.url.path
        if request.url.query.get("watch") == "true":
            pauses = self._pauses.setdefault(path, Pauses())
            before = self._started.get(path)
            if before is None or time.monotonic() - before >= HEALTHY_SECONDS:
                pauses.reset()
            else:
                await asyncio.sleep(pauses.next())
            self._started[path] = time.monotonic()
        response = await handler(request)
        if response.status in (429, 503):
            await asyncio.sleep(retry_after(getattr(response, "wait", None)))
        return response


def _response_class(skipped: Skipped) -> type[aiohttp.ClientResponse]:
    class Bounded(aiohttp.ClientResponse):
        """An answer whose objects are read one by one where it tells of our resources."""

        @property
        def wait(self) -> str | None:
            """What Retry-After says."""
            return super().headers.get("Retry-After")

        @property
        def headers(self) -> Any:
            """The headers without Retry-After: kopf reads numbers alone, and it was done."""
            found = CIMultiDict(super().headers)
            found.popall("Retry-After", None)
            return found

        async def start(self, connection: Any) -> aiohttp.ClientResponse:
            """Begin to read."""
            await super().start(connection)
            if self._is_ours() and self.url.query.get("watch") == "true":
                self.content = _Events(self.content, self._collection(), skipped)  # type: ignore[assignment]
            return self

        async def json(self, **options: Any) -> Any:
            """The answer; of a list of our resources, those that can be read."""
            if not self._is_ours():
                return await super().json(**options)
            page = Page()
            items = [body async for body in read_page(self.content, page) if place_of(body)[1]]
            for problem in page.unreadable:
                skipped.say(self._collection(), {}, problem)
            metadata = {"resourceVersion": page.version, "continue": page.following}
            return {"metadata": metadata, "items": items}

        def _collection(self) -> str:
            return self.url.path.rpartition("/")[2]

        def _is_ours(self) -> bool:
            path = self.url.path
            return (
                self.status < 400
                and self.method == "GET"
                and _OURS in path
                and self._collection() in _PLURALS
            )

    return Bounded


class _Events:
    """The body of a watch with only such lines as can be read."""

    def __init__(self, inner: aiohttp.StreamReader, collection: str, skipped: Skipped) -> None:
        self._inner, self._collection, self._skipped = inner, collection, skipped

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def iter_chunked(self, n: int) -> AsyncIterator[bytes]:  # noqa: ARG002 - aiohttp's
        """Whole lines."""
        async for line in lines_of(self._inner):
            try:
                event = read_event(line)
            except UnreadableError as error:
                self._skipped.say(self._collection, {}, error)
                continue
            body = event["object"]
            if event.get("type") == "ERROR" and body.get("code") != _GONE:
                return  # kopf would end for good
            if UNREADABLE in body:
                line = json.dumps(event).encode()
            yield line + b"\n"
