"""`kubectl edgetran` against a real API server, and against what is none."""

from __future__ import annotations

import base64
import gzip
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_fixtures import ApiServer
from typer.testing import CliRunner, Result

from edgetran.api import API_VERSION
from edgetran.api.wire import PART_KEY
from edgetran.devices import Figure, Workload, simulated_device
from edgetran.kubectl import app
from edgetran.profiling import (
    Measurement,
    ProfilingPlan,
    Statistics,
    import_profile,
    profile_device,
)
from edgetran.runner.published import encode
from edgetran.space import Architecture, DesignSpace

pytestmark = pytest.mark.integration

PLURALS = {
    "ProfilingJob": "profilingjobs",
    "CoDesignSearch": "codesignsearches",
    "GPTranRun": "gptranruns",
}
SPECS: dict[str, dict[str, Any]] = {
    "ProfilingJob": {
        "device": {"name": "pi", "nodeSelector": {"edgetran.io/device": "pi"}},
        "designSpace": {"preset": "tiny"},
    },
    "CoDesignSearch": {
        "task": {"name": "movie-reviews"},
        "designSpace": {"preset": "tiny"},
        "devices": [{"name": "pi", "simulation": "raspberry-pi-4-cpu"}],
    },
    "GPTranRun": {"searchRef": {"name": "tickets"}},
}
RUNNING = {
    "type": "Succeeded", "status": "Unknown", "reason": "Running", "message": "it is measuring",
    "lastTransitionTime": "2026-01-15T12:00:00Z",
}  # fmt: skip
DONE = RUNNING | {"status": "True", "reason": "Succeeded", "message": "all is done"}

Plugin = Callable[..., Result]


@pytest.fixture
def namespace(api_server: ApiServer) -> str:
    return api_server.namespace()


@pytest.fixture
def plugin(api_server: ApiServer, namespace: str) -> Plugin:
    """Call the plugin in the test's namespace."""

    def call(command: str, *words: str, with_namespace: bool = True) -> Result:
        place = ["--kubeconfig", str(api_server.kubeconfig)]
        place += ["-n", namespace] if with_namespace else []
        arguments = [command, *words, *place]
        return CliRunner().invoke(app, arguments, env={"COLUMNS": "140"})

    return call


@pytest.fixture
def make(api_server: ApiServer, namespace: str) -> Callable[..., dict[str, Any]]:
    """Create a resource, with a status."""

    def create(kind: str, name: str, **status: Any) -> dict[str, Any]:
        place = f"/apis/{API_VERSION}/namespaces/{namespace}/{PLURALS[kind]}"
        body = {
            "apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name},
            "spec": SPECS[kind],
        }  # fmt: skip
        made: dict[str, Any] = api_server.call("POST", place, body)
        if status:
            made = api_server.call("PATCH", f"{place}/{name}/status", {"status": status})
        return made

    return create


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    assert len(result.stderr.strip().splitlines()) == 1
    for word in words:
        assert word in result.stderr, result.stderr


def test_status_finds_a_name_among_the_kinds(plugin: Plugin, make: Any, namespace: str) -> None:
    make("ProfilingJob", "pi", conditions=[RUNNING], progress="3/24", measured=3)
    for name in ("pi", "pj/pi", "profilingjob/pi", "profilingjobs.edgetran.io/pi"):
        result = plugin("status", name)
        assert result.exit_code == 0, result.output
        for word in ("ProfilingJob/pi", namespace, "it is measuring", "3/24", "3 measured"):
            assert word in result.stdout


def test_status_as_json_has_the_resource_and_the_workers_summary(
    plugin: Plugin, make: Any, api_server: ApiServer, namespace: str
) -> None:
    make("CoDesignSearch", "tickets", conditions=[RUNNING], progress="1/9")
    summary = {"schemaVersion": 1, "progress": "4/9", "timeLeftSeconds": 61, "stage": "search"}
    put_config_map(api_server, namespace, "tickets-cds-results-0", data={
        "summary.json": json.dumps(summary)})  # fmt: skip
    found = json.loads(plugin("status", "tickets", "-o", "json").stdout)
    assert found["resource"]["metadata"]["name"] == "tickets"
    assert found["summary"] == summary
    screen = plugin("status", "tickets").stdout
    assert "4/9" in screen
    assert "1:01 left" in screen


def put_config_map(server: ApiServer, namespace: str, name: str, **content: Any) -> None:
    body = {"metadata": {"name": name}, **content}
    server.call("POST", f"/api/v1/namespaces/{namespace}/configmaps", body)


