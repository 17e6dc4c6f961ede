"""How int8 is made of fp32: the methods, and the examples by which ranges are chosen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

import numpy as np

Method = Literal["dynamic", "static", "weight-only"]

METHODS: Final[dict[str, tuple[Method, ...]]] = {
    "torch": ("dynamic",),
    "onnxruntime": ("dynamic", "static", "weight-only"),
    "openvino": ("dynamic", "static", "weight-only"),
    "executorch": ("dynamic",),
    "litert": ("dynamic",),
}
"""The methods of each engine.

- dynamic: int8 weights; the ranges of activations are those of the batch at hand.
- static: int8 weights; the ranges of activations are chosen once, on calibration data.
- weight-only: int8 weights, which are computed with in fp32.
"""

FEWEST_EXAMPLES: Final = 8
"""With fewer, the ranges that are found are those of chance."""


@dataclass(frozen=True)
class Calibration:
    """Examples by which the ranges of activations are chosen.

    Attributes:
        batches: integer arrays (batch, length) by input name.
        record: where they come from, how many there are, and their hash.
    """

    batches: tuple[Mapping[str, np.ndarray], ...]
    record: Mapping[str, Any]

    @classmethod
    def of(cls, batches: Iterable[Mapping[str, np.ndarray]], **source: Any) -> Self:
        """Of batches, with what the record says about their source."""
        kept = tuple(batches)
        digest = hashlib.sha256()
        for batch in kept:
            for name in sorted(batch):
                array = np.ascontiguousarray(batch[name], dtype=np.int64)
                digest.update(f"{name} {array.shape} ".encode())
                digest.update(array.tobytes())
        examples = sum(len(batch["input_ids"]) for batch in kept)
        return cls(kept, {**source, "examples": examples, "sha256": digest.hexdigest()})


def enough(calibration: Calibration | None) -> Calibration:
    """The examples, if they suffice for ranges.

    Raises:
        ValueError: there are none, or too few.
    """
    count = 0 if calibration is None else int(calibration.record["examples"])
    if calibration is None or count < FEWEST_EXAMPLES:
        raise ValueError(
            f"calibration: {count} examples given; allowed for static int8 are at least "
            f"{FEWEST_EXAMPLES}"
        )
    return calibration
