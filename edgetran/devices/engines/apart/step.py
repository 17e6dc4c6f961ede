"""What runs in an engine's own environment, by itself: `step.py ENGINE check|convert|run …`.

It imports nothing of EdgeTran's, which is not installed there.

- `check`: import all that the other two need.
- `convert PROGRAM TARGET PRECISION`: an exported program of torch's into the engine's own file.
- `run FILE THREADS`: answer batches. First a line of JSON tells the shape, `{"batch", "length"}`.
  A request is a line `{"count": n, "inputs": […]}` and, of each input named, n rows of the length,
  int64, little endian. The answer is a line `{"count", "labels"}` and as many float32, or
  `{"error"}`. It ends with its input.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, Protocol

import numpy as np

Row = Mapping[str, np.ndarray]


class Opened(Protocol):
    """A model in its engine: the shape of its inputs, and logits (1, labels) of one text."""

    length: int

    def logits(self, row: Row) -> np.ndarray:
        """Of integer arrays (1, length) by input name."""
        ...


# --- ExecuTorch


def _executorch_convert(program: str, target: str, precision: str) -> None:
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    exported = torch.export.load(program)
    if precision == "int8":
        exported = _executorch_int8(exported)
    lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    with open(target, "wb") as file:
        file.write(lowered.to_executorch().buffer)


def _executorch_int8(exported: Any) -> Any:
    """Linear layers in int8, one scale per output; ranges of activations as they come."""
    import torch
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    config = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True)
    quantizer = XNNPACKQuantizer().set_module_type(torch.nn.Linear, config)
    inputs, named = exported.example_inputs
    prepared = prepare_pt2e(exported.module(), quantizer)
    prepared(*inputs, **named)
    return torch.export.export(convert_pt2e(prepared), inputs, named)


class _ExecuTorch:
    def __init__(self, path: str, threads: int) -> None:
        from executorch.extension.pybindings import portable_lib
        from executorch.runtime import Runtime

        portable_lib._unsafe_reset_threadpool(threads)
        self._method = Runtime.get().load_program(path).load_method("forward")
        self.length = int(self._method.metadata.input_tensor_meta(0).sizes()[1])

    def logits(self, row: Row) -> np.ndarray:
        import torch

        names = ("input_ids", "attention_mask", "token_type_ids")
        (logits,) = self._method.execute([torch.from_numpy(row[name]) for name in names])
        return np.asarray(logits.numpy())


# --- LiteRT


def _litert_convert(program: str, target: str, precision: str) -> None:
    import litert_torch
    import torch

    exported = torch.export.load(program)
    inputs, named = exported.example_inputs
    litert_torch.convert(exported.module(), inputs, named).export(target)
    if precision == "int8":
        from ai_edge_quantizer import qtyping, quantizer

        # Linear layers alone: the runtime has no int8 kernel for constants times activations.
        made = quantizer.Quantizer(target)
        made.add_dynamic_config(".*", qtyping.TFLOperationName.FULLY_CONNECTED, 8)
        made.quantize().export_model(target, overwrite=True)


class _LiteRt:
    def __init__(self, path: str, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(path, num_threads=threads)
        interpreter.allocate_tensors()
        self._run = interpreter.get_signature_runner()
        self.length = int(self._run.get_input_details()["input_ids"]["shape"][1])

    def logits(self, row: Row) -> np.ndarray:
        (logits,) = self._run(
            **{name: each.astype(np.int32) for name, each in row.items()}
        ).values()
        return np.asarray(logits)


# --- Both

_CONVERT: dict[str, Callable[[str, str, str], None]] = {
    "executorch": _executorch_convert,
    "litert": _litert_convert,
}
_OPEN: dict[str, Callable[[str, int], Opened]] = {"executorch": _ExecuTorch, "litert": _LiteRt}


def _check(engine: str) -> None:
    if engine == "executorch":
        import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401
    else:
        import litert_torch  # noqa: F401


def _serve(model: Opened, requests: IO[bytes], answers: IO[bytes]) -> None:
    _tell(answers, {"batch": 1, "length": model.length})
    for line in iter(requests.readline, b""):
        asked = json.loads(line)
        shape = (asked["count"], model.length)
        arrays = {name: _read(requests, shape) for name in asked["inputs"]}
        try:
            logits = np.concatenate([model.logits(row) for row in _rows(arrays, asked["count"])])
        except Exception as error:  # noqa: BLE001  engines' errors have no common base
            _tell(answers, {"error": f"{type(error).__name__}: {error}"})
            continue
        _tell(answers, {"count": len(logits), "labels": logits.shape[1]})
        answers.write(logits.astype("<f4").tobytes())
        answers.flush()


def _rows(arrays: Mapping[str, np.ndarray], count: int) -> Iterator[Row]:
    for index in range(count):
        yield {name: np.ascontiguousarray(each[index : index + 1]) for name, each in arrays.items()}


def _read(stream: IO[bytes], shape: tuple[int, int]) -> np.ndarray:
    size = shape[0] * shape[1] * 8
    data = stream.read(size)
    if len(data) < size:
        raise SystemExit("the request ended early")
    return np.frombuffer(data, "<i8").reshape(shape).astype(np.int64)


def _tell(stream: IO[bytes], words: Mapping[str, Any]) -> None:
    stream.write(json.dumps(words).encode() + b"\n")
    stream.flush()


def main(engine: str, what: str, *rest: str) -> None:
    """Do one step; libraries print where errors go."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    if what == "check":
        _check(engine)
    elif what == "convert":
        _CONVERT[engine](*rest)
    else:
        path, threads = rest
        _serve(_OPEN[engine](path, int(threads)), sys.stdin.buffer, answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
