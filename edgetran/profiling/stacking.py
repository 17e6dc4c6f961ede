"""How members are combined: by what each predicted of rows that it had not seen.

Stacked regression with non-negative weights (Wolpert 1992; Breiman 1996), on the logarithm of the
measure (a weighted geometric mean) or on the measure itself (an arithmetic one), whichever
predicts better. Weights follow from each member's error and from what is believed of its kind:
free ones would fit the noise of the comparison, with tens of rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SHARPEST: Final = 12.0  # shares ∝ error^-12: 6 % less error counts double
_CLIP: Final = 3.0  # robust: a residual counts up to this many typical ones of the best member
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


def combine(logs: Array, z: Array, beliefs: Array, constants: Array) -> Stack:
    """Weigh members on the scale that predicts better.

    Args:
        logs: (n, k), each member's log predictions of rows that it had not seen.
        z: (n,), the logs that were measured.
        beliefs: (k,), shares that members deserve before any row is seen, relative.
        constants: (n,), log predictions of rows by a constant that had not seen them.
    """
    y = np.exp(z)
    candidates = [
        Stack("log", _shares(z[:, None] - logs, beliefs, z - constants)),
        Stack(
            "linear",
            _shares(
                (np.exp(logs) - y[:, None]) / y.max(), beliefs, (np.exp(constants) - y) / y.max()
            ),
        ),
    ]
    misses = np.abs([np.exp(stack(logs)) - y for stack in candidates]) / np.sqrt(y)
    limit = _CLIP * 1.4826 * float(np.median(misses, axis=1).min()) + 1e-9
    errors = (np.minimum(misses, limit) ** 2).mean(axis=1)
    return candidates[int(np.argmin(errors))]


def _shares(residuals: Array, beliefs: Array, constant_residuals: Array) -> Array:
    """Share of each member (k,) from residuals (n, k) of unseen rows.

    Where the best member is hardly better than a constant, members differ by luck, and shares stay
    near the beliefs; where it explains all but a tenth, an error twice as large leaves nothing.
    """
    errors = _errors(residuals)
    constant = _errors(constant_residuals[:, None])[0]
    sharpness = float(np.clip(constant / errors.min(), 1.0, _SHARPEST))
    shares = beliefs * (errors / errors.min()) ** -sharpness
    shares /= shares.sum()
    shares[shares < _LEAST_SHARE] = 0.0
    return np.asarray(shares / shares.sum())


def _errors(residuals: Array) -> Array:
    """Root mean square of each column (k,), rows of a bad moment counting no more than others."""
    limit = _CLIP * 1.4826 * float(np.median(np.abs(residuals), axis=0).min()) + 1e-9
    clipped = np.minimum(np.abs(residuals), limit)
    return np.asarray(np.sqrt((clipped**2).mean(axis=0)) + 1e-9)  # a measure may never change
