"""Profiles of a run's devices: measured on this host, or taken over from other runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgetran import api
from edgetran.api import ProfilingJob
from edgetran.devices import Workload
from edgetran.profiling import (
    Profile,
    ProfilingError,
    ProfilingPlan,
    check_prior,
    import_profile,
    profile_device,
)
from edgetran.progress import Progress
from edgetran.runner import translate
from edgetran.runner.chain import Chain
from edgetran.runner.devices import power_source, profiling_plan
from edgetran.runner.folder import RunFolder
from edgetran.runner.model_import import given_model, relatives
from edgetran.runner.parent import design_space_of
from edgetran.runner.prior_results import PriorResults
from edgetran.space import Architecture, DesignSpace


def profile_devices(
    chain: Chain,
    folder: RunFolder,
    progress: Progress,
    workload: Workload,
    *,
    prior: PriorResults,
    base: Path,
) -> dict[str, Profile]:
    """Profiles by device: of every one that is not simulated, in the order of the resources.

    Args:
        chain: what is asked for.
        folder: keeps what is measured here.
        progress: shows how far it is.
        workload: of the run, with the vocabulary and labels of its task.
        prior: profiles that are not measured again.
        base: where relative paths begin.

    Raises:
        ProfilingError, EngineError: a device cannot be measured.
    """
    by_job: dict[str, Profile] = dict(prior.profiles)
    for job in chain.jobs:
        if job.name in prior.profiles:
            continue
        warm = [
            by_job[reference.name]
            for reference in job.spec.warm_start_from or ()
            if reference.name in by_job
        ]
        plan = profiling_plan(job, _job_workload(job, workload))
        warm += imported_priors(job, plan, folder, base).values()
        by_job[job.name] = profile_device(
            plan,
            _architectures(job, base),
            folder.profile(job.spec.device.name),
            progress,
            power_source=power_source(job.spec.device, chain.meters),
            warm_start=warm,
        )
    profiles = {job.spec.device.name: by_job[job.name] for job in chain.jobs}
    for device in chain.devices:
        measuring = chain.job_for(device)
        if measuring is not None:
            profiles[device.name] = by_job[measuring.name]
    return profiles | _refined_device(chain, folder, progress, workload, profiles, base)


def imported_priors(
    job: ProfilingJob, plan: ProfilingPlan, folder: RunFolder, base: Path
) -> dict[Path, Profile]:
    """The profiles that a job starts from, by file: those that it names, and the folder's.

    Args:
        job: the job.
        plan: what it measures.
        folder: the run's folder, into which `edgetran profile import` put some; those of another
            engine, precision, batch or length are other jobs'.
        base: where relative paths begin.

    Raises:
        ProfilingError: a file that is no profile, or that the job names and does not fit.
    """
    found = {}
    for named in job.spec.priors or ():
        found[base / named] = prior = _read_prior(base / named, job)
        check_prior(prior, plan, named)
    for path in sorted(folder.priors.glob("*.json")):
        prior = _read_prior(path, job)
        try:
            check_prior(prior, plan, str(path))
        except ProfilingError:
            continue
        found[path] = prior
    return found


def check_priors(jobs: Sequence[ProfilingJob], folder: RunFolder, base: Path) -> None:
    """Read every imported profile before anything is measured.

    Raises:
        ProfilingError: one that cannot be used, or that fits none of the jobs.
    """
    used: set[Path] = set()
    plans = [profiling_plan(job, Workload(**job.spec.workload.model_dump())) for job in jobs]
    for job, plan in zip(jobs, plans, strict=True):
        used |= imported_priors(job, plan, folder, base).keys()
    for path in sorted(folder.priors.glob("*.json")):
        if path in used:
            continue
        if not plans:
            raise ProfilingError(f"{path}: is given, but this run measures no device")
        check_prior(import_profile(path), plans[-1], str(path))


def _read_prior(path: Path, job: ProfilingJob) -> Profile:
    try:
        return import_profile(path, seed=job.spec.seed)
    except OSError as error:
        raise ProfilingError(f"{path}: {error.strerror or error}") from None


def measured_here(profiles: Mapping[str, Profile], prior: PriorResults) -> frozenset[str]:
    """Names of the devices whose profiles were not taken over."""
    others = {id(profile) for profile in prior.profiles.values()}
    return frozenset(name for name, profile in profiles.items() if id(profile) not in others)


def _job_workload(job: ProfilingJob, workload: Workload) -> Workload:
    """The job's own batch and length, with the vocabulary and labels of the run's task."""
    return translate.workload(
        job.spec.workload, vocab_size=workload.vocab_size, num_labels=workload.num_labels
    )


def _architectures(job: ProfilingJob, base: Path) -> DesignSpace | Sequence[Architecture]:
    if job.spec.design_space is not None:
        return design_space_of(job.spec, base)
    length = job.spec.workload.sequence_length
    return [given_model(base / path, length).architecture for path in job.spec.models or ()]


def _refined_device(
    chain: Chain,
    folder: RunFolder,
    progress: Progress,
    workload: Workload,
    profiles: Mapping[str, Profile],
    base: Path,
) -> dict[str, Profile]:
    """A refinement of a given model on this host needs a profile of that model and its kin."""
    refinement = chain.refinement
    if chain.setting is not None or refinement is None or refinement.spec.device is None:
        return {}
    device = refinement.spec.device
    if device.simulation is not None or device.name in profiles:
        return {}
    given = given_model(base / (refinement.spec.model or ""), workload.sequence_length)
    job = api.ProfilingJob(
        api_version=api.API_VERSION,
        kind="ProfilingJob",
        metadata=api.ObjectMeta(name=device.name),
        spec=api.ProfilingJobSpec.model_validate(
            {
                "device": api.Device.model_validate(
                    {name: getattr(device, name) for name in api.Device.model_fields}
                ),
                "design_space": {"preset": "tiny"},
                "sampling": {"initial": 12, "max_measurements": 24},
                "workload": chain.workload,
                "measurement": {"mode": "quick"},
                "seed": refinement.spec.seed,
            }
        ),
    )
    return {
        device.name: profile_device(
            profiling_plan(job, workload),
            relatives(given.architecture, refinement.spec.seed),
            folder.profile(device.name),
            progress,
            power_source=power_source(device, chain.meters),
        )
    }
