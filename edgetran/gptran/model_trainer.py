"""What the loop needs of training: a ModelTrainer makes and judges the models of one task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgetran.gptran.blocks import Importance
from edgetran.gptran.cuts import Cuts
from edgetran.gptran.paired import Outcomes
from edgetran.gptran.steps import Step
from edgetran.space import Architecture

if TYPE_CHECKING:
    from edgetran.training import TrialOutcome, TrialSpec


@dataclass(frozen=True)
class ValidationScore:
    """How a model does on the validation split.

    Attributes:
        metric: the task's selection metric, larger is better.
        loss: mean loss per example.
        seconds: time that training and evaluation took, s.
        outcomes: how it does on each example; None where that is not known.
    """

    metric: float
    loss: float | None
    seconds: float
    outcomes: Outcomes | None = None


class ModelTrainer(Protocol):
    """Makes and judges models; every `checkpoint` is the folder of a saved model."""

    @property
    def root(self) -> Path:
        """Folder of the model to refine."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What decides the children besides GPTran's plan; plain JSON data, no paths."""

    def architecture(self, checkpoint: Path) -> Architecture:
        """The architecture of a saved model."""

    def parameters(self, architecture: Architecture) -> int:
        """Number of parameters of a model of the task."""

    def evaluate(self, checkpoint: Path) -> ValidationScore:
        """A saved model's quality on the validation split."""

    def importance(self, checkpoint: Path) -> Importance:
        """How much each block of a saved model matters."""

    def cuts(self, checkpoint: Path) -> Sequence[Cuts]:
        """Orders in which a saved model's blocks may go in a big cut, each worth a try."""

    def with_measured_gains(self, checkpoint: Path, steps: Sequence[Step]) -> list[Step]:
        """The steps with their expected gain measured on the saved model, without training.

        Growth's is measured by the gradient of what is new; pruning's by the loss of what is
        left, once it is cut out.
        """

    def start(self, step: Step, parent: Path, folder: Path, seed: int) -> float:
        """Save a child's starting weights, made from its parent's, in `folder`.

        Returns:
            The transfer ratio: the share of the child's parameters that the parent gave.
        """

    def trial(
        self, architecture: Architecture, start: Path, folder: Path, seed: int, trainings: int = 1
    ) -> TrialSpec:
        """The training of a child from the weights in `start`, to be saved in `folder`.

        It is as long as so many `trainings` of children.
        """

    def judge(self, outcome: TrialOutcome) -> ValidationScore:
        """The quality of a child whose training has ended well."""
