"""A search by estimates trains its best for real: who goes up, what wins, what a kill costs."""

from collections import deque
from dataclasses import replace
from math import log
from pathlib import Path

import pytest
from search_cases import WORKLOAD, accuracy_of, analytic_devices

from edgetran.records import read_records
from edgetran.search import (
    FULL_TRAINING,
    SHARED_WEIGHTS,
    SHORT_TRAINING,
    Finalists,
    SearchError,
    SearchFailedError,
    SearchPlan,
    Trial,
    Weights,
    read_result,
    read_trials,
    run_search,
)
from edgetran.space import Architecture, DesignSpace, encoder_parameters
from edgetran.training import TaskReference, TrainingPlan, TrialOutcome, TrialSpec

TEMPLATE = TrialSpec(
    architecture={},
    task=TaskReference(name="movie-reviews"),
    plan=TrainingPlan(),
    seed=0,
    output="",
)
TRIALS = 8
SHIFT = 0.05
"""By which estimates lie above what a training comes to."""


class Killed(BaseException):
    pass


class Estimator:
    """Judges at once, without a folder."""

    def __init__(self):
        self.waiting, self.keys = deque(), []

    def submit(self, key, spec):
        self.waiting.append((key, spec))
        self.keys.append(key)

    def completed(self):
        while self.waiting:
            key, spec = self.waiting.popleft()
            accuracy = accuracy_of(Architecture.from_model_dict(spec.architecture)) + SHIFT
            yield TrialOutcome(
                key=key,
                selection_metric="accuracy",
                metrics={"accuracy": accuracy},
                seconds=0.01,
                fraction=1.0,
            )


class Trainer(Estimator):
    """Trains for real: to the share of the budget that a trial is paused at."""

    def __init__(self, *, kill_after=None, broken=(), value=accuracy_of):
        super().__init__()
        self.trained, self.kill_after, self.broken = [], kill_after, broken
        self.value = value

    def completed(self):
        while self.waiting:
            if len(self.trained) == self.kill_after:
                raise Killed
            key, spec = self.waiting.popleft()
            self.trained.append((int(key), spec.pause_at))
            if int(key) in self.broken:
                yield TrialOutcome(key=key, error="loss is not a number", error_kind="diverged")
                continue
            Path(spec.output).mkdir(parents=True, exist_ok=True)
            architecture = Architecture.from_model_dict(spec.architecture)
            yield TrialOutcome(
                key=key,
                folder=spec.output,
                selection_metric="accuracy",
                metrics={"accuracy": self.value(architecture) - 0.01 * (spec.pause_at < 1)},
                seconds=2.0,
                fraction=spec.pause_at,
            )


def start(number, architecture):
    return replace(TEMPLATE, initial=f"start-{number}", teacher="teacher")


def search(folder, trainer=None, estimator=None, *, count=4, identity="one", **changes):
    settings = {"method": "evolution", "max_trials": TRIALS, "initial_trials": 3}
    return run_search(
        SearchPlan(trial=TEMPLATE, workload=WORKLOAD, **(settings | changes)),
        DesignSpace.preset("tiny"),
        analytic_devices(),
        estimator or Estimator(),
        log_path=folder / "trials.jsonl",
        folder=folder / "checkpoints",
        finalists=Finalists(count, trainer or Trainer(), start, {"network": identity}),
    )


def essence(trials):
    return [replace(trial, started="", finished="") for trial in trials]


def test_the_best_by_estimates_are_trained_for_a_while_and_half_of_them_to_the_end(tmp_path):
    trainer = Trainer()
    result = search(tmp_path, trainer)
    short = [number for number, share in trainer.trained if share < 1]
    full = [number for number, share in trainer.trained if share == 1]
    assert (len(short), len(full)) == (4, 2)
    assert set(full) < set(short)
    by = {trial.number: trial for trial in result.trials}
    assert len(by) == TRIALS
    assert {by[n].fidelity for n in full} == {FULL_TRAINING}
    assert {by[n].fidelity for n in set(short) - set(full)} == {SHORT_TRAINING}
    assert {by[n].fidelity for n in set(by) - set(short)} == {SHARED_WEIGHTS}
    objective = {n: max(e.objective for e in t.evaluations) for n, t in by.items()}
    unchosen = [objective[n] for n in set(by) - set(short)]
    # All estimates lie the same above, so the order of the trained ones is that of the estimates.
    assert max(unchosen) <= max(objective[n] for n in short) + 0.5 * SHIFT


def test_later_finalists_are_chosen_by_what_the_first_ones_came_to(tmp_path):
    """Large candidates gain less than small ones; the first trainings show it."""
    settings = {"count": 24, "max_trials": 48, "weights": Weights(accuracy=1.0)}

    def value(architecture):
        return accuracy_of(architecture) - 0.1 * (log(encoder_parameters(architecture)) - 11.8)

    trainers = Trainer(), Trainer(value=value)
    firsts, sizes = [], []
    for place, trainer in zip("ab", trainers, strict=True):
        result = search(tmp_path / place, trainer, **settings)
        short = [number for number, share in trainer.trained if share < 1]
        by = {trial.number: trial.candidate.architecture for trial in result.trials}
        firsts.append(short[:12])
        sizes.append(sum(log(encoder_parameters(by[number])) for number in short[12:]) / 12)
    assert firsts[0] == firsts[1]
    assert sizes[1] < sizes[0]


