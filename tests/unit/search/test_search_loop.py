"""The loop with a pool that runs trials in this process: order, logs, failures, resumption."""

import errno
import shutil
from collections import deque
from dataclasses import replace
from pathlib import Path

import pytest
from search_cases import WORKLOAD, AnalyticDevice, accuracy_of, analytic_devices

from edgetran.artifacts import Form
from edgetran.progress import SilentProgress
from edgetran.records import read_records
from edgetran.search import (
    PROPOSALS_NAME,
    Bound,
    Constraints,
    Front,
    InfeasibleSearchError,
    SearchError,
    SearchFailedError,
    SearchPlan,
    Trial,
    read_result,
    read_trials,
    run_search,
)
from edgetran.space import Architecture, DesignSpace
from edgetran.training import Scoring, TaskReference, TrainingPlan, TrialOutcome, TrialSpec

TEMPLATE = TrialSpec(
    architecture={},
    task=TaskReference(name="movie-reviews"),
    plan=TrainingPlan(),
    seed=0,
    output="",
)


class Killed(BaseException):
    """What ends the process in these tests."""


class Pool:
    """Runs a trial when its outcome is asked for; `newest_first` finishes them out of order."""

    def __init__(self, *, newest_first=False, kill_after=None, broken=()):
        self.specs = {}
        self.most_at_once = 0
        self._waiting = deque()
        self._newest_first = newest_first
        self._kill_after = kill_after
        self._broken = broken

    def submit(self, key, spec):
        assert key not in self.specs
        self.specs[key] = spec
        self._waiting.append(key)
        self.most_at_once = max(self.most_at_once, len(self._waiting))

    def completed(self):
        done = 0
        while self._waiting:
            if done == self._kill_after:
                raise Killed
            key = self._waiting.pop() if self._newest_first else self._waiting.popleft()
            done += 1
            yield self._outcome(key)

    def _outcome(self, key):
        if int(key) in self._broken:
            return TrialOutcome(key=key, error="loss is not a number", error_kind="diverged")
        spec = self.specs[key]
        Path(spec.output).mkdir(parents=True, exist_ok=True)
        architecture = Architecture.from_model_dict(spec.architecture)
        return TrialOutcome(
            key=key,
            folder=spec.output,
            selection_metric="accuracy",
            metrics={"accuracy": accuracy_of(architecture)},
            seconds=1.5,
            fraction=1.0,
            transfer_ratio=None if spec.parent is None else 0.5,
        )


class Recorder(SilentProgress):
    def __init__(self):
        self.calls = []

    def start(self, stage, *, total, done=0):
        self.calls.append(("start", total, done))

    def advance(self, stage, *, steps=1, note=""):
        self.calls.append(("advance", steps, note))

    def log(self, message):
        self.calls.append(("log", message))


def plan(**changes):
    settings = {"method": "evolution", "max_trials": 8, "initial_trials": 3, "parallel_trials": 2}
    return SearchPlan(trial=TEMPLATE, workload=WORKLOAD, **(settings | changes))


def search(folder, pool=None, *, space=None, devices=None, progress=None, **changes):
    return run_search(
        plan(**changes),
        space or DesignSpace.preset("tiny"),
        devices or analytic_devices(),
        pool or Pool(),
        log_path=folder / "trials.jsonl",
        folder=folder / "checkpoints",
        progress=progress,
    )


def proposals(folder):
    return read_records(folder / PROPOSALS_NAME)[1:]


def essence(trials):
    """A trial without its times."""
    return [
        replace(trial, started="", finished="")
        for trial in sorted(trials, key=lambda trial: trial.number)
    ]


def test_every_trial_is_logged_once_and_judged_on_every_device(tmp_path):
    pool = Pool()
    result = search(tmp_path, pool)
    assert [trial.number for trial in result.trials] == list(range(8))
    assert pool.most_at_once == 2
    hashes = {trial.candidate.architecture.graph_hash for trial in result.trials}
    assert len(hashes) == len(pool.specs) == 8  # one training per architecture
    for trial in result.trials:
        assert {e.candidate.device for e in trial.evaluations} == {"slow", "fast"}
        accuracies = {e.measures.accuracy.value for e in trial.evaluations}
        assert accuracies == {accuracy_of(trial.candidate.architecture)}


