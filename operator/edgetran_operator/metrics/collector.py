"""/metrics: what the operator counts of itself, and how its resources stand at the moment."""

from __future__ import annotations

import logging
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping, Sized
from itertools import product
from typing import Final, Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from edgetran import __version__
from edgetran.api import KINDS
from edgetran.api.measures import OBSERVED
from edgetran_operator.kube.border import REASONS
from edgetran_operator.kube.cache import Cache, Entry, Family, Key
from edgetran_operator.metrics.runs import (
    device_nodes,
    devices_of,
    gauges_of,
    run_metrics,
    value_of,
)

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_log = logging.getLogger(__name__)
_OF_A_RUN: Final = ("namespace", "name")
_BEST: Final = {
    "objective": ("edgetran_search_best_objective", "Weighted objective of the best candidate.", 1),
    **gauges_of("edgetran_search_best", OBSERVED),
}
"""Field of the best candidate's summary: metric, help, and factor to the base unit."""
_COLLECTIONS: Final = (
    *(model.PLURAL for model in KINDS.values()),
    *("Jobs", "RayJobs", "Pods", "ConfigMaps", "Nodes", "Events"),
)
_TRIAL_STATES: Final = ("running", "succeeded", "failed", "infeasible")
_MEASURED: Final = ("measured", "unstable", "failed")


class Boards(Protocol):
    """Who waits for a board."""

    def waiting(self) -> Mapping[str, int]:
        """ProfilingJobs that wait, by device."""


class Calls(Protocol):
    """What was asked of the API server."""

    @property
    def calls(self) -> Mapping[tuple[str, str], int]:
        """Requests by verb and kind."""


class OperatorState(Protocol):
    """What the operator knows at the moment, as far as metrics tell of it."""

    @property
    def acts(self) -> bool:
        """Whether this operator is the one that acts."""

    @property
    def cache(self) -> Cache:
        """What the watches told."""

    @property
    def boards(self) -> Boards:
        """Who waits for a board."""

    @property
    def queue(self) -> Sized:
        """Resources that wait to be reconciled."""

    @property
    def client(self) -> Calls:
        """What was asked of the API server."""


class LoopMeasures:
    """Counts what the operator does.

    Attributes:
        registry: all of its metrics.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        Info("edgetran_build", "The operator's version.", registry=self.registry).info(
            {"version": __version__}
        )
        self._total = Counter(
            "edgetran_reconcile",
            "Reconciliations by kind and result.",
            ("kind", "result"),
            registry=self.registry,
        )
        self._errors = Counter(
            "edgetran_reconcile_errors",
            "Reconciliations that failed and are retried.",
            ("kind",),
            registry=self.registry,
        )
        for kind in KINDS:
            self._errors.labels(kind)  # from 0, or increase() would not see the first
        self._skipped = Counter(
            "edgetran_objects_unreadable",
            "Objects that were skipped or read only in part, since they cannot be read.",
            ("collection", "reason"),
            registry=self.registry,
        )
        for labels in product(_COLLECTIONS, REASONS):
            self._skipped.labels(*labels)  # as above
        self._duration = Histogram(
            "edgetran_reconcile_duration_seconds",
            "Duration of a reconciliation, including the API server's time.",
            ("kind",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._lag = Histogram(
            "edgetran_loop_lag_seconds",
            "How late the event loop is, measured ten times a second.",
            buckets=_SECONDS,
            registry=self.registry,
        )

    def reconciled(self, kind: str, result: str, seconds: float) -> None:
        """Count one reconciliation."""
        self._total.labels(kind, result).inc()
        self._duration.labels(kind).observe(seconds)
        if result == "error":
            self._errors.labels(kind).inc()

    def skipped(self, collection: str, reason: str) -> None:
        """Count one object that cannot be read."""
        self._skipped.labels(collection, reason).inc()

    def lag(self, seconds: float) -> None:
        """Count one measurement of the event loop's lag."""
        self._lag.observe(seconds)

    def serve(self, port: int, state: OperatorState) -> Callable[[], None]:
        """Serve /metrics in a thread of its own; what ends that.

        Raises:
            OSError: the port is taken.
        """
        self.registry.register(StateCollector(state))
        server, thread = start_http_server(port, registry=self.registry)

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return stop


