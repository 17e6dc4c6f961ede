"""What operator, workers and `kubectl edgetran` must agree on; every fact stands here alone.

How a worker ends is in `edgetran.api.exit_codes`, what its children are called in
`edgetran.api.names`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from edgetran.api.addresses import STORAGE_FORM
from edgetran.api.field_errors import HIDDEN, invalid

# -- Objects: labels, annotations, containers -----------------------------------------------------

KIND_LABEL: Final = "edgetran.io/kind"
"""On every child and pod: the kind of the resource that it belongs to."""
NAME_LABEL: Final = "edgetran.io/name"
"""On every child and pod: that resource's name."""
COMPONENT_LABEL: Final = "app.kubernetes.io/component"
DEVICE_LABEL: Final = "edgetran.io/device"
"""On a node: which device it is."""
MEASURING_LABEL: Final = "edgetran.io/measuring"
"""On a pod that measures: no other one may run beside it."""
MEASURED_DEVICE_LABEL: Final = "edgetran.io/board"
"""On a pod that measures: the device that it measures."""

QUEUE_LABEL: Final = "kueue.x-k8s.io/queue-name"
"""Kueue's, on a resource and on every Job that is made for it: the queue that admits them."""

FAILURES_ANNOTATION: Final = "edgetran.io/failures-before"
"""Attempts of earlier workers that ended badly, so that they are counted over all of them."""
MADE_FROM_ANNOTATION: Final = "edgetran.io/made-from"
"""A hash of the pod, so that a worker that never ran is made anew where it would be another."""
WORK_ANNOTATION: Final = "edgetran.io/work"
"""The hash of what the worker was given beside its spec."""
NODE_ANNOTATION: Final = "edgetran.io/node"
"""The board that a measuring worker is pinned to."""

MODEL_LABEL: Final = "edgetran.io/served-by"
"""On a pod that serves a winner: the Deployment that it is of."""
ARTIFACT_ANNOTATION: Final = "edgetran.io/artifact"
"""On a pod that serves a winner: the SHA-256 of the artefact."""

WORKER_CONTAINER: Final = "worker"
METRICS_PORT: Final = 9090
"""Port of a worker's /metrics."""

# -- The worker's process -------------------------------------------------------------------------

WORKER_PROGRAM: Final = "edgetran-worker"
COMMANDS: Final = {"profile": "ProfilingJob", "search": "CoDesignSearch", "gptran": "GPTranRun"}
"""The kind of resource that each command of the program works on."""
COMPONENTS: Final = {kind: command for command, kind in COMMANDS.items()}
"""What each kind's worker does: label, command and settings go by these words."""

SERVE_COMMAND: Final = "serve"
"""The command that serves a winner; its model's name in addresses is the resource's."""

HAND_OVER_COMMAND: Final = "hand-over"
"""The command that serves a run's artefacts to the board that cannot mount their volume."""
HAND_OVER_PORT: Final = 9091
"""Port at which it serves them."""

ALLOW_COMMANDS: Final = "--allow-commands"
ALLOW_METER: Final = "--allow-meter"
ALLOW_TRACKER: Final = "--allow-tracker"
"""Options that say what the administrator allows."""

LOG_VARIABLE: Final = "EDGETRAN_LOG"
"""`json` for a worker that logs JSON."""
SPEC_HASH_VARIABLE: Final = "EDGETRAN_SPEC_HASH"
"""The hash of the spec that a pod was made for."""
WORK_HASH_VARIABLE: Final = "EDGETRAN_WORK_HASH"
"""The hash of what a worker was given beside its spec."""
POD_VARIABLE: Final = "POD_NAME"
NAMESPACE_VARIABLE: Final = "POD_NAMESPACE"

# -- Its folders and files ------------------------------------------------------------------------

WORK_PATH: Final = "/etc/edgetran/work"
"""Where the spec ConfigMap is mounted."""
INPUTS_PATH: Final = "/etc/edgetran/inputs"
"""Where results of other resources are mounted."""
STORAGE_PATH: Final = "/var/lib/edgetran/storage"
"""Where run folders lie: a volume claim, or a folder of the pod's own."""
SEARCH_PATH: Final = "/var/lib/edgetran/search"
"""The storage of the run whose winner is refined or measured, where that is a claim."""
DATA_PATH: Final = "/var/lib/edgetran/data"
"""The task's files, where `spec.data` says that they are apart from the storage."""
HOME_PATH: Final = "/var/lib/edgetran/home"
TERMINATION_LOG: Final = "/dev/termination-log"

RESOURCE_FILE: Final = "resource.yaml"
DEPENDENCIES_FILE: Final = "dependencies.yaml"
WORK_FILE: Final = "work.json"
"""Files of the spec ConfigMap: the resource, those that it refers to, and a `WorkOrder`."""

PART_KEY: Final = "records.jsonl.gz"
"""The key of a part's bytes in a results ConfigMap's `binaryData`."""
PART_INFO_KEY: Final = "part.json"
"""The key in `data` of its `PartInfo`."""
SUMMARY_KEY: Final = "summary.json"
"""The key of the `WorkerSummary` in `data` of the first results ConfigMap."""

CLAIM: Final = "claim"
"""A search's storage that is a mounted volume; any other one is an address."""


def input_path(job: str, number: int) -> str:
    """Where a results ConfigMap of a ProfilingJob is mounted."""
    return f"{INPUTS_PATH}/pj-{job}/{number}"


def run_selector(kind: str, name: str) -> str:
    """Selects the children and pods of one resource by their labels."""
    return f"{KIND_LABEL}={kind},{NAME_LABEL}={name}"


