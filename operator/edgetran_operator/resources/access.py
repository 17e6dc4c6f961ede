"""Who a worker is: its own ServiceAccount, which may touch its own results and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from edgetran.api import child_name
from edgetran.api.names import WORKER
from edgetran_operator.plan import Child
from edgetran_operator.resources.run import Run


def access(run: Run, results: Sequence[str]) -> tuple[Child, ...]:
    """ServiceAccount, Role and RoleBinding of a worker.

    Args:
        run: the work.
        results: names of the ConfigMaps that it may read and write.
    """
    name = child_name(run.resource, WORKER)
    account = Child(
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": run.metadata(name),
            "automountServiceAccountToken": False,
        }
    )
    return account, role(run, results), _binding(run, name)


def role(run: Run, results: Sequence[str]) -> Child:
    """The Role over exactly the named results ConfigMaps."""
    rule = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": list(results),
        "verbs": ["get", "update", "patch"],
    }
    return Child(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": run.metadata(child_name(run.resource, WORKER)),
            "rules": [rule],
        }
    )


def _binding(run: Run, name: str) -> Child:
    return Child(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": run.metadata(name),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": run.namespace}],
        }
    )
