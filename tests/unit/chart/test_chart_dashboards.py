"""Dashboards: complete, drawn from metrics that exist, in queries that Prometheus understands."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dashboards
import pytest
import yaml
from chart_rendering import CHART, rendered
from helm_python import Chart

from edgetran.api.wire import WorkerSummary
from edgetran_operator.kube.cache import Cache
from edgetran_operator.metrics.collector import LoopMeasures, StateCollector
from edgetran_operator.scheduling.board_book import BoardBook
from edgetran_operator.settings import Settings
from edgetran_workers.metrics import WorkerCollector
from edgetran_workers.publish import PublisherState

BOARDS = {path.stem: json.loads(path.read_text()) for path in CHART.glob("dashboards/*.json")}
PANELS = [
    pytest.param(board, panel, id=f"{name}: {panel['title']}")
    for name, board in BOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]
VARIABLES = {"$__rate_interval": "5m", "$namespace": "a", "$name": "s", "$job": "edgetran"}
ALSO = {
    "process_start_time_seconds",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "edgetran_served_as_measured",
}
"""Metrics of prometheus_client's own collectors, and of what serves (see its own tests)."""


def queries(board: dict[str, Any]) -> Iterator[str]:
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]


def test_the_files_are_what_the_code_gives() -> None:
    assert dashboards.main(["--check"]) == 0, "run: make chart"
    assert {f"{name}.json" for name in BOARDS} == set(dashboards.dashboards())


def test_check_tells_stale_and_superfluous_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dashboards, "FOLDER", tmp_path)
    assert dashboards.main([]) == 0
    assert dashboards.main(["--check"]) == 0
    (tmp_path / "fleet.json").write_text("{}")
    (tmp_path / "old.json").write_text("{}")
    assert dashboards.main(["--check"]) == 1
    said = capsys.readouterr().err
    assert "fleet.json is stale: make chart" in said
    assert "old.json is stale" in said
    assert dashboards.main(["--chekc"]) == 2


def test_there_is_one_for_the_fleet_a_search_a_profiling_job_and_the_operator() -> None:
    assert set(BOARDS) == {"fleet", "search", "profiling", "operator"}
    assert len({board["uid"] for board in BOARDS.values()}) == 4
    for board in BOARDS.values():
        assert board["tags"] == ["edgetran"]
        assert board["description"]


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_every_panel_has_title_description_unit_and_data(
    board: dict[str, Any], panel: dict[str, Any]
) -> None:
    assert panel["title"]
    assert len(panel["description"]) > 20
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    for target in panel["targets"]:
        assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    used = set(re.findall(r"\$(\w+)", " ".join(t["expr"] for t in panel["targets"])))
    known = {variable["name"] for variable in board["templating"]["list"]}
    assert used - {"__rate_interval"} <= known


def test_panels_do_not_overlap_and_fill_the_width() -> None:
    for name, board in BOARDS.items():
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            at = panel["gridPos"]
            assert at["x"] + at["w"] <= 24
            cells = {
                (x, y)
                for x in range(at["x"], at["x"] + at["w"])
                for y in range(at["y"], at["y"] + at["h"])
            }
            assert not cells & taken, f"{name}: {panel['title']}"
            taken |= cells


def test_prometheus_understands_every_query(tmp_path: Path) -> None:
    rules = []
    for name, board in BOARDS.items():
        for number, query in enumerate(queries(board)):
            for variable, value in VARIABLES.items():
                query = query.replace(variable, value)
            rules.append({"record": f"{name}:query{number}", "expr": query})
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    program = shutil.which("promtool")
    assert program is not None, "promtool is missing: hack/setup test installs it"
    done = subprocess.run(
        [program, "check", "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(rules) > 60


def exposed(tmp_path: Path) -> set[str]:
    """Names of all series that the operator and the workers may have."""
    measures = LoopMeasures()
    cache, settings = Cache(), Settings()
    engine: Any = SimpleNamespace(
        acts=True,
        cache=cache,
        boards=BoardBook(cache, settings),
        queue=(),
        client=SimpleNamespace(calls={}),
    )
    measured = dict.fromkeys(_figures(), 1.0)
    summary = {
        "progress": "1/2",
        "timeLeftSeconds": 1,
        "stage": "search",
        "status": {},
        "metrics": measured,
    }
    worker = WorkerCollector(
        lambda: WorkerSummary.read(summary), PublisherState(last_write=1.0), {}, tmp_path
    )
    families = [
        *measures.registry.collect(),
        *StateCollector(engine).collect(),
        *worker.collect(),
    ]
    suffixes = {
        "counter": ("_total",),
        "histogram": ("_bucket", "_sum", "_count"),
        "info": ("_info",),
        "gauge": ("",),
    }
    return {family.name + end for family in families for end in suffixes.get(family.type, ())}


def _figures() -> list[str]:
    from edgetran_workers import metrics

    return list(metrics._MEASURES)


def test_every_metric_of_queries_and_alerts_exists(chart: Chart, tmp_path: Path) -> None:
    spec = rendered(chart, {"prometheusRule": {"enabled": True}}).one("PrometheusRule")["spec"]
    texts = [
        *(query for board in BOARDS.values() for query in queries(board)),
        *(v["query"] for board in BOARDS.values() for v in board["templating"]["list"]),
        *(rule["expr"] for group in spec["groups"] for rule in group["rules"]),
    ]
    used = {
        name for text in texts for name in re.findall(r"\b(?:edgetran|process)_\w+\b", str(text))
    }
    assert len(used) > 40
    assert used - exposed(tmp_path) - ALSO == set()


def test_configmaps_hold_them_where_grafana_looks(chart: Chart) -> None:
    found = {
        key: json.loads(text)
        for body in rendered(chart, {}).of("ConfigMap")
        if body["metadata"]["labels"].get("grafana_dashboard") == "1"
        for key, text in body["data"].items()
    }
    assert found == {f"edgetran-{name}.json": board for name, board in BOARDS.items()}
    moved = rendered(
        chart,
        {
            "dashboards": {
                "labels": {"grafana_dashboard": "yes"},
                "namespace": "monitoring",
                "annotations": {"grafana_folder": "Edge"},
            }
        },
    )
    boards = [
        body["metadata"]
        for body in moved.of("ConfigMap")
        if not body["metadata"]["name"].endswith("-settings")
    ]
    assert len(boards) == 4
    assert {each["namespace"] for each in boards} == {"monitoring"}
    assert {each["labels"]["grafana_dashboard"] for each in boards} == {"yes"}
    assert {each["annotations"]["grafana_folder"] for each in boards} == {"Edge"}