def test_the_log_holds_the_whole_result(tmp_path):
    result = search(tmp_path)
    assert read_result(tmp_path / "trials.jsonl") == result
    for record in read_records(tmp_path / "trials.jsonl"):
        assert Trial.from_dict(record).to_dict() == record
        assert record["state"] == "succeeded"
        assert record["measures"]["latency_ms"]["unit"] == "ms"


def test_the_winner_is_the_best_feasible_pair_of_all(tmp_path):
    constraints = Constraints(latency_ms=Bound(maximum=8.0))
    result = search(tmp_path, constraints=constraints)
    trial, best = result.best
    assert best.measures.value("latency_ms") <= 8.0
    values = [e.objective for t in result.trials for e in t.evaluations if e.feasible]
    assert best.objective == max(values)
    assert best in trial.evaluations
    infeasible = [e for _, e in result.evaluations if not e.feasible]
    assert infeasible
    assert all("latency_ms" in e.reason for e in infeasible)
    assert any(pair[1] == best for pair in result.front)


def test_the_runners_up_are_the_next_best_other_architectures_on_the_winners_device(tmp_path):
    result = search(tmp_path)
    (trial, best), device = result.best, result.best[1].candidate.device
    found = result.runners_up(3)
    assert len(found) == 3
    hashes = [each.candidate.architecture.graph_hash for each, _ in found]
    assert len({*hashes, trial.candidate.architecture.graph_hash}) == 4
    values = [evaluation.objective for _, evaluation in found]
    assert values == sorted(values, reverse=True)
    assert max(values) <= best.objective
    beside = sorted(
        (
            e.objective
            for t, e in result.evaluations
            if e.candidate.device == device
            and t.candidate.architecture.graph_hash != trial.candidate.architecture.graph_hash
        ),
        reverse=True,
    )
    assert values == beside[:3]
    assert result.runners_up(0) == []


def test_where_nothing_is_feasible_the_result_says_what_is_missed_least_and_by_how_much(tmp_path):
    result = search(tmp_path, constraints=Constraints(accuracy=Bound(0.999)))
    assert result.best is None
    assert result.runners_up(3) == []
    trial, judged = result.nearest
    best = max(e.measures.accuracy.value for _, e in result.evaluations)
    assert judged.measures.accuracy.value == best
    note = result.notes[-1]
    assert f"trial {trial.number} on {judged.candidate.device}" in note
    assert f"below the minimum 0.999, missed by {(0.999 - best) / 0.999:.1%}" in note
    assert read_result(tmp_path / "trials.jsonl").nearest[1].excess == judged.excess


def test_a_search_of_the_front_picks_one_of_its_points_and_goes_on_as_it_would_have(tmp_path):
    settings = {
        "method": "bayesian",
        "front": Front(("accuracy", "latency_ms")),
        "max_trials": 7,
    }
    whole = search(tmp_path / "whole", **settings)
    with pytest.raises(Killed):
        search(tmp_path / "cut", Pool(kill_after=5), **settings)
    again = search(tmp_path / "cut", **settings)
    assert [t.candidate for t in again.trials] == [t.candidate for t in whole.trials]
    assert whole.objective.pareto == ("accuracy", "latency_ms")
    assert whole.best in whole.front
    read = read_result(tmp_path / "whole" / "trials.jsonl")
    assert read.best[1].candidate == whole.best[1].candidate


def test_the_hypervolume_never_falls_and_grows_at_all(tmp_path):
    history = search(tmp_path).hypervolume_history
    assert len(history) == 8
    assert history == sorted(history)
    assert 0 < history[0] < history[-1] <= 1.0


def test_children_inherit_from_the_known_architecture_that_gives_most(tmp_path):
    from edgetran.models import predicted_transfer_ratio

    pool = Pool()
    result = search(tmp_path, pool)
    assert result.trials[0].parent is None
    assert result.trials[1].parent is None  # trial 0 was running when it was planned
    for trial in result.trials[2:]:
        child = trial.candidate.architecture
        ratios = [
            predicted_transfer_ratio(
                known.candidate.architecture, child, vocab_size=4096, max_positions=64
            )
            for known in result.trials[: trial.number - 1]
        ]
        assert trial.predicted_transfer_ratio == pytest.approx(max(ratios))
        assert trial.parent == ratios.index(max(ratios))
        expected = tmp_path / "checkpoints" / f"trial-{trial.parent:04d}"
        assert pool.specs[str(trial.number)].parent == str(expected)
        assert trial.transfer_ratio == 0.5


