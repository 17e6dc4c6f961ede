"""A pod that lives as long as files are brought to or from a volume, and a shell in it."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from edgetran import __version__
from edgetran.api.wire import DEVICE_LABEL, STORAGE_PATH
from edgetran.kubectl.cluster import Cluster, ClusterError
from edgetran.kubectl.transfer import BrokenOffError, CommandError, FileTransferError

MOUNT_PATH: Final = STORAGE_PATH
CONTAINER: Final = "transfer"
LABEL: Final = "edgetran-transfer"
DEFAULT_IMAGE: Final = f"edgetran-worker:{__version__}-cpu"

START_SECONDS: Final = 300.0
LIFE_SECONDS: Final = 6 * 3600
"""The pod ends by itself after this time, whatever became of the command that made it."""

_OFF_BOARDS: Final = {
    "preferredDuringSchedulingIgnoredDuringExecution": [
        {
            "weight": 100,
            "preference": {"matchExpressions": [{"key": DEVICE_LABEL, "operator": "DoesNotExist"}]},
        }
    ]
}
"""A new volume of one node is made where its first pod runs, and trainers keep off boards."""

_USER: Final = 65532
_STDIN, _STDOUT, _STDERR, _ERROR = range(4)
_SILENCE_SECONDS: Final = 60.0
_CANNOT_START: Final = (
    *("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"),
    *("CreateContainerConfigError", "CreateContainerError", "RunContainerError"),
)
_RESTRICTED: Final[Mapping[str, Any]] = {
    "restartPolicy": "Never",
    "enableServiceLinks": False,
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": _USER,
        "runAsGroup": _USER,
        "fsGroup": _USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    },
    "containers": [
        {
            "name": "worker",
            "image": DEFAULT_IMAGE,
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
        }
    ],
}


def transfer_pod(
    worker: Mapping[str, Any] | None,
    volume: Mapping[str, Any],
    *,
    image: str | None = None,
    node: str | None = None,
    owner: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The pod: as a worker's, of which it keeps image, mounts of programs and restrictions.

    Args:
        worker: the spec of a worker's pod in the same namespace; a restricted one where None.
        volume: `claimName`, and `subPath` and `readOnly` where they are wanted.
        image: another image; it needs `sh` and coreutils, or busybox.
        node: the node where the volume is in use, if it can be used there alone.
        owner: what it goes away with.
    """
    spec = copy.deepcopy(dict(worker if worker is not None else _RESTRICTED))
    for name in ("initContainers", "affinity", "nodeSelector", "serviceAccountName"):
        spec.pop(name, None)
    (container, *_) = spec["containers"]
    kept = ("image", "imagePullPolicy", "securityContext", "volumeMounts")
    mounts = [each for each in container.get("volumeMounts", ()) if each["name"] in _shared(spec)]
    read_only = bool(volume.get("readOnly"))
    mount = {"name": "storage", "mountPath": MOUNT_PATH, "readOnly": read_only}
    if volume.get("subPath"):
        mount["subPath"] = volume["subPath"]
    spec["containers"] = [
        {
            **{name: container[name] for name in kept if name in container},
            **({} if image is None else {"image": image}),
            "name": CONTAINER,
            "command": ["sleep", str(LIFE_SECONDS)],
            "env": [each for each in container.get("env", ()) if each["name"] == "PATH"],
            "resources": {
                "requests": {"cpu": "50m", "memory": "32Mi"},
                "limits": {"memory": "256Mi"},
            },
            "volumeMounts": [*mounts, mount],
        }
    ]
    claim = {"claimName": volume["claimName"], "readOnly": read_only}
    spec["volumes"] = [
        *(each for each in spec.get("volumes", ()) if each["name"] in _shared(spec)),
        {"name": "storage", "persistentVolumeClaim": claim},
    ]
    spec["automountServiceAccountToken"] = False
    spec["activeDeadlineSeconds"] = LIFE_SECONDS
    spec["terminationGracePeriodSeconds"] = 0
    spec["affinity"] = {"nodeAffinity": _OFF_BOARDS if node is None else _only_on(node)}
    metadata: dict[str, Any] = {
        "generateName": f"{LABEL}-",
        "labels": {"app.kubernetes.io/name": LABEL, "app.kubernetes.io/managed-by": "kubectl"},
    }
    if owner is not None:
        identity = {key: owner["metadata"][key] for key in ("name", "uid")}
        metadata["ownerReferences"] = [
            {"apiVersion": owner["apiVersion"], "kind": owner["kind"], **identity}
        ]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _shared(spec: Mapping[str, Any]) -> set[str]:
    """Volumes of programs: what an administrator's patch mounts from every node, and no data."""
    return {each["name"] for each in spec.get("volumes", ()) if "hostPath" in each} - {"sysfs"}


