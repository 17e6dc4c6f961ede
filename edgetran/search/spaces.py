"""Search spaces: a design space on devices (PairSpace), or a finite table (FiniteSpace).

Both give the methods the same things: valid candidates, one-step changes, an encoding in which
distances mean something, and what is known before training (hardware figures, parameters).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from edgetran.api.field_errors import duplicate, required, unsupported
from edgetran.devices import Workload
from edgetran.search.candidates import Candidate, Measures, SearchError
from edgetran.space import (
    FEATURE_NAMES,
    SUMMARY_FEATURES,
    Architecture,
    DesignSpace,
    feature_matrix,
    sampling,
    steps,
)

if TYPE_CHECKING:
    from edgetran.profiling import Predictor

Encoding = NDArray[np.float64]

_REFERENCE_SIZE: Final = 512
"""Architectures that set the scale of the encoding: enough for stable means and spreads."""

_PARAMETERS: Final = FEATURE_NAMES.index("parameters")

_TABLE_NEIGHBOURS: Final = 8
"""Nearest rows of a table that count as one step away."""


class SearchSpace(Protocol):
    """Where a method searches."""

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices."""

    @property
    def accuracy_depends_on_device(self) -> bool:
        """False where one training tells the accuracy on every device."""

    @property
    def learned(self) -> tuple[str, ...]:
        """The measures that only an evaluation tells; accuracy is one."""

    @property
    def cheap_pool(self) -> int:
        """How many candidates a method may look at for one proposal without it being felt."""

    def size(self) -> int:
        """Number of candidates."""

    def key(self, candidate: Candidate) -> str:
        """Identity of what is trained: candidates of one key share one training."""

    def siblings(self, candidate: Candidate) -> list[Candidate]:
        """The candidates of the same architecture, one per device that has one."""

    def sample(self, n: int, rng: np.random.Generator) -> list[Candidate]:
        """At most `n` distinct candidates at random (fewer where there are no more)."""

    def neighbours(self, candidate: Candidate) -> list[Candidate]:
        """Every candidate one step away: in the architecture or in the device."""

    def mutate(self, candidate: Candidate, rng: np.random.Generator) -> Candidate:
        """A random candidate one step away."""

    def crossover(self, a: Candidate, b: Candidate, rng: np.random.Generator) -> Candidate:
        """A random candidate made of parts of two."""

    def encode(self, candidates: Sequence[Candidate]) -> Encoding:
        """What accuracy is learned from: (n, k), each column standardised over the space."""

    def known(self, candidates: Sequence[Candidate]) -> list[Measures]:
        """What is known before training."""


