"""What decides a search: the plan that a resource's spec becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgetran.api.field_errors import invalid
from edgetran.devices import Workload
from edgetran.search.candidates import SearchError
from edgetran.search.constraints import Constraints
from edgetran.search.methods import DEFAULT_METHOD
from edgetran.search.objective import Front, Scale, Weights
from edgetran.space import Architecture

if TYPE_CHECKING:
    from edgetran.training import Scoring, TrialSpec


@dataclass(frozen=True)
class SearchPlan:
    """All that decides a search.

    Attributes:
        trial: how to train; its architecture, seed, output and parent are filled in per trial.
        workload: what the devices run.
        weights: of the objective; the published ones where not given, of a front equal ones.
        normalisers: per hardware measure, where its term is 0; by default the design space's range.
        scale: of the costs.
        front: the front that is sought in place of the weighted sum.
        constraints: what the winner must satisfy.
        method: name of the search method.
        method_options: keyword arguments of its strategy.
        max_trials: number of trials, failed ones included.
        initial_trials: how many of them are spread out over the space to begin with.
        parallel_trials: how many run at a time.
        max_failed_trials: the search fails when more trials than this have failed.
        seed: source of all randomness.
        seed_architectures: architectures to try first, e.g. a baseline.
        scored_as: by device, as which artefact a candidate is scored there; on the devices that
            are not named, its accuracy is that of the PyTorch model.

    Raises:
        SearchError: for a number out of range.
    """

    trial: TrialSpec
    workload: Workload
    weights: Weights | None = None
    normalisers: Mapping[str, float] = field(default_factory=dict)
    constraints: Constraints = field(default_factory=Constraints)
    scale: Scale = "log"
    front: Front | None = None
    method: str = DEFAULT_METHOD
    method_options: Mapping[str, Any] = field(default_factory=dict)
    max_trials: int = 12
    initial_trials: int = 6
    parallel_trials: int = 2
    max_failed_trials: int = 3
    seed: int = 0
    seed_architectures: tuple[Architecture, ...] = ()
    scored_as: Mapping[str, Scoring] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("max_trials", "parallel_trials"):
            if getattr(self, name) < 1:
                raise SearchError(f"{name}: {invalid(getattr(self, name), 'must be at least 1')}")
        for name in ("initial_trials", "max_failed_trials", "seed"):
            if getattr(self, name) < 0:
                raise SearchError(f"{name}: {invalid(getattr(self, name), 'must be at least 0')}")

    @property
    def max_positions(self) -> int:
        """Positions of the trained models."""
        options = self.trial.model_options
        return int(options.get("max_position_embeddings", self.trial.plan.max_length))
