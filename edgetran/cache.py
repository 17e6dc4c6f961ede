"""Where downloads, trained tokenizers and engines' environments are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """The cache: `cache_dir`, else $EDGETRAN_CACHE, else `edgetran` in the user's XDG cache."""
    if cache_dir is not None:
        return Path(cache_dir)
    if chosen := os.environ.get("EDGETRAN_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "edgetran"
