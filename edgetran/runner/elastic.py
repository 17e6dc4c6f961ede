"""The elastic phase of a run: the parent learns the task, then the network of all its parts.

What is done stays: the trained parent, the network as it was made, the state of its training and
the trained network lie in the run's checkpoints, each whole or not there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgetran import api
from edgetran.artifacts import copy_content, weights_sha256
from edgetran.cores import usable_cores
from edgetran.progress import Progress
from edgetran.runner import translate
from edgetran.runner.model_import import import_model
from edgetran.runner.network_library import NETWORK, PARENT, NetworkLibrary, taken
from edgetran.runner.parent import parts_of
from edgetran.runner.problems import problems_of
from edgetran.runner.setting import TaskSetting
from edgetran.runner.training_history import TrainingHistory
from edgetran.search import Finalists, SearchFailedError
from edgetran.space import Architecture, DesignSpace
from edgetran.training import TrainingPlan, TrialPool, TrialSpec, save_model
from edgetran.training.content import hashes, model_files

if TYPE_CHECKING:
    import torch

    from edgetran.elastic import ElasticPool
    from edgetran.models import Checkpoint
    from edgetran.models.elastic import ElasticFlexiBert
    from edgetran.training import TeacherSignals

AT_A_TIME: Final = 4
"""Candidates that are judged in one pass; more would be proposed knowing less."""

FINALIST_RATE: Final = 2e-4
"""The highest learning rate of a finalist: what it inherits is soon spoilt by more."""

DISTILLATION: Final[dict[str, Any]] = {
    "distillation_weight": 0.9,
    "distillation_hidden_weight": 0.1,
}
"""Of shared weights and finalists, which the trained parent teaches."""

TEACHER: Final = ".teacher"
"""Folder in the checkpoints of what the parent says of the training texts."""

TRAINING_STAGE: Final = "Train the shared weights"

KEPT_STATE: Final = "elastic-state.safetensors"
"""The state of the training that goes where a run's folder is copied to; hidden files do not."""

KEEP_EVERY_S: Final = 300.0
"""It is three times as large as the network."""

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
        fingerprint: of the network, and of all that it is made of.
        reused: whether another search of this storage had trained it.
        teacher: folder of what the parent says of the training texts.
    """

    space: DesignSpace
    trial: TrialSpec
    pool: ElasticPool
    finalists: Finalists
    seconds: float
    steps: int
    fingerprint: str
    reused: bool
    teacher: Path

    def facts(self) -> dict[str, Any]:
        """What a log tells of the network."""
        return {
            "fingerprint": self.fingerprint,
            "reused": self.reused,
            "steps": self.steps,
            "seconds": self.seconds,
        }

    def forget_teacher(self) -> None:
        """Remove what the parent said of the training texts: it is large, and soon said again."""
        shutil.rmtree(self.teacher, ignore_errors=True)

    def history(self, own: TrainingHistory) -> TrainingHistory:
        """A finalist's whole training: before its own that of the parent and of shared weights."""
        words = ("parent", "shared weights", *own.words)
        return TrainingHistory(self.seconds + own.seconds, self.steps + own.steps, words)


def elastic_run(
    search: api.CoDesignSearch,
    task: TaskSetting,
    parent: Checkpoint,
    pool: TrialPool,
    *,
    folder: Path,
    progress: Progress,
    library: NetworkLibrary | None = None,
) -> ElasticRun:
    """Train a parent and the network of its parts, as far as that is not done yet.

    Args:
        search: what is asked for.
        task: the task.
        parent: the model that was given.
        pool: trains the parent, and later the finalists.
        folder: the run's checkpoints.
        progress: is told of every step.
        library: networks of other searches, one of which may be this one.

    Raises:
        SearchFailedError: the parent's training or that of the shared weights failed.
        SpecError: weights that are not finite, or a parent that cannot be one.
        OSError: no space is left on the disk.
    """
    settings = search.spec.shared_weights or api.SharedWeights()
    choices = search.spec.design_space.elastic
    assert choices is not None  # noqa: S101 - a rule of the spec
    with problems_of(search, "spec.parent"):
        space = parts_of(choices, parent)
        key = network_fingerprint(settings, space, task, parent, search.spec.seed)
        target = folder / "elastic-reused"
        facts = taken(target)
        if facts is None and library is not None and not (folder / "elastic").is_dir():
            facts = library.take(key, target)
        if facts is not None:
            tuned, made = target / PARENT, target / NETWORK
            seconds, steps = float(facts["seconds"]), int(facts["steps"])
            progress.log(f"the shared weights {key[:12]} are those that {facts['from']} trained")
        else:
            tuned, seconds, steps = _tuned_parent(settings, task, parent, pool, folder, progress)
            made = folder / "elastic"
        with _all_cores():
            network = _Network(settings, space, task, tuned, folder, progress, search.spec.seed)
            elastic, record = network.trained(made)
        if facts is None and library is not None:
            by = {"from": search.label, "seconds": seconds, "steps": steps}
            library.give(key, tuned, made, by)
    from edgetran.elastic import ElasticPool

    plan = task.trial.plan
    template = replace(
        task.trial,
        plan=replace(plan, learning_rate=min(plan.learning_rate, FINALIST_RATE), **DISTILLATION),
        teacher=str(tuned),
        teacher_cache=str(folder / TEACHER),
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
        key,
        facts is not None,
        folder / TEACHER,
    )


