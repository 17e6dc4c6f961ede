"""The objects that a run is made of."""

import json
from pathlib import Path

import pytest
import yaml
from kubernetes_schemas import check
from operator_world import spec_of

from edgetran.api import load_text, parse_resource
from edgetran_operator.children import (
    Inputs,
    Run,
    access,
    claim,
    implied_child,
    network_policy,
    new_work,
    ray_job,
    results_part,
    work_child,
    worker_job,
    worker_pod,
)
from edgetran_operator.children.ray_job import RAY_VERSION
from edgetran_operator.settings import Allowances, NetworkPolicies, Settings

ROOT = Path(__file__).resolve().parents[3]
UID = "0123456789abcdef"
BOARD = {"name": "pi", "nodeSelector": {"edgetran.io/device": "pi"}}


def run_of(kind="ProfilingJob", settings=None, inputs=None, **changes):
    document = {
        "apiVersion": "edgetran.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": "x", "namespace": "ns"},
        "spec": spec_of(kind, **changes),
    }
    return Run(
        resource=parse_resource(document),
        namespace="ns",
        uid=UID,
        settings=settings or Settings(),
        inputs=inputs or Inputs(),
        node="board-a" if kind == "ProfilingJob" else "",
        architecture="arm64",
    )


def worker(pod):
    (container,) = pod["spec"]["containers"]
    return container


def every_child(run):
    return [
        *access(run, ["x-pj-results-0"]),
        *claim(run),
        results_part(run, 0),
        work_child(run, new_work(run)),
        worker_job(run, 0),
    ]


@pytest.mark.parametrize("kind", ["ProfilingJob", "CoDesignSearch", "GPTranRun"])
def test_every_child_has_its_owner_and_labels(kind):
    storage = {"newClaim": {"size": "1Gi", "retain": False}}
    for child in every_child(run_of(kind, storage=storage)):
        metadata = child.body["metadata"]
        (owner,) = metadata["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == (kind, "x", UID)
        assert owner["controller"]
        labels = metadata["labels"]
        assert labels["app.kubernetes.io/name"] == "edgetran"
        assert labels["app.kubernetes.io/instance"] == "x"
        assert labels["app.kubernetes.io/managed-by"] == "edgetran"
        assert labels["edgetran.io/kind"] == kind
        assert all(len(value) <= 63 for value in labels.values())
        assert len(child.name) <= 63


def test_the_worker_may_touch_its_own_results_and_nothing_else():
    account, role, binding = access(run_of(), ["x-pj-results-0", "x-pj-results-1"])
    assert account.body["automountServiceAccountToken"] is False
    assert role.body["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": ["x-pj-results-0", "x-pj-results-1"],
            "verbs": ["get", "update", "patch"],
        }
    ]
    assert binding.body["roleRef"]["name"] == role.name == account.name == "x-pj-worker"


@pytest.mark.parametrize("kind", ["ProfilingJob", "CoDesignSearch", "GPTranRun"])
def test_the_pod_is_restricted(kind):
    pod = worker_pod(run_of(kind))
    context, container = pod["spec"]["securityContext"], worker(pod)
    assert context["runAsNonRoot"]
    assert context["runAsUser"] == 65532
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not any("hostPath" in volume for volume in pod["spec"]["volumes"])
    writable = {
        mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")
    }
    assert writable >= {"/var/lib/edgetran/home", "/var/lib/edgetran/storage"}
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}


