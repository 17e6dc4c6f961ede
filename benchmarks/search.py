"""How many evaluations a search needs: every method on the same tables, by the public door.

    python benchmarks/search.py run                      # hours; goes on where it was stopped
    python benchmarks/search.py run --methods bayesian random --tables cells --seeds 3
    python benchmarks/search.py time                     # seconds per suggestion
    python benchmarks/search.py summary                  # writes benchmarks/results/search.json

A task is a table with an objective: `sum` (half accuracy, half cost), `front` (accuracy and all
costs) or `floor` (the sum, with accuracy among the best 15 % of the rows). A run is one search of
100 evaluations; each appends a JSON line to the log, and a run that the log holds is not made
again. Regret is relative to the range of the table: 0 is the best row, 1 the worst.

Tables: `published-*` are measurements of others (`../shared/data` beside the project, where it is
there; costs alone are measured, so one of them stands in for the quality that is learned).
`digits` is trained for real: networks of scikit-learn on its digits. The others are made: `space-*`
from architectures of a design space with a quality by formula, `cells` with categories and cliffs,
`wide` with 20 numbers of which 6 matter, `noisy` with few rows that are measured badly.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # searches run side by side

import numpy as np

from edgetran.devices.host import host_info
from edgetran.search import hypervolume, make
from edgetran.space import Architecture, DesignSpace, feature_matrix, macs, sampling

RESULTS = Path(__file__).parent / "results"
LOG = Path(__file__).parent / "search.jsonl"
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
METHODS = (
    "bayesian",
    "boschcode",
    "random",
    "local",
    "evolution",
    "nsga2",
    "optuna-tpe",
    "optuna-nsga2",
    "optuna-gp",
)
OURS = ("bayesian", "boschcode")
BUDGETS = (12, 25, 50, 100)
TASKS = ("sum", "front", "floor")
INITIAL = 8
TOP = 0.85


@dataclass(frozen=True)
class Table:
    """Features (n, k), accuracies (n,) and costs by name, each (n,)."""

    features: np.ndarray
    accuracy: np.ndarray
    costs: dict[str, np.ndarray]

    def plain(self) -> dict[str, Any]:
        return {"features": self.features, "measures": self.costs}

    def terms(self) -> np.ndarray:
        """Costs on a log scale, 1 at the best and 0 at the worst, (n, m)."""
        logs = np.log(np.column_stack(list(self.costs.values())))
        return 1 - (logs - logs.min(axis=0)) / np.ptp(logs, axis=0)


def published_hat() -> Table:
    path = DATA / "hat" / "raspberry-pi-4-wmt14ende.csv"
    rows = list(csv.DictReader(path.read_text().splitlines()))
    names = list(rows[0])
    values = np.array([[float(row[name]) for name in names] for row in rows])
    encoder, decoder = values[:, 10], values[:, 11]
    return Table(values[:, :10], _quality(-np.log(decoder)), {"latency": encoder + decoder})


def published_a100() -> Table:
    rows = [json.loads(x) for x in (DATA / "protran" / "a100.jsonl").read_text().splitlines()]
    features = feature_matrix(
        [Architecture.from_model_dict(row["model_dict"]) for row in rows], 128, 1
    )
    energy = np.array([row["energy_j_per_sequence"] for row in rows])
    latency = np.array([row["latency_s_per_sequence"] for row in rows])
    return Table(features, _quality(np.log(energy)), {"latency": 1 / latency})


def digits() -> Table:
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    x, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(x))
    x, y = x[order] / 16, y[order]
    features, accuracy, latency, parameters = [], [], [], []
    for seed in range(256):
        depth = int(rng.integers(1, 4))
        widths = [int(width) for width in rng.choice([4, 8, 16, 32, 64], size=depth)]
        kind = ("relu", "tanh", "logistic")[seed % 3]
        rate, decay = 10 ** rng.uniform(-4, -1.3), 10 ** rng.uniform(-5, 1)
        network = MLPClassifier(
            widths,
            activation=kind,
            learning_rate_init=rate,
            alpha=decay,
            max_iter=12,
            random_state=seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few steps are meant
            network.fit(x[:900], y[:900])
        size = sum(weights.size for weights in network.coefs_)
        kinds = [kind == each for each in ("relu", "tanh", "logistic")]
        padded = [*widths, 0, 0][:3]
        features.append([depth, *padded, *kinds, np.log10(rate), np.log10(decay)])
        accuracy.append(network.score(x[900:], y[900:]))
        latency.append(size * (1 + 0.2 * depth))
        parameters.append(size)
    costs = {"latency": np.array(latency, float), "parameters": np.array(parameters, float)}
    return Table(np.array(features, float), np.array(accuracy), costs)


def space(name: str, rows: int, seed: int) -> Table:
    """Depth, width and a mix of attention and convolution help, late convolutions hurt."""
    sampled = sampling.sample(DesignSpace.preset(name), rows, np.random.default_rng(seed))

    def gain(architecture: Architecture) -> float:
        total = 0.0
        for i, layer in enumerate(architecture.layers):
            kinds = [head.split("_")[0] for head in layer.head_types]
            attention, convolution = (kinds.count(k) / len(kinds) for k in ("sa", "c"))
            mix = attention + convolution * (0.9 - 0.5 * i) + 0.8 * attention * convolution
            total += mix * np.log2(layer.hidden_size / 32)
            total += 0.1 * np.log2(sum(layer.feed_forward) / 64)
        return total

    noise = np.random.default_rng(seed + 1).normal(0, 0.004, rows)
    quality = np.array([0.5 + 0.45 * (1 - np.exp(-gain(each) / 5)) for each in sampled]) + noise
    work = np.array([macs(each, 64, 1) for each in sampled]) / 1e6
    costs = {"latency": 1 + 0.1 * work, "energy": 3 * (1 + 0.1 * work) ** 0.8}
    return Table(feature_matrix(sampled, 64, 1), quality, costs)


def cells() -> Table:
    rng = np.random.default_rng(3)
    chosen = np.stack(np.meshgrid(*[np.arange(5)] * 6, indexing="ij"), -1).reshape(-1, 6)
    effect, pair = rng.normal(size=(6, 5)), rng.normal(size=(5, 5))
    good = effect[np.arange(6), chosen].sum(axis=1) * 0.5 + pair[chosen[:, 0], chosen[:, 3]]
    quality = 0.94 - 0.09 * np.exp(-0.6 * (good - good.min()))
    quality -= 0.5 * ((chosen[:, 2] == 1) & (chosen[:, 4] == 0))
    quality += rng.normal(0, 0.002, len(quality))
    work = 1 + np.array([0, 0.2, 1, 3, 9])[chosen].sum(axis=1)
    return Table(np.eye(5)[chosen].reshape(-1, 30), np.clip(quality, 0.1, 1), {"latency": work})


def wide() -> Table:
    rng = np.random.default_rng(5)
    x = rng.uniform(size=(5000, 20))
    quality = 0.9 - 0.2 * ((x[:, :6] - 0.6) ** 2).sum(axis=1) + 0.02 * np.sin(12 * x[:, 0])
    return Table(x, quality + rng.normal(0, 0.005, 5000), {"latency": 10 ** (3 * x[:, 1])})


def noisy() -> Table:
    rng = np.random.default_rng(7)
    x = rng.integers(0, 4, size=(150, 5)).astype(float)  # many rows are equal
    quality = 0.7 + 0.03 * x[:, 0] - 0.01 * (x[:, 1] - 2) ** 2 + rng.normal(0, 0.02, 150)
    return Table(x, quality, {"latency": 1 + x[:, 0] * x[:, 2], "memory": 10 ** x[:, 3]})


def _quality(values: np.ndarray) -> np.ndarray:
    return 0.5 + 0.45 * (values - values.min()) / np.ptp(values)


TABLES: dict[str, Callable[[], Table]] = {
    "published-hat": published_hat,
    "published-a100": published_a100,
    "digits": digits,
    "space-tiny": lambda: space("tiny", 800, 1),
    "space-flexibert": lambda: space("flexibert-2.0", 1000, 0),
    "cells": cells,
    "wide": wide,
    "noisy": noisy,
}


def load(name: str, cache: Path) -> Table:
    """A table, from the cache where it was made before."""
    code = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
    path = cache / f"search-{name}-{code}.npz"
    if not path.exists():
        table = TABLES[name]()
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(path, features=table.features, accuracy=table.accuracy, **table.costs)
    with np.load(path) as held:
        costs = {key: held[key] for key in held if key not in ("features", "accuracy")}
        return Table(held["features"], held["accuracy"], costs)


def run(table: Table, method: str, task: str, seed: int, budget: int) -> dict[str, Any]:
    """One search: the rows in the order in which they were asked for, and its time."""
    costs = list(table.costs)
    weights = {"accuracy": 0.5, **dict.fromkeys(costs, 0.5 / len(costs))}
    objective: dict[str, Any] = {"weights": weights}
    constraints = {}
    if task == "front":
        objective = {"pareto": ["accuracy", *costs]}
    elif task == "floor":
        constraints = {"accuracy": {"min": float(np.quantile(table.accuracy, TOP))}}
    begin = time.perf_counter()
    search = make(
        method,
        table.plain(),
        objective=objective,
        constraints=constraints,
        seed=seed,
        initial=INITIAL,
    )
    rows: list[int] = []
    while len(rows) < min(budget, len(table.accuracy)):
        (row,) = search.ask(1)
        search.tell(row, table.accuracy[row])
        rows.append(int(row))
    return {"rows": rows, "seconds": time.perf_counter() - begin}


def figures(table: Table, task: str, rows: list[int]) -> dict[str, list[float]]:
    """What the task judges by, at each budget."""
    terms = table.terms()
    values = 0.5 * table.accuracy + 0.5 * terms.mean(axis=1)
    held = [rows[:budget] for budget in BUDGETS if budget <= len(rows)]
    if task == "sum":
        best, span = values.max(), np.ptp(values)
        return {"regret": [float((best - values[each].max()) / span) for each in held]}
    if task == "front":
        points = np.column_stack([1 - table.accuracy, 1 - terms])
        reference = np.ones(points.shape[1])
        whole = hypervolume(points, reference)
        return {"regret": [1 - hypervolume(points[each], reference) / whole for each in held]}
    feasible = table.accuracy >= np.quantile(table.accuracy, TOP)
    best = np.where(feasible, values, -np.inf).max()
    span = np.ptp(values)
    reached = [np.where(feasible, values, -np.inf)[each].max() for each in held]
    return {
        "regret": [float(min(1.0, (best - each) / span)) for each in reached],
        "share_7_30": [float(feasible[rows[6:30]].mean())],
        "by_10": [float(feasible[rows[:10]].any())],
    }


def command_run(arguments: argparse.Namespace) -> None:
    done = set()
    if arguments.log.exists():
        for line in arguments.log.read_text().splitlines():
            try:
                each = json.loads(line)
            except json.JSONDecodeError:
                continue  # the run that was cut off while it was written
            done.add((each["table"], each["method"], each["task"], each["seed"]))
    stop = time.monotonic() + arguments.minutes * 60
    for seed in range(arguments.seeds):
        for name in arguments.tables:
            table = load(name, arguments.cache)
            for task in arguments.tasks:
                for method in arguments.methods:
                    if (name, method, task, seed) in done:
                        continue
                    if time.monotonic() > stop:
                        return
                    result = run(table, method, task, seed, arguments.budget)
                    line = {"table": name, "method": method, "task": task, "seed": seed}
                    line |= {"evaluations": len(result["rows"]), "seconds": result["seconds"]}
                    line |= figures(table, task, result["rows"])
                    with arguments.log.open("a") as log:
                        log.write(json.dumps(line) + "\n")
                    print(json.dumps(line), flush=True)


def command_time(arguments: argparse.Namespace) -> None:
    """Seconds per suggestion with 500 observations, and how often intervals hold."""
    table = load("wide", arguments.cache)
    rows = []
    for method in arguments.methods:
        search = make(method, table.plain(), objective={"accuracy": 0.5, "latency": 0.5})
        for row in range(500):
            search.tell(row, table.accuracy[row])
        seconds = []
        for _ in range(7):
            begin = time.perf_counter()
            (row,) = search.ask(1)
            seconds.append(time.perf_counter() - begin)
            search.tell(row, table.accuracy[row])
        rows.append({"method": method, "seconds": statistics.median(seconds)})
        print(rows[-1], flush=True)
    covers = {name: coverage(load(name, arguments.cache)) for name in arguments.tables}
    result = {"host": host_info().to_dict(), "rows": rows, "coverage": covers}
    (RESULTS / "search-time.json").write_text(json.dumps(result, indent=1) + "\n")


def coverage(table: Table, seeds: int = 5, train: int = 40) -> dict[str, float]:
    """Share of held-out accuracies within the 68 % and the 90 % interval."""
    inside: dict[float, list[bool]] = {0.994: [], 1.645: []}
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(table.accuracy))
        search = make("random", {"features": table.features}, seed=seed)
        for row in order[:train]:
            search.tell(int(row), table.accuracy[row])
        rest = [int(row) for row in order[train : train + 300]]
        mean, std = search.predict(rest)
        for width, found in inside.items():
            found += (np.abs(table.accuracy[rest] - mean) <= width * std).tolist()
    return {"68": float(np.mean(inside[0.994])), "90": float(np.mean(inside[1.645]))}


def command_summary(arguments: argparse.Namespace) -> None:
    lines = [json.loads(line) for line in arguments.log.read_text().splitlines()]
    methods = sorted({line["method"] for line in lines})
    tasks = {}
    for task in TASKS:
        mine = [line for line in lines if line["task"] == task]
        if mine:
            tasks[task] = _summary_of(mine, methods)
    result = {
        "host": host_info().to_dict(),
        "budgets": list(BUDGETS),
        "initial": INITIAL,
        "runs": len(lines),
        "tasks": tasks,
    }
    (RESULTS / "search.json").write_text(json.dumps(result, indent=1) + "\n")


def _summary_of(lines: list[dict[str, Any]], methods: list[str]) -> dict[str, Any]:
    by = {(x["table"], x["seed"], x["method"]): x for x in lines}
    places = sorted({(x["table"], x["seed"]) for x in lines})
    whole = [place for place in places if all((*place, m) in by for m in methods)]
    summary: dict[str, Any] = {"tables": {}, "ranks": {}, "compared_runs": len(whole)}
    for table in sorted({x["table"] for x in lines}):
        rows = {}
        for method in methods:
            runs = [x for x in lines if (x["table"], x["method"]) == (table, method)]
            if runs:
                rows[method] = _row(runs)
        summary["tables"][table] = rows
    for i, budget in enumerate(BUDGETS):
        complete = [p for p in whole if all(len(by[(*p, m)]["regret"]) > i for m in methods)]
        if len(complete) > 1:
            values = np.array([[by[(*p, m)]["regret"][i] for m in methods] for p in complete])
            summary["ranks"][str(budget)] = _ranks(values, methods)
    return summary


def _row(runs: list[dict[str, Any]]) -> dict[str, Any]:
    most = max(len(each["regret"]) for each in runs)
    columns = [[r["regret"][i] for r in runs if len(r["regret"]) > i] for i in range(most)]
    row: dict[str, Any] = {
        "seeds": len(runs),
        "median": [float(np.median(column)) for column in columns],
        "quartiles": [[float(q) for q in np.quantile(c, [0.25, 0.75])] for c in columns],
        "seconds_per_run": statistics.median(each["seconds"] for each in runs),
    }
    for name in ("share_7_30", "by_10"):
        if name in runs[0]:
            row[name] = float(np.mean([each[name][0] for each in runs]))
    return row


def _ranks(values: np.ndarray, methods: list[str]) -> dict[str, Any]:
    """Mean ranks of the methods (1 is best), Friedman's test, and Holm's against the first."""
    from scipy.stats import friedmanchisquare, rankdata, wilcoxon

    ranks = np.apply_along_axis(rankdata, 1, values).mean(axis=0)
    first = int(np.argmin(ranks))
    raw = {}
    for i, method in enumerate(methods):
        if i != first:
            gaps = values[:, i] - values[:, first]
            raw[method] = float(wilcoxon(gaps).pvalue) if np.any(gaps != 0) else 1.0
    adjusted, worst = {}, 0.0
    for place, method in enumerate(sorted(raw, key=lambda m: raw[m])):
        worst = max(worst, min(1.0, raw[method] * (len(raw) - place)))
        adjusted[method] = worst
    friedman = float(friedmanchisquare(*values.T).pvalue) if len(methods) > 2 else None
    return {
        "mean_rank": dict(zip(methods, ranks.tolist(), strict=True)),
        "friedman_p": friedman,
        "against_first_p": adjusted,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("command", choices=("run", "time", "summary"))
    names = [name for name in TABLES if DATA.exists() or not name.startswith("published")]
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--tables", nargs="+", default=names, choices=list(TABLES))
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--budget", type=int, default=max(BUDGETS))
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no run after these")
    parser.add_argument("--log", type=Path, default=LOG)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "edgetran")
    arguments = parser.parse_args()
    commands = {"run": command_run, "time": command_time, "summary": command_summary}
    commands[arguments.command](arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
