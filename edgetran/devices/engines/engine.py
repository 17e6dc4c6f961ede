"""The one interface of every engine: load a model once, run batches of NumPy arrays."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal, Self

import numpy as np

from edgetran.api.field_errors import invalid
from edgetran.cores import usable_cores
from edgetran.devices.engines.quantization import METHODS, Calibration
from edgetran.devices.figures import Workload
from edgetran.devices.names import DeviceError, unknown_name

Arrays = Mapping[str, np.ndarray]


class EngineError(DeviceError):
    """An engine that cannot do what is asked of it: not installed, no such precision, no memory."""


class Session(ABC):
    """A model loaded into an engine, ready to run.

    Attributes:
        arithmetic: what the engine really computes in, where it differs from what was asked.
    """

    arithmetic: str

    @abstractmethod
    def run(self, inputs: Arrays) -> np.ndarray:
        """Logits (batch, labels) as float32 for integer arrays (batch, length) by input name.

        Raises:
            EngineError: for missing or unknown inputs, naming those allowed.
        """

    def accepts(self, name: str) -> bool:
        """Whether the model has an input of that name; one without use may be left out of it."""
        del name
        return True

    def close(self) -> None:  # noqa: B027  most sessions hold nothing beyond memory
        """Release what the session holds outside memory."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Engine(ABC):
    """Runs models with one precision, on a number of threads of one target.

    Attributes:
        name: the engine's name in resources.
        reads: what its files are made of: a module as it is, ONNX, or torch's exported program.
        precisions: what it can run, by target.
        steps: about how many words `prepare` tells.
        precision: what this one runs.
        threads: threads within one operation; `usable_cores()` by default.
        target: "cpu" or "cuda".
        method: by which int8 is made; of no meaning in other precisions.

    Raises:
        EngineError: for a precision, target, number of threads or method that the engine does not
            have.
    """

    name: ClassVar[str]
    reads: ClassVar[Literal["module", "onnx", "program"]] = "onnx"
    precisions: ClassVar[Mapping[str, tuple[str, ...]]]
    steps: int = 0

    def __init__(
        self,
        *,
        precision: str = "fp32",
        threads: int | None = None,
        target: Literal["cpu", "cuda"] = "cpu",
        method: str = "dynamic",
    ) -> None:
        if target not in self.precisions:
            raise EngineError(str(unknown_name(f"{self.name} target", target, self.precisions)))
        if precision not in self.precisions[target]:
            what = f"{self.name} precision on {target}"
            raise EngineError(str(unknown_name(what, precision, self.precisions[target])))
        if threads is not None and threads < 1:
            raise EngineError(f"threads: {invalid(threads, 'must be at least 1')}")
        if method not in METHODS[self.name]:
            raise EngineError(
                str(unknown_name(f"{self.name} int8 method", method, METHODS[self.name]))
            )
        self.precision = precision
        self.threads = threads if threads is not None else usable_cores()
        self.target = target
        self.method = method

    @abstractmethod
    def available(self) -> str | None:
        """None where the engine can run here, otherwise the reason why not."""

    @abstractmethod
    def load(self, model: Any, workload: Workload | None = None) -> Session:
        """Load what runs in this engine's precision: a module for torch, else a converted file.

        A `torch.nn.Module` is left as it is and copied into the engine's precision; its forward
        takes (batch, length) integer tensors by name and returns an object with `logits`. A file
        is opened as it is: `convert` has made it.

        Args:
            model: the module, or the path of the file.
            workload: the batches that it will run; None for batches of any shape.

        Raises:
            EngineError: when the engine is not available or the model is of the wrong kind.
        """

    def convert(
        self,
        source: Path,
        folder: Path,
        calibration: Calibration | None = None,  # noqa: ARG002
    ) -> tuple[Path, dict[str, Any] | None]:
        """Write into `folder` what `load` opens, in this engine's precision, from fp32 ONNX.

        Args:
            source: an fp32 ONNX file, or torch's exported program where that is read.
            folder: where to write.
            calibration: examples by which static int8 chooses the ranges of activations.

        Returns:
            The file or folder written, and how its numbers were quantised (None where they were
            not).

        Raises:
            EngineError: the file cannot be converted, there are too few examples, or the engine
                runs modules.
        """
        raise EngineError(f"{self.name}: {source} given for {folder}; allowed is a torch.nn.Module")

    def prepare(self, tell: Callable[[str], None] = lambda _: None) -> None:
        """Make ready what the engine needs, which may take minutes.

        Args:
            tell: hears, in a word, what is being done.

        Raises:
            EngineError: when the engine cannot run here.
        """
        del tell  # nothing takes long
        self.require()

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Versions of what computes, for the record of a measurement."""

    def require(self) -> None:
        """Raise what `available` says.

        Raises:
            EngineError: when the engine cannot run here.
        """
        reason = self.available()
        if reason is not None:
            raise EngineError(reason)


def example_inputs(workload: Workload, seed: int = 0) -> dict[str, np.ndarray]:
    """Full-length random batches: `input_ids`, `attention_mask`, `token_type_ids`, (batch, length).

    Identifiers start at 5, past the special tokens of a BERT vocabulary, where it is large enough.
    """
    shape = (workload.batch_size, workload.sequence_length)
    first = 5 if workload.vocab_size > 5 else 0
    rng = np.random.default_rng(seed)
    return {
        "input_ids": rng.integers(first, workload.vocab_size, shape, dtype=np.int64),
        "attention_mask": np.ones(shape, dtype=np.int64),
        "token_type_ids": np.zeros(shape, dtype=np.int64),
    }


def check_inputs(given: Arrays, required: Iterable[str], allowed: Iterable[str]) -> None:
    """Compare the names of inputs with the model's.

    Raises:
        EngineError: naming the input that is missing or unknown, and those allowed.
    """
    allowed = list(allowed)
    for name in required:
        if name not in given:
            raise EngineError(f"inputs: {name} is missing; allowed are {', '.join(allowed)}")
    for name in given:
        if name not in allowed:
            raise EngineError(str(unknown_name("inputs", name, allowed)))


def onnx_file(engine: str, model: Any) -> Path:
    """The path of an ONNX file.

    Raises:
        EngineError: when `model` is something else, or there is no such file.
    """
    if not isinstance(model, str | os.PathLike):
        raise EngineError(
            f"{engine}: {type(model).__name__} given; allowed is the path of an .onnx file "
            "(edgetran.models.export_onnx writes one)"
        )
    path = Path(model)
    if not path.is_file():
        raise EngineError(f"{engine}: {path} is not a file")
    return path
