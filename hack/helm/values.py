"""The chart's values: types, bounds, defaults and descriptions, in the order of values.yaml.

values.yaml, values.schema.json and the table in the chart's README are written from these models.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from edgetran_operator.settings import Allowances, DefaultStorage, DnsName, Scratch

DnsLabel = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
OptionalLabel = Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$", max_length=63)]
OptionalName = Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$", max_length=253)]
LabelKey = Annotated[
    str,
    Field(pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"),
]
LabelText = Annotated[
    str, Field(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)
]
Labels = dict[LabelKey, LabelText]
Annotations = dict[LabelKey, str]
Repository = Annotated[
    str, Field(pattern=r"^[a-z0-9][-a-z0-9._]*(:[0-9]+)?(/[a-z0-9][-a-z0-9._]*)*$", max_length=255)
]
Registry = Annotated[
    str, Field(pattern=r"^([a-z0-9][-a-z0-9.]*(:[0-9]+)?(/[a-z0-9][-a-z0-9._]*)*)?$")
]
Tag = Annotated[str, Field(pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$")]
Digest = Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64})?$")]
PullPolicy = Literal["Always", "IfNotPresent", "Never"]
Quantity = Annotated[
    str | int | float,
    WithJsonSchema(
        {
            "type": ["string", "number"],
            "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?$",
            "minimum": 0,
        }
    ),
]
Duration = Annotated[str, Field(pattern=r"^([0-9]+(ms|s|m|h))+$")]
Port = Annotated[int, Field(ge=1, le=65535)]
HttpUrl = Annotated[str, Field(pattern=r"^https?://\S+$")]
KubernetesObject = dict[str, Any]
"""A part of Kubernetes' own API, which the API server checks."""
KubernetesObjects = list[KubernetesObject]


class ValuesSection(BaseModel):
    """A part of the values: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Watch(ValuesSection):
    """What the operator looks at."""

    namespaces: list[DnsLabel] = Field(
        [], description="Namespaces that scope Namespaced watches; the release's own where empty."
    )


class Image(ValuesSection):
    """The operator's image."""

    repository: Repository = Field("edgetran-operator", description="Name of the image.")
    tag: Tag = Field("", description="Tag; the chart's appVersion where empty.")
    digest: Digest = Field("", description="Digest; takes precedence over the tag.")
    pull_policy: PullPolicy = Field("IfNotPresent", description="When nodes pull the image.")


class WorkerImage(ValuesSection):
    """One of the workers' images."""

    repository: Repository = Field("edgetran-worker", description="Name of the image.")
    tag: Tag = Field("", description="Tag; `APPVERSION-CLASS`, such as `0.1.0-cpu`, where empty.")
    digest: Digest = Field("", description="Digest; takes precedence over the tag.")


class WorkerImages(ValuesSection):
    """The workers' images by what they run on."""

    cpu: WorkerImage = Field(WorkerImage(), description="CPUs, amd64 and arm64.")
    cuda: WorkerImage = Field(WorkerImage(), description="NVIDIA GPUs of amd64 nodes.")
    jetson: WorkerImage = Field(WorkerImage(), description="NVIDIA GPUs of arm64 boards.")
    openvino: WorkerImage = Field(WorkerImage(), description="Engine openvino.")


class ContainerResources(ValuesSection):
    """Container resources."""

    requests: dict[str, Quantity] = Field({}, description="What a node must have free.")
    limits: dict[str, Quantity] = Field({}, description="What the container may use at most.")


class WorkerResources(ValuesSection):
    """Container resources of workers by what they do."""

    profile: ContainerResources = Field(
        ContainerResources(requests={"cpu": "500m", "memory": "512Mi"}, limits={"memory": "2Gi"}),
        description="Measuring pods.",
    )
    search: ContainerResources = Field(
        ContainerResources(requests={"memory": "2Gi"}, limits={"memory": "8Gi"}),
        description="Searches; CPUs and GPUs are what `spec.ray` asks for.",
    )
    gptran: ContainerResources = Field(
        ContainerResources(requests={"memory": "2Gi"}, limits={"memory": "8Gi"}),
        description="Refinements; CPUs and GPUs are what `spec.ray` asks for.",
    )
    serve: ContainerResources = Field(
        ContainerResources(requests={"cpu": "100m", "memory": "256Mi"}, limits={"memory": "2Gi"}),
        description="Pods that serve a winner.",
    )


