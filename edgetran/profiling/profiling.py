"""Profile a device: measure, fit, choose what to measure next, until the error is small enough."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgetran.devices import PowerSource
from edgetran.profiling.active import initial_architectures, propose
from edgetran.profiling.measurement import Measurement
from edgetran.profiling.measuring import measure
from edgetran.profiling.plan import FEWEST_MEASUREMENTS, ProfilingError, ProfilingPlan
from edgetran.profiling.profile import (
    SUMMARY_KIND,
    SUMMARY_VERSION,
    Profile,
    key_to_dict,
)
from edgetran.progress import Progress, SilentProgress
from edgetran.records import JsonLog
from edgetran.space import Architecture, DesignSpace, sampling

GOES_ON: Final = "measuring goes on"
"""What a summary says in place of why measuring stopped."""

Measurer = Callable[[Sequence[Architecture]], Iterable[Measurement]]
"""Measures architectures and yields each measurement when it is done."""


def profile_device(
    plan: ProfilingPlan,
    space: DesignSpace | Sequence[Architecture],
    log_path: str | os.PathLike[str],
    progress: Progress | None = None,
    *,
    power_source: PowerSource | None = None,
    warm_start: Sequence[Profile] = (),
    measurer: Measurer | None = None,
) -> Profile:
    """Measure architectures of a space until others can be predicted, and fit the surrogate.

    Every measurement is appended to the log when it is made. Where the log holds measurements
    with the plan's key already, they count: a killed run continues, and nothing is measured twice.

    Args:
        plan: what, how, and when it is enough.
        space: a design space, from which architectures are chosen by active learning, or the
            architectures themselves, which are all measured.
        log_path: the log, `DEVICE.jsonl`.
        progress: where to report.
        power_source: what senses power; the best one found on this host by default.
        warm_start: profiles of other devices, measured with the same batch and length.
        measurer: measures in place of this host.

    Returns:
        The profile; its summary states the cross-validated error that it claims.

    Raises:
        ProfilingError: a log that cannot be read, a warm start from another
            workload, or too few architectures that could be measured.
        edgetran.devices.EngineError: the engine cannot run here.
    """
    progress = progress or SilentProgress()
    if measurer is None:
        plan.make_engine().require()
    _check_warm_start(plan, warm_start)
    run = _Profiling(plan, space, Path(log_path), progress, power_source, warm_start, measurer)
    return run.complete()


class _Profiling:
    """The state of one call of `profile_device`: the plan, the log and the profile so far."""

    def __init__(
        self,
        plan: ProfilingPlan,
        space: DesignSpace | Sequence[Architecture],
        log_path: Path,
        progress: Progress,
        power_source: PowerSource | None,
        warm_start: Sequence[Profile],
        measurer: Measurer | None,
    ) -> None:
        self.plan = plan
        self.space = space
        self.log = JsonLog(log_path)
        self.progress = progress
        self.power_source = power_source
        self.warm_start = warm_start
        self.measurer = measurer or self._measure_here
        self.key = plan.key()
        self.stage = f"profile {plan.device}"
        self.profile = self._load()

    def complete(self) -> Profile:
        """Measure what is missing, state the claimed error, keep the surrogate."""
        total = (
            self.plan.max_measurements
            if isinstance(self.space, DesignSpace)
            else len({a.graph_hash for a in self.space})
        )
        self.progress.start(
            self.stage,
            total=total * self.plan.passes,
            done=min(self._passed(), total * self.plan.passes),
        )
        self._report_log()
        if isinstance(self.space, DesignSpace):
            stopped = self._learn(self.space)
        else:
            self._measure(self.space)
            stopped = "all architectures are measured"
        self._summarise(stopped)
        self.progress.finish(self.stage, note=stopped)
        return self.profile

    def _learn(self, space: DesignSpace) -> str:
        """Measure in batches until it is enough; says why it is."""
        plan = self.plan
        rng = np.random.default_rng(plan.seed)
        self._measure(initial_architectures(space, plan.initial, plan.sampling, rng, plan.workload))
        self._measure([m.architecture for m in self._of_the_space()])  # passes that a kill cut off
        while True:
            counted = self._counted()
            enough = len(self.profile.measured) >= FEWEST_MEASUREMENTS
            if enough and self._error_is_met():
                return f"the error is at most {plan.target_error:g}"
            room = min(plan.batch, plan.max_measurements - counted)
            if room <= 0:
                return f"{counted} architectures are measured, the maximum"
            if enough:
                self._summarise(GOES_ON)  # so that it shows whether the error falls
            rng = np.random.default_rng([plan.seed, counted])
            known = [m.architecture for m in self.profile.measurements]
            batch = (
                propose(
                    self.profile.surrogate, space, known, room, pool_size=plan.pool_size, rng=rng
                )
                if enough
                else sampling.sample(space, min(room, space.cardinality()), rng)
            )
            self._measure(batch)
            if self._counted() == counted:
                return "the design space holds no further architecture"

    def _measure(self, architectures: Sequence[Architecture]) -> None:
        """Measure those not measured in every pass yet; each record is in the log at once."""
        wanted = self._admitted(architectures)
        for number in range(1, self.plan.passes + 1):
            done = {graph_hash for graph_hash, times in self._times().items() if times >= number}
            missing = [a for a in wanted if a.graph_hash not in done]
            if number > 1:  # in another order than in the pass before
                order = np.random.default_rng([self.plan.seed, number]).permutation(len(missing))
                missing = [missing[index] for index in order]
            if missing:
                self._pass(missing, number)

    def _admitted(self, architectures: Sequence[Architecture]) -> list[Architecture]:
        """Each once; of those never measured only so many as there is room for."""
        known = {m.architecture.graph_hash for m in self.profile.measurements}
        each = {a.graph_hash: a for a in architectures}
        new = [a for graph_hash, a in each.items() if graph_hash not in known]
        if isinstance(self.space, DesignSpace):
            new = new[: max(self.plan.max_measurements - self._counted(), 0)]
        return [*(a for graph_hash, a in each.items() if graph_hash in known), *new]

    def _pass(self, architectures: Sequence[Architecture], number: int) -> None:
        for measurement in self.measurer(architectures):
            self.log.append(measurement.to_dict())
            failed = measurement.failure is not None
            steps = self.plan.passes if failed and number == 1 else 1
            self.progress.advance(self.stage, steps=steps, note=self._note(measurement))
            if failed:
                name = measurement.architecture.graph_hash
                self.progress.log(f"{self.stage}: architecture {name}: {measurement.failure}")
        self.profile = self._load()

    def _times(self) -> dict[str, int]:
        """In how many passes each architecture was measured.

        One that failed, or that a more trustworthy mode has measured, needs no further pass.
        """
        passes, mode = self.plan.passes, self.plan.mode
        times = {name: min(count, passes) for name, count in self.profile.repeats.items()}
        return times | {
            m.architecture.graph_hash: passes
            for m in self.profile.measurements
            if m.failure is not None or m.mode != mode
        }

    def _passed(self) -> int:
        """Steps done: architectures of the space times the passes in which they were measured."""
        times = self._times()
        return sum(times[m.architecture.graph_hash] for m in self._of_the_space())

    def _measure_here(self, architectures: Sequence[Architecture]) -> Iterator[Measurement]:
        return measure(
            architectures,
            device=self.plan.device,
            engine=self.plan.make_engine(),
            workload=self.plan.workload,
            mode=self.plan.make_mode(),
            seed=self.plan.seed,
            power_source=self.power_source,
            folder=self.log.path.parent,
        )

    def _load(self) -> Profile:
        return Profile.load(
            self.log.path,
            key=self.key,
            least_mode=self.plan.mode,
            priors=self.warm_start,
            seed=self.plan.seed,
        )

    def _counted(self) -> int:
        """Architectures of the space that are measured, failed ones included."""
        return len(self._of_the_space())

    def _of_the_space(self) -> list[Measurement]:
        measurements = self.profile.measurements
        if isinstance(self.space, DesignSpace):
            return [m for m in measurements if self.space.contains(m.architecture)]
        wanted = {a.graph_hash for a in self.space}
        return [m for m in measurements if m.architecture.graph_hash in wanted]

    def _error_is_met(self) -> bool:
        qualities = [q for q in self.profile.quality.values() if q.predictable]
        return bool(qualities) and all(
            quality.mean_error <= self.plan.target_error for quality in qualities
        )

    def _note(self, measurement: Measurement) -> str:
        if measurement.latency_ms is None:
            return "failed"
        return f"{measurement.latency_ms.median:.3g} ms" + (
            "" if measurement.stable else ", unstable"
        )

    def _report_log(self) -> None:
        profile = self.profile
        for warning in profile.warnings:
            self.progress.log(f"{self.stage}: {warning}")
        if profile.others:
            self.progress.log(
                f"{self.stage}: {profile.others} records of other conditions are kept and not used"
            )
        outside = len(profile.measurements) - self._counted()
        if outside:
            self.progress.log(
                f"{self.stage}: {outside} measurements are of architectures outside the design "
                "space; they help to predict and do not count"
            )

    def _summarise(self, stopped: str) -> None:
        """Append the claimed error to the log, where it is not the last one there already."""
        profile = self.profile
        enough = len(profile.measured) >= FEWEST_MEASUREMENTS
        if not enough and isinstance(self.space, DesignSpace):
            _ = profile.surrogate  # raises, naming what failed
        summary: dict[str, Any] = {
            "kind": SUMMARY_KIND,
            "schema_version": SUMMARY_VERSION,
            "key": key_to_dict(self.key),
            "measured": len(profile.measured),
            "failed": len(profile.failed),
            "unstable": sum(not m.stable for m in profile.measured),
            "target_error": self.plan.target_error,
            "stopped": stopped,
            "claimed_error": {name: q.to_dict() for name, q in profile.quality.items()}
            if enough
            else {},
            "not_predictable": self._not_predictable(enough),
            "warnings": list(profile.warnings),
        }
        if profile.summary != summary:
            self.log.append(summary)
            profile.summary = summary
        if enough:
            profile.save_surrogate(self.log.path)

    def _not_predictable(self, enough: bool) -> dict[str, str]:
        reasons = dict(self.profile.missing)
        if enough:
            reasons |= {
                name: quality.reason
                for name, quality in self.profile.quality.items()
                if quality.reason is not None
            }
        return reasons


def _check_warm_start(plan: ProfilingPlan, warm_start: Sequence[Profile]) -> None:
    for profile in warm_start:
        theirs, ours = profile.key.workload, plan.workload
        for name in ("batch_size", "sequence_length"):
            if getattr(theirs, name) != getattr(ours, name):
                raise ProfilingError(
                    f"warm_start: {profile.device} was measured with {name} "
                    f"{getattr(theirs, name)}; allowed is {getattr(ours, name)}, the plan's"
                )
