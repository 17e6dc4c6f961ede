"""BOSHCODE's three networks of accuracy: the NPN, the teacher and the student.

Sources: Wang, Shi and Yeung 2016 (arXiv 1611.00448, natural-parameter networks); Gal and
Ghahramani 2016 (arXiv 1506.02142, MC dropout); Tuli and Jha (arXiv 2303.13745, BOSHCODE).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn

_MIN_VARIANCE: Final = 1e-6
"""Floor of a variance in standardised units: below it the likelihood of one point diverges."""

_HIDDEN: Final = (48, 24)
"""Widths that fit up to some hundreds of evaluated architectures in well under a second."""


class NPNLinear(nn.Module):
    """A linear layer of Gaussian weights, applied to Gaussian inputs.

    mean' = m·W + b;  variance' = s·σ²_W + s·W² + m²·σ²_W + σ²_b, for inputs of mean m and
    variance s, weights of mean W and variance σ²_W.
    """

    def __init__(self, inputs: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        weight = (2 * torch.rand(outputs, inputs, generator=generator) - 1) * bound
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(outputs))
        # softplus(-6) ≈ 0.0025: weights start nearly certain and learn to be otherwise
        self.weight_rho = nn.Parameter(torch.full((outputs, inputs), -6.0))
        self.bias_rho = nn.Parameter(torch.full((outputs,), -4.0))

    def forward(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Means and variances (n, inputs) to means and variances (n, outputs)."""
        weight_variance = nn.functional.softplus(self.weight_rho)
        bias_variance = nn.functional.softplus(self.bias_rho)
        new_mean = mean @ self.weight.T + self.bias
        new_variance = (
            variance @ (weight_variance + self.weight**2).T
            + mean**2 @ weight_variance.T
            + bias_variance
        )
        return new_mean, new_variance


def rectified_moments(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of max(Z, 0) for Z ~ N(mean, variance), elementwise and exact.

    E = m·Φ(m/√s) + √s·φ(m/√s);  E₂ = (m² + s)·Φ(m/√s) + m·√s·φ(m/√s);  variance' = E₂ − E².
    """
    std = variance.clamp_min(_MIN_VARIANCE).sqrt()
    ratio = mean / std
    below = 0.5 * (1 + torch.erf(ratio / math.sqrt(2)))
    density = torch.exp(-0.5 * ratio**2) / math.sqrt(2 * math.pi)
    first = mean * below + std * density
    second = (mean**2 + std**2) * below + mean * std * density
    return first, (second - first**2).clamp_min(0.0)


class NaturalParameterNetwork(nn.Module):
    """The NPN: propagates a mean and a variance; gives accuracy and its aleatoric variance."""

    def __init__(self, inputs: int, generator: torch.Generator) -> None:
        super().__init__()
        sizes = (inputs, *_HIDDEN, 1)
        self.layers = nn.ModuleList(NPNLinear(a, b, generator) for a, b in pairwise(sizes))

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Points (n, k) to mean (n,) and variance (n,)."""
        mean, variance = points, torch.zeros_like(points)
        for i, layer in enumerate(self.layers):
            if i:
                mean, variance = rectified_moments(mean, variance)
            mean, variance = layer(mean, variance)
        return mean[:, 0], variance[:, 0] + _MIN_VARIANCE


def gaussian_nll(moments: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
    """Heteroscedastic Gaussian likelihood: mean of ½·(ln s + (y − m)² ÷ s), moments m, s (n,)."""
    mean, variance = moments
    return 0.5 * (variance.log() + (target - mean) ** 2 / variance).mean()


class Teacher(nn.Module):
    """A network whose dropout stays on at prediction: the spread over passes is epistemic."""

    def __init__(self, inputs: int, generator: torch.Generator, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.body = _mlp(inputs, generator)
        self._dropout = dropout
        self._generator = generator

    def forward(self, points: Tensor) -> Tensor:
        """One stochastic pass: points (…, n, k) to accuracies (…, n)."""
        hidden = points
        for i, layer in enumerate(self.body):
            if i:
                hidden = self._drop(torch.relu(hidden))
            hidden = layer(hidden)
        return hidden[..., 0]

    @torch.no_grad()
    def spread(self, points: Tensor, *, passes: int = 64) -> Tensor:
        """Standard deviation over stochastic passes, (n,)."""
        spread: Tensor = self(points.expand(passes, *points.shape)).std(dim=0)
        return spread

    def _drop(self, hidden: Tensor) -> Tensor:
        keep = torch.rand(hidden.shape, generator=self._generator) >= self._dropout
        return hidden * keep / (1 - self._dropout)


class Student(nn.Module):
    """A smooth, positive function that learns the teacher's spread so it can be differentiated."""

    def __init__(self, inputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.body = _mlp(inputs, generator)

    def forward(self, points: Tensor) -> Tensor:
        """Points (n, k) to spreads (n,)."""
        hidden = points
        for i, layer in enumerate(self.body):
            hidden = layer(nn.functional.softplus(hidden) if i else hidden)
        return nn.functional.softplus(hidden[:, 0])


def fit(
    parameters: Sequence[nn.Parameter],
    loss: Callable[[], Tensor],
    *,
    steps: int,
    learning_rate: float = 1e-2,
    weight_decay: float = 1e-2,
) -> None:
    """Minimise `loss` by AdamW on the whole batch, the step size falling to zero by a cosine."""
    optimiser = torch.optim.AdamW(
        parameters, lr=learning_rate, weight_decay=weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimiser.step()
        schedule.step()


def _mlp(inputs: int, generator: torch.Generator) -> nn.ModuleList:
    sizes = (inputs, *_HIDDEN, 1)
    layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    with torch.no_grad():
        for layer in layers:
            bound = 1 / math.sqrt(layer.in_features)
            layer.weight.uniform_(-bound, bound, generator=generator)
            layer.bias.zero_()
    return nn.ModuleList(layers)
