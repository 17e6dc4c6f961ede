"""The administrator's settings: a YAML file, and environment variables for plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_origin, get_type_hints

import yaml
from pydantic import ConfigDict, Field, Strict, TypeAdapter, ValidationError, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails

from edgetran import __version__
from edgetran.api.field_errors import forbidden, invalid, unsupported

ENVIRONMENT: Final = "EDGETRAN_"
"""Prefix of environment variables: EDGETRAN_METRICS_PORT sets `metricsPort`."""

ImageClass = Literal["cpu", "cuda", "jetson", "openvino"]

_CHECKED: Final = ConfigDict(
    alias_generator=to_camel,
    extra="forbid",
    populate_by_name=True,
    use_attribute_docstrings=True,
)
Flag = Annotated[bool, Strict()]
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict()]

_SIZE: Final = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"
Size = Annotated[
    str,
    Field(pattern=_SIZE),
    WithJsonSchema({"type": ["string", "number"], "pattern": _SIZE, "minimum": 0}),
]
"""A quantity of bytes. The chart's values may have a number, which the chart quotes."""
DnsName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
AllowedAnnotation = Annotated[
    str,
    Field(
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
        min_length=1,
    ),
]
AllowedVariable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*[*]?$|^[*]$")]
MeterBeginning = Annotated[
    str,
    Field(
        pattern=r"^(https?://[A-Za-z0-9._:\[\]-]+(/[A-Za-z0-9._~/-]*)?|serial:/dev/[A-Za-z0-9._/-]*)$"
    ),
]
TrackerBeginning = Annotated[
    str, Field(pattern=r"^https?://[A-Za-z0-9._:\[\]-]+(/[A-Za-z0-9._~/-]*)?$")
]
StorageBeginning = Annotated[str, Field(pattern=r"^[a-z][a-z0-9+.-]*://[A-Za-z0-9._:/-]*$")]
HostPort = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+(:[0-9]{1,5})?$")]

HARMLESS_VARIABLES: Final = (
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION"),
    *("HF_ENDPOINT", "HF_HUB_OFFLINE", "TOKENIZERS_PARALLELISM"),
    *("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME"),
    *("MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    *("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"),
    *("LANG", "LC_ALL", "TZ"),
)
"""Variables that run no program of the user's, whatever their value is."""


class SettingsError(ValueError):
    """Settings that cannot be used; the message says where, what was given and what is allowed."""


OBJECT_STORES: Final = (
    *("s3://", "s3a://", "gs://", "gcs://"),
    *("az://", "abfs://", "abfss://", "adl://", "oss://", "obs://", "hf://"),
)
"""Storage whose addresses name a bucket and no host."""


@dataclass(frozen=True, config=_CHECKED)
class Allowances:
    """What users may ask for beyond what is harmless; see docs/security.md."""

    images: Flag = False
    """Run programs of their own: images, commands, containers, any variable."""
    secrets: Flag = False
    """Take variables and volumes from any Secret of the namespace."""
    volumes: Flag = False
    """Mount volumes of any type but hostPath: NFS, CSI, images."""
    host_sensors: Flag = False
    """Give measuring pods the node's /sys, read-only (`energy.hostSensors`)."""
    host_path: Flag = False
    """Mount folders of the node."""
    host_namespaces: Flag = False
    """Use the node's network, processes, IPC or ports."""
    identities: Flag = False
    """Run as other users and groups than 65532, except root."""
    privileged: Flag = False
    """Weaken security contexts: privileged, root, capabilities."""
    service_accounts: Flag = False
    """Run under another ServiceAccount than the run's own, or with tokens for others."""
    scheduling: Flag = False
    """Tolerate every taint, keep pods of others away, use another scheduler."""
    annotations: tuple[AllowedAnnotation, ...] = ("prometheus.io/",)
    """Annotations that pods may have besides those without a domain; a domain ends in `/`."""
    env: tuple[AllowedVariable, ...] = HARMLESS_VARIABLES
    """Variables that containers may have; `*` at the end stands for any end."""
    priority_classes: tuple[DnsName, ...] = ()
    """Priority classes that pods may have."""
    runtime_classes: tuple[DnsName, ...] = ("nvidia",)
    """Runtime classes that pods may have."""
    commands: Flag = False
    """Read meters that are programs, `energy.meter: command:…`."""
    meters: tuple[MeterBeginning, ...] = ()
    """What addresses of other meters begin with, such as `http://meters.lan/`: host and port as
    they are, and paths below; none where empty."""
    trackers: tuple[TrackerBeginning, ...] = ()
    """What addresses of tracking servers begin with, such as `http://mlflow.lan:5000`: host and
    port as they are, and paths below; none where empty."""
    storage: tuple[StorageBeginning, ...] = OBJECT_STORES
    """What `spec.storage.uri` begins with: stores whose addresses name a bucket and no host."""
    ray_addresses: tuple[HostPort, ...] = ()
    """HOST or HOST:PORT of Ray clusters that `spec.ray.address` may name; none where empty."""


@dataclass(frozen=True, config=_CHECKED)
class NetworkPolicies:
    """Who may talk to pods of runs whose Ray cluster listens on the network."""

    enabled: Flag = True
    """Make a NetworkPolicy for each of them."""
    kube_ray_from: tuple[Mapping[str, Any], ...] = (
        {
            "namespaceSelector": {},
            "podSelector": {"matchLabels": {"app.kubernetes.io/component": "kuberay-operator"}},
        },
    )
    """NetworkPolicyPeers that are KubeRay's operator."""
    metrics_from: tuple[Mapping[str, Any], ...] = ()
    """NetworkPolicyPeers that may scrape; everyone where empty."""


@dataclass(frozen=True, config=_CHECKED)
class Images:
    """The workers' images by what they run on."""

    cpu: str = f"edgetran-worker:{__version__}-cpu"
    """CPUs of any architecture."""
    cuda: str = f"edgetran-worker:{__version__}-cuda"
    """NVIDIA GPUs of amd64 nodes."""
    jetson: str = f"edgetran-worker:{__version__}-jetson"
    """NVIDIA GPUs of arm64 boards."""
    openvino: str = f"edgetran-worker:{__version__}-openvino"
    """Engine openvino."""


@dataclass(frozen=True, config=_CHECKED)
class Resources:
    """Container resources (`requests`, `limits`) of workers by what they do."""

    profile: Mapping[str, Any] = field(
        default_factory=lambda: {
            "requests": {"cpu": "500m", "memory": "512Mi"},
            "limits": {"memory": "2Gi"},
        }
    )
    """Measuring pods."""
    search: Mapping[str, Any] = field(
        default_factory=lambda: {"requests": {"memory": "2Gi"}, "limits": {"memory": "8Gi"}}
    )
    """Searches; CPUs and GPUs are what `spec.ray` asks for."""
    gptran: Mapping[str, Any] = field(
        default_factory=lambda: {"requests": {"memory": "2Gi"}, "limits": {"memory": "8Gi"}}
    )
    """Refinements; CPUs and GPUs are what `spec.ray` asks for."""
    serve: Mapping[str, Any] = field(
        default_factory=lambda: {
            "requests": {"cpu": "100m", "memory": "256Mi"},
            "limits": {"memory": "2Gi"},
        }
    )
    """Pods that serve a winner."""


@dataclass(frozen=True, config=_CHECKED)
class DefaultStorage:
    """The claim that a search or refinement without `spec.storage` gets."""

    storage_class_name: Annotated[str, Field(max_length=253)] = ""
    """Its storage class; such work is refused where empty."""
    size: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$")] = (
        "10Gi"
    )
    """Its size."""


