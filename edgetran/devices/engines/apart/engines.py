"""ExecuTorch and LiteRT: torch's exported program made into their files, in their environments.

Both files have fixed shapes: one text, padded to the length that the program was exported with.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, ClassVar

from edgetran.devices.engines.apart.environment import STEP, Environment
from edgetran.devices.engines.apart.session import ApartSession
from edgetran.devices.engines.engine import Engine, EngineError, Session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgetran.devices.engines.quantization import Calibration
    from edgetran.devices.figures import Workload


class ApartEngine(Engine):
    """An engine in an environment of its own; models are handed over, not measured with it."""

    reads = "program"
    precisions: ClassVar[Mapping[str, tuple[str, ...]]] = {"cpu": ("fp32", "int8")}
    file: ClassVar[str]
    quantizer: ClassVar[str]

    @property
    def steps(self) -> int:  # type: ignore[override]
        """One for each package that is looked at, and one for each that is laid out."""
        return 2 * len(self.environment.packages)

    @property
    def environment(self) -> Environment:
        """Where it lives."""
        return Environment(self.name)

    def available(self) -> str | None:
        """Needs its environment, which `prepare` makes."""
        return self.environment.problem()

    def prepare(self, tell: Callable[[str], None] = lambda _: None) -> None:
        """Make its environment where it is not there, which takes minutes and gigabytes."""
        self.environment.make(tell)

    def versions(self) -> dict[str, str]:
        """Versions of the engine and of what writes its file."""
        return {name: self.environment.packages[name] for name in self.packages}

    packages: ClassVar[tuple[str, ...]]

    def convert(
        self,
        source: Path,
        folder: Path,
        calibration: Calibration | None = None,  # noqa: ARG002
    ) -> tuple[Path, dict[str, Any] | None]:
        """Write the engine's file from an exported program (`.pt2`)."""
        self.prepare()
        target = folder / self.file
        command = [str(self.environment.python), "-I", str(STEP), self.name, "convert"]
        with TemporaryFile() as said:
            done = subprocess.run(
                [*command, str(source.resolve()), str(target.resolve()), self.precision],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                check=False,
            )
            if done.returncode or not target.is_file():
                said.seek(0)
                lines = said.read().decode(errors="replace").strip().splitlines()
                reason = lines[-1][:500] if lines else f"exit code {done.returncode}"
                raise EngineError(f"{self.name}: the model cannot be converted: {reason}")
        if self.precision == "fp32":
            return target, None
        return target, {
            "method": "dynamic",
            "weights": "int8, one scale per output",
            "activations": "int8, ranges as they come",
            "tool": self.quantizer,
        }

    def load(self, model: Any, workload: Workload | None = None) -> Session:
        """Open the engine's file in a process of its environment; its shapes are the file's own."""
        del workload
        if not isinstance(model, str | os.PathLike) or not Path(model).is_file():
            raise EngineError(f"{self.name}: {model} given; allowed is a {Path(self.file).suffix}")
        self.prepare()
        return ApartSession(self.name, self.environment.python, Path(model), self.threads)


class ExecuTorchEngine(ApartEngine):
    """ExecuTorch on processors, by XNNPACK."""

    name: ClassVar[str] = "executorch"
    file: ClassVar[str] = "model.pte"
    quantizer: ClassVar[str] = "torchao"
    packages: ClassVar[tuple[str, ...]] = ("executorch", "torch")


class LiteRtEngine(ApartEngine):
    """LiteRT, which was TensorFlow Lite, on processors."""

    name: ClassVar[str] = "litert"
    file: ClassVar[str] = "model.tflite"
    quantizer: ClassVar[str] = "ai-edge-quantizer"
    packages: ClassVar[tuple[str, ...]] = ("ai-edge-litert", "litert-torch")
