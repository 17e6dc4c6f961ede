"""The form of an artefact: for which engine and in which precision a model is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from edgetran.devices import Engine, engine


@dataclass(frozen=True, slots=True)
class Form:
    """An engine and a precision.

    Attributes:
        engine: torch, onnxruntime, openvino, executorch or litert.
        precision: of the artefact.
        target: what the engine runs on.
        computed_in: the precision that the engine computes in; None for the artefact's own. It
            differs where a board is simulated whose arithmetic this host does not have.
        method: by which int8 is made, dynamic where None; see `edgetran.devices.METHODS`.
        examples: by how many examples static int8 is calibrated.
        aware_steps: of quantisation-aware training before int8 is made; 0 for none.
    """

    engine: str
    precision: str
    target: Literal["cpu", "cuda"] = "cpu"
    computed_in: str | None = None
    method: str | None = None
    examples: int = 128
    aware_steps: int = 0

    @property
    def quantized_by(self) -> str | None:
        """The method by which numbers are quantised; None where they are not."""
        return "weight-only" if self.precision == "int4" else self.int8_method

    @property
    def int8_method(self) -> str | None:
        """By which int8 is made; None in other precisions."""
        return (self.method or "dynamic") if self.precision == "int8" else None

    @property
    def name(self) -> str:
        """Such as `onnxruntime-int8` or `openvino-int8-static`, for folders and records."""
        return "-".join(self._parts)

    @property
    def words(self) -> str:
        """Such as `onnxruntime int8` or `openvino int8 static`, for sentences."""
        return " ".join(self._parts)

    @property
    def _parts(self) -> list[str]:
        special = self.int8_method not in (None, "dynamic")
        return [self.engine, self.precision, *([str(self.int8_method)] if special else [])]

    @property
    def is_plain(self) -> bool:
        """Whether it is what training itself judges: PyTorch in fp32."""
        return self.engine == "torch" and self.precision == "fp32"

    def make_engine(self, threads: int | None = None) -> Engine:
        """The engine that opens artefacts of this form.

        Raises:
            edgetran.devices.EngineError: a combination that the engine does not have.
        """
        return engine(
            self.engine,
            precision=self.computed_in or self.precision,
            threads=threads,
            target=self.target,
            method=self.quantized_by or "dynamic",
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data; how int8 is made is left out where it is not said."""
        data = asdict(self)
        if self.method is None:
            del data["method"], data["examples"]
        if not self.aware_steps:
            del data["aware_steps"]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls(**data)
