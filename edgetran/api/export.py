"""What a run hands over besides its winner's own artefact."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal

from pydantic import Field

from edgetran.api.base import ApiModel
from edgetran.api.device import (
    METHODS,
    PRECISIONS,
    Precision,
    Quantization,
)
from edgetran.api.rules import Broken, Rule, listed, only_where, wrong

ExportEngine = Literal["torch", "onnxruntime", "openvino", "executorch", "litert"]

EXPORT_PRECISIONS: Final[dict[str, tuple[str, ...]]] = {
    **{engine: names for (engine, target), names in PRECISIONS.items() if target == "cpu"},
    "executorch": ("fp32", "int8"),
    "litert": ("fp32", "int8"),
}
"""The precisions in which a model is handed over for each engine."""

EXPORT_METHODS: Final[dict[str, tuple[str, ...]]] = {
    **METHODS,
    "executorch": ("auto", "dynamic"),
    "litert": ("auto", "dynamic"),
}
"""By what int8 can be made for each engine for which a model is handed over."""

_DYNAMIC_ALONE: Final = [name for name, ways in EXPORT_METHODS.items() if "static" not in ways]


def _words(allowed: dict[str, tuple[str, ...]]) -> str:
    return "; ".join(f"{listed(names, 'or')} with {engine}" for engine, names in allowed.items())


def _precision_of_engine(model: Any) -> Iterator[Broken]:
    if model.precision not in EXPORT_PRECISIONS[model.engine]:
        yield ("precision",), wrong(model.precision)


def _method_of_engine(model: Any) -> Iterator[Broken]:
    if model.quantization and model.quantization.method not in EXPORT_METHODS[model.engine]:
        yield ("quantization", "method"), wrong(model.quantization.method)


class ExportTarget(ApiModel):
    """An engine and a precision for which the winner is exported."""

    engine: ExportEngine = Field(
        "onnxruntime",
        description="What opens the file. executorch (.pte) and litert (.tflite) are made in an "
        "environment of their own, which is installed when it is first needed; their files take "
        "one text at a time, padded to the longest.",
    )
    precision: Precision = Field(
        "fp32",
        description="Numbers that the model computes in; with int4 those of its weights alone.",
    )
    quantization: Quantization | None = Field(
        None, description="How it is made int8; dynamic where omitted."
    )

    RULES = (
        Rule(
            name="precisionOfEngine",
            fields=("engine", "precision"),
            at="precision",
            message=f"must be {_words(EXPORT_PRECISIONS)}",
            check=_precision_of_engine,
            cel=" || ".join(
                f"(self.engine == '{engine}' && self.precision in {list(names)})"
                for engine, names in EXPORT_PRECISIONS.items()
            ),
        ),
        only_where(
            "quantization",
            lambda target: target.precision == "int8",
            "self.precision == 'int8'",
            "with precision int8",
            reads=("precision",),
        ),
        Rule(
            name="methodOfEngine",
            fields=("engine", "quantization"),
            at="quantization.method",
            message=f"must be {_words(EXPORT_METHODS)}",
            check=_method_of_engine,
            cel=f"!has(self.quantization) || !(self.engine in {_DYNAMIC_ALONE}) "
            f"|| self.quantization.method in {list(METHODS['torch'])}",
        ),
    )
