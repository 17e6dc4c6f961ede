"""A real task's ModelTrainer: FlexiBERT checkpoints, grown and pruned from their parent's weights.

Growth changes no output at first (`edgetran.models.transfer_weights` with `preserve_function`);
pruning cuts the blocks out physically (`edgetran.models.prune`) and refits the weights that stay
(`edgetran.models.correction`). What training starts from is saved as a folder, from which a trial
begins.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgetran.api.field_errors import invalid, unsupported
from edgetran.gptran.blocks import GPTranError, Importance
from edgetran.gptran.cuts import Cuts
from edgetran.gptran.model_trainer import ValidationScore
from edgetran.gptran.paired import Outcomes
from edgetran.gptran.steps import Step
from edgetran.space import Architecture, parameter_count
from edgetran.training import (
    DEFAULT_VOCAB_SIZE,
    Scoring,
    TaskReference,
    TrainingPlan,
    TrialOutcome,
    TrialSpec,
    encoded_task,
)

if TYPE_CHECKING:
    from edgetran.models import FlexiBertForSequenceClassification
    from edgetran.training import EncodedTask
    from edgetran.training.encoding import Batch

IMPORTANCES: Final = ("secondOrder", "fisher", "taylor", "magnitude")

LEAST_CALIBRATION: Final = 8
"""Examples, of which each has a few dozen tokens."""

CALIBRATION_BATCH: Final = 32
"""Examples per backward pass: enough for a CPU, little memory."""


@dataclass(frozen=True)
class TaskTrainer:
    """Makes and judges models of one task.

    Attributes:
        task: where the data comes from.
        training: budget and recipe of a child.
        root: folder of the model to refine; its children have its vocabulary and positions.
        vocab_size: of the tokenizer trained on the task, where no folder is named.
        tokenizer_folder: a tokenizer to use instead; it must be the root's.
        importance_by: "secondOrder" (optimal brain surgeon), "fisher" (squared gradient by masks),
            "taylor" (gradient x activation) or "magnitude" (mean squared weights).
        calibration_examples: training examples on which importance and gains are measured.
        seed: of the choice of those examples.
        teacher: folder of a model whose outputs the children learn from too, e.g. the root;
            None for none.
        teacher_cache: folder where those outputs are kept, so that they are computed once for all
            children; None has each child compute them.
        threads: of torch on a CPU, in a trial.
        cache_dir: where downloads and tokenizers are kept.
        scored_as: as which artefact models are judged; None for the PyTorch model.
    """

    task: TaskReference
    training: TrainingPlan
    root: Path
    vocab_size: int = DEFAULT_VOCAB_SIZE
    tokenizer_folder: str | None = None
    importance_by: str = "secondOrder"
    calibration_examples: int = 512
    seed: int = 0
    teacher: str | None = None
    teacher_cache: str | None = None
    threads: int = 1
    cache_dir: str | None = None
    scored_as: Scoring | None = None

    def __post_init__(self) -> None:
        if self.importance_by not in IMPORTANCES:
            raise GPTranError(f"importance: {unsupported(self.importance_by, IMPORTANCES)}")
        if self.calibration_examples < LEAST_CALIBRATION:
            what = f"must be at least {LEAST_CALIBRATION}: fewer say nothing of a model's blocks"
            raise GPTranError(f"calibrationExamples: {invalid(self.calibration_examples, what)}")

    @property
    def settings(self) -> Mapping[str, Any]:
        """What decides the children besides GPTran's plan, whatever the machine."""
        return {
            "task": self.task.identity(),
            "training": self.training.to_dict(),
            "importance": self.importance_by,
            "calibration_examples": self.calibration_examples,
            "calibration_seed": self.seed,
            "distilled": self.teacher is not None,
            "corrected": True,
        } | ({} if self.scored_as is None else {"scored_as": self.scored_as.to_dict()})

    @cached_property
    def data(self) -> EncodedTask:
        """The task, loaded once."""
        return encoded_task(
            self.task,
            self.training.max_length,
            self.vocab_size,
            self.tokenizer_folder,
            self.cache_dir,
        )

    @cached_property
    def calibration(self) -> list[Batch]:
        """Training examples drawn by the seed, in batches.

        Raises:
            GPTranError: the task has too few.
        """
        count = len(self.data.split("train"))
        if count < LEAST_CALIBRATION:
            raise GPTranError(
                f"task: {self.data.task.name} has {count} training examples; at least "
                f"{LEAST_CALIBRATION} are needed, since blocks are judged on them"
            )
        return self._drawn(0)

    @cached_property
    def probe(self) -> list[Batch]:
        """Others, as many, on which cuts are judged; the same ones where there are no others."""
        return self._drawn(self.calibration_examples) or self.calibration

    def _drawn(self, first: int) -> list[Batch]:
        count = len(self.data.split("train"))
        rng = np.random.default_rng(self.seed)
        chosen = rng.permutation(count)[first : first + self.calibration_examples]
        return [
            self.data.batch("train", chosen[start : start + CALIBRATION_BATCH])
            for start in range(0, len(chosen), CALIBRATION_BATCH)
        ]

    def architecture(self, checkpoint: Path) -> Architecture:
        """The architecture of a saved model."""
        from edgetran.models import FlexiBertConfig

        return FlexiBertConfig.from_pretrained(checkpoint, local_files_only=True).to_architecture()

    def parameters(self, architecture: Architecture) -> int:
        """Number of parameters of a child of the root."""
        vocab_size, max_positions, num_labels = self._sizes
        return parameter_count(
            architecture,
            vocab_size=vocab_size,
            max_positions=max_positions,
            num_labels=num_labels,
        )

    def evaluate(self, checkpoint: Path) -> ValidationScore:
        """A saved model's quality on the validation split.

        Raises:
            GPTranError: it cannot be made ready for the engine that it is to be judged in.
        """
        from edgetran.training import score_model
        from edgetran.training.evaluation import evaluate_predictions, predict

        started = time.monotonic()
        logits = predict(_load(checkpoint), self.data, "validation")
        if self.scored_as is None:
            metrics: Mapping[str, float] = evaluate_predictions(
                lambda part: (
                    logits if part == "validation" else predict(_load(checkpoint), self.data, part)
                ),
                self.data,
                "validation",
            )
        else:
            with TemporaryDirectory(
                prefix="edgetran-"
            ) as folder:  # the model may be the user's own
                score = score_model(
                    checkpoint, self.data, self.scored_as, Path(folder), threads=self.threads
                )
            metrics = self._metrics(score.to_dict())
        seconds = time.monotonic() - started
        return ValidationScore(
            metrics[self.data.task.selection_metric],
            metrics.get("loss"),
            seconds,
            self._outcomes(logits),
        )

    def importance(self, checkpoint: Path) -> Importance:
        """How much each block of a saved model matters."""
        from edgetran.gptran.importance import magnitude_importance

        if self.importance_by == "magnitude":
            return magnitude_importance(_load(checkpoint))
        return self._cuts(checkpoint).importance

    def cuts(self, checkpoint: Path) -> Sequence[Cuts]:
        """By the importance chosen, and with every part giving the same share of its blocks."""
        cuts = self._cuts(checkpoint)
        return cuts, cuts.even

    def _cuts(self, checkpoint: Path) -> Cuts:
        from edgetran.gptran import importance
        from edgetran.gptran.second_order import second_order_cuts

        model = _load(checkpoint)
        if self.importance_by == "secondOrder":
            return second_order_cuts(model, self.calibration)
        if self.importance_by == "magnitude":
            return Cuts.of(importance.magnitude_importance(model))
        if self.importance_by == "fisher":
            return Cuts.of(importance.fisher_importance(model, self.calibration))
        return Cuts.of(importance.taylor_importance(model, self.calibration))

    def with_measured_gains(self, checkpoint: Path, steps: Sequence[Step]) -> list[Step]:
        """Growth steps with the squared gradient that their new parameters receive.

        A step that cannot keep the parent's function keeps its expected gain of zero. Pruning
        steps get minus the distance of what is left to the parent's predictions, on examples that
        it was not refitted on: a cross-entropy, as the loss.
        """
        from edgetran.gptran.importance import divergence, squared_gradient
        from edgetran.gptran.surgery import cut, grow

        parent = _load(checkpoint)
        if any(step.removal is None for step in steps):
            inherited = squared_gradient(parent, self.calibration)
        measured = []
        for step in steps:
            if step.removal is not None:
                smaller, _ = cut(parent, step.removal, self.seed, self.calibration)
                lost = divergence(smaller, parent, self.probe)
                measured.append(replace(step, gain=-lost))
                continue
            child, report = grow(parent, step.architecture, self.seed)
            gain = squared_gradient(child, self.calibration) - inherited
            measured.append(
                replace(step, gain=max(0.0, gain) if report.function_preserved else 0.0)
            )
        return measured

    def start(self, step: Step, parent: Path, folder: Path, seed: int) -> float:
        """Save a child's starting weights, made from its parent's, in `folder`."""
        from edgetran.gptran.surgery import cut, grow
        from edgetran.training import save_model

        model = _load(parent)
        if step.removal is None:
            child, report = grow(model, step.architecture, seed)
            ratio = report.ratio
        else:
            child, ratio = cut(model, step.removal, seed, self.calibration)
        save_model(child, self.data, folder)
        return ratio

    def trial(
        self, architecture: Architecture, start: Path, folder: Path, seed: int, trainings: int = 1
    ) -> TrialSpec:
        """The training of a child from the weights in `start`, to be saved in `folder`."""
        spec = TrialSpec(
            architecture=architecture.to_model_dict(),
            task=self.task,
            plan=self.training.repeated(trainings),
            seed=seed,
            output=str(folder),
            vocab_size=self.vocab_size,
            tokenizer_folder=self.tokenizer_folder,
            initial=str(start),
            teacher=self.teacher,
            teacher_cache=self.teacher_cache,
            threads=self.threads,
            cache_dir=self.cache_dir,
            scored_as=() if self.scored_as is None else (self.scored_as,),
        )
        self._ask_teacher(spec)
        return spec

    def _ask_teacher(self, spec: TrialSpec) -> None:
        """Have what the teacher says computed here, before children ask for it side by side."""
        if spec.teacher_cache is None or self._taught:
            return
        import torch

        from edgetran.training.trial import teacher_of

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        teacher_of(spec, self.data, device)
        self._taught.append(True)

    def judge(self, outcome: TrialOutcome) -> ValidationScore:
        """The quality of a child whose training has ended well.

        Raises:
            GPTranError: it could not be made ready for the engine that it is to be judged in.
        """
        from edgetran.training.evaluation import predict

        metrics = outcome.metrics
        if self.scored_as is not None:
            metrics = self._metrics(outcome.scores[self.scored_as.form.name])
        logits = predict(_load(Path(outcome.folder or "")), self.data, "validation")
        return ValidationScore(
            metrics[outcome.selection_metric],
            metrics.get("loss"),
            outcome.seconds,
            self._outcomes(logits),
        )

    def _outcomes(self, logits: np.ndarray) -> Outcomes:
        """Of a PyTorch model's validation logits, whatever artefact is scored besides."""
        labels = self.data.split("validation").labels
        return Outcomes.of(logits, labels, regression=self.data.task.is_regression)

    def _metrics(self, score: Mapping[str, Any]) -> Mapping[str, float]:
        if score["error"] is not None:
            assert self.scored_as is not None  # noqa: S101 - there is a score
            raise GPTranError(f"{self.scored_as.form.words}: {score['error']}")
        metrics: Mapping[str, float] = score["metrics"]
        return metrics

    @cached_property
    def _taught(self) -> list[bool]:
        return []

    @cached_property
    def _sizes(self) -> tuple[int, int, int]:
        from edgetran.models import FlexiBertConfig

        config = FlexiBertConfig.from_pretrained(self.root, local_files_only=True)
        return config.vocab_size, config.max_position_embeddings, config.num_labels or 1


def _load(checkpoint: Path) -> FlexiBertForSequenceClassification:
    from edgetran.training import load_model

    return load_model(checkpoint)