def test_a_measuring_pod_is_pinned_to_its_board_and_alone_there():
    pod = worker_pod(
        run_of(device={**BOARD, "tolerations": [{"key": "board", "operator": "Exists"}]})
    )
    spec = pod["spec"]
    assert spec["nodeSelector"] == {"edgetran.io/device": "pi"}
    assert spec["tolerations"] == [{"key": "board", "operator": "Exists"}]
    node = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert node["nodeSelectorTerms"] == [
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["board-a"]}]}
    ]
    (beside,) = spec["affinity"]["podAntiAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    assert beside["labelSelector"] == {"matchLabels": {"edgetran.io/measuring": "true"}}
    assert beside["namespaceSelector"] == {}
    assert pod["metadata"]["labels"]["edgetran.io/measuring"] == "true"
    assert pod["metadata"]["labels"]["edgetran.io/board"] == "pi"


@pytest.mark.parametrize(
    ("device", "architecture", "image"),
    [
        ({}, "arm64", "cpu"),
        ({"engine": "openvino"}, "amd64", "openvino"),
        ({"accelerator": "cuda", "precision": "fp16"}, "amd64", "cuda"),
        ({"accelerator": "cuda", "precision": "fp16"}, "arm64", "jetson"),
        ({"accelerator": "cuda", "precision": "fp16"}, "", "cuda"),
    ],
)
def test_the_image_is_that_of_the_device(device, architecture, image):
    run = run_of(device={**BOARD, **device})
    run = Run(run.resource, "ns", UID, run.settings, architecture=architecture)
    assert worker(worker_pod(run))["image"].endswith(f"-{image}")


def test_sensors_of_the_node_are_seen_on_request_and_read_only():
    pod = worker_pod(run_of(device={**BOARD, "energy": {"hostSensors": True}}))
    (volume,) = [each for each in pod["spec"]["volumes"] if "hostPath" in each]
    assert volume["hostPath"] == {"path": "/sys", "type": "Directory"}
    (mount,) = [each for each in worker(pod)["volumeMounts"] if each["name"] == volume["name"]]
    assert mount["readOnly"]


def test_a_search_asks_for_what_its_trials_take():
    run = run_of(
        "CoDesignSearch",
        search={"parallelTrials": 4},
        ray={"cpusPerTrial": 1.5, "gpusPerTrial": 0.5},
    )
    container = worker(worker_pod(run))
    assert container["resources"]["requests"]["cpu"] == "6000m"
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "2", "memory": "8Gi"}
    assert container["image"].endswith("-cuda")


def test_settings_shape_all_pods():
    settings = Settings(
        image_pull_policy="Never",
        image_pull_secrets=("registry",),
        termination_grace_seconds=7,
        worker_pod_patch={"spec": {"containers": [{"name": "worker", "command": ["python"]}]}},
    )
    pod = worker_pod(run_of(settings=settings))
    assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["spec"]["terminationGracePeriodSeconds"] == 7
    assert worker(pod)["imagePullPolicy"] == "Never"
    assert worker(pod)["command"] == ["python"]


def test_a_secret_of_the_storage_becomes_environment():
    run = run_of(storage={"uri": "s3://bucket/x", "secret": "keys"})
    pod = worker_pod(run)
    assert worker(pod)["envFrom"] == [{"secretRef": {"name": "keys"}}]
    assert {"name": "storage", "emptyDir": {"sizeLimit": "20Gi"}} in pod["spec"]["volumes"]
    assert claim(run) == ()


def test_an_existing_claim_is_mounted_at_its_folder():
    run = run_of(storage={"claim": {"name": "disk", "subPath": "a/b"}})
    pod = worker_pod(run)
    (volume,) = [each for each in pod["spec"]["volumes"] if each["name"] == "storage"]
    assert volume["persistentVolumeClaim"] == {"claimName": "disk"}
    (mount,) = [each for each in worker(pod)["volumeMounts"] if each["name"] == "storage"]
    assert mount["subPath"] == "a/b"
    assert claim(run) == ()


def test_a_new_claim_is_made():
    wanted = {"size": "5Gi", "storageClassName": "fast", "accessMode": "ReadWriteMany"}
    (child,) = claim(run_of(storage={"newClaim": wanted}))
    assert child.name == "x-pj-storage"
    assert child.body["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "5Gi"}},
        "storageClassName": "fast",
    }


