"""A run's files from its volume to this machine, and this machine's files to a volume."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from edgetran.api import KINDS
from edgetran.api.names import SPEC, STORAGE, WORKER
from edgetran.api.wire import WORK_FILE
from edgetran.kubectl.cluster import Cluster, NotFoundError
from edgetran.kubectl.reading import Data, label
from edgetran.kubectl.transfer import (
    REBUILDABLE,
    FileTransferError,
    fetch,
    listing,
    send,
)
from edgetran.kubectl.transfer_pod import MOUNT_PATH, shell_in, transfer_pod

_WORKERS: Final = "app.kubernetes.io/part-of=edgetran"


@dataclass(frozen=True, slots=True)
class _Kept:
    """Where a run's files are: `folder` on the volume that `volume` says."""

    worker: Mapping[str, Any] | None
    volume: dict[str, Any]
    folder: str


def get_run(
    cluster: Cluster,
    data: Data,
    target: Path,
    *,
    everything: bool = False,
    image: str | None = None,
) -> None:
    """Bring the files of a run here: what its result needs, or everything.

    Args:
        cluster: where the run is.
        data: its resource.
        target: the folder here; files that are there already, and the same, stay.
        everything: with checkpoints, models of the tree and samples, of which a run has many.
        image: of the pod that reads them; the worker's own if None.

    Raises:
        FileTransferError: the files are on no volume, or the volume or the connection cannot be
            had.
        ClusterError: the cluster does not answer, or refuses.
        OSError: they cannot be written here.
    """
    kept = _kept(cluster, data)
    body = transfer_pod(
        kept.worker,
        {**kept.volume, "readOnly": True},
        image=image,
        node=_node_of_user(cluster, kept.volume["claimName"]),
        owner=data,
    )
    with shell_in(cluster, body) as shell, _progress() as bars:
        folder = f"{MOUNT_PATH}/{kept.folder}"
        files = listing(shell, folder, () if everything else REBUILDABLE)
        if not files:
            raise FileTransferError(f"{label(data)}: its folder {kept.folder} is still empty")
        task = bars.add_task("", total=None)
        for number, file in enumerate(files, 1):
            bars.update(task, description=f"{number}/{len(files)} {file.path}", completed=0)

            def shown(_: PurePosixPath, size: int) -> None:
                bars.update(task, completed=size)

            fetch(shell, folder, file, target.joinpath(*file.path.parts), shown)
        bars.remove_task(task)


def put_files(
    cluster: Cluster,
    sources: Sequence[Path],
    claim: str,
    *,
    folder: str = "",
    size: str | None = None,
    storage_class: str | None = None,
    image: str | None = None,
) -> None:
    """Bring files and folders of this machine to a claim's volume.

    Args:
        cluster: where the claim is.
        sources: files, and folders with all that is below them but hidden files.
        claim: the PersistentVolumeClaim.
        folder: where on the volume.
        size: make a claim of this size where there is none.
        storage_class: its class; the cluster's default if None.
        image: of the pod that writes them; that of the newest worker in the namespace, or else
            the operator's, if None.

    Raises:
        FileTransferError: there is no such claim, a source is neither file nor folder, or the
            volume or the connection cannot be had.
        ClusterError: the cluster does not answer, or refuses.
        OSError: a file cannot be read.
    """
    files = _files(sources)
    place = PurePosixPath(folder)
    if place.is_absolute() or ".." in place.parts:
        raise FileTransferError(f"--folder: Invalid value: {folder}: must be a path on the volume")
    if cluster.claim(claim) is None:
        if size is None:
            raise FileTransferError(
                f"namespace {cluster.namespace} has no claim {claim}; add --size 5Gi to create it"
            )
        cluster.create_claim(_claim(claim, size, storage_class))
    worker = _newest_worker(cluster)
    body = transfer_pod(
        worker,
        {"claimName": claim},
        image=image or (cluster.operator_image() if worker is None else None),
        node=_node_of_user(cluster, claim),
    )
    with shell_in(cluster, body) as shell, _progress() as bars:
        for file, name in files:
            task = bars.add_task(str(name), total=file.stat().st_size)
            target = PurePosixPath(MOUNT_PATH) / place / name

            def shown(done: int, task: Any = task) -> None:
                bars.update(task, completed=done)

            send(shell, file, str(target), shown)
    total = sum(file.stat().st_size for file, _ in files)
    words = "1 file" if len(files) == 1 else f"{len(files)} files"
    Console().print(f"{words}, {decimal(total)}: on claim {claim}", highlight=False)


