"""What users may do to the worker's pod, and what only with the administrator's leave."""

import dataclasses
import re

import pytest
from hypothesis import HealthCheck, given, settings, strategies
from operator_world import World, spec_of

from edgetran_operator.settings import Allowances, Settings

WORKER = {"name": "worker"}
SENSORS = {
    "name": "pi",
    "nodeSelector": {"edgetran.io/device": "pi"},
    "energy": {"hostSensors": True},
}
FLAGS = [each.name for each in dataclasses.fields(Allowances) if each.default is False]
EVERYTHING = Settings(
    allow=Allowances(
        **dict.fromkeys(FLAGS, True),
        annotations=("prometheus.io/", "k8s.v1.cni.cncf.io/", "container.apparmor.io/worker"),
        env=("*",),
        priority_classes=("high",),
        runtime_classes=("nvidia", "gvisor"),
    )
)


def template(**spec):
    return {"spec": spec}


def worker(**fields):
    return template(containers=[{**WORKER, **fields}])


def volume(**source):
    return template(volumes=[{"name": "v", **source}])


def hook(**action):
    return worker(lifecycle={"preStop": action})


def annotated(key):
    return {"metadata": {"annotations": {key: "x"}}}


def problem(world, patch, **spec):
    """The sentence that a template is refused with; None where its Job is made."""
    world.node("board-a", device="pi")
    key = world.apply("ProfilingJob", "p", spec_of("ProfilingJob", podTemplate=patch, **spec))
    world.settle()
    if world.job_of(key) is not None:
        return None
    assert world.says(key, "Stalled") == ("True", "SpecInvalid")
    return world.condition(key, "Stalled")["message"]


def pod_of(patch, settings=None, **spec):
    world = World(settings)
    assert problem(world, patch, **spec) is None
    (job,) = world.jobs()
    return job["spec"]["template"]


TOKEN = {"sources": [{"serviceAccountToken": {"audience": "vault", "path": "t"}}]}
IN_SECRET = {"secretKeyRef": {"name": "s", "key": "k"}}
WIDE = {"topologyKey": "zone", "labelSelector": {}}
EVERYWHERE = {"topologyKey": "kubernetes.io/hostname", "namespaceSelector": {}}


def apart(term):
    required = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    return template(affinity={"podAntiAffinity": required})


