"""What the surrogate is judged against: regressors that anybody would try on the same rows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np


def published_regressor(x: np.ndarray, y: np.ndarray, seed: int) -> Any:
    """AdaBoost over 500 decision trees (ProTran), on the published embedding, fitted."""
    from sklearn.ensemble import AdaBoostRegressor
    from sklearn.tree import DecisionTreeRegressor

    trees = AdaBoostRegressor(DecisionTreeRegressor(), n_estimators=500, random_state=seed)
    return trees.fit(x, y)


def extra_trees(x: np.ndarray, y: np.ndarray, seed: int) -> Any:
    """A hundred extremely randomised trees on sums of layer features, fitted."""
    from sklearn.ensemble import ExtraTreesRegressor

    return ExtraTreesRegressor(100, random_state=seed).fit(x, y)


def matern_process(x: np.ndarray, y: np.ndarray, seed: int) -> Any:
    """A plain Matérn 5/2 Gaussian process on standardised sums of layer features, fitted."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kernel = ConstantKernel() * Matern(np.sqrt(x.shape[1]), nu=2.5) + WhiteKernel(0.1)
    process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a length scale at its bound
        return make_pipeline(StandardScaler(), process).fit(x, y)