def test_the_order_of_finishing_changes_nothing(tmp_path):
    one = search(tmp_path / "one", Pool(), parallel_trials=3)
    other = search(tmp_path / "other", Pool(newest_first=True), parallel_trials=3)
    assert essence(one.trials) == essence(other.trials)
    finished = [record["number"] for record in read_records(tmp_path / "other" / "trials.jsonl")]
    assert finished != sorted(finished)


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_search_killed_at_any_trial_goes_on_as_if_it_had_not_been(tmp_path, newest_first):
    whole = search(tmp_path / "whole")
    for kill_after in range(8):
        folder = tmp_path / f"killed-{kill_after}"
        with pytest.raises(Killed):
            search(folder, Pool(kill_after=kill_after, newest_first=newest_first))
        done = {record["number"] for record in read_records(folder / "trials.jsonl")}
        pool, progress = Pool(), Recorder()
        resumed = search(folder, pool, progress=progress)
        assert essence(resumed.trials) == essence(whole.trials)
        assert {int(key) for key in pool.specs} == set(range(8)) - done
        assert ("start", 8, kill_after) in progress.calls
        assert len(read_records(folder / "trials.jsonl")) == 8


def test_a_boschcode_search_goes_on_with_the_proposals_it_would_have_made(tmp_path, monkeypatch):
    from edgetran.search.methods import boschcode

    monkeypatch.setattr(boschcode, "_STEPS", 20)
    settings = {"method": "boschcode", "max_trials": 7, "method_options": {"pool": 32}}
    whole = search(tmp_path / "whole", **settings)
    with pytest.raises(Killed):
        search(tmp_path / "killed", Pool(kill_after=5), **settings)
    resumed = search(tmp_path / "killed", **settings)
    assert essence(resumed.trials) == essence(whole.trials)
    assert whole.trials[-1].predicted_accuracy.std > 0


@pytest.mark.parametrize("name", ["trials.jsonl", PROPOSALS_NAME])
@pytest.mark.parametrize("cut", [1, 40])
def test_a_record_torn_by_a_kill_is_made_again(tmp_path, name, cut):
    """The kill came while the log's last line was being written."""
    whole = search(tmp_path / "whole", max_trials=5)
    with pytest.raises(Killed):
        search(tmp_path / "torn", Pool(kill_after=4), max_trials=5)
    log = tmp_path / "torn" / name
    log.write_bytes(log.read_bytes()[:-cut])
    if name == PROPOSALS_NAME:  # a trial is only logged after its proposal
        assert len(proposals(tmp_path / "torn")) == 4
    resumed = search(tmp_path / "torn", max_trials=5)
    assert essence(resumed.trials) == essence(whole.trials)


def test_a_finished_search_is_read_not_run(tmp_path):
    first = search(tmp_path)
    pool = Pool()
    assert search(tmp_path, pool) == first
    assert pool.specs == {}


def test_more_trials_may_be_asked_for_later(tmp_path):
    short = search(tmp_path, max_trials=5)
    longer = search(tmp_path, max_trials=8)
    assert longer.trials[:5] == short.trials
    assert len(longer.trials) == 8


def test_the_log_of_another_search_is_refused(tmp_path):
    search(tmp_path, max_trials=2)
    for change in (
        {"seed": 1},
        {"method": "random"},
        {"constraints": Constraints(accuracy=Bound(0.1))},
    ):
        with pytest.raises(SearchError, match=r"trials\.jsonl: holds another search"):
            search(tmp_path, max_trials=2, **change)
    with pytest.raises(SearchError, match="another search"):
        search(tmp_path, max_trials=2, devices=analytic_devices()[:1])


def test_a_failed_trial_is_recorded_and_is_no_data_point(tmp_path):
    progress = Recorder()
    result = search(tmp_path, Pool(broken={1, 4}), progress=progress)
    assert [trial.number for trial in result.failed] == [1, 4]
    for trial in result.failed:
        assert trial.evaluations == ()
        assert (trial.error, trial.error_kind) == ("loss is not a number", "diverged")
        assert trial.checkpoint is None
    assert ("log", "trial 1 failed: loss is not a number") in progress.calls
    assert len(result.trials) == 8
    assert all(trial.parent not in (1, 4) for trial in result.trials)
    record = read_records(tmp_path / "trials.jsonl")[1]
    assert (record["state"], record["measures"], record["feasible"]) == ("failed", None, False)
    assert read_result(tmp_path / "trials.jsonl") == result


