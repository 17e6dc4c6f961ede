"""The search with real parts: real training, real simulated devices, a real SIGKILL."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgetran.devices import Workload, catalogue
from edgetran.profiling import simulated_predictor
from edgetran.records import read_records
from edgetran.search import SearchPlan, read_trials, run_search
from edgetran.space import DesignSpace
from edgetran.training import TaskReference, TrainingPlan, TrialPool, TrialSpec, load_model

pytestmark = pytest.mark.integration

SPACE = DesignSpace((1, 2), (32, 48), (2,), ("sa_sdp", "l_dft", "c_5"), (64,), 1, "micro")
WORKLOAD = Workload(batch_size=1, sequence_length=16, vocab_size=120)


@pytest.fixture
def task(tmp_path) -> TaskReference:
    """Sentences whose label is a word."""
    path = tmp_path / "reviews.jsonl"
    subjects = [f"{a} {b}" for a in ("the", "a", "this") for b in ("film", "plot", "cast", "end")]
    rows = [
        {"text": f"{subject} {time} was {word}", "label": int(word == "good")}
        for subject in subjects
        for time in ("now", "then", "once", "today")
        for word in ("good", "bad")
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return TaskReference(files={"train": str(path)})


def predictors():
    devices = catalogue()
    return [
        simulated_predictor(devices[name], WORKLOAD, "fp32")
        for name in ("raspberry-pi-4-cpu", "jetson-nano-gpu")
    ]


def plan(task, tmp_path, **changes) -> SearchPlan:
    trial = TrialSpec(
        architecture={},
        task=task,
        plan=TrainingPlan(steps=6, batch_size=8, max_length=16),
        seed=0,
        output="",
        vocab_size=120,
        cache_dir=str(tmp_path / "cache"),
    )
    return SearchPlan(trial=trial, workload=WORKLOAD, **changes)


def test_real_candidates_are_trained_and_inherit_weights(task, tmp_path):
    settings = {"max_trials": 5, "initial_trials": 3, "parallel_trials": 1, "method": "boschcode"}
    with TrialPool(0) as pool:
        result = run_search(
            plan(task, tmp_path, **settings),
            SPACE,
            predictors(),
            pool,
            log_path=tmp_path / "trials.jsonl",
            folder=tmp_path / "checkpoints",
        )
    assert [trial.error for trial in result.trials] == [None] * 5
    for trial in result.trials[1:]:
        # the tokenizer of so few words has fewer entries than the 120 foreseen
        assert trial.transfer_ratio == pytest.approx(trial.predicted_transfer_ratio, abs=0.05)
    trial, best = result.best
    model = load_model(tmp_path / "checkpoints" / trial.checkpoint)
    assert sum(p.numel() for p in model.parameters()) == best.measures.parameters
    assert best.measures.accuracy.source == "measured"
    assert best.measures.hardware.latency_ms.source == "simulated"
    assert best.measures.value("energy_mj") > 0


PROGRAM = """
import sys, time
from pathlib import Path
sys.path.insert(0, {helpers!r})
from search_cases import WORKLOAD, accuracy_of, analytic_devices
from edgetran.search import SearchPlan, run_search
from edgetran.space import Architecture, DesignSpace
from edgetran.training import TaskReference, TrainingPlan, TrialOutcome, TrialSpec

class SlowPool:
    def __init__(self):
        self.waiting = []
    def submit(self, key, spec):
        self.waiting.append((key, spec))
    def completed(self):
        while self.waiting:
            key, spec = self.waiting.pop(0)
            time.sleep(0.02)
            Path(spec.output).mkdir(parents=True, exist_ok=True)
            score = accuracy_of(Architecture.from_model_dict(spec.architecture))
            yield TrialOutcome(key=key, folder=spec.output, selection_metric="accuracy",
                               metrics={{"accuracy": score}}, fraction=1.0)

trial = TrialSpec(architecture={{}}, task=TaskReference(name="movie-reviews"),
                  plan=TrainingPlan(), seed=0, output="")
run_search(SearchPlan(trial=trial, workload=WORKLOAD, method="evolution", max_trials=12),
           DesignSpace.preset("tiny"), analytic_devices(), SlowPool(),
           log_path=Path(sys.argv[1], "trials.jsonl"), folder=Path(sys.argv[1], "checkpoints"))
"""


@pytest.mark.slow
def test_a_search_under_sigkill_ends_as_one_that_was_never_killed(tmp_path):
    helpers = str(Path(__file__).parents[1] / "unit" / "search")
    command = [sys.executable, "-c", PROGRAM.format(helpers=helpers)]
    subprocess.run([*command, tmp_path / "whole"], check=True, timeout=300)
    killed, log = tmp_path / "killed", tmp_path / "killed" / "trials.jsonl"
    kills = 0
    for goal in (1, 4, 8):  # kill at some moment after so many trials
        process = subprocess.Popen([*command, killed])
        while process.poll() is None and len(read_records(log)) < goal:
            time.sleep(0.003)
        time.sleep(0.004 * (goal % 3))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 2
    subprocess.run([*command, killed], check=True, timeout=300)

    def essence(path):
        numbered = {trial.number: trial for trial in read_trials(path)}
        assert len(numbered) == len(read_records(path)) == 12
        return [(n, t.candidate, t.parent, t.seed, t.evaluation) for n, t in numbered.items()]

    assert essence(log) == essence(tmp_path / "whole" / "trials.jsonl")
