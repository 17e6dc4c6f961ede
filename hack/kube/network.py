"""The addresses of a cluster with nodes: a bridge of its own, and kube-proxy for services.

Everything stays on this machine. The names are fixed, so that one such cluster can be up at a time.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from kube.control_plane import POD_CIDR
from kube.errors import LocalClusterError
from kube.processes import run
from kube.state import State

HOST_IP: Final = "172.31.255.1"
"""The address of every kubelet and of the API server, as pods see them."""

DNS_IP: Final = "10.96.0.10"
"""The address that pods ask for names; nothing answers there, and at once."""

_HOST_LINK: Final = "etkube0"
_POD_LINKS: Final = "etbr"
_OWNER: Final = Path("/run/edgetran-cluster")
"""Points to the folder of the cluster that is up."""

_FORWARDING: Final = Path("/proc/sys/net/ipv4/ip_forward")
_TABLES: Final = ("nat", "filter", "mangle")


def pod_link(index: int) -> str:
    """The bridge of the pods of one node."""
    return f"{_POD_LINKS}{index}"


def create(root: Path) -> None:
    """Make the address that kubelets and the API server of the cluster in `root` have.

    Raises:
        LocalClusterError: another cluster is up.
    """
    if _OWNER.is_symlink():
        other = State(_OWNER.readlink())
        if other.root != root and any(map(other.processes.pid, other.processes.names())):
            words = f"a cluster is up in {other.root}; take it down first"
            raise LocalClusterError(f"{words}: cluster --folder {other.root} down")
        remove(other.root)
    _OWNER.symlink_to(root)
    run("ip", "link", "add", _HOST_LINK, "type", "bridge")
    run("ip", "addr", "add", f"{HOST_IP}/32", "dev", _HOST_LINK)
    run("ip", "link", "set", _HOST_LINK, "up")
    _FORWARDING.write_text("1")


def start_proxy(state: State, programs: Path, node: str) -> None:
    """Start kube-proxy, which brings a service's address to one of its pods."""
    state.pki.issue("proxy", "system:kube-proxy")
    ports = state.ports
    flags = [
        f"--kubeconfig={state.write_kubeconfig('proxy')}",
        f"--hostname-override={node}",
        f"--cluster-cidr={POD_CIDR}",
        "--proxy-mode=iptables",
        "--conntrack-max-per-core=0",
        "--conntrack-min=0",
        f"--healthz-bind-address=127.0.0.1:{ports.proxy_health}",
        f"--metrics-bind-address=127.0.0.1:{ports.proxy_metrics}",
    ]
    state.processes.start("proxy", [programs / "kube-proxy", *flags])


def refuse_names(state: State) -> None:
    """Have every look-up of a name end at once, where a cluster would have its DNS."""
    spec = {
        "clusterIP": DNS_IP,
        "ports": [
            {"name": "udp", "port": 53, "protocol": "UDP"},
            {"name": "tcp", "port": 53, "protocol": "TCP"},
        ],
    }
    service = {"metadata": {"name": "kube-dns"}, "spec": spec}
    state.ask("/api/v1/namespaces/kube-system/services", method="POST", body=service)


def remove(root: Path) -> None:
    """Remove the links and Kubernetes' iptables rules, where the cluster in `root` made them."""
    if not _OWNER.is_symlink() or _OWNER.readlink() != root:
        return
    for link in json.loads(run("ip", "-j", "link")):
        name = link["ifname"]
        if name == _HOST_LINK or name.startswith(_POD_LINKS):
            run("ip", "link", "del", name, check=False)
    for table in _TABLES:
        _remove_chains(table)
    _OWNER.unlink()


def _remove_chains(table: str) -> None:
    """Remove every chain KUBE-* of a table, and the rules that lead there."""
    rules = run("iptables", "-w", "-t", table, "-S", check=False).splitlines()
    chains = [words[1] for words in map(str.split, rules) if words[:1] == ["-N"]]
    ours = [chain for chain in chains if chain.startswith("KUBE-")]
    lines = [f"*{table}", *(f":{chain} - [0:0]" for chain in ours)]
    lines += [
        "-D" + rule[2:]
        for rule in rules
        if rule.startswith("-A ") and not rule.startswith("-A KUBE-") and " -j KUBE-" in rule
    ]
    lines += [*(f"-X {chain}" for chain in ours), "COMMIT", ""]
    if ours:
        run("iptables-restore", "-w", "--noflush", text="\n".join(lines))
