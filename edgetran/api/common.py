"""What the specs and statuses of all three kinds share."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from edgetran.api.addresses import STORAGE_CHECKS, address_rules
from edgetran.api.base import ApiModel
from edgetran.api.measures import COSTS, HARDWARE, Measure, with_fields
from edgetran.api.meta import ONE_CONDITION_PER_TYPE, Conditions
from edgetran.api.rules import (
    Rule,
    at_least_one,
    exactly_one,
    needed_where,
    only_where,
    ordered,
)
from edgetran.api.scalars import (
    Allowed,
    Figure,
    FilePath,
    FreeForm,
    Labels,
    Name,
    PodAnnotations,
    StorageUri,
    Text,
    Time,
)

ObjectName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    ),
    Allowed("the name of an object in the same namespace, such as results-2"),
]
Quantity = Annotated[
    str,
    Field(min_length=1, max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"),
    Allowed("a quantity such as 10Gi"),
]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Reference(ApiModel):
    """A resource of the same namespace, by name."""

    name: Name = Field(description="Name of the resource, in the same namespace.")


class PodTemplateMetadata(ApiModel):
    """Labels and annotations to add to pods."""

    labels: Labels | None = Field(None, description="Labels to add.")
    annotations: PodAnnotations | None = Field(None, description="Annotations to add.")


class PodTemplate(ApiModel):
    """A strategic merge patch over the pods that are generated."""

    metadata: PodTemplateMetadata | None = Field(None, description="Metadata to add to pods.")
    spec: FreeForm | None = Field(
        None, description="A part of a PodSpec, merged over the generated one."
    )


class ExistingClaim(ApiModel):
    """A PersistentVolumeClaim that exists."""

    name: ObjectName = Field(description="Name of the claim, in the same namespace.")
    sub_path: FilePath | None = Field(None, description="Folder of the volume to use.")


class NewClaim(ApiModel):
    """A PersistentVolumeClaim that is made for the run."""

    size: Quantity = Field(description="Size of the volume, such as 10Gi.")
    storage_class_name: ObjectName | None = Field(
        None, description="Storage class; the cluster's default where omitted."
    )
    access_mode: Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"] = Field(
        "ReadWriteOnce", description="How many nodes may mount it."
    )
    retain: bool = Field(
        True, description="Keep the claim, and what is on it, when the resource is deleted."
    )


class Storage(ApiModel):
    """Where checkpoints, models and reports go."""

    claim: ExistingClaim | None = Field(None, description="A claim that exists.")
    new_claim: NewClaim | None = Field(None, description="A claim to be made for the run.")
    uri: StorageUri | None = Field(
        None,
        description="An address that fsspec knows, without credentials, such as "
        "s3://bucket/folder.",
    )
    secret: ObjectName | None = Field(
        None,
        description="Secret whose keys become the environment that `uri` needs: credentials, such "
        "as AWS_ACCESS_KEY_ID.",
    )

    RULES = (
        exactly_one("claim", "new_claim", "uri"),
        *address_rules("uri", *STORAGE_CHECKS),
        only_where(
            "secret",
            lambda storage: storage.uri is not None,
            "has(self.uri)",
            "together with uri",
            reads=("uri",),
        ),
    )


_MODE_CLUSTER: Final = (
    lambda ray: ray.mode == "cluster",
    "self.mode == 'cluster'",
    "with mode cluster",
)


class RaySpec(ApiModel):
    """Where trials run."""

    mode: Literal["local", "cluster", "kuberay"] = Field(
        "local",
        description="local: Ray within the worker; cluster: a Ray cluster that runs already; "
        "kuberay: a RayJob that KubeRay runs. In a Kubernetes cluster the last two need a claim as "
        "storage, which every Ray worker mounts.",
    )
    address: (
        Annotated[
            str,
            Field(min_length=1, max_length=253, pattern=r"^(ray://)?[A-Za-z0-9._-]+:[0-9]{1,5}$"),
            Allowed("HOST:PORT or ray://HOST:PORT"),
        ]
        | None
    ) = Field(
        None,
        description="Address of the running cluster, for mode cluster only: ray://HOST:10001, or "
        "HOST:6379 on one of its own nodes.",
    )
    cpus_per_trial: Annotated[float, Field(gt=0, le=1024)] = Field(
        1.0, description="CPU cores that one trial takes."
    )
    gpus_per_trial: Annotated[float, Field(ge=0, le=64)] = Field(
        0.0, description="GPUs, or the fraction of one, that one trial takes."
    )
    workers: Annotated[int, Field(ge=0, le=1024)] = Field(
        1, description="Worker pods of the RayJob, for mode kuberay only."
    )

    RULES = (
        needed_where("address", *_MODE_CLUSTER, reads=("mode",)),
        only_where("address", *_MODE_CLUSTER, reads=("mode",)),
    )


COMMON_MUTABLE: Final = frozenset(
    {"suspend", "active_deadline_seconds", "ttl_seconds_after_finished", "backoff_limit"}
)
"""What may change in every kind of work while it runs."""


PLACEMENT: Final = frozenset({"train_on_boards"})
"""What may change of work that trains: where its pods run, and nothing of what it comes to."""


class CommonSpec(ApiModel):
    """What may be asked of every kind of work."""

    suspend: bool = Field(
        False, description="Do not start the work, or stop it without deleting it."
    )
    active_deadline_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = Field(
        None, description="Seconds of work after which it has failed; no limit where omitted."
    )
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] | None = Field(
        None, description="Seconds after its end when the resource is deleted; never where omitted."
    )
    backoff_limit: Annotated[int, Field(ge=0, le=100)] = Field(
        3, description="How often a worker that failed is started again."
    )
    pod_template: PodTemplate | None = Field(
        None,
        description="A strategic merge patch over the pods that are generated; it may change until "
        "a worker ran.",
    )
    storage: Storage | None = Field(
        None,
        description="Where checkpoints, models and reports go. A search or refinement in a cluster "
        "that has none gets a new claim of the class that the operator's settings name, and is "
        "refused where they name none.",
    )

    MUTABLE = COMMON_MUTABLE
    UNTIL_BEGUN = frozenset({"pod_template"})


class TrainerSpec(CommonSpec):
    """What may be asked of work that trains."""

    train_on_boards: bool = Field(
        False,
        description="Let pods that train run on nodes with the label edgetran.io/device too, where "
        "they disturb measurements.",
    )

    MUTABLE = COMMON_MUTABLE | PLACEMENT


class CommonStatus(ApiModel):
    """What is told of every kind of work."""

    observed_generation: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Version of the spec that the status refers to."
    )
    conditions: Conditions = Field((), description="How the work stands.")
    start_time: Time | None = Field(None, description="When the work began.")
    completion_time: Time | None = Field(None, description="When the work ended.")
    active_seconds: Annotated[int, Field(ge=0)] = Field(
        0, description="Seconds of work, time that it waited or was suspended left out."
    )
    active_since: Time | None = Field(
        None,
        description="Start of the current period of work, which activeSeconds does not count yet; "
        "absent while paused.",
    )
    waiting_since: Time | None = Field(
        None, description="Since when a worker has been due without running; absent while it runs."
    )
    failures: Annotated[int, Field(ge=0)] = Field(
        0,
        description="How often a worker failed since the work last made progress; evictions and "
        "drains are no failures.",
    )
    ended_attempts: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Attempts of workers that ended before the work did and were judged.",
    )
    failed_at_step: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Steps that were done when a worker last failed."
    )
    spec_hash: Annotated[str, Field(max_length=64, pattern=r"^[0-9a-f]*$")] | None = Field(
        None,
        description="SHA-256 of the spec that the work began with, without the fields that may "
        "change.",
    )
    progress: Annotated[str, Field(max_length=32, pattern=r"^([0-9]+/[0-9]+)?$")] = Field(
        "", description="Steps done of all steps, such as 23/64."
    )
    results: Annotated[tuple[ObjectName, ...], Field(strict=False, max_length=16)] = Field(
        (), description="The newest ConfigMaps that hold the results."
    )
    artifacts: Text | None = Field(None, description="Where checkpoints, models and reports are.")

    RULES: ClassVar[tuple[Rule, ...]] = (ONE_CONDITION_PER_TYPE,)


class ServeSpec(ApiModel):
    """How the winner is served once the run has succeeded."""

    replicas: Annotated[int, Field(ge=1, le=16)] = Field(
        1, description="Pods that answer; more than one where several boards have its labels."
    )
    port: Annotated[int, Field(ge=1024, le=65535)] = Field(
        8080, description="Port of the Service and of the pods."
    )
    max_drift: Fraction = Field(
        0.2,
        description="How far the shares of classes may be off those of the test part: total "
        "variation distance; for regression the mean, in standard deviations.",
    )
    max_confidence_drift: Fraction = Field(
        0.1, description="How far the mean confidence may be off that on the test part."
    )
    max_slowdown: Annotated[float, Field(ge=0, le=100)] = Field(
        0.5, description="How much slower than measured it may be; 0.5 is by half."
    )


class WorkloadSpec(ApiModel):
    """What a device is measured with."""

    batch_size: Annotated[int, Field(ge=1, le=4096)] = Field(1, description="Sequences per batch.")
    sequence_length: Annotated[int, Field(ge=2, le=8192)] = Field(
        128, description="Tokens per sequence."
    )


class BoundSpec(ApiModel):
    """A lower bound, an upper bound, or both, inclusive."""

    min: Annotated[float, Field(ge=0, le=1e12)] | None = Field(None, description="Least allowed.")
    max: Annotated[float, Field(ge=0, le=1e12)] | None = Field(None, description="Most allowed.")

    RULES = (at_least_one("min", "max"), ordered("min", "max"))


class FractionBound(ApiModel):
    """A lower bound, an upper bound, or both, of a score from 0 to 1, inclusive."""

    min: Fraction | None = Field(None, description="Least allowed.")
    max: Fraction | None = Field(None, description="Most allowed.")

    RULES = (at_least_one("min", "max"), ordered("min", "max"))


class CountBound(ApiModel):
    """A lower bound, an upper bound, or both, of a count, inclusive."""

    min: Annotated[int, Field(ge=0, le=10**12)] | None = Field(None, description="Least allowed.")
    max: Annotated[int, Field(ge=0, le=10**12)] | None = Field(None, description="Most allowed.")

    RULES = (at_least_one("min", "max"), ordered("min", "max"))


def _budget(measure: Measure) -> tuple[str, Any, Any]:
    if measure.kind == "size":
        return (
            measure.name,
            CountBound | None,
            Field(None, description=f"Number of {measure.words}."),
        )
    words = f"{measure.description} in {measure.unit_words}."
    return measure.name, BoundSpec | None, Field(None, description=words)


@with_fields(COSTS, _budget)
class Budgets(ApiModel):
    """Bounds on what a model may cost on its device."""


class ConstraintsSpec(Budgets):
    """Bounds that every winner meets."""

    accuracy: FractionBound | None = Field(
        None, description="The task's selection metric on validation data."
    )


class MeasureValue(ApiModel):
    """One measure of a candidate on its device."""

    value: Figure | None = Field(None, description="The value; none where it is not known.")
    source: Literal["measured", "predicted", "simulated", "counted"] = Field(
        description="Where the value comes from."
    )


@with_fields(
    HARDWARE,
    lambda measure: (
        measure.name,
        MeasureValue | None,
        Field(None, description=f"{measure.description}."),
    ),
)
class CandidateSummary(ApiModel):
    """An architecture on a device, and how good it is."""

    id: Annotated[int, Field(ge=0)] = Field(
        description="Number of the trial or of the tree's node."
    )
    architecture: Annotated[str, Field(max_length=32, pattern=r"^[0-9a-f]*$")] = Field(
        description="The architecture's graph hash."
    )
    device: Annotated[str, Field(max_length=20)] = Field(description="Name of the device.")
    accuracy: Figure | None = Field(None, description="Selection metric on validation data.")
    estimated: Literal[True] | None = Field(
        None,
        description="Given where accuracy is an estimate, by shared weights or a part of the "
        "training.",
    )
    test_accuracy: Figure | None = Field(None, description="The metric on test data, at the end.")
    parameters: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Number of parameters."
    )
    objective: Figure | None = Field(None, description="The weighted objective.")
    made_for: Annotated[str, Field(max_length=32)] | None = Field(
        None, description="Engine and precision of the artefact that was scored, at the end."
    )
    artifact: Annotated[str, Field(max_length=64, pattern=r"^[0-9a-f]*$")] | None = Field(
        None, description="SHA-256 of that artefact."
    )

    def hardware(self, measure: str) -> MeasureValue | None:
        """What it costs by the measure of that name; None where nothing was said of it."""
        value: MeasureValue | None = getattr(self, measure)
        return value

    def value_of(self, measure: str) -> float | None:
        """The number of `hardware`; None where it is not known."""
        told = self.hardware(measure)
        return None if told is None else told.value


ParetoFront = Annotated[tuple[CandidateSummary, ...], Field(strict=False, max_length=10)]
