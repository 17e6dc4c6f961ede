"""OpenVINO on processors: fp32, fp16 and int8 weights with dynamically quantised activations."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgetran.devices.engines.engine import (
    Arrays,
    Engine,
    EngineError,
    Session,
    check_inputs,
    onnx_file,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgetran.devices.figures import Workload

_HINTS = {"fp32": "f32", "fp16": "f16", "int8": "f32"}
_QUANTIZATION = {
    "method": "dynamic",
    "weights": "int8, one scale per output",
    "activations": "int8, ranges as they come, in groups of 32",
    "tool": "openvino",
}


class OpenVinoEngine(Engine):
    """Runs an ONNX file on the CPU plugin, tuned for latency."""

    name: ClassVar[str] = "openvino"
    precisions: ClassVar[Mapping[str, tuple[str, ...]]] = {"cpu": ("fp32", "fp16", "int8")}

    def available(self) -> str | None:
        """Needs openvino."""
        if importlib.util.find_spec("openvino") is None:
            return 'openvino is not installed; pip install "edgetran[openvino]"'
        return None

    def versions(self) -> dict[str, str]:
        """Version of OpenVINO."""
        return {"openvino": importlib.metadata.version("openvino")}

    def load(self, model: Any, workload: Workload | None = None) -> Session:
        """Read the folder that `convert` wrote and compile it, for exactly the workload's batches.

        fp16 is a wish: where the processor has no fp16 arithmetic the plugin computes in fp32,
        and the session's `arithmetic` says so.
        """
        self.require()
        import openvino

        path = _graph_file(model)
        core = openvino.Core()
        options = {
            "INFERENCE_NUM_THREADS": self.threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _HINTS[self.precision],
        }
        if self.precision == "int8":
            options["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = 32
        try:
            graph = core.read_model(path)
            if workload is not None:
                shape = [workload.batch_size, workload.sequence_length]
                graph.reshape({port.get_any_name(): shape for port in graph.inputs})
            compiled = core.compile_model(graph, "CPU", options)
        except RuntimeError as error:
            raise EngineError(f"openvino: {path} cannot be loaded: {error}") from None
        return _OpenVinoSession(compiled, self.precision)

    def convert(self, source: Path, folder: Path) -> tuple[Path, dict[str, Any] | None]:
        """Write OpenVINO's own form, `model/model.xml` and its weights, in the precision."""
        self.require()
        import openvino

        path = onnx_file(self.name, source)
        target = folder / "model"
        target.mkdir()
        try:
            graph = openvino.Core().read_model(path)
            if self.precision == "int8":
                _compress_weights(graph)
            half = self.precision == "fp16"
            openvino.save_model(graph, target / "model.xml", compress_to_fp16=half)
        except RuntimeError as error:
            raise EngineError(f"openvino: {path} cannot be converted: {error}") from None
        return target, dict(_QUANTIZATION) if self.precision == "int8" else None


class _OpenVinoSession(Session):
    def __init__(self, compiled: Any, precision: str) -> None:
        self._request = compiled.create_infer_request()
        self._inputs = [port.get_any_name() for port in compiled.inputs]
        self._logits = compiled.output("logits")
        real = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        wished = _HINTS[precision]
        self.arithmetic = precision if real == wished else f"{real} ({precision} is not native)"

    def accepts(self, name: str) -> bool:
        return name in self._inputs

    def run(self, inputs: Arrays) -> np.ndarray:
        check_inputs(inputs, self._inputs, self._inputs)
        results = self._request.infer(dict(inputs))
        return np.array(results[self._logits], dtype=np.float32)


def _graph_file(model: Any) -> Path:
    """The graph in a folder that `convert` wrote, or an ONNX file."""
    if isinstance(model, str | os.PathLike) and Path(model).is_dir():
        return Path(model) / "model.xml"
    return onnx_file("openvino", model)


def _compress_weights(graph: Any) -> None:
    """Replace each matrix of weights by int8 values and one scale per output, symmetric.

    The CPU plugin recognises the pattern and quantises the activations of these products
    dynamically.
    """
    from openvino import opset13 as ops

    for node in graph.get_ordered_ops():
        if node.get_type_name() != "MatMul":
            continue
        constant = node.input_value(1).get_node()
        if constant.get_type_name() != "Constant" or len(constant.shape) != 2:
            continue
        weights = constant.data.astype(np.float32)
        outputs_first = node.get_attributes()["transpose_b"]
        scales = np.abs(weights).max(axis=1 if outputs_first else 0, keepdims=True) / 127
        scales = np.where(scales == 0, 1, scales).astype(np.float32)
        values = np.clip(np.rint(weights / scales), -127, 127).astype(np.int8)
        restored = ops.multiply(ops.convert(ops.constant(values), "f32"), ops.constant(scales))
        node.input(1).replace_source_output(restored.output(0))
