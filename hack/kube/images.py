"""Images for the nodes, written as docker archives without a Docker engine."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PAUSE: Final = "edgetran.local/pause:3.2"
HOST: Final = "edgetran.local/host:latest"
"""An empty root whose usual folders wait for hostPath volumes."""

_FOLDERS: Final = ("usr", "proc", "sys", "dev", "tmp", "etc", "root", "var", "run", "opt", "srv")
_MOUNT_POINTS: Final = ("home", "work", "data")
_LINKS: Final = ("bin", "sbin", "lib", "lib64")
_PATH: Final = "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


def pause_image(folder: Path, programs: Path) -> Path:
    """The archive of the image that holds a pod's namespaces open."""
    return _archive(folder, PAUSE, {"pause": (programs / "pause").read_bytes()}, ["/pause"])


def host_image(folder: Path) -> Path:
    """The archive of the image in which this machine's own programs run."""
    entries: dict[str, bytes | str | None] = dict.fromkeys((*_FOLDERS, *_MOUNT_POINTS))
    entries |= {name: f"usr/{name}" for name in _LINKS}
    return _archive(folder, HOST, entries, [])


def _archive(
    folder: Path, name: str, entries: Mapping[str, bytes | str | None], entrypoint: list[str]
) -> Path:
    """An image of one layer: bytes are a file, text is a link to there, None is a folder."""
    layer = _tar(entries)
    digest = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [digest]},
        "config": {"Entrypoint": entrypoint, "Env": [_PATH]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    path = folder / "images" / f"{name.partition('/')[2].partition(':')[0]}.tar"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        _tar(
            {
                "config.json": json.dumps(config).encode(),
                "layer.tar": layer,
                "manifest.json": json.dumps(manifest).encode(),
            }
        )
    )
    return path


def _tar(entries: Mapping[str, bytes | str | None]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, content in entries.items():
            info = tarfile.TarInfo(path)
            info.mode = 0o1777 if path == "tmp" else 0o755
            data = b""
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                data = content
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
