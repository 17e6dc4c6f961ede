"""What Prometheus can ask a served model, prefix `edgetran_served_`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from edgetran import __version__
from edgetran.artifacts import PredictionSummary, probabilities
from edgetran.serving.drift import Verdict
from edgetran.serving.served_model import ServedModel

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_TOKENS = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
_CONFIDENCE = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


class ServedMetrics:
    """Counters and histograms, and the registry that all metrics are in.

    Attributes:
        registry: what /metrics shows.
        requests: by status code.
        request_seconds: of whole requests.
    """

    def __init__(self, model: ServedModel) -> None:
        self._model = model
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "edgetran_served_requests", "Inference requests.", ["code"], registry=registry
        )
        self.request_seconds = Histogram(
            "edgetran_served_request_seconds",
            "Time of a request from its arrival to its answer.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._inference_seconds = Histogram(
            "edgetran_served_inference_seconds",
            "Time of the engine per text.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._predictions = Counter(
            "edgetran_served_predictions",
            "Texts that were answered, by predicted class; empty for regression.",
            ["class"],
            registry=registry,
        )
        self._tokens = Histogram(
            "edgetran_served_input_tokens",
            "Tokens per text.",
            buckets=_TOKENS,
            registry=registry,
        )
        self._confidence = Histogram(
            "edgetran_served_confidence_ratio",
            "Probability of the predicted class.",
            buckets=_CONFIDENCE,
            registry=registry,
        )
        for name in model.class_names or ("",):
            self._predictions.labels(name)

    def observe(self, logits: np.ndarray, lengths: Sequence[int], seconds: float) -> None:
        """Take in the answer to a request: logits (n, num_labels), tokens of each text, time."""
        for length in lengths:
            self._tokens.observe(length)
            self._inference_seconds.observe(seconds / len(lengths))
        if self._model.is_regression:
            self._predictions.labels("").inc(len(logits))
            return
        for index in logits.argmax(axis=1):
            self._predictions.labels(self._model.class_names[index]).inc()
        for confidence in probabilities(logits).max(axis=1):
            self._confidence.observe(confidence)


class DriftCollector(Collector):
    """Gauges of what is served beside what was measured, made when they are asked for.

    Args:
        model: what is served.
        verdict: gives the verdict as it stands.
        summary: gives the newest predictions in figures.
        latency_ms: gives the median latency of late.
    """

    def __init__(
        self,
        model: ServedModel,
        verdict: Callable[[], Verdict],
        summary: Callable[[], PredictionSummary | None],
        latency_ms: Callable[[], float],
    ) -> None:
        self._model, self._verdict = model, verdict
        self._summary, self._latency_ms = summary, latency_ms

    def collect(self) -> Iterable[Metric]:
        """All gauges; what is not known is left out."""
        artifact = self._model.artifact
        yield InfoMetricFamily(
            "edgetran_served",
            "What is served.",
            {
                "model": self._model.name,
                "artifact": artifact.sha256,
                "engine": artifact.engine,
                "precision": artifact.precision,
                "version": __version__,
            },
        )
        expected = self._model.expected
        yield from _of_predictions("", self._model, self._summary())
        yield from _of_predictions("measured_", self._model, expected.predictions)
        yield GaugeMetricFamily(
            "edgetran_served_latency_seconds",
            "Median latency of a text of late.",
            value=self._latency_ms() / 1e3,
        )
        if expected.latency_ms is not None:
            yield GaugeMetricFamily(
                "edgetran_served_measured_latency_seconds",
                "Latency of a sequence as it was measured.",
                value=expected.latency_ms / 1e3,
            )
        yield from _of_verdict(self._verdict())


def _of_predictions(
    prefix: str, model: ServedModel, found: PredictionSummary | None
) -> Iterable[Metric]:
    if found is None:
        return
    words = "on the test part" if prefix else "of late"
    shares = GaugeMetricFamily(
        f"edgetran_served_{prefix}class_share_ratio",
        f"Share of the texts that a class was predicted for, {words}.",
        labels=["class"],
    )
    for name, share in zip(model.class_names, found.class_shares, strict=True):
        shares.add_metric([name], share)
    yield shares
    mean = "mean_prediction" if model.is_regression else "mean_confidence_ratio"
    yield GaugeMetricFamily(
        f"edgetran_served_{prefix}{mean}",
        f"Mean {'prediction' if model.is_regression else 'confidence'} {words}.",
        value=found.mean,
    )


def _of_verdict(verdict: Verdict) -> Iterable[Metric]:
    value = GaugeMetricFamily(
        "edgetran_served_drift", "How far a check is off what was measured.", labels=["check"]
    )
    allowed = GaugeMetricFamily(
        "edgetran_served_drift_allowed", "How far it may be off.", labels=["check"]
    )
    same = GaugeMetricFamily(
        "edgetran_served_check_as_measured",
        "1 where a check is as measured, 0 where it is not; absent where that is not known.",
        labels=["check"],
    )
    for check in verdict.checks:
        if check.value is not None and check.allowed is not None:
            value.add_metric([check.name], check.value)
            allowed.add_metric([check.name], check.allowed)
        if check.status != "Unknown":
            same.add_metric([check.name], float(check.status == "True"))
    yield from (value, allowed, same)
    if verdict.status != "Unknown":
        yield GaugeMetricFamily(
            "edgetran_served_as_measured",
            "1 where the model is served as measured, 0 where it is not; absent until known.",
            value=float(verdict.status == "True"),
        )
