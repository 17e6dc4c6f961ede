"""Trials as records: what trials.jsonl and proposals.jsonl hold.

trials.jsonl has one line per finished trial. Where candidates are judged by shared weights first,
the best have further lines as they are trained; the last line of a number counts. A trial trains
one architecture; since no device needs a training of its own, the line also judges the architecture
on the devices other than the proposed one: its accuracy there is that of the artefact which runs
there.

proposals.jsonl has a header that fixes the objective, then one line per proposal, written before
its training begins, so that a search that was killed goes on with the very same proposals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from edgetran.api.field_errors import unsupported
from edgetran.devices import Figure
from edgetran.search.asktell import Proposal
from edgetran.search.candidates import Candidate, Measures, SearchError
from edgetran.search.problem import Problem
from edgetran.space import Architecture

SCHEMA_VERSION: Final = 1

SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"

SHARED_WEIGHTS: Final = "shared-weights"
SHORT_TRAINING: Final = "short-training"
FULL_TRAINING: Final = "full-training"
FIDELITIES: Final = (SHARED_WEIGHTS, SHORT_TRAINING, FULL_TRAINING)
"""What an accuracy rests on, the cheapest first: the shared weights of an elastic network, a part
of the training, all of it. The first two are estimates."""


@dataclass(frozen=True)
class Evaluation:
    """A trained architecture judged on one device.

    Attributes:
        candidate: architecture and device.
        measures: accuracy, hardware figures and parameters.
        objective: the weighted objective; None where a measure that counts is not known.
        objective_std: one standard deviation of the objective, from those of its measures.
        feasible: whether every constraint holds.
        reason: why not.
        excess: how far it is from feasible: over its broken bounds, the sum of what each is missed
            by as a share of itself.
    """

    candidate: Candidate
    measures: Measures
    objective: float | None
    objective_std: float | None
    feasible: bool
    reason: str | None
    excess: float = 0.0

    @classmethod
    def of(cls, problem: Problem, candidate: Candidate, measures: Measures) -> Self:
        """Judge a candidate whose accuracy is known."""
        value = problem.objective.value(measures)
        std = None if value is None else problem.objective.std(measures)
        feasible, reason = problem.judge(measures)
        return cls(candidate, measures, value, std, feasible, reason, problem.excess(measures))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data, the architecture left to the trial."""
        return {
            "device": self.candidate.device,
            "measures": self.measures.to_dict(),
            "objective": self.objective,
            "objective_std": self.objective_std,
            "feasible": self.feasible,
            "reason": self.reason,
            "excess": self.excess,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], architecture: Architecture) -> Self:
        """The inverse of `to_dict`."""
        return cls(
            Candidate(architecture, data["device"]),
            Measures.from_dict(data["measures"]),
            data["objective"],
            data["objective_std"],
            data["feasible"],
            data["reason"],
            data.get("excess", 0.0),
        )


