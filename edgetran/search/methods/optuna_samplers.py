"""Optuna's samplers as methods: TPE, NSGA-II, NSGA-III and GPSampler (extra `optuna`).

A candidate is a vector of parameters to them. Of a design space it is the published embedding, each
integer a parameter, and the device: every vector is a candidate, so that nothing is snapped. Of a
table it is the features; the row nearest to a vector that may be asked for stands for it.

The study lives in memory and is made anew from what was told, so a method's state stays its
history.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from edgetran.search.asktell import Knowledge, Observation, Proposal
from edgetran.search.candidates import Candidate, SearchError
from edgetran.search.pareto import costs
from edgetran.search.spaces import FiniteSpace, PairSpace, SearchSpace
from edgetran.space import Architecture, embedding

if TYPE_CHECKING:
    import optuna

_TRIES: Final = 8
"""Vectors asked for per proposal: some are of candidates that may not be proposed."""

_CONSTRAINTS: Final = "constraints"
"""Where Optuna's samplers look for how far a finished trial is from feasible."""

Parameters = Mapping[str, Any]


class View(Protocol):
    """A space as vectors of parameters."""

    def distributions(self) -> dict[str, Any]:
        """Optuna's distribution of each parameter."""

    def parameters(self, candidate: Candidate) -> dict[str, Any]:
        """The vector of a candidate."""

    def candidates(self, parameters: Parameters, count: int) -> list[Candidate]:
        """The candidate of a vector, or up to `count` near it, the nearest first."""


class OptunaSampler:
    """A sampler of Optuna as a strategy.

    Args:
        sampler: makes it from a seed and a function that says how far a trial is from feasible.
    """

    minimum_observations = 1

    def __init__(self, sampler: Callable[[int, Callable[..., Sequence[float]]], Any]) -> None:
        self._sampler = sampler

    def suggest(self, knowledge: Knowledge, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Candidates of the vectors that the sampler asks for."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        view = _view(knowledge.problem.space)
        distributions = view.distributions()
        axes = knowledge.problem.objective.pareto
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Optuna calls experimental
            study = optuna.create_study(
                directions=["minimize"] * max(1, len(axes)),
                sampler=self._sampler(int(rng.integers(2**31)), _excess),
            )
            for observation in knowledge.observations:
                values = _values(observation, axes)
                if values is not None:
                    study.add_trial(
                        optuna.trial.create_trial(
                            params=view.parameters(observation.candidate),
                            distributions=distributions,
                            values=values,
                            system_attrs={_CONSTRAINTS: [observation.excess]},
                        )
                    )
            return self._ask(study, view, knowledge, n)

    @staticmethod
    def _ask(study: optuna.Study, view: View, knowledge: Knowledge, n: int) -> list[Proposal]:
        proposals: dict[tuple[str, str], Proposal] = {}
        distributions = view.distributions()
        for _ in range(_TRIES * n):
            trial = study.ask(distributions)
            near = view.candidates(trial.params, len(knowledge.taken) + _TRIES)
            for candidate in knowledge.new_feasible(near)[:1]:
                proposals.setdefault(candidate.identity, Proposal(candidate, "sampler"))
            if len(proposals) >= n:
                break
        return list(proposals.values())


def tpe() -> OptunaSampler:
    """The tree-structured Parzen estimator (Watanabe 2023, arXiv 2304.11127)."""
    samplers = _samplers()
    return OptunaSampler(
        lambda seed, excess: samplers.TPESampler(
            seed=seed, multivariate=True, n_startup_trials=1, constraints_func=excess
        )
    )


def nsga2() -> OptunaSampler:
    """NSGA-II."""
    samplers = _samplers()
    return OptunaSampler(
        lambda seed, excess: samplers.NSGAIISampler(
            seed=seed, population_size=20, constraints_func=excess
        )
    )


def nsga3() -> OptunaSampler:
    """NSGA-III."""
    samplers = _samplers()
    return OptunaSampler(
        lambda seed, excess: samplers.NSGAIIISampler(
            seed=seed, population_size=20, constraints_func=excess
        )
    )


def gaussian_process() -> OptunaSampler:
    """Optuna's own Gaussian process."""
    samplers = _samplers()
    return OptunaSampler(
        lambda seed, excess: samplers.GPSampler(
            seed=seed, n_startup_trials=1, constraints_func=excess, deterministic_objective=True
        )
    )


def _samplers() -> Any:
    import optuna

    return optuna.samplers


def _excess(trial: Any) -> Sequence[float]:
    found: Sequence[float] = trial.system_attrs.get(_CONSTRAINTS, (0.0,))
    return found


def _values(observation: Observation, axes: Sequence[str]) -> list[float] | None:
    if axes:
        row = costs([observation.measures], axes)[0]
        return None if np.isnan(row).any() else [float(value) for value in row]
    return None if observation.value is None else [-observation.value]


def _view(space: SearchSpace) -> View:
    if isinstance(space, PairSpace):
        return _PairView(space)
    if isinstance(space, FiniteSpace):
        return _TableView(space)
    raise SearchError(f"method: optuna's samplers cannot search a {type(space).__name__}")


class _PairView:
    """The embedding and the device."""

    def __init__(self, space: PairSpace) -> None:
        self._space = space

    def distributions(self) -> dict[str, Any]:
        from optuna.distributions import CategoricalDistribution, IntDistribution

        design = self._space.design_space
        options = (
            len(design.hidden_sizes),
            design.feed_forward_options,
            design.attention_options,
        )
        ends = [len(design.num_layers), *options * design.max_layers]
        made: dict[str, Any] = {f"e{i:03d}": IntDistribution(0, e - 1) for i, e in enumerate(ends)}
        if len(self._space.devices) > 1:
            made["device"] = CategoricalDistribution(self._space.devices)
        return made

    def parameters(self, candidate: Candidate) -> dict[str, Any]:
        encoded = embedding.encode(self._space.design_space, candidate.architecture).tolist()
        vector: dict[str, Any] = {f"e{i:03d}": value for i, value in enumerate(encoded)}
        if len(self._space.devices) > 1:
            vector["device"] = candidate.device
        return vector

    def candidates(self, parameters: Parameters, count: int) -> list[Candidate]:  # noqa: ARG002
        design = self._space.design_space
        encoded = [int(parameters[f"e{i:03d}"]) for i in range(1 + 3 * design.max_layers)]
        used = 1 + 3 * design.num_layers[encoded[0]]
        padded = encoded[:used] + [0] * (len(encoded) - used)
        architecture: Architecture = embedding.decode(design, padded)
        return [Candidate(architecture, parameters.get("device", self._space.devices[0]))]


class _TableView:
    """The features."""

    def __init__(self, space: FiniteSpace) -> None:
        self._space = space
        self._low, self._high = space.box()

    def distributions(self) -> dict[str, Any]:
        from optuna.distributions import FloatDistribution

        pairs = zip(self._low, self._high, strict=True)
        return {
            f"x{i:05d}": FloatDistribution(float(low), float(high))
            for i, (low, high) in enumerate(pairs)
        }

    def parameters(self, candidate: Candidate) -> dict[str, Any]:
        row = self._space.place(candidate)
        return {f"x{i:05d}": float(value) for i, value in enumerate(row)}

    def candidates(self, parameters: Parameters, count: int) -> list[Candidate]:
        point = np.array([parameters[name] for name in sorted(parameters)], dtype=np.float64)
        return self._space.nearest(point, min(self._space.size(), count))
