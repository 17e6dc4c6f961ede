"""Who may talk to the pods of a run whose Ray cluster listens on the network."""

from __future__ import annotations

from typing import Any

from edgetran.api import child_name
from edgetran.api.names import WORKER
from edgetran.api.wire import KIND_LABEL, METRICS_PORT, NAME_LABEL
from edgetran_operator.plan import Child
from edgetran_operator.resources.ray_job import DASHBOARD_PORT
from edgetran_operator.resources.run import Run


def network_policy(run: Run) -> Child:
    """Head, Ray workers and submitter talk to one another; KubeRay asks the head after its job."""
    policy = run.settings.network_policy
    labels = run.labels()
    ours = {"matchLabels": {label: labels[label] for label in (KIND_LABEL, NAME_LABEL)}}
    scraped: dict[str, Any] = {"ports": [{"port": METRICS_PORT, "protocol": "TCP"}]}
    if policy.metrics_from:
        scraped["from"] = [dict(peer) for peer in policy.metrics_from]
    asked = {
        "ports": [{"port": DASHBOARD_PORT, "protocol": "TCP"}],
        "from": [dict(peer) for peer in policy.kube_ray_from],
    }
    return Child(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": run.metadata(child_name(run.resource, WORKER)),
            "spec": {
                "podSelector": ours,
                "policyTypes": ["Ingress"],
                "ingress": [{"from": [{"podSelector": ours}]}, asked, scraped],
            },
        }
    )
