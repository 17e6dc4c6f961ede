"""The process's environment, for a user without a name on a root file system that is read-only."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import MutableMapping
from pathlib import Path


def prepare_environment(environ: MutableMapping[str, str] | None = None) -> None:
    """Say where libraries may write and who the user is; call it before they are imported.

    What is set already stays, but for a home that nothing can be written to.
    """
    environ = os.environ if environ is None else environ
    home = Path(environ.get("HOME", "/"))
    if not _writable(home):
        home = Path(tempfile.gettempdir())
        environ["HOME"] = str(home)
    for name in ("USER", "LOGNAME"):  # torch asks for it, and the user may have no passwd entry
        environ.setdefault(name, "edgetran")
    cache = Path(environ.setdefault("XDG_CACHE_HOME", str(home / ".cache")))
    environ.setdefault("HF_HOME", str(cache / "huggingface"))
    environ.setdefault("TORCH_HOME", str(cache / "torch"))
    environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache / "torchinductor"))
    environ.setdefault("TRITON_CACHE_DIR", str(cache / "triton"))
    environ.setdefault("MPLCONFIGDIR", str(cache / "matplotlib"))
    environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def quiet_libraries() -> None:
    """Warnings of libraries do not stand between the worker's lines; errors still come through."""
    warnings.filterwarnings("ignore")
    logging.getLogger().setLevel(logging.ERROR)


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
