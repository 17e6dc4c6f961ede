"""What one machine or one worker is asked to do: profiling jobs, a search, a refinement."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgetran import api
from edgetran.api import (
    Bundle,
    CoDesignSearch,
    Device,
    GPTranRun,
    ProfilingJob,
    Resource,
    SearchDevice,
    SpecError,
    SpecProblem,
)
from edgetran.api.allowances import NO_COMMANDS, MeterAllowance, meter_problems
from edgetran.api.errors import path_text
from edgetran.api.field_errors import forbidden, invalid, required, unsupported
from edgetran.devices import simulated_device
from edgetran.search import SearchError, check_method


@dataclass(frozen=True)
class Chain:
    """The resources of a run.

    Attributes:
        resources: as they were given, in order.
        jobs: profiling jobs, given or implied, in the order in which they run.
        search: the search; None where the run has none.
        refinement: the GPTran run, given or implied by the search; None where there is none.
        searched: the search whose winner is refined, where another run has done it.
        meters: which meters of devices may be read.
    """

    resources: tuple[Resource, ...]
    jobs: tuple[ProfilingJob, ...]
    search: CoDesignSearch | None
    refinement: GPTranRun | None
    searched: CoDesignSearch | None = None
    meters: MeterAllowance = NO_COMMANDS

    @property
    def setting(self) -> CoDesignSearch | None:
        """The search that decides task, devices and workload, whether or not it runs here."""
        return self.search or self.searched

    @property
    def name(self) -> str:
        """Name of the run: the search's, else the refinement's, else the first job's."""
        main = self.search or self.refinement or self.jobs[0]
        return main.metadata.name

    @property
    def seed(self) -> int:
        """The seed of the resource that the run is named after."""
        main = self.search or self.refinement or self.jobs[0]
        return main.spec.seed

    @property
    def devices(self) -> tuple[SearchDevice, ...]:
        """The devices to choose from; for a refinement alone its own one."""
        if self.setting is not None:
            return self.setting.spec.devices
        if self.refinement is not None and self.refinement.spec.device is not None:
            return (self.refinement.spec.device,)
        return ()

    @property
    def task(self) -> api.TaskSource | None:
        """The task; None where nothing is trained."""
        if self.setting is not None:
            return self.setting.spec.task
        return None if self.refinement is None else self.refinement.spec.task

    @property
    def workload(self) -> api.WorkloadSpec:
        """What the devices run."""
        if self.setting is not None:
            return self.setting.spec.workload
        if self.refinement is not None:
            return self.refinement.spec.workload or api.WorkloadSpec()
        return self.jobs[0].spec.workload

    @property
    def asking_for_exports(self) -> GPTranRun | CoDesignSearch | None:
        """Whose `spec.export` counts: the refinement's, else the search's; None without any."""
        asking = (self.refinement, self.setting)
        return next((each for each in asking if each and each.spec.export is not None), None)

    @property
    def exports(self) -> tuple[api.ExportTarget, ...] | None:
        """As what the winner is to be handed over; None for what its devices run."""
        asking = self.asking_for_exports
        return None if asking is None else asking.spec.export

    @property
    def finalists_of(self) -> api.FinalistsSource | None:
        """The run whose finalists are all that is measured; None for other work."""
        return self.jobs[0].spec.finalists_of if self.jobs and self.setting is None else None

    def job_for(self, device: SearchDevice) -> ProfilingJob | None:
        """The job that measures a device to choose from; None for a simulated one."""
        names = {job.name: job for job in self.jobs}
        if device.profile_ref is not None:
            return names[device.profile_ref.name]
        if device.simulation is not None:
            return None
        if self.setting is not None:
            return names.get(api.profiling_job_name(self.setting.name, device.name))
        return next((job for job in self.jobs if job.spec.device.name == device.name), None)


def plan_chain(bundle: Bundle, meters: MeterAllowance = NO_COMMANDS) -> Chain:
    """The chain that a bundle asks for.

    Args:
        bundle: what is asked for.
        meters: which meters of devices may be read; by default any that is no command.

    Raises:
        SpecError: the bundle holds more than one search or refinement, two jobs of one device
            name, or something that one machine cannot do: a device reached by labels of cluster
            nodes, a RayJob, suspended work.
    """
    problems = [*_too_many(bundle), *impossible(bundle.resources, in_cluster=False)]
    problems += refused_meters(bundle.resources, meters)
    searches, refinements = bundle.of_kind(CoDesignSearch), bundle.of_kind(GPTranRun)
    jobs = bundle.of_kind(ProfilingJob)
    names: dict[str, ProfilingJob] = {}
    for job in jobs:
        first = names.setdefault(job.spec.device.name, job)
        if first is not job:
            problems.append(
                problem_of(
                    job,
                    "spec.device.name",
                    forbidden(
                        f"{job.spec.device.name} is measured by {first.label} too; one machine "
                        "takes one ProfilingJob per device name"
                    ),
                )
            )
    if problems:
        raise SpecError(problems)
    search = searches[0] if searches else None
    refinement = refinements[0] if refinements else None
    implied: tuple[ProfilingJob, ...] = ()
    if search is not None:
        implied = tuple(api.implied_profiling_jobs(search).values())
        refinement = refinement or api.implied_refinement(search)
        clash = next((job for job in implied if job.spec.device.name in names), None)
        if clash is not None:
            name = clash.spec.device.name
            raise SpecError(
                [
                    problem_of(
                        search,
                        f"spec.devices[{name}].profileRef",
                        required(
                            f"{names[name].label} measures a device of this name: give its name, "
                            f"{{name: {names[name].metadata.name}}}, or the device another one"
                        ),
                    )
                ]
            )
    return Chain(bundle.resources, (*jobs, *implied), search, refinement, meters=meters)


