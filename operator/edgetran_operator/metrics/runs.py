"""Metrics of each resource: its state, progress, failures, results and Pareto front."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from edgetran.api import ConditionType, Reason
from edgetran.api.measures import HARDWARE, OBSERVED, Measure
from edgetran.api.wire import DEVICE_LABEL, Steps
from edgetran_operator.kube.cache import Entry, Family, Key
from edgetran_operator.snapshot import NodeView, PartView

_RUN: Final = ("kind", "namespace", "name")


def gauges_of(
    prefix: str, measures: Iterable[Measure], suffix: str = ""
) -> dict[str, tuple[str, str, float]]:
    """Of each measure, by its field in a status: a gauge's name, help, and factor to its unit."""
    return {
        each.alias: (
            f"{prefix}_{each.metric}",
            f"{each.description if each.unit else 'Selection metric on validation data'}{suffix}.",
            each.base_factor,
        )
        for each in measures
    }


_FRONT: Final = gauges_of("edgetran_pareto", OBSERVED)
"""Field of a candidate's summary: metric, help, and factor to the base unit."""

_MEDIANS: Final = gauges_of(
    "edgetran_profiling_median", HARDWARE, ", median over the architectures measured"
)

Resources = Iterable[tuple[Key, Entry]]


def run_metrics(resources: Resources, families: Mapping[Key, Family]) -> Iterator[Metric]:
    """A few series for each resource, and those of the Pareto fronts, at most ten points each.

    A point is told by its place in the status' list, not by its number, of which a search has as
    many as it tries: so a run has the same few series however long it takes.
    """
    specs = dict(resources)
    state = GaugeMetricFamily(
        "edgetran_resource_state",
        "1 for the state that a resource is in, with its reason.",
        labels=(*_RUN, "state", "reason"),
    )
    done = GaugeMetricFamily("edgetran_resource_steps_done", "Steps that are done.", labels=_RUN)
    total = GaugeMetricFamily("edgetran_resource_steps", "Steps in all.", labels=_RUN)
    failures = GaugeMetricFamily(
        "edgetran_resource_failures", "How often its workers failed.", labels=_RUN
    )
    parts = GaugeMetricFamily(
        "edgetran_resource_results_parts", "ConfigMaps that hold its results.", labels=_RUN
    )
    front = {
        field: GaugeMetricFamily(name, text, labels=(*_RUN, "rank", "device"))
        for field, (name, text, _) in _FRONT.items()
    }
    medians = {
        field: GaugeMetricFamily(name, text, labels=("namespace", "name", "device", "node"))
        for field, (name, text, _) in _MEDIANS.items()
    }
    for key, entry in specs.items():
        status = entry.status
        state.add_metric((*key, *state_of(status)), 1)
        steps = Steps.read(status.get("progress"))
        if steps is not None:
            done.add_metric(key, steps.done)
            total.add_metric(key, steps.total)
        failures.add_metric(key, status.get("failures") or 0)
        family = families.get(key)
        if family is not None:
            # Another thread may change it meanwhile.
            views = [each.view for each in list(family.children.values())]
            parts.add_metric(key, sum(isinstance(v, PartView) and v.used for v in views))
        points = status.get("paretoFront") or ()
        known = devices_of(key, specs) if points else frozenset()
        for rank, each in enumerate(points):
            if each["device"] not in known:
                continue
            for field, (_, _, factor) in _FRONT.items():
                value = value_of(each, field)
                if value is not None:
                    point = (*key, str(rank), each["device"])
                    front[field].add_metric(point, value * factor)
        for field, cost in (status.get("costs") or {}).items():
            if field in _MEDIANS:
                labels = (key.namespace, key.name, _device(entry), str(status.get("node") or ""))
                medians[field].add_metric(labels, cost["median"] * _MEDIANS[field][2])
    yield from (state, done, total, failures, parts, *front.values(), *medians.values())


def device_nodes(nodes: Iterable[NodeView]) -> Metric:
    """Nodes by the device that they are and whether they can be used."""
    metric = GaugeMetricFamily(
        "edgetran_device_nodes",
        "Nodes labelled edgetran.io/device, by whether they can be used.",
        labels=("device", "node", "state"),
    )
    for node in nodes:
        device = node.labels.get(DEVICE_LABEL)
        if device is not None:
            state = "not_ready" if not node.ready else "ready"
            metric.add_metric(
                (device, node.name, state if node.schedulable else "unschedulable"), 1
            )
    return metric


def state_of(status: Mapping[str, Any]) -> tuple[str, str]:
    """State and reason of a resource: one word each.

    Example:
        >>> state_of({})
        ('waiting', 'Pending')
        >>> state_of({"conditions": [{"type": "Succeeded", "status": "True", "reason": "X"}]})
        ('succeeded', 'X')
    """
    conditions = {
        each["type"]: (each["status"], each["reason"]) for each in status.get("conditions", ())
    }
    ended, reason = conditions.get(ConditionType.SUCCEEDED, ("Unknown", str(Reason.PENDING)))
    if ended != "Unknown":
        return ("succeeded" if ended == "True" else "failed"), reason
    for type_, state in (
        (ConditionType.STALLED, "stalled"),
        (ConditionType.SUSPENDED, "suspended"),
    ):
        held, why = conditions.get(type_, ("False", ""))
        if held == "True":
            return state, why
    return ("running" if reason == Reason.RUNNING else "waiting"), reason


def value_of(candidate: Mapping[str, Any], field: str) -> float | None:
    """A figure of a candidate's summary, whether or not it says how it came about."""
    found = candidate.get(field)
    found = found.get("value") if isinstance(found, Mapping) else found
    return float(found) if isinstance(found, int | float) else None


def devices_of(key: Key, specs: Mapping[Key, Entry]) -> frozenset[str]:
    """Names of the devices that a resource asks for, or the search that it refines."""
    entry = specs.get(key)
    spec = json.loads(entry.spec) if entry is not None else None
    if not isinstance(spec, Mapping):
        return frozenset()
    given = [spec.get("device"), *(spec.get("devices") or ())]
    names = frozenset(str(each.get("name")) for each in given if isinstance(each, Mapping))
    search = spec.get("searchRef")
    if names or not isinstance(search, Mapping):
        return names
    return devices_of(Key("CoDesignSearch", key.namespace, str(search.get("name"))), specs)


def _device(entry: Entry) -> str:
    spec = json.loads(entry.spec)
    device = spec.get("device") if isinstance(spec, Mapping) else None
    return str(device.get("name", "")) if isinstance(device, Mapping) else ""
