"""What users may do to the worker's pod, and what only with the administrator's leave."""

import pytest
from operator_world import World, spec_of

from edgetran_operator.settings import Allowances, Settings

WORKER = {"name": "worker"}


def template(**spec):
    return {"spec": spec}


def problem(world, patch):
    """The sentence that a template is refused with; None where its Job is made."""
    world.node("board-a", device="pi")
    key = world.apply("ProfilingJob", "p", spec_of("ProfilingJob", podTemplate=patch))
    world.settle()
    if world.job_of(key) is not None:
        return None
    assert world.says(key, "Stalled") == ("True", "SpecInvalid")
    return world.condition(key, "Stalled")["message"]


REFUSED = [
    (template(containers=[{**WORKER, "image": "evil"}]), "containers[worker].image", "images"),
    (template(containers=[{"name": "more", "image": "x"}]), "containers[more]", "images"),
    (template(initContainers=[{"name": "i", "image": "x"}]), "initContainers[i]", "images"),
    (
        template(volumes=[{"name": "v", "hostPath": {"path": "/"}}]),
        "volumes[v].hostPath",
        "hostPath",
    ),
    (template(hostNetwork=True), "hostNetwork", "hostNamespaces"),
    (template(hostPID=True), "hostPID", "hostNamespaces"),
    (template(hostIPC=True), "hostIPC", "hostNamespaces"),
    (
        template(containers=[{**WORKER, "ports": [{"containerPort": 1, "hostPort": 1}]}]),
        "containers[worker].ports[1].hostPort",
        "hostNamespaces",
    ),
    (template(serviceAccountName="admin"), "serviceAccountName", "serviceAccounts"),
    (template(serviceAccount="admin"), "serviceAccount", "serviceAccounts"),
    (
        template(containers=[{**WORKER, "securityContext": {"privileged": True}}]),
        "containers[worker].securityContext.privileged",
        "privileged",
    ),
    (template(securityContext={"runAsUser": 0}), "securityContext.runAsUser", "privileged"),
    (template(securityContext={"runAsNonRoot": False}), "runAsNonRoot", "privileged"),
    (template(securityContext={"runAsNonRoot": None}), "runAsNonRoot", "privileged"),
    (template(securityContext=None), "securityContext.runAsNonRoot", "privileged"),
    (template(securityContext={"$patch": "replace"}), "runAsNonRoot", "privileged"),
    (template(securityContext={"$patch": "delete"}), "runAsNonRoot", "privileged"),
    (template(securityContext={"seccompProfile": {"type": "Unconfined"}}), "seccomp", "privileged"),
    (template(securityContext={"sysctls": [{"name": "a", "value": "b"}]}), "sysctls", "privileged"),
    (
        template(containers=[{**WORKER, "$patch": "replace", "command": ["sh"]}]),
        "containers[worker].securityContext",
        "privileged",
    ),
    (
        template(
            containers=[{**WORKER, "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]
        ),
        "containers[worker].securityContext.capabilities",
        "privileged",
    ),
    (
        template(containers=[{**WORKER, "securityContext": {"allowPrivilegeEscalation": True}}]),
        "allowPrivilegeEscalation",
        "privileged",
    ),
]


@pytest.mark.parametrize(("patch", "place", "allowance"), REFUSED)
def test_what_weakens_the_pod_is_refused_with_its_place(patch, place, allowance):
    message = problem(World(), patch)
    assert message is not None
    assert message.startswith("spec.podTemplate.spec.")
    assert place in message
    assert f"allow.{allowance} is not set" in message


@pytest.mark.parametrize(("patch", "place", "allowance"), REFUSED)
def test_the_administrator_may_allow_it(patch, place, allowance):
    allow = Allowances(
        images=True,
        host_path=True,
        host_namespaces=True,
        privileged=True,
        service_accounts=True,
    )
    assert problem(World(Settings(allow=allow)), patch) is None


@pytest.mark.parametrize(
    ("patch", "place"),
    [
        (template(restartPolicy="Always"), "restartPolicy"),
        (template(nodeName="board-b"), "nodeName"),
        (template(activeDeadlineSeconds=5), "activeDeadlineSeconds"),
        (template(automountServiceAccountToken=False), "automountServiceAccountToken"),
        (template(containers=[{**WORKER, "$patch": "delete"}]), "containers"),
        (template(containers="worker"), "containers"),
        (template(containers=[{"image": "x"}]), "containers[0].name"),
        (template(containers=[{**WORKER, "env": {"A": "1"}}]), "containers[0].env"),
        (template(securityContext="none"), "securityContext"),
        (template(**{"$patch": "replace"}), "$patch"),
        (template(**{"$retainKeys": ["a"]}), "$retainKeys"),
    ],
)
def test_what_no_setting_can_allow_says_what_to_do_instead(patch, place):
    allow = Allowances(True, True, True, True, True)
    message = problem(World(Settings(allow=allow)), patch)
    assert message is not None
    assert message.startswith(f"spec.podTemplate.spec.{place}: ")
    assert "allowed is" in message


@pytest.mark.parametrize(
    "patch",
    [
        {"metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}}},
        template(nodeSelector={"disk": "ssd"}, priorityClassName="high"),
        template(tolerations=[{"key": "x", "operator": "Exists"}]),
        template(securityContext={"fsGroup": 1000, "supplementalGroups": [44]}),
        template(volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]),
        template(
            containers=[
                {
                    **WORKER,
                    "resources": {"limits": {"nvidia.com/gpu": "1"}},
                    "env": [{"name": "HTTPS_PROXY", "value": "http://proxy"}],
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }
            ]
        ),
    ],
)
def test_what_weakens_nothing_is_free(patch):
    assert problem(World(), patch) is None


def test_labels_that_the_operator_relies_on_cannot_be_changed():
    world = World()
    labels = {"edgetran.io/measuring": "false", "team": "a"}
    assert problem(world, {"metadata": {"labels": labels}}) is None
    (job,) = world.jobs()
    found = job["spec"]["template"]["metadata"]["labels"]
    assert found["edgetran.io/measuring"] == "true"
    assert found["team"] == "a"


def test_the_administrators_patch_is_no_users_patch():
    """It may do anything, and users may change what is left."""
    patch = {
        "spec": {
            "volumes": [{"name": "usr", "hostPath": {"path": "/usr"}}],
            "containers": [{"name": "worker", "image": "edgetran.local/host:latest"}],
        }
    }
    world = World(Settings(worker_pod_patch=patch))
    assert problem(world, template(priorityClassName="high")) is None
    (job,) = world.jobs()
    pod = job["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "edgetran.local/host:latest"
    assert pod["priorityClassName"] == "high"