def _files(sources: Sequence[Path]) -> list[tuple[Path, PurePosixPath]]:
    found = []
    for source in sources:
        if source.is_file():
            found.append((source, PurePosixPath(source.name)))
        elif source.is_dir():
            root = source.resolve().parent
            found += [
                (path, PurePosixPath(path.relative_to(root).as_posix()))
                for path in sorted(source.resolve().rglob("[!.]*"))
                if path.is_file()
            ]
        else:
            raise FileTransferError(f"{source}: there is no such file or folder")
    if not found:
        raise FileTransferError(f"{', '.join(map(str, sources))}: it contains no file")
    return found


def _kept(cluster: Cluster, data: Data) -> _Kept:
    """Where the worker of the resource keeps its files, as its Job and its work say."""
    prefix = f"{data['metadata']['name']}-{KINDS[data['kind']].SHORT_NAME}"
    storage = data["spec"].get("storage") or {}
    work = cluster.config_map(f"{prefix}-{SPEC}")
    if work is None:
        raise NotFoundError(f"{label(data)} has no files yet: it has not started")
    folder = str(json.loads(work["data"][WORK_FILE])["folder"])
    if storage.get("uri"):
        raise FileTransferError(
            f"{label(data)}: its files are at {storage['uri'].rstrip('/')}/{folder}; fetch them "
            "with the tools of that storage"
        )
    job = cluster.job(f"{prefix}-{WORKER}")
    worker = job["spec"]["template"]["spec"] if job else None
    volume = _volume(worker) if worker else None
    if volume is None and storage.get("claim"):
        given = storage["claim"]
        volume = {"claimName": given["name"], "subPath": given.get("subPath")}
    elif volume is None and storage.get("newClaim"):
        volume = {"claimName": f"{prefix}-{STORAGE}"}
    if volume is None:
        raise FileTransferError(
            f"{label(data)} keeps no files, as it has no spec.storage; kubectl edgetran show and "
            "report work from its results"
        )
    return _Kept(worker, volume, folder)


def _volume(worker: Mapping[str, Any]) -> dict[str, Any] | None:
    """The claim below the worker's storage."""
    mounts = worker["containers"][0].get("volumeMounts", ())
    mount = next((each for each in mounts if each["mountPath"] == MOUNT_PATH), None)
    for each in worker.get("volumes", ()):
        if mount and each["name"] == mount["name"] and "persistentVolumeClaim" in each:
            claim = each["persistentVolumeClaim"]["claimName"]
            return {"claimName": claim, "subPath": mount.get("subPath")}
    return None


def _newest_worker(cluster: Cluster) -> Mapping[str, Any] | None:
    jobs = cluster.jobs(_WORKERS)
    return jobs[-1]["spec"]["template"]["spec"] if jobs else None


def _node_of_user(cluster: Cluster, claim: str) -> str | None:
    """The node of a pod that uses the claim now, if other nodes may not use it meanwhile."""
    found = cluster.claim(claim)
    if found is None or "ReadWriteMany" in found["spec"].get("accessModes", ()):
        return None
    for pod in cluster.pods(""):
        if pod["status"].get("phase") != "Running":
            continue
        for volume in pod["spec"].get("volumes", ()):
            if volume.get("persistentVolumeClaim", {}).get("claimName") == claim:
                return str(pod["spec"]["nodeName"])
    return None


def _claim(name: str, size: str, storage_class: str | None) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}},
    }
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": spec,
    }


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