class PairSpace:
    """A design space on devices, whose figures come from predictors.

    Args:
        design_space: the architectures.
        predictors: one per device.
        workload: sequence length and batch size of the features; vocabulary and labels of the
            parameter count.
        max_positions: rows of the position embedding, at least the workload's sequence length.

    Raises:
        SearchError: no predictor, or two of one device.
        CostError: a workload that no model of the space can run.
    """

    accuracy_depends_on_device = False
    learned = ("accuracy",)
    cheap_pool = 256  # features of a new architecture take a fraction of a millisecond

    def __init__(
        self,
        design_space: DesignSpace,
        predictors: Sequence[Predictor],
        workload: Workload,
        *,
        max_positions: int = 512,
    ) -> None:
        names = [predictor.device for predictor in predictors]
        if not names:
            raise SearchError(f"devices: {required('must have at least one device')}")
        for name in names:
            if names.count(name) > 1:
                raise SearchError(f"devices: {duplicate(name)}")
        self.design_space = design_space
        self.devices = tuple(names)
        self._predictors = dict(zip(names, predictors, strict=True))
        self._workload = workload
        self._max_positions = max_positions
        self._known: dict[tuple[str, str], Measures] = {}
        self._features: dict[str, Encoding] = {}
        reference = sampling.sample(
            design_space, _REFERENCE_SIZE, np.random.default_rng(0), distinct=False
        )
        self._scale = _Scale(self._described(reference))

    def size(self) -> int:
        """Number of candidates."""
        return self.design_space.cardinality() * len(self.devices)

    def key(self, candidate: Candidate) -> str:
        """The architecture's graph hash."""
        return candidate.architecture.graph_hash

    def siblings(self, candidate: Candidate) -> list[Candidate]:
        """The architecture on every device."""
        return [Candidate(candidate.architecture, device) for device in self.devices]

    def sample(self, n: int, rng: np.random.Generator) -> list[Candidate]:
        """Distinct candidates: the architecture hierarchical, the device uniform."""
        n = min(n, self.size())
        architectures = sampling.sample(self.design_space, n, rng)
        drawn = rng.integers(len(self.devices), size=len(architectures))
        pairs = [
            Candidate(architecture, self.devices[device])
            for architecture, device in zip(architectures, drawn, strict=True)
        ]
        if len(pairs) < n:  # fewer architectures than asked for: the rest on their other devices
            taken = {pair.identity for pair in pairs}
            rest = [p for pair in pairs for p in self.siblings(pair) if p.identity not in taken]
            order = rng.permutation(len(rest))[: n - len(pairs)]
            pairs += [rest[i] for i in order]
        return pairs

    def neighbours(self, candidate: Candidate) -> list[Candidate]:
        """The architecture on other devices, then its neighbours on the same device."""
        others = [pair for pair in self.siblings(candidate) if pair.device != candidate.device]
        near = steps.neighbours(self.design_space, candidate.architecture)
        return others + [Candidate(architecture, candidate.device) for architecture in near]

    def mutate(self, candidate: Candidate, rng: np.random.Generator) -> Candidate:
        """One step in the architecture; on another device with probability 1/4."""
        device = candidate.device
        if len(self.devices) > 1 and rng.random() < 0.25:
            others = [name for name in self.devices if name != device]
            device = others[int(rng.integers(len(others)))]
        return Candidate(steps.mutate(self.design_space, candidate.architecture, rng), device)

    def crossover(self, a: Candidate, b: Candidate, rng: np.random.Generator) -> Candidate:
        """Depth and device of either parent, each layer from either that has it."""
        first, second = (a, b) if rng.random() < 0.5 else (b, a)
        layers = list(steps.project(self.design_space, first.architecture).layers)
        others = steps.project(self.design_space, second.architecture).layers
        for i in range(min(len(layers), len(others))):
            if rng.random() < 0.5:
                layers[i] = others[i]
        device = a.device if rng.random() < 0.5 else b.device
        return Candidate(Architecture(tuple(layers)), device)

    def encode(self, candidates: Sequence[Candidate]) -> Encoding:
        """Standardised log features of the architectures, (n, k)."""
        return self._scale(self._described([candidate.architecture for candidate in candidates]))

    def known(self, candidates: Sequence[Candidate]) -> list[Measures]:
        """The predicted figures on each candidate's device, and its parameter count.

        Raises:
            SearchError: for a device that is not of this space.
        """
        for device in {candidate.device for candidate in candidates}:
            if device not in self._predictors:
                raise SearchError(f"device: {unsupported(device, self.devices)}")
            wanted = {
                c.identity: c.architecture
                for c in candidates
                if c.device == device and c.identity not in self._known
            }
            if not wanted:
                continue
            architectures = list(wanted.values())
            predicted = self._predictors[device].predict(architectures)
            counts = self._described(architectures)[:, _PARAMETERS]
            for identity, figures, count in zip(wanted, predicted, counts, strict=True):
                self._known[identity] = Measures.untrained(figures, int(count))
        return [self._known[candidate.identity] for candidate in candidates]

    def _described(self, architectures: Sequence[Architecture]) -> Encoding:
        """Features (n, k), each architecture's computed once."""
        wanted = {a.canonical_json: a for a in architectures}
        missing = {name: a for name, a in wanted.items() if name not in self._features}
        if missing:
            rows = feature_matrix(
                missing.values(),
                self._workload.sequence_length,
                self._workload.batch_size,
                vocab_size=self._workload.vocab_size,
                max_positions=self._max_positions,
                num_labels=self._workload.num_labels,
            )
            # Accuracy follows from what the model is, not from how a device runs it.
            self._features.update(zip(missing, rows[:, :SUMMARY_FEATURES], strict=True))
        features = [self._features[a.canonical_json] for a in architectures]
        return np.array(features).reshape(len(features), SUMMARY_FEATURES)


