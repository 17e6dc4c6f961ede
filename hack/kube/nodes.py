"""Nodes: each a kubelet with its own containerd, cgroup and bridge of pods."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

from kube import images, mounts, network
from kube.errors import LocalClusterError
from kube.processes import free_ports, run
from kube.state import State

_CGROUPS: Final = Path("/sys/fs/cgroup")
_CPUSET: Final = ("cpuset.cpus", "cpuset.mems")
"""What a new cgroup of version 1 does not take over from the one above it."""

_OWN_FOLDERS: Final = {
    "/var/lib/kubelet": "kubelet",
    "/var/log/pods": "pod-logs",
    "/var/log/containers": "container-logs",
}
"""Folders that every kubelet takes for its own, and what stands there for one node: kubelets that
shared them would remove the logs of each other's pods."""


@dataclass(frozen=True)
class NodeSpec:
    """A node to be started.

    Attributes:
        name: its name, also of its folder and components.
        labels: as a kubelet reads them: `LABEL=VALUE,LABEL=VALUE`.
    """

    name: str
    labels: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The node `NAME[:LABEL=VALUE,...]`.

        Raises:
            LocalClusterError: the text is something else.
        """
        name, _, labels = text.partition(":")
        letters = name.replace("-", "")
        if not (letters.isascii() and letters.isalnum() and name == name.lower()):
            raise LocalClusterError(f"{text} was given; allowed is NAME[:LABEL=VALUE,...]")
        return cls(name, labels)


def require_root_and_cgroups() -> None:
    """Check that containers can be started.

    Raises:
        LocalClusterError: this user or this kernel cannot.
    """
    instead = "api-only needs neither, and EDGETRAN_KUBECONFIG may name a cluster that exists"
    if os.geteuid() != 0:
        raise LocalClusterError(f"nodes need root: containers, cgroups, iptables; {instead}")
    if not (_CGROUPS / "cpuset" / "cgroup.procs").exists():
        raise LocalClusterError(
            f"this Kubernetes needs cgroups of version 1 in {_CGROUPS}; {instead}"
        )


def start(
    state: State, programs: Path, index: int, spec: NodeSpec, archives: Sequence[Path]
) -> None:
    """Start one node with the images in `archives`.

    Raises:
        LocalClusterError: it does not start.
    """
    folder = state.nodes / spec.name
    (folder / "cni").mkdir(parents=True)
    (folder / "cni" / "10-bridge.conflist").write_text(_network_config(folder, index))
    (folder / "containerd.toml").write_text(_containerd_config(folder, spec.name))
    mounts.create(spec.name, {place: folder / name for place, name in _OWN_FOLDERS.items()})
    within = mounts.within(spec.name)
    containerd = [*within, "containerd", "-c", str(folder / "containerd.toml")]
    state.processes.start(_containerd(spec.name), containerd)
    _wait_for_containerd(state, spec.name)
    for archive in archives:
        import_image(spec.name, archive)
    _make_cgroup(_cgroup(spec.name))
    identity = f"node-{spec.name}"
    state.pki.issue(identity, f"system:node:{spec.name}", ["system:nodes"])
    (folder / "kubelet.json").write_text(_kubelet_config(state, spec.name, index))
    command = [
        *within,
        str(programs / "kubelet"),
        f"--config={folder / 'kubelet.json'}",
        f"--kubeconfig={state.write_kubeconfig(identity)}",
        f"--hostname-override={spec.name}",
        f"--cert-dir={folder / 'kubelet-pki'}",
        "--container-runtime=remote",
        f"--container-runtime-endpoint=unix://{_socket(spec.name)}",
        f"--node-ip={network.HOST_IP}",
    ]
    if spec.labels:
        command.append(f"--node-labels={spec.labels}")
    state.processes.start(_kubelet(spec.name), command)


def wait_until_ready(state: State, specs: Sequence[NodeSpec]) -> None:
    """Wait until every node can run pods.

    Raises:
        LocalClusterError: a kubelet ended, or it took more than a minute.
    """

    def ready(name: str) -> bool:
        try:
            return is_ready(json.loads(state.ask(f"/api/v1/nodes/{name}")))
        except LocalClusterError:
            return False

    for spec in specs:
        state.processes.wait_until(
            f"node {spec.name} is ready", partial(ready, spec.name), of=_kubelet(spec.name)
        )


def is_ready(node: dict[str, Any]) -> bool:
    """Whether a node, as the API server tells it, can run pods."""
    conditions = node["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def names(state: State) -> list[str]:
    """The nodes of a cluster."""
    return sorted(path.name for path in state.nodes.glob("*")) if state.nodes.exists() else []


def import_image(name: str, archive: Path) -> None:
    """Import a docker archive on one node.

    Raises:
        LocalClusterError: containerd refuses it.
    """
    _ctr(name, "images", "import", str(archive))


def stop_all(state: State) -> None:
    """End every node: kubelet, containers, containerd; undo its mounts, cgroup and sockets."""
    known, running = state.processes.names(), names(state)
    for name in running:
        if _kubelet(name) in known:
            state.processes.stop(_kubelet(name))
    for name in running:
        if _containerd(name) in known:
            with suppress(
                LocalClusterError
            ):  # whatever is wrong with one node, all the rest must go
                state.processes.start(_containerd(name))  # a stopped one has containers still
                _wait_for_containerd(state, name)
                _remove_containers(name)
            state.processes.stop(_containerd(name))
        mounts.remove(name)
        shutil.rmtree(_run_folder(name), ignore_errors=True)
        for socket in (_socket(name), _socket(name).with_suffix(".sock.ttrpc")):
            socket.unlink(missing_ok=True)
        _remove_cgroup(_cgroup(name))


def _remove_containers(name: str) -> None:
    for task in _ctr(name, "tasks", "ls", "-q", check=False).split():
        _ctr(name, "tasks", "rm", "-f", task, check=False)
    for container in _ctr(name, "containers", "ls", "-q", check=False).split():
        _ctr(name, "containers", "rm", container, check=False)


def _wait_for_containerd(state: State, name: str) -> None:
    def answers() -> bool:
        return bool(_ctr(name, "version", check=False))

    state.processes.wait_until(f"containerd of {name} answers", answers, of=_containerd(name))


def _containerd(name: str) -> str:
    return f"containerd-{name}"


def _kubelet(name: str) -> str:
    return f"kubelet-{name}"


def _cgroup(name: str) -> str:
    return f"edgetran-{name}"


def _run_folder(name: str) -> Path:
    return Path(f"/run/edgetran-{name}")


def _socket(name: str) -> Path:
    return Path(f"/run/edgetran-{name}.sock")


def _ctr(name: str, *words: str, check: bool = True) -> str:
    return run("ctr", "-a", _socket(name), "-n", "k8s.io", *words, check=check)


def _network_config(folder: Path, index: int) -> str:
    subnet = {"subnet": f"10.244.{index}.0/24"}
    bridge = {
        "type": "bridge",
        "bridge": network.pod_link(index),
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(folder / "addresses"),
            "ranges": [[subnet]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return json.dumps({"cniVersion": "0.4.0", "name": "edgetran", "plugins": [bridge]})


def _containerd_config(folder: Path, name: str) -> str:
    return f"""\
