import dataclasses
from collections import Counter

import numpy as np
import pytest
from profiling_world import Board, plan, record

from edgetran.devices import Workload, catalogue
from edgetran.profiling import (
    Profile,
    ProfilingError,
    predictor,
    profile_device,
    simulated_predictor,
)
from edgetran.profiling.active import propose
from edgetran.progress import SilentProgress
from edgetran.records import read_records
from edgetran.space import DesignSpace, feature_matrix, sampling

SPACE = DesignSpace.preset("tiny")


class Notebook(SilentProgress):
    def __init__(self):
        self.lines = []
        self.steps = []
        self.done = 0

    def start(self, stage, *, total, done=0):
        self.steps.append((stage, total, done))
        self.done = done

    def advance(self, stage, *, steps=1, note=""):
        self.done += steps

    def log(self, message):
        self.lines.append(message)


def hashes(path):
    return [r["graph_hash"] for r in read_records(path) if r["kind"] == "measurement"]


def test_measuring_stops_at_the_maximum_and_claims_an_error(tmp_path):
    the_plan = plan(target_error=1e-6)
    board = Board(the_plan)
    profile = profile_device(the_plan, SPACE, tmp_path / "board.jsonl", measurer=board)
    assert len(board.asked) == len(set(board.asked)) == len(profile.measured) == 20
    assert "maximum" in profile.summary["stopped"]
    claimed = profile.summary["claimed_error"]["latency_ms"]
    assert 0 < claimed["mean_error"] < 0.2
    assert claimed["rows"] == 20
    assert profile.summary["not_predictable"]["energy_mj"] == "no power source here"
    assert read_records(tmp_path / "board.jsonl")[-1] == profile.summary


def test_measuring_stops_as_soon_as_the_error_is_small_enough(tmp_path):
    the_plan = plan(target_error=0.5)
    board = Board(the_plan)
    profile = profile_device(the_plan, SPACE, tmp_path / "board.jsonl", measurer=board)
    assert len(board.asked) == 8
    assert "at most 0.5" in profile.summary["stopped"]


def test_each_batch_tells_the_error_so_far_also_after_a_kill(tmp_path):
    the_plan = plan(target_error=1e-6)
    path = tmp_path / "board.jsonl"

    def told():
        return [
            (each["measured"], each["stopped"])
            for each in read_records(path)
            if each["kind"] == "summary"
        ]

    with pytest.raises(KeyboardInterrupt):
        profile_device(the_plan, SPACE, path, measurer=Board(the_plan, dies_after=12))
    assert told()[0] == (8, "measuring goes on")
    profile_device(the_plan, SPACE, path, measurer=Board(the_plan))
    *batches, (measured, stopped) = told()
    assert {stopped for _, stopped in batches} == {"measuring goes on"}
    assert len(set(batches)) == len(batches) >= 2
    assert (measured, "maximum" in stopped) == (20, True)


def deaths(short, long):
    """Moments of which a few are tried always, and the others in long series."""
    return [*short, *(pytest.param(each, marks=pytest.mark.soak) for each in long)]


@pytest.mark.parametrize("dies_after", deaths([3, 10], [0, 8, 19]))
def test_a_killed_run_continues_and_measures_nothing_twice(tmp_path, dies_after):
    the_plan = plan(target_error=1e-6)
    path = tmp_path / "board.jsonl"
    with pytest.raises(KeyboardInterrupt):
        profile_device(the_plan, SPACE, path, measurer=Board(the_plan, dies_after=dies_after))
    assert len(hashes(path)) == dies_after
    notebook = Notebook()
    board = Board(the_plan)
    profile_device(the_plan, SPACE, path, notebook, measurer=board)
    assert notebook.steps == [("profile board", 20, dies_after)]
    assert len(board.asked) == 20 - dies_after
    assert len(hashes(path)) == len(set(hashes(path))) == 20