class FiniteSpace:
    """A finite table of candidates whose figures are given, e.g. a benchmark's.

    Args:
        candidates: the rows, all different.
        known: what is known of each before training.
        features: (n, k) numbers that describe each row's architecture.
        accuracy_depends_on_device: True where a row's accuracy holds on its own device only; the
            encoding then names the device.

    Raises:
        SearchError: an empty table, a row given twice, lengths that differ, or features that are
            no matrix of finite numbers.
    """

    learned: tuple[str, ...] = ("accuracy",)
    cheap_pool = 4096

    def __init__(
        self,
        candidates: Sequence[Candidate],
        known: Sequence[Measures],
        features: Encoding,
        *,
        accuracy_depends_on_device: bool = False,
    ) -> None:
        if not candidates:
            raise SearchError("table: has no candidates; at least one is needed")
        if not len(candidates) == len(known) == len(features):
            raise SearchError(
                f"table: {len(candidates)} candidates, {len(known)} known measures and "
                f"{len(features)} rows of features given; their numbers must be equal"
            )
        features = _checked(features)
        self._rows = {candidate.identity: i for i, candidate in enumerate(candidates)}
        if len(self._rows) < len(candidates):
            raise SearchError("table: a candidate is given twice; rows must differ")
        self.candidates = tuple(candidates)
        self.devices = tuple(dict.fromkeys(candidate.device for candidate in candidates))
        self.accuracy_depends_on_device = accuracy_depends_on_device
        self._known_rows = list(known)
        features = _Scale(features)(features)
        one_hot = np.array([[c.device == d for d in self.devices] for c in candidates], dtype=float)
        self._located = np.hstack([features, one_hot])  # where steps are measured
        self._encoded = self._located if accuracy_depends_on_device else features
        self._squares = (self._located**2).sum(axis=1)
        self._neighbours: dict[int, list[Candidate]] = {}
        self._by_architecture: dict[str, list[Candidate]] = {}
        for candidate in candidates:
            name = candidate.architecture.canonical_json
            self._by_architecture.setdefault(name, []).append(candidate)

    def size(self) -> int:
        """Number of candidates."""
        return len(self.candidates)

    def key(self, candidate: Candidate) -> str:
        """The architecture's graph hash, with the device where accuracy depends on it."""
        name = candidate.architecture.graph_hash
        return f"{name}@{candidate.device}" if self.accuracy_depends_on_device else name

    def siblings(self, candidate: Candidate) -> list[Candidate]:
        """The rows of the same architecture."""
        return list(self._by_architecture.get(candidate.architecture.canonical_json, []))

    def sample(self, n: int, rng: np.random.Generator) -> list[Candidate]:
        """Distinct rows, uniform."""
        return [self.candidates[i] for i in rng.permutation(len(self.candidates))[:n]]

    def neighbours(self, candidate: Candidate) -> list[Candidate]:
        """The nearest rows."""
        row = self._row(candidate)
        if row not in self._neighbours:
            near = self._nearest(self._located[row], _TABLE_NEIGHBOURS, {row})
            self._neighbours[row] = near
        return self._neighbours[row]

    def mutate(self, candidate: Candidate, rng: np.random.Generator) -> Candidate:
        """One of the nearest rows; the candidate itself in a table of one row."""
        near = self.neighbours(candidate)
        return near[int(rng.integers(len(near)))] if near else candidate

    def crossover(self, a: Candidate, b: Candidate, rng: np.random.Generator) -> Candidate:
        """The row nearest to a random point between two."""
        share = rng.random()
        point = share * self._located[self._row(a)] + (1 - share) * self._located[self._row(b)]
        return (self._nearest(point, 1, {self._row(a), self._row(b)}) or [a])[0]

    def encode(self, candidates: Sequence[Candidate]) -> Encoding:
        """Standardised features, with the device where accuracy depends on it, (n, k)."""
        return self._encoded[[self._row(candidate) for candidate in candidates]]

    def known(self, candidates: Sequence[Candidate]) -> list[Measures]:
        """What the table says of each candidate before training."""
        return [self._known_rows[self._row(candidate)] for candidate in candidates]

    def place(self, candidate: Candidate) -> Encoding:
        """Where a candidate lies among the rows, its device included, (k,)."""
        place: Encoding = self._located[self._row(candidate)]
        return place

    def box(self) -> tuple[Encoding, Encoding]:
        """The least and the most of each number of `place`, each (k,)."""
        return self._located.min(axis=0), self._located.max(axis=0)

    def nearest(self, point: Encoding, count: int) -> list[Candidate]:
        """The `count` rows nearest to a point (k,), the nearest first."""
        return self._nearest(point, count, set())

    def _row(self, candidate: Candidate) -> int:
        try:
            return self._rows[candidate.identity]
        except KeyError:
            raise SearchError(
                f"table: has no {candidate.architecture.graph_hash} on {candidate.device}"
            ) from None

    def _nearest(self, point: Encoding, count: int, without: set[int]) -> list[Candidate]:
        gaps = self._squares - 2 * (self._located @ point)  # less the point's own square
        gaps[list(without)] = np.inf
        count = min(count, len(gaps) - len(without))
        if count <= 0:
            return []
        near = np.argpartition(gaps, count - 1)[:count]
        return [self.candidates[i] for i in near[np.lexsort((near, gaps[near]))]]