def test_too_many_failures_end_the_search_with_the_last_error(tmp_path):
    pool = Pool(broken=range(99))
    message = "4 trials failed, more than maxFailedTrials, 3; the last one, trial 3: loss is not a"
    with pytest.raises(SearchFailedError, match=message):
        search(tmp_path, pool)
    assert len(read_trials(tmp_path / "trials.jsonl")) == 4
    with pytest.raises(SearchFailedError, match="4 trials failed"):
        search(tmp_path, Pool())


def test_a_full_disk_stops_the_search_and_costs_no_trial(tmp_path):
    class FullDisk(Pool):
        def _outcome(self, key):
            if key == "2":
                return TrialOutcome(key=key, error="no space left", error_kind="no-space")
            return super()._outcome(key)

    with pytest.raises(OSError, match="trial 2: no space left") as caught:
        search(tmp_path, FullDisk())
    assert caught.value.errno == errno.ENOSPC
    assert len(search(tmp_path).trials) == 8


def test_impossible_constraints_train_nothing(tmp_path):
    pool = Pool()
    with pytest.raises(InfeasibleSearchError, match=r"latency_ms max 0\.1: the least is"):
        search(tmp_path, pool, constraints=Constraints(latency_ms=Bound(maximum=0.1)))
    assert pool.specs == {}
    assert read_trials(tmp_path / "trials.jsonl") == []


def test_a_bound_on_accuracy_that_nothing_reaches_leaves_no_winner_and_says_so(tmp_path):
    result = search(tmp_path, constraints=Constraints(accuracy=Bound(0.99)))
    assert result.best is None
    assert result.front == []
    assert "no trained candidate satisfies the constraints" in result.notes[-1]
    assert "below the minimum 0.99" in result.notes[-1]
    assert len(result.trials) == 8


def test_a_device_without_readings_is_compared_fairly_and_that_is_noted(tmp_path):
    devices = [AnalyticDevice("silent", 0.1, None), AnalyticDevice("metered", 0.1, 9.0)]
    result = search(tmp_path, devices=devices)
    assert any("energy_mj" in note and "silent" in note for note in result.notes)
    for trial in result.trials:
        values = {evaluation.objective for evaluation in trial.evaluations}
        assert len(values) == 1  # equally fast, so equally good


def test_seed_architectures_come_first_and_on_their_best_device(tmp_path):
    bert = Architecture.homogeneous(num_layers=2, hidden_size=96, num_heads=3, feed_forward=(384,))
    result = search(tmp_path, seed_architectures=(bert,))
    first = result.trials[0]
    assert first.candidate.architecture == bert
    assert first.proposed_by == "evolution/seed"
    assert first.evaluation.objective == max(e.objective for e in first.evaluations)
    assert [trial.proposed_by for trial in result.trials].count("evolution/initial") == 2


def test_a_space_that_is_used_up_ends_the_search(tmp_path):
    small = DesignSpace((1,), (64,), (2,), ("sa_sdp", "l_dft"), (128,), 1)
    progress = Recorder()
    result = search(tmp_path, space=small, progress=progress)
    assert len(result.trials) == 3
    assert ("log", "no new feasible candidate is left after 3 trials") in progress.calls


@pytest.mark.parametrize("change", [{"max_trials": 0}, {"max_failed_trials": -1}, {"seed": -1}])
def test_plans_out_of_range_are_refused(change):
    (name,) = change
    with pytest.raises(SearchError, match=f"{name}: "):
        plan(**change)


def lose(folder, *numbers):
    for number in numbers:
        shutil.rmtree(folder / "checkpoints" / f"trial-{number:04d}")


def test_a_trial_whose_parent_is_lost_is_trained_from_fresh_weights_and_says_so(tmp_path):
    with pytest.raises(Killed):
        search(tmp_path, Pool(kill_after=5))
    planned = proposals(tmp_path)[5]
    assert planned["parent"] is not None
    lose(tmp_path, *range(5))
    pool, progress = Pool(), Recorder()
    result = search(tmp_path, pool, progress=progress)
    orphan = result.trials[5]
    assert pool.specs["5"].parent is None
    assert (orphan.parent, orphan.predicted_transfer_ratio, orphan.transfer_ratio) == (None,) * 3
    message = f"trial 5: the weights of its parent, trial {planned['parent']}, are lost"
    assert any(call[0] == "log" and message in call[1] for call in progress.calls)
    assert len(read_records(tmp_path / "trials.jsonl")) == 8


