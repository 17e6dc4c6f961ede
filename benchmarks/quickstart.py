"""The quickstart as a new user runs it: time, memory of all its processes, and what it finds.

    python benchmarks/quickstart.py [--repeats N] [--keep DIR]

Each repeat runs `edgetran run -f examples/quickstart.yaml` into an empty folder. Memory is the sum
of the proportional set sizes (PSS) of the process and all its children, sampled every half second:
pages that processes share count once.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from edgetran.devices import host_info

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS / "quickstart.json")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the last run in DIR")
    arguments = parser.parse_args()
    runs = [run_once(arguments.keep) for _ in range(arguments.repeats)]
    host = host_info()
    result = {
        "benchmark": "quickstart",
        "hardware": f"{host.cpu_model}, {host.usable_cores:g} cores",
        "versions": host.versions,
        "runs": runs,
    }
    arguments.results.parent.mkdir(exist_ok=True)
    arguments.results.write_text(json.dumps(result, indent=1) + "\n")
    show(runs)


def run_once(keep: Path | None = None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="edgetran-benchmark-") as folder:
        output = Path(folder) / "run"
        begun = time.monotonic()
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "edgetran.cli",
                "run",
                "-f",
                str(ROOT / "examples" / "quickstart.yaml"),
                "-o",
                str(output),
            ],
            stdout=subprocess.DEVNULL,
        )
        peak = 0
        while process.poll() is None:
            peak = max(peak, memory_bytes(process.pid))
            time.sleep(0.5)
        if process.returncode != 0:
            raise SystemExit(f"the quickstart ended with status {process.returncode}")
        seconds = time.monotonic() - begun
        result = json.loads((output / "result.json").read_text())
        if keep is not None:
            shutil.rmtree(keep, ignore_errors=True)
            shutil.copytree(output, keep)
    return {
        "seconds": round(seconds, 1),
        "phases": {name: round(value, 1) for name, value in result["seconds"].items()},
        "peak_pss_gib": round(peak / 2**30, 2),
        "trials": result["counts"]["trials"],
        "winner": brief(result["winner"]),
        "baseline": brief(result["baseline"]),
    }


def memory_bytes(pid: int) -> int:
    """PSS of a process and its descendants."""
    try:
        family = [psutil.Process(pid)]
        family += family[0].children(recursive=True)
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for process in family:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def brief(row: dict[str, Any]) -> dict[str, Any]:
    figures = {name: figure["value"] for name, figure in row["figures"].items()}
    here = row["onHost"]["latencyMs"]["value"] if row["onHost"] else None
    return {
        "device": row["device"],
        **figures,
        "hostLatencyMs": here,
        "trainingSeconds": row["trainingSeconds"],
    }


def show(runs: list[dict[str, Any]]) -> None:
    print(f"{'':24}{'median':>12}{'least':>12}{'most':>12}")
    rows = {
        "duration, s": [run["seconds"] for run in runs],
        "peak PSS, GiB": [run["peak_pss_gib"] for run in runs],
        "winner's test accuracy": [run["winner"]["accuracy"] for run in runs],
        "baseline's": [run["baseline"]["accuracy"] for run in runs],
        "parameters ÷ baseline": [
            run["winner"]["parameters"] / run["baseline"]["parameters"] for run in runs
        ],
        "latency ÷ baseline": [
            run["winner"]["latencyMs"] / run["baseline"]["latencyMs"] for run in runs
        ],
        "host latency ÷ baseline": [
            run["winner"]["hostLatencyMs"] / run["baseline"]["hostLatencyMs"] for run in runs
        ],
    }
    for name, values in rows.items():
        print(f"{name:24}{statistics.median(values):12.4g}{min(values):12.4g}{max(values):12.4g}")


if __name__ == "__main__":
    main()
