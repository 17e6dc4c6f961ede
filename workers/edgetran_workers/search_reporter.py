"""What a search tells of itself: trials by state, the best candidate, the Pareto front."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from edgetran.api import (
    CandidateSummary,
    CoDesignSearch,
    CoDesignSearchStatus,
    Reason,
    SharedWeightsStatus,
)
from edgetran.api.measures import HARDWARE
from edgetran.api.wire import MESSAGE_CHARACTERS
from edgetran.runner.elastic import TRAINING_STAGE
from edgetran.runner.row_measures import measures_of
from edgetran.search import (
    FULL_TRAINING,
    Evaluation,
    Measures,
    Objective,
    front_hypervolume,
    pick,
)
from edgetran.search.candidates import Candidate
from edgetran.space import Architecture
from edgetran_workers.candidates import ReportedFront, candidate, finalist

_COST_SHARE: Final = 0.02
"""Share of the time that the exact hypervolume of a large front may take."""


class SearchReporter:
    """Learns from `proposals.jsonl`, `trials.jsonl` and, at the end, `result.json`.

    Args:
        search: what is searched.
    """

    def __init__(self, search: CoDesignSearch) -> None:
        self._total = search.spec.search.max_trials
        self._parallel = search.spec.search.parallel_trials
        self._proposed: set[int] = set()
        self._trials: dict[int, dict[str, Any]] = {}
        self._told: set[tuple[int, str]] = set()
        self._seconds = 0.0
        self._last_trial: dict[str, float] = {}
        self._objective: Objective | None = None
        self._forget()
        self._hypervolume: float | None = None
        self._measured_front = 0
        self._next_hypervolume = 0.0
        self._finalists: dict[str, CandidateSummary] = {}
        self._shared_weights: SharedWeightsStatus | None = None
        self._shared_steps: int | None = None
        self._elastic_seconds = 0.0

    def _forget(self) -> None:
        """Of the trials nothing is judged yet."""
        self._states: dict[int, str] = {}
        self._best: tuple[tuple[float, int, int], CandidateSummary] | None = None
        self._nearest: tuple[float, str] | None = None
        self._front = ReportedFront(() if self._objective is None else self._objective.pareto)

    def take(self, log: str, record: dict[str, Any]) -> None:
        """Learn from a proposal, a trial or the result."""
        if log == "proposals.jsonl":
            if record["record"] == "proposal":
                self._proposed.add(record["number"])
            else:
                self._objective = Objective.from_dict(record["objective"])
                self._front = ReportedFront(self._objective.pareto)
        elif log == "trials.jsonl":
            self._take_record(record)
        elif log == "log.jsonl":
            self._take_event(record)
        elif log == "result.json":
            best = self._best_so_far()
            for key in ("winner", "baseline"):
                if record.get(key) is not None:
                    self._finalists[key] = finalist(
                        record[key],
                        best if key == "winner" else None,
                        self._objective_of(record[key]),
                    )

    def _take_event(self, event: Mapping[str, Any]) -> None:
        """How far the shared weights of a search from a parent are."""
        kind = event.get("event")
        if kind == "elastic-trained":
            self._elastic_seconds = float(event["seconds"])
            self._shared_weights = SharedWeightsStatus(
                fingerprint=event["fingerprint"], steps=event["steps"], reused=event["reused"]
            )
        elif event.get("stage") == TRAINING_STAGE and kind in ("start", "advance"):
            self._shared_steps = int(event["done"])

    def _objective_of(self, row: Mapping[str, Any]) -> float | None:
        return None if self._objective is None else self._objective.value(measures_of(row))

    def _take_record(self, record: dict[str, Any]) -> None:
        """A trial, or what its training says of one that was only estimated."""
        told = (record["number"], _fidelity(record))
        if told in self._told:
            return
        self._told.add(told)
        known = self._trials.get(record["number"])
        self._trials[record["number"]] = record
        self._seconds += record["training_seconds"]
        if known is None:
            self._take_trial(record)
            return
        self._forget()
        trained = any(
            _fidelity(each) == FULL_TRAINING and each["measures"] is not None
            for each in self._trials.values()
        )
        for each in self._trials.values():
            self._take_trial(each, counts=not trained or _fidelity(each) == FULL_TRAINING)

    def _take_trial(self, record: Mapping[str, Any], *, counts: bool = True) -> None:
        """Judge a trial; `counts` says whether it may be the best, on the front, or the nearest."""
        number = record["number"]
        if record["measures"] is None:
            self._states[number] = "failed"
            return
        self._last_trial = _prediction(record)
        self._states[number] = "infeasible"
        for judged in (record, *record["other_devices"]):
            if not judged["feasible"]:
                if counts:
                    self._take_infeasible(number, judged)
                continue
            self._states[number] = "succeeded"
            if not counts:
                continue
            measures = Measures.from_dict(judged["measures"])
            shown = candidate(
                number,
                record["graph_hash"],
                judged["device"],
                measures,
                objective=judged["objective"],
            )
            self._front.add(shown, measures)
            rank = (-(judged["objective"] or 0.0), measures.parameters, number)
            if self._best is None or rank < self._best[0]:
                self._best = rank, shown

    def _take_infeasible(self, number: int, judged: Mapping[str, Any]) -> None:
        excess = judged.get("excess")
        if excess is not None and (self._nearest is None or excess < self._nearest[0]):
            place = f"trial {number} on {judged['device']}"
            text = f"{place}: {judged['reason']}, missed by {excess:.1%}"
            self._nearest = excess, text[:MESSAGE_CHARACTERS]

    def _best_so_far(self) -> CandidateSummary | None:
        """The highest objective; where a front is sought, the point of it that the rule picks."""
        if self._objective is not None and self._objective.pareto and self._front.members:
            measures = [measures for _, measures in self._front.members]
            return self._front.members[pick(measures, self._objective)][0]
        return None if self._best is None else self._best[1]

    def status(self) -> CoDesignSearchStatus:
        """Trials by state, the best, the baseline, the front."""
        states = list(self._states.values())
        best = self._best_so_far()
        open_trials = len(self._proposed - self._states.keys())
        return CoDesignSearchStatus(
            running=min(open_trials, self._parallel),
            succeeded=len(states) - states.count("failed"),
            failed=states.count("failed"),
            infeasible=states.count("infeasible"),
            best=self._finalists.get("winner", best),
            nearest=self._nearest[1] if self._nearest and best is None else None,
            baseline=self._finalists.get("baseline"),
            pareto_front=self._front.shown(),
            pareto_size=len(self._front.members),
            hypervolume=self._hypervolume_of_front(),
            shared_weights=self._shared_weights,
        )

    def progress(self) -> tuple[int, int]:
        """Trials that ended, of those that there may be."""
        return min(len(self._states), self._total), self._total

    def measures(self) -> dict[str, float]:
        """The hypervolume, the best candidate's figures, the last trial, time spent training."""
        values = {"training_seconds": self._seconds + self._elastic_seconds} | self._last_trial
        if self._shared_steps is not None:
            values["shared_weights_steps"] = float(self._shared_steps)
        if self._hypervolume is not None:
            values["hypervolume"] = self._hypervolume
        best = self._best_so_far()
        return values | figures_of(self._finalists.get("winner", best))

    def ending(self) -> tuple[Reason, str]:
        """How many trials there were, and what won."""
        done = len(self._states)
        reason = Reason.MAX_TRIALS_REACHED if done >= self._total else Reason.SUCCEEDED
        best = self._finalists.get("winner")
        words = [f"{done} trials"] + ([] if best is None else [sentence_of(best, "trial")])
        return reason, "; ".join(words)

    def _hypervolume_of_front(self) -> float | None:
        """The front's volume; of a front that is large an earlier one, since it costs time."""
        now = time.monotonic()
        size = len(self._states)
        if self._objective is None or size == self._measured_front or now < self._next_hypervolume:
            return self._hypervolume
        self._measured_front = size
        blank = Architecture.homogeneous(
            num_layers=1, hidden_size=1, num_heads=1, feed_forward=[1]
        )  # volumes do not look at architectures
        evaluations = [
            Evaluation(Candidate(blank, shown.device), measures, None, None, True, None)
            for shown, measures in self._front.members
        ]
        self._hypervolume = max(0.0, float(front_hypervolume(evaluations, self._objective)))
        took = time.monotonic() - now
        self._next_hypervolume = time.monotonic() + took / _COST_SHARE
        return self._hypervolume


