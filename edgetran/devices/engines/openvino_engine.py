"""OpenVINO on processors: fp32, fp16, int8 and int4."""

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
from edgetran.devices.engines.openvino_quantization import quantize, quantize_int4
from edgetran.devices.engines.quantization import Calibration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgetran.devices.figures import Workload

_HINTS = {"fp32": "f32", "fp16": "f16", "int8": "f32", "int4": "f32"}


class OpenVinoEngine(Engine):
    """Runs an ONNX file on the CPU plugin, tuned for latency."""

    name: ClassVar[str] = "openvino"
    precisions: ClassVar[Mapping[str, tuple[str, ...]]] = {"cpu": ("fp32", "fp16", "int8", "int4")}

    def available(self) -> str | None:
        """Needs openvino; nncf for static int8 and for int4."""
        if importlib.util.find_spec("openvino") is None:
            return 'openvino is not installed; pip install "edgetran[openvino]"'
        static = self.precision == "int8" and self.method == "static"
        if (static or self.precision == "int4") and importlib.util.find_spec("nncf") is None:
            what = "static int8" if static else "int4"
            return f'{what} needs nncf; pip install "edgetran[nncf]"'
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
        try:
            graph = core.read_model(path)
            if workload is not None:
                shape = [workload.batch_size, workload.sequence_length]
                graph.reshape({port.get_any_name(): shape for port in graph.inputs})
            compiled = core.compile_model(graph, "CPU", options)
        except RuntimeError as error:
            raise EngineError(f"openvino: {path} cannot be loaded: {error}") from None
        return _OpenVinoSession(compiled, self.precision)

    def convert(
        self,
        source: Path,
        folder: Path,
        calibration: Calibration | None = None,
    ) -> tuple[Path, dict[str, Any] | None]:
        """Write OpenVINO's own form, `model/model.xml` and its weights, in the precision."""
        self.require()
        import openvino

        path = onnx_file(self.name, source)
        target, quantization = folder / "model", None
        target.mkdir()
        try:
            graph = openvino.Core().read_model(path)
            if self.precision == "int8":
                graph, quantization = quantize(graph, self.method, calibration)
            elif self.precision == "int4":
                graph, quantization = quantize_int4(graph)
            half = self.precision == "fp16"
            openvino.save_model(graph, target / "model.xml", compress_to_fp16=half)
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"openvino: {path} cannot be converted: {error}") from None
        return target, quantization


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
