"""The administrator's settings: a YAML file, and environment variables for plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from edgetran import __version__

ENVIRONMENT: Final = "EDGETRAN_"
"""Prefix of environment variables: EDGETRAN_METRICS_PORT sets `metricsPort`."""


HARMLESS_VARIABLES: Final = (
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION"),
    *("HF_ENDPOINT", "HF_HUB_OFFLINE", "TOKENIZERS_PARALLELISM"),
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


@dataclass(frozen=True)
class Allowances:
    """What users may ask for beyond what is harmless; nothing of this unless it is set."""

    images: bool = False
    """Run programs of their own: images, commands, further containers, any variable."""
    secrets: bool = False
    """Take variables and volumes from any Secret of the namespace."""
    volumes: bool = False
    """Mount volumes of any type but hostPath: NFS, CSI, images, block devices."""
    host_sensors: bool = False
    """Give measuring pods the node's /sys, read-only (`energy.hostSensors`)."""
    host_path: bool = False
    """Mount folders of the node."""
    host_namespaces: bool = False
    """Use the node's network, processes, IPC or ports."""
    identities: bool = False
    """Run as other users and groups than 65532, but for root."""
    privileged: bool = False
    """Weaken a security context: privileged, root, capabilities, host profiles."""
    service_accounts: bool = False
    """Run under another ServiceAccount than the run's own, or with tokens for others."""
    scheduling: bool = False
    """Tolerate every taint, keep pods of others away, use another scheduler."""
    annotations: tuple[str, ...] = ("prometheus.io/",)
    """Annotations that pods may have besides those without a domain; a domain ends in a slash."""
    env: tuple[str, ...] = HARMLESS_VARIABLES
    """Variables that containers may have; a star at the end stands for any end."""
    priority_classes: tuple[str, ...] = ()
    """Priority classes that pods may have."""
    runtime_classes: tuple[str, ...] = ("nvidia",)
    """Runtime classes that pods may have."""
    commands: bool = False
    """Read a meter that is a program: `energy.meter: command:…`."""
    meters: tuple[str, ...] = ()
    """What the address of any other meter begins with, such as `http://meters.lan/`."""
    storage: tuple[str, ...] = OBJECT_STORES
    """What `spec.storage.uri` begins with."""
    ray_addresses: tuple[str, ...] = ()
    """HOST or HOST:PORT of Ray clusters that `spec.ray.address` may name."""


@dataclass(frozen=True)
class NetworkPolicies:
    """Who may talk to pods of runs whose Ray cluster listens on the network."""

    enabled: bool = True
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


@dataclass(frozen=True)
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


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class DefaultStorage:
    """The claim that a search or refinement without `spec.storage` gets."""

    storage_class_name: str = ""
    """Its storage class; no claim is made, and such work is refused, where empty."""
    size: str = "10Gi"
    """Its size."""


@dataclass(frozen=True)
class Scratch:
    """How large the folders of a worker may grow that go away with its pod."""

    storage: str = "20Gi"
    """Checkpoints, models and reports where no claim keeps them."""
    home: str = "10Gi"
    """Caches, such as those of models."""
    tmp: str = "10Gi"
    """Temporary files."""
    shm: str = "4Gi"
    """Shared memory, in which Ray keeps its objects; it counts as memory."""
    other: str = "10Gi"
    """An emptyDir that `spec.podTemplate` adds, each."""

    def has(self, volume: str) -> bool:
        """Whether the volume of that name has a size of its own."""
        return volume in {each.name for each in dataclasses.fields(self)}

    def of(self, volume: str) -> str:
        """The most that the volume of that name may hold."""
        size: str = getattr(self, volume) if self.has(volume) else self.other
        return size


@dataclass(frozen=True)
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
    termination_grace_seconds: int = 60
    """Time that a worker has to save its state when it is stopped."""
    default_storage: DefaultStorage = field(default_factory=DefaultStorage)
    """Where work without `spec.storage` is kept."""
    allow: Allowances = field(default_factory=Allowances)
    """What users may ask for beyond what is harmless."""
    network_policy: NetworkPolicies = field(default_factory=NetworkPolicies)
    """Who may talk to workers."""
    worker_pod_patch: Mapping[str, Any] = field(default_factory=dict)
    """A strategic merge patch (metadata, spec) over all workers' pods; `spec.podTemplate` is merged
    over that."""
    board_start_seconds: int = 300
    """How long a ProfilingJob whose worker does not start keeps a board that another one waits
    for."""
    stalled_after_seconds: int = 600
    """How long a worker may take to start before its resource is Stalled."""
    max_profile_error: float = 0.3
    """Mean cross-validated relative error of a predicted measure above which a profile is of no
    use."""
    reconcilers: int = 16
    """Resources that are reconciled at the same time."""
    metrics_port: int = 9090
    """Port of /metrics; 0 takes a free one, -1 serves none."""
    probe_port: int = 8080
    """Port of /healthz and /readyz; 0 takes a free one, -1 serves none."""
    max_loop_lag_seconds: float = 10.0
    """Lag of the event loop above which /healthz fails."""
    max_watch_silence_seconds: float = 300.0
    """Time without any word of a watch, bookmarks included, above which /healthz fails."""
    watch_timeout_seconds: int = 240
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
    settings: Settings = _build(Settings, data, "")
    return dataclasses.replace(settings, **_from_environment(environ))


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    hints = get_type_hints(Settings)
    for each in dataclasses.fields(Settings):
        text = environ.get(ENVIRONMENT + each.name.upper())
        if text is None:
            continue
        hint = hints[each.name]
        value: Any = text
        if get_origin(hint) is tuple:
            value = [part for part in text.split(",") if part]
        elif hint in (int, float):
            value = yaml.safe_load(text)
        elif dataclasses.is_dataclass(hint) or get_origin(hint) is Mapping:
            continue
        found[each.name] = _value(hint, value, ENVIRONMENT + each.name.upper())
    return found


def camel(name: str) -> str:
    """A field's name as it is written in YAML."""
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def _build(kind: type, data: Any, where: str) -> Any:
    if not isinstance(data, Mapping):
        raise SettingsError(f"{where or 'settings'}: {data!r} was given; allowed is a mapping")
    hints = get_type_hints(kind)
    names = {camel(each.name): each.name for each in dataclasses.fields(kind)}
    values = {}
    for key, value in data.items():
        place = f"{where}.{key}" if where else str(key)
        if key not in names:
            raise SettingsError(f"{place}: unknown; allowed is one of {', '.join(sorted(names))}")
        values[names[key]] = _value(hints[names[key]], value, place)
    return kind(**values)


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _build(hint if isinstance(hint, type) else type(hint), value, where)
    if origin is Literal:
        if value not in arguments:
            raise _refused(where, value, f"one of {', '.join(arguments)}")
        return value
    if origin in (Union, UnionType):
        return None if value is None else _value(arguments[0], value, where)
    if origin is tuple and arguments[0] is not str:
        if not isinstance(value, list) or not all(isinstance(entry, Mapping) for entry in value):
            raise _refused(where, value, "a list of mappings")
        return tuple(dict(entry) for entry in value)
    if origin is tuple:
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise _refused(where, value, "a list of names")
        return tuple(value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise _refused(where, value, "a mapping")
        return dict(value)
    accepted = (int, float) if hint is float else hint
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise _refused(
            where,
            value,
            {int: "a whole number", float: "a number"}.get(hint, "text")
            if hint is not bool
            else "true or false",
        )
    return value


def _refused(where: str, value: Any, allowed: str) -> SettingsError:
    return SettingsError(f"{where}: {value!r} was given; allowed is {allowed}")