class Workers(ValuesSection):
    """The pods that measure, search and refine, which run in the resources' namespaces."""

    images: WorkerImages = Field(WorkerImages(), description="Images by what they run on.")
    image_pull_policy: PullPolicy = Field("IfNotPresent", description="When nodes pull them.")
    image_pull_secrets: list[DnsName] = Field(
        [],
        description="Names of Secrets, in each resource's namespace, that they are pulled with.",
    )
    default_storage: DefaultStorage = Field(
        DefaultStorage(),
        description="The claim that a search or refinement without spec.storage gets.",
    )
    resources: WorkerResources = Field(WorkerResources(), description="Resources by work.")
    scratch: Scratch = Field(
        Scratch(), description="Size limits of folders that disappear with the pod."
    )
    termination_grace_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(
        60, description="Time that a worker has to save its state when it is stopped."
    )
    allow: Allowances = Field(
        Allowances(), description="What users may ask for, above all in `spec.podTemplate`."
    )
    pod_patch: KubernetesObject = Field(
        {}, description="Strategic merge patch (metadata, spec) over all workers' pods."
    )


class Operator(ValuesSection):
    """How the operator runs."""

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="What is logged."
    )
    replicas: Annotated[int, Field(ge=1, le=5)] = Field(
        1,
        description="Operators; of several, the one that holds a Lease acts, and another one takes "
        "over about 15 s after it is gone.",
    )
    reconcilers: Annotated[int, Field(ge=1, le=256)] = Field(
        16, description="Resources that are reconciled at the same time."
    )
    board_start_seconds: Annotated[int, Field(ge=1, le=86_400)] = Field(
        300,
        description="How long a ProfilingJob whose worker does not start keeps a board that "
        "another one waits for.",
    )
    stalled_after_seconds: Annotated[int, Field(ge=1, le=86_400)] = Field(
        600, description="How long a worker may take to start before its resource is Stalled."
    )
    max_profile_error: Annotated[float, Field(gt=0, le=10)] = Field(
        0.3,
        description="Mean cross-validated relative error of a predicted measure above which a "
        "profile is of no use.",
    )
    max_loop_lag_seconds: Annotated[float, Field(gt=0, le=600)] = Field(
        10, description="Lag of the event loop above which /healthz fails."
    )
    max_watch_silence_seconds: Annotated[float, Field(ge=10, le=3600)] = Field(
        300, description="Silence of a watch above which /healthz fails."
    )
    watch_timeout_seconds: Annotated[int, Field(ge=10, le=3600)] = Field(
        240, description="How long the API server keeps one watch open."
    )


class Crds(ValuesSection):
    """The three kinds' definitions."""

    enabled: bool = Field(True, description="Install and upgrade them with the release.")
    keep: bool = Field(
        True, description="Keep them, and so every resource, when the release is uninstalled."
    )


class ServiceAccount(ValuesSection):
    """The ServiceAccount of the operator."""

    create: bool = Field(True, description="Create it; false uses an existing one.")
    name: OptionalName = Field("", description="Its name; the release's full name where empty.")
    annotations: Annotations = Field({}, description="Annotations of it.")


class Rbac(ValuesSection):
    """What the operator and users may do."""

    create: bool = Field(True, description="Create the roles that the operator needs.")
    ray_jobs: bool = Field(
        True, description="Let it create RayJobs, which `spec.ray.mode: kuberay` needs."
    )
    serving: bool = Field(
        True, description="Let it make Deployments and Services, which `spec.serve` needs."
    )
    aggregate: bool = Field(
        True, description="Let the cluster's roles view, edit and admin cover the three kinds."
    )


