"""etcd, the API server, the controller manager and the scheduler of one cluster."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Final

from kube.processes import free_ports
from kube.state import Ports, State

SERVICE_CIDR: Final = "10.96.0.0/16"
SERVICE_IP: Final = "10.96.0.1"
"""The address at which pods reach the API server."""

POD_CIDR: Final = "10.244.0.0/16"

_EVICTION_SECONDS: Final = 30
"""How long pods stay bound to a node that went away; Kubernetes' own 300 s would stretch tests."""

_FEATURES: Final = "--feature-gates=TTLAfterFinished=true"

_AUDIT_POLICY: Final = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
"""

ADMINS: Final = "system:masters"

_CORE_SERVERS: Final = ("", "authentication-", "authorization-")
"""Flags that name a core API server; there is none, and nothing that asks one is turned on."""

_ASKING_OTHERS: Final = (
    "NamespaceLifecycle",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionWebhook",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionWebhook",
)
"""Admission plugins that wait for a core API server."""


def start_api(
    state: State, binaries: Path, *, advertise: str | None = None, audit: Path | None = None
) -> None:
    """Start etcd and an API server for a new cluster and wait until it answers.

    Args:
        state: the folder of the cluster, empty so far.
        binaries: the folder of Kubernetes' programs.
        advertise: the address at which pods reach it; None where there are no nodes.
        audit: the file that gets a line per request.
    """
    state.create(Ports(*free_ports(7)))
    addresses = ["127.0.0.1", SERVICE_IP] + ([advertise] if advertise else [])
    state.pki.create(addresses)
    state.pki.issue("admin", "admin", [ADMINS])
    state.write_kubeconfig("admin", state.kubeconfig)
    _start_etcd(state)
    command = [str(binaries / "kube-apiserver"), *_api_flags(state), *_audit_flags(state, audit)]
    if advertise:
        command += [f"--advertise-address={advertise}", "--authorization-mode=Node,RBAC"]
        command += ["--enable-admission-plugins=NodeRestriction", "--allow-privileged=true"]
    else:
        # Without nodes nobody needs the API server's own endpoint, and without a controller
        # manager no namespace gets the default ServiceAccount that pods would wait for.
        command += ["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"]
        command += ["--endpoint-reconciler-type=none", "--authorization-mode=RBAC"]
        command += ["--disable-admission-plugins=ServiceAccount"]
    state.processes.start("apiserver", command)
    state.processes.wait_until("the API server is ready", state.ready, of="apiserver")
    state.processes.wait_until(
        "the namespace default exists",
        lambda: state.answers("/api/v1/namespaces/default"),
        of="apiserver",
    )


def start_crd_server(state: State, binaries: Path, *, audit: Path | None = None) -> None:
    """Start etcd and the part of a current Kubernetes that serves custom resources, alone.

    It has no namespaces to look up, no webhooks to ask and nobody whom it could ask what a user
    may do, so it obeys its administrator only.

    Args:
        state: the folder of the server, empty so far.
        binaries: the folder of its program.
        audit: the file that gets a line per request.
    """
    state.create(Ports(*free_ports(7)))
    state.pki.create(["127.0.0.1"])
    state.pki.issue("admin", "admin", [ADMINS])
    state.write_kubeconfig("admin", state.kubeconfig)
    _start_etcd(state)
    pki, ports = state.pki, state.ports
    flags = [
        f"--etcd-servers=http://127.0.0.1:{ports.etcd}",
        "--bind-address=127.0.0.1",
        f"--secure-port={ports.api}",
        f"--client-ca-file={pki.authority}",
        f"--tls-cert-file={pki.certificate('apiserver')}",
        f"--tls-private-key-file={pki.key('apiserver')}",
        *(f"--{whose}kubeconfig={state.kubeconfig}" for whose in _CORE_SERVERS),
        "--authentication-skip-lookup",
        f"--disable-admission-plugins={','.join(_ASKING_OTHERS)}",
        "--enable-priority-and-fairness=false",
    ]
    command = [str(binaries / "apiextensions-apiserver"), *flags, *_audit_flags(state, audit)]
    state.processes.start("apiserver", command)
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    state.processes.wait_until(
        "definitions are served", lambda: state.answers(definitions), of="apiserver"
    )


def start_controllers(state: State, binaries: Path) -> None:
    """Start the controller manager: owners' children, Jobs, namespaces, quotas."""
    pki, ports = state.pki, state.ports
    pki.issue("controllers", "system:kube-controller-manager")
    flags = [
        f"--kubeconfig={state.write_kubeconfig('controllers')}",
        f"--service-account-private-key-file={pki.key('service-accounts')}",
        f"--root-ca-file={pki.authority}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--secure-port={ports.controllers}",
        "--port=0",
        "--node-monitor-period=2s",
        "--node-monitor-grace-period=20s",
        _FEATURES,
    ]
    state.processes.start("controllers", [binaries / "kube-controller-manager", *flags])


def start_scheduler(state: State, binaries: Path) -> None:
    """Start the scheduler, which gives each pod its node."""
    state.pki.issue("scheduler", "system:kube-scheduler")
    flags = [
        f"--kubeconfig={state.write_kubeconfig('scheduler')}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--secure-port={state.ports.scheduler}",
        "--port=0",
    ]
    state.processes.start("scheduler", [binaries / "kube-scheduler", *flags])


def _start_etcd(state: State) -> None:
    ports = state.ports
    client, peer = f"http://127.0.0.1:{ports.etcd}", f"http://127.0.0.1:{ports.etcd_peer}"
    flags = [
        f"--data-dir={state.root / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
    ]
    state.processes.start("etcd", ["etcd", *flags])
    state.processes.wait_until("etcd is ready", lambda: _listens(ports.etcd), of="etcd")


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _api_flags(state: State) -> list[str]:
    pki, ports = state.pki, state.ports
    return [
        f"--etcd-servers=http://127.0.0.1:{ports.etcd}",
        f"--secure-port={ports.api}",
        "--insecure-port=0",
        f"--client-ca-file={pki.authority}",
        f"--tls-cert-file={pki.certificate('apiserver')}",
        f"--tls-private-key-file={pki.key('apiserver')}",
        f"--kubelet-client-certificate={pki.certificate('admin')}",
        f"--kubelet-client-key={pki.key('admin')}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-key-file={pki.token_verifier}",
        f"--service-account-signing-key-file={pki.key('service-accounts')}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        f"--default-not-ready-toleration-seconds={_EVICTION_SECONDS}",
        f"--default-unreachable-toleration-seconds={_EVICTION_SECONDS}",
        _FEATURES,
    ]


def _audit_flags(state: State, audit: Path | None) -> list[str]:
    if audit is None:
        return []
    policy = state.root / "audit-policy.yaml"
    policy.write_text(_AUDIT_POLICY)
    return [f"--audit-policy-file={policy}", f"--audit-log-path={audit.resolve()}"]