@dataclass(frozen=True, config=_CHECKED)
class Scratch:
    """How large the folders of a worker may grow that go away with its pod."""

    storage: Size = "20Gi"
    """Checkpoints, models and reports where no claim keeps them."""
    home: Size = "10Gi"
    """Caches, such as those of models."""
    tmp: Size = "10Gi"
    """Temporary files."""
    shm: Size = "4Gi"
    """Shared memory, in which Ray keeps its objects; it counts as memory."""
    other: Size = "10Gi"
    """An emptyDir that `spec.podTemplate` adds, each."""

    def has(self, volume: str) -> bool:
        """Whether the volume of that name has a size of its own."""
        return volume in {each.name for each in dataclasses.fields(self)}

    def of(self, volume: str) -> str:
        """The most that the volume of that name may hold."""
        size: str = getattr(self, volume) if self.has(volume) else self.other
        return size


@dataclass(frozen=True, config=_CHECKED)
class LeaderElection:
    """Which of several operators acts."""

    enabled: Flag = False
    """Act only while a Lease is held; the others stand by and know what it knows."""
    lease: DnsName = "edgetran-operator"
    """The Lease's name."""
    namespace: Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$")] = ""
    """The Lease's namespace; the pod's own where empty."""


@dataclass(frozen=True, config=_CHECKED)
class Settings:
    """How the operator runs, and what its workers' pods are like."""

    namespaces: tuple[str, ...] = ()
    """Namespaces that are watched; all of them where empty."""
    images: Images = field(default_factory=Images)
    """The workers' images."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When nodes fetch the workers' images."""
    image_pull_secrets: tuple[str, ...] = ()
    """Secrets, in each resource's namespace, that the images are fetched with."""
    resources: Resources = field(default_factory=Resources)
    """Container resources of workers."""
    scratch: Scratch = field(default_factory=Scratch)
    """Sizes of folders that go away with the pod."""
    termination_grace_seconds: Whole = 60
    """Time that a worker has to save its state when it is stopped."""
    default_storage: DefaultStorage = field(default_factory=DefaultStorage)
    """Where work without `spec.storage` is kept."""
    allow: Allowances = field(default_factory=Allowances)
    """What users may ask for beyond what is harmless."""
    network_policy: NetworkPolicies = field(default_factory=NetworkPolicies)
    """Who may talk to workers."""
    serving: Flag = True
    """Whether winners are served where `spec.serve` asks for it: that takes rights over Deployments
    and Services."""
    worker_pod_patch: Mapping[str, Any] = field(default_factory=dict)
    """A strategic merge patch (metadata, spec) over all workers' pods; `spec.podTemplate` is merged
    over that."""
    board_start_seconds: Whole = 300
    """How long a ProfilingJob whose worker does not start keeps a board that another one waits
    for."""
    stalled_after_seconds: Whole = 600
    """How long a worker may take to start before its resource is Stalled."""
    max_profile_error: Number = 0.3
    """Mean cross-validated relative error of a predicted measure above which a profile is of no
    use."""
    leader_election: LeaderElection = field(default_factory=LeaderElection)
    """Which of several operators acts."""
    reconcilers: Whole = 16
    """Resources that are reconciled at the same time."""
    metrics_port: Whole = 9090
    """Port of /metrics; 0 takes a free one, -1 serves none."""
    probe_port: Whole = 8080
    """Port of /healthz and /readyz; 0 takes a free one, -1 serves none."""
    max_loop_lag_seconds: Number = 10.0
    """Lag of the event loop above which /healthz fails."""
    max_watch_silence_seconds: Number = 300.0
    """Silence of a watch, bookmarks included, above which /healthz fails."""
    watch_timeout_seconds: Whole = 240
    """How long the API server keeps one watch open."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What is logged."""


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings in a YAML file, with environment variables over them.

    Raises:
        SettingsError: an unknown key, a value of another type, or a file that cannot be read.
    """
    data: Any = {}
    if path is not None:
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise SettingsError(f"{path}: {error}; allowed is a YAML file of settings") from None
    if not isinstance(data, Mapping):
        raise SettingsError(f"settings: {invalid(data, 'must be a mapping')}")
    variables = _from_environment(environ)
    try:
        return TypeAdapter(Settings).validate_python(
            {**data, **{camel(name): value for name, value in variables.items()}}
        )
    except ValidationError as error:
        raise SettingsError(_sentence(error.errors()[0], data, variables)) from None


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """What plain settings are set to, by their names."""
    found: dict[str, Any] = {}
    hints = get_type_hints(Settings)
    for each in dataclasses.fields(Settings):
        text, hint = environ.get(ENVIRONMENT + each.name.upper()), hints[each.name]
        if text is None or dataclasses.is_dataclass(hint) or get_origin(hint) is Mapping:
            continue
        if get_origin(hint) is tuple:
            found[each.name] = [part for part in text.split(",") if part]
        else:
            found[each.name] = yaml.safe_load(text) if hint in (int, float) else text
    return found


def camel(name: str) -> str:
    """A field's name as it is written in YAML."""
    return to_camel(name)


