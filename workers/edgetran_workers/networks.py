"""Where the searches of a namespace that use one storage share their elastic networks."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

from edgetran.api.wire import CLAIM
from edgetran.runner.network_library import NetworkLibrary
from edgetran_workers.pod_paths import PodPaths
from edgetran_workers.storage import RemoteFolder
from edgetran_workers.work import Work

FOLDER: Final = "networks"
"""Beside the folders of the namespace's runs, whose names begin with their kind and a dash."""


def network_library(work: Work, paths: PodPaths) -> NetworkLibrary | None:
    """The library of a work's storage; None where it has none.

    Its functions raise `StorageError` where an address does not answer.
    """
    address = work.storage
    if address is None:
        return None
    below = PurePosixPath(work.folder).parent / FOLDER
    folder = paths.storage / below
    if address == CLAIM:
        return NetworkLibrary(folder)

    def remote(fingerprint: str) -> RemoteFolder:
        return RemoteFolder(address, str(below / fingerprint), folder / fingerprint)

    def send(fingerprint: str) -> None:
        place = remote(fingerprint)
        place.restore(lambda _path: False)  # learn what is there; fetch nothing
        place.copy()

    return NetworkLibrary(folder, lambda fingerprint: remote(fingerprint).restore(), send)