def test_a_finalist_starts_from_what_it_is_given_and_estimates_stay_in_its_record(tmp_path):
    trainer = Trainer()
    seen = {}
    submit = trainer.submit
    trainer.submit = lambda key, spec: (seen.setdefault(key, spec), submit(key, spec))
    result = search(tmp_path, trainer)
    best, evaluation = result.best
    spec = seen[str(best.number)]
    assert (spec.initial, spec.teacher) == (f"start-{best.number}", "teacher")
    true = accuracy_of(best.candidate.architecture)
    assert best.estimates == {
        SHARED_WEIGHTS: pytest.approx(true + SHIFT),
        SHORT_TRAINING: pytest.approx(true - 0.01),
    }
    assert evaluation.measures.accuracy.value == pytest.approx(true)
    assert evaluation.measures.accuracy.source == "measured"
    assert best.checkpoint == f"trial-{best.number:04d}"
    others = [t for t in result.trials if t.fidelity != FULL_TRAINING]
    assert all(t.checkpoint is None for t in others)
    assert {e.measures.accuracy.source for t in others for e in t.evaluations} == {"estimated"}


def test_the_result_says_how_far_estimates_were_from_what_training_gave(tmp_path):
    result = search(tmp_path)
    (note,) = [note for note in result.notes if "by shared weights" in note]
    best = result.best[0]
    estimate = best.estimates[SHARED_WEIGHTS]
    true = best.trained_accuracy
    assert f"trial {best.number} {estimate:.3f} by shared weights and {true:.3f} trained" in note
    assert "rank correlation over the 4 that were trained +" in note


def test_an_estimate_never_wins_over_what_was_trained(tmp_path):
    result = search(tmp_path, Trainer(value=lambda architecture: 0.1))
    best, _ = result.best
    assert best.fidelity == FULL_TRAINING
    assert any(e.objective > result.best[1].objective for _, e in result.evaluations if e.feasible)
    assert not result.estimated


def test_until_something_is_trained_the_best_is_an_estimate_and_says_so(tmp_path):
    with pytest.raises(Killed):
        search(tmp_path, Trainer(kill_after=0))
    result = read_result(tmp_path / "trials.jsonl")
    assert result.estimated
    assert result.best[0].fidelity == SHARED_WEIGHTS


@pytest.mark.parametrize("kill_after", range(6))
def test_a_search_killed_among_its_finalists_goes_on_as_if_it_had_not_been(tmp_path, kill_after):
    whole = search(tmp_path / "whole")
    with pytest.raises(Killed):
        search(tmp_path / "cut", Trainer(kill_after=kill_after))
    trainer, estimator = Trainer(), Estimator()
    result = search(tmp_path / "cut", trainer, estimator)
    assert estimator.keys == []
    assert len(trainer.trained) == 6 - kill_after
    assert essence(result.trials) == essence(whole.trials)
    assert essence(read_trials(tmp_path / "cut" / "trials.jsonl")) == essence(whole.trials)


def test_a_finished_search_trains_nothing_again_and_more_trials_may_be_asked_for(tmp_path):
    search(tmp_path)
    trainer, estimator = Trainer(), Estimator()
    search(tmp_path, trainer, estimator)
    assert (trainer.trained, estimator.keys) == ([], [])
    result = search(tmp_path, trainer, estimator, max_trials=12)
    assert len(estimator.keys) == 4
    assert len(result.trials) == 12


def test_one_finalist_is_trained_to_the_end_at_once(tmp_path):
    trainer = Trainer()
    search(tmp_path, trainer, count=1)
    assert [share for _, share in trainer.trained] == [1.0]


def test_a_finalist_that_fails_leaves_its_place_to_the_next(tmp_path):
    first = Trainer()
    search(tmp_path / "first", first)
    best = next(number for number, share in first.trained if share == 1)
    result = search(tmp_path / "second", Trainer(broken=(best,)))
    failed = {trial.number: trial for trial in result.trials}[best]
    assert failed.error == "loss is not a number"
    assert failed.estimates[SHARED_WEIGHTS] > 0
    assert result.best[0].number != best


def test_finalists_that_all_fail_end_the_search(tmp_path):
    with pytest.raises(SearchFailedError, match="none of the 1 finalists could be trained"):
        search(tmp_path, Trainer(broken=range(TRIALS)), count=1)


def test_a_search_by_another_network_is_another_search(tmp_path):
    search(tmp_path)
    with pytest.raises(SearchError, match="holds another search"):
        search(tmp_path, identity="two")


def test_records_without_a_fidelity_are_of_full_trainings(tmp_path):
    search(tmp_path)
    record = dict(read_records(tmp_path / "trials.jsonl")[-1])
    del record["fidelity"], record["estimates"]
    trial = Trial.from_dict(record)
    assert (trial.fidelity, trial.estimates) == (FULL_TRAINING, {})
