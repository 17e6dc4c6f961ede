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
        engine: torch, onnxruntime or openvino.
        precision: of the artefact.
        target: what the engine runs on.
        computed_in: the precision that the engine computes in; None for the artefact's own. It
            differs where a board is simulated whose arithmetic this host does not have.
    """

    engine: str
    precision: str
    target: Literal["cpu", "cuda"] = "cpu"
    computed_in: str | None = None

    @property
    def name(self) -> str:
        """Such as `onnxruntime-int8`, for folders and records."""
        return f"{self.engine}-{self.precision}"

    @property
    def words(self) -> str:
        """Such as `onnxruntime int8`, for sentences."""
        return f"{self.engine} {self.precision}"

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
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls(**data)
