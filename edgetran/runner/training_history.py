"""How long a model has been trained: itself and all from which it inherited its weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from edgetran.gptran import Node
from edgetran.search import Trial


@dataclass(frozen=True)
class TrainingHistory:
    """The trainings that a model went through, from fresh weights on.

    Attributes:
        seconds: of training, all together.
        steps: optimiser steps, all together; 0 where unknown.
        words: one entry per training.
    """

    seconds: float = 0.0
    steps: int = 0
    words: tuple[str, ...] = ()

    @classmethod
    def of_trial(cls, trial: Trial, trials: Sequence[Trial], checkpoints: Path) -> Self:
        """Of a trial of the search and its ancestors."""
        by_number = {each.number: each for each in trials}
        chain = [trial]
        while chain[0].parent is not None:
            chain.insert(0, by_number[chain[0].parent])
        return cls(
            seconds=sum(each.training_seconds for each in chain),
            steps=sum(_steps(checkpoints / (each.checkpoint or "")) for each in chain),
            words=tuple(f"trial {each.number}" for each in chain),
        )

    def with_nodes(self, nodes: Sequence[Node], folder: Path) -> TrainingHistory:
        """Continued by the nodes of GPTran's tree after its root, whose folder is `folder`."""
        trained = [node for node in nodes if node.parent is not None]
        return TrainingHistory(
            seconds=self.seconds + sum(node.seconds or 0.0 for node in trained),
            steps=self.steps + sum(_steps(folder / (node.checkpoint or "")) for node in trained),
            words=(*self.words, *(f"{node.stage}: {node.change}" for node in trained)),
        )


def _steps(checkpoint: Path) -> int:
    """Optimiser steps of a trial, as its folder tells."""
    try:
        record = json.loads((checkpoint / "trial.json").read_text())
        return int(record["outcome"]["steps"])
    except (OSError, KeyError, TypeError, ValueError):
        return 0