@dataclass(frozen=True)
class Trial:
    """One finished trial.

    Attributes:
        number: from 0, in the order of proposals.
        candidate: the architecture that was trained and the device it was proposed for.
        evaluation: the judgement on that device; None where the trial failed.
        others: the judgements on the other devices.
        proposed_by: method and strategy, such as `boschcode/gobi`.
        predicted_accuracy: the method's prediction before training, with its uncertainty.
        parent: number of the trial whose weights were inherited.
        predicted_transfer_ratio: share of parameters foreseen to be inherited.
        transfer_ratio: share that was inherited.
        seed: of the training.
        started: when it was submitted, ISO 8601, UTC.
        finished: when its outcome came back.
        training_seconds: time of training alone.
        attempts: number of starts, deaths of its worker included.
        error: why it failed; None where it succeeded.
        error_kind: the kind of failure, such as `diverged`.
        checkpoint: the trained model's folder, relative to the search's.
        trained_accuracy: of the PyTorch model as it was trained; None where the trial failed.
        artifacts: hash and metrics of the artefacts that it was scored as, by engine-precision.
        fidelity: what its accuracy rests on, one of `FIDELITIES`.
        estimates: its accuracies at lower fidelities, by these.
        place: the host that trained it, which in a cluster is a pod; empty where it is not known.
    """

    number: int
    candidate: Candidate
    evaluation: Evaluation | None
    others: tuple[Evaluation, ...]
    proposed_by: str
    predicted_accuracy: Figure | None
    parent: int | None
    predicted_transfer_ratio: float | None
    transfer_ratio: float | None
    seed: int
    started: str
    finished: str
    training_seconds: float
    attempts: int
    error: str | None
    error_kind: str | None
    checkpoint: str | None
    trained_accuracy: float | None = None
    artifacts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    fidelity: str = FULL_TRAINING
    estimates: Mapping[str, float] = field(default_factory=dict)
    place: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether there is a trained model."""
        return self.error is None

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """The judgements on all devices, the proposed one first; none of a failed trial."""
        return () if self.evaluation is None else (self.evaluation, *self.others)

    def to_dict(self) -> dict[str, Any]:
        """One record of trials.jsonl."""
        judged: dict[str, Any] = {
            "measures": None,
            "objective": None,
            "objective_std": None,
            "feasible": False,
            "reason": self.error,
            "excess": None,
        }
        if self.evaluation is not None:
            judged = self.evaluation.to_dict()
        return {
            "schema_version": SCHEMA_VERSION,
            "number": self.number,
            "state": SUCCEEDED if self.succeeded else FAILED,
            "architecture": self.candidate.architecture.to_model_dict(),
            "graph_hash": self.candidate.architecture.graph_hash,
            "device": self.candidate.device,
            **judged,
            "other_devices": [evaluation.to_dict() for evaluation in self.others],
            "proposed_by": self.proposed_by,
            "predicted_accuracy": _figure_to_dict(self.predicted_accuracy),
            "parent": self.parent,
            "predicted_transfer_ratio": self.predicted_transfer_ratio,
            "transfer_ratio": self.transfer_ratio,
            "seed": self.seed,
            "started": self.started,
            "finished": self.finished,
            "training_seconds": self.training_seconds,
            "attempts": self.attempts,
            "place": self.place,
            "error": self.error,
            "error_kind": self.error_kind,
            "checkpoint": self.checkpoint,
            "trained_accuracy": self.trained_accuracy,
            "artifacts": {name: dict(score) for name, score in self.artifacts.items()},
            "fidelity": self.fidelity,
            "estimates": dict(self.estimates),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
            SearchError: a record of another schema version.
        """
        _check_version("trial", data)
        candidate = Candidate.from_dict(data)
        architecture = candidate.architecture
        return cls(
            number=data["number"],
            candidate=candidate,
            evaluation=(
                None if data["measures"] is None else Evaluation.from_dict(data, architecture)
            ),
            others=tuple(Evaluation.from_dict(row, architecture) for row in data["other_devices"]),
            proposed_by=data["proposed_by"],
            predicted_accuracy=_figure_from_dict(data["predicted_accuracy"]),
            parent=data["parent"],
            predicted_transfer_ratio=data["predicted_transfer_ratio"],
            transfer_ratio=data["transfer_ratio"],
            seed=data["seed"],
            started=data["started"],
            finished=data["finished"],
            training_seconds=data["training_seconds"],
            attempts=data["attempts"],
            error=data["error"],
            error_kind=data["error_kind"],
            checkpoint=data["checkpoint"],
            trained_accuracy=data.get("trained_accuracy"),
            artifacts=data.get("artifacts") or {},
            fidelity=data.get("fidelity", FULL_TRAINING),
            estimates=data.get("estimates") or {},
            place=data.get("place") or "",
        )


@dataclass(frozen=True)
class PlannedTrial:
    """A proposal with what its training needs, fixed before the training begins."""

    number: int
    proposal: Proposal
    parent: int | None
    predicted_transfer_ratio: float | None
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """One record of proposals.jsonl."""
        return {
            "record": "proposal",
            "number": self.number,
            **self.proposal.candidate.to_dict(),
            "strategy": self.proposal.strategy,
            "predicted_accuracy": _figure_to_dict(self.proposal.predicted_accuracy),
            "parent": self.parent,
            "predicted_transfer_ratio": self.predicted_transfer_ratio,
            "seed": self.seed,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        predicted = _figure_from_dict(data["predicted_accuracy"])
        return cls(
            number=data["number"],
            proposal=Proposal(Candidate.from_dict(data), data["strategy"], predicted),
            parent=data["parent"],
            predicted_transfer_ratio=data["predicted_transfer_ratio"],
            seed=data["seed"],
        )


def _check_version(what: str, data: Mapping[str, Any]) -> None:
    version = data.get("schema_version")
    if version != SCHEMA_VERSION:
        raise SearchError(f"{what}.schema_version: {unsupported(version, [SCHEMA_VERSION])}")


def _figure_to_dict(figure: Figure | None) -> dict[str, Any] | None:
    return None if figure is None else figure.to_dict()


def _figure_from_dict(data: Mapping[str, Any] | None) -> Figure | None:
    return None if data is None else Figure.from_dict(data)
