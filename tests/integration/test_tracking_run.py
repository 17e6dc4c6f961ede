"""A whole run beside a tracking server: what is shown is what the run's folder says."""

import json
from pathlib import Path

import pytest
from played_mlflow import played_mlflow

from edgetran import api
from edgetran.records import read_records
from edgetran.runner.chain import plan_chain
from edgetran.runner.folder import RunFolder
from edgetran.runner.run import run_chain
from edgetran.training import TrialPool

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SEARCH = """
apiVersion: edgetran.io/v1alpha1
kind: CoDesignSearch
metadata: {name: small}
spec:
  task: {files: {train: FILE}, tokenizer: {vocabSize: 300}}
  designSpace: {layers: [1], hiddenSizes: [16, 32], heads: [2], headTypes: [sa_sdp, c_5],
    feedForwardWidths: [64]}
  workload: {batchSize: 1, sequenceLength: 16}
  devices: [{name: pi, simulation: raspberry-pi-5-cpu}]
  search: {maxTrials: 2, parallelTrials: 1}
  training: {steps: 4, batchSize: 16}
  refine: {cycles: 1, stages: [growHeads], samplesPerStage: 1, training: {steps: 4}}
  tracking: {mlflow: {uri: 'URI', experiment: films}}
"""


class Sentences:
    """A `Progress` that keeps what is said."""

    def __init__(self):
        self.said = []

    def start(self, stage, *, total, done=0):
        pass

    def advance(self, stage, *, steps=1, note=""):
        pass

    def finish(self, stage, *, note=""):
        pass

    def log(self, message):
        self.said.append(message)


def complete(folder: Path, uri: str, progress: Sentences) -> RunFolder:
    """Trials run in this process, which spares Ray's start."""
    data = folder / "train.csv"
    words = ("warm", "fine", "bright", "dull", "cold", "stale")
    lines = [f"a {word} {i},{n // 3}" for i in range(40) for n, word in enumerate(words)]
    data.write_text("\n".join(["text,label", *lines]) + "\n")
    text = SEARCH.replace("FILE", str(data)).replace("URI", uri)
    chain = plan_chain(api.Bundle(tuple(api.load_text(text))))
    with pytest.MonkeyPatch.context() as patch, RunFolder(folder / "run") as place:
        patch.setattr("edgetran.runner.run.TrialPool", lambda *given, **more: TrialPool(0))
        place.claim(api.dump(*chain.resources))
        run_chain(chain, place, progress)
    return place


def test_a_run_shows_its_trials_its_tree_and_its_result(tmp_path):
    progress = Sentences()
    with played_mlflow() as server:
        run = complete(tmp_path, server.uri, progress)
    shown = server.by_name()
    trials = {f"trial {each['number']}" for each in read_records(run.trials)}
    records = read_records(run.gptran / "tree.jsonl")
    nodes = {f"node {each['id']}" for each in records if each.get("type") == "node"}
    assert shown.keys() == trials | nodes | {"small: result"}
    assert list(server.experiments) == ["films"]
    assert not any("tracking" in each for each in progress.said)
    winner = json.loads(run.result.read_text())["winner"]
    tags = shown["small: result"]["tags"]
    path, _, sha256 = tags["edgetran.artifact"].partition(" sha256:")
    assert sha256 == winner["artifact"]["sha256"]
    assert Path(path).exists()
    for name in ("edgetran.report", "edgetran.model"):
        assert Path(tags[name]).parent == run.path.resolve()
    for name in trials:
        assert Path(shown[name]["tags"]["edgetran.checkpoint"]).parent == run.search_checkpoints


def test_a_run_ends_the_same_where_its_server_never_answers(tmp_path):
    progress = Sentences()
    run = complete(tmp_path, "http://127.0.0.1:9", progress)
    assert run.complete
    (sentence,) = [each for each in progress.said if each.startswith("tracking: ")]
    assert "cannot be reached" in sentence
