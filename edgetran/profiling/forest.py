"""A small forest of extremely randomised trees (Geurts, Ernst and Wehenkel 2006) of a measure.

It is determined by its rows and its seed, so that a saved one is its seed alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

TREES: Final = 50
_SMALLEST_DEVIATION: Final = 0.02  # of a log measure, or relative: trees that agree may err


@dataclass(frozen=True)
class Forest:
    """Trees on raw features (n, k), whose splits do not depend on scaling.

    Attributes:
        seed: of the trees.
        trees: the fitted regressors.
    """

    seed: int
    trees: tuple[Any, ...]

    def predict(self, x: Array) -> Array:
        """Mean (n,), log where the forest was grown from logs."""
        return np.asarray(self._each(x).mean(axis=0))

    def deviation(self, x: Array, *, relative: bool = False) -> Array:
        """Spread of the trees (n,), at least 2 %: of a log, or relative to their mean."""
        each = self._each(x)
        least = _SMALLEST_DEVIATION * (np.abs(each.mean(axis=0)) if relative else 1.0)
        return np.asarray(np.sqrt(each.var(axis=0) + least**2))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {"seed": self.seed}

    def _each(self, x: Array) -> Array:
        rows = np.ascontiguousarray(x, dtype=np.float32)
        return np.stack([tree.predict(rows, check_input=False) for tree in self.trees])


def fit_forest(x: Array, z: Array, *, seed: int, trees: int = TREES) -> Forest:
    """Grow a forest from inputs (n, k) and measures or their logs (n,)."""
    from sklearn.tree import ExtraTreeRegressor

    # As sklearn.ensemble.ExtraTreesRegressor grows them, without its bookkeeping, which takes
    # longer than a tree of tens of rows.
    rows, targets = np.ascontiguousarray(x, dtype=np.float32), np.ascontiguousarray(z)[:, None]
    seeds = np.random.default_rng(seed).integers(2**31 - 1, size=trees)
    grown = (ExtraTreeRegressor(max_features=1.0, random_state=int(each)) for each in seeds)
    return Forest(seed, tuple(tree.fit(rows, targets, check_input=False) for tree in grown))
