"""What a run hands over besides its winner's own artefact."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from edgetran.api.base import ApiModel
from edgetran.api.device import METHODS, PRECISIONS, EngineName, Precision, Quantization
from edgetran.api.rules import Path, Rule, listed


def _precision_of_engine(model: Any) -> Iterator[tuple[Path, str]]:
    if model.precision not in PRECISIONS[model.engine, "cpu"]:
        yield ("precision",), f"{model.precision} was given with engine {model.engine}"


def _quantization_of_int8(model: Any) -> Iterator[tuple[Path, str]]:
    if model.quantization is None:
        return
    if model.precision != "int8":
        yield ("quantization",), f"given with precision {model.precision}"
    elif model.quantization.method not in METHODS[model.engine]:
        yield (
            ("quantization", "method"),
            f"{model.quantization.method} was given with engine {model.engine}",
        )


class ExportTarget(ApiModel):
    """An engine and a precision for which the winner is handed over."""

    engine: EngineName = Field("onnxruntime", description="What opens the file.")
    precision: Precision = Field("fp32", description="Numbers that the model computes in.")
    quantization: Quantization | None = Field(
        None, description="How it is made int8; dynamic where omitted."
    )

    RULES = (
        Rule(
            name="precisionOfEngine",
            fields=("engine", "precision"),
            allowed="; ".join(
                f"{listed(names, 'or')} with {engine}"
                for (engine, accelerator), names in PRECISIONS.items()
                if accelerator == "cpu"
            ),
            check=_precision_of_engine,
            cel=" || ".join(
                f"(self.engine == '{engine}' && self.precision in {list(names)})"
                for (engine, accelerator), names in PRECISIONS.items()
                if accelerator == "cpu"
            ),
        ),
        Rule(
            name="quantizationOfInt8",
            fields=("engine", "precision", "quantization"),
            allowed="quantization with precision int8 alone, with torch by method auto or dynamic",
            check=_quantization_of_int8,
            cel="!has(self.quantization) || (self.precision == 'int8' && (self.engine != 'torch' "
            f"|| self.quantization.method in {list(METHODS['torch'])}))",
        ),
    )