# -- Messages -------------------------------------------------------------------------------------

Line = Annotated[str, Field(max_length=1024)]
Word = Annotated[str, Field(max_length=128)]

MESSAGE_CHARACTERS: Final = 1024
"""The most of a summary's message."""


class Message(BaseModel):
    """What one part tells another: camelCase on paper, bounded, open to newer fields."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
    )

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        """The message, with the default in place of each field that is not as it should be.

        Raises:
            ValidationError: a field without a default is missing or wrong.
        """
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            wrong = {str(each["loc"][0]) for each in error.errors() if each["loc"]}
            return cls.model_validate({k: v for k, v in data.items() if k not in wrong})


class Steps(NamedTuple):
    """Steps done, and steps in all: `23/64` in statuses and summaries."""

    done: int
    total: int

    def __str__(self) -> str:
        return f"{self.done}/{self.total}" if self.total else ""

    @classmethod
    def read(cls, text: object) -> Self | None:
        """The steps that a text tells of; None where it tells of none."""
        match = _STEPS.fullmatch(text) if isinstance(text, str) else None
        return None if match is None else cls(int(match[1]), int(match[2]))


_STEPS: Final = re.compile(r"([0-9]{1,15})/([0-9]{1,15})")


class PartInfo(Message):
    """What a results ConfigMap says of the records in it."""

    records: Annotated[int, Field(ge=0)] = 0
    closed: bool = False
    """Whether no more records come into it."""


class WorkerSummary(Message):
    """How a worker's work stands, in its own words; the operator takes it over into the status."""

    schema_version: int = 1
    kind: Word = ""
    finished: bool = False
    """Whether all work is done and all of it is published."""
    reason: Word = ""
    message: Annotated[str, Field(max_length=MESSAGE_CHARACTERS)] = ""
    progress: Annotated[str, Field(max_length=32)] = ""
    """`Steps`; empty where there are none."""
    stage: Word = ""
    """What is being done; empty between two stages."""
    status: Annotated[dict[str, Any], Field(max_length=64)] = {}
    """The fields of the kind's status that are the worker's."""
    time_left_seconds: Annotated[float, Field(ge=0)] | None = None
    artifacts: Annotated[str, Field(max_length=2048)] | None = None
    """Where models and reports are kept."""
    updated: Word = ""
    metrics: Annotated[dict[Word, float], Field(max_length=256)] = {}
    """Numbers by snake_case names with their units."""
    pod: Annotated[str, Field(max_length=253)] = ""
    session: Annotated[int, Field(ge=0)] = 0
    """Which worker of the resource writes, counted from 1: a later one takes over."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return self.model_dump(mode="json", by_alias=True)


class Termination(Message):
    """What a worker leaves in the termination log when it ends."""

    reason: Word = ""
    message: Annotated[str, Field(max_length=4096)]


def _below_storage(folder: Any) -> str:
    if not isinstance(folder, str) or not _FOLDER.fullmatch(folder) or ".." in folder.split("/"):
        raise _refused(invalid(folder, "must be a relative path without '..'"))
    return folder


def _address(uri: Any) -> str:
    """An address of storage; the operator has judged which one, so only its form is looked at."""
    if not isinstance(uri, str):
        raise _refused(invalid(uri, "must be an address"))
    failed = [each for each in STORAGE_FORM if not each.holds(uri)]
    if failed:
        raise _refused(invalid(HIDDEN, f"must be {failed[0].allowed}"))
    return uri


def _claim_or_address(storage: Any) -> str:
    return CLAIM if storage == CLAIM else _address(storage)


def _refused(sentence: str) -> PydanticCustomError:
    return PydanticCustomError("refused", "{sentence}", {"sentence": sentence})


_FOLDER: Final = re.compile(r"[a-z0-9][a-z0-9-]*(/[a-z0-9][a-z0-9.-]*)+")

RunPath = Annotated[str, Field(max_length=512), BeforeValidator(_below_storage)]
"""A run's folder below its storage."""
Address = Annotated[str, Field(max_length=2048), BeforeValidator(_address)]


class StorageOrder(Message):
    """Where a run is kept: a claim that is mounted, or an address."""

    claim: bool = False
    uri: Address | None = None


class SearchOrder(Message):
    """The run of the search whose winner is refined, or whose finalists are measured."""

    folder: RunPath
    storage: Annotated[str, Field(max_length=2048), BeforeValidator(_claim_or_address)]
    """`CLAIM`, or an address; also that of the pod that hands a claim's artefacts over."""


class InputsOrder(Message):
    """Results of other resources that the work builds on."""

    profiles: dict[str, list[str]] = {}
    """Folders of the mounted results of ProfilingJobs, in order, by the job's name."""
    search: SearchOrder | None = None


VERDICT_MINUTES: Final = 30
"""How long a `ServedVerdict` counts; it is told again three times as often."""


class ServedVerdict(Message):
    """Whether a pod serves as measured; in `data` of the served model's ConfigMap, by the pod."""

    artifact: Annotated[str, Field(max_length=64)] = ""
    served_as_measured: Literal["True", "False", "Unknown"] = "Unknown"
    message: Annotated[str, Field(max_length=MESSAGE_CHARACTERS)] = ""
    updated: Word = ""


class WorkOrder(Message):
    """A worker's work, beside the resource itself: where its inputs lie and its results go."""

    folder: RunPath
    results: Annotated[str, Field(max_length=253)]
    """Name of the results ConfigMaps but for the dash and number at their end."""
    namespace: Annotated[str, Field(max_length=253)]
    storage: StorageOrder | None = None
    inputs: InputsOrder | None = None
