"""hack/cluster: an API server that starts, stops, comes back and never stays behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "hack" / "cluster"

pytestmark = pytest.mark.integration


def tool(folder, *words, **options):
    command = [sys.executable, str(TOOL), "--folder", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def kubectl(kubeconfig, *words):
    command = ["kubectl", "--kubeconfig", str(kubeconfig), "--request-timeout=5s", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def pids(folder):
    records = [json.loads(file.read_text()) for file in (folder / "processes").glob("*.json")]
    return [record["pid"] for record in records]


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tool") / "state"
    audit = folder.parent / "audit.log"
    done = tool(folder, "api-only", "--controllers", "--audit", str(audit))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(folder / "kubeconfig")
    yield folder
    assert tool(folder, "down").returncode == 0
    assert not folder.exists()


def test_status_tells_what_runs(up):
    done = tool(up, "status")
    assert done.returncode == 0
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["apiserver", "running,"],
        ["controllers", "running,"],
        ["etcd", "running,"],
    ]


def test_another_user_may_do_what_rbac_allows(up):
    done = tool(up, "kubeconfig", "--user", "system:serviceaccount:default:run", "--group", "runs")
    mine = done.stdout.strip()
    assert kubectl(mine, "get", "configmaps").returncode != 0
    rules = ("--verb=list", "--resource=configmaps")
    assert kubectl(up / "kubeconfig", "create", "role", "reader", *rules).returncode == 0
    binding = ("rolebinding", "reader", "--role=reader", "--group=runs")
    assert kubectl(up / "kubeconfig", "create", *binding).returncode == 0
    assert kubectl(mine, "get", "configmaps").returncode == 0
    assert kubectl(mine, "get", "secrets").returncode != 0


def test_the_controllers_remove_what_has_lost_its_owner(up):
    kubeconfig = up / "kubeconfig"
    assert kubectl(kubeconfig, "create", "configmap", "owner").returncode == 0
    uid = kubectl(kubeconfig, "get", "configmap", "owner", "-o", "jsonpath={.metadata.uid}").stdout
    child = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "child",
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}
            ],
        },
    }
    file = up.parent / "child.json"
    file.write_text(json.dumps(child))
    assert kubectl(kubeconfig, "create", "-f", str(file)).returncode == 0
    assert kubectl(kubeconfig, "delete", "configmap", "owner").returncode == 0
    deadline = time.monotonic() + 60
    while kubectl(kubeconfig, "get", "configmap", "child").returncode == 0:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_the_audit_log_has_a_line_per_request(up):
    before = (up.parent / "audit.log").read_text().count("\n")
    assert kubectl(up / "kubeconfig", "get", "secrets", "-n", "kube-public").returncode == 0
    lines = (up.parent / "audit.log").read_text().splitlines()[before:]
    events = [json.loads(line) for line in lines]
    mine = [each for each in events if each["user"].get("username") == "admin"]
    assert [
        each["verb"] for each in mine if each.get("objectRef", {}).get("resource") == "secrets"
    ] == ["list"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["restart", "kubelet-a"], "no component kubelet-a; allowed is apiserver, "),
        (["label", "server", "a"], "a was given; allowed is LABEL=VALUE or LABEL-"),
        (["label", "server", "a=b"], 'nodes "server" not found'),
        (["load", "nothing.tar"], "nothing.tar is not a file"),
    ],
)
def test_a_mistake_is_answered_in_one_line(up, words, message):
    done = tool(up, *words)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.startswith("cluster: ")
    assert "Traceback" not in done.stderr


def test_an_outage_keeps_what_was_stored(up):
    kubeconfig = up / "kubeconfig"
    assert kubectl(kubeconfig, "create", "configmap", "kept").returncode == 0
    for component in ("apiserver", "etcd"):
        assert tool(up, "stop", component).returncode == 0
        stopped = tool(up, "status")
        assert stopped.returncode == 1
        assert f"{component:<24} stopped" in stopped.stdout
        assert kubectl(kubeconfig, "get", "configmap", "kept").returncode != 0
        assert tool(up, "start", component).returncode == 0
        assert kubectl(kubeconfig, "get", "configmap", "kept").returncode == 0
        assert tool(up, "restart", component).returncode == 0
        assert kubectl(kubeconfig, "get", "configmap", "kept").returncode == 0


@pytest.mark.parametrize("words", [["status"], ["label", "a", "b=c"], ["kubeconfig"]])
def test_without_a_cluster_it_says_how_to_start_one(tmp_path, words):
    done = tool(tmp_path / "none", *words)
    assert done.returncode == 1
    assert "no cluster is up" in done.stderr


def held(folder):
    command = [sys.executable, str(TOOL), "--folder", str(folder), "api-only", "--hold"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout.readline().strip() == str(folder / "kubeconfig")
    return process


def test_two_at_once_do_not_disturb_each_other_and_end_with_their_holders(tmp_path):
    first, second = held(tmp_path / "a"), held(tmp_path / "b")
    assert kubectl(tmp_path / "a" / "kubeconfig", "create", "namespace", "mine").returncode == 0
    assert kubectl(tmp_path / "b" / "kubeconfig", "get", "namespace", "mine").returncode != 0
    processes = pids(tmp_path / "a") + pids(tmp_path / "b")
    assert len(processes) == 4
    assert all(map(running, processes))
    first.stdin.close()
    os.kill(second.pid, signal.SIGTERM)
    assert first.wait(30) == 0
    assert second.wait(30) == 143
    for process in (first, second):
        process.stdout.close()
    second.stdin.close()
    assert not any(map(running, processes))
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()


def test_a_held_cluster_starts_again_what_ended_but_not_what_was_stopped(tmp_path):
    folder = tmp_path / "state"
    process = held(folder)
    kubeconfig = folder / "kubeconfig"
    try:
        assert kubectl(kubeconfig, "create", "configmap", "kept").returncode == 0
        for pid in pids(folder):
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 120
        while kubectl(kubeconfig, "get", "configmap", "kept").returncode:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert "ended by itself" in (folder / "logs" / "apiserver.log").read_text()
        assert tool(folder, "stop", "apiserver").returncode == 0
        time.sleep(3)
        assert "apiserver                stopped" in tool(folder, "status").stdout
        assert tool(folder, "stop", "etcd").returncode == 0
        assert tool(folder, "start").returncode == 0
        assert kubectl(kubeconfig, "get", "configmap", "kept").returncode == 0
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(30)
    assert not folder.exists()


def test_a_recorded_number_that_another_process_has_now_is_left_alone(tmp_path):
    folder = tmp_path / "state"
    (folder / "processes").mkdir(parents=True)
    with subprocess.Popen(["sleep", "60"]) as bystander:
        record = {"command": ["etcd"], "pid": bystander.pid, "startTime": "1"}
        (folder / "processes" / "etcd.json").write_text(json.dumps(record))
        assert tool(folder, "down").returncode == 0
        assert bystander.poll() is None
        bystander.kill()


def test_what_does_not_start_shows_the_end_of_its_log(tmp_path):
    folder = tmp_path / "state"
    broken = tmp_path / "bin"
    broken.mkdir()
    (broken / "etcd").write_text("#!/bin/sh\necho 'no disk left'; exit 3\n")
    (broken / "etcd").chmod(0o755)
    path = f"{broken}{os.pathsep}{os.environ['PATH']}"
    done = tool(folder, "api-only", env={**os.environ, "PATH": path})
    assert done.returncode == 1
    assert "no disk left" in done.stderr
    assert not any(map(running, pids(folder)))


def test_no_outgoing_connection_takes_the_port_of_a_stopped_component():
    printed = subprocess.run(
        [sys.executable, "-c", "from kube.processes import free_ports; print(*free_ports(50))"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT / "hack",
    )
    ports = [int(word) for word in printed.stdout.split()]
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert len(set(ports)) == 50
    if first < 12_000:
        pytest.skip("this kernel takes the ports of outgoing connections from everywhere")
    assert not [port for port in ports if first <= port <= last]