def test_lost_weights_are_no_parents_of_later_trials(tmp_path):
    with pytest.raises(Killed):
        search(tmp_path, Pool(kill_after=5))
    lose(tmp_path, *range(5))
    result = search(tmp_path)
    for trial in result.trials[6:]:
        assert trial.parent is None or trial.parent >= 5


def test_a_winner_whose_weights_are_lost_is_trained_again_as_it_was(tmp_path):
    first_pool = Pool()
    first = search(tmp_path, first_pool)
    log = (tmp_path / "trials.jsonl").read_bytes()
    winner = first.best[0]
    ancestors = [winner.number]
    while (parent := first.trials[ancestors[0]].parent) is not None:
        ancestors.insert(0, parent)
    lose(tmp_path, *range(8))
    pool, progress = Pool(), Recorder()
    assert search(tmp_path, pool, progress=progress) == first
    assert list(pool.specs) == [str(number) for number in ancestors]
    assert all(pool.specs[key] == first_pool.specs[key] for key in pool.specs)
    assert (tmp_path / "trials.jsonl").read_bytes() == log
    message = f"trial {ancestors[0]}: its weights are lost and the winner needs them"
    assert any(call[0] == "log" and message in call[1] for call in progress.calls)


def test_a_winner_that_cannot_be_trained_again_fails_the_search(tmp_path):
    result = search(tmp_path)
    lose(tmp_path, *range(8))
    message = "failed when it was trained again: loss is not a number"
    with pytest.raises(SearchFailedError, match=message):
        search(tmp_path, Pool(broken={result.best[0].number}))


class ScoringPool(Pool):
    """As workers do, gives what each artefact scored beside what the trained model scored."""

    def __init__(self, scores):
        super().__init__()
        self._scores = scores

    def _outcome(self, key):
        assert self.specs[key].scored_as == (INT8,)
        return replace(super()._outcome(key), scores=self._scores)


INT8 = Scoring(Form("onnxruntime", "int8"), 1)


def test_a_candidate_is_as_accurate_as_the_artifact_that_runs_on_its_device(tmp_path):
    plain, int8 = (predictor.device for predictor in analytic_devices()[:2])
    score = {"sha256": "ab" * 32, "metrics": {"accuracy": 0.25}, "error": None}
    pool = ScoringPool({"onnxruntime-int8": score})
    result = search(
        tmp_path, pool, devices=analytic_devices()[:2], scored_as={int8: INT8}, max_trials=3
    )
    for trial in result.trials:
        known = {e.candidate.device: e.measures.accuracy.value for e in trial.evaluations}
        trained = accuracy_of(trial.candidate.architecture)
        assert known == {plain: trained, int8: 0.25}
        assert trial.trained_accuracy == trained
        assert trial.artifacts["onnxruntime-int8"]["sha256"] == "ab" * 32
    assert read_result(tmp_path / "trials.jsonl").trials == tuple(
        sorted(result.trials, key=lambda trial: trial.number)
    )


def test_an_artifact_that_cannot_be_made_leaves_the_trained_models_accuracy_and_says_so(tmp_path):
    (device,) = (predictor.device for predictor in analytic_devices()[:1])
    score = {"sha256": None, "metrics": {}, "error": "openvino is not installed"}
    pool = ScoringPool({"onnxruntime-int8": score})
    result = search(
        tmp_path, pool, devices=analytic_devices()[:1], scored_as={device: INT8}, max_trials=1
    )
    accuracy = result.trials[0].evaluation.measures.accuracy
    assert accuracy.value == accuracy_of(result.trials[0].candidate.architecture)
    assert accuracy.reason == (
        "of PyTorch fp32, not of onnxruntime int8: openvino is not installed"
    )


def test_a_search_that_scores_other_artifacts_is_another_search(tmp_path):
    score = {"sha256": "ab" * 32, "metrics": {"accuracy": 0.25}, "error": None}
    device = analytic_devices()[0].device
    settings = {"devices": analytic_devices()[:1], "max_trials": 1}
    search(tmp_path, **settings)
    with pytest.raises(SearchError, match="holds another search"):
        search(
            tmp_path,
            ScoringPool({"onnxruntime-int8": score}),
            scored_as={device: INT8},
            **settings,
        )
