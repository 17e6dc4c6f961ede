"""ProTran's figures: how well this project predicts hardware, beside the published regressor.

    python benchmarks/profiling.py                       # published tables: minutes, any machine
    python benchmarks/profiling.py few-shot              # simulated boards: minutes, any machine
    python benchmarks/profiling.py host repeatability monitor    # measures: a quiet machine

The published regressor is AdaBoost over 500 decision trees on the 37-integer embedding (ProTran);
beside it stand extra-trees and a plain Gaussian process on sums of layer features. All see the same
rows in the same splits; figures are medians over splits. Each section writes
benchmarks/results/profiling-SECTION.json; a section that was killed goes on where it stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")  # rows are few; the host section sets its own

import numpy as np
from peers import extra_trees, matern_process, published_regressor
from scipy.stats import spearmanr

from edgetran.devices import (
    PowerMonitor,
    PowerSource,
    SimulatedDevice,
    Workload,
    best_power_source,
    catalogue,
    engine,
    usable_cores,
)
from edgetran.devices.conditions import conditions
from edgetran.devices.host import host_info
from edgetran.devices.simulated import operations_of
from edgetran.devices.sysfs import read_int
from edgetran.profiling import MODES, ProfilingPlan, Surrogate, measure, profile_device
from edgetran.profiling import board as boards
from edgetran.profiling.board import design
from edgetran.profiling.gaussian_process import fit_gaussian_process
from edgetran.profiling.members import Scaling
from edgetran.profiling.protocol import run_protocol
from edgetran.records import JsonLog, read_records
from edgetran.space import (
    HEAD_TYPES,
    OPERATION_KINDS,
    SUMMARY_FEATURES,
    Architecture,
    DesignSpace,
    embedding,
    feature_matrix,
    sampling,
)

RESULTS = Path(__file__).parent / "results"
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
PROTRAN = ("a100", "jetson-nano-cpu", "raspberry-pi-4-cpu", "jetson-nano-gpu", "ncs2-npu")
MEASURES = ("latency", "energy", "peak_power")
HAT = {"raspberry-pi-4-wmt14ende": (0.032, 0.026), "titanxp-iwslt14deen": (0.055, 0.048)}
LEVEL = 0.9
PASSES = 3
BAD_MOMENT = 0.1
FEW = 10
BOARD_NOISE = 0.03
KIND_SPREAD = 0.5
PEERS = {
    "published": published_regressor,
    "extra_trees": extra_trees,
    "matern_process": matern_process,
}
Table = tuple[list[Architecture], np.ndarray, np.ndarray]

MID = DesignSpace.from_dict(
    {
        "layers": [2, 3, 4, 5, 6],
        "hiddenSizes": [128, 256, 384, 512],
        "heads": [2, 4, 8],
        "headTypes": list(HEAD_TYPES),
        "feedForwardWidths": [256, 512, 1024, 2048],
        "maxFeedForwardStack": 2,
    }
)
SPACES = {"tiny": DesignSpace.preset("tiny"), "mid": MID}


def published(splits: int, folder: Path) -> dict[str, Any]:
    """MSE of each measure ÷ its maximum on the published tables, and coverage."""
    folder.mkdir(parents=True, exist_ok=True)
    log = JsonLog(folder / "published.jsonl")
    done = {(r["board"], r["rows"], r["split"], r["who"]): r for r in read_records(log.path)}
    tables = {board: protran(board) for board in PROTRAN}
    cells = [(board, rows) for board, (_, _, y) in tables.items() for rows in sizes(len(y))]
    for who in ("ours", "extra_trees", "matern_process", "published"):
        for split in range(splits):
            for board, rows in cells:
                if (board, rows, split, who) not in done:
                    record = {"board": board, "rows": rows, "split": split, "who": who}
                    record |= judged(tables[board], rows, split, who)
                    log.append(record)
                    done[board, rows, split, who] = record
    result = []
    for board, rows in cells:
        architectures, _, y = tables[board]
        features = feature_matrix(architectures, 128, 1)[:, :SUMMARY_FEATURES]
        middle = {
            who: np.median([done[board, rows, s, who]["mse"] for s in range(splits)], axis=0)
            for who in ("ours", *PEERS)
        }
        ours = [done[board, rows, split, "ours"] for split in range(splits)]
        constant = np.median([record["constant_mse"] for record in ours], axis=0)
        for j, name in enumerate(MEASURES):
            peers = {who: float(middle[who][j]) for who in PEERS}
            floor = noise_floor(features, y[:, j])
            result.append(
                {
                    "board": board,
                    "rows": rows,
                    "measure": name,
                    "mse": float(middle["ours"][j]),
                    **{f"{who}_mse": mse for who, mse in peers.items()},
                    "constant_mse": float(constant[j]),
                    "noise_floor": floor,
                    "ratio": float(middle["ours"][j]) / min(peers.values()),
                    "coverage": float(np.mean([record["coverage"][j] for record in ours])),
                }
            )
            show(result[-1])
    ratios = [row["ratio"] for row in result]
    print(f"ratio to the best peer: median {np.median(ratios):.2f}, largest {max(ratios):.2f}")
    return {"splits": splits, "level": LEVEL, "rows": result}


def sizes(rows: int) -> list[int]:
    """Training rows of a table: 16, 32, 64 where four fifths of it are as many, and those."""
    most = int(0.8 * rows)
    return sorted({size for size in (16, 32, 64) if size <= most} | {most})


def judged(table: Table, rows: int, split: int, who: str) -> dict[str, Any]:
    """MSE per measure of one regressor in one split; of ours also the cover of its intervals."""
    architectures, embeddings, y = table
    features = feature_matrix(architectures, 128, 1)
    train, test = split_rows(len(y), rows, split)
    top = y.max(axis=0)
    if who != "ours":
        x = embeddings if who == "published" else features[:, :SUMMARY_FEATURES]
        predicted = np.stack(
            [PEERS[who](x[train], y[train, j], split).predict(x[test]) for j in range(y.shape[1])],
            axis=1,
        )
        return {"mse": (((predicted - y[test]) / top) ** 2).mean(axis=0).tolist()}
    surrogate = Surrogate(measures=MEASURES).fit(features[train], y[train])
    predicted, _ = surrogate.predict(features[test])
    low, high = surrogate.interval(features[test], LEVEL)
    constant = np.broadcast_to(y[train].mean(axis=0), predicted.shape)
    return {
        "mse": (((predicted - y[test]) / top) ** 2).mean(axis=0).tolist(),
        "constant_mse": (((constant - y[test]) / top) ** 2).mean(axis=0).tolist(),
        "coverage": ((low <= y[test]) & (y[test] <= high)).mean(axis=0).tolist(),
    }


def noise_floor(features: np.ndarray, y: np.ndarray) -> float:
    """MSE of the normalised measure that no model of these features can go below.

    A Gaussian process of all rows (maximum posterior, robust weights) finds the noise of the log
    measure and the rows of a bad moment, whose weight it brings below a tenth (a board that
    throttled: up to six times too slow). The floor is the noise of the ordinary rows, and of the
    bad ones the distance to what the others say; a bad moment is in no feature.
    """
    scaled, z = Scaling.of(features)(features), np.log(y)
    process = fit_gaussian_process(scaled, z)
    variance = np.exp(2 * process.theta[-1]) * z.var()
    expected, _ = process.predict(scaled)
    bad = process.weights < BAD_MOMENT
    ordinary = variance / process.weights * y**2
    squares = np.where(bad, (np.exp(expected) - y) ** 2, ordinary)
    return float(squares.mean() / y.max() ** 2)


def hat(splits: int) -> dict[str, Any]:
    """Mean absolute percentage error on HAT's tables of ten raw features, and coverage."""
    rows = []
    for device, targets in HAT.items():
        x, y = hat_table(device)
        for size, target in zip((20, 50), targets, strict=True):
            errors, covered = [], []
            for split in range(splits):
                train, test = split_rows(len(y), size, split)
                surrogate = Surrogate().fit(x[train], y[train])
                mean, _ = surrogate.predict(x[test])
                low, high = surrogate.interval(x[test], LEVEL)
                errors.append(np.abs(mean / y[test] - 1).mean())
                covered.append(((low <= y[test]) & (y[test] <= high)).mean())
            rows.append(
                {
                    "device": device,
                    "rows": size,
                    "mape": float(np.median(errors)),
                    "target": target,
                    "coverage": float(np.mean(covered)),
                }
            )
            show(rows[-1])
    return {"splits": splits, "level": LEVEL, "rows": rows}


