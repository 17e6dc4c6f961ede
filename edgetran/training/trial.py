"""One trial: build a model, inherit weights, train it, judge it, keep it; failures are outcomes.

A trial's output folder appears whole or not at all, and running a finished trial again gives back
what it gave before: a killed search repeats calls without repeating work.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from edgetran.artifacts import Artifact, ArtifactError, weights_sha256
from edgetran.training.loading import load_task
from edgetran.training.plan import TrainingPlan
from edgetran.training.reference import TaskReference
from edgetran.training.scoring import ARTIFACTS, Scoring, read_score, score_model
from edgetran.training.task import TaskError
from edgetran.training.tokenizer import DEFAULT_VOCAB_SIZE

if TYPE_CHECKING:
    import torch

    from edgetran.models import FlexiBertForSequenceClassification
    from edgetran.training.distillation import TeacherSignals
    from edgetran.training.encoding import EncodedTask

RECORD_NAME: Final = "trial.json"
"""The file in a trial's folder that holds its outcome."""

DIVERGED: Final = "diverged"
OUT_OF_MEMORY: Final = "out-of-memory"
NO_SPACE: Final = "no-space"
BAD_INPUT: Final = "bad-input"
WORKER_DIED: Final = "worker-died"
OTHER: Final = "error"


@dataclass(frozen=True)
class TrialSpec:
    """Everything that decides a trial's result, as JSON-able data.

    Attributes:
        architecture: published model dict.
        task: where the data comes from.
        plan: budget and recipe.
        seed: of fresh weights, order, dropout and masking.
        output: folder for the trained model.
        vocab_size: of the tokenizer trained on the task, where no folder is named.
        tokenizer_folder: a tokenizer to use instead.
        parent: folder of a trained model from which weights are inherited.
        transfer_method: `ordered` or `projection`; see `edgetran.models.transfer_weights`.
        preserve_function: what the child has beyond the parent enters with no effect.
        initial: folder of a model of this architecture to start from as it is, e.g. one that
            GPTran has grown or pruned; instead of `parent`.
        teacher: folder of a trained model to distil from.
        teacher_cache: folder where what the teacher says is kept for further trials; None keeps
            it in memory, for this one.
        model_options: further arguments of `FlexiBertConfig`, such as dropout rates or
            `max_position_embeddings` (the plan's `max_length` by default).
        threads: of torch on a CPU.
        pause_at: share of the budget after which to pause, for successive halving: the same spec
            with a higher share goes on.
        cache_dir: where downloads and tokenizers are kept.
        scored_as: the artefacts, besides the PyTorch model, that are made and scored at its end.
    """

    architecture: Mapping[str, Any]
    task: TaskReference
    plan: TrainingPlan
    seed: int
    output: str
    vocab_size: int = DEFAULT_VOCAB_SIZE
    tokenizer_folder: str | None = None
    parent: str | None = None
    transfer_method: str = "ordered"
    preserve_function: bool = False
    initial: str | None = None
    teacher: str | None = None
    teacher_cache: str | None = None
    model_options: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 1
    pause_at: float = 1.0
    cache_dir: str | None = None
    scored_as: tuple[Scoring, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return asdict(replace(self, architecture={}, model_options={})) | {
            "architecture": dict(self.architecture),
            "model_options": dict(self.model_options),
            "task": self.task.to_dict(),
            "plan": self.plan.to_dict(),
            "scored_as": [scoring.to_dict() for scoring in self.scored_as],
        }

    @property
    def training(self) -> dict[str, Any]:
        """`to_dict` without what is done with the model once it is trained."""
        data = self.to_dict()
        del data["scored_as"]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TrialSpec:
        """Read what `to_dict` wrote."""
        return cls(
            **{
                **data,
                "task": TaskReference.from_dict(data["task"]),
                "plan": TrainingPlan.from_dict(data["plan"]),
                "scored_as": tuple(map(Scoring.from_dict, data.get("scored_as", ()))),
            }
        )

    @property
    def identity(self) -> str:
        """Sha-256 of what decides the trained model: not the place, the cache or the pause."""
        data = self.training
        for name in ("output", "cache_dir", "teacher_cache", "pause_at"):
            del data[name]
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class TrialOutcome:
    """What a trial came to; JSON-able.

    Attributes:
        key: the name under which it was submitted.
        error: one line saying why it failed; None where it succeeded.
        error_kind: `diverged`, `out-of-memory`, `no-space`, `bad-input`, `worker-died`, `error`.
        folder: the trained model's folder.
        selection_metric: key of `metrics` to maximise.
        metrics: on the validation split.
        history: one entry per validation.
        steps: optimiser steps.
        seconds: of training.
        fraction: share of the budget used; less than 1 where paused.
        parameters: of the whole model, embeddings and classifier included.
        transfer_ratio: share of them inherited from the parent; None without a parent.
        attempts: how often it was started, deaths of its worker included.
        place: the host that ran it, which in a cluster is a pod; empty where it is not known.
        scores: what its artefacts scored, by the form's name; see `ArtifactScore`.
    """

    key: str = ""
    error: str | None = None
    error_kind: str | None = None
    folder: str | None = None
    selection_metric: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    history: tuple[Mapping[str, float], ...] = ()
    steps: int = 0
    seconds: float = 0.0
    fraction: float = 0.0
    parameters: int = 0
    transfer_ratio: float | None = None
    attempts: int = 1
    place: str = ""
    scores: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def succeeded(self) -> bool:
        """Whether there is a model and a score."""
        return self.error is None

    @property
    def score(self) -> float | None:
        """The validation metric to maximise; None where the trial failed."""
        return self.metrics[self.selection_metric] if self.succeeded else None

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return asdict(self) | {"history": [dict(entry) for entry in self.history]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TrialOutcome:
        """Read what `to_dict` wrote; fields of a newer version are left out."""
        known = {field.name for field in fields(cls)}
        values = {name: value for name, value in data.items() if name in known}
        return cls(**values | {"history": tuple(data.get("history", ()))})


def run_trial(spec: TrialSpec) -> TrialOutcome:
    """Run a trial in this process, or give back the outcome that its folder already holds.

    Never raises for what may go wrong with one trial: that is an outcome with an `error`.
    """
    try:
        return _with_scores(spec, _trained(spec) or _run(spec))
    except Exception as error:  # noqa: BLE001 - one failed trial must not end a search
        kind = _kind(error)
        return TrialOutcome(error=_sentence(error, kind), error_kind=kind)


def finished_trial(spec: TrialSpec) -> TrialOutcome | None:
    """The outcome in the spec's output folder, if it is of this very trial, as far trained.

    None too where an artefact that the spec wants scored is not there yet.
    """
    outcome = _trained(spec)
    if outcome is None or not spec.scored_as:
        return outcome
    scores = {}
    for scoring in spec.scored_as:
        folder = _artifact_folder(spec, scoring)
        try:
            score = read_score(folder, Artifact.load(folder), scoring)
        except ArtifactError:
            score = None
        if score is None:
            return None
        scores[scoring.form.name] = score.to_dict()
    return replace(outcome, scores=scores)


def _trained(spec: TrialSpec) -> TrialOutcome | None:
    try:
        record = json.loads(Path(spec.output, RECORD_NAME).read_text())
        outcome = TrialOutcome.from_dict(record["outcome"])
    except (OSError, ValueError, KeyError):
        return None
    enough = outcome.fraction >= min(spec.pause_at, 1.0)
    return outcome if record.get("identity") == spec.identity and enough else None


def _with_scores(spec: TrialSpec, outcome: TrialOutcome) -> TrialOutcome:
    """The outcome with what each artefact of the model scored."""
    if not spec.scored_as or outcome.fraction < 1.0:
        return outcome
    data = encoded_task(
        spec.task, spec.plan.max_length, spec.vocab_size, spec.tokenizer_folder, spec.cache_dir
    )
    scores = {
        scoring.form.name: score_model(
            Path(spec.output), data, scoring, _artifact_folder(spec, scoring), threads=spec.threads
        ).to_dict()
        for scoring in spec.scored_as
    }
    return replace(outcome, scores=scores)


def _artifact_folder(spec: TrialSpec, scoring: Scoring) -> Path:
    return Path(spec.output, ARTIFACTS, scoring.form.name)


def _run(spec: TrialSpec) -> TrialOutcome:
    import torch

    from edgetran.training.fine_tuning import train
    from edgetran.training.model_folder import save_model

    if torch.get_num_threads() != spec.threads:
        torch.set_num_threads(spec.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = encoded_task(
        spec.task, spec.plan.max_length, spec.vocab_size, spec.tokenizer_folder, spec.cache_dir
    )
    model, transfer_ratio = _model(spec, data)
    torch.nn.Module.to(model, device)
    output = Path(spec.output)
    result = train(
        model,
        data,
        spec.plan,
        spec.seed,
        teacher=teacher_of(spec, data, device),
        state_path=output.with_name(f".{output.name}.state.safetensors"),
        pause_at=spec.pause_at,
    )
    outcome = TrialOutcome(
        folder=spec.output,
        selection_metric=data.task.selection_metric,
        metrics=result.metrics,
        history=result.history,
        steps=result.steps,
        seconds=result.seconds,
        fraction=result.fraction,
        parameters=sum(p.numel() for p in model.parameters()),
        transfer_ratio=transfer_ratio,
    )
    record = {"schema_version": 1, "identity": spec.identity, "outcome": outcome.to_dict()}
    save_model(model, data, output, {RECORD_NAME: json.dumps(record, indent=1)})
    return outcome


def encoded_task(
    task: TaskReference,
    max_length: int,
    vocab_size: int = DEFAULT_VOCAB_SIZE,
    tokenizer_folder: str | None = None,
    cache_dir: str | None = None,
) -> EncodedTask:
    """The task, loaded and tokenised as a trial with these settings does; kept in memory.

    Raises:
        TaskError: the task or its tokenizer cannot be loaded.
    """
    return _encoded_task(
        json.dumps(task.to_dict()), max_length, vocab_size, tokenizer_folder, cache_dir
    )


@lru_cache(maxsize=2)
def _encoded_task(
    task: str, max_length: int, vocab_size: int, tokenizer_folder: str | None, cache_dir: str | None
) -> EncodedTask:
    from edgetran.training.encoding import encode_task
    from edgetran.training.tokenizer import build_tokenizer

    loaded = load_task(TaskReference.from_dict(json.loads(task)), cache_dir=cache_dir)
    tokenizer = build_tokenizer(
        loaded, vocab_size=vocab_size, folder=tokenizer_folder, cache_dir=cache_dir
    )
    return encode_task(loaded, tokenizer, max_length)


def _model(
    spec: TrialSpec, data: EncodedTask
) -> tuple[FlexiBertForSequenceClassification, float | None]:
    """The untrained model, and the share of its parameters that the parent gave."""
    import torch

    from edgetran.models import FlexiBertConfig, FlexiBertForSequenceClassification
    from edgetran.space import Architecture
    from edgetran.training.model_folder import load_model
    from edgetran.training.regression import LabelScale, restore_top

    architecture = Architecture.from_model_dict(spec.architecture)
    if spec.initial is not None:
        model = load_model(spec.initial)
        found = model.config.to_architecture()
        if found.graph_hash != architecture.graph_hash:
            raise TaskError(f"initial: {spec.initial} holds another architecture than the trial's")
        _check_fit("initial", spec.initial, data)
        return model, None
    names = data.task.label_names or ()
    config = FlexiBertConfig.from_architecture(
        architecture,
        **{
            "vocab_size": data.vocab_size,
            "max_position_embeddings": data.max_length,
            "pad_token_id": data.tokenizer.pad_token_id,
            "num_labels": data.task.num_labels,
            **({"id2label": dict(enumerate(names))} if names else {}),
            **({"label2id": {name: i for i, name in enumerate(names)}} if names else {}),
            "problem_type": (
                "regression" if data.task.is_regression else "single_label_classification"
            ),
            **spec.model_options,
        },
    )
    with torch.random.fork_rng():
        torch.manual_seed(spec.seed)
        model = FlexiBertForSequenceClassification(config)
    if data.task.is_regression:
        restore_top(model, LabelScale.of(data))
    if spec.parent is None:
        return model, None
    _check_vocabulary("parent", spec.parent, data)
    from edgetran.models import transfer_weights

    report = transfer_weights(
        load_model(spec.parent),
        model,
        method=cast("Literal['ordered', 'projection']", spec.transfer_method),
        preserve_function=spec.preserve_function,
        seed=spec.seed,
    )
    return model, float(report.ratio)


def _check_fit(role: str, folder: str, data: EncodedTask) -> None:
    """Refuse a model that is used as it is and was made for another task."""
    from edgetran.models import CheckpointError, read_checkpoint
    from edgetran.training.model_folder import check_fit

    _check_vocabulary(role, folder, data)
    try:
        check_fit(read_checkpoint(folder), data)
    except CheckpointError as error:
        raise TaskError(f"{role}: {error}") from None


def _check_vocabulary(role: str, folder: str, data: EncodedTask) -> None:
    """Refuse inheriting embeddings that stand for other pieces of words."""
    from edgetran.training.tokenizer import load_tokenizer, tokenizer_hash

    if tokenizer_hash(load_tokenizer(folder)) != tokenizer_hash(data.tokenizer):
        raise TaskError(
            f"{role}: {folder} has another tokenizer than the trial; name its folder as tokenizer"
        )


def teacher_of(spec: TrialSpec, data: EncodedTask, device: torch.device) -> TeacherSignals | None:
    """What the trial's teacher says of the training texts; None where it has no teacher.

    Raises:
        TaskError: the teacher was made for another task.
    """
    import torch

    from edgetran.training.distillation import kept_signals, teacher_signals
    from edgetran.training.model_folder import load_model

    if spec.teacher is None:
        return None
    _check_fit("teacher", spec.teacher, data)
    folder = spec.teacher

    def teacher() -> torch.nn.Module:
        return torch.nn.Module.to(load_model(folder), device)

    if spec.teacher_cache is None:
        return teacher_signals(teacher(), data, states=spec.plan.distillation_hidden_weight > 0)
    fingerprint = weights_sha256(Path(folder))
    return kept_signals(teacher, fingerprint, data, spec.plan, Path(spec.teacher_cache))


def _kind(error: Exception) -> str:
    from edgetran.training.optimisation import TrainingDiverged

    text = str(error).lower()
    if isinstance(error, TrainingDiverged):
        return DIVERGED
    if isinstance(error, MemoryError) or "out of memory" in text or "can't allocate" in text:
        return OUT_OF_MEMORY
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NO_SPACE
    if "no space left" in text:
        return NO_SPACE
    return BAD_INPUT if isinstance(error, ValueError) else OTHER


def _sentence(error: Exception, kind: str) -> str:
    line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return f"{type(error).__name__}: {line}" if kind == OTHER else line
