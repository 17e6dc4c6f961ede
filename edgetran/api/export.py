"""What a run hands over besides its winner's own artefact."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from edgetran.api.base import ApiModel
from edgetran.api.device import (
    METHOD_WORDS,
    METHODS,
    PRECISIONS,
    EngineName,
    Precision,
    Quantization,
)
from edgetran.api.rules import Broken, Rule, listed, only_where, wrong


def _precision_of_engine(model: Any) -> Iterator[Broken]:
    if model.precision not in PRECISIONS[model.engine, "cpu"]:
        yield ("precision",), wrong(model.precision)


def _method_of_engine(model: Any) -> Iterator[Broken]:
    if model.quantization and model.quantization.method not in METHODS[model.engine]:
        yield ("quantization", "method"), wrong(model.quantization.method)


class ExportTarget(ApiModel):
    """An engine and a precision for which the winner is exported."""

    engine: EngineName = Field("onnxruntime", description="What opens the file.")
    precision: Precision = Field("fp32", description="Numbers that the model computes in.")
    quantization: Quantization | None = Field(
        None, description="How it is made int8; dynamic where omitted."
    )

    RULES = (
        Rule(
            name="precisionOfEngine",
            fields=("engine", "precision"),
            at="precision",
            message="must be "
            + "; ".join(
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
            message=f"must be {METHOD_WORDS}",
            check=_method_of_engine,
            cel="!has(self.quantization) || self.engine != 'torch' "
            f"|| self.quantization.method in {list(METHODS['torch'])}",
        ),
    )