def few_shot(draws: int) -> dict[str, Any]:
    """Ten designed measurements place a board that the prior does not know.

    The catalogue's boards, each left out of the prior, with every kind of operation up to several
    times slower than the roofline says (a log-normal factor) and noise; the design space is
    FlexiBERT 2.0's. The stack sees only the ten measurements.
    """
    rows = []
    space, workload = DesignSpace.preset("flexibert-2.0"), Workload(1, 128)
    for name, device in catalogue().items():
        precision = "fp32" if "fp32" in device.precisions else device.precisions[0]
        ranks, within, covered = [], [], []
        for draw in range(draws):
            rng = np.random.default_rng([draw, *name.encode()])
            slower = dict(
                zip(
                    OPERATION_KINDS,
                    np.exp(KIND_SPREAD * rng.standard_normal(len(OPERATION_KINDS))),
                    strict=True,
                )
            )

            def seconds(
                architectures: Sequence[Architecture],
                device: SimulatedDevice = device,
                precision: str = precision,
                slower: dict[str, float] = slower,
                rng: np.random.Generator = rng,
            ) -> np.ndarray:
                return np.array(
                    [drawn_latency_s(device, a, workload, precision, slower) for a in architectures]
                ) * np.exp(BOARD_NOISE * rng.standard_normal(len(architectures)))

            pool = sampling.sample(space, 256, rng, method="sobol")
            features = feature_matrix(pool, workload.sequence_length, workload.batch_size)
            test = sampling.sample(space, 200, rng)
            expected = feature_matrix(test, workload.sequence_length, workload.batch_size)
            with board_unknown(name):
                chosen = design(features, FEW)
                y = seconds([pool[row] for row in chosen])
                surrogate = Surrogate().fit(features[chosen], y)
            truth = seconds(test)
            mean, _ = surrogate.predict(expected)
            low, high = surrogate.interval(expected, LEVEL)
            ranks.append(float(spearmanr(mean, truth)[0]))
            within.append(float((np.abs(mean / truth - 1) < 0.10).mean()))
            covered.append(float(((low <= truth) & (truth <= high)).mean()))
        rows.append(
            {
                "board": name,
                "measurements": FEW,
                "spearman": float(np.median(ranks)),
                "within_10_percent": float(np.median(within)),
                "coverage": float(np.mean(covered)),
            }
        )
        show(rows[-1])
    return {"draws": draws, "level": LEVEL, "noise": BOARD_NOISE, "rows": rows}


