"""Search in a table of anybody's: rows with features, perhaps a device, and costs that are known.

No architecture, no device file and no measurement is needed: `make` takes arrays or a DataFrame,
`ask` names rows to evaluate and `tell` reports what came of them. All methods and all of their
guarantees are those of `edgetran.search.asktell`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from edgetran.api.field_errors import invalid, not_found, required, unsupported
from edgetran.devices import Figure, HardwareFigures
from edgetran.search.asktell import Method, Observation
from edgetran.search.candidates import Candidate, Measures, SearchError
from edgetran.search.constraints import Bound, Constraints
from edgetran.search.methods import DEFAULT_METHOD, make_strategy
from edgetran.search.objective import PICKS, Front, Weights
from edgetran.search.pareto import costs, pareto_front
from edgetran.search.picking import pick
from edgetran.search.plain import PlainTable, read_table
from edgetran.search.problem import make_problem
from edgetran.search.spaces import FiniteSpace
from edgetran.space import Architecture

Id = Hashable

STATE_VERSION: Final = 1

_NOWHERE: Final = HardwareFigures(
    Figure.missing("ms", "measured", "not in the table"),
    Figure.missing("mJ", "measured", "not in the table"),
    Figure.missing("W", "measured", "not in the table"),
)
_ACCURACY: Final = "accuracy"
_OBJECTIVE_KEYS: Final = ("weights", "normalisers", "scale", "pareto", "pick", "budget")


def make(
    method: str,
    table: Any,
    *,
    objective: Mapping[str, Any] | str = _ACCURACY,
    constraints: Mapping[str, Mapping[str, float | None]] | None = None,
    seed: int = 0,
    initial: int = 8,
    accuracy_depends_on_device: bool = True,
    **options: Any,
) -> PlainSearch:
    """A search in a table.

    Args:
        method: name of the method, e.g. `bayesian`; see `installed_methods()`.
        table: a DataFrame, a mapping of columns, or a mapping with `features`, an array (rows,
            columns), and optionally `device`, `measures` (a mapping or DataFrame of costs) and
            `id`, each with one entry per row. Of columns, `device` is the device, those that the
            objective or the constraints name are costs, and all others but `accuracy` are features;
            texts become one column per value. Rows are called by their `id`, else by the index of
            the DataFrame, else by their number.
        objective: what to maximise. `"accuracy"` alone; weights, such as
            `{"accuracy": 0.5, "latency": 0.5}`; `{"weights": …, "normalisers": …, "scale": …}`; or
            a front, `{"pareto": ["accuracy", "latency"], "pick": "knee"}`, with pick `knee`,
            `weights` or `budget`. Costs are the less the better; on a log scale over the range of
            the table, unless `scale` is `linear` or a normaliser gives the upper end.
        constraints: bounds, such as `{"accuracy": {"min": 0.9}, "latency": {"max": 5}}`. A measure
            that the table does not have is learned from what is told.
        seed: source of all randomness.
        initial: rows to begin with, before the method learns from them.
        accuracy_depends_on_device: False where rows of equal features have one accuracy, whatever
            their device: telling of one then tells of all.
        options: keyword arguments of the method.

    Raises:
        SearchError: a table, objective, constraint, method or option that cannot be.
        InfeasibleSearchError: no row can satisfy the constraints.

    Example:
        >>> table = {"width": [8, 16, 32], "latency": [1.0, 2.5, 9.0]}
        >>> search = make("bayesian", table, objective={"accuracy": 0.7, "latency": 0.3}, seed=0)
        >>> for row in search.ask(2):
        ...     search.tell(row, {"accuracy": train_and_score(row)})
        >>> search.best
    """
    if initial < 0:
        raise SearchError(f"initial: {invalid(initial, 'must be at least 0')}")
    strategy = make_strategy(method or DEFAULT_METHOD, **options)
    wish = _Wish.read(objective, constraints or {})
    plain = read_table(table, wish.costs, wish.bounded)
    space = _TableSpace(plain, wish, accuracy_depends_on_device=accuracy_depends_on_device)
    problem = make_problem(
        space,
        weights=cast(Weights, wish.weights),
        normalisers=wish.normalisers,
        constraints=PlainConstraints(wish.bounds, space.learned),
        scale=wish.scale,
        front=wish.front,
        seed=seed,
        samples=space.size(),
    )
    inner = _TableMethod(method, problem, strategy, seed=seed, initial=initial)
    return PlainSearch(inner, space, plain, wish)


class PlainSearch:
    """A search in a table; made by `make`."""

    def __init__(
        self, method: _TableMethod, space: _TableSpace, table: PlainTable, wish: _Wish
    ) -> None:
        self._method, self._space, self._table, self._wish = method, space, table, wish
        self._rows = {name: row for row, name in enumerate(table.ids)}

    def ask(self, n: int = 1) -> list[Id]:
        """`n` rows to evaluate next, or fewer where there are no more; pending until told of.

        Raises:
            SearchError: for a negative `n`.
        """
        return [self._table.ids[self._space.row(each)] for each in self._method.ask(n)]

    def tell(self, id: Id, measures: Mapping[str, float] | float) -> None:  # noqa: A002
        """Report an evaluated row, whether or not it was asked for.

        Args:
            id: of the row.
            measures: its accuracy, or a mapping with `accuracy` and what else is learned.

        Raises:
            SearchError: no row of the table, a value that is no finite number or no score, a value
                that contradicts the table or an earlier tell. Nothing is changed then.
        """
        candidate = self._candidate(id)
        told = self._told(id, measures)
        row = self._space.measures(candidate).told(told)
        before = self._method.measures_of(candidate)
        if before is not None:
            if before.to_dict() == row.to_dict():
                return
            raise SearchError(
                f"id: {id!r} was reported before with other measures; each row is evaluated once"
            )
        siblings = (
            [candidate]
            if self._space.accuracy_depends_on_device
            else self._space.siblings(candidate)
        )
        for sibling in siblings:
            if self._method.measures_of(sibling) is None:
                self._method.tell(sibling, self._space.measures(sibling).told(told))

    def tell_failure(self, id: Id) -> None:  # noqa: A002
        """Report that evaluating a row failed: no data point, and never asked for again.

        Raises:
            SearchError: no row of the table, or it was told of with measures.
        """
        self._method.tell_failure(self._candidate(id))

    @property
    def best(self) -> tuple[Id, dict[str, float]] | None:
        """The best feasible row told of and its measures; None while there is none.

        Where a front is sought, the point of it that the rule picks.
        """
        feasible = [o for o in self._method.observations if o.feasible]
        if not feasible:
            return None
        if self._wish.front is not None:
            front = self._front()
            chosen = front[pick([o.measures for o in front], self._method.problem.objective)]
        else:
            chosen = max(feasible, key=lambda o: o.rank)
        return self._id(chosen), self._shown(chosen)

    @property
    def pareto(self) -> list[tuple[Id, dict[str, float]]]:
        """The feasible rows told of that no other dominates, in accuracy and the costs."""
        return [(self._id(o), self._shown(o)) for o in self._front()]

    @property
    def nearest(self) -> str | None:
        """While nothing is feasible: which row misses its bounds by least, and by how much."""
        told = self._method.observations
        if not told or any(o.feasible for o in told):
            return None
        near = min(told, key=lambda o: o.excess)
        reason = self._method.problem.judge(near.measures)[1]
        return f"{self._id(near)!r}: {reason}, missed by {near.excess:.1%}"

    def predict(self, ids: Sequence[Id]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Accuracies that evaluating rows would give, and their standard deviations, each (n,).

        By the Gaussian process of method `bayesian`, whatever the method.

        Raises:
            SearchError: no row of the table, or fewer than three told of.
        """
        from edgetran.search.methods.surrogate import MeasureSurrogate

        points, values = self._method.knowledge().accuracies()
        if len(values) < 3:
            raise SearchError(f"predict: {len(values)} rows reported; at least 3 are needed")
        surrogate = MeasureSurrogate(points, values)
        mean, std = surrogate.predict(self._space.encode([self._candidate(each) for each in ids]))
        return mean, np.hypot(std, surrogate.noise)

    def state_dict(self) -> dict[str, Any]:
        """All of the search's state as plain JSON data, without the table."""
        return {
            "version": STATE_VERSION,
            "table": self._table.fingerprint,
            "wish": self._wish.fingerprint,
            "search": self._method.state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the state of a search of the same method and seed in the same table.

        Raises:
            SearchError: the state is of another search. Nothing is changed then.
        """
        own = {
            "version": STATE_VERSION,
            "wish": self._wish.fingerprint,
            "table": self._table.fingerprint,
        }
        if not isinstance(state, Mapping):
            raise SearchError(f"state: {invalid(state, 'must be a mapping')}")
        words = {"table": "another table", "wish": "another objective or other constraints"}
        for key, value in own.items():
            if state.get(key) != value:
                raise SearchError(
                    f"state.{key}: of {words.get(key, 'another version')}; must be the state of a "
                    "search in the same table with the same objective and constraints"
                )
        if not isinstance(state.get("search"), Mapping):
            raise SearchError(f"state.search: {required('must be what state_dict gives')}")
        self._method.restore(state["search"])

    def _front(self) -> list[Observation]:
        feasible = [o for o in self._method.observations if o.feasible]
        axes = self._method.problem.objective.pareto or (_ACCURACY, *self._wish.costs)
        return [feasible[i] for i in pareto_front(costs([o.measures for o in feasible], axes))]

    def _candidate(self, id: Id) -> Candidate:  # noqa: A002
        try:
            return self._space.candidates[self._rows[id]]
        except (KeyError, TypeError):
            raise SearchError(f"id: {not_found(id, 'the table has no such row')}") from None

    def _told(self, id: Id, measures: Mapping[str, float] | float) -> dict[str, float]:  # noqa: A002
        """What was told of the learned measures, checked."""
        given = measures if isinstance(measures, Mapping) else {_ACCURACY: measures}
        told: dict[str, float] = {}
        known = self._space.measures(self._candidate(id)).known
        for name, value in given.items():
            number = _number(value)
            if number is None:
                what = f"must be a finite number, of {id!r}"
                raise SearchError(f"{name}: {invalid(value, what)}")
            if name == _ACCURACY and not -1 <= number <= 1:
                what = "must be a score of at most 1, such as 0.873"
                raise SearchError(f"accuracy: {invalid(number, what)}")
            if name in self._space.learned:
                told[name] = number
            elif name in known and not math.isclose(known[name], number, rel_tol=1e-9):
                what = f"must be what the table says of {id!r}, {known[name]:g}"
                raise SearchError(f"{name}: {invalid(number, what)}")
        missing = [name for name in self._space.learned if name not in told]
        if missing:
            raise SearchError(
                f"{missing[0]}: not reported for {id!r}; report a failure with tell_failure"
            )
        return told

    def _id(self, observation: Observation) -> Id:
        return self._table.ids[self._space.row(observation.candidate)]

    @staticmethod
    def _shown(observation: Observation) -> dict[str, float]:
        measures = cast(RowMeasures, observation.measures)
        return {_ACCURACY: measures.accuracy.value or 0.0, **measures.known}


@dataclass(frozen=True, slots=True)
class RowMeasures(Measures):
    """What is known of a row: accuracy once it is told, and measures of any name."""

    known: Mapping[str, float]

    def figure(self, name: str) -> Figure:
        """The figure of a measure; missing where neither the table nor a tell has it."""
        if name == _ACCURACY:
            return self.accuracy
        value = self.known.get(name)
        if value is None:
            return Figure.missing("", "measured", "not told")
        return Figure(value, "", "measured")

    def value(self, name: str) -> float | None:
        """The value of a measure, None where it is not known."""
        return self.accuracy.value if name == _ACCURACY else self.known.get(name)

    def told(self, measures: Mapping[str, float]) -> RowMeasures:
        """With what was told of the learned measures."""
        others = {name: value for name, value in measures.items() if name != _ACCURACY}
        accuracy = Figure(measures[_ACCURACY], "", "measured")
        return RowMeasures(accuracy, self.hardware, 0, {**self.known, **others})

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {_ACCURACY: self.accuracy.value, **self.known}


class PlainWeights:
    """Weights of measures of any name."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        for name, value in weights.items():
            if _number(value) is None or value < 0:
                raise SearchError(f"weights.{name}: {invalid(value, 'must be at least 0')}")
        if not any(value > 0 for value in weights.values()):
            raise SearchError(f"weights: {invalid(0, 'must have at least one above 0')}")
        self._weights = {name: float(value) for name, value in weights.items()}
        self.accuracy = self._weights.get(_ACCURACY, 0.0)
        self.costs = tuple(n for n, w in self._weights.items() if n != _ACCURACY and w > 0)

    def of(self, measure: str) -> float:
        """The weight of a measure."""
        return self._weights.get(measure, 0.0)

    def to_dict(self) -> dict[str, float]:
        """Plain JSON data."""
        return dict(self._weights)


class PlainConstraints(Constraints):
    """Bounds on measures of any name."""

    _learned: tuple[str, ...]

    def __init__(self, bounds: Mapping[str, Bound], learned: Sequence[str]) -> None:
        super().__init__()
        object.__setattr__(self, "_bounds", dict(bounds))
        object.__setattr__(self, "_learned", tuple(learned))

    @property
    def learned(self) -> tuple[str, ...]:
        """The measures that are told, not looked up."""
        return self._learned


@dataclass(frozen=True)
class _Wish:
    """Objective and constraints as asked for, read."""

    weights: PlainWeights
    normalisers: dict[str, float]
    scale: Any
    front: Front | None
    bounds: dict[str, Bound]

    @property
    def costs(self) -> tuple[str, ...]:
        """The costs that the objective names."""
        front = () if self.front is None else self.front.costs
        return tuple(dict.fromkeys((*front, *self.weights.costs)))

    @property
    def bounded(self) -> tuple[str, ...]:
        """The measures beside accuracy that are bounded."""
        return tuple(name for name in self.bounds if name != _ACCURACY)

    @property
    def fingerprint(self) -> str:
        """Identity of the objective and the constraints."""
        front = None if self.front is None else [*self.front.axes, self.front.pick]
        budget = {} if self.front is None else dict(self.front.budget)
        bounds = {name: [bound.minimum, bound.maximum] for name, bound in self.bounds.items()}
        parts = [self.weights.to_dict(), self.normalisers, self.scale, front, budget, bounds]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    @classmethod
    def read(
        cls, objective: Mapping[str, Any] | str, constraints: Mapping[str, Mapping[str, Any]]
    ) -> _Wish:
        if isinstance(objective, str):
            objective = {objective: 1.0}
        if not isinstance(objective, Mapping) or not objective:
            what = "must be weights by measure, or pareto with its axes"
            raise SearchError(f"objective: {invalid(objective, what)}")
        if not any(key in _OBJECTIVE_KEYS for key in objective):
            objective = {"weights": objective}
        for key in objective:
            if key not in _OBJECTIVE_KEYS:
                raise SearchError(f"objective: {unsupported(key, _OBJECTIVE_KEYS)}")
        front = None
        if objective.get("pareto"):
            rule = objective.get("pick", "knee")
            if rule not in PICKS:
                raise SearchError(f"pick: {unsupported(rule, PICKS)}")
            budget = {name: float(most) for name, most in objective.get("budget", {}).items()}
            front = Front(tuple(objective["pareto"]), rule, budget)
        axes = () if front is None else front.axes
        weights = objective.get("weights") or dict.fromkeys(axes, 1.0)
        return cls(
            PlainWeights(weights),
            dict(objective.get("normalisers", {})),
            objective.get("scale", "log"),
            front,
            _bounds(constraints),
        )


def _bounds(constraints: Mapping[str, Mapping[str, Any]]) -> dict[str, Bound]:
    bounds: dict[str, Bound] = {}
    for name, bound in constraints.items():
        if not isinstance(bound, Mapping) or set(bound) - {"min", "max"} or not bound:
            what = "must be a mapping with min, max or both"
            raise SearchError(f"constraints.{name}: {invalid(bound, what)}")
        try:
            bounds[name] = Bound(bound.get("min"), bound.get("max"))
        except SearchError as error:
            raise SearchError(f"constraints.{name}.{error}") from None
    return bounds


@dataclass(frozen=True)
class _Entry:
    """What stands in a candidate in the place of an architecture: a row, or rows of equal features.

    Attributes:
        group: number of the first of these rows.
        name: of that row.
    """

    group: int
    name: str

    @property
    def canonical_json(self) -> str:
        return str(self.group)

    @property
    def graph_hash(self) -> str:
        return self.name

    def to_model_dict(self) -> dict[str, int]:
        return {"row": self.group}


class _TableSpace(FiniteSpace):
    """The rows of a table."""

    def __init__(self, table: PlainTable, wish: _Wish, *, accuracy_depends_on_device: bool) -> None:
        groups = list(range(len(table.ids)))
        if not accuracy_depends_on_device:
            _, first, inverse = np.unique(
                table.features, axis=0, return_index=True, return_inverse=True
            )
            groups = first[np.ravel(inverse)].tolist()
        candidates = [
            Candidate(cast(Architecture, _Entry(group, repr(table.ids[group]))), device)
            for group, device in zip(groups, table.devices, strict=True)
        ]
        untrained = Figure.missing("", "measured", "not told")
        columns = {name: values.tolist() for name, values in table.measures.items()}
        known = [
            RowMeasures(untrained, _NOWHERE, 0, {name: c[row] for name, c in columns.items()})
            for row in range(len(candidates))
        ]
        super().__init__(
            candidates,
            known,
            table.features,
            accuracy_depends_on_device=accuracy_depends_on_device,
        )
        self.learned = (_ACCURACY, *(name for name in wish.bounded if name not in columns))

    def row(self, candidate: Candidate) -> int:
        """Number of a candidate's row."""
        return self._row(candidate)

    def measures(self, candidate: Candidate) -> RowMeasures:
        """What the table says of a row."""
        return cast(RowMeasures, self.known([candidate])[0])

    def candidate(self, group: int, device: str) -> Candidate:
        """The candidate of a row."""
        try:
            return next(c for c in self._by_architecture[str(group)] if c.device == device)
        except (KeyError, StopIteration):
            raise SearchError(f"table: has no row {group} on {device}") from None


class _TableMethod(Method):
    """A method whose candidates are rows."""

    def measures_of(self, candidate: Candidate) -> Measures | None:
        """What was told of a candidate."""
        observation = self._observations.get(candidate.identity)
        return None if observation is None else observation.measures

    def _candidate(self, row: Mapping[str, Any]) -> Candidate:
        space = cast(_TableSpace, self.problem.space)
        return space.candidate(row["architecture"]["row"], row["device"])

    def _measures(self, row: Mapping[str, Any]) -> Measures:
        known = {name: float(value) for name, value in row.items() if name != _ACCURACY}
        accuracy = Figure(float(row[_ACCURACY]), "", "measured")
        return RowMeasures(accuracy, _NOWHERE, 0, known)


def _number(value: Any) -> float | None:
    """A finite number as a float, None for anything else."""
    if isinstance(value, bool | str | bytes) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
