"""A smooth stand-in for the hardware predictors, so that GOBI can climb through it.

Predictors may be forests or tables, which have no gradient. The logarithm of each measure is
nearly linear in the log features of an architecture, so a ridge regression per device follows
them well enough to point the way; what is proposed in the end is judged by the predictors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from edgetran.search.candidates import HARDWARE_MEASURES, Candidate
from edgetran.search.problem import Problem

_RIDGE: Final = 1.0
_MIN_ROWS: Final = 3


@dataclass(frozen=True)
class SmoothHardware:
    """Differentiable hardware value and constraint excess of encodings on devices.

    Attributes:
        problem: whose objective and constraints they follow.
        devices: index of each device.
        lines: per measure, coefficients (devices, k + 1) of its logarithm; the last is constant.
    """

    problem: Problem
    devices: dict[str, int]
    lines: dict[str, Tensor]

    @classmethod
    def fit(cls, problem: Problem, candidates: Sequence[Candidate]) -> SmoothHardware:
        """Fit to what the predictors say of the siblings of `candidates`."""
        siblings = {s.identity: s for c in candidates for s in problem.space.siblings(c)}
        rows = list(siblings.values())
        known = problem.space.known(rows)
        points = problem.space.encode(rows)
        points = np.hstack([points, np.ones((len(rows), 1))])
        lines: dict[str, Tensor] = {}
        devices = problem.space.devices
        for name in (*HARDWARE_MEASURES, "parameters"):
            values = np.array([m.value(name) or np.nan for m in known], dtype=np.float64)
            coefficients = np.zeros((len(devices), points.shape[1]))
            for i, device in enumerate(devices):
                mine = np.array([row.device == device for row in rows]) & (values > 0)
                if mine.sum() >= _MIN_ROWS:
                    coefficients[i] = _ridge(points[mine], np.log(values[mine]))
            lines[name] = torch.tensor(coefficients, dtype=torch.float32)
        return cls(problem, {device: i for i, device in enumerate(devices)}, lines)

    def value(self, points: Tensor, devices: Tensor) -> Tensor:
        """The hardware's part of the objective less the excess over the constraints, (n,).

        Args:
            points: encodings, (n, k).
            devices: index of each point's device, (n,).
        """
        homogeneous = torch.cat([points, torch.ones(len(points), 1)], dim=1)
        logs = {name: (homogeneous * line[devices]).sum(1) for name, line in self.lines.items()}
        total = torch.zeros(len(points))
        objective = self.problem.objective
        for name, span in objective.ranges.items():
            if span.scale == "log":
                low, high = math.log(span.low), math.log(span.high)
                term = 1 - (logs[name] - low) / (high - low)
            else:
                term = 1 - (logs[name].exp() - span.low) / (span.high - span.low)
            total = total + objective.effective_weight(name) * term
        for name, bound in self.problem.constraints.bounds().items():
            if name not in logs:
                continue
            if bound.maximum is not None and bound.maximum > 0:
                total = total - torch.relu(logs[name] - float(np.log(bound.maximum)))
            if bound.minimum is not None and bound.minimum > 0:
                total = total - torch.relu(float(np.log(bound.minimum)) - logs[name])
        return total


def _ridge(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Coefficients (k + 1,) of a ridge regression whose constant (last column) is free."""
    penalty = np.full(points.shape[1], _RIDGE)
    penalty[-1] = 0.0
    solution: np.ndarray = np.linalg.lstsq(
        np.vstack([points, np.diag(np.sqrt(penalty))]),
        np.concatenate([targets, np.zeros(points.shape[1])]),
        rcond=None,
    )[0]
    return solution
