"""OpenVINO's own int8, dynamic and of weights alone; static int8, and int4 of weights, by NNCF."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from edgetran.devices.engines.quantization import Calibration, enough

_INT4_GROUP: Final = 32

_GROUP: Final = ["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"]
"""An option that the model carries itself, so that whoever opens it computes the same."""


def quantize(
    graph: Any, method: str, calibration: Calibration | None
) -> tuple[Any, dict[str, Any]]:
    """A graph in int8, and how it was done; the one given is not kept."""
    return _METHODS[method](graph, calibration)


def quantize_int4(graph: Any) -> tuple[Any, dict[str, Any]]:
    """A graph whose matrices of weights are int4, and how it was done."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):  # its bars
        compressed = nncf.compress_weights(
            graph,
            mode=nncf.CompressWeightsMode.INT4_SYM,
            group_size=_INT4_GROUP,
            ratio=1.0,
            all_layers=False,
            advanced_parameters=nncf.AdvancedCompressionParameters(
                group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST
            ),
        )
    compressed.set_rt_info("0", _GROUP)
    return compressed, {
        "method": "weight-only",
        "weights": f"int4, one scale per {_INT4_GROUP} of an output; tables and last layer int8",
        "activations": "fp32",
        "tool": "nncf",
    }


def _dynamic(graph: Any, calibration: Calibration | None) -> tuple[Any, dict[str, Any]]:
    del calibration  # ranges are those of the batch at hand
    _compress_weights(graph)
    graph.set_rt_info("32", _GROUP)
    return graph, {
        "method": "dynamic",
        "weights": "int8, one scale per output",
        "activations": "int8, ranges as they come, in groups of 32",
        "tool": "openvino",
    }


def _weight_only(graph: Any, calibration: Calibration | None) -> tuple[Any, dict[str, Any]]:
    del calibration  # activations stay in fp32
    _compress_weights(graph)
    graph.set_rt_info("0", _GROUP)
    return graph, {
        "method": "weight-only",
        "weights": "int8, one scale per output",
        "activations": "fp32",
        "tool": "openvino",
    }


def _static(graph: Any, calibration: Calibration | None) -> tuple[Any, dict[str, Any]]:
    calibration = enough(calibration)
    import nncf

    nncf.set_log_level(logging.ERROR)
    inputs = {port.get_any_name() for port in graph.inputs}
    batches = [
        {name: array for name, array in batch.items() if name in inputs}
        for batch in calibration.batches
    ]
    with contextlib.redirect_stdout(io.StringIO()):  # its bars
        quantized = nncf.quantize(
            graph,
            nncf.Dataset(batches),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(batches),
        )
    return quantized, {
        "method": "static",
        "weights": "int8, one scale per output",
        "activations": "int8, ranges from calibration, with SmoothQuant",
        "tool": "nncf",
    }


_METHODS: Final[dict[str, Callable[[Any, Calibration | None], tuple[Any, dict[str, Any]]]]] = {
    "dynamic": _dynamic,
    "static": _static,
    "weight-only": _weight_only,
}


def _compress_weights(graph: Any) -> None:
    """Replace each matrix of weights by int8 values and one scale per output, symmetric.

    The CPU plugin recognises the pattern and, where groups are given, quantises the activations of
    these products dynamically.
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
