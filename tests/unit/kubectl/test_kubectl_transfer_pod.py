"""The pod that reads or writes a volume: restricted as a worker is, with none of its secrets."""

import pytest
from pod_security import violations

from edgetran.kubectl.transfer_pod import MOUNT_PATH, transfer_pod

WORKER = {
    "serviceAccountName": "search-cds-worker",
    "automountServiceAccountToken": True,
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
    "imagePullSecrets": [{"name": "registry"}],
    "initContainers": [{"name": "wait", "image": "x"}],
    "containers": [
        {
            "name": "worker",
            "image": "registry.lan/worker:1-cpu",
            "command": ["edgetran-worker"],
            "env": [{"name": "PATH", "value": "/opt/bin"}, {"name": "TOKEN", "value": "secret"}],
            "envFrom": [{"secretRef": {"name": "s3"}}],
            "ports": [{"name": "metrics", "containerPort": 9090}],
            "resources": {"limits": {"nvidia.com/gpu": "1"}},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [
                {"name": "work", "mountPath": "/etc/edgetran/work"},
                {"name": "storage", "mountPath": MOUNT_PATH},
            ],
        }
    ],
    "volumes": [
        {"name": "work", "configMap": {"name": "search-cds-spec"}},
        {"name": "storage", "persistentVolumeClaim": {"claimName": "data"}},
    ],
}


@pytest.mark.parametrize("worker", [WORKER, None], ids=["as-the-worker", "without-one"])
def test_it_is_restricted_and_has_the_volume_alone(worker):
    body = transfer_pod(worker, {"claimName": "data", "readOnly": True, "subPath": "team"})
    spec = body["spec"]
    assert violations(body) == []
    (container,) = spec["containers"]
    (mount,) = container["volumeMounts"]
    assert mount == {
        "name": "storage",
        "mountPath": MOUNT_PATH,
        "readOnly": True,
        "subPath": "team",
    }
    assert spec["volumes"] == [
        {"name": "storage", "persistentVolumeClaim": {"claimName": "data", "readOnly": True}}
    ]
    assert not spec["automountServiceAccountToken"]
    assert "serviceAccountName" not in spec
    assert "secret" not in str(body)
    assert "s3" not in str(body)
    assert "gpu" not in str(body)
    assert spec["activeDeadlineSeconds"] > 0


def test_it_runs_the_workers_image_or_the_one_that_is_asked_for():
    body = transfer_pod(WORKER, {"claimName": "data"})
    (container,) = body["spec"]["containers"]
    assert container["image"] == "registry.lan/worker:1-cpu"
    assert body["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    body = transfer_pod(WORKER, {"claimName": "data"}, image="busybox:1")
    assert body["spec"]["containers"][0]["image"] == "busybox:1"


def test_it_goes_where_the_volume_is_in_use_and_away_with_its_owner():
    owner = {
        "apiVersion": "edgetran.io/v1alpha1",
        "kind": "CoDesignSearch",
        "metadata": {"name": "search", "uid": "u-1"},
    }
    body = transfer_pod(WORKER, {"claimName": "data"}, node="server", owner=owner)
    assert "server" in str(body["spec"]["affinity"])
    (reference,) = body["metadata"]["ownerReferences"]
    assert reference["uid"] == "u-1"


def test_a_volume_that_is_made_for_it_is_rather_not_made_on_a_board_where_no_trainer_goes():
    affinity = transfer_pod(WORKER, {"claimName": "data"})["spec"]["affinity"]["nodeAffinity"]
    (wish,) = affinity["preferredDuringSchedulingIgnoredDuringExecution"]
    (no_board,) = wish["preference"]["matchExpressions"]
    assert no_board == {"key": "edgetran.io/device", "operator": "DoesNotExist"}
