"""A trained model on a device that takes part in the final comparison."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgetran.runner.training_history import TrainingHistory


@dataclass(frozen=True)
class Finalist:
    """A model of the final table.

    Attributes:
        title: its name in the table.
        device: the device it stands for.
        checkpoint: folder of its weights.
        history: how long it was trained.
    """

    title: str
    device: str
    checkpoint: Path
    history: TrainingHistory