@contextlib.contextmanager
def board_unknown(name: str) -> Iterator[None]:
    """Leave a board of the catalogue out of what is believed of boards."""
    others = {other: device for other, device in catalogue().items() if other != name}
    with mock.patch.object(boards, "catalogue", return_value=others):
        boards.prior.cache_clear()
        yield
    boards.prior.cache_clear()


def drawn_latency_s(
    device: SimulatedDevice,
    architecture: Architecture,
    workload: Workload,
    precision: str,
    slower: Mapping[str, float],
) -> float:
    """Latency of one batch where each kind of operation takes so many times as long, s."""
    steps = operations_of(architecture, workload, precision)
    busy = device.busy_s(
        np.array([float(step.macs) for step in steps]),
        np.array([float(step.bytes_moved) for step in steps]),
        precision,
    )
    dispatched = np.array([step.launches for step in steps]) * device.launch_us * 1e-6
    factors = np.array([slower[step.kind] for step in steps])
    return float(device.overhead_ms * 1e-3 + factors @ (busy + dispatched))


def host(splits: int, folder: Path, *, measurements: int = 160, held_out: int = 45) -> Any:
    """This host: share predicted within 10 % from 32 rows, and rows until an MSE of 0.003."""
    rows = []
    for name, space in SPACES.items():
        architectures = sampling.sample(
            space, measurements, np.random.default_rng(100), method="sobol"
        )
        # A core is left to everything else: with all of them, each of its moments is waited for.
        threads = max(1, usable_cores() - 1)
        plan = ProfilingPlan(
            "this-host", Workload(1, 64), threads=threads, mode="quick", passes=PASSES
        )
        profile = profile_device(plan, architectures, folder / f"{name}-{threads}-threads.jsonl")
        # What the protocol marks as unstable is no truth to compare with.
        kept = [m for m in profile.measured if m.stable]
        measured = [m.architecture for m in kept]
        y = np.array([m.figures.latency_ms.value for m in kept], dtype=float)
        features = feature_matrix(measured, 64, 1)
        embeddings = np.array([embedding.encode(space, a) for a in measured])
        noise = np.sqrt(noise_floor(features, y)) * y.max() / np.sqrt((y**2).mean())
        within, covered, ours, theirs = [], [], [], []
        for split in range(splits):
            rest, test = split_rows(len(y), len(y) - held_out, split)
            surrogate = Surrogate().fit(features[rest[:32]], y[rest[:32]])
            mean, _ = surrogate.predict(features[test])
            low, high = surrogate.interval(features[test], LEVEL)
            within.append((np.abs(mean / y[test] - 1) < 0.10).mean())
            covered.append(((low <= y[test]) & (y[test] <= high)).mean())
            ours.append(rows_until(features, y, rest, test, lambda x, z, _: Surrogate().fit(x, z)))
            theirs.append(rows_until(embeddings, y, rest, test, published_regressor))
        rows.append(
            {
                "space": name,
                "passes": PASSES,
                "within_10_percent": float(np.median(within)),
                "coverage": float(np.mean(covered)),
                "rows_until_mse_0.003": float(np.median(ours)),
                "published_rows_until_mse_0.003": float(np.median(theirs)),
                "published_never_reached_it": sum(n > len(rest) for n in theirs),
                "noise": float(noise),
                "unstable": len(profile.measured) - len(kept),
                "measured": len(profile.measured),
            }
        )
        show(rows[-1])
    return {"splits": splits, "level": LEVEL, "machine": machine(), "rows": rows}