def network_fingerprint(
    settings: api.SharedWeights,
    space: DesignSpace,
    task: TaskSetting,
    parent: Checkpoint,
    seed: int,
) -> str:
    """A hash of all that decides a network, known before anything is trained.

    Args:
        settings: how it is trained; what concerns finalists alone does not count.
        space: its parts.
        task: the task.
        parent: the model that was given.
        seed: of the search.
    """
    data = task.data
    parts = [
        hashes(model_files(parent.folder)),
        space.to_dict(),
        settings.model_dump(mode="json", exclude={"finalists"}),
        seed,
        data.task.content_hash("train"),
        data.task.content_hash("validation"),
        data.max_length,
        task.trial.plan.batch_size,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


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


@dataclass(frozen=True)
class _Network:
    """The network of a run: what it is made of, and how it comes to be."""

    settings: api.SharedWeights
    space: DesignSpace
    task: TaskSetting
    tuned: Path
    folder: Path
    progress: Progress
    seed: int

    @cached_property
    def plan(self) -> TrainingPlan:
        """Budget and recipe of the shared weights."""
        settings, trial = self.settings, self.task.trial.plan
        return TrainingPlan(
            steps=settings.steps,
            learning_rate=settings.learning_rate,
            batch_size=trial.batch_size,
            precision=settings.fine_tuning.precision,
            max_length=trial.max_length,
            **DISTILLATION,
        )

    @cached_property
    def teacher_sha256(self) -> str:
        """Of the trained parent's weights."""
        return weights_sha256(self.tuned)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all that decides the trained network."""
        parts = [
            self.teacher_sha256,
            self.space.to_dict(),
            self.plan.to_dict(),
            self.settings.random_parts,
            self.settings.calibration_examples,
            self.seed,
            self.task.data.task.content_hash("train"),
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def trained(self, target: Path) -> tuple[ElasticFlexiBert, dict[str, Any]]:
        """The trained network, on the device where candidates are judged, and its record."""
        from edgetran.elastic import load_elastic

        device = _device()
        record = self._record(target)
        if record is None:
            made = self.folder / "elastic-made"
            state, kept = self.folder / ".elastic.state.safetensors", self.folder / KEPT_STATE
            if kept.is_file() and not state.is_file():  # this disk is not the one it was begun on
                copy_content(kept, state)
            record = self._train(self._made(made).to(device), state, target)
            for path in (state, kept):
                path.unlink(missing_ok=True)
            shutil.rmtree(made, ignore_errors=True)
        return load_elastic(target).to(device), record

    def _record(self, folder: Path) -> dict[str, Any] | None:
        """The record of the network in a folder, where it is this one."""
        from edgetran.elastic import read_record

        record = read_record(folder)
        same = record is not None and record.get("fingerprint") == self.fingerprint
        return record if same else None

    def _train(self, elastic: ElasticFlexiBert, state: Path, target: Path) -> dict[str, Any]:
        """Train the network, save it, and return its record."""
        from edgetran.elastic import save_elastic, train_elastic
        from edgetran.training.optimisation import TrainingDiverged

        stage, told, copied = TRAINING_STAGE, 0, time.monotonic()
        self.progress.start(stage, total=self.settings.steps)

        def tell(step: int, _total: int) -> None:
            nonlocal told, copied
            self.progress.advance(stage, steps=step - told)
            told = step
            if time.monotonic() - copied >= KEEP_EVERY_S and state.is_file():
                copy_content(state, state.with_name(KEPT_STATE))
                copied = time.monotonic()

        try:
            result = train_elastic(
                elastic,
                self.task.data,
                self.space,
                self.plan,
                self.seed,
                self._teacher(),
                random_parts=self.settings.random_parts,
                state_path=state,
                callback=tell,
            )
        except TrainingDiverged as error:
            raise SearchFailedError(f"training of the shared weights: {error}") from None
        record = {
            "fingerprint": self.fingerprint,
            "steps": result.steps,
            "seconds": result.seconds,
        }
        save_elastic(elastic, target, record)
        self.progress.finish(stage, note=f"loss {result.loss:.3f}")
        return record

    def _teacher(self) -> TeacherSignals:
        import torch

        from edgetran.training.distillation import kept_signals
        from edgetran.training.model_folder import load_model

        return kept_signals(
            lambda: torch.nn.Module.to(load_model(self.tuned), _device()),
            self.teacher_sha256,
            self.task.data,
            self.plan,
            self.folder / TEACHER,
        )

    def _made(self, folder: Path) -> ElasticFlexiBert:
        """The untrained network, made once, so that a training that goes on begins with it."""
        from edgetran.elastic import load_elastic, make_elastic, save_elastic
        from edgetran.training.model_folder import load_model

        if self._record(folder) is None:
            stage, data = "Make the elastic network", self.task.data
            self.progress.start(stage, total=1)
            order = np.random.default_rng(self.seed).permutation(len(data.split("train")))
            chosen = order[: self.settings.calibration_examples]
            batches = [
                data.batch("train", chosen[start : start + _CALIBRATION_BATCH])
                for start in range(0, len(chosen), _CALIBRATION_BATCH)
            ]
            elastic = make_elastic(
                load_model(self.tuned), batches, self.space.head_types, self.space.hidden_sizes
            )
            save_elastic(elastic, folder, {"fingerprint": self.fingerprint})
            self.progress.advance(stage)
            self.progress.finish(stage)
        return load_elastic(folder)


def _device() -> torch.device:
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def _all_cores() -> Iterator[None]:
    """Let torch use every core: nothing else of the run works meanwhile."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(max(1, int(usable_cores())))
    try:
        yield
    finally:
        torch.set_num_threads(before)
