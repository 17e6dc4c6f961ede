"""The API server as the operator uses it: apply, patch, delete, tell; list and watch.

A thin layer over `kubernetes.aio`, which keeps credentials fresh; bodies stay plain data.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import client as api
from kubernetes.aio import config

from edgetran.api import GROUP, KINDS, VERSION
from edgetran_operator.kube.border import (
    MOST_LEVELS,
    OBJECT_BYTES,
    PageSplitter,
    UnreadableError,
    read_event,
    read_json,
    read_object,
)

FIELD_MANAGER: Final = "edgetran"
REQUEST_SECONDS: Final = 30
READ_BYTES: Final = 2**18
LIST_CHUNK: Final = 200
PAGE_BYTES: Final = 4 * 2**20
"""A page up to this size is read at once, a larger one object by object."""
_PAGE_VALUES: Final = 300_000
_LONGEST_WAIT_SECONDS: Final = 300.0

JSON: Final = "application/json"
METADATA_ONLY: Final = "application/json;as={};g=meta.k8s.io;v=v1"
"""Content type that leaves out all but the metadata of objects, of what is put in for `{}`."""

_PATHS: Final[Mapping[str, tuple[str, str]]] = {
    "ConfigMap": ("/api/v1", "configmaps"),
    "Event": ("/api/v1", "events"),
    "Node": ("/api/v1", "nodes"),
    "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims"),
    "Pod": ("/api/v1", "pods"),
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
    "Job": ("/apis/batch/v1", "jobs"),
    "Service": ("/api/v1", "services"),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "Role": ("/apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases"),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies"),
    "RayJob": ("/apis/ray.io/v1", "rayjobs"),
    **{kind: (f"/apis/{GROUP}/{VERSION}", model.PLURAL) for kind, model in KINDS.items()},
}
"""API path and plural of every kind that the operator touches."""


class ApiError(Exception):
    """The API server refused a request.

    Attributes:
        status: the HTTP status.
        reason: the CamelCase reason of the answer's Status; empty where it has none.
        message: its sentence.
        retry_after: seconds after which it wants to be asked again; 0 where it does not say.
    """

    def __init__(self, status: int, reason: str, message: str, retry_after: float = 0.0) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after

    @property
    def passes(self) -> bool:
        """Whether the same request may well succeed later."""
        return self.status == 429 or self.status >= 500


UNREACHABLE: Final = (aiohttp.ClientError, TimeoutError, ConnectionError, UnreadableError)
"""What a request raises where no answer comes, or none that can be read."""


def path_of(kind: str, namespace: str | None = None, name: str = "", part: str = "") -> str:
    """The path of a collection, an object, or a part of one such as status."""
    prefix, plural = _PATHS[kind]
    within = f"/namespaces/{namespace}" if namespace else ""
    return "/".join(filter(None, (f"{prefix}{within}/{plural}", name, part)))


class Client:
    """A connection to the API server.

    Attributes:
        calls: requests made so far, by verb and kind.
    """

    def __init__(self, inner: api.ApiClient) -> None:
        self._inner = inner
        self.calls: dict[tuple[str, str], int] = {}

    @classmethod
    async def connect(cls, kubeconfig: Path | None = None, *, connections: int = 64) -> Client:
        """A client from a kubeconfig, or from the pod's own ServiceAccount where there is one."""
        configuration = api.Configuration()
        configuration.connection_pool_maxsize = connections
        if kubeconfig is not None:
            await config.load_kube_config(str(kubeconfig), client_configuration=configuration)
        else:
            try:
                config.load_incluster_config(client_configuration=configuration)
            except config.ConfigException:
                await config.load_kube_config(client_configuration=configuration)
        return cls(api.ApiClient(configuration))

    async def close(self) -> None:
        """Close all connections."""
        await self._inner.close()

    async def apply(self, body: Mapping[str, Any], namespace: str) -> dict[str, Any]:
        """Apply an object on the server's side, as the field manager `edgetran`."""
        kind, name = body["kind"], body["metadata"]["name"]
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        path = path_of(kind, namespace, name)
        return await self._ask("PATCH", kind, path, body, query, "application/apply-patch+yaml")

    async def merge(
        self, kind: str, namespace: str, name: str, patch: Mapping[str, Any], part: str = ""
    ) -> dict[str, Any]:
        """Change an object, or its status, by a merge patch."""
        query = {"fieldManager": FIELD_MANAGER}
        path = path_of(kind, namespace, name, part)
        return await self._ask("PATCH", kind, path, patch, query, "application/merge-patch+json")

    async def delete(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """Delete an object in the background, if it still has that uid; any where it is empty."""
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
        }
        if uid:
            body["preconditions"] = {"uid": uid}
        await self._ask("DELETE", kind, path_of(kind, namespace, name), body)

    async def create(self, kind: str, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._ask("POST", kind, path_of(kind, namespace), body, query)

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The answer to a plain request."""
        return await self._ask("GET", path, path, None, query)

    async def read(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        """One object, whole."""
        return await self._ask("GET", kind, path_of(kind, namespace, name))

    def list(
        self, path: str, query: Mapping[str, str] | None = None, *, metadata_only: bool = False
    ) -> Listing:
        """All objects of a collection, one after the other."""
        kind = METADATA_ONLY.format("PartialObjectMetadataList") if metadata_only else JSON
        return Listing(self, path, query or {}, kind)

    async def page(
        self, path: str, query: Mapping[str, str], accept: str, page: Page
    ) -> AsyncIterator[dict[str, Any]]:
        """The objects of one page of a list."""
        self._count("GET", path)
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=REQUEST_SECONDS, sock_read=REQUEST_SECONDS
        )
        response = await self._send("GET", path, None, query, None, timeout, accept)
        try:
            if response.status >= 400:
                raise await _refusal(response)
            async for body in read_page(response.content, page):
                yield body
        finally:
            response.close()

    async def watch(
        self,
        path: str,
        query: Mapping[str, str],
        *,
        silence_seconds: float,
        metadata_only: bool = False,
    ) -> AsyncIterator[dict[str, Any] | UnreadableError]:
        """Events of a watch until the server ends it, or says nothing for too long.

        Where not even a name can be read of one, what is wrong with it comes instead.
        """
        self._count("WATCH", path)
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=REQUEST_SECONDS, sock_read=silence_seconds
        )
        kind = METADATA_ONLY.format("PartialObjectMetadata") if metadata_only else JSON
        asked = {**query, "watch": "true"}
        response = await self._send("GET", path, None, asked, None, timeout, kind)
        try:
            if response.status >= 400:
                raise await _refusal(response)
            async for line in lines_of(response.content):
                try:
                    yield read_event(line)
                except UnreadableError as error:
                    yield error
        finally:
            response.close()

    async def _ask(
        self,
        verb: str,
        kind: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        self._count(verb, kind)
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        response = await self._send(verb, path, body, query, content_type, timeout)
        async with response:
            if response.status >= 400:
                raise await _refusal(response)
            return read_object(await _beginning(response.content, OBJECT_BYTES))

    def _count(self, verb: str, kind: str) -> None:
        self.calls[verb, kind] = self.calls.get((verb, kind), 0) + 1

    async def _send(
        self,
        verb: str,
        path: str,
        body: Mapping[str, Any] | None,
        query: Mapping[str, str] | None,
        content_type: str | None,
        timeout: aiohttp.ClientTimeout,
        accept: str = JSON,
    ) -> aiohttp.ClientResponse:
        headers: dict[str, Any] = {"Accept": accept}
        if content_type is not None:
            headers["Content-Type"] = content_type
        await self._inner.update_params_for_auth(headers, [], ["BearerToken"], path, verb, None)
        url = self._inner.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        answer = await self._inner.rest_client.request(
            verb, url, headers=headers, body=body, _request_timeout=timeout
        )
        response: aiohttp.ClientResponse = answer.response
        return response


class Page:
    """One page of a list without its objects.

    Attributes:
        version: the list's resourceVersion.
        following: where the next page begins; empty on the last one.
        unreadable: what was wrong with objects of which not even a name can be read.
    """

    def __init__(self) -> None:
        self.version = self.following = ""
        self.unreadable: list[UnreadableError] = []

    def take(self, head: Mapping[str, Any]) -> None:
        """Learn from the page's own members."""
        metadata = head.get("metadata")
        if not isinstance(metadata, Mapping):
            raise UnreadableError("NotUnderstood", "a list without metadata")
        self.version = str(metadata.get("resourceVersion", ""))
        self.following = str(metadata.get("continue") or "")


class Listing:
    """The objects of a collection, asked for some at a time.

    Attributes:
        page: the page that was read last.
    """

    def __init__(self, client: Client, path: str, query: Mapping[str, str], accept: str) -> None:
        self._client, self._path, self._accept = client, path, accept
        self._query = {**query, "limit": str(LIST_CHUNK)}
        self.page = Page()

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        """All objects.

        Raises:
            ApiError: the API server refuses.
        """
        while True:
            async for body in self._client.page(self._path, self._query, self._accept, self.page):
                yield body
            if not self.page.following:
                return
            self._query["continue"] = self.page.following


class Content(Protocol):
    """The body of an answer."""

    def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        """The body in pieces of at most `n` bytes."""


async def read_page(content: Content, page: Page) -> AsyncIterator[dict[str, Any]]:
    """The objects of a page: at once where it is small and sound, else one after the other.

    Raises:
        UnreadableError: it is no page of a list.
    """
    buffer = bytearray()
    splitter: PageSplitter | None = None
    async for chunk in content.iter_chunked(READ_BYTES):
        if splitter is not None:
            for body in _taken_apart(splitter, chunk, page):
                yield body
            continue
        buffer += chunk
        if len(buffer) > PAGE_BYTES:
            splitter = PageSplitter()
            async for body in _from_buffer(splitter, buffer, page):
                yield body
    if splitter is None:
        try:
            whole = read_json(bytes(buffer), most_levels=MOST_LEVELS + 2, most_values=_PAGE_VALUES)
        except UnreadableError:
            splitter = PageSplitter()
            async for body in _from_buffer(splitter, buffer, page):
                yield body
        else:
            page.take(whole)
            for body in whole.get("items") or ():
                yield body
            return
    page.take(splitter.head())


async def _from_buffer(
    splitter: PageSplitter, buffer: bytearray, page: Page
) -> AsyncIterator[dict[str, Any]]:
    for start in range(0, len(buffer), READ_BYTES):
        for body in _taken_apart(splitter, bytes(buffer[start : start + READ_BYTES]), page):
            yield body
        await asyncio.sleep(0)  # it takes a while: let others in
    buffer.clear()


def _taken_apart(splitter: PageSplitter, chunk: bytes, page: Page) -> Any:
    for text in splitter.feed(chunk):
        try:
            yield read_object(text)
        except UnreadableError as error:
            page.unreadable.append(error)


async def lines_of(content: Content) -> AsyncIterator[bytes]:
    """The lines of a body; one that is longer than any object is left out."""
    pending, too_long = b"", False
    async for chunk in content.iter_chunked(READ_BYTES):
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            if line and not too_long:
                yield line
            too_long = False
        if len(pending) > OBJECT_BYTES:
            pending, too_long = b"", True


async def _beginning(content: Content, most_bytes: int) -> bytes:
    """A body; one byte more than allowed of one that is longer."""
    found = bytearray()
    async for chunk in content.iter_chunked(READ_BYTES):
        found += chunk
        if len(found) > most_bytes:
            break
    return bytes(found[: most_bytes + 1])


async def _refusal(response: aiohttp.ClientResponse) -> ApiError:
    text = await _beginning(response.content, 2**16)
    wait = retry_after(response.headers.get("Retry-After"))
    try:
        answer = read_json(text)
        reason, message = str(answer.get("reason", "")), str(answer.get("message", ""))
    except (UnreadableError, AttributeError):
        reason, message = "", text[:200].decode(errors="replace")
    return ApiError(response.status, reason, message, wait)


def retry_after(text: str | None) -> float:
    """Seconds that a Retry-After asks for, five minutes at most; 0 where it says nothing.

    Example:
        >>> retry_after("30"), retry_after(None), retry_after("soon"), retry_after("1e9")
        (30.0, 0.0, 0.0, 300.0)
    """
    if not text or len(text) > 64:
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        try:
            when = parsedate_to_datetime(text)
        except ValueError:
            return 0.0
        when = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
        seconds = (when - datetime.now(UTC)).total_seconds()
    if not math.isfinite(seconds):
        return 0.0
    return min(max(seconds, 0.0), _LONGEST_WAIT_SECONDS)
