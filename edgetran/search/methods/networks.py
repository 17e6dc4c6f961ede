"""BOSHCODE's three networks of accuracy: the NPN, the teacher and the student.

Sources: Wang, Shi and Yeung 2016 (arXiv 1611.00448, natural-parameter networks); Gal and
Ghahramani 2016 (arXiv 1506.02142, MC dropout); Tuli and Jha (arXiv 2303.13745, BOSHCODE).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn

_MIN_VARIANCE: Final = 1e-6
"""Floor of a variance inside the network, so that moments of nearly certain units stay finite."""

_NOISE_VARIANCE: Final = 0.02
"""Floor of an output's variance, in units of the accuracies' own: training one architecture with
two seeds differs by about so much, and without it the likelihood rewards learning by heart."""

_PRIOR_SHARE: Final = 0.1
"""Weight of the prior against the likelihood. The full prior (1) leaves networks that have seen
ten architectures with nothing but it; none (0) makes them four times too certain."""

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

    def divergence(self) -> Tensor:
        """KL(N(W, σ²_W) ‖ N(0, 1 ÷ inputs)), summed over the weights."""
        prior = 1 / self.weight.shape[1]
        variance = nn.functional.softplus(self.weight_rho)
        ratio = variance / prior
        divergence: Tensor = 0.5 * (self.weight**2 / prior + ratio - 1 - ratio.log()).sum()
        return divergence


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

    def loss(self, points: Tensor, targets: Tensor) -> Tensor:
        """Negative log-likelihood of targets (n,) at points (n, k), and the pull of the prior."""
        prior = torch.stack([layer.divergence() for layer in self._linear_layers()]).sum()
        return gaussian_nll(self(points), targets) + _PRIOR_SHARE * prior / len(targets)

    def _linear_layers(self) -> list[NPNLinear]:
        return [layer for layer in self.layers if isinstance(layer, NPNLinear)]

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Points (n, k) to mean (n,) and variance (n,)."""
        mean, variance = points, torch.zeros_like(points)
        for i, layer in enumerate(self.layers):
            if i:
                mean, variance = rectified_moments(mean, variance)
            mean, variance = layer(mean, variance)
        return mean[:, 0], variance[:, 0] + _NOISE_VARIANCE


def gaussian_nll(moments: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
    """Heteroscedastic Gaussian likelihood: mean of ½·(ln s + (y − m)² ÷ s), moments m, s (n,)."""
    mean, variance = moments
    return 0.5 * (variance.log() + (target - mean) ** 2 / variance).mean()


class Teacher(nn.Module):
    """Networks whose dropout stays on at prediction: their spread over passes is epistemic.

    Dropout alone spreads no less at trained points than far from them. So each of several members
    also carries a fixed random function that training cannot touch (Osband, Aslanides and Cassirer
    2018, arXiv 1806.03335): members agree where there is data, and differ where there is none.

    Args:
        inputs: width k of a point.
        generator: source of weights, priors and dropout.
        members: number of networks, trained side by side.
        dropout: share of hidden units dropped in each pass.
    """

    def __init__(
        self, inputs: int, generator: torch.Generator, *, members: int = 16, dropout: float = 0.1
    ) -> None:
        super().__init__()
        sizes = (inputs, *_HIDDEN, 1)
        shapes = list(pairwise(sizes))
        self.weights = nn.ParameterList(_members(members, shapes, generator))
        self.biases = nn.ParameterList(torch.zeros(members, 1, b) for _, b in shapes)
        self._prior = _members(members, shapes, generator)
        self._dropout = dropout
        self._generator = generator

    def forward(self, points: Tensor) -> Tensor:
        """One stochastic pass of every member: points (n, k) to accuracies (members, n)."""
        hidden, prior = points, points
        for i, (weight, bias, fixed) in enumerate(
            zip(self.weights, self.biases, self._prior, strict=True)
        ):
            if i:
                hidden, prior = self._drop(torch.relu(hidden)), torch.relu(prior)
            hidden, prior = hidden @ weight + bias, prior @ fixed
        return (hidden + prior)[..., 0]

    def loss(self, points: Tensor, targets: Tensor) -> Tensor:
        """Squared error of every member at points (n, k) with targets (n,), summed over members."""
        errors: Tensor = (self(points) - targets) ** 2
        return errors.mean(dim=1).sum()

    @torch.no_grad()
    def spread(self, points: Tensor, *, passes: int = 4) -> Tensor:
        """Standard deviation over members and stochastic passes at points (n, k), (n,)."""
        return torch.cat([self(points) for _ in range(passes)]).std(dim=0)

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
    network: nn.Module,
    loss: Callable[[], Tensor],
    *,
    steps: int,
    learning_rate: float = 2e-2,
    weight_decay: float = 1e-2,
) -> None:
    """Minimise `loss` by AdamW on the whole batch, the step size falling to zero by a cosine."""
    parameters = list(network.parameters())
    optimiser = torch.optim.AdamW(
        parameters, lr=learning_rate, weight_decay=weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        value = loss()
        value.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimiser.step()
        schedule.step()


def _members(
    members: int, shapes: list[tuple[int, int]], generator: torch.Generator
) -> list[Tensor]:
    """Weights (members, inputs, outputs) of each layer, of the size that keeps a signal's."""
    gains = [1.0] + [2.0] * (len(shapes) - 1)  # rectified inputs carry half of the power
    return [
        torch.randn(members, a, b, generator=generator) * math.sqrt(gain / a)
        for gain, (a, b) in zip(gains, shapes, strict=True)
    ]


def _mlp(inputs: int, generator: torch.Generator) -> nn.ModuleList:
    sizes = (inputs, *_HIDDEN, 1)
    layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    with torch.no_grad():
        for layer in layers:
            bound = 1 / math.sqrt(layer.in_features)
            layer.weight.uniform_(-bound, bound, generator=generator)
            layer.bias.zero_()
    return nn.ModuleList(layers)
