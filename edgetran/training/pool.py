"""Trials in parallel: long-lived Ray actors, each of which imports torch and loads a task once."""

from __future__ import annotations

import platform
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from edgetran.api.field_errors import invalid
from edgetran.training.cluster import RayCluster, RayClusterError, RaySettings
from edgetran.training.trial import (
    OUT_OF_MEMORY,
    WORKER_DIED,
    TrialOutcome,
    TrialSpec,
    finished_trial,
    run_trial,
)

UNSEEN: Final = "unseen-folder"
"""Kind of the error of a worker that does not share the folder of the trials."""

MAX_ATTEMPTS: Final = 3
"""Starts of one trial before the death of its worker counts as the trial's own fault."""


class TrialWorker:
    """What an actor is: runs one trial after another in its own process."""

    def run(self, spec: dict[str, Any], probe: str | None = None) -> dict[str, Any]:
        """`run_trial` on plain data.

        Args:
            spec: the trial's specification.
            probe: a file that the driver has made where trials are kept; None asks for none.
        """
        if probe is not None and not Path(probe).exists():
            unseen = f"{platform.node()} does not see {Path(probe).parent}"
            return TrialOutcome(error=unseen, error_kind=UNSEEN).to_dict()
        return run_trial(TrialSpec.from_dict(spec)).to_dict()


@dataclass
class _Job:
    key: str
    spec: TrialSpec
    attempts: int = 0


class TrialPool:
    """Runs trials, `parallelism` at a time, and hands back their outcomes as they finish.

    Failures are outcomes. A trial whose worker died is started again, where it goes on from its
    saved state. Leaving the `with` block, by an exception or Ctrl-C too, ends all workers.

    Args:
        parallelism: trials at a time; 0 runs them in this process.
        cpus_per_trial: of each worker; a local Ray gets `parallelism` times as many.
        gpus_per_trial: fraction of a GPU of each worker.
        ray: where workers run.

    Example:
        >>> with TrialPool(2) as pool:                                     # doctest: +SKIP
        ...     pool.submit("a", spec)
        ...     for outcome in pool.completed():
        ...         print(outcome.key, outcome.score, outcome.error)

    Raises:
        RayClusterError: if Ray cannot be started or reached, or if a worker of a running cluster
            does not see the folder of the trials.
    """

    def __init__(
        self,
        parallelism: int = 2,
        cpus_per_trial: float = 1,
        *,
        gpus_per_trial: float = 0,
        ray: RaySettings | None = None,
    ) -> None:
        if parallelism < 0:
            raise ValueError(f"parallelism: {invalid(parallelism, 'must be at least 0')}")
        self.settings = ray or RaySettings()
        self.inline = parallelism == 0 or self.settings.mode == "inline"
        self.parallelism = max(1, parallelism)
        self.cpus_per_trial, self.gpus_per_trial = cpus_per_trial, gpus_per_trial
        self._waiting: deque[_Job] = deque()
        self._running: dict[Any, tuple[_Job, Any]] = {}
        self._idle: list[Any] = []
        self._cluster: RayCluster | None = None
        self._probes: dict[Path, Path] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all workers and forget what waits; may be called again."""
        self._waiting.clear()
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            for worker in [*self._idle, *(worker for _, worker in self._running.values())]:
                cluster.ray.kill(worker)
            cluster.close()
        self._idle.clear()
        self._running.clear()
        for probe in self._probes.values():
            probe.unlink(missing_ok=True)
        self._probes.clear()

    def submit(self, key: str, spec: TrialSpec) -> None:
        """Queue a trial; `key` comes back in its outcome. May be called between outcomes.

        With workers, the trial begins at once if one is free.
        """
        self._waiting.append(_Job(key, spec))
        if not self.inline:
            self._dispatch()

    @property
    def pending(self) -> int:
        """Trials that are submitted and not yet handed back."""
        return len(self._waiting) + len(self._running)

    def completed(self) -> Iterator[TrialOutcome]:
        """Outcomes as trials finish, until none is pending."""
        while self.pending:
            if self.inline:
                job = self._waiting.popleft()
                yield replace(run_trial(job.spec), key=job.key)
                continue
            self._dispatch()
            if (outcome := self._next()) is not None:
                self._dispatch()
                yield outcome

    def _dispatch(self) -> None:
        """Give waiting trials to workers, starting workers up to `parallelism`."""
        while self._waiting and len(self._running) < self.parallelism:
            worker = self._idle.pop() if self._idle else self._start_worker()
            job = self._waiting.popleft()
            job.attempts += 1
            probe = self._probe(job.spec)
            self._running[worker.run.remote(job.spec.to_dict(), probe)] = (job, worker)

    def _probe(self, spec: TrialSpec) -> str | None:
        """A file beside the trial's folder, by which a worker elsewhere knows that it sees it."""
        if self.settings.mode != "cluster":
            return None
        folder = Path(spec.output).parent
        if folder not in self._probes:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".seen-{uuid.uuid4().hex}"
            probe.touch()
            self._probes[folder] = probe
        return str(self._probes[folder])

    def _start_worker(self) -> Any:
        if self._cluster is None:
            self._cluster = RayCluster(
                self.settings,
                num_cpus=self.parallelism * self.cpus_per_trial,
                num_gpus=self.parallelism * self.gpus_per_trial or None,
            )
        actor = self._cluster.ray.remote(TrialWorker).options(
            num_cpus=self.cpus_per_trial, num_gpus=self.gpus_per_trial, max_restarts=0
        )
        return actor.remote()

    def _next(self) -> TrialOutcome | None:
        """Wait for a worker: its trial's outcome, or None where the trial starts again."""
        assert self._cluster is not None  # noqa: S101 - trials run, so there is a cluster
        ray = self._cluster.ray
        done, _ = ray.wait(list(self._running), num_returns=1)
        job, worker = self._running.pop(done[0])
        try:
            outcome = TrialOutcome.from_dict(ray.get(done[0]))
        except ray.exceptions.RayError as error:
            # The worker may have died after its trial was whole.
            kept = finished_trial(job.spec)
            if kept is None and job.attempts < MAX_ATTEMPTS:
                self._waiting.appendleft(job)
                return None
            outcome = kept or _death(error, ray)
        else:
            self._idle.append(worker)
        if outcome.error_kind == UNSEEN:
            raise RayClusterError(
                f"ray: {outcome.error}; allowed with ray.mode {self.settings.mode} is storage that "
                "every Ray worker mounts at the same path"
            )
        return replace(outcome, key=job.key, attempts=job.attempts)


def _death(error: Exception, ray: Any) -> TrialOutcome:
    low = isinstance(error, ray.exceptions.OutOfMemoryError) or "low on memory" in str(error)
    if low:  # Ray's own watch over memory ended the worker
        kind, reason = OUT_OF_MEMORY, "the machine ran out of memory"
    else:
        kind, reason = WORKER_DIED, "its worker process died"
    return TrialOutcome(error=f"{reason}, {MAX_ATTEMPTS} times in a row", error_kind=kind)
