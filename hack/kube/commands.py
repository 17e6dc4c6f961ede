"""What `hack/cluster` does, command by command."""

from __future__ import annotations

import json
import os
import select
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from kube import binaries, control_plane, network, nodes
from kube.errors import LocalClusterError
from kube.images import host_image, pause_image
from kube.nodes import NodeSpec
from kube.state import State

_ORDER = ("proxy", "scheduler", "controllers", "apiserver", "etcd")
"""The order in which the control plane ends, after the nodes."""

_BACK_SECONDS = 180.0
"""How long an API server may take after an outage; on a busy machine it is more than a minute."""

_LOOK_SECONDS = 1.0
"""How often a held cluster is looked at."""


def api_only(
    state: State, *, controllers: bool = False, audit: Path | None = None, hold: bool = False
) -> None:
    """Start etcd and an API server on free ports of loopback, and perhaps the controllers."""
    down(state)
    try:
        binaries.require(binaries.CONTROL_PLANE)
        programs = binaries.kubernetes()
        control_plane.start_api(state, programs, audit=audit)
        if controllers:
            control_plane.start_controllers(state, programs)
    except BaseException:
        _end(state)
        raise
    _announce(state, hold=hold)


def crds_only(state: State, *, audit: Path | None = None, hold: bool = False) -> None:
    """Start etcd and a current Kubernetes' server of custom resources, on ports of loopback."""
    down(state)
    try:
        binaries.require(binaries.CONTROL_PLANE)
        control_plane.start_crd_server(state, binaries.crd_server(), audit=audit)
    except BaseException:
        _end(state)
        raise
    _announce(state, hold=hold)


def up(
    state: State, specs: Sequence[NodeSpec], *, audit: Path | None = None, hold: bool = False
) -> None:
    """Start a cluster with one kubelet per node."""
    nodes.require_root_and_cgroups()
    down(state)
    try:
        binaries.require(binaries.CONTROL_PLANE, binaries.NODES)
        programs = binaries.kubernetes()
        network.create(state.root)
        control_plane.start_api(state, programs, advertise=network.HOST_IP, audit=audit)
        control_plane.start_controllers(state, programs)
        control_plane.start_scheduler(state, programs)
        images = [pause_image(state.root, programs), host_image(state.root)]
        for index, spec in enumerate(specs):
            nodes.start(state, programs, index, spec, images)
        network.start_proxy(state, programs, specs[0].name)
        network.refuse_names(state)
        nodes.wait_until_ready(state, specs)
    except BaseException:
        _end(state)
        raise
    _announce(state, hold=hold)


def down(state: State) -> None:
    """End every process of the cluster, undo its network and mounts, and remove its folder."""
    _end(state)
    shutil.rmtree(state.root, ignore_errors=True)


def stop(state: State, component: str) -> None:
    """Kill a component, as an outage does.

    Raises:
        LocalClusterError: there is no such component, or it does not end.
    """
    state.processes.stop(component, kill=True)
    if state.processes.pid(component) is not None:
        raise LocalClusterError(f"{component} was killed and has not ended yet")


def start(state: State, component: str | None = None) -> None:
    """Start a component again, or all that are stopped.

    For etcd and the API server, wait until requests are answered.

    Raises:
        LocalClusterError: there is no such component, or it does not come back.
    """
    if component is None:
        for each in state.processes.names():
            state.processes.start(each)
        component = "apiserver"
    state.processes.start(component)
    if component not in ("apiserver", "etcd") or state.processes.pid("apiserver") is None:
        return

    def ready() -> bool:
        state.processes.revive()
        return state.ready()

    state.processes.wait_until(
        "the API server is ready", ready, of="apiserver", seconds=_BACK_SECONDS
    )


def load(state: State, image: Path) -> None:
    """Import a docker archive on every node.

    Raises:
        LocalClusterError: there is no such file, or no node.
    """
    if not image.is_file():
        raise LocalClusterError(
            f"{image} is not a file; allowed is an archive as `docker save` writes it"
        )
    names = nodes.names(state)
    if not names:
        raise LocalClusterError(
            f"no cluster with nodes is up in {state.root}; start one: cluster up"
        )
    for name in names:
        nodes.import_image(name, image)


def label(state: State, node: str, words: Sequence[str]) -> None:
    """Set the labels `LABEL=VALUE` of a node and remove those written `LABEL-`.

    Raises:
        LocalClusterError: a word is neither, or the API server refuses.
    """
    labels: dict[str, str | None] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if equals:
            labels[key] = value
        elif word.endswith("-"):
            labels[word[:-1]] = None
        else:
            raise LocalClusterError(f"{word} was given; allowed is LABEL=VALUE or LABEL-")
    state.ask(f"/api/v1/nodes/{node}", method="PATCH", body={"metadata": {"labels": labels}})


def kubeconfig(state: State, user: str | None, groups: Sequence[str]) -> Path:
    """The path of the administrator's kubeconfig, or of one that is made for a `user`."""
    if user is None:
        _ = state.ports  # where no cluster is up there is no kubeconfig either
        return state.kubeconfig
    name = user.replace(":", "-").replace("/", "-")
    state.pki.issue(name, user, groups)
    return state.write_kubeconfig(name)


def status(state: State) -> int:
    """Print each component and node; 1 where a component does not run."""
    _ = state.ports
    missing = 0
    for name in state.processes.names():
        pid = state.processes.pid(name)
        missing += pid is None
        print(f"{name:<24} {'stopped' if pid is None else f'running, pid {pid}'}")
    if state.ready():
        for node in json.loads(state.ask("/api/v1/nodes"))["items"]:
            ready = "ready" if nodes.is_ready(node) else "not ready"
            print(f"node {node['metadata']['name']:<19} {ready}")
    return int(missing > 0)


def _announce(state: State, *, hold: bool) -> None:
    print(state.kubeconfig, flush=True)
    if hold:
        try:
            while not _closed(sys.stdin.fileno(), _LOOK_SECONDS):
                state.processes.revive()
        finally:
            down(state)


def _closed(stream: int, seconds: float) -> bool:
    """Whether the stream is at its end within so many seconds; what it carries is passed over."""
    return bool(select.select([stream], [], [], seconds)[0]) and not os.read(stream, 4096)


def _end(state: State) -> None:
    """End the processes, which leaves their logs."""
    nodes.stop_all(state)
    known = state.processes.names()
    for name in _ORDER:
        if name in known:
            state.processes.stop(name, kill=True)  # what they stored goes away with them
    network.remove(state.root)