def test_a_new_claim_outlives_its_resource_unless_that_is_not_wanted():
    (kept,) = claim(run_of(storage={"newClaim": {"size": "5Gi"}}))
    assert "ownerReferences" not in kept.body["metadata"]
    assert kept.body["metadata"]["labels"]["edgetran.io/name"] == "x"
    (other,) = claim(run_of(storage={"newClaim": {"size": "5Gi", "retain": False}}))
    assert other.body["metadata"]["ownerReferences"][0]["uid"] == UID


def test_the_work_is_what_the_worker_reads():
    run = run_of(
        storage={"uri": "s3://bucket/x"},
        podTemplate={"metadata": {"annotations": {"a": "é\x85\u2028\ufeff😀"}}},
    )
    work = new_work(run)
    (read,) = load_text(work.files["resource.yaml"])
    assert read.spec == run.resource.spec
    assert read.metadata.uid == UID
    assert yaml.safe_load(work.files["resource.yaml"]) == json.loads(work.files["resource.yaml"])
    assert json.loads(work.files["work.json"]) == {
        "results": "x-pj-results",
        "namespace": "ns",
        "storage": {"uri": "s3://bucket/x"},
        "folder": "ns/pj-x-01234567",
        "inputs": {"profiles": {}, "search": None},
    }


def test_the_same_work_has_the_same_fingerprint():
    assert new_work(run_of()).fingerprint == new_work(run_of()).fingerprint
    assert new_work(run_of()).fingerprint != new_work(run_of(seed=1)).fingerprint


def test_a_ray_job_runs_the_workers_command_on_a_cluster():
    run = run_of("CoDesignSearch", ray={"mode": "kuberay", "workers": 3}, backoffLimit=2)
    body = ray_job(run, 1).body
    spec = body["spec"]
    assert spec["entrypoint"] == "edgetran-worker search"
    assert spec["shutdownAfterJobFinishes"]
    assert spec["backoffLimit"] == 2
    (group,) = spec["rayClusterSpec"]["workerGroupSpecs"]
    assert group["replicas"] == 3
    head = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert head["serviceAccountName"] == "x-cds-worker"
    (container,) = head["containers"]
    assert "command" not in container
    assert "restartPolicy" not in head
    assert body["metadata"]["annotations"]["edgetran.io/failures-before"] == "1"
    assert len(body["metadata"]["name"]) <= 47


KUBERAY = {"mode": "kuberay", "workers": 3}


def ray_pods(run):
    """The pods of a RayJob by what they do."""
    spec = ray_job(run, 0).body["spec"]
    cluster = spec["rayClusterSpec"]
    return {
        "head": cluster["headGroupSpec"]["template"],
        "worker": cluster["workerGroupSpecs"][0]["template"],
        "submitter": spec["submitterPodTemplate"],
    }


