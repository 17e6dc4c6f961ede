"""Workers of searches from a parent: the network is trained once for all on a storage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel
from workers_lab import Pod, end_all, kill, make_pod, wait_for

from edgetran.api import CoDesignSearchStatus
from edgetran.records import read_records
from edgetran.training import TaskReference, encoded_task, save_tokenizer

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(3600)]

SEARCH = """
apiVersion: edgetran.io/v1alpha1
kind: CoDesignSearch
metadata: {name: s, namespace: lab, uid: 22222222-0000}
spec:
  task: {files: {train: data/train.csv}, maxLength: 16}
  parent: {model: bert}
  designSpace: {elastic: {layers: [1, 2], heads: [1, 2], hiddenSizes: [16, 24]}}
  sharedWeights: {steps: 40, finalists: 1, calibrationExamples: 32, fineTuning: {steps: 10}}
  workload: {batchSize: 1, sequenceLength: 16}
  devices: [{name: pi, simulation: raspberry-pi-4-cpu}]
  search: {method: random, maxTrials: 3}
  training: {steps: 4, batchSize: 8}
"""


@pytest.fixture(autouse=True)
def _nothing_left_running() -> Iterator[None]:
    yield
    end_all()


def pod_of(root: Path, spec: str, networks: Path | None = None) -> Pod:
    pod = make_pod(root, "search", spec, storage={"claim": True})
    task = TaskReference(files={"train": str(pod.storage / "data" / "train.csv")})
    data = encoded_task(task, 16, 128, cache_dir=str(root / "cache"))
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    more = {"intermediate_size": 32, "vocab_size": 128, "max_position_embeddings": 32}
    BertModel(BertConfig(**sizes | more)).save_pretrained(pod.storage / "bert")
    save_tokenizer(data, pod.storage / "bert")
    if networks is not None:  # one claim for both
        (pod.storage / "lab").mkdir()
        (pod.storage / "lab" / "networks").symlink_to(networks)
    return pod


def steps_trained(pod: Pod) -> list[int]:
    """The first step of each time that the training of the shared weights was begun."""
    events = read_records(pod.folder / "log.jsonl")
    return [e["done"] for e in events if e.get("stage") == "Train the shared weights"]


def test_a_killed_worker_goes_on_and_the_next_search_takes_what_it_trained(tmp_path: Path) -> None:
    first = pod_of(tmp_path / "first", SEARCH)
    process = first.start()
    wait_for(first, process, "log.jsonl", 1)
    while not any((first.folder / "checkpoints").glob("elastic-made/elastic.json")):
        assert process.poll() is None, first.output
    kill(process)
    assert first.run() == 0, first.output
    status = CoDesignSearchStatus.model_validate(first.summary["status"])
    assert status.shared_weights is not None
    assert (status.shared_weights.steps, status.shared_weights.reused) == (50, False)
    assert first.summary["metrics"]["shared_weights_steps"] == 40

    networks = first.storage / "lab" / "networks"
    second = pod_of(tmp_path / "second", SEARCH.replace("maxTrials: 3", "maxTrials: 4"), networks)
    assert second.run() == 0, second.output
    told = CoDesignSearchStatus.model_validate(second.summary["status"]).shared_weights
    assert told is not None
    assert (told.fingerprint, told.reused) == (status.shared_weights.fingerprint, True)
    assert steps_trained(second) == []
    assert "are those that CoDesignSearch/s trained" in second.output
    results = [json.loads((pod.folder / "result.json").read_text()) for pod in (first, second)]
    assert [result["winner"]["trainingSteps"] for result in results] == [54, 54]
    trials = [read_records(pod.folder / "trials.jsonl")[:3] for pod in (first, second)]
    ours, theirs = ([t["measures"]["accuracy"] for t in each] for each in trials)
    assert ours == theirs
    assert len([each for each in networks.iterdir() if not each.name.startswith(".")]) == 1