def _too_many(bundle: Bundle) -> list[SpecProblem]:
    problems = []
    for kind in (CoDesignSearch, GPTranRun):
        first, *others = bundle.of_kind(kind) or (None,)
        problems += [
            problem_of(
                other,
                "",
                f"stands beside {first.label}, and one run takes one {other.kind}: run the "
                "others from files of their own",
            )
            for other in others
            if first is not None and other is not None
        ]
    for search in bundle.of_kind(CoDesignSearch):
        if search.spec.refine is not None and bundle.of_kind(GPTranRun):
            problems.append(
                problem_of(
                    search,
                    "spec.refine",
                    forbidden(
                        f"may not be set together with {bundle.of_kind(GPTranRun)[0].label} in one "
                        "run"
                    ),
                )
            )
    return problems


def impossible(resources: Iterable[Resource], *, in_cluster: bool) -> list[SpecProblem]:
    """What cannot be done: on one machine, or wherever it is tried."""
    problems = []
    for resource in resources:
        spec = getattr(resource, "spec")  # noqa: B009 - each kind has its own
        if spec.suspend and not in_cluster:
            problems.append(
                problem_of(
                    resource,
                    "spec.suspend",
                    invalid(True, "must be false to run it here (--set spec.suspend=false)"),
                )
            )
        ray = getattr(spec, "ray", None)
        if ray is not None and ray.mode == "kuberay" and not in_cluster:
            problems.append(
                problem_of(
                    resource,
                    "spec.ray.mode",
                    invalid("kuberay", "must be local or cluster on one machine"),
                )
            )
        if isinstance(resource, ProfilingJob) and resource.spec.device.simulation is not None:
            problems.append(
                problem_of(
                    resource,
                    "spec.device.simulation",
                    forbidden(
                        "a simulated device is calculated, not measured; use "
                        + ("nodeSelector" if in_cluster else "host: true")
                    ),
                )
            )
        if (
            isinstance(resource, ProfilingJob)
            and resource.spec.finalists_of is not None
            and not in_cluster
        ):
            problems.append(
                problem_of(
                    resource,
                    "spec.finalistsOf",
                    "given, but on one machine a run measures its finalists itself at its end; "
                    "allowed here is designSpace or models",
                )
            )
        if isinstance(resource, CoDesignSearch):
            problems += _no_such_method(resource)
        for path, device in _devices(resource):
            problems += _no_such_precision(resource, path, device)
            if device.node_selector is not None and not in_cluster:
                problems.append(
                    problem_of(
                        resource,
                        f"{path}.nodeSelector",
                        forbidden(
                            "one machine has no cluster nodes; use host: true or simulation: NAME "
                            "(see `edgetran devices`)"
                        ),
                    )
                )
    return problems


def refused_meters(resources: Iterable[Resource], meters: MeterAllowance) -> list[SpecProblem]:
    """Meters that may not be read."""
    return [
        problem_of(resource, path_text(path), sentence)
        for resource in resources
        for path, sentence in meter_problems(resource, meters)
    ]


def _no_such_method(search: CoDesignSearch) -> list[SpecProblem]:
    try:
        check_method(search.spec.search.method)
    except SearchError as error:
        return [problem_of(search, "spec.search.method", str(error).removeprefix("method: "))]
    return []


def _no_such_precision(resource: Resource, path: str, device: Device) -> list[SpecProblem]:
    if device.simulation is None:
        return []
    precisions = simulated_device(device.simulation).precisions
    if device.precision in precisions:
        return []
    return [
        problem_of(
            resource,
            f"{path}.precision",
            unsupported(device.precision, precisions) + f" of {device.simulation}",
        )
    ]


def _devices(resource: Resource) -> list[tuple[str, Device]]:
    if isinstance(resource, ProfilingJob):
        return [("spec.device", resource.spec.device)]
    if isinstance(resource, CoDesignSearch):
        return [(f"spec.devices[{i}]", device) for i, device in enumerate(resource.spec.devices)]
    if isinstance(resource, GPTranRun) and resource.spec.device is not None:
        return [("spec.device", resource.spec.device)]
    return []


def problem_of(resource: Resource, path: str, message: str) -> SpecProblem:
    """A problem at a place of a resource."""
    return SpecProblem(resource.source, resource.label, path, message)