def test_ray_asks_for_a_token_on_every_pod():
    run = run_of("CoDesignSearch", ray=KUBERAY)
    cluster = ray_job(run, 0).body["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["rayVersion"] == RAY_VERSION
    for pod in ray_pods(run).values():
        assert {"name": "RAY_AUTH_MODE", "value": "token"} in worker(pod)["env"]


def test_the_version_of_ray_is_that_of_the_workers_images():
    assert f"ray=={RAY_VERSION}" in (ROOT / "constraints.txt").read_text().splitlines()
    assert tuple(map(int, RAY_VERSION.split("."))) >= (2, 52, 0), "the first with tokens"


def test_every_pod_of_a_ray_job_is_restricted_and_has_our_labels():
    patch = {"spec": {"nodeSelector": {"big": "yes"}, "containers": [{"name": "worker"}]}}
    run = run_of("CoDesignSearch", ray=KUBERAY, podTemplate=patch)
    for role, pod in ray_pods(run).items():
        check({"apiVersion": "v1", "kind": "PodTemplate", "template": pod}, "1.34.0")
        spec, container = pod["spec"], worker(pod)
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert spec["serviceAccountName"] == "x-cds-worker"
        assert spec["nodeSelector"] == {"big": "yes"}
        labels = pod["metadata"]["labels"]
        component = "submitter" if role == "submitter" else "search"
        assert labels == run.labels() | {"app.kubernetes.io/component": component}


def test_only_the_head_of_a_ray_cluster_may_talk_to_the_api_server():
    tokens = {
        role: pod["spec"]["automountServiceAccountToken"]
        for role, pod in ray_pods(run_of("CoDesignSearch", ray=KUBERAY)).items()
    }
    assert tokens == {"head": True, "worker": False, "submitter": False}


def test_the_submitter_sees_nothing_of_the_work():
    ray = {**KUBERAY, "workers": 1}
    run = run_of("CoDesignSearch", ray=ray, storage={"uri": "s3://b/x", "secret": "keys"})
    pod = ray_pods(run)["submitter"]
    container = worker(pod)
    assert pod["spec"]["restartPolicy"] == "Never"
    assert "envFrom" not in container
    assert "command" not in container, "KubeRay writes it"
    assert {volume["name"] for volume in pod["spec"]["volumes"]} == {"home", "tmp"}
    assert {mount["name"] for mount in container["volumeMounts"]} == {"home", "tmp"}
    assert container["resources"]["limits"]["memory"]


def test_the_head_has_the_ports_that_its_service_is_made_of():
    head = worker(ray_pods(run_of("CoDesignSearch", ray=KUBERAY))["head"])
    ports = {port["name"]: port["containerPort"] for port in head["ports"]}
    assert ports == {"metrics": 9090, "gcs-server": 6379, "dashboard": 8265, "client": 10001}


def test_rays_container_comes_first_whatever_stands_beside_it():
    patch = {"spec": {"containers": [{"name": "aside", "image": "x"}]}}
    settings = Settings(worker_pod_patch={"spec": {"containers": [{"name": "log", "image": "y"}]}})
    pods = ray_pods(run_of("CoDesignSearch", settings, ray=KUBERAY, podTemplate=patch))
    assert [each["name"] for each in pods["head"]["spec"]["containers"]] == [
        "worker",
        "log",
        "aside",
    ]
    assert [each["name"] for each in pods["submitter"]["spec"]["containers"]] == ["worker"]


def test_what_is_allowed_comes_to_the_head_too_and_as_words_of_a_shell():
    settings = Settings(allow=Allowances(commands=True, meters=("http://meters.lan/a",)))
    spec = ray_job(run_of("CoDesignSearch", settings, ray=KUBERAY), 0).body["spec"]
    assert spec["entrypoint"] == (
        "edgetran-worker search --allow-commands --allow-meter=http://meters.lan/a"
    )


def test_pods_of_one_ray_cluster_alone_talk_to_one_another():
    policy = network_policy(run_of("CoDesignSearch", ray=KUBERAY)).body
    check(policy, "1.34.0")
    ours = {"matchLabels": {"edgetran.io/kind": "CoDesignSearch", "edgetran.io/name": "x"}}
    assert policy["spec"]["podSelector"] == ours
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    inside, asked, scraped = policy["spec"]["ingress"]
    assert inside == {"from": [{"podSelector": ours}]}
    assert [port["port"] for port in asked["ports"]] == [8265]
    (peer,) = asked["from"]
    assert peer["podSelector"]["matchLabels"] == {"app.kubernetes.io/component": "kuberay-operator"}
    assert scraped == {"ports": [{"port": 9090, "protocol": "TCP"}]}
    monitoring = {"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}
    settings = Settings(network_policy=NetworkPolicies(metrics_from=(monitoring,)))
    run = run_of("CoDesignSearch", settings, ray=KUBERAY)
    assert network_policy(run).body["spec"]["ingress"][2]["from"] == [monitoring]


def test_a_resource_that_a_search_makes_is_its_child():
    child = implied_child(run_of("CoDesignSearch"), run_of().resource)
    assert child.body["kind"] == "ProfilingJob"
    assert child.body["metadata"]["ownerReferences"][0]["kind"] == "CoDesignSearch"
    assert parse_resource({**child.body, "metadata": {"name": "x"}}).spec == run_of().resource.spec
