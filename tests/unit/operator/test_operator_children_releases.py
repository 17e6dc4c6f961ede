"""What the operator makes fits every release of Kubernetes, and the restricted standard."""

import copy
import dataclasses

import pytest
from kubernetes_schemas import RELEASES, ValidationError, check
from operator_world import spec_of
from packaging.version import Version
from pod_security import violations
from test_operator_children import BOARD, every_child, run_of

SIMULATED = {"name": "sim", "simulation": "raspberry-pi-4-cpu"}
FULL = {
    "ProfilingJob": {
        "device": {**BOARD, "runtimeClassName": "nvidia", "tolerations": [{"operator": "Exists"}]},
        "storage": {"newClaim": {"size": "1Gi"}},
    },
    "CoDesignSearch": {"devices": [SIMULATED], "storage": {"claim": {"name": "data"}}},
    "GPTranRun": {"storage": {"uri": "s3://bucket/runs", "secret": "s3"}},
}
RUNS = [(kind, changes) for kind, full in FULL.items() for changes in ({}, full)]


@pytest.mark.parametrize("release", RELEASES)
def test_every_child_is_valid_in_every_release(release):
    for kind, changes in RUNS:
        for child in every_child(run_of(kind, **changes)):
            check(child.body, release)


@pytest.mark.parametrize("release", [each for each in RELEASES if Version(each) >= Version("1.26")])
def test_what_is_no_failure_is_told_in_words_that_the_release_has(release):
    run = dataclasses.replace(run_of(), pod_failure_policy=True)
    job = every_child(run)[-1].body
    assert job["spec"]["podFailurePolicy"]
    check(job, release)


def test_a_field_that_a_release_lacks_is_found():
    job = every_child(run_of())[-1].body
    wrong = copy.deepcopy(job)
    wrong["spec"]["template"]["spec"]["hostUsres"] = False
    with pytest.raises(ValidationError):
        check(wrong, RELEASES[0])


@pytest.mark.parametrize(("kind", "changes"), RUNS)
def test_every_pod_obeys_the_restricted_standard(kind, changes):
    assert spec_of(kind)
    job = every_child(run_of(kind, **changes))[-1]
    assert violations(job.body["spec"]["template"]) == []


def weakened(field, value, container=False):
    pod = copy.deepcopy(every_child(run_of())[-1].body["spec"]["template"])
    holder = pod["spec"]["containers"][0] if container else pod["spec"]
    for name in field.split(".")[:-1]:
        holder = holder.setdefault(name, {})
    holder[field.rpartition(".")[2]] = value
    return pod


@pytest.mark.parametrize(
    ("pod", "words"),
    [
        (weakened("hostPID", True), "host namespaces"),
        (weakened("volumes", [{"name": "a", "hostPath": {"path": "/"}}]), "volume types: hostPath"),
        (weakened("securityContext.runAsUser", 0), "running as user 0"),
        (weakened("securityContext.runAsNonRoot", None), "running as non-root"),
        (weakened("securityContext.seccompProfile", {"type": "Unconfined"}), "seccomp"),
        (weakened("securityContext.sysctls", [{"name": "kernel.msgmax"}]), "sysctls"),
        (weakened("securityContext.privileged", True, container=True), "privileged"),
        (weakened("securityContext.procMount", "Unmasked", container=True), "/proc mount"),
        (weakened("securityContext.capabilities", {}, container=True), "does not drop ALL"),
        (weakened("securityContext.allowPrivilegeEscalation", True, container=True), "escalation"),
        (weakened("securityContext.seLinuxOptions.type", "spc_t", container=True), "SELinux"),
        (weakened("ports", [{"containerPort": 1, "hostPort": 1}], container=True), "host ports"),
        (weakened("livenessProbe.httpGet.host", "10.0.0.1", container=True), "host probes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_weakness_is_found(pod, words):
    assert any(words in each for each in violations(pod))
