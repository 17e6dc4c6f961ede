"""A trainer and a pool that decide by arithmetic, so that the loop is tested without training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from edgetran.devices import Figure, HardwareFigures
from edgetran.gptran.blocks import Importance
from edgetran.gptran.cuts import Cuts
from edgetran.gptran.model_trainer import ValidationScore
from edgetran.space import Architecture, parameter_count

ROOT = Architecture.homogeneous(num_layers=2, hidden_size=64, num_heads=4, feed_forward=[128])


class Interrupted(BaseException):
    """Stands for a kill: nothing may catch it."""


@dataclass
class ArithmeticTrainer:
    """Quality is a function of the architecture; a checkpoint is a file with its JSON."""

    root: Path
    quality: Callable[[Architecture], float]
    settings: dict = field(default_factory=dict)
    started: list[str] = field(default_factory=list)

    def save(self, architecture: Architecture, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "architecture.json").write_text(architecture.canonical_json)
        return folder

    def architecture(self, checkpoint):
        import json

        text = (checkpoint / "architecture.json").read_text()
        return Architecture.from_model_dict(json.loads(text))

    def parameters(self, architecture):
        return parameter_count(architecture, vocab_size=100, max_positions=32, num_labels=2)

    def evaluate(self, checkpoint):
        metric = self.quality(self.architecture(checkpoint))
        return ValidationScore(metric, 1 - metric, 0.5)

    def importance(self, checkpoint):
        return Importance.uniform(self.architecture(checkpoint))

    def with_measured_gains(self, checkpoint, steps):
        return list(steps)

    def start(self, step, parent, folder, seed):
        self.started.append(folder.name)
        self.architecture(parent)  # the parent's weights must be there
        self.save(step.architecture, folder)
        return 0.75

    def cuts(self, checkpoint):
        return [Cuts.of(self.importance(checkpoint))]

    def trial(self, architecture, start, folder, seed, trainings=1):
        assert self.architecture(start).graph_hash == architecture.graph_hash
        return SimpleNamespace(architecture=architecture, folder=folder, seed=seed)

    def judge(self, outcome):
        return ValidationScore(outcome.metric, 1 - outcome.metric, 2.0)


@dataclass
class ArithmeticPool:
    """Trains by calling the trainer; `fail` gives an error text, `stop_after` a kill."""

    trainer: ArithmeticTrainer
    fail: Callable[[Architecture], str | None] = lambda architecture: None
    stop_after: int | None = None
    trained: list[str] = field(default_factory=list)
    seeds: dict[str, int] = field(default_factory=dict)
    waiting: list = field(default_factory=list)

    def submit(self, key, spec):
        self.waiting.append((key, spec))

    def completed(self):
        # The last one submitted is the first to finish: the order must not matter.
        while self.waiting:
            key, spec = self.waiting.pop()
            if self.stop_after is not None and len(self.trained) == self.stop_after:
                raise Interrupted
            error = self.fail(spec.architecture)
            self.trained.append(key)
            self.seeds[key] = spec.seed
            if error is None:
                self.trainer.save(spec.architecture, spec.folder)
            metric = self.trainer.quality(spec.architecture)
            yield SimpleNamespace(key=key, error=error, metric=metric)


@dataclass
class ArithmeticPredictor:
    """1 us per thousand parameters, 2 W; no energy where `energy` is False."""

    trainer: ArithmeticTrainer
    energy: bool = True
    device: str = "arithmetic"

    def predict(self, architectures):
        figures = []
        for architecture in architectures:
            latency = self.trainer.parameters(architecture) / 1e3
            energy = (
                Figure(2 * latency, "mJ", "simulated")
                if self.energy
                else Figure.missing("mJ", "simulated", "no power source")
            )
            figures.append(
                HardwareFigures(
                    Figure(latency, "ms", "simulated"), energy, Figure(2.0, "W", "simulated")
                )
            )
        return figures


def heads_help(architecture: Architecture) -> float:
    """More heads are better up to nine, feed-forward width does not matter."""
    heads = sum(layer.num_heads for layer in architecture.layers)
    return 0.7 + 0.01 * min(heads, 9)