def test_passes_are_interleaved_and_the_middle_measurement_counts(tmp_path):
    the_plan = plan(passes=3, target_error=1e-6)
    board, notebook = Board(the_plan, slow_every=7), Notebook()
    path = tmp_path / "board.jsonl"
    profile = profile_device(the_plan, SPACE, path, notebook, measurer=board)
    assert set(Counter(board.asked).values()) == {3}
    assert len(profile.measured) == profile.summary["measured"] == 20
    first, second, third = board.asked[:8], board.asked[8:16], board.asked[16:24]
    assert set(first) == set(second) == set(third)
    assert first != second != third
    assert (notebook.steps, notebook.done) == ([("profile board", 60, 0)], 60)
    quiet = Board(plan())
    told = {m.architecture.graph_hash: m.latency_ms for m in profile.measured}
    true = quiet([m.architecture for m in profile.measured])
    assert told == {m.architecture.graph_hash: m.latency_ms for m in true}


@pytest.mark.parametrize("dies_after", deaths([5, 21], [0, 12, 16, 39]))
def test_a_run_killed_between_passes_measures_nothing_more_often(tmp_path, dies_after):
    the_plan = plan(passes=2, target_error=1e-6)
    path = tmp_path / "board.jsonl"
    with pytest.raises(KeyboardInterrupt):
        profile_device(the_plan, SPACE, path, measurer=Board(the_plan, dies_after=dies_after))
    notebook = Notebook()
    profile_device(the_plan, SPACE, path, notebook, measurer=Board(the_plan))
    assert set(Counter(hashes(path)).values()) == {2}
    assert len(hashes(path)) == 40
    assert (notebook.steps, notebook.done) == ([("profile board", 40, dies_after)], 40)


def test_an_architecture_that_fails_has_one_pass(tmp_path):
    the_plan = plan(passes=3, max_measurements=8)
    first = Board(the_plan)
    profile_device(the_plan, SPACE, tmp_path / "first.jsonl", measurer=first)
    failing = first.asked[2]
    board, notebook = Board(the_plan, fails=[failing]), Notebook()
    profile_device(the_plan, SPACE, tmp_path / "board.jsonl", notebook, measurer=board)
    assert Counter(board.asked)[failing] == 1
    assert len(board.asked) == 7 * 3 + 1
    assert notebook.done == 24


def test_a_failure_in_a_later_pass_leaves_what_was_measured(tmp_path):
    the_plan = plan(passes=3, max_measurements=8)
    board, notebook = Board(the_plan), Notebook()

    def measurer(architectures):
        if len(board.asked) == 8:
            board.fails = board.asked[:1]
        yield from board(architectures)

    path = tmp_path / "board.jsonl"
    profile = profile_device(the_plan, SPACE, path, notebook, measurer=measurer)
    assert (len(profile.measured), profile.failed) == (8, ())
    assert (len(board.asked), notebook.done) == (24, 24)


def test_what_a_more_trustworthy_mode_has_measured_needs_no_pass(tmp_path):
    before = plan(mode="standard", max_measurements=8)
    path = tmp_path / "board.jsonl"
    profile_device(before, SPACE, path, measurer=Board(before))
    the_plan = plan(passes=3, max_measurements=8)
    board = Board(the_plan)
    profile_device(the_plan, SPACE, path, measurer=board)
    assert board.asked == []


def test_a_finished_profile_is_left_as_it_is(tmp_path):
    the_plan = plan()
    path = tmp_path / "board.jsonl"
    first = profile_device(the_plan, SPACE, path, measurer=Board(the_plan))
    content = path.read_bytes()
    board = Board(the_plan)
    again = profile_device(the_plan, SPACE, path, measurer=board)
    assert board.asked == []
    assert path.read_bytes() == content
    assert again.summary == first.summary


def test_the_same_seed_measures_the_same_architectures(tmp_path):
    the_plan = plan(target_error=1e-6)
    runs = []
    for name in ("a", "b"):
        board = Board(the_plan)
        profile_device(the_plan, SPACE, tmp_path / f"{name}.jsonl", measurer=board)
        runs.append(board.asked)
    assert runs[0] == runs[1]
    board = Board(plan(seed=1))
    profile_device(plan(seed=1), SPACE, tmp_path / "c.jsonl", measurer=board)
    assert board.asked[:8] != runs[0][:8]


def test_other_conditions_are_measured_anew_in_the_same_log(tmp_path):
    path = tmp_path / "board.jsonl"
    first, second = plan(), plan(workload=Workload(2, 64))
    profile_device(first, SPACE, path, measurer=Board(first))
    board, notebook = Board(second), Notebook()
    profile = profile_device(second, SPACE, path, notebook, measurer=board)
    assert len(board.asked) >= 8
    assert all(m.workload.batch_size == 2 for m in profile.measurements)
    assert any("records of other conditions are kept" in line for line in notebook.lines)
    assert Profile.load(path, key=first.key()).summary is not None