class Probe(ValuesSection):
    """How the kubelet asks."""

    initial_delay_seconds: Annotated[int, Field(ge=0, le=3600)] = Field(
        0, description="Seconds before the first probe."
    )
    period_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(
        10, description="Seconds between probes."
    )
    timeout_seconds: Annotated[int, Field(ge=1, le=600)] = Field(
        5, description="Seconds until a probe times out."
    )
    failure_threshold: Annotated[int, Field(ge=1, le=600)] = Field(
        3, description="Failures in a row until it counts as failed."
    )


class Probes(ValuesSection):
    """The operator's probes."""

    port: Port = Field(8080, description="Port of /healthz and /readyz.")
    startup: Probe = Field(
        Probe(period_seconds=2, failure_threshold=60), description="Until it has started."
    )
    liveness: Probe = Field(
        Probe(failure_threshold=6),
        description="Restart: /healthz knows the loop's lag and watches.",
    )
    readiness: Probe = Field(Probe(), description="Ready once every watch has its first list.")


class Service(ValuesSection):
    """The Service of the operator's metrics."""

    annotations: Annotations = Field({}, description="Annotations, such as prometheus.io/scrape.")
    labels: Labels = Field({}, description="Further labels.")


class Monitor(ValuesSection):
    """How Prometheus' own operator is told to scrape."""

    enabled: bool = Field(False, description="Create it; needs the API monitoring.coreos.com/v1.")
    labels: Labels = Field(
        {}, description="Labels that the Prometheus selects by, such as `release: NAME`."
    )
    interval: Duration = Field("30s", description="Time between scrapes.")
    scrape_timeout: Duration = Field("10s", description="Time until a scrape counts as failed.")
    sample_limit: Annotated[int, Field(ge=0)] = Field(
        0, description="Most series of one scrape, or it fails; 0 for no limit."
    )
    relabelings: KubernetesObjects = Field([], description="Relabelling before the scrape.")
    metric_relabelings: KubernetesObjects = Field(
        [], description="Relabelling of the scraped samples."
    )


class Metrics(ValuesSection):
    """Metrics of the operator and of the workers."""

    enabled: bool = Field(True, description="Serve /metrics, with a Service.")
    port: Port = Field(9090, description="Port of the operator's /metrics.")
    service: Service = Field(Service(), description="The Service of the operator's metrics.")
    service_monitor: Monitor = Field(Monitor(), description="A ServiceMonitor for the operator.")
    pod_monitor: Monitor = Field(
        Monitor(interval="15s", sample_limit=200), description="A PodMonitor for workers."
    )


class AlertThresholds(ValuesSection):
    """Where alerts begin."""

    loop_lag_seconds: Annotated[float, Field(gt=0)] = Field(
        1, description="Lag of the operator's event loop."
    )
    reconcile_error_ratio: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="Reconciliations that end in an error, of all."
    )
    trial_failure_ratio: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.25, description="Trials of a search that failed, of those that ended."
    )
    surrogate_error_ratio: Annotated[float, Field(gt=0)] = Field(
        0.2, description="Relative error of predicted latency that a profile should get below."
    )
    no_progress: Duration = Field("2h", description="Time without a step that counts as stalled.")
    results_parts: Annotated[int, Field(ge=1, le=1000)] = Field(
        900, description="Results ConfigMaps that one resource fills; there may be 1,000."
    )
    storage_free_ratio: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="Free part of a run's volume."
    )


class PrometheusRule(ValuesSection):
    """Alerts."""

    enabled: bool = Field(False, description="Create it; needs the API monitoring.coreos.com/v1.")
    labels: Labels = Field(
        {}, description="Labels that the Prometheus selects by, such as `release: NAME`."
    )
    alert_labels: Labels = Field({}, description="Further labels of every alert.")
    disabled: list[Annotated[str, Field(pattern=r"^EdgeTran[A-Za-z]+$")]] = Field(
        [], description="Names of alerts to leave out."
    )
    runbook_url: HttpUrl = Field(
        "https://edgetran.io/runbooks", description="Address of the runbooks' folder."
    )
    thresholds: AlertThresholds = Field(AlertThresholds(), description="Where alerts begin.")


