"""The elastic phase of a run: the parent learns the task, then the network of all its parts.

What is done stays: the trained parent, the network as it was made, the state of its training and
the trained network lie in the run's checkpoints, each whole or not there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgetran import api
from edgetran.artifacts import weights_sha256
from edgetran.cores import usable_cores
from edgetran.progress import Progress
from edgetran.runner import translate
from edgetran.runner.model_import import import_model
from edgetran.runner.setting import TaskSetting
from edgetran.runner.training_history import TrainingHistory
from edgetran.search import Finalists, SearchFailedError
from edgetran.space import Architecture, DesignSpace
from edgetran.training import TrainingPlan, TrialPool, TrialSpec, save_model

if TYPE_CHECKING:
    from edgetran.elastic import ElasticPool
    from edgetran.models import Checkpoint
    from edgetran.models.elastic import ElasticFlexiBert

AT_A_TIME: Final = 4
"""Candidates that are judged in one pass; more would be proposed knowing less."""

FINALIST_RATE: Final = 2e-4
"""The highest learning rate of a finalist: what it inherits is soon spoilt by more."""

DISTILLATION: Final[dict[str, Any]] = {
    "distillation_weight": 0.9,
    "distillation_hidden_weight": 0.1,
}
"""Of shared weights and finalists, which the trained parent teaches."""

_CALIBRATION_BATCH: Final = 32


@dataclass(frozen=True)
class ElasticRun:
    """What a search needs of a trained network.

    Attributes:
        space: the parts of the parent.
        trial: of the search's plan: as the task's, with the parent's positions.
        pool: judges candidates by the shared weights.
        finalists: how the best of them are trained.
        seconds: of training the parent and the shared weights.
        steps: of both.
    """

    space: DesignSpace
    trial: TrialSpec
    pool: ElasticPool
    finalists: Finalists
    seconds: float
    steps: int

    def history(self, own: TrainingHistory) -> TrainingHistory:
        """A finalist's whole training: before its own that of the parent and of shared weights."""
        words = ("parent", "shared weights", *own.words)
        return TrainingHistory(self.seconds + own.seconds, self.steps + own.steps, words)


def elastic_run(
    settings: api.SharedWeights,
    space: DesignSpace,
    task: TaskSetting,
    parent: Checkpoint,
    pool: TrialPool,
    *,
    folder: Path,
    progress: Progress,
    seed: int,
) -> ElasticRun:
    """Train a parent and the network of its parts, as far as that is not done yet.

    Args:
        settings: how.
        space: the parts.
        task: the task.
        parent: the model that was given.
        pool: trains the parent, and later the finalists.
        folder: the run's checkpoints.
        progress: is told of every step.
        seed: of all randomness.

    Raises:
        SearchFailedError: the parent's training failed.
        TaskError: weights that are not finite.
        ElasticError: a parent that cannot be one.
        TrainingDiverged: the shared weights' training did not end well.
        OSError: no space is left on the disk.
    """
    tuned, seconds, steps = _tuned_parent(settings, task, parent, pool, folder, progress)
    with _all_cores():
        elastic, record = _trained_network(settings, space, task, tuned, folder, progress, seed)
    from edgetran.elastic import ElasticPool

    plan = task.trial.plan
    template = replace(
        task.trial,
        plan=replace(plan, learning_rate=min(plan.learning_rate, FINALIST_RATE), **DISTILLATION),
        teacher=str(tuned),
        teacher_cache=str(folder / ".teacher"),
    )

    def finalist(number: int, architecture: Architecture) -> TrialSpec:
        start = folder / "finalists" / f"start-{number:04d}"
        if not (start / "config.json").is_file():
            save_model(elastic.extract(architecture).cpu(), task.data, start)
        return replace(template, initial=str(start))

    return ElasticRun(
        space,
        replace(task.trial, model_options={"max_position_embeddings": parent.positions}),
        ElasticPool(elastic, task.data),
        Finalists(
            settings.finalists,
            pool,
            finalist,
            {"network": record["fingerprint"], "plan": template.plan.to_dict()},
        ),
        seconds + float(record["seconds"]),
        steps + int(record["steps"]),
    )