def rows_until(
    x: np.ndarray, y: np.ndarray, rest: np.ndarray, test: np.ndarray, fit: Any, target: float = 3e-3
) -> int:
    """Rows until the MSE of y / max on `test` stays at most `target`; all and one if never."""
    sizes = [
        n
        for n in (6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64, 80, 100, 115)
        if n <= len(rest)
    ]
    enough = len(rest) + 1
    for size in reversed(sizes):
        model = fit(x[rest[:size]], y[rest[:size]], 0)
        predicted = model.predict(x[test])
        mean = predicted[0] if isinstance(predicted, tuple) else predicted
        if (((mean - y[test]) / y.max()) ** 2).mean() > target:
            break
        enough = size
    return enough


def repeatability(processes: int = 5) -> dict[str, Any]:
    """Spread of the median latency over fresh processes, interleaved, and the machine's own noise.

    The noise is that of a fixed matmul and of a fixed Python loop: small models are made of many
    small operations, which a machine's moods change as they change the loop, not the matmul.
    """
    count = 3
    medians = np.empty((processes, count))
    matmuls = np.empty((processes, count))
    loops = np.empty((processes, count))
    for process in range(processes):
        for index in range(count):
            output = subprocess.run(
                [sys.executable, __file__, "--one", str(index)],
                check=True,
                capture_output=True,
                text=True,
            )
            answer = json.loads(output.stdout.splitlines()[-1])
            medians[process, index] = answer["latency_ms"]
            matmuls[process, index] = answer["matmul_ms"]
            loops[process, index] = answer["loop_ms"]
    result = {
        "processes": processes,
        "cv": (medians.std(axis=0, ddof=1) / medians.mean(axis=0)).tolist(),
        "matmul_cv": float(matmuls.std(ddof=1) / matmuls.mean()),
        "loop_cv": float(loops.std(ddof=1) / loops.mean()),
        "latency_ms": medians.tolist(),
        "machine": machine(),
    }
    show({name: result[name] for name in ("cv", "matmul_cv", "loop_cv")})
    return result


def one(index: int) -> dict[str, float]:
    """In a fresh process: median latency of one architecture, a fixed matmul and a loop, ms."""
    architecture = sampling.sample(SPACES["tiny"], 3, np.random.default_rng(7))[index]
    mode = dataclasses.replace(MODES["standard"], seconds=5.0)
    runs = engine("torch", threads=1)
    (measurement,) = measure(
        [architecture], device="this-host", engine=runs, workload=Workload(1, 64), mode=mode
    )
    assert measurement.latency_ms is not None, measurement.failure
    matrix = np.ones((384, 384), dtype=np.float32)
    return {
        "latency_ms": measurement.latency_ms.median,
        "matmul_ms": median_ms(lambda: matrix @ matrix),
        "loop_ms": median_ms(lambda: sum(number for number in range(20_000))),
    }


def median_ms(work: Callable[[], object], repeats: int = 400) -> float:
    """Median time of a call, ms."""
    times = []
    for _ in range(repeats):
        before = time.perf_counter()
        work()
        times.append(time.perf_counter() - before)
    return float(np.median(times)) * 1e3


class FilePower(PowerSource):
    """Stands in where nothing senses power: as costly to read as a sysfs sensor."""

    name = "file"
    quantity = "power"

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_text("12345678\n")

    def available(self) -> None:
        """Always."""

    def sample(self) -> float:
        """Read and parse the file, as the sources of sysfs do."""
        value = read_int(self.path)
        assert value is not None
        return value * 1e-6


