"""A search problem whose answers are known: analytic devices, and accuracy by a formula."""

from collections.abc import Sequence

import numpy as np

from edgetran.devices import Figure, HardwareFigures, Workload
from edgetran.search import Candidate, FiniteSpace, Measures, PairSpace
from edgetran.space import Architecture, DesignSpace, feature_matrix, macs, sampling

WORKLOAD = Workload(batch_size=1, sequence_length=64, vocab_size=4096)


class AnalyticDevice:
    """Latency and energy proportional to MACs, an idle floor; power may be without a sensor."""

    def __init__(self, device: str, ms_per_mmac: float, watts: float | None, memory_mmac=1e9):
        self.device = device
        self.calls = 0
        self._ms_per_mmac, self._watts, self._memory = ms_per_mmac, watts, memory_mmac

    def predict(self, architectures: Sequence[Architecture]) -> list[HardwareFigures]:
        self.calls += 1
        return [self._figures(architecture) for architecture in architectures]

    def _figures(self, architecture: Architecture) -> HardwareFigures:
        work = macs(architecture, 64, 1) / 1e6
        if work > self._memory:
            return HardwareFigures.infeasible("simulated", "needs more memory than there is")
        latency = 1.0 + self._ms_per_mmac * work
        if self._watts is None:
            missing = Figure.missing("mJ", "measured", "no power source")
            return HardwareFigures(Figure(latency, "ms", "predicted", std=0.1), missing, missing)
        return HardwareFigures(
            Figure(latency, "ms", "simulated"),
            Figure(latency * self._watts, "mJ", "simulated"),
            Figure(self._watts * (1 + 0.001 * work), "W", "simulated"),
        )


def accuracy_of(architecture: Architecture) -> float:
    """Between 0.5 and 0.95: depth, width and a mix of attention and convolution help, late
    convolutions hurt; deterministic and smooth enough to be learned."""
    gain = 0.0
    for i, layer in enumerate(architecture.layers):
        kinds = [head.split("_")[0] for head in layer.head_types]
        attention = kinds.count("sa") / len(kinds)
        convolution = kinds.count("c") / len(kinds)
        mix = attention + convolution * (0.9 - 0.5 * i) + 0.8 * attention * convolution
        gain += mix * np.log2(layer.hidden_size / 32) + 0.1 * np.log2(sum(layer.feed_forward) / 64)
    return float(0.5 + 0.45 * (1 - np.exp(-gain / 5)))


def evaluate(space, candidate: Candidate) -> Measures:
    figure = Figure(accuracy_of(candidate.architecture), "", "measured")
    return space.known([candidate])[0].with_accuracy(figure)


def analytic_devices() -> list[AnalyticDevice]:
    return [AnalyticDevice("slow", 0.5, 3.0), AnalyticDevice("fast", 0.1, 9.0)]


def make_table(design_space: DesignSpace, rows: int, *, accuracy_depends_on_device=False):
    pairs = PairSpace(design_space, analytic_devices(), WORKLOAD)
    architectures = sampling.sample(design_space, rows, np.random.default_rng(5))
    candidates = [Candidate(a, device) for a in architectures for device in pairs.devices]
    return FiniteSpace(
        candidates,
        pairs.known(candidates),
        feature_matrix([c.architecture for c in candidates], 64, 1),
        accuracy_depends_on_device=accuracy_depends_on_device,
    )