def test_watching_ends_when_the_work_does(
    plugin: Plugin, make: Any, api_server: ApiServer, namespace: str
) -> None:
    make("ProfilingJob", "pi", conditions=[RUNNING])
    place = f"/apis/{API_VERSION}/namespaces/{namespace}/profilingjobs/pi/status"
    end = threading.Timer(
        1.0, api_server.call, ("PATCH", place, {"status": {"conditions": [DONE]}})
    )
    end.start()
    result = plugin("status", "pi", "--watch")
    end.join()
    assert result.exit_code == 0, result.output
    assert "it is measuring" in result.stdout
    assert "all is done" in result.stdout


def test_a_name_that_several_kinds_have_must_be_said_with_its_kind(
    plugin: Plugin, make: Any
) -> None:
    make("ProfilingJob", "same")
    make("CoDesignSearch", "same")
    refused(plugin("status", "same"), "pj/same and cds/same", "say which")
    assert "CoDesignSearch/same" in plugin("status", "cds/same").stdout


def test_what_is_not_there_is_answered_with_what_is(plugin: Plugin, make: Any) -> None:
    refused(plugin("status", "tickets"), "named 'tickets'", "it has none at all")
    make("CoDesignSearch", "tickets")
    refused(plugin("status", "tikets"), "named 'tikets'", "did you mean cds/tickets?")
    refused(plugin("status", "pj/tickets"), "no ProfilingJob named 'tickets'")
    refused(plugin("status", "job/tickets"), "job: there is no such kind", "(pj)")


def test_logs_of_work_without_a_pod_say_where_else_to_look(plugin: Plugin, make: Any) -> None:
    device = {"name": "pi", "source": "measured", "profilingJob": "tickets-pi", "ready": False}
    make("CoDesignSearch", "tickets", devices=[device])
    refused(plugin("logs", "tickets"), "CoDesignSearch/tickets has no pod", "pj/tickets-pi")


def test_logs_of_a_pod_that_has_not_begun_say_so(
    plugin: Plugin, make: Any, api_server: ApiServer, namespace: str
) -> None:
    make("ProfilingJob", "pi")
    api_server.call("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts",
                    {"metadata": {"name": "default"}})  # fmt: skip
    pod = {
        "metadata": {
            "name": "pi-pj-worker-x",
            "labels": {"edgetran.io/kind": "ProfilingJob", "edgetran.io/name": "pi"},
        },
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [{"name": "sidecar", "image": "x"}, {"name": "worker", "image": "x"}],
        },
    }
    api_server.call("POST", f"/api/v1/namespaces/{namespace}/pods", pod)
    refused(plugin("logs", "pi"), "pod pi-pj-worker-x has not begun: it waits for a node")
    why = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
           "message": "0/3 nodes are available"}  # fmt: skip
    place = f"/api/v1/namespaces/{namespace}/pods/pi-pj-worker-x/status"
    api_server.call("PATCH", place, {"status": {"conditions": [why]}})
    refused(plugin("logs", "pi", "-f"), "Unschedulable: 0/3 nodes are available")


def test_devices_are_the_labelled_nodes_with_jobs_of_all_namespaces(
    plugin: Plugin, make: Any, api_server: ApiServer, namespace: str
) -> None:
    for name, labels in (("board-a", {"edgetran.io/device": "pi"}), ("server", {})):
        api_server.call("POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": labels}})
    try:
        make("ProfilingJob", "first", node="board-a")
        make("ProfilingJob", "next")
        result = plugin("devices", with_namespace=False)
        assert result.exit_code == 0, result.output
        for word in ("board-a", "not ready", f"{namespace}/first", f"{namespace}/next"):
            assert word in result.stdout
        assert "server" not in result.stdout
        (board,) = json.loads(plugin("devices", "-o", "json", with_namespace=False).stdout)
        assert board["measuring"] == f"{namespace}/first"
        here = [job for job in board["queue"] if job.startswith(f"{namespace}/")]
        assert here == [f"{namespace}/next"]
    finally:
        for name in ("board-a", "server"):
            api_server.call("DELETE", f"/api/v1/nodes/{name}")


def publish(
    server: ApiServer, namespace: str, prefix: str, *parts: Mapping[str, Sequence[bytes]]
) -> None:
    """Put records into results ConfigMaps as workers do, and an empty one after them."""
    for number, part in enumerate([*parts, {}]):
        lines = b"".join(encode(log, line) for log, lines in part.items() for line in lines)
        data = base64.b64encode(gzip.compress(lines, mtime=0)).decode() if lines else ""
        put_config_map(server, namespace, f"{prefix}-{number}", binaryData={PART_KEY: data})