def test_measurements_of_another_design_space_help_and_do_not_count(tmp_path):
    path = tmp_path / "board.jsonl"
    the_plan = plan(initial=8, max_measurements=8)
    other = DesignSpace.from_dict({**SPACE.to_dict(), "hiddenSizes": [256]})
    profile_device(the_plan, other, path, measurer=Board(the_plan))
    notebook, board = Notebook(), Board(the_plan)
    profile = profile_device(the_plan, SPACE, path, notebook, measurer=board)
    assert len(board.asked) == 8
    assert len(profile.measured) == 16
    assert any("outside the design space" in line for line in notebook.lines)


def test_an_architecture_that_fails_is_marked_told_and_not_tried_again(tmp_path):
    the_plan = plan(target_error=1e-6)
    first = Board(the_plan)
    profile_device(the_plan, SPACE, tmp_path / "first.jsonl", measurer=first)
    board, notebook = Board(the_plan, fails=first.asked[2:4]), Notebook()
    path = tmp_path / "board.jsonl"
    profile = profile_device(the_plan, SPACE, path, notebook, measurer=board)
    assert len(profile.failed) == 2
    assert profile.summary["failed"] == 2
    assert sum("does not fit in memory" in line for line in notebook.lines) == 2
    figures = predictor(profile).predict([profile.failed[0].architecture])[0]
    assert not figures.feasible
    again = Board(the_plan)
    profile_device(the_plan, SPACE, path, measurer=again)
    assert again.asked == []


def test_a_device_on_which_everything_fails_is_an_error_that_says_why(tmp_path):
    the_plan = plan(max_measurements=8)
    everything = Board(the_plan)
    everything.fails = _All()
    with pytest.raises(ProfilingError, match=r"0 architectures measured.*does not fit"):
        profile_device(the_plan, SPACE, tmp_path / "board.jsonl", measurer=everything)


class _All:
    def __contains__(self, item):
        return True


def test_a_small_space_is_measured_whole(tmp_path):
    small = DesignSpace.from_dict(
        {
            "layers": [1],
            "hiddenSizes": [64, 128, 192],
            "heads": [2],
            "headTypes": ["sa_sdp"],
            "feedForwardWidths": [128, 256],
            "maxFeedForwardStack": 1,
        }
    )
    the_plan = plan(initial=4, target_error=1e-9)
    board = Board(the_plan)
    profile = profile_device(the_plan, small, tmp_path / "board.jsonl", measurer=board)
    assert len(board.asked) == small.cardinality() == 6
    assert "no further architecture" in profile.summary["stopped"]


def test_given_architectures_are_measured_every_one(tmp_path):
    models = sampling.sample(SPACE, 3, np.random.default_rng(0))
    the_plan = plan(initial=2, max_measurements=2)
    board = Board(the_plan)
    profile = profile_device(the_plan, models, tmp_path / "board.jsonl", measurer=board)
    assert sorted(board.asked) == sorted(a.graph_hash for a in models)
    assert profile.summary["claimed_error"] == {}


def test_a_warm_start_saves_measurements(tmp_path):
    the_plan = plan(target_error=0.02, max_measurements=40, initial=4)
    other = plan(device="other", initial=40, max_measurements=40, target_error=1e-6)
    source = profile_device(other, SPACE, tmp_path / "other.jsonl", measurer=Board(other))
    counts = []
    for name, warm_start in (("cold", ()), ("warm", (source,))):
        board = Board(the_plan)
        path = tmp_path / f"{name}.jsonl"
        profile_device(the_plan, SPACE, path, measurer=board, warm_start=warm_start)
        counts.append(len(board.asked))
    assert counts[1] < counts[0]
    wrong = plan(workload=Workload(8, 64))
    with pytest.raises(ProfilingError, match="batch_size 1; allowed is 8"):
        profile_device(wrong, SPACE, tmp_path / "x.jsonl", warm_start=(source,))


