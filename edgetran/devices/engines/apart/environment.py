"""An engine's own environment: a venv in the cache, of pinned packages, made when first needed."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from edgetran.cache import cache_folder
from edgetran.devices.engines.engine import EngineError

HERE: Final = Path(__file__).parent
STEP: Final = HERE / "step.py"

_COMPLETE: Final = "complete"
"""A file in the environment that is written last."""

_UNREACHABLE: Final = re.compile(
    r"NewConnectionError|ConnectTimeout|ReadTimeout|ConnectionError|ProxyError|"
    r"Connection refused|Connection to .* timed out|name resolution|Network is unreachable"
)


class Environment:
    """The environment of an engine.

    A lock beside this module names all of its packages, with versions. A process that is ended
    while it makes the environment leaves what pip has installed, and the next one goes on from
    there; another one that needs it meanwhile waits.

    Attributes:
        name: the engine's name.
        packages: versions by package.
        folder: where it is, or will be.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = HERE / f"{name}.txt"
        text = self._lock.read_text(encoding="utf-8")
        self.packages = dict(
            line.split("==") for line in text.splitlines() if line and not line.startswith("#")
        )
        made_of = f"{text} {sys.implementation.cache_tag} {platform.system()} {platform.machine()}"
        key = hashlib.sha256(made_of.encode()).hexdigest()[:12]
        self.folder = cache_folder() / "environments" / f"{name}-{key}"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def ready(self) -> bool:
        """Whether it is there, whole."""
        return (self.folder / _COMPLETE).is_file()

    def problem(self) -> str | None:
        """Why it cannot be made here; None where nothing is known against it."""
        if self.ready:
            return None
        missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
        if missing:
            return (
                f"{self.name} needs an environment of its own, and this Python has no "
                f"{missing[0]} to make one with; install python3-venv"
            )
        return None

    def make(self, tell: Callable[[str], None]) -> None:
        """Make it where it is not there.

        Args:
            tell: hears what is being installed.

        Raises:
            EngineError: it cannot be made, such as without a network; what is installed is kept.
        """
        if self.ready:
            return
        problem = self.problem()
        if problem is not None:
            raise EngineError(problem)
        from filelock import FileLock

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.folder}.lock"):
                if not self.ready:
                    self._make(tell)
        except OSError as error:
            raise EngineError(f"{self.name}: {self.folder}: {error.strerror or error}") from None

    def _make(self, tell: Callable[[str], None]) -> None:
        if not (self.folder / "bin" / "pip").exists():
            tell("venv")
            self._do([sys.executable, "-I", "-m", "venv", "--clear", str(self.folder)], tell)
        pip = [str(self.python), "-I", "-m", "pip", "--no-input", "install", "--progress-bar=off"]
        pip += ["--retries=2", "--disable-pip-version-check"]
        # torch with what its build asks for, which differs between indexes; else the lock alone.
        torch = f"torch=={self.packages['torch']}"
        self._do([*pip, "-c", str(self._lock), torch], tell)
        self._do([*pip, "--no-deps", "-r", str(self._lock)], tell)
        self._do([str(self.python), "-I", str(STEP), self.name, "check"], tell)
        (self.folder / _COMPLETE).write_text("", encoding="utf-8")

    def _do(self, command: list[str], tell: Callable[[str], None]) -> None:
        done = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, "PIP_REQUIRE_VIRTUALENV": "false"},
        )
        assert done.stdout is not None  # noqa: S101 - asked for above
        lines = []
        with done:
            for line in done.stdout:
                lines.append(line.rstrip())
                for package in _named(line):
                    tell(package)
        if done.returncode:
            raise EngineError(self._failure(lines))

    def _failure(self, lines: list[str]) -> str:
        said = [line for line in lines if line.startswith("ERROR: ")] or lines
        last = said[-1].removeprefix("ERROR: ").rstrip(".") if said else "nothing was said"
        what = f"{self.name}: its environment cannot be made in {self.folder}"
        if any(_UNREACHABLE.search(line) for line in lines):
            return (
                f"{what}: the package index cannot be reached; allowed are a network, or pip's "
                "settings for another index (PIP_INDEX_URL, PIP_FIND_LINKS); what is installed "
                "there is kept"
            )
        return f"{what}: {last}; what is installed there is kept"


def _named(line: str) -> Iterator[str]:
    """The package that pip turns to."""
    found = re.match(r"(?:Collecting|Requirement already satisfied:) ([\w.-]+)", line)
    if found:
        yield found[1]
    elif line.startswith("Installing collected packages"):
        yield "unpacking"