_ALLOWED: Final = {
    "bool_type": "true or false",
    "dataclass_type": "a mapping",
    "dict_type": "a mapping",
    "float_type": "a number",
    "int_type": "a whole number",
    "string_type": "text",
    "tuple_type": "a list of names",
}


def _sentence(error: ErrorDetails, data: Any, variables: Mapping[str, Any]) -> str:
    """Where it is wrong, what was given and what it must be."""
    place, given = error["loc"], error["input"]
    if error["type"] == "unexpected_keyword_argument":
        known = ", ".join(_names(place[:-1]))
        return f"{_path(place)}: {forbidden(f'unknown setting; known settings: {known}')}"
    allowed = _ALLOWED.get(error["type"]) or error["msg"].removeprefix("Input should be ")
    if error["type"] == "string_pattern_mismatch":
        allowed = f"text like {error['ctx']['pattern']}"
    if isinstance(place[-1], int) and error["type"] in ("string_type", "dict_type"):
        allowed = "a list of " + ("names" if error["type"] == "string_type" else "mappings")
        place = place[:-1]
        given = {**data, **{camel(name): value for name, value in variables.items()}}
        for part in place:
            given = given[part]
    variable = {camel(name): ENVIRONMENT + name.upper() for name in variables}.get(str(place[0]))
    where = variable or _path(place)
    if error["type"] == "literal_error":
        expected = error["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
        return f"{where}: {unsupported(given, expected.split(', '))}"
    return f"{where}: {invalid(given, f'must be {allowed}')}"


def _path(place: tuple[int | str, ...]) -> str:
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in place).lstrip(".")


def _names(place: tuple[int | str, ...]) -> list[str]:
    """Settings that stand at a place, as they are written."""
    kind: Any = Settings
    for part in place:
        hints = {camel(name): hint for name, hint in get_type_hints(kind).items()}
        kind = hints[str(part)]
    return sorted(camel(each.name) for each in dataclasses.fields(kind))
