"""The API server as the operator uses it: apply, patch, delete, tell; list and watch.

A thin layer over `kubernetes.aio`, which keeps credentials fresh; bodies stay plain data.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import client as api
from kubernetes.aio import config

from edgetran.api import GROUP, KINDS, VERSION

FIELD_MANAGER: Final = "edgetran"
REQUEST_SECONDS: Final = 30
READ_BYTES: Final = 2**18
LIST_CHUNK: Final = 500

_PATHS: Final[Mapping[str, tuple[str, str]]] = {
    "ConfigMap": ("/api/v1", "configmaps"),
    "Event": ("/api/v1", "events"),
    "Node": ("/api/v1", "nodes"),
    "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims"),
    "Pod": ("/api/v1", "pods"),
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
    "Job": ("/apis/batch/v1", "jobs"),
    "Role": ("/apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
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
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


UNREACHABLE: Final = (aiohttp.ClientError, TimeoutError, ConnectionError)
"""What a request raises where no answer comes."""


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
        """Delete an object in the background, if it still has that uid."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid},
        }
        await self._ask("DELETE", kind, path_of(kind, namespace, name), body)

    async def create(self, kind: str, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._ask("POST", kind, path_of(kind, namespace), body, query)

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The answer to a plain request."""
        return await self._ask("GET", path, path, None, query)

    async def list(
        self, path: str, query: Mapping[str, str] | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """All objects of a collection, some at a time; none where the API does not exist."""
        asked = {**(query or {}), "limit": str(LIST_CHUNK)}
        while True:
            try:
                answer = await self.get(path, asked)
            except ApiError as error:
                if error.status == 404:
                    return
                raise
            for body in answer["items"]:
                yield body
            following = answer["metadata"].get("continue")
            if not following:
                return
            asked["continue"] = following

    async def watch(
        self, path: str, query: Mapping[str, str], *, silence_seconds: float
    ) -> AsyncIterator[dict[str, Any]]:
        """Events of a watch until the server ends it, or says nothing for too long."""
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=REQUEST_SECONDS, sock_read=silence_seconds
        )
        response = await self._send("GET", path, None, {**query, "watch": "true"}, None, timeout)
        try:
            if response.status >= 400:
                raise _error(response.status, await response.read())
            pending = b""
            async for chunk in response.content.iter_chunked(READ_BYTES):
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    if line:
                        yield json.loads(line)
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
        self.calls[verb, kind] = self.calls.get((verb, kind), 0) + 1
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        response = await self._send(verb, path, body, query, content_type, timeout)
        async with response:
            text = await response.read()
        if response.status >= 400:
            raise _error(response.status, text)
        answer: dict[str, Any] = json.loads(text)
        return answer

    async def _send(
        self,
        verb: str,
        path: str,
        body: Mapping[str, Any] | None,
        query: Mapping[str, str] | None,
        content_type: str | None,
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        headers: dict[str, Any] = {"Accept": "application/json"}
        if content_type is not None:
            headers["Content-Type"] = content_type
        await self._inner.update_params_for_auth(headers, [], ["BearerToken"], path, verb, None)
        url = self._inner.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        answer = await self._inner.rest_client.request(
            verb, url, headers=headers, body=body, _request_timeout=timeout
        )
        response: aiohttp.ClientResponse = answer.response
        return response


def _error(status: int, text: bytes) -> ApiError:
    try:
        answer = json.loads(text)
        return ApiError(status, answer.get("reason", ""), answer.get("message", ""))
    except (ValueError, AttributeError):
        return ApiError(status, "", text[:200].decode(errors="replace"))