REFUSED = [
    (worker(image="evil"), "containers[worker].image", "images"),
    (worker(command=["sh"]), "containers[worker].command", "images"),
    (worker(args=["-c"]), "containers[worker].args", "images"),
    (worker(workingDir="/data"), "containers[worker].workingDir", "images"),
    (template(containers=[{"name": "more", "image": "x"}]), "containers[more]", "images"),
    (template(initContainers=[{"name": "i", "image": "x"}]), "initContainers[i]", "images"),
    (worker(livenessProbe={"exec": {"command": ["x"]}}), "livenessProbe.exec", "images"),
    (hook(exec={"command": ["x"]}), "lifecycle.preStop.exec", "images"),
    (worker(envFrom=[{"configMapRef": {"name": "c"}}]), "containers[worker].envFrom[0]", "images"),
    (
        {
            "spec": {
                "volumes": [{"name": "v", "configMap": {"name": "c"}}],
                "containers": [
                    {**WORKER, "volumeMounts": [{"name": "v", "mountPath": "/usr/lib/python3"}]}
                ],
            }
        },
        "containers[worker].volumeMounts[/usr/lib/python3]",
        "images",
    ),
    (
        worker(volumeMounts=[{"name": "v", "mountPath": "/data/../etc"}]),
        "containers[worker].volumeMounts[/data/../etc]",
        "images",
    ),
    (worker(envFrom=[{"secretRef": {"name": "db"}}]), "envFrom[0].secretRef", "secrets"),
    (worker(env=[{"name": "TZ", "valueFrom": IN_SECRET}]), "env[TZ].valueFrom", "secrets"),
    (worker(env=[{"name": "HTTPS_PROXY", "value": "http://$(KEY)@x"}]), "env[HTTPS", "secrets"),
    (volume(secret={"secretName": "x"}), "volumes[v].secret", "secrets"),
    (volume(projected={"sources": [{"secret": {"name": "x"}}]}), "sources[0].secret", "secrets"),
    (template(imagePullSecrets=[{"name": "x"}]), "imagePullSecrets", "secrets"),
    (volume(nfs={"server": "10.0.0.1", "path": "/"}), "volumes[v].nfs", "volumes"),
    (volume(image={"reference": "x"}), "volumes[v].image", "volumes"),
    (volume(flexVolume={"driver": "x/y"}), "volumes[v].flexVolume", "volumes"),
    (volume(csi={"driver": "x"}), "volumes[v].csi", "volumes"),
    (volume(ephemeral={"volumeClaimTemplate": {}}), "volumes[v].ephemeral", "volumes"),
    (volume(ofALaterVersion={}), "volumes[v].ofALaterVersion", "volumes"),
    (worker(volumeDevices=[{"name": "d", "devicePath": "/dev/x"}]), "volumeDevices", "volumes"),
    (volume(hostPath={"path": "/"}), "volumes[v].hostPath", "hostPath"),
    (template(hostNetwork=True), "hostNetwork", "hostNamespaces"),
    (template(hostPID=True), "hostPID", "hostNamespaces"),
    (template(hostIPC=True), "hostIPC", "hostNamespaces"),
    (worker(ports=[{"containerPort": 1, "hostPort": 1}]), "ports[1].hostPort", "hostNamespaces"),
    (worker(ports=[{"containerPort": 1, "hostIP": "::"}]), "ports[1].hostIP", "hostNamespaces"),
    (
        worker(readinessProbe={"httpGet": {"host": "169.254.169.254", "port": 80}}),
        "readinessProbe.httpGet.host",
        "hostNamespaces",
    ),
    (hook(tcpSocket={"host": "h", "port": 1}), "preStop.tcpSocket.host", "hostNamespaces"),
    (template(serviceAccountName="admin"), "serviceAccountName", "serviceAccounts"),
    (template(serviceAccount="admin"), "serviceAccount", "serviceAccounts"),
    (volume(projected=TOKEN), "sources[0].serviceAccountToken", "serviceAccounts"),
    (template(securityContext={"runAsUser": 1000}), "securityContext.runAsUser", "identities"),
    (template(securityContext={"fsGroup": 1000}), "securityContext.fsGroup", "identities"),
    (template(securityContext={"supplementalGroups": [6]}), "supplementalGroups", "identities"),
    (worker(securityContext={"runAsGroup": 44}), "securityContext.runAsGroup", "identities"),
    (template(securityContext={"supplementalGroups": [6, 0]}), "supplemental", "privileged"),
    (template(securityContext={"fsGroup": 0}), "securityContext.fsGroup", "privileged"),
    (template(securityContext={"runAsUser": 0}), "securityContext.runAsUser", "privileged"),
    (template(securityContext={"runAsNonRoot": False}), "runAsNonRoot", "privileged"),
    (template(securityContext={"runAsNonRoot": None}), "runAsNonRoot", "privileged"),
    (template(securityContext=None), "securityContext.runAsNonRoot", "privileged"),
    (template(securityContext={"seccompProfile": {"type": "Unconfined"}}), "seccomp", "privileged"),
    (template(securityContext={"seccompProfile": None}), "seccomp", "privileged"),
    (template(securityContext={"sysctls": [{"name": "a", "value": "b"}]}), "sysctls", "privileged"),
    (template(securityContext={"seLinuxOptions": {"type": "spc_t"}}), "seLinux", "privileged"),
    (template(securityContext={"appArmorProfile": {"type": "Unconfined"}}), "app", "privileged"),
    (worker(securityContext={"privileged": True}), "securityContext.privileged", "privileged"),
    (worker(securityContext={"procMount": "Unmasked"}), "procMount", "privileged"),
    (worker(securityContext={"readOnlyRootFilesystem": False}), "readOnlyRoot", "privileged"),
    (worker(securityContext={"capabilities": {"add": ["NET_RAW"]}}), "capabilities", "privileged"),
    (worker(securityContext={"allowPrivilegeEscalation": True}), "allowPrivilege", "privileged"),
    (
        worker(
            volumeMounts=[{"name": "v", "mountPath": "/data", "mountPropagation": "Bidirectional"}]
        ),
        "volumeMounts[/data].mountPropagation",
        "privileged",
    ),
    (template(tolerations=[{"operator": "Exists"}]), "tolerations[0].key", "scheduling"),
    (template(tolerations=[{"key": "", "operator": "Exists"}]), "[0].key", "scheduling"),
    (template(schedulerName="mine"), "schedulerName", "scheduling"),
    (apart(WIDE), "affinity.podAntiAffinity", "scheduling"),
    (apart(EVERYWHERE), "affinity.podAntiAffinity", "scheduling"),
]