def _checked(features: Encoding) -> Encoding:
    """Features as a matrix of finite numbers.

    Raises:
        SearchError: they are none; says where.
    """
    try:
        matrix = np.asarray(features, dtype=np.float64)
    except (TypeError, ValueError):
        raise SearchError("table.features: not all are numbers") from None
    if matrix.ndim != 2 or not matrix.shape[1]:
        raise SearchError(
            f"table.features: an array of shape {matrix.shape}; must be of shape (rows, columns)"
        )
    wrong = np.argwhere(~np.isfinite(matrix))
    if len(wrong):
        row, column = wrong[0]
        raise SearchError(
            f"table.features: {matrix[row, column]} in row {row}, column {column}; must be finite "
            "numbers"
        )
    return matrix


class _Scale:
    """Columns of features, on a log scale, to mean 0 and standard deviation 1 over a reference.

    The logarithm (of 1 + |x|, sign kept) suits counts that span decades and hardly bends the
    small ones; columns that do not vary over the reference are dropped.
    """

    def __init__(self, reference: Encoding) -> None:
        logs = self._log(reference)
        spread = logs.std(axis=0)
        self._kept = np.flatnonzero(spread > 1e-9)
        self._mean = logs.mean(axis=0)[self._kept]
        self._spread = spread[self._kept]
        if not len(self._kept):  # nothing varies: one column that says so
            self._kept, self._mean, self._spread = np.array([0]), logs.mean(axis=0)[:1], np.ones(1)

    def __call__(self, features: Encoding) -> Encoding:
        scaled: Encoding = (self._log(features)[:, self._kept] - self._mean) / self._spread
        return scaled

    @staticmethod
    def _log(features: Encoding) -> Encoding:
        return np.sign(features) * np.log1p(np.abs(features))