def monitor(folder: Path, pairs: int = 120) -> dict[str, Any]:
    """Latency with power sampling on ÷ off, in interleaved pairs."""
    from edgetran.profiling import build_model

    workload = Workload(1, 64)
    architecture = sampling.sample(SPACES["tiny"], 1, np.random.default_rng(7))[0]
    found = best_power_source()
    folder.mkdir(parents=True, exist_ok=True)
    source = found if found.available() is None else FilePower(folder / "power")
    session = engine("torch", threads=1).load(build_model(architecture, workload), workload)
    inputs = {
        "input_ids": np.full((1, 64), 7, dtype=np.int64),
        "attention_mask": np.ones((1, 64), dtype=np.int64),
    }
    # Short windows in many pairs: a machine's slow moods fall on both sides of a pair.
    mode = dataclasses.replace(MODES["quick"], seconds=0.5, warm_up_seconds=0.1, attempts=1)
    nothing = best_power_source(root=folder / "nowhere")
    ratios = []
    for pair in range(pairs):
        medians = {}
        for sampled in (True, False) if pair % 2 else (False, True):
            if sampled:
                with PowerMonitor(source):
                    run = run_protocol(lambda: session.run(inputs), mode=mode, power_source=nothing)
            else:
                run = run_protocol(lambda: session.run(inputs), mode=mode, power_source=nothing)
            medians[sampled] = float(np.median(run.reported.durations_s))
        ratios.append(medians[True] / medians[False])
    result = {"source": source.name, "ratio": float(np.median(ratios)), "ratios": ratios}
    show({"source": source.name, "ratio": result["ratio"]})
    return {**result, "machine": machine()}


def split_rows(rows: int, train: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random training rows and the others."""
    order = np.random.default_rng(seed).permutation(rows)
    return order[:train], order[train:]


def protran(board: str) -> Table:
    """Architectures, embeddings (n, 37), and latency (s), energy (J), peak power (W) (n, 3)."""
    rows = [json.loads(line) for line in (DATA / "protran" / f"{board}.jsonl").open()]
    names = ("latency_s_per_sequence", "energy_j_per_sequence", "peak_power_w")
    return (
        [Architecture.from_model_dict(row["model_dict"]) for row in rows],
        np.array([row["embedding"] for row in rows]),
        np.array([[row[name] for name in names] for row in rows]),
    )


def hat_table(device: str) -> tuple[np.ndarray, np.ndarray]:
    """The ten features as they are, and latency of encoder and decoder together, ms."""
    with (DATA / "hat" / f"{device}.csv").open() as file:
        table = np.array(list(csv.reader(file))[1:], dtype=float)
    return table[:, :10], table[:, 10] + table[:, 11]


def machine() -> dict[str, Any]:
    """What the host is, and how busy it was."""
    info, now = host_info().to_dict(), conditions()
    kept = ("cpu_model", "physical_cores", "logical_cores", "usable_cores", "virtual", "versions")
    return {**{name: info[name] for name in kept}, "load_average": now.load_average}


def show(row: dict[str, Any]) -> None:
    """One line of a table."""
    print("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()),
          flush=True)  # fmt: skip


def pooled_coverage() -> float | None:
    """Mean coverage of the intervals over all rows of all sections that have been run."""
    covered = []
    for path in sorted(RESULTS.glob("profiling-*.json")):
        covered += [r["coverage"] for r in json.loads(path.read_text()).get("rows", [])]
    return float(np.mean(covered)) if covered else None


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Formatter)
    sections = ("published", "hat", "few-shot", "host", "repeatability", "monitor")
    parser.add_argument("sections", nargs="*", choices=[*sections, []], metavar="SECTION",
                        help=f"{', '.join(sections)}; published and hat by default")  # fmt: skip
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--draws", type=int, default=3, help="simulated boards of each kind")
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmark-profiling"),
                        help="where measurements of this host are kept and reused")  # fmt: skip
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.one is not None:
        print(json.dumps(one(chosen.one)))
        return
    RESULTS.mkdir(exist_ok=True)
    for section in chosen.sections or ("published", "hat"):
        print(f"== {section}")
        result: Any = {
            "published": lambda: published(chosen.splits, chosen.folder),
            "hat": lambda: hat(chosen.splits),
            "few-shot": lambda: few_shot(chosen.draws),
            "host": lambda: host(chosen.splits, chosen.folder),
            "repeatability": repeatability,
            "monitor": lambda: monitor(chosen.folder),
        }[section]()
        text = json.dumps(result, indent=1, allow_nan=False)
        (RESULTS / f"profiling-{section}.json").write_text(text + "\n")
    coverage = pooled_coverage()
    if coverage is not None:
        print(f"coverage of {LEVEL:.0%} intervals, pooled over all results: {coverage:.1%}")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    pass


if __name__ == "__main__":
    main()
