"""What Prometheus can ask a worker while it runs, prefix `edgetran_worker_`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from edgetran import __version__
from edgetran.api.measures import HARDWARE, MEASURES
from edgetran.api.wire import Steps, WorkerSummary
from edgetran_workers.publish import PublisherState

_MEASURES: Final = {
    **{
        f"last_{each.name}": (
            f"last_{each.metric}",
            f"{each.description} measured last.",
            each.base_factor,
        )
        for each in HARDWARE
    },
    "trial_accuracy": ("trial_accuracy_ratio", "Validation metric of the last trial.", 1),
    "trial_predicted_accuracy": (
        "trial_predicted_accuracy_ratio",
        "The predicted validation metric of the last trial.",
        1,
    ),
    "trial_predicted_accuracy_deviation": (
        "trial_predicted_accuracy_deviation_ratio",
        "Standard deviation of that prediction.",
        1,
    ),
    "measuring_seconds": ("measuring_seconds", "Time spent on measurements.", 1),
    "shared_weights_steps": (
        "shared_weights_steps_done",
        "Optimizer steps of the network that holds every candidate.",
        1,
    ),
    "training_seconds": ("training_seconds", "Time spent on training, all trials together.", 1),
    "hypervolume": ("hypervolume", "Hypervolume of the Pareto front.", 1),
    "best_objective": ("best_objective", "Objective of the best candidate.", 1),
    **{
        f"best_{each.name}": (
            f"best_{each.metric}",
            f"{each.description} of the best candidate.",
            each.base_factor,
        )
        for each in MEASURES
    },
}
_ERRORS: Final = tuple(each.name for each in HARDWARE)
_COUNTS: Final = ("running", "succeeded", "failed", "infeasible", "measured", "unstable", "trained")


class WorkerCollector(Collector):
    """Metrics made from the summary when they are asked for.

    Args:
        summary: says how the work stands.
        publisher: figures of publishing.
        about: labels of the info metric.
        folder: where the run is kept; its volume may fill.
    """

    def __init__(
        self,
        summary: Callable[[], WorkerSummary],
        publisher: PublisherState,
        about: Mapping[str, str],
        folder: Path,
    ) -> None:
        self._summary, self._publisher, self._folder = summary, publisher, folder
        self._about = {**about, "version": __version__}

    def collect(self) -> Iterable[Metric]:
        """All metrics as they stand."""
        yield InfoMetricFamily("edgetran_worker", "What this worker is doing.", self._about)
        summary = self._summary()
        yield from self._of_progress(summary)
        yield from self._of_publishing()
        yield from self._of_storage()
        status, measures = summary.status, summary.metrics
        counts = GaugeMetricFamily(
            "edgetran_worker_records", "Trials or measurements by state.", labels=["state"]
        )
        for state in _COUNTS:
            if state in status:
                counts.add_metric([state], status[state])
        yield counts
        for name, (metric, help_text, factor) in _MEASURES.items():
            if name in measures:
                yield _gauge(metric, help_text, measures[name] * factor)
        for kind, metric, help_text in (
            ("error", "error_ratio", "Cross-validated relative error of prediction."),
            ("p95_error", "p95_error_ratio", "Error that 95 % of predictions stay below."),
        ):
            errors = GaugeMetricFamily(
                f"edgetran_worker_surrogate_{metric}", help_text, labels=["measure"]
            )
            for name in _ERRORS:
                if f"{name}_{kind}" in measures:
                    errors.add_metric([name], measures[f"{name}_{kind}"])
            yield errors

    def _of_progress(self, summary: WorkerSummary) -> Iterator[Metric]:
        steps = Steps.read(summary.progress) or Steps(0, 0)
        yield _gauge("steps_done", "Steps that are done.", steps.done)
        yield _gauge("steps", "Steps in all.", steps.total)
        if summary.time_left_seconds is not None:
            yield _gauge("stage_left_seconds", "Time left of the stage.", summary.time_left_seconds)
        stage = GaugeMetricFamily(
            "edgetran_worker_stage", "1 for the current stage.", labels=["stage"]
        )
        if summary.stage:
            stage.add_metric([summary.stage], 1)
        yield stage

    def _of_publishing(self) -> Iterator[Metric]:
        state = self._publisher
        yield _gauge("results_writes", "Results ConfigMaps written.", state.writes)
        yield _gauge("results_failures", "Failed attempts to write results.", state.failures)
        if state.last_write is not None:
            name, text = "results_last_write_timestamp_seconds", "When results were last written."
            yield _gauge(name, text, state.last_write)

    def _of_storage(self) -> Iterator[Metric]:
        try:
            space = shutil.disk_usage(self._folder)
        except OSError:  # a volume that is away now is told by the work itself
            return
        yield _gauge("storage_free_bytes", "Free space where the run is kept.", space.free)
        yield _gauge("storage_size_bytes", "Total space where the run is kept.", space.total)


def serve(collector: WorkerCollector, port: int) -> int:
    """Serve /metrics in a thread; the port that it is served on.

    Args:
        collector: what is served.
        port: 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """
    registry = CollectorRegistry()
    registry.register(collector)
    server, _ = start_http_server(port, registry=registry)
    return int(server.server_port)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"edgetran_worker_{name}", text, value=value)
