"""How members are combined: by what each predicted of rows that it had not seen.

Stacked regression with non-negative weights (Wolpert 1992; Breiman 1996), on the logarithm of the
measure (a weighted geometric mean) or on the measure itself (an arithmetic one), whichever
predicts better. With few rows the weights lean on the members' errors alone, since free weights
would fit the noise of the comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SHARPNESS: Final = (2.0, 8.0)  # shares ∝ error^-sharpness, with few rows and with many
_MANY_ROWS: Final = 64
_FEW_ROWS: Final = 16
_LEAST_SHARE: Final = 0.02  # less is not worth a member's time


@dataclass(frozen=True)
class Stack:
    """Weights of the members (k,) on a scale."""

    scale: Literal["log", "linear"]
    weights: Array

    def __call__(self, logs: Array) -> Array:
        """Log prediction (n,) from the members' (n, k)."""
        if self.scale == "log":
            return np.asarray(logs @ self.weights)
        top = logs.max(axis=1)  # so that no measure overflows
        return np.asarray(top + np.log(np.exp(logs - top[:, None]) @ self.weights))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {"scale": self.scale, "weights": self.weights.tolist()}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Stack:
        """The inverse of `to_dict`."""
        return cls(state["scale"], np.array(state["weights"]))


def combine(logs: Array, z: Array, beliefs: Array) -> Stack:
    """Weigh members on the scale that predicts better.

    Args:
        logs: (n, k), each member's log predictions of rows that it had not seen.
        z: (n,), the logs that were measured.
        beliefs: (k,), shares that members deserve before any row is seen, relative.
    """
    y = np.exp(z)
    candidates = [
        Stack("log", _shares(z[:, None] - logs, beliefs)),
        Stack("linear", _shares((np.exp(logs) - y[:, None]) / y.max(), beliefs)),
    ]
    errors = [float(((np.exp(stack(logs)) - y) ** 2 / y).mean()) for stack in candidates]
    return candidates[int(np.argmin(errors))]


def _shares(residuals: Array, beliefs: Array) -> Array:
    """Share of each member (k,) from residuals (n, k) of unseen rows."""
    rows = len(residuals)
    errors = np.sqrt((residuals**2).mean(axis=0)) + 1e-9  # a measure may never change
    few, many = _SHARPNESS
    reached = np.clip((rows - _FEW_ROWS) / (_MANY_ROWS - _FEW_ROWS), 0.0, 1.0)
    shares = beliefs * (errors / errors.min()) ** -(few + reached * (many - few))
    shares /= shares.sum()
    shares[shares < _LEAST_SHARE] = 0.0
    return np.asarray(shares / shares.sum())