class Dashboards(ValuesSection):
    """Grafana dashboards."""

    enabled: bool = Field(True, description="Make a ConfigMap for each dashboard.")
    labels: Labels = Field(
        {"grafana_dashboard": "1"}, description="Labels by which Grafana's sidecar finds them."
    )
    annotations: Annotations = Field(
        {}, description="Annotations, such as `grafana_folder: EdgeTran`."
    )
    namespace: OptionalLabel = Field("", description="Their namespace; the release's where empty.")


class PodDisruptionBudget(ValuesSection):
    """How many operators a drain may evict."""

    enabled: bool = Field(False, description="Make it.")
    max_unavailable: Annotated[int, Field(ge=0, le=1)] = Field(
        1, description="0 refuses to drain the operator's node; 1 lets it move."
    )


class NetworkPolicy(ValuesSection):
    """Who may talk to whom."""

    enabled: bool = Field(
        True,
        description="Let the operator reach the API server and DNS alone, and be scraped; let pods "
        "of a Ray cluster talk to those of their own run alone.",
    )
    metrics_from: KubernetesObjects = Field(
        [], description="NetworkPolicyPeers that may scrape; everyone where empty."
    )
    kube_ray_from: KubernetesObjects = Field(
        [
            {
                "namespaceSelector": {},
                "podSelector": {"matchLabels": {"app.kubernetes.io/component": "kuberay-operator"}},
            }
        ],
        description="NetworkPolicyPeers that are KubeRay's operator, which asks Ray after its job.",
    )
    api_server_ports: list[Port] = Field(
        [443, 6443, 8443, 16443],
        description="Ports of the API server; K3s has 6443 behind its Service's 443.",
    )
    dns_ports: list[Port] = Field(
        [53, 5353], description="Ports of DNS; OpenShift has 5353 behind its Service's 53."
    )
    extra_egress: KubernetesObjects = Field(
        [], description="Further NetworkPolicyEgressRules of the operator, such as to a proxy."
    )
    api_server_cidrs: list[Annotated[str, Field(pattern=r"^[0-9a-fA-F.:]+/[0-9]{1,3}$")]] = Field(
        [], description="Addresses of the API server; any where empty."
    )
    worker_namespaces: list[DnsLabel] = Field(
        [],
        description="Namespaces where workers accept scrapes and other workers alone; those of "
        "scope Namespaced where empty.",
    )


class HelmTest(ValuesSection):
    """What `helm test` runs: it reads the operator's metrics through the Service."""

    enabled: bool = Field(True, description="Create the test's pod for `helm test`.")
    python: Annotated[str, Field(min_length=1)] = Field(
        "python", description="Name of Python in the operator's image."
    )


