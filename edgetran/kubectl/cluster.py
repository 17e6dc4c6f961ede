"""A cluster as `kubectl edgetran` reads it: the only module of the library that knows Kubernetes.

The official client is imported when a cluster is asked for, so that nothing else needs it.
Everything comes back as the plain data that the API server sent.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import yaml

from edgetran.api import GROUP, KINDS, VERSION
from edgetran.api.wire import DEVICE_LABEL

OPERATOR_LABELS: Final = "app.kubernetes.io/part-of=edgetran,app.kubernetes.io/component=operator"
"""What the chart's Deployment carries."""

_TIMEOUT_S: Final = (5.0, 30.0)  # to connect, and between two parts of an answer
_FOLLOWING_TIMEOUT_S: Final = (5.0, 7 * 86_400.0)  # a log may be silent for long


class ClusterError(RuntimeError):
    """A cluster that cannot be reached or refuses; one sentence."""


class NotFoundError(ClusterError):
    """Something that is not in the cluster."""


class Cluster:
    """One namespace of a cluster, as the user's kubeconfig names it.

    Args:
        kubeconfig: the file; what kubectl takes by default where None, and within a pod its own
            service account.
        context: the context in it; the current one where None.
        namespace: the namespace; the context's own where None.

    Raises:
        ClusterError: no kubeconfig, no such context, or the client is not installed.
    """

    def __init__(
        self,
        kubeconfig: Path | None = None,
        context: str | None = None,
        namespace: str | None = None,
    ) -> None:
        try:
            from kubernetes import client, config
        except ModuleNotFoundError:
            raise ClusterError(
                'kubectl edgetran needs kubernetes: pip install "edgetran[cluster]"'
            ) from None
        settings = client.Configuration()
        try:
            own = _configure(settings, config, kubeconfig, context)
        except (
            config.ConfigException,
            yaml.YAMLError,
            OSError,
            ValueError,
            TypeError,
            AttributeError,
            KeyError,
        ) as error:  # the client trusts that a kubeconfig is one
            place = f"{kubeconfig}: " if kubeconfig is not None else ""
            raise ClusterError(f"no cluster is configured: {place}{_first_line(error)}") from None
        settings.retries = 1
        self._client = client
        self._api = client.ApiClient(settings)
        self.host: str = settings.host
        self.namespace: str = namespace or own.strip()

    def find(self, text: str) -> dict[str, Any]:
        """The resource called `KIND/NAME`, or `NAME` where one of the kinds alone has it.

        Raises:
            NotFoundError: there is none, or the kind does not exist.
            ClusterError: several kinds have the name, or the cluster does not answer.
        """
        prefix, slash, name = text.rpartition("/")
        kinds = [kind_of(prefix)] if slash else list(KINDS)
        found = [data for kind in kinds if (data := self.resource(kind, name)) is not None]
        if len(found) == 1:
            return found[0]
        if found:
            words = " and ".join(f"{KINDS[data['kind']].SHORT_NAME}/{name}" for data in found)
            raise ClusterError(f"{name}: {words} have this name; say which")
        raise NotFoundError(self._nothing_called(name, kinds))

    def _nothing_called(self, name: str, kinds: list[str]) -> str:
        names = {
            data["metadata"]["name"]: f"{KINDS[kind].SHORT_NAME}/{data['metadata']['name']}"
            for kind in kinds
            for data in self.resources(kind)
        }
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
        hint = f"; did you mean {names[near[0]]}?" if near else ""
        if not near:
            listed = ", ".join(sorted(names.values())[:10])
            hint = f"; there is {listed}" if listed else "; it has none at all"
        *most, last = kinds
        words = f"{', '.join(most)} or {last}" if most else last
        return f"namespace {self.namespace} has no {words} named {name!r}{hint}"

    def resource(self, kind: str, name: str) -> dict[str, Any] | None:
        """One resource of ours; None where there is none of that name."""
        with self._answers(kind):
            try:
                data: dict[str, Any] = self._custom.get_namespaced_custom_object(
                    GROUP, VERSION, self.namespace, KINDS[kind].PLURAL, name,
                    _request_timeout=_TIMEOUT_S,
                )  # fmt: skip
            except self._client.ApiException as error:
                if error.status == 404 and _message(error):
                    return None
                raise
            return data

    def resources(self, kind: str, *, everywhere: bool = False) -> list[dict[str, Any]]:
        """All resources of a kind, in the namespace or in every one."""
        with self._answers(kind):
            arguments = (GROUP, VERSION, KINDS[kind].PLURAL)
            answer: dict[str, Any] = (
                self._custom.list_cluster_custom_object(*arguments, _request_timeout=_TIMEOUT_S)
                if everywhere
                else self._custom.list_namespaced_custom_object(
                    GROUP, VERSION, self.namespace, KINDS[kind].PLURAL,
                    _request_timeout=_TIMEOUT_S,
                )
            )  # fmt: skip
            return list(answer["items"])

    def config_map(self, name: str) -> dict[str, Any] | None:
        """A ConfigMap; None where there is none of that name."""
        with self._answers():
            try:
                return self._json(self._core.read_namespaced_config_map, name, self.namespace)
            except self._client.ApiException as error:
                if error.status == 404:
                    return None
                raise

    def pods(self, selector: str) -> list[dict[str, Any]]:
        """Pods by their labels, the newest last."""
        with self._answers():
            items = self._json(
                self._core.list_namespaced_pod, self.namespace, label_selector=selector
            )["items"]
        return sorted(items, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def boards(self) -> list[dict[str, Any]]:
        """The nodes that are devices, by name."""
        with self._answers():
            nodes = self._json(self._core.list_node, label_selector=DEVICE_LABEL)["items"]
        return sorted(nodes, key=lambda node: str(node["metadata"]["name"]))

    def log(
        self, pod: str, container: str, *, follow: bool = False, tail: int | None = None
    ) -> Iterator[str]:
        """The lines of a container's log, as they come where it is followed."""
        with self._answers():
            response = self._core.read_namespaced_pod_log(
                pod,
                self.namespace,
                container=container,
                follow=follow,
                _preload_content=False,
                _request_timeout=_FOLLOWING_TIMEOUT_S if follow else _TIMEOUT_S,
                **({} if tail is None else {"tail_lines": tail}),
            )
            rest = b""
            for part in response.stream():
                *lines, rest = (rest + part).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
            if rest:
                yield rest.decode(errors="replace")

    def job(self, name: str) -> dict[str, Any] | None:
        """A Job; None where there is none of that name."""
        with self._answers():
            try:
                return self._json(self._batch.read_namespaced_job, name, self.namespace)
            except self._client.ApiException as error:
                if error.status == 404:
                    return None
                raise

    def jobs(self, selector: str) -> list[dict[str, Any]]:
        """Jobs by their labels, the newest last."""
        with self._answers():
            items = self._json(
                self._batch.list_namespaced_job, self.namespace, label_selector=selector
            )["items"]
        return sorted(items, key=lambda job: str(job["metadata"]["creationTimestamp"]))

    def operator_image(self) -> str | None:
        """The image of the operator; None where it is not found or not ours to look for."""
        try:
            with self._answers():
                found = self._json(
                    self._client.AppsV1Api(self._api).list_deployment_for_all_namespaces,
                    label_selector=OPERATOR_LABELS,
                )["items"]
        except ClusterError:
            return None
        containers = [each["spec"]["template"]["spec"]["containers"][0] for each in found]
        return str(containers[0]["image"]) if containers else None

    def claim(self, name: str) -> dict[str, Any] | None:
        """A PersistentVolumeClaim; None where there is none of that name."""
        with self._answers():
            try:
                return self._json(
                    self._core.read_namespaced_persistent_volume_claim, name, self.namespace
                )
            except self._client.ApiException as error:
                if error.status == 404:
                    return None
                raise

    def create_claim(self, body: Mapping[str, Any]) -> None:
        """Create a PersistentVolumeClaim."""
        with self._answers():
            self._core.create_namespaced_persistent_volume_claim(
                self.namespace, dict(body), _request_timeout=_TIMEOUT_S
            )

    def pod(self, name: str) -> dict[str, Any]:
        """A pod."""
        with self._answers():
            found: dict[str, Any] = self._json(self._core.read_namespaced_pod, name, self.namespace)
            return found

    def create_pod(self, body: Mapping[str, Any]) -> str:
        """Create a pod; its name."""
        with self._answers():
            made = self._json(self._core.create_namespaced_pod, self.namespace, dict(body))
            return str(made["metadata"]["name"])

    def delete_pod(self, name: str) -> None:
        """Delete a pod at once; one that is gone already is no error."""
        with self._answers():
            try:
                self._core.delete_namespaced_pod(
                    name, self.namespace, grace_period_seconds=0, _request_timeout=_TIMEOUT_S
                )
            except self._client.ApiException as error:
                if error.status != 404:
                    raise

    def execute(self, pod: str, container: str, command: Sequence[str], *, stdin: bool) -> Any:
        """A command that begins in a pod: the client's websocket with its binary channels."""
        from kubernetes.stream import stream

        with self._answers():
            return stream(
                self._core.connect_get_namespaced_pod_exec,
                pod,
                self.namespace,
                container=container,
                command=list(command),
                stdin=stdin,
                stdout=True,
                stderr=True,
                tty=False,
                binary=True,
                _preload_content=False,
            )

    @cached_property
    def _batch(self) -> Any:
        return self._client.BatchV1Api(self._api)

    @cached_property
    def _core(self) -> Any:
        return self._client.CoreV1Api(self._api)

    @cached_property
    def _custom(self) -> Any:
        return self._client.CustomObjectsApi(self._api)

    def _json(self, call: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        """What the server sent, and not the client's models, which drop what they do not know."""
        answer = call(*arguments, _preload_content=False, _request_timeout=_TIMEOUT_S, **options)
        found: dict[str, Any] = json.loads(answer.data)
        return found

    @contextmanager
    def _answers(self, kind: str | None = None) -> Iterator[None]:
        """Every way in which a server does not answer, as a sentence."""
        from urllib3.exceptions import HTTPError

        try:
            yield
        except self._client.ApiException as error:
            message = _message(error)
            if kind is not None and error.status == 404 and not message:
                raise ClusterError(
                    f"the cluster at {self.host} does not know {kind}: EdgeTran is not installed "
                    "there, or its definitions are not (crds/)"
                ) from None
            raise ClusterError(
                f"the cluster at {self.host} refuses: {message or error.reason}"
            ) from None
        except HTTPError as error:
            raise ClusterError(f"no cluster answers at {self.host}: {_cause(error)}") from None


def _configure(settings: Any, config: Any, kubeconfig: Path | None, context: str | None) -> str:
    """Fill the client's settings as the kubeconfig says; the namespace that it names."""
    if kubeconfig is None and context is None and _in_pod(config):
        config.load_incluster_config(client_configuration=settings)
        own = Path(config.incluster_config.SERVICE_TOKEN_FILENAME).with_name("namespace")
        return own.read_text()
    file = None if kubeconfig is None else str(kubeconfig)
    contexts, current = config.list_kube_config_contexts(file)
    named = next((each for each in contexts if each["name"] == context), None)
    config.load_kube_config(file, context, client_configuration=settings)
    chosen = current if context is None else named
    return str(((chosen or {}).get("context") or {}).get("namespace") or "default")


def kind_of(word: str) -> str:
    """The kind that a word means: its name, its short name or its plural, as kubectl takes them.

    Raises:
        NotFoundError: for another word, with the nearest one.
    """
    words = {}
    for kind, model in KINDS.items():
        for name in (kind.lower(), model.SHORT_NAME, model.PLURAL, f"{model.PLURAL}.{GROUP}"):
            words[name] = kind
    if word.lower() in words:
        return words[word.lower()]
    near = difflib.get_close_matches(word.lower(), words, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}? " if near else ""
    allowed = ", ".join(f"{kind} ({model.SHORT_NAME})" for kind, model in KINDS.items())
    raise NotFoundError(f"{word}: there is no such kind; {hint}allowed is one of {allowed}")


def _in_pod(config: Any) -> bool:
    """Whether this is a pod and there is no kubeconfig, which goes first as for kubectl."""
    import os

    has_file = any(
        Path(path).expanduser().is_file()
        for path in str(config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION).split(os.pathsep)
        if path
    )
    return not has_file and Path(config.incluster_config.SERVICE_TOKEN_FILENAME).is_file()


def _message(error: Any) -> str:
    """What the server said; empty where it was not a Status of Kubernetes'."""
    try:
        return str(json.loads(error.body)["message"])
    except (ValueError, KeyError, TypeError):
        return ""


def _cause(error: BaseException) -> str:
    """The innermost reason, without addresses of objects."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return _cause(reason)
    text = _first_line(error).rpartition(">: ")[2].rpartition("): ")[2]
    return text or type(error).__name__


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
