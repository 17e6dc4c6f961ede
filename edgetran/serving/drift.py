"""Whether a model is served as it was measured: class shares, confidence and latency compared.

Each check compares the newest predictions with what is known of the artefact. What chance alone
brings is allowed on top: the expected difference of two samples of these sizes.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from edgetran.artifacts import PredictionSummary
from edgetran.serving.served_model import ServedModel

Status = Literal["True", "False", "Unknown"]

WINDOW: Final = 1000
"""Newest predictions that are compared."""
LEAST_PREDICTIONS: Final = 100
"""Predictions below which nothing is said of them."""
LEAST_LATENCIES: Final = 30
"""Requests below which the latency is that of the start."""

LATENCY_NOISE_MS: Final = 0.5
"""Slower by this is never off: between requests caches grow cold, which a series of runs does not
see."""


@dataclass(frozen=True)
class Tolerances:
    """How much what is served may be off.

    Attributes:
        shares: total variation distance of class shares, or distance of means in standard
            deviations for regression.
        confidence: difference of mean confidences.
        latency_ratio: median latency ÷ measured latency − 1; faster is never off.
    """

    shares: float = 0.2
    confidence: float = 0.1
    latency_ratio: float = 0.5


@dataclass(frozen=True)
class DriftCheck:
    """One comparison.

    Attributes:
        name: latency, classShares, confidence or prediction.
        status: whether it is as measured; Unknown where nothing can be said.
        message: a sentence.
        value: how far it is off; None where that is not known.
        allowed: how far it may be off; None where that is not known.
    """

    name: str
    status: Status
    message: str
    value: float | None = None
    allowed: float | None = None


@dataclass(frozen=True)
class Verdict:
    """All comparisons together: False where one is, True where any is and none is False."""

    checks: tuple[DriftCheck, ...]

    @property
    def status(self) -> Status:
        """Whether the model is served as measured."""
        found = {check.status for check in self.checks}
        return "False" if "False" in found else "True" if "True" in found else "Unknown"

    @property
    def message(self) -> str:
        """The verdict in a sentence: what is off, or what was compared."""
        status = self.status
        told = [check.message for check in self.checks if check.status == status]
        words = {"True": "served as measured", "False": "not served as measured"}
        return f"{words.get(status, 'not known yet')}: {'; '.join(told)}"


@dataclass
class Window:
    """The newest predictions and latencies."""

    logits: deque[np.ndarray] = field(default_factory=lambda: deque(maxlen=WINDOW))
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def add(self, logits: np.ndarray) -> None:
        """Take in logits (n, num_labels)."""
        self.logits.extend(logits)


def judge(
    model: ServedModel, window: Window, start_latency_ms: float, tolerances: Tolerances
) -> Verdict:
    """Compare what was served with what was measured.

    Args:
        model: with what was measured.
        window: what was served lately.
        start_latency_ms: median latency of the workload when the server started.
        tolerances: how far it may be off.
    """
    checks = [_latency(model, window, start_latency_ms, tolerances)]
    expected, served = model.expected.predictions, summary(model, window)
    names = ("prediction",) if model.is_regression else ("classShares", "confidence")
    if expected is None:
        checks += [
            DriftCheck(name, "Unknown", f"{_WORDS[name]} on the test part is not known")
            for name in names
        ]
        return Verdict(tuple(checks))
    if served is None or served.examples < LEAST_PREDICTIONS:
        count = 0 if served is None else served.examples
        checks += [
            DriftCheck(
                name,
                "Unknown",
                f"{_WORDS[name]}: {count} predictions, compared from {LEAST_PREDICTIONS} on",
            )
            for name in names
        ]
        return Verdict(tuple(checks))
    if model.is_regression:
        checks.append(_prediction(expected, served, tolerances))
    else:
        checks.append(_class_shares(model, expected, served, tolerances))
        checks.append(_confidence(expected, served, tolerances))
    return Verdict(tuple(checks))


def summary(model: ServedModel, window: Window) -> PredictionSummary | None:
    """The window's predictions in figures; None before the first."""
    if not window.logits:
        return None
    return PredictionSummary.of(np.stack(window.logits), regression=model.is_regression)


def latency_ms(window: Window, start_latency_ms: float) -> float:
    """The median of the window, or that of the start while there are few requests."""
    if len(window.latencies_ms) < LEAST_LATENCIES:
        return start_latency_ms
    return float(np.median(window.latencies_ms))


_WORDS: Final = {
    "classShares": "shares of classes",
    "confidence": "mean confidence",
    "prediction": "mean prediction",
}


def _latency(
    model: ServedModel, window: Window, start_latency_ms: float, tolerances: Tolerances
) -> DriftCheck:
    expected = model.expected
    found = latency_ms(window, start_latency_ms)
    if expected.latency_ms is None:
        message = f"latency: {found:.3g} ms; {expected.latency_note}"
        return DriftCheck("latency", "Unknown", message)
    ratio = found / expected.latency_ms - 1
    return _check(
        "latency",
        ratio,
        max(tolerances.latency_ratio, LATENCY_NOISE_MS / expected.latency_ms),
        f"latency: {found:.3g} ms, {expected.latency_note}: {expected.latency_ms:.3g} ms",
    )


def _class_shares(
    model: ServedModel,
    expected: PredictionSummary,
    served: PredictionSummary,
    tolerances: Tolerances,
) -> DriftCheck:
    """Total variation distance, ½ Σ |p − q|."""
    pairs = list(zip(served.class_shares, expected.class_shares, strict=True))
    distance = 0.5 * sum(abs(ours - theirs) for ours, theirs in pairs)
    chance = _by_chance((theirs for _, theirs in pairs), served.examples, expected.examples)
    name, (ours, theirs) = max(
        zip(model.class_names, pairs, strict=True), key=lambda item: abs(item[1][0] - item[1][1])
    )
    words = f"shares of classes: {name} is {ours:.0%}, on the test part {theirs:.0%}"
    return _check("classShares", distance, tolerances.shares + chance, words)


def _by_chance(shares: Iterable[float], *sizes: int) -> float:
    """Expected total variation distance of two samples of the same shares.

    A share's difference is nearly normal with variance p(1 − p) Σ 1/n, so that its mean absolute
    value is √(2/π) of its deviation.
    """
    spread = sum(1 / size for size in sizes)
    return 0.5 * sum(math.sqrt(2 / math.pi * p * (1 - p) * spread) for p in shares)


def _confidence(
    expected: PredictionSummary, served: PredictionSummary, tolerances: Tolerances
) -> DriftCheck:
    difference = abs(served.mean - expected.mean)
    return _check(
        "confidence",
        difference,
        tolerances.confidence + _of_means(served, expected),
        f"mean confidence: {served.mean:.2f}, on the test part {expected.mean:.2f}",
    )


def _prediction(
    expected: PredictionSummary, served: PredictionSummary, tolerances: Tolerances
) -> DriftCheck:
    deviation = expected.deviation or 1.0
    return _check(
        "prediction",
        abs(served.mean - expected.mean) / deviation,
        tolerances.shares + _of_means(served, expected) / deviation,
        f"mean prediction: {served.mean:.3g}, on the test part {expected.mean:.3g}",
    )


def _of_means(*samples: PredictionSummary) -> float:
    """Expected difference of two means by chance."""
    return math.sqrt(2 / math.pi * sum(s.deviation**2 / s.examples for s in samples))


def _check(name: str, value: float, allowed: float, words: str) -> DriftCheck:
    message = f"{words} (allowed {allowed:.2f}, found {value:.2f})"
    return DriftCheck(name, "True" if value <= allowed else "False", message, value, allowed)
