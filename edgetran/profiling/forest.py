"""A small forest of extremely randomised trees (Geurts, Ernst and Wehenkel 2006) of a log measure.

It is determined by its rows and its seed, so that a saved one is its seed alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_TREES: Final = 100
_SMALLEST_DEVIATION: Final = 0.02  # of a log measure: trees that agree are not certain


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
        """Log mean (n,)."""
        return np.asarray(self._each(x).mean(axis=0))

    def deviation(self, x: Array) -> Array:
        """Spread of the trees (n,)."""
        return np.sqrt(self._each(x).var(axis=0) + _SMALLEST_DEVIATION**2)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {"seed": self.seed}

    def _each(self, x: Array) -> Array:
        rows = np.ascontiguousarray(x, dtype=np.float32)
        return np.stack([tree.predict(rows, check_input=False) for tree in self.trees])


def fit_forest(x: Array, z: Array, *, seed: int) -> Forest:
    """Grow a forest from inputs (n, k) and log measures (n,)."""
    from sklearn.ensemble import ExtraTreesRegressor

    forest = ExtraTreesRegressor(_TREES, random_state=seed).fit(x, z)
    return Forest(seed, tuple(forest.estimators_))
