"""Results in ConfigMaps of a Kubernetes API server: the only module that talks to one."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kubernetes import client, config
from urllib3.exceptions import HTTPError

from edgetran.api.wire import PART_KEY
from edgetran_workers.results import ConflictError, MissingPartError, ResultsError, ResultsPart

_TIMEOUT_S: Final = (3.05, 20.0)
_METADATA_ONLY: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_MERGE_PATCH: Final = "application/merge-patch+json"


class ConfigMapResults:
    """The ConfigMaps `NAME-0`, `NAME-1` and so on, which the operator makes and names in a Role.

    Args:
        name: their name but for dash and number.
        namespace: theirs.
        kubeconfig: how to reach the API server; as the pod that the process runs in where None.

    Raises:
        ResultsError: there is no API server to be reached like that.
    """

    def __init__(self, name: str, namespace: str, kubeconfig: Path | None = None) -> None:
        self._name, self._namespace = name, namespace
        self._api = _api_client(kubeconfig)

    def read(self, number: int) -> ResultsPart | None:
        """The ConfigMap's content; None where it does not exist."""
        body = self._call("GET", number)
        return None if body is None else _part(body)

    def version(self, number: int) -> str | None:
        """Its resourceVersion; None where it does not exist."""
        body = self._call("GET", number, accept=_METADATA_ONLY)
        return None if body is None else str(body["metadata"]["resourceVersion"])

    def write(
        self, number: int, data: Mapping[str, str], records: bytes | None, version: str
    ) -> str:
        """Patch it, with its resourceVersion as the lock; labels and owners stay as they are."""
        patch: dict[str, Any] = {"metadata": {"resourceVersion": version}, "data": dict(data)}
        if records is not None:
            patch["binaryData"] = {PART_KEY: base64.b64encode(records).decode()}
        body = self._call("PATCH", number, body=patch, accept=_METADATA_ONLY)
        if body is None:
            raise MissingPartError(f"ConfigMap/{self._name}-{number}: does not exist")
        return str(body["metadata"]["resourceVersion"])

    def _call(
        self, method: str, number: int, *, body: Any = None, accept: str = "application/json"
    ) -> dict[str, Any] | None:
        """The answer; None where there is no such ConfigMap.

        Raises:
            ConflictError: for 409.
            ResultsError: for everything else that is no success.
        """
        name = f"{self._name}-{number}"
        headers = {"Accept": accept}
        if method == "PATCH":
            headers["Content-Type"] = _MERGE_PATCH
        try:
            request = self._api.param_serialize(
                method=method,
                resource_path="/api/v1/namespaces/{namespace}/configmaps/{name}",
                path_params={"namespace": self._namespace, "name": name},
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            response = self._api.call_api(*request, _request_timeout=_TIMEOUT_S)
            content = response.read()
        except client.ApiException as error:
            status, said = error.status, error.reason
            content = b""
        except (HTTPError, OSError) as error:
            raise ResultsError(f"ConfigMap/{name}: {type(error).__name__}: {error}") from None
        else:
            status, said = response.status, response.reason
        # The Role names the parts that exist, so one that does not may not even be asked for. The
        # first one always exists: for it, 403 means that the rights are not known everywhere yet.
        if status == 404 or (status == 403 and method == "GET" and number > 0):
            return None
        if status == 409:
            raise ConflictError(f"ConfigMap/{name}: was changed")
        if not 200 <= (status or 0) < 300:
            raise ResultsError(f"ConfigMap/{name}: {status} {said}")
        answer: dict[str, Any] = json.loads(content)
        return answer


class ConfigMapVerdicts:
    """A ConfigMap in which the pods that serve a winner say whether it is as measured.

    Args:
        name: its name.
        namespace: its namespace.
        kubeconfig: how to reach the API server; as the pod that the process runs in where None.

    Raises:
        ResultsError: there is no API server to be reached like that.
    """

    def __init__(self, name: str, namespace: str, kubeconfig: Path | None = None) -> None:
        self._place = {"namespace": namespace, "name": name}
        self._api = _api_client(kubeconfig)

    def tell(self, pod: str, text: str | None) -> None:
        """Write what a pod says, or take it away.

        Raises:
            ResultsError: the API server does not answer, or refuses.
        """
        label = f"ConfigMap/{self._place['name']}"
        try:
            request = self._api.param_serialize(
                method="PATCH",
                resource_path="/api/v1/namespaces/{namespace}/configmaps/{name}",
                path_params=self._place,
                header_params={"Accept": _METADATA_ONLY, "Content-Type": _MERGE_PATCH},
                body={"data": {pod: text}},
                auth_settings=["BearerToken"],
            )
            response = self._api.call_api(*request, _request_timeout=_TIMEOUT_S)
        except client.ApiException as error:
            raise ResultsError(f"{label}: {error.status} {error.reason}") from None
        except (HTTPError, OSError) as error:
            raise ResultsError(f"{label}: {type(error).__name__}: {error}") from None
        if not 200 <= response.status < 300:
            raise ResultsError(f"{label}: {response.status} {response.reason}")


def _api_client(kubeconfig: Path | None) -> client.ApiClient:
    settings = client.Configuration()
    try:
        if kubeconfig is None:
            config.load_incluster_config(client_configuration=settings)
        else:
            config.load_kube_config(str(kubeconfig), client_configuration=settings)
    except config.ConfigException as error:
        raise ResultsError(f"results: no API server found ({error})") from None
    settings.retries = False  # who calls tries again, and knows how long he may
    return client.ApiClient(settings)


def _part(body: Mapping[str, Any]) -> ResultsPart:
    """A ConfigMap as a part; what is not base64 counts as nothing."""
    encoded = (body.get("binaryData") or {}).get(PART_KEY) or ""
    try:
        records = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        records = b""
    return ResultsPart(records, body.get("data") or {}, str(body["metadata"]["resourceVersion"]))