class StateCollector(Collector):
    """How the resources stand, worked out when Prometheus asks.

    It runs in another thread than the controller: so it looks at copies of what may change.
    """

    def __init__(self, state: OperatorState) -> None:
        self._state = state

    def describe(self) -> list[Metric]:
        """Nothing: asking costs a walk over all resources."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every metric of the moment; of the resources where this operator acts.

        Those that stand by say nothing of them, so that a sum over all pods is right.
        """
        yield GaugeMetricFamily(
            "edgetran_operator_acts",
            "1 where this operator is active, 0 where it is on standby.",
            value=int(self._state.acts),
        )
        if self._state.acts:
            yield from self._of_the_cluster()
        yield from self._own()

    def _of_the_cluster(self) -> Iterator[Metric]:
        resources = list(self._state.cache.resources.items())
        families = dict(self._state.cache.families)
        try:
            found = list(_of_resources(resources, families))
        except Exception:  # noqa: BLE001 - one resource must not cost the others their metrics
            sound = [each for each in resources if _is_sound(each, families)]
            found = list(_of_resources(sound, families))
        yield from found
        yield device_nodes(list(self._state.cache.nodes.values()))
        waiting = GaugeMetricFamily(
            "edgetran_board_queue_length",
            "ProfilingJobs that wait for a board.",
            labels=("device",),
        )
        for device, count in self._state.boards.waiting().items():
            waiting.add_metric((device,), count)
        yield waiting

    def _own(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "edgetran_workqueue_depth",
            "Resources that wait to be reconciled.",
            value=len(self._state.queue),
        )
        requests = CounterMetricFamily(
            "edgetran_api_requests", "Requests to the API server.", labels=("verb", "kind")
        )
        for labels, count in list(self._state.client.calls.items()):
            requests.add_metric(labels, count)
        yield requests


Resources = list[tuple[Key, Entry]]


def _of_resources(resources: Resources, families: Mapping[Key, Family]) -> Iterator[Metric]:
    yield _conditions(resources)
    yield from _profiling(resources)
    yield from _searches(resources)
    yield from _refinements(resources)
    yield from run_metrics(resources, families)


def _is_sound(resource: tuple[Key, Entry], families: Mapping[Key, Family]) -> bool:
    """Whether metrics can be made of a resource."""
    try:
        list(_of_resources([resource], families))
    except Exception:  # noqa: BLE001 - whatever is wrong with it
        _log.debug("%s %s/%s has a nonsensical status", *resource[0])
        return False
    return True


def _conditions(resources: Resources) -> Metric:
    metric = GaugeMetricFamily(
        "edgetran_resources",
        "Resources by kind and by each of their conditions.",
        labels=("kind", "condition", "status", "reason"),
    )
    tally: Tally[tuple[str, str, str, str]] = Tally()
    for key, entry in resources:
        for each in entry.status.get("conditions", ()):
            tally[key.kind, each["type"], each["status"], each["reason"]] += 1
    for labels, count in tally.items():
        metric.add_metric(labels, count)
    return metric


def _profiling(resources: Resources) -> Iterator[Metric]:
    measured = GaugeMetricFamily(
        "edgetran_profiling_architectures",
        "Architectures by the outcome of measuring them.",
        labels=(*_OF_A_RUN, "node", "state"),
    )
    error = GaugeMetricFamily(
        "edgetran_profiling_surrogate_error_ratio",
        "Cross-validated relative error of a predicted measure.",
        labels=(*_OF_A_RUN, "node", "measure"),
    )
    for key, entry in resources:
        if key.kind != "ProfilingJob":
            continue
        run = (key.namespace, key.name, str(entry.status.get("node") or ""))
        for state in _MEASURED:
            measured.add_metric((*run, state), entry.status.get(state, 0))
        for each in entry.status.get("errors", ()):
            if each.get("error") is not None:
                error.add_metric((*run, each["measure"]), each["error"])
    yield measured
    yield error


def _searches(resources: Resources) -> Iterator[Metric]:
    trials = GaugeMetricFamily(
        "edgetran_trials", "Trials of a search by state.", labels=(*_OF_A_RUN, "state")
    )
    volume = GaugeMetricFamily(
        "edgetran_search_hypervolume", "Hypervolume of the Pareto front.", labels=_OF_A_RUN
    )
    best = {
        field: GaugeMetricFamily(name, text, labels=(*_OF_A_RUN, "device"))
        for field, (name, text, _) in _BEST.items()
    }
    specs = dict(resources)
    for key, entry in resources:
        if key.kind != "CoDesignSearch":
            continue
        run, status = (key.namespace, key.name), entry.status
        for state in _TRIAL_STATES:
            trials.add_metric((*run, state), status.get(state, 0))
        if status.get("hypervolume") is not None:
            volume.add_metric(run, status["hypervolume"])
        winner = status.get("best") or {}
        if winner and winner["device"] not in devices_of(key, specs):
            continue
        for field, (_, _, factor) in _BEST.items():
            value = value_of(winner, field)
            if value is not None:
                best[field].add_metric((*run, winner["device"]), value * factor)
    yield from (trials, volume, *best.values())


def _refinements(resources: Resources) -> Iterator[Metric]:
    models = GaugeMetricFamily(
        "edgetran_gptran_models", "Models of a refinement by state.", labels=(*_OF_A_RUN, "state")
    )
    for key, entry in resources:
        if key.kind == "GPTranRun":
            for state in ("trained", "failed"):
                models.add_metric((key.namespace, key.name, state), entry.status.get(state, 0))
    yield models