@pytest.mark.parametrize(("patch", "place", "allowance"), REFUSED)
def test_what_weakens_the_pod_is_refused_with_its_place_and_what_would_allow_it(
    patch, place, allowance
):
    message = problem(World(), patch)
    assert message is not None
    assert message.startswith("spec.podTemplate.spec.")
    assert place in message
    assert f": Forbidden: needs workers.allow.{allowance}, which is not set" in message


@pytest.mark.parametrize(("patch", "place", "allowance"), REFUSED)
def test_the_administrator_may_allow_it(patch, place, allowance):
    assert problem(World(EVERYTHING), patch) is None


@pytest.mark.parametrize(("patch", "place", "allowance"), REFUSED)
def test_no_other_allowance_opens_it(patch, place, allowance):
    others = {camel_less(name): True for name in FLAGS if camel_less(name) != allowance}
    allow = dataclasses.replace(EVERYTHING.allow, **{snake(allowance): False})
    assert others
    assert problem(World(Settings(allow=allow)), patch) is not None


def camel_less(name):
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def snake(name):
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)


@pytest.mark.parametrize(
    ("patch", "place", "value"),
    [
        (annotated("k8s.v1.cni.cncf.io/networks"), "metadata.annotations[k8s.v1", "annotations"),
        (annotated("container.apparmor.io/worker"), "metadata.annotations[cont", "annotations"),
        (worker(env=[{"name": "LD_PRELOAD", "value": "/data/x.so"}]), "env[LD_PRELOAD]", "env"),
        (worker(env=[{"name": "PYTHONPATH", "value": "/data"}]), "env[PYTHONPATH]", "env"),
        (worker(env=[{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]), "env[NVIDIA", "env"),
        (template(priorityClassName="high"), "priorityClassName", "priorityClasses"),
        (template(runtimeClassName="gvisor"), "runtimeClassName", "runtimeClasses"),
    ],
)
def test_what_is_allowed_by_name_says_which_value_lists_the_names(patch, place, value):
    message = problem(World(), patch)
    assert message is not None
    assert place in message
    assert f"Forbidden: not among what workers.allow.{value} lists" in message
    assert problem(World(EVERYTHING), patch) is None


@pytest.mark.parametrize(
    ("patch", "place"),
    [
        (template(restartPolicy="Always"), "spec.restartPolicy"),
        (template(nodeName="board-b"), "spec.nodeName"),
        (template(activeDeadlineSeconds=5), "spec.activeDeadlineSeconds"),
        (template(automountServiceAccountToken=False), "spec.automountServiceAccountToken"),
        (template(ephemeralContainers=[{"name": "x"}]), "spec.ephemeralContainers"),
        (template(containers="worker"), "spec.containers"),
        (template(containers=[{"image": "x"}]), "spec.containers[0].name"),
        (worker(env={"A": "1"}), "spec.containers[0].env"),
        (worker(securityContext="none"), "spec.containers[0].securityContext"),
        (template(securityContext="none"), "spec.securityContext"),
        (template(affinity=[]), "spec.affinity"),
        (template(volumes=[{"configMap": {}}]), "spec.volumes[0].name"),
        (template(**{"$patch": "replace"}), "spec.$patch"),
        (template(**{"$retainKeys": ["a"]}), "spec.$retainKeys"),
        (template(securityContext={"$patch": "replace"}), "spec.securityContext.$patch"),
        (worker(**{"$patch": "delete"}), "spec.containers[0].$patch"),
        (template(volumes=[{"name": "tmp", "$patch": "delete"}]), "spec.volumes[0].$patch"),
        (template(affinity=None), "spec.affinity"),
        (template(affinity={"podAntiAffinity": None}), "spec.affinity.podAntiAffinity"),
        (template(affinity={"nodeAffinity": None}), "spec.affinity.nodeAffinity"),
        (template(nodeSelector={"edgetran.io/device": "x"}), "spec.nodeSelector"),
        (
            template(volumes=[{"name": "storage", "persistentVolumeClaim": {"claimName": "x"}}]),
            "spec.volumes[storage]",
        ),
        (template(volumes=[{"name": "tmp", "hostPath": {"path": "/"}}]), "spec.volumes[tmp]"),
        (
            worker(volumeMounts=[{"name": "storage", "mountPath": "/var/lib/edgetran/home"}]),
            "spec.containers[worker].volumeMounts",
        ),
        (
            worker(volumeMounts=[{"name": "work", "mountPath": "/data"}]),
            "spec.containers[worker].volumeMounts[/data]",
        ),
        (worker(resources=None), "spec.containers[worker].resources.limits.memory"),
        (worker(resources={"limits": None}), "spec.containers[worker].resources.limits.memory"),
        (worker(terminationMessagePath="/x"), "spec.containers[worker].terminationMessagePath"),
        (worker(env=[{"name": "HOME", "value": "/data"}]), "spec.containers[worker].env"),
        (template(terminationGracePeriodSeconds=31_536_000), "spec.terminationGracePeriodSeconds"),
        (template(terminationGracePeriodSeconds=-1), "spec.terminationGracePeriodSeconds"),
        (volume(emptyDir={"sizeLimit": "1Pi"}), "spec.volumes[v].emptyDir.sizeLimit"),
        (
            template(volumes=[{"name": "tmp", "emptyDir": {"sizeLimit": "1Pi"}}]),
            "spec.volumes[tmp].emptyDir.sizeLimit",
        ),
        (template(ofALaterVersion=True), "spec.ofALaterVersion"),
        (worker(ofALaterVersion=True), "spec.containers[worker].ofALaterVersion"),
        ({"metadata": {"labels": {"edgetran.io/any": "x"}}}, "metadata.labels[edgetran.io/any]"),
        ({"metadata": {"labels": {"job-name": "x"}}}, "metadata.labels[job-name]"),
        (
            {"metadata": {"labels": {"batch.kubernetes.io/job-name": "x"}}},
            "metadata.labels[batch.kubernetes.io/job-name]",
        ),
    ],
)
def test_what_no_allowance_opens_says_what_to_do_instead(patch, place):
    message = problem(World(EVERYTHING), patch)
    assert message is not None
    assert message.startswith(f"spec.podTemplate.{place}: ")
    assert re.search(r": (Forbidden|Invalid value|Required value): ", message)


@pytest.mark.parametrize(
    "patch",
    [
        {"metadata": {"labels": {"team": "a", "x.org/team": "b"}, "annotations": {"note": "b"}}},
        annotated("prometheus.io/scrape"),
        template(nodeSelector={"disk": "ssd"}, hostUsers=False),
        template(tolerations=[{"key": "x", "operator": "Exists"}]),
        template(terminationGracePeriodSeconds=30, runtimeClassName="nvidia"),
        template(securityContext={"runAsNonRoot": True, "fsGroupChangePolicy": "Always"}),
        apart({"topologyKey": "kubernetes.io/hostname", "labelSelector": {}}),
        template(volumes=[{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}]),
        volume(emptyDir={"medium": "Memory"}),
        volume(downwardAPI={"items": []}),
        volume(projected={"sources": [{"configMap": {"name": "c"}}]}),
        worker(livenessProbe={"httpGet": {"port": 9090, "path": "/metrics"}}),
        hook(sleep={"seconds": 1}),
        template(
            volumes=[
                {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "list", "configMap": {"name": "list"}},
            ],
            containers=[
                {
                    **WORKER,
                    "resources": {"limits": {"nvidia.com/gpu": "1"}, "requests": {"cpu": "2"}},
                    "env": [{"name": "HTTPS_PROXY", "value": "http://proxy"}],
                    "volumeMounts": [
                        {"name": "data", "mountPath": "/data"},
                        {"name": "list", "mountPath": "/mnt/list", "readOnly": True},
                    ],
                }
            ],
        ),
    ],
)
def test_what_weakens_nothing_is_free(patch):
    assert problem(World(), patch) is None


def test_what_is_asked_of_nodes_comes_on_top_of_what_the_work_needs():
    zone = {"key": "zone", "operator": "In", "values": ["a"]}
    mine = {"labelSelector": {"matchLabels": {"a": "b"}}, "topologyKey": "kubernetes.io/hostname"}
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    affinity = {
        "nodeAffinity": {required: {"nodeSelectorTerms": [{"matchExpressions": [zone]}]}},
        "podAntiAffinity": {required: [mine]},
    }
    found = pod_of(template(affinity=affinity))["spec"]["affinity"]
    (term,) = found["nodeAffinity"][required]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [zone]
    assert term["matchFields"][0]["values"] == ["board-a"]
    alone, further = found["podAntiAffinity"][required]
    assert alone["labelSelector"] == {"matchLabels": {"edgetran.io/measuring": "true"}}
    assert further == mine


def test_a_further_container_is_as_restricted_as_the_worker_where_it_says_nothing():
    patch = template(containers=[{"name": "more", "image": "x"}])
    allow = Settings(allow=Allowances(images=True))
    more = next(c for c in pod_of(patch, allow)["spec"]["containers"] if c["name"] == "more")
    assert more["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_every_folder_of_the_pod_has_a_size():
    spec = pod_of(volume(emptyDir={}))["spec"]
    folders = [each["emptyDir"] for each in spec["volumes"] if "emptyDir" in each]
    assert len(folders) >= 3
    assert all(folder["sizeLimit"] for folder in folders)


def test_the_default_limit_of_memory_grows_with_a_request():
    spec = pod_of(worker(resources={"requests": {"memory": "6Gi"}}))["spec"]
    assert spec["containers"][0]["resources"]["limits"]["memory"] == "6Gi"
    limits = {"requests": {"memory": "1Gi"}, "limits": {"memory": "3Gi"}}
    spec = pod_of(worker(resources=limits))["spec"]
    assert spec["containers"][0]["resources"]["limits"]["memory"] == "3Gi"


@pytest.mark.parametrize("kind", ["ProfilingJob", "CoDesignSearch"])
def test_sensors_of_the_node_need_the_administrators_consent(kind):
    def asked(settings):
        world = World(settings)
        world.node("board-a", device="pi")
        spec = {"device": SENSORS} if kind == "ProfilingJob" else {"devices": [SENSORS]}
        key = world.apply(kind, "p", spec_of(kind, **spec))
        world.settle()
        return world, key

    world, key = asked(Settings())
    place = "spec.device" if kind == "ProfilingJob" else "spec.devices[0]"
    assert world.says(key, "Stalled") == ("True", "SpecInvalid")
    assert world.condition(key, "Stalled")["message"] == (
        f"{place}.energy.hostSensors: Forbidden: needs workers.allow.hostSensors, which is not set"
    )
    assert not world.jobs()
    world, key = asked(Settings(allow=Allowances(host_sensors=True)))
    (job,) = world.jobs()
    assert any("hostPath" in each for each in job["spec"]["template"]["spec"]["volumes"])


@pytest.mark.parametrize(
    "patch",
    [
        worker(volumeMounts=[{"name": "sysfs", "mountPath": "/sys", "readOnly": False}]),
        worker(volumeMounts=[{"name": "sysfs", "mountPath": "/data"}]),
        template(
            containers=[
                {
                    "name": "more",
                    "image": "x",
                    "volumeMounts": [{"name": "sysfs", "mountPath": "/data"}],
                }
            ]
        ),
        template(volumes=[{"name": "sysfs", "hostPath": {"path": "/"}}]),
    ],
    ids=["writable", "elsewhere", "in-another-container", "another-folder"],
)
def test_the_consent_is_to_sensors_alone(patch):
    allow = Allowances(host_sensors=True, images=True)
    message = problem(World(Settings(allow=allow)), patch, device=SENSORS)
    assert message is not None
    assert "sysfs" in message or "/sys" in message or "/data" in message


@pytest.mark.parametrize(
    ("device", "place"),
    [
        ({"tolerations": [{"operator": "Exists"}]}, "spec.device.tolerations[0].key"),
        ({"runtimeClassName": "runc"}, "spec.device.runtimeClassName"),
    ],
)
def test_a_device_gets_no_more_than_a_template(device, place):
    wanted = {"name": "pi", "nodeSelector": {"edgetran.io/device": "pi"}, **device}
    message = problem(World(), {}, device=wanted)
    assert message is not None
    assert message.startswith(f"{place}: Forbidden: ")


def test_labels_that_the_operator_relies_on_cannot_be_changed():
    labels = {"edgetran.io/measuring": "false", "team": "a"}
    found = pod_of({"metadata": {"labels": labels}})["metadata"]["labels"]
    assert found["edgetran.io/measuring"] == "true"
    assert found["team"] == "a"


def test_the_administrators_patch_is_no_users_patch():
    """It may do anything, and users may change what is left."""
    patch = {
        "spec": {
            "priorityClassName": "low",
            "volumes": [{"name": "usr", "hostPath": {"path": "/usr"}}],
            "containers": [{"name": "worker", "image": "edgetran.local/host:latest"}],
        }
    }
    found = pod_of(template(nodeSelector={"disk": "ssd"}), Settings(worker_pod_patch=patch))
    assert found["spec"]["containers"][0]["image"] == "edgetran.local/host:latest"
    assert found["spec"]["nodeSelector"]["disk"] == "ssd"


@pytest.mark.parametrize("ray", [None, {"mode": "kuberay", "workers": 2}])
def test_what_a_search_runs_in_is_judged_alike(ray):
    world = World()
    spec = spec_of("CoDesignSearch", devices=[{"name": "s", "simulation": "intel-ncs2"}])
    spec |= {"podTemplate": worker(image="evil"), **({"ray": ray} if ray else {})}
    key = world.apply("CoDesignSearch", "s", spec)
    world.settle()
    assert world.says(key, "Stalled") == ("True", "SpecInvalid")
    assert not [kind for kind, _, _ in world.objects if kind in ("Job", "RayJob", "ConfigMap")]


def test_settings_that_became_narrower_hold_for_the_next_worker():
    world = World(EVERYTHING)
    assert problem(world, worker(image="other")) is None
    (key,) = world.existing()
    world.change(key, suspend=True)
    world.settle()
    world.settings = Settings()
    world.restart_operator()
    world.change(key, suspend=False)
    world.settle()
    assert world.job_of(key) is None
    assert world.says(key, "Stalled") == ("True", "SpecInvalid")
    assert "workers.allow.images, which is not set" in world.condition(key, "Stalled")["message"]


INNER_KEYS = (
    *("emptyDir", "env", "httpGet", "key", "limits", "mountPath", "name", "nodeAffinity"),
    *("nodeSelectorTerms", "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution"),
    *("sizeLimit", "sources", "valueFrom", "volumeMounts"),
)
ANYTHING = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers(-1, 2)
    | strategies.sampled_from(["", "worker", "storage", "sysfs", "$(A)", "/data", "1Gi"]),
    lambda inner: (
        strategies.lists(inner, max_size=3)
        | strategies.dictionaries(
            strategies.sampled_from(INNER_KEYS),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
PARTS = (
    *("affinity", "containers", "hostUsers", "initContainers", "nodeSelector", "securityContext"),
    *("terminationGracePeriodSeconds", "tolerations", "topologySpreadConstraints", "volumes"),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(spec=strategies.dictionaries(strategies.sampled_from(PARTS), ANYTHING, max_size=3))
def test_whatever_shape_a_template_has_it_is_judged(spec):
    """What is not as a PodSpec has it is refused here or left to the API server; nothing stops."""
    world = World(EVERYTHING)
    problem(world, {"spec": spec})