def _fidelity(trial: Mapping[str, Any]) -> str:
    return str(trial.get("fidelity", FULL_TRAINING))


def _prediction(trial: Mapping[str, Any]) -> dict[str, float]:
    """What the method predicted of a trial, and what came of it."""
    values: dict[str, float | None] = {"trial_accuracy": trial["measures"]["accuracy"]["value"]}
    predicted = trial["predicted_accuracy"]
    if predicted is not None:
        values["trial_predicted_accuracy"] = predicted["value"]
        values["trial_predicted_accuracy_deviation"] = predicted.get("std")
    return {name: float(value) for name, value in values.items() if value is not None}


def figures_of(best: CandidateSummary | None) -> dict[str, float]:
    """The figures of the best candidate that are known, as numbers for metrics."""
    if best is None:
        return {}
    values = {
        "best_objective": best.objective,
        "best_accuracy": best.accuracy,
        **{f"best_{each.name}": best.value_of(each.name) for each in HARDWARE},
        "best_parameters": None if best.parameters is None else float(best.parameters),
    }
    return {name: value for name, value in values.items() if value is not None}


def sentence_of(best: CandidateSummary, what: str) -> str:
    """The best candidate in words."""
    accuracy = best.accuracy if best.test_accuracy is None else best.test_accuracy
    text = f"the best is {what} {best.id}"
    if accuracy is not None:
        split = "validation" if best.test_accuracy is None else "test"
        text += f": {accuracy:.3f} on {split} data"
    latency = best.hardware("latency_ms")
    if latency is not None and latency.value is not None:
        text += f", {latency.value:.3g} ms ({latency.source})"
    made_for = "" if best.made_for is None else f" as {best.made_for}"
    return f"{text} on {best.device}{made_for}"