def _tuned_parent(
    settings: api.SharedWeights,
    task: TaskSetting,
    parent: Checkpoint,
    pool: TrialPool,
    folder: Path,
    progress: Progress,
) -> tuple[Path, float, int]:
    """The parent trained on the task: its folder, seconds and steps of its training."""
    stage = "Train the parent"
    progress.start(stage, total=1)
    labels = task.data.task.num_labels
    renewed = parent.classes is not None and len(parent.classes) != labels
    if renewed:
        progress.log(
            f"{parent.folder} tells {len(parent.classes or ())} classes apart and the task has "
            f"{labels}: a new classifier is put on it"
        )
    adopted = import_model(parent, task.data, folder, new_classifier=renewed)
    output = folder / f"parent-{adopted.name.removeprefix('adopted-')}"
    spec = replace(
        task.trial,
        architecture=parent.architecture.to_model_dict(),
        plan=translate.training_plan(settings.fine_tuning, task.trial.plan.max_length),
        output=str(output),
        initial=str(adopted),
    )
    pool.submit("parent", spec)
    (outcome,) = pool.completed()
    if outcome.error is not None:
        raise SearchFailedError(f"training of the parent: {outcome.error}")
    progress.advance(stage)
    progress.finish(stage, note=f"validation {outcome.score:.3f}")
    return output, outcome.seconds, outcome.steps


def _trained_network(
    settings: api.SharedWeights,
    space: DesignSpace,
    task: TaskSetting,
    tuned: Path,
    folder: Path,
    progress: Progress,
    seed: int,
) -> tuple[ElasticFlexiBert, dict[str, Any]]:
    """The trained network and its record, whose `fingerprint` says what it was made of."""
    import torch

    from edgetran.elastic import load_elastic, read_record, save_elastic, train_elastic
    from edgetran.training.distillation import kept_signals
    from edgetran.training.model_folder import load_model

    stage, target = "Train the shared weights", folder / "elastic"
    plan = TrainingPlan(
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        batch_size=task.trial.plan.batch_size,
        precision=settings.fine_tuning.precision,
        max_length=task.trial.plan.max_length,
        **DISTILLATION,
    )
    teacher_sha256 = weights_sha256(tuned)
    parts = [teacher_sha256, space.to_dict(), plan.to_dict(), settings.random_parts]
    parts += [settings.calibration_examples, seed, task.data.task.content_hash("train")]
    fingerprint = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    record = read_record(target)
    if record is None or record.get("fingerprint") != fingerprint:
        made = folder / "elastic-made"
        elastic = _made_network(settings, space, task, tuned, made, fingerprint, progress, seed)
        progress.start(stage, total=settings.steps)
        elastic = elastic.to(device)
        teacher = kept_signals(
            lambda: torch.nn.Module.to(load_model(tuned), device),
            teacher_sha256,
            task.data,
            plan,
            folder / ".teacher",
        )
        state = folder / ".elastic.state.safetensors"
        told = 0

        def tell(step: int, _total: int) -> None:
            nonlocal told
            progress.advance(stage, steps=step - told)
            told = step

        result = train_elastic(
            elastic,
            task.data,
            space,
            plan,
            seed,
            teacher,
            random_parts=settings.random_parts,
            state_path=state,
            callback=tell,
        )
        record = {"fingerprint": fingerprint, "steps": result.steps, "seconds": result.seconds}
        save_elastic(elastic, target, record)
        state.unlink(missing_ok=True)
        shutil.rmtree(made, ignore_errors=True)
        progress.finish(stage, note=f"loss {result.loss:.3f}")
    return load_elastic(target).to(device), record


def _made_network(
    settings: api.SharedWeights,
    space: DesignSpace,
    task: TaskSetting,
    tuned: Path,
    folder: Path,
    fingerprint: str,
    progress: Progress,
    seed: int,
) -> ElasticFlexiBert:
    """The untrained network, made once, so that a training that goes on begins with the same."""
    from edgetran.elastic import load_elastic, make_elastic, read_record, save_elastic
    from edgetran.training.model_folder import load_model

    record = read_record(folder)
    if record is None or record.get("fingerprint") != fingerprint:
        stage, count = "Make the elastic network", len(task.data.split("train"))
        progress.start(stage, total=1)
        chosen = np.random.default_rng(seed).permutation(count)[: settings.calibration_examples]
        batches = [
            task.data.batch("train", chosen[start : start + _CALIBRATION_BATCH])
            for start in range(0, len(chosen), _CALIBRATION_BATCH)
        ]
        elastic = make_elastic(load_model(tuned), batches, space.head_types)
        save_elastic(elastic, folder, {"fingerprint": fingerprint})
        progress.advance(stage)
        progress.finish(stage)
    return load_elastic(folder)


@contextmanager
def _all_cores() -> Iterator[None]:
    """Let torch use every core: nothing else of the run works meanwhile."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(max(1, int(usable_cores())))
    yield
    torch.set_num_threads(before)
