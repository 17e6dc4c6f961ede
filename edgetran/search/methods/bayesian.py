"""Bayesian optimisation: a Gaussian process of accuracy, expected improvement of the objective."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from edgetran.devices import Figure
from edgetran.search.asktell import Knowledge, Proposal
from edgetran.search.methods.pool import Choice, candidate_pool
from edgetran.search.spaces import Encoding


class BayesianOptimisation:
    """Jones et al. 1998: expected improvement under a Gaussian process (Matérn 5/2).

    Only accuracy is modelled; the objective is then Gaussian too, since its hardware part is
    known. Within a batch the pending accuracies are taken to be their predicted means (Ginsbourger
    et al. 2010, "kriging believer").

    Args:
        pool: number of random candidates among which the expected improvement is maximised,
            beside mutations of the incumbents.
    """

    minimum_observations = 3

    def __init__(self, *, pool: int = 256) -> None:
        self._pool = pool

    def suggest(self, knowledge: Knowledge, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Candidates of the pool by expected improvement, one at a time."""
        problem = knowledge.problem
        weight = problem.objective.effective_weight("accuracy")
        pool = [c for c, _ in candidate_pool(knowledge, rng, random=self._pool)]
        if not pool:
            return []
        seen, accuracies = knowledge.accuracies()
        points = problem.space.encode(pool)
        hardware = problem.hardware_values(pool)
        best = knowledge.incumbents(1)[0]
        threshold = best.rank[1] if best.feasible else -np.inf
        process = _GaussianProcess(seen, accuracies)
        if knowledge.pending:
            process.believe(problem.space.encode(list(knowledge.pending)))
        choice = Choice(knowledge, pool)
        proposals: list[Proposal] = []
        while len(proposals) < n:
            mean, std = process.predict(points)
            gain = expected_improvement(hardware + weight * mean, weight * std, threshold)
            i = choice.pick(gain)
            if i is None:
                break
            predicted = Figure(float(mean[i]), "", "predicted", std=float(std[i]))
            proposals.append(Proposal(pool[i], "expected-improvement", predicted))
            process.believe(points[i : i + 1])
        return proposals


def expected_improvement(
    mean: NDArray[np.float64], std: NDArray[np.float64], threshold: float
) -> NDArray[np.float64]:
    """E[max(Y − threshold, 0)] of Y ~ N(mean, std²), (n,); the mean itself without a threshold."""
    from scipy.special import ndtr

    if not np.isfinite(threshold):
        return mean
    std = np.maximum(std, 1e-12)
    z = (mean - threshold) / std
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    gain: NDArray[np.float64] = std * (z * ndtr(z) + density)
    return gain


class _GaussianProcess:
    """Accuracy over encodings, standardised; hyper-parameters by maximum likelihood."""

    def __init__(self, points: Encoding, accuracies: NDArray[np.float64]) -> None:
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        self._points, self._mean = points, float(accuracies.mean())
        self._spread = float(accuracies.std()) or 1.0
        self._targets = (accuracies - self._mean) / self._spread
        scale = float(np.sqrt(points.shape[1]))  # typical distance of standardised points
        kernel = ConstantKernel(1.0, (0.05, 20.0)) * Matern(
            scale, (0.1 * scale, 20 * scale), nu=2.5
        ) + WhiteKernel(0.05, (1e-4, 1.0))
        self._model = GaussianProcessRegressor(kernel)
        with warnings.catch_warnings():  # a length scale at its bound is no fault of the user's
            warnings.simplefilter("ignore")
            self._model.fit(self._points, self._targets)

    def predict(self, points: Encoding) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of the noise-free accuracy at points (n, k), each (n,)."""
        mean, std = self._model.predict(points, return_std=True)
        return self._mean + self._spread * mean, self._spread * std

    def believe(self, points: Encoding) -> None:
        """Take the accuracy at points (n, k) to be its predicted mean; the kernel stays."""
        from sklearn.base import clone

        self._targets = np.concatenate([self._targets, self._model.predict(points)])
        self._points = np.vstack([self._points, points])
        kernel = self._model.kernel_
        self._model = clone(self._model).set_params(kernel=kernel, optimizer=None)
        self._model.fit(self._points, self._targets)
