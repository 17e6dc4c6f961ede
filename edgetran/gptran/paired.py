"""Whether one model is really better than another, from how both do on the same examples.

Where an example is right or wrong, the exact McNemar test with the mid-P correction (Fagerland et
al., BMC Med. Res. Methodol. 13:91, 2013): of the examples on which exactly one is right, the share
that the better one has won against a fair coin. Otherwise a paired bootstrap of the mean squared
error.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy import stats

_RESAMPLES: Final = 2000


@dataclass(frozen=True)
class Outcomes:
    """How a model does on each validation example, in the split's order.

    Attributes:
        right: (n,) whether its class is right; None for a regression.
        errors: (n,) squared errors of a regression; None for classes.
    """

    right: NDArray[np.bool_] | None = None
    errors: NDArray[np.float32] | None = None

    @classmethod
    def of(cls, logits: np.ndarray, labels: np.ndarray, *, regression: bool) -> Self:
        """Of logits (n, num_labels) and labels (n,)."""
        if regression:
            return cls(errors=((logits[:, 0] - labels) ** 2).astype(np.float32))
        return cls(right=logits.argmax(axis=1) == labels)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Outcomes) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(tuple(sorted(self.to_dict().items())))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data, a bit or four bytes per example."""
        if self.right is not None:
            return {"count": len(self.right), "right": _text(np.packbits(self.right).tobytes())}
        errors = np.zeros(0, np.float32) if self.errors is None else self.errors
        return {"count": len(errors), "errors": _text(errors.astype("<f4").tobytes())}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        if "right" in data:
            bits = np.frombuffer(base64.b64decode(data["right"]), np.uint8)
            return cls(right=np.unpackbits(bits, count=data["count"]).astype(bool))
        return cls(errors=np.frombuffer(base64.b64decode(data["errors"]), "<f4").copy())


def confidence(better: Outcomes | None, worse: Outcomes | None) -> float | None:
    """How sure the examples are that `better` is, 0 to 1; 0.5 where they do not tell.

    One minus the one-sided P value. None where the outcomes are not known or not of the same
    examples.
    """
    if better is None or worse is None:
        return None
    if better.right is not None and worse.right is not None:
        if len(better.right) != len(worse.right):
            return None
        won = int((better.right & ~worse.right).sum())
        lost = int((worse.right & ~better.right).sum())
        coin = stats.binom(won + lost, 0.5)
        return float(1 - (coin.sf(won) + coin.pmf(won) / 2))
    if better.errors is None or worse.errors is None or len(better.errors) != len(worse.errors):
        return None
    differences = worse.errors.astype(np.float64) - better.errors
    rng = np.random.default_rng(0)
    draws = rng.integers(len(differences), size=(_RESAMPLES, len(differences)))
    means = differences[draws].mean(axis=1)
    return float((means > 0).mean() + (means == 0).mean() / 2)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
