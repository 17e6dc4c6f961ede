"""ONNX Runtime's own quantiser: int8 dynamic, static or of weights alone; int4 of weights alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgetran.devices.engines.quantization import Calibration, enough
from edgetran.devices.isa import instruction_sets

BLOCK: Final = 32
"""Weights that share a scale where weights alone are quantised."""


def quantize(
    source: Path, target: Path, method: str, calibration: Calibration | None
) -> dict[str, Any]:
    """Write an fp32 ONNX file in int8; how it was done.

    Weights of more than two dimensions, such as one matrix per head, stay as they are: the
    runtime's kernels take no scale per channel there.
    """
    import onnx

    model = onnx.load(source)
    with _silent_logging():
        return _METHODS[method](model, target, calibration)


def quantize_weights(source: Path, target: Path, *, bits: int) -> dict[str, Any]:
    """Write an fp32 ONNX file with weights of 4 or 8 bits, and no more; how it was done."""
    import onnx

    with _silent_logging():
        return _weights_alone(onnx.load(source), target, bits)


def _dynamic(model: Any, target: Path, calibration: Calibration | None) -> dict[str, Any]:
    del calibration  # ranges are those of the batch at hand
    from onnxruntime.quantization import QuantType, quantize_dynamic

    saturates = _saturates()
    quantize_dynamic(
        model,
        target,
        op_types_to_quantize=["MatMul"],
        nodes_to_exclude=_other_products(model),
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=saturates,
    )
    return {
        "method": "dynamic",
        "weights": _weights(saturates),
        "activations": "uint8, ranges as they come",
        "tool": "onnxruntime.quantization",
    }


def _static(model: Any, target: Path, calibration: Calibration | None) -> dict[str, Any]:
    calibration = enough(calibration)
    from onnxruntime.quantization import (
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    saturates = _saturates()
    quantize_static(
        model,
        target,
        _reader(model, calibration),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["MatMul"],
        nodes_to_exclude=_other_products(model),
        per_channel=True,
        reduce_range=saturates,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul"]},
    )
    return {
        "method": "static",
        "weights": _weights(saturates),
        "activations": "uint8, ranges from the least to the largest value of calibration",
        "tool": "onnxruntime.quantization",
    }


def _weight_only(model: Any, target: Path, calibration: Calibration | None) -> dict[str, Any]:
    del calibration  # activations stay in fp32
    return _weights_alone(model, target, 8)


def _weights_alone(model: Any, target: Path, bits: int) -> dict[str, Any]:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(
        model,
        bits=bits,
        block_size=BLOCK,
        is_symmetric=True,
        nodes_to_exclude=_other_products(model),
    )
    quantizer.process()
    quantizer.model.save_model_to_file(str(target), False)
    return {
        "method": "weight-only",
        "weights": f"int{bits}, one scale per {BLOCK} of an output",
        "activations": "fp32",
        "tool": "onnxruntime.quantization",
    }


_METHODS: Final[dict[str, Callable[[Any, Path, Calibration | None], dict[str, Any]]]] = {
    "dynamic": _dynamic,
    "static": _static,
    "weight-only": _weight_only,
}


def _other_products(model: Any) -> list[str]:
    """Products of two activations, and those with weights that are no matrix."""
    dimensions = {weights.name: len(weights.dims) for weights in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul" and dimensions.get(node.input[1]) != 2
    ]


def _saturates() -> bool:
    """Without VNNI, the 8-bit products of x86 saturate in 16 bits unless weights keep to 7 bits."""
    sets = set(instruction_sets())
    return "avx2" in sets and not {"avx512_vnni", "avx_vnni"} & sets


def _weights(saturates: bool) -> str:
    return f"int8{' in 7 bits' if saturates else ''}, one scale per output"


def _reader(model: Any, calibration: Calibration) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    inputs = {declared.name for declared in model.graph.input}

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the package ships no types
        def __init__(self) -> None:
            self._left: Iterator[Mapping[str, np.ndarray]] = iter(calibration.batches)

        def get_next(self) -> Any:
            batch = next(self._left, None)
            return batch and {name: array for name, array in batch.items() if name in inputs}

    return Reader()


@contextmanager
def _silent_logging() -> Iterator[None]:
    """The quantiser advises, through the root logger, a step that helps no transformer."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