version = 2
root = "{folder}/containerd"
state = "{_run_folder(name)}"
[grpc]
address = "{_socket(name)}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{images.PAUSE}"
disable_tcp_service = true
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{folder}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""


def _kubelet_config(state: State, name: str, index: int) -> str:
    (port,) = free_ports(1)
    authentication = {
        "anonymous": {"enabled": False},
        "webhook": {"enabled": True},
        "x509": {"clientCAFile": str(state.pki.authority)},
    }
    config = {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "authentication": authentication,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{_cgroup(name)}",
        "cgroupsPerQOS": True,
        "enforceNodeAllocatable": ["pods"],
        "failSwapOn": False,
        "port": port,
        "readOnlyPort": 0,
        "clusterDNS": [network.DNS_IP],
        "clusterDomain": "cluster.local",
        "healthzPort": 0,
        "podCIDR": f"10.244.{index}.0/24",
        "hairpinMode": "none",
        "makeIPTablesUtilChains": index == 0,
        "nodeStatusUpdateFrequency": "4s",
        # A developer's disk may be nearly full without harm to a test.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
        },
    }
    return json.dumps(config)


def _make_cgroup(name: str) -> None:
    for controller in _controllers():
        group = controller / name
        group.mkdir(exist_ok=True)
        for knob in _CPUSET:
            if (group / knob).exists():
                (group / knob).write_text((controller / knob).read_text())


def _remove_cgroup(name: str) -> None:
    for controller in _CGROUPS.iterdir():  # runc makes one in the unified hierarchy as well
        folders = [path for path in (controller / name).rglob("*") if path.is_dir()]
        for folder in [*sorted(folders, reverse=True), controller / name]:
            try:
                folder.rmdir()
            except OSError:  # gone already, or a process is still ending in it
                continue


def _controllers() -> list[Path]:
    return [path for path in _CGROUPS.iterdir() if path.name != "unified" and path.is_dir()]
