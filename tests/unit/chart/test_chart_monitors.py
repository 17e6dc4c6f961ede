"""What Prometheus is told to believe of workers, whose pods anybody may make."""

import re
from pathlib import Path

from chart_rendering import rendered
from prometheus_client import CollectorRegistry

from edgetran.api.wire import SERVE_COMMAND, WorkerSummary
from edgetran_operator.resources.serving import SERVED_NAME
from edgetran_workers.metrics import _COUNTS, _ERRORS, _MEASURES, WorkerCollector
from edgetran_workers.publish import PublisherState

UNBOUNDED = {"edgetran_worker_info", "edgetran_worker_stage"}
"""What has a label of free text."""


def monitor(chart, **more):
    values = {"metrics": {"podMonitor": {"enabled": True, **more}}}
    return monitors(chart, values)["edgetran-workers"]


def monitors(chart, values):
    """PodMonitors by name."""
    found = rendered(chart, values).of("PodMonitor")
    return {each["metadata"]["name"]: each["spec"] for each in found}


def test_what_serves_is_scraped_for_its_own_metrics_alone(chart):
    values = {"metrics": {"podMonitor": {"enabled": True}}}
    served = monitors(chart, values)["edgetran-served"]
    assert served["selector"]["matchLabels"] == {
        "app.kubernetes.io/name": SERVED_NAME,
        "app.kubernetes.io/component": SERVE_COMMAND,
    }
    (endpoint,) = served["podMetricsEndpoints"]
    assert endpoint["port"] == "metrics"
    assert not endpoint["honorLabels"]
    (kept,) = endpoint["metricRelabelings"]
    assert (kept["action"], kept["regex"]) == ("keep", "edgetran_served_.*")


def every_metric(folder: Path):
    """All that a worker can serve."""
    summary = {
        "progress": "1/2",
        "timeLeftSeconds": 5,
        "stage": "Measure",
        "status": dict.fromkeys(_COUNTS, 1),
        "metrics": {
            **dict.fromkeys(_MEASURES, 1.0),
            **{f"{name}_{kind}": 0.1 for name in _ERRORS for kind in ("error", "p95_error")},
        },
    }
    state = PublisherState(last_write=1.0)
    registry = CollectorRegistry()
    registry.register(
        WorkerCollector(lambda: WorkerSummary.read(summary), state, {"name": "x"}, folder)
    )
    return [sample for metric in registry.collect() for sample in metric.samples]


def test_a_worker_cannot_say_whose_its_series_are(chart):
    (endpoint,) = monitor(chart)["podMetricsEndpoints"]
    assert endpoint["honorLabels"] is False
    assert endpoint["honorTimestamps"] is False
    assert endpoint["followRedirects"] is False


def test_what_a_worker_serves_is_bounded(chart):
    spec = monitor(chart, sampleLimit=77)
    assert spec["sampleLimit"] == 77
    assert {"labelLimit", "labelNameLengthLimit", "labelValueLengthLimit", "bodySizeLimit"} <= set(
        spec
    )
    assert monitor(chart)["sampleLimit"] == 200


def test_known_metrics_with_known_labels_are_kept_and_nothing_else(chart, tmp_path):
    """In each order of the rules: names, values, labels, and then the user's own."""
    own = {"action": "drop", "sourceLabels": ["x"], "regex": "y"}
    (endpoint,) = monitor(
        chart, metricRelabelings=[own], relabelings=[{"targetLabel": "cluster", "replacement": "c"}]
    )["podMetricsEndpoints"]
    names, states, measures, labels, last = endpoint["metricRelabelings"]
    assert last == own
    assert [each["action"] for each in (names, states, measures, labels)] == [
        *["keep"] * 3, "labelkeep",
    ]  # fmt: skip
    kept = set()
    for sample in every_metric(tmp_path):
        if not re.fullmatch(names["regex"], sample.name):
            assert sample.name in UNBOUNDED
            continue
        kept.add(sample.name)
        assert re.fullmatch(states["regex"], sample.labels.get("state", ""))
        assert re.fullmatch(measures["regex"], sample.labels.get("measure", ""))
        assert all(re.fullmatch(labels["regex"], label) for label in sample.labels)
    assert len(kept) == len(re.search(r"\((.*)\)", names["regex"])[1].split("|"))
    assert not re.fullmatch(names["regex"], "edgetran_resource_state")
    assert not re.fullmatch(names["regex"], "edgetran_worker_steps_x")
    assert not re.fullmatch(states["regex"], "invented")
    assert not re.fullmatch(labels["regex"], "exported_namespace")
    assert re.fullmatch(labels["regex"], "cluster")