def _only_on(node: str) -> dict[str, Any]:
    here = {"key": "metadata.name", "operator": "In", "values": [node]}
    terms = {"nodeSelectorTerms": [{"matchFields": [here]}]}
    return {"requiredDuringSchedulingIgnoredDuringExecution": terms}


@contextmanager
def shell_in(cluster: Cluster, body: Mapping[str, Any]) -> Iterator[PodShell]:
    """A shell in a new pod, which is deleted at the end.

    Raises:
        FileTransferError: the pod does not start; the sentence says what Kubernetes says.
        ClusterError: the cluster refuses.
    """
    for pod in cluster.pods(f"app.kubernetes.io/name={LABEL}"):  # of commands that were killed
        if pod["status"].get("phase") in ("Failed", "Succeeded"):
            cluster.delete_pod(pod["metadata"]["name"])
    name = cluster.create_pod(body)
    try:
        _wait_until_it_runs(cluster, name)
        yield PodShell(cluster, name)
    finally:
        cluster.delete_pod(name)


def _wait_until_it_runs(cluster: Cluster, name: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        status = cluster.pod(name)["status"]
        if status.get("phase") == "Running":
            return
        reason, message = _why_not(status)
        late = time.monotonic() > deadline
        if late or reason in _CANNOT_START or status.get("phase") in ("Failed", "Succeeded"):
            hint = "; --image names another" if "Image" in reason else ""
            raise FileTransferError(
                f"pod {name} does not start: {reason}: {message}".rstrip(": ") + hint
            )
        time.sleep(0.5)


def _why_not(status: Mapping[str, Any]) -> tuple[str, str]:
    for container in status.get("containerStatuses", ()):
        waiting = container.get("state", {}).get("waiting")
        if waiting:
            return str(waiting.get("reason", "")), str(waiting.get("message", ""))
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("reason", "")), str(condition.get("message", ""))
    return str(status.get("reason") or status.get("phase", "")), str(status.get("message", ""))


class PodShell:
    """Runs scripts in a pod, by the websocket that `kubectl exec` uses."""

    def __init__(self, cluster: Cluster, pod: str) -> None:
        self._cluster = cluster
        self._pod = pod

    def read(self, script: str, *arguments: str) -> Iterator[bytes]:
        """What the script writes; see `Shell`."""
        socket = self._run(script, arguments, stdin=False)
        try:
            yield from self._output(socket)
        finally:
            socket.close()

    def write(self, script: str, *arguments: str, data: Iterable[bytes]) -> None:
        """Run the script with `data` as its input; see `Shell`."""
        socket = self._run(script, arguments, stdin=True)
        try:
            for chunk in data:
                try:
                    socket.write_channel(_STDIN, chunk)
                except Exception as error:  # noqa: BLE001 - sockets and TLS raise what they like
                    raise _broken_off(error) from None
            for _ in self._output(socket):
                pass
        finally:
            socket.close()

    def _run(self, script: str, arguments: tuple[str, ...], *, stdin: bool) -> Any:
        command = ["sh", "-c", script, "sh", *arguments]
        try:
            return self._cluster.execute(self._pod, CONTAINER, command, stdin=stdin)
        except ClusterError as error:
            raise BrokenOffError(str(error)) from None

    def _output(self, socket: Any) -> Iterator[bytes]:
        said = b""
        heard = time.monotonic()
        open_ = True
        while open_:
            open_ = socket.is_open()
            try:
                socket.update(timeout=1)
                data = socket.read_channel(_STDOUT)
                said += socket.read_channel(_STDERR)
            except Exception as error:  # noqa: BLE001 - sockets and TLS raise what they like
                raise _broken_off(error) from None
            if data:
                heard = time.monotonic()
                yield data
            elif time.monotonic() - heard > _SILENCE_SECONDS:
                raise BrokenOffError(f"pod {self._pod} no longer responds")
        status = _status(socket.read_channel(_ERROR))
        if status is None:
            raise BrokenOffError(f"the connection to pod {self._pod} broke off")
        if status:
            raise CommandError(status, said.decode(errors="replace"))


def _broken_off(error: Exception) -> BrokenOffError:
    return BrokenOffError(f"the connection broke off: {error or type(error).__name__}")


def _status(data: bytes | str) -> int | None:
    """The exit status in what the API server says at the end; None where it said nothing."""
    try:
        answer = json.loads(data)
        if answer["status"] == "Success":
            return 0
        return int(answer["details"]["causes"][0]["message"])
    except (ValueError, KeyError, IndexError, TypeError):
        return None
