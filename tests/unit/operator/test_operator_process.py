"""The operator as a command: what it says of bad settings, how it logs, and how light it is."""

import json
import logging
import subprocess
import sys

import pytest
from kubernetes.aio import client as api
from operator_world import World, spec_of

from edgetran_operator.cli import main
from edgetran_operator.controller.controller import Controller
from edgetran_operator.kube.client import Client
from edgetran_operator.logs import JsonFormatter
from edgetran_operator.metrics.collector import LoopMeasures, StateCollector
from edgetran_operator.process import api_server_of_pods
from edgetran_operator.settings import Settings

FORBIDDEN = ("numpy", "scipy", "torch", "transformers", "ray", "sklearn")


def python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_bad_settings_end_it_with_a_sentence(tmp_path, capsys):
    path = tmp_path / "operator.yaml"
    path.write_text("metricsPort: x")
    assert main(["--config", str(path)]) == 2
    said = capsys.readouterr().err
    assert said == 'edgetran-operator: metricsPort: Invalid value: "x": must be a whole number\n'


def test_it_says_its_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.strip()


def test_it_imports_nothing_that_is_heavy():
    loaded = python("import sys, edgetran_operator.app; print(*sys.modules)").split()
    assert not {name.partition(".")[0] for name in loaded} & set(FORBIDDEN)


def test_it_is_ready_to_work_within_a_hundred_mebibytes():
    """The imports are nearly all of it; idle, it takes little more."""
    code = "import edgetran_operator.app; print(open('/proc/self/status').read())"
    (line,) = [each for each in python(code).splitlines() if each.startswith("VmRSS")]
    assert int(line.split()[1]) / 1024 < 90


def test_a_log_line_names_its_resource():
    record = logging.LogRecord("x", logging.WARNING, "f", 1, "it %s", ("failed",), None)
    record.kind, record.namespace, record.resource = "ProfilingJob", "ns", "p"
    line = json.loads(JsonFormatter().format(record))
    assert line["message"] == "it failed"
    assert line["level"] == "warning"
    assert (line["kind"], line["namespace"], line["resource"]) == ("ProfilingJob", "ns", "p")
    try:
        raise ValueError("a\nb")
    except ValueError:
        record.exc_info = sys.exc_info()
    assert "\n" not in JsonFormatter().format(record)


@pytest.fixture
def controller():
    async def make():
        client = Client(api.ApiClient(api.Configuration(host="http://127.0.0.1:1")))
        found = Controller(client, Settings(), LoopMeasures())
        await client.close()
        return found

    import asyncio

    return asyncio.run(make())


def collected(controller):
    return {metric.name: metric for metric in StateCollector(controller).collect()}


def value(metric, **labels):
    (sample,) = [each for each in metric.samples if labels.items() <= each.labels.items()]
    return sample.value


def test_metrics_tell_how_resources_stand_in_base_units(controller):
    world = World()
    world.node("board-a", device="pi")
    key = world.apply("ProfilingJob", "p")
    waiting = world.apply("ProfilingJob", "q")
    search = world.apply(
        "CoDesignSearch",
        "s",
        spec_of("CoDesignSearch", devices=[{"name": "sim", "simulation": "intel-ncs2"}]),
    )
    world.settle()
    world.start_pods()
    world.report(key, status={"measured": 5, "errors": [{"measure": "energyMj", "error": 0.1}]})
    best = {
        "id": 1,
        "architecture": "ab",
        "device": "sim",
        "accuracy": 0.75,
        "latencyMs": {"value": 20.0, "source": "measured"},
        "energyMj": {"value": None, "source": "measured"},
    }
    world.report(search, status={"best": best, "failed": 2, "hypervolume": 0.5})
    world.settle()
    controller.cache, controller.boards = world.cache, world.boards
    found = collected(controller)
    states = found["edgetran_resources"]
    assert value(states, kind="ProfilingJob", condition="Reconciling", reason="DeviceBusy") == 1
    measured = found["edgetran_profiling_architectures"]
    assert value(measured, name="p", state="measured") == 5
    assert value(found["edgetran_profiling_surrogate_error_ratio"], measure="energyMj") == 0.1
    assert value(found["edgetran_trials"], state="failed") == 2
    assert value(found["edgetran_search_hypervolume"], name="s") == 0.5
    assert value(found["edgetran_search_best_latency_seconds"], device="sim") == 0.02
    assert value(found["edgetran_search_best_accuracy_ratio"], device="sim") == 0.75
    assert found["edgetran_search_best_energy_joules"].samples == []
    assert value(found["edgetran_board_queue_length"], device="pi") == 1
    assert waiting.name == "q"


def test_one_that_stands_by_says_nothing_of_resources(controller):
    world = World()
    world.node("board-a", device="pi")
    world.apply("ProfilingJob", "p")
    world.settle()
    controller.cache, controller.boards = world.cache, world.boards
    assert value(collected(controller)["edgetran_operator_acts"]) == 1
    controller.acts = False
    found = collected(controller)
    assert value(found["edgetran_operator_acts"]) == 0
    assert not {"edgetran_resources", "edgetran_resource_state", "edgetran_device_nodes"} & set(
        found
    )
    assert "edgetran_api_requests" in found


def test_no_metric_has_a_label_that_grows_with_time(controller):
    for metric in collected(controller).values():
        for sample in metric.samples:
            assert not {"uid", "pod"} & set(sample.labels)


def test_reconciliations_are_counted(controller):
    controller.measures.reconciled("ProfilingJob", "changed", 0.2)
    controller.measures.reconciled("ProfilingJob", "error", 0.1)
    controller.measures.lag(0.03)
    count = controller.measures.registry.get_sample_value
    assert count("edgetran_reconcile_total", {"kind": "ProfilingJob", "result": "changed"}) == 1
    assert count("edgetran_reconcile_errors_total", {"kind": "ProfilingJob"}) == 1
    assert count("edgetran_reconcile_errors_total", {"kind": "GPTranRun"}) == 0
    assert count("edgetran_loop_lag_seconds_bucket", {"le": "0.05"}) == 1
    assert count("edgetran_build_info", {"version": __import__("edgetran").__version__}) == 1


@pytest.mark.parametrize(
    ("host", "address"),
    [("10.43.0.1", "https://10.43.0.1:6443"), ("fd00::1", "https://[fd00::1]:6443")],
    ids=["v4", "v6"],
)
def test_a_pod_needs_no_dns_to_find_the_api_server(monkeypatch, host, address):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    assert api_server_of_pods() == address
