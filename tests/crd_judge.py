"""What a current Kubernetes' own API server says of definitions and resources, with no server.

`hack/build-crd-server` builds the checker from Debian's packages, once. Where that cannot be done,
the tests that ask for it are skipped, and the summary of the tests says what was not checked.
"""

from __future__ import annotations

import json
import subprocess
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
DEFINITIONS = sorted((ROOT / "crds").glob("*.yaml"))
BUILD = ROOT / "hack" / "build-crd-server"


@dataclass(frozen=True)
class Verdict:
    """What the server does with a request.

    Attributes:
        errors: why it is refused; empty where it is not.
        object: what would be stored.
        unknown: the fields that would be dropped, such as `spec.devise`.
    """

    errors: list[str]
    object: dict[str, Any] | None = None
    unknown: list[str] = field(default_factory=list)


class Judge:
    """The checker, which goes on running with the definitions of crds/."""

    def __init__(self, program: Path) -> None:
        self.program = program
        self._process = subprocess.Popen(
            [program, *DEFINITIONS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def created(self, document: Mapping[str, Any]) -> Verdict:
        """What is said of a resource that is created."""
        return self._asked({"object": document})

    def updated(
        self, old: Mapping[str, Any], new: Mapping[str, Any], *, status: bool = False
    ) -> Verdict:
        """What is said of a resource, or of its status, that takes the place of another."""
        part = {"subresource": "status"} if status else {}
        return self._asked({"object": new, "old": old, **part})

    def _asked(self, request: Mapping[str, Any]) -> Verdict:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(request) + "\n")
        stdin.flush()
        answer = json.loads(stdout.readline())
        return Verdict(answer["errors"], answer["object"], answer["unknown"] or [])

    def refused(self, definitions: Sequence[Path]) -> str:
        """Why definitions are refused; nothing where they are accepted."""
        done = subprocess.run(
            [self.program, *definitions], input="", capture_output=True, text=True, check=False
        )
        assert done.returncode == int(bool(done.stderr))
        return done.stderr

    def costs(self, release: str) -> list[dict[str, Any]]:
        """Kind, path, rule and estimated cost of each rule, in the CEL of a release."""
        command = [self.program, "--costs", "--release", release, *DEFINITIONS]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def close(self) -> None:
        """End the checker."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def crd_server_folder() -> Path:
    """Where hack/build-crd-server put its programs; the test is skipped where it cannot build."""
    built = subprocess.run([BUILD], capture_output=True, text=True, check=False)
    if built.returncode:
        missing = f"NOT CHECKED against a current Kubernetes: {built.stderr.strip()}"
        warnings.warn(missing, stacklevel=1)
        pytest.skip(missing)
    return Path(built.stdout.strip())


@pytest.fixture(scope="session")
def judge() -> Iterator[Judge]:
    """The checker with the definitions of crds/."""
    found = Judge(crd_server_folder() / "bin" / "crdcheck")
    yield found
    found.close()
