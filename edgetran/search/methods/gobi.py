"""GOBI: gradient-based optimisation backwards to the inputs, by second-order steps.

Sources: Tuli et al. 2021 (GOBI); Yao et al. 2021 (arXiv 2006.00719, AdaHessian: the diagonal of
the Hessian estimated by Hutchinson's method, E[z ⊙ Hz] over random signs z).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def ascend(
    function: Callable[[Tensor], Tensor],
    starts: Tensor,
    *,
    lower: Tensor,
    upper: Tensor,
    generator: torch.Generator,
    steps: int = 40,
    learning_rate: float = 0.15,
) -> Tensor:
    """Climb `function` from each of `starts` within a box.

    Args:
        function: points (n, k) to values (n,), twice differentiable, each row by itself.
        starts: (n, k).
        lower: (k,) lower end of the box.
        upper: (k,) upper end of the box.
        generator: source of the random signs.
        steps: number of steps.
        learning_rate: length of a step where gradient and curvature are equal.

    Returns:
        For each start the best point of its path, (n, k): never worse than the start.
    """
    betas, floor = (0.9, 0.999), 1e-4
    points = starts.clone()
    momentum, curvature = torch.zeros_like(points), torch.zeros_like(points)
    best, best_value = starts.clone(), torch.full((len(starts),), -torch.inf)
    for step in range(1, steps + 1):
        points.requires_grad_(True)
        values = function(points)
        with torch.no_grad():
            better = values > best_value
            best[better], best_value[better] = points[better], values[better]
        (gradient,) = torch.autograd.grad(values.sum(), points, create_graph=True)
        signs = 2.0 * torch.randint(2, points.shape, generator=generator).float() - 1
        (product,) = torch.autograd.grad((gradient * signs).sum(), points)
        with torch.no_grad():
            momentum = betas[0] * momentum + (1 - betas[0]) * gradient
            curvature = betas[1] * curvature + (1 - betas[1]) * (signs * product) ** 2
            scale = (curvature / (1 - betas[1] ** step)).sqrt() + floor
            move = learning_rate * momentum / (1 - betas[0] ** step) / scale
            # a nearly flat direction gives a huge Newton step; one unit is one standard deviation
            points = torch.clamp(points + move.clamp(-0.5, 0.5), lower, upper)
    with torch.no_grad():
        values = function(points)
        better = values > best_value
        best[better] = points[better]
    return best