def test_a_batch_is_spread_and_new():
    rng = np.random.default_rng(0)
    the_plan = plan()
    known = sampling.sample(SPACE, 10, rng)
    measured = [record(a, plan=the_plan) for a in known]
    profile = Profile(key=the_plan.key(), measurements=tuple(measured))
    batch = propose(profile.surrogate, SPACE, known, 6, pool_size=200, rng=rng)
    assert len({a.graph_hash for a in batch}) == 6
    assert not {a.graph_hash for a in batch} & {a.graph_hash for a in known}
    assert all(SPACE.contains(a) for a in batch)

    def closest(architectures):
        points = np.log1p(feature_matrix(architectures, 64, 1))
        distances = np.linalg.norm(points[:, None] - points[None], axis=2)
        return distances[np.triu_indices(len(points), 1)].min()

    at_random = [closest(sampling.sample(SPACE, 6, rng)) for _ in range(20)]
    assert closest(batch) > np.median(at_random)


def test_predictions_say_where_they_come_from(tmp_path):
    the_plan = plan()
    path = tmp_path / "board.jsonl"
    board = Board(the_plan, with_energy=True)
    profile_device(the_plan, SPACE, path, measurer=board)
    predicts = predictor(Profile.load(path))
    assert predicts.device == "board"
    known = predicts_of = Profile.load(path).measured[0]
    new = sampling.sample(SPACE, 2, np.random.default_rng(99))
    figures = predicts.predict([new[0], known.architecture, new[1]])
    assert [f.latency_ms.source for f in figures] == ["predicted", "measured", "predicted"]
    assert figures[1] == predicts_of.figures
    assert figures[0].latency_ms.std > 0
    assert figures[0].energy_mj.value > 0
    assert figures[0].energy_mj.unit == "mJ"
    assert figures[0].peak_power_w.value is None
    assert figures[0].peak_power_w.reason == "no power source here"
    assert predicts.predict([]) == []


def test_the_kept_surrogate_predicts_as_the_fitted_one(tmp_path):
    the_plan, path = plan(), tmp_path / "board.jsonl"
    profile = profile_device(the_plan, SPACE, path, measurer=Board(the_plan))
    new = sampling.sample(SPACE, 5, np.random.default_rng(7))
    kept = Profile.load(path)
    assert kept._surrogate is not None
    np.testing.assert_allclose(
        kept.surrogate.predict(new)[0], profile.surrogate.predict(new)[0], rtol=1e-9
    )
    (tmp_path / "board.surrogate.json").write_text("{}")
    np.testing.assert_allclose(
        Profile.load(path).surrogate.predict(new)[0], profile.surrogate.predict(new)[0], rtol=1e-6
    )


def test_a_simulated_device_answers_in_the_same_form():
    board = catalogue()["jetson-nano-gpu"]
    predicts = simulated_predictor(board, Workload(1, 64), name="nano")
    architectures = sampling.sample(SPACE, 3, np.random.default_rng(0))
    figures = predicts.predict(architectures)
    assert predicts.device == "nano"
    assert figures == [board.estimate(a, Workload(1, 64)) for a in architectures]
    assert {f.latency_ms.source for f in figures} == {"simulated"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "hasty"}, 'mode: Unsupported value: "hasty"'),
        (
            {"engine": "tpu"},
            'engine: Unsupported value: "tpu": supported values: "torch", "onnxruntime"',
        ),
        ({"initial": 30}, "max_measurements: Invalid value: 20: must be at least initial, 30"),
        ({"target_error": 0.0}, "target_error"),
        ({"batch": 0}, "batch: Invalid value: 0: must be at least 1"),
        ({"passes": 0}, "passes: Invalid value: 0: must be at least 1"),
        ({"device": "a/b"}, "device"),
    ],
)
def test_an_impossible_plan_is_refused_by_field(change, message):
    with pytest.raises(ProfilingError, match=message):
        plan(**change)


def test_a_plan_changes_the_limits_of_its_mode():
    mode = plan(max_repeats=4, max_drift=0.5, pause_seconds=0.25).make_mode()
    assert (mode.attempts, mode.drift_limit, mode.pause_seconds) == (5, 0.5, 0.25)
    assert dataclasses.replace(mode, attempts=2, drift_limit=0.1, pause_seconds=0) == (
        plan().make_mode()
    )