class EnvironmentVariable(ValuesSection):
    """A corev1.EnvVar."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = Field(description="Name.")
    value: str = Field("", description="Value.")
    value_from: KubernetesObject = Field({}, description="Where the value comes from.")


class PodToleration(ValuesSection):
    """A corev1.Toleration."""

    key: str = Field("", description="Key of the taint.")
    operator: Literal["Exists", "Equal"] = Field("Equal", description="How it is compared.")
    value: str = Field("", description="Value of the taint.")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        "", description="Effect of the taint."
    )
    toleration_seconds: int = Field(0, description="How long NoExecute is tolerated.")


class VolumeMount(ValuesSection):
    """A corev1.VolumeMount."""

    name: DnsLabel = Field(description="Name of the volume.")
    mount_path: Annotated[str, Field(pattern="^/")] = Field(description="Where it is mounted.")
    sub_path: str = Field("", description="What of it is mounted.")
    read_only: bool = Field(False, description="Whether it is read only.")
    mount_propagation: Literal["None", "HostToContainer", "Bidirectional"] = Field(
        "None", description="Whether mounts spread."
    )


class Values(ValuesSection):
    """All values."""

    name_override: OptionalLabel = Field("", description="Replaces the chart's name in names.")
    fullname_override: OptionalLabel = Field("", description="Replaces the full name in names.")
    common_labels: Labels = Field({}, description="Labels of every object.")
    common_annotations: Annotations = Field({}, description="Annotations of every object.")

    scope: Literal["Cluster", "Namespaced"] = Field(
        "Cluster",
        description="Watch all namespaces with a ClusterRole, or some with a Role in each.",
    )
    watch: Watch = Field(Watch(), description="What is watched.")

    image_registry: Registry = Field(
        "", description="Registry put before the names of all images, such as `registry.lan:5000`."
    )
    image_pull_secrets: list[DnsName] = Field(
        [], description="Names of Secrets that the operator's image is pulled with."
    )
    image: Image = Field(Image(), description="The operator's image.")
    workers: Workers = Field(Workers(), description="The pods that measure, search and refine.")
    operator: Operator = Field(Operator(), description="How the operator runs.")
    crds: Crds = Field(Crds(), description="The three kinds' definitions.")
    service_account: ServiceAccount = Field(
        ServiceAccount(), description="The ServiceAccount of the operator."
    )
    rbac: Rbac = Field(Rbac(), description="What the operator and users may do.")

    pod_labels: Labels = Field({}, description="Further labels of the operator's pod.")
    pod_annotations: Annotations = Field({}, description="Annotations of the operator's pod.")
    pod_security_context: KubernetesObject = Field(
        {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        description="Security context of the operator's pod.",
    )
    security_context: KubernetesObject = Field(
        {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        description="Security context of the operator's container.",
    )
    resources: ContainerResources = Field(
        ContainerResources(
            requests={"cpu": "50m", "memory": "128Mi"}, limits={"cpu": "1", "memory": "384Mi"}
        ),
        description="Resources of the operator; 5,000 resources need less than 256 MiB.",
    )
    probes: Probes = Field(Probes(), description="The operator's probes.")
    termination_grace_period_seconds: Annotated[int, Field(ge=0, le=600)] = Field(
        30, description="Time that the operator has to stop."
    )
    priority_class_name: OptionalName = Field("", description="PriorityClass of its pod.")
    node_selector: Labels = Field({}, description="Labels of nodes that it may run on.")
    tolerations: list[PodToleration] = Field([], description="Taints that it tolerates.")
    affinity: KubernetesObject = Field(
        {
            "nodeAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 100,
                        "preference": {
                            "matchExpressions": [
                                {"key": "edgetran.io/device", "operator": "DoesNotExist"}
                            ]
                        },
                    }
                ]
            }
        },
        description="Affinity of its pod: away from the boards, where there is another node.",
    )
    command: list[str] = Field([], description="Instead of the image's command.")
    extra_args: list[str] = Field([], description="Further arguments of the operator.")
    extra_env: list[EnvironmentVariable] = Field(
        [], description="Further environment variables, such as HTTPS_PROXY."
    )
    extra_volumes: KubernetesObjects = Field([], description="Further volumes of its pod.")
    extra_volume_mounts: list[VolumeMount] = Field([], description="Where they are mounted.")

    metrics: Metrics = Field(Metrics(), description="Metrics of the operator and of workers.")
    prometheus_rule: PrometheusRule = Field(PrometheusRule(), description="Alerts.")
    dashboards: Dashboards = Field(Dashboards(), description="Grafana dashboards.")
    pod_disruption_budget: PodDisruptionBudget = Field(
        PodDisruptionBudget(), description="How many operators a drain may evict."
    )
    network_policy: NetworkPolicy = Field(NetworkPolicy(), description="Who may talk to whom.")
    tests: HelmTest = Field(HelmTest(), description="What `helm test` runs.")
