"""`edgetran profile export` and `import`: what was measured of a device, from run to run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from edgetran import api
from edgetran.api import SpecError
from edgetran.profiling import Profile, check_prior, export_profile, import_profile
from edgetran.records import write_atomically
from edgetran.runner.chain import plan_chain
from edgetran.runner.devices import profiling_plan
from edgetran.runner.folder import RunFolder, RunFolderError
from edgetran.runner.translate import workload

RUNS: Final = Path("runs")
"""Where runs lie whose folder was not given."""

_KIND: Final = ("board", "cpu_model", "architecture", "instruction_sets", "accelerators")
"""What of a host says which kind of device it is."""


def export_device(run: Path, device: str | None, target: Path) -> tuple[Profile, str]:
    """Write the profile of one of a run's devices to a file; it, and the file's SHA-256.

    Args:
        run: the run's folder, or its name below `runs`.
        device: which device; the only one where None.
        target: the file.

    Raises:
        RunFolderError: no such run, or no such device of it.
        ProfilingError: its log cannot be read.
    """
    path = run if run.exists() or len(run.parts) > 1 else RUNS / run
    folder = RunFolder(path)
    known = sorted(each.stem for each in folder.profiles.glob("*.jsonl"))
    if not known:
        raise RunFolderError(f"{path}: holds no profile; give the folder of a run that measured")
    if device is None and len(known) > 1:
        raise RunFolderError(f"{path}: holds several profiles; give --device {'|'.join(known)}")
    name = device or known[0]
    if name not in known:
        raise RunFolderError(f"{path}: holds no profile of {name}; allowed are {', '.join(known)}")
    profile = Profile.load(folder.profile(name))
    return profile, export_profile(profile, target, kind=_kind(folder))


def import_into(file: Path, run: Path) -> tuple[Profile, Path]:
    """Put an exported profile into a run's folder; it, and where it is.

    Args:
        file: what `export_device` wrote.
        run: the run's folder, which may be new.

    Raises:
        ProfilingError: it is no profile, was changed, or does not fit what the run measures.
        RunFolderError: the folder is no run's.
    """
    profile = import_profile(file)
    folder = RunFolder(run)
    if folder.spec.exists():
        _check(profile, file, folder)
    elif run.exists() and any(
        not each.name.startswith(".") and each != folder.priors for each in run.iterdir()
    ):
        raise RunFolderError(f"{run}: is not the folder of a run; give a new one with --output")
    target = folder.priors / f"{file.stem}.json"
    content = file.read_bytes()
    if target.exists() and target.read_bytes() != content:
        raise RunFolderError(f"{target}: is another profile of that name; rename {file.name}")
    write_atomically(target, content)
    return profile, target


def _check(profile: Profile, file: Path, folder: RunFolder) -> None:
    """Refuse what fits none of the devices that the run measures."""
    try:
        jobs = plan_chain(api.load_bundle(folder.spec)).jobs
    except SpecError as error:
        raise RunFolderError(f"{folder.spec}: {error}") from None
    if not jobs:
        raise RunFolderError(f"{folder.path}: this run measures no device")
    size = profile.key.workload
    plans = [
        profiling_plan(
            job,
            workload(job.spec.workload, vocab_size=size.vocab_size, num_labels=size.num_labels),
        )
        for job in jobs
    ]
    fits = {
        (p.engine, p.precision, p.workload.batch_size, p.workload.sequence_length) for p in plans
    }
    key = profile.key
    if (key.engine, key.precision, size.batch_size, size.sequence_length) not in fits:
        check_prior(profile, plans[0], str(file))


def _kind(folder: RunFolder) -> Mapping[str, Any]:
    """What the run's result says of the machine that it measured."""
    if not folder.complete:
        return {}
    host = folder.read_result().get("host") or {}
    return {name: host[name] for name in _KIND if host.get(name)}
