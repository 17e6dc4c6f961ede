"""A run's folder with a small winner that was really scored, and a server of it."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import torch
from aiohttp.test_utils import TestClient, TestServer

from edgetran.artifacts import Form, PredictionSummary
from edgetran.devices import Workload, host_info
from edgetran.profiling import build_model
from edgetran.runner.artifacts import ModelArtifacts
from edgetran.runner.folder import RunFolder
from edgetran.runner.judged_artifact import JudgedArtifact, judge_artifact
from edgetran.serving.drift import Tolerances
from edgetran.serving.served_model import find_model
from edgetran.serving.server import ModelServer
from edgetran.serving.text_model import TextModel
from edgetran.space import Architecture
from edgetran.training import (
    EncodedTask,
    Example,
    Task,
    build_tokenizer,
    encode_task,
    predict,
    save_model,
)

LAYERS = Architecture.homogeneous(num_layers=1, hidden_size=32, num_heads=2, feed_forward=[64])
NAMES = ("bad", "good")


def encoded(folder: Path, *, regression: bool = False) -> EncodedTask:
    def examples(count):
        return tuple(
            Example(f"a fine film {i}" * (i % 3 + 1), None, i / 10 if regression else i % 2)
            for i in range(count)
        )

    task = Task(
        name="films",
        train=examples(40),
        validation=examples(20),
        test=examples(150),
        label_names=None if regression else NAMES,
        metrics=("pearson",) if regression else ("accuracy",),
        licence="none",
        source="made up",
    )
    return encode_task(task, build_tokenizer(task, vocab_size=120, cache_dir=folder), 16)


def write_run(
    path: Path, data: EncodedTask, form: Form, *, latency: dict | None = None
) -> JudgedArtifact:
    """The folder of a run whose winner is made in `form`, as far as serving reads it."""
    run = RunFolder(path)
    workload = Workload(1, 16, vocab_size=data.vocab_size, num_labels=data.task.num_labels)
    model = build_model(LAYERS, workload)
    if data.task.is_regression:
        model.config.id2label, model.config.problem_type = {0: "LABEL_0"}, "regression"
    else:
        model.config.id2label = dict(enumerate(NAMES))
        _tell_apart(model, data)
    save_model(model, data, run.model)
    models = ModelArtifacts(run.model, run.artifacts / "winner", data)
    judged = judge_artifact(models, form, data, batch_size=1)
    artifact = judged.artifact
    latency = latency or {"value": 1e4, "unit": "ms", "source": "measured"}
    result = {
        "schemaVersion": 1,
        "name": "films",
        "host": {"cpu_model": host_info().cpu_model},
        "devices": [{"name": "board", "accelerator": "cpu", "threads": 1}],
        "workload": {"batchSize": 1, "sequenceLength": 16},
        "winner": {
            "device": "board",
            "artifact": {
                "path": artifact.path.relative_to(path).as_posix(),
                **artifact.to_dict(),
            },
            "figures": {"latencyMs": {**latency, "artifact": artifact.sha256}},
            "testPredictions": judged.test_predictions(data),
            "onHost": None,
        },
        "exports": [],
    }
    run.result.write_text(json.dumps(result))
    return judged


def _tell_apart(model, data: EncodedTask) -> None:
    """Half of the test part is of each class, and the model is rather sure of most."""
    logits = predict(model, data, "test")
    margin = logits[:, 1] - logits[:, 0]
    with torch.no_grad():
        model.classifier.bias[1] -= float(np.median(margin))
        for part in (model.classifier.weight, model.classifier.bias):
            part.mul_(6 / float(margin.std()))


def change_result(path: Path, change) -> None:
    """Change the result of a run in place."""
    result = json.loads((path / "result.json").read_text())
    change(result)
    (path / "result.json").write_text(json.dumps(result))


@asynccontextmanager
async def client_of(path: Path, tolerances: Tolerances | None = None):
    """A client of a server that serves the run in `path`."""
    with TextModel(find_model(path)) as opened:
        server = ModelServer(opened, tolerances or Tolerances())
        try:
            async with TestClient(TestServer(server.application())) as client:
                client.model_server = server
                yield client
        finally:
            server.close()


def texts_of(data: EncodedTask) -> list[str]:
    return [example.text for example in data.task.test]


def text_input(*texts: str) -> dict:
    return {"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": list(texts)}


def ids_input(name: str, array: np.ndarray) -> dict:
    return {
        "name": name,
        "shape": list(array.shape),
        "datatype": "INT64",
        "data": array.ravel().tolist(),
    }


def outputs_of(answer: dict) -> dict[str, np.ndarray]:
    return {
        each["name"]: np.array(each["data"]).reshape(each["shape"]) for each in answer["outputs"]
    }


def share_of_good(judged: JudgedArtifact) -> float:
    return PredictionSummary.of(judged.logits("test"), regression=False).class_shares[1]
