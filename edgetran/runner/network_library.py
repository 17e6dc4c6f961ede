"""Trained elastic networks that several searches of one storage share, each under a fingerprint.

An entry holds the trained parent and the network made of it. It appears whole or not at all, so
that a search which is killed while it gives one leaves nothing half done, and of two that give the
same one either may stay.
"""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgetran.artifacts import weights_sha256
from edgetran.records import sync_file, write_atomically
from edgetran.training.disk import new_folder

PARENT: Final = "parent"
NETWORK: Final = "network"
_FACTS: Final = "entry.json"
_NETWORK_WEIGHTS: Final = "elastic.safetensors"
_NEEDED: Final = frozenset({"sha256", "from", "seconds", "steps"})
_HALF: Final = ".given-"
_ABANDONED_S: Final = 86_400.0
"""Nobody takes a day to copy an entry."""


def _nothing(_entry: str) -> None:
    """The library's folder is the storage itself."""


@dataclass(frozen=True)
class NetworkLibrary:
    """The networks of a storage.

    Attributes:
        folder: holds one folder for each fingerprint.
        fetch: brings an entry into the folder, where the storage lies elsewhere.
        send: brings an entry from there to the storage.
    """

    folder: Path
    fetch: Callable[[str], None] = _nothing
    send: Callable[[str], None] = _nothing

    def take(self, fingerprint: str, target: Path) -> dict[str, Any] | None:
        """Copy an entry to `target`; its facts, None where there is none or it is not whole.

        Raises:
            OSError: no space is left on the disk.
        """
        self.fetch(fingerprint)
        source = self.folder / fingerprint
        if not _is_whole(source):
            return None
        with new_folder(target) as made:
            shutil.copytree(source, made, dirs_exist_ok=True)
        return _facts(target)

    def give(self, fingerprint: str, parent: Path, network: Path, facts: Mapping[str, Any]) -> None:
        """Keep a trained parent and its network for others, where there is no whole entry yet.

        Args:
            fingerprint: of the network.
            parent: folder of the trained parent.
            network: folder of the trained network.
            facts: who trained both (`from`), and `seconds` and `steps` of the parent's training.

        Raises:
            OSError: no space is left on the disk.
        """
        target = self.folder / fingerprint
        if not _is_whole(target):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._forget_half_given()
            # Not new_folder: writers in different pods may have the same process id.
            made = self.folder / f"{_HALF}{uuid.uuid4().hex}"
            try:
                shutil.copytree(parent, made / PARENT)
                shutil.copytree(network, made / NETWORK)
                text = json.dumps({**facts, "sha256": _hashes(made)}, indent=1)
                write_atomically(made / _FACTS, text.encode())
                for path in made.rglob("*"):
                    sync_file(path)
                shutil.rmtree(target, ignore_errors=True)  # where it is there, it is not whole
                with suppress(OSError):  # another has given it meanwhile
                    made.rename(target)
            finally:
                shutil.rmtree(made, ignore_errors=True)
        self.send(fingerprint)

    def _forget_half_given(self) -> None:
        """Remove what writers that were killed have left."""
        for path in self.folder.glob(f"{_HALF}*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _ABANDONED_S:
                    shutil.rmtree(path, ignore_errors=True)


def taken(target: Path) -> dict[str, Any] | None:
    """The facts of an entry that was copied to `target` before; None where none was."""
    return _facts(target)


def _facts(folder: Path) -> dict[str, Any] | None:
    try:
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) and facts.keys() >= _NEEDED else None


def _is_whole(entry: Path) -> bool:
    """Whether an entry holds the very weights that were given."""
    facts = _facts(entry)
    return facts is not None and facts["sha256"] == _hashes(entry)


def _hashes(entry: Path) -> list[str]:
    """Of the weights of both; empty where a file is missing."""
    network = entry / NETWORK / _NETWORK_WEIGHTS
    if not (entry / PARENT / "model.safetensors").is_file() or not network.is_file():
        return []
    return [weights_sha256(entry / PARENT), weights_sha256(network)]
