"""A model that runs in a process of another environment, asked through pipes."""

from __future__ import annotations

import contextlib
import json
import subprocess
import weakref
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Final

import numpy as np

from edgetran.devices.engines.apart.environment import STEP
from edgetran.devices.engines.engine import Arrays, EngineError, Session, check_inputs

INPUTS: Final = ("input_ids", "attention_mask", "token_type_ids")
_END_SECONDS: Final = 10


class ApartSession(Session):
    """Batches are answered text by text, each padded to the file's length.

    Raises:
        EngineError: the file cannot be opened.
    """

    def __init__(self, engine: str, python: Path, path: Path, threads: int) -> None:
        self.arithmetic = "as in the file"
        self._engine = engine
        self._said = TemporaryFile()  # noqa: SIM115 - as long as the session
        self._process = subprocess.Popen(
            [str(python), "-I", str(STEP), engine, "run", str(path.resolve()), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
        )
        self._finish = weakref.finalize(self, _end, self._process, self._said)
        shape = self._line()
        self._length = int(shape["length"])

    def accepts(self, name: str) -> bool:
        """Whether the file has that input."""
        return name in INPUTS

    def run(self, inputs: Arrays) -> np.ndarray:
        """Logits (batch, labels) of one text after the other."""
        check_inputs(inputs, INPUTS, INPUTS)
        count, length = inputs[INPUTS[0]].shape
        if length > self._length:
            raise EngineError(
                f"{self._engine}: texts of {length} tokens given; the file takes at most "
                f"{self._length}"
            )
        request = json.dumps({"count": count, "inputs": INPUTS}).encode() + b"\n"
        padding = ((0, 0), (0, self._length - length))
        for name in INPUTS:
            request += np.pad(inputs[name], padding).astype("<i8").tobytes()
        stdin = self._process.stdin
        assert stdin is not None  # noqa: S101 - asked for
        try:
            stdin.write(request)
            stdin.flush()
        except (OSError, ValueError):
            raise EngineError(self._ended()) from None
        answer = self._line()
        if "error" in answer:
            raise EngineError(f"{self._engine}: {answer['error']}")
        shape = answer["count"], answer["labels"]
        data = self._stdout.read(4 * shape[0] * shape[1])
        if len(data) < 4 * shape[0] * shape[1]:
            raise EngineError(self._ended())
        return np.frombuffer(data, "<f4").reshape(shape).astype(np.float32)

    def close(self) -> None:
        """End the process; so does the session's own end."""
        self._finish()

    @property
    def _stdout(self) -> IO[bytes]:
        assert self._process.stdout is not None  # noqa: S101 - asked for
        return self._process.stdout

    def _line(self) -> dict[str, Any]:
        line = self._stdout.readline()
        if not line.endswith(b"\n"):
            raise EngineError(self._ended())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _ended(self) -> str:
        code = self._process.wait()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        reason = lines[-1][:500] if lines else f"exit code {code}"
        return f"{self._engine}: its process ended: {reason}"


def _end(process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
    """Let the process end with its input; it holds nothing that would be lost."""
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            if stream is not None:
                stream.close()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    said.close()