@pytest.fixture(scope="module")
def profile_lines(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The records of a real log of the profiling room, measured by arithmetic."""
    plan = ProfilingPlan(
        device="pi", workload=Workload(1, 128), threads=1, mode="quick", initial=12,
        max_measurements=12,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("profile") / "pi.jsonl"
    board = simulated_device("raspberry-pi-4-cpu")

    def measure(architectures: Sequence[Architecture]) -> Iterator[Measurement]:
        for architecture in architectures:
            figures = board.estimate(architecture, plan.workload)
            latency = Statistics.of([figures.latency_ms.value] * 10)
            watts = Figure(4.0, "W", "measured")
            yield Measurement(
                architecture=architecture, device="pi", engine="torch", precision="fp32",
                threads=1, workload=plan.workload, mode="quick",
                versions=dict(plan.key().versions), latency_ms=latency, batch_latency_ms=latency,
                energy_mj=figures.energy_mj, energy_idle_subtracted_mj=figures.energy_mj,
                batch_energy_mj=figures.energy_mj, peak_power_w=watts, idle_power_w=watts,
                power=None, cold_start_ms=1.0, stable=True, drift=0.0, attempts=1,
                measured_at="2026-01-01T00:00:00+00:00",
            )  # fmt: skip

    profile_device(plan, DesignSpace.preset("tiny"), path, measurer=measure)
    return path.read_bytes().splitlines()


def test_a_profile_that_goes_on_is_shown_from_all_its_parts(
    plugin: Plugin,
    make: Any,
    api_server: ApiServer,
    namespace: str,
    profile_lines: list[bytes],
    tmp_path: Path,
) -> None:
    make("ProfilingJob", "pi", conditions=[RUNNING])
    refused(plugin("show", "pi"), "nothing to show yet")
    log = "profiles/pi.jsonl"
    publish(
        api_server, namespace, "pi-pj-results",
        {log: profile_lines[:5]}, {log: profile_lines[5:9]},
    )  # fmt: skip
    result = plugin("show", "pi")
    assert result.exit_code == 0, result.output
    for words in (
        "ProfilingJob/pi is not finished",
        "9 architectures measured",
        "Latency",
        "Energy",
        "±",
    ):
        assert words in result.stdout
    found = json.loads(plugin("show", "pi", "-o", "json").stdout)
    assert found["counts"]["measurements"] == 9
    file = tmp_path / "pi.json"
    assert plugin("profile", "pi", "-o", str(file)).exit_code == 0
    assert len(import_profile(file).measurements) == 9
    other = plugin("profile", "pi", "--device", "jetson", "-o", str(file))
    assert other.exit_code == 2, other.output
    assert "edgetran: pi: holds no profile of jetson; allowed are pi" in other.stderr
    page = tmp_path / "pi.html"
    assert plugin("report", "pi", "-o", str(page)).exit_code == 0
    assert "The run is not finished" in page.read_text()


def test_a_finished_run_is_shown_as_its_result_says(
    plugin: Plugin, make: Any, api_server: ApiServer, namespace: str, profile_lines: list[bytes]
) -> None:
    """The profiles of a search come from its ProfilingJobs."""
    devices = [{"name": "pi", "source": "measured", "profilingJob": "tickets-pi", "ready": True}]
    make("ProfilingJob", "tickets-pi", conditions=[DONE])
    make("CoDesignSearch", "tickets", conditions=[DONE], devices=devices,
         artifacts="s3://models/tickets")  # fmt: skip
    publish(api_server, namespace, "tickets-pi-pj-results", {"profiles/pi.jsonl": profile_lines})
    figures = {
        "accuracy": Figure(0.8125, "", "measured").to_dict(),
        "latencyMs": Figure(7.5, "ms", "predicted").to_dict(),
    }
    row = {"title": "Winner", "device": "pi", "deviceKind": "node", "figures": figures,
           "artifact": {"sha256": "ab", "engine": "torch", "precision": "fp32"}}  # fmt: skip
    final = {"schemaVersion": 1, "name": "tickets", "winner": row, "baseline": None, "notes": []}
    publish(
        api_server, namespace, "tickets-cds-results",
        {"result.json": [json.dumps(final).encode()]},
    )  # fmt: skip
    result = plugin("show", "tickets")
    assert result.exit_code == 0, result.output
    assert "is not finished" not in result.stdout
    for words in ("Winner", "0.8125 measured", "7.50 ms predicted"):
        assert words in result.stdout
    found = json.loads(plugin("show", "tickets", "-o", "json").stdout)
    assert found["winner"] == row
    make("ProfilingJob", "tickets--verify", conditions=[DONE], finalists=[
        {"finalist": "winner", "artifact": "ab", "latencyMs": {"value": 8.25, "source": "measured"}}
    ])  # fmt: skip
    assert "8.25 ms measured" in plugin("show", "tickets").stdout
    found = json.loads(plugin("show", "tickets", "-o", "json").stdout)
    assert found["winner"]["figures"]["accuracy"] == row["figures"]["accuracy"]
    assert "Models and samples are in s3://models/tickets." in found["notes"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (base64.b64encode(b"no gzip").decode(), "results part 0: is not gzip"),
        (
            base64.b64encode(gzip.compress(b'{"log": "../x.jsonl", "record": {}}\n')).decode(),
            "line 1 is not a record of a file in a run's folder",
        ),
        (
            base64.b64encode(
                gzip.compress(b'{"log": "profiles/pi.jsonl", "record": {"kind": "x"}}\n')
            ).decode(),
            "its results cannot be read",
        ),
    ],
    ids=["no gzip", "climbs out of the folder", "no record of a profile"],
)
def test_results_that_no_worker_wrote_are_one_sentence(
    plugin: Plugin, make: Any, api_server: ApiServer, namespace: str, data: str, words: str
) -> None:
    make("ProfilingJob", "pi", conditions=[RUNNING])
    put_config_map(api_server, namespace, "pi-pj-results-0", binaryData={PART_KEY: data})
    refused(plugin("show", "pi"), words)


def test_kubectl_itself_finds_the_plugin(
    api_server: ApiServer, make: Any, namespace: str, tmp_path: Path
) -> None:
    """kubectl runs whatever `kubectl-NAME` is on the path, with the words after NAME."""
    make("GPTranRun", "better", conditions=[RUNNING])
    program = tmp_path / "kubectl-edgetran"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m edgetran.kubectl "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "KUBECONFIG": str(api_server.kubeconfig),
    }
    done = subprocess.run(
        ["kubectl", "edgetran", "status", "gpt/better", "-n", namespace],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "GPTranRun/better" in done.stdout


def test_the_namespace_is_the_contexts_own_where_none_is_given(
    api_server: ApiServer, make: Any, namespace: str, tmp_path: Path
) -> None:
    make("ProfilingJob", "pi")
    settings = yaml.safe_load(api_server.kubeconfig.read_text())
    own = dict(settings["contexts"][0]["context"]) | {"namespace": namespace}
    settings["contexts"].append({"name": "own", "context": own})
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(settings))
    words = ["status", "pi", "--kubeconfig", str(path)]
    assert CliRunner().invoke(app, [*words, "--context", "own"]).exit_code == 0
    refused(CliRunner().invoke(app, words), "namespace default has no")
    refused(CliRunner().invoke(app, [*words, "--context", "no"]), "no cluster is configured", "no")


def test_a_user_without_rights_is_told_what_is_forbidden(
    api_server: ApiServer, namespace: str
) -> None:
    place = ["--kubeconfig", str(api_server.as_user("nobody")), "-n", namespace]
    refused(CliRunner().invoke(app, ["status", "x", *place]), "refuses", "forbidden", "nobody")


def test_a_cluster_without_our_kinds_says_that_they_are_missing(tmp_path: Path) -> None:
    with answering(
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 19\r\n\r\n404 page not found\n"
    ) as at:
        path = kubeconfig(tmp_path, at)
        refused(CliRunner().invoke(app, ["status", "x", "--kubeconfig", str(path)]),
                "does not know ProfilingJob", "not installed")  # fmt: skip


def test_a_cluster_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        at = f"http://127.0.0.1:{unused.getsockname()[1]}"
    path = kubeconfig(tmp_path, at)
    for command in (["status", "x"], ["logs", "x"], ["devices"]):
        result = CliRunner().invoke(app, [*command, "--kubeconfig", str(path)])
        refused(result, "no cluster answers at", at, "refused")


@pytest.mark.parametrize("text", [None, "", "{}", "nonsense: [", "- 1", "clusters: 5"])
def test_a_kubeconfig_that_is_none_is_one_sentence(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "kubeconfig"
    if text is not None:
        path.write_text(text)
    result = CliRunner().invoke(app, ["status", "x", "--kubeconfig", str(path)])
    refused(result, "no cluster is configured")


def test_an_output_that_is_none_is_refused(plugin: Plugin) -> None:
    result = plugin("status", "x", "-o", "yaml")
    assert result.exit_code == 2
    assert "--output: yaml was given; allowed is json" in result.stderr


def kubeconfig(folder: Path, server: str) -> Path:
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }))  # fmt: skip
    return path


class answering:
    """A server that gives every request the same answer."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> str:
        threading.Thread(target=self._serve, daemon=True).start()
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(self._answer)

    def __exit__(self, *_: object) -> None:
        self._socket.close()
