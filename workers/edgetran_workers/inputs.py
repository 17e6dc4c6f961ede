"""Results of other runs that a worker builds on, brought to where the library reads them."""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath

from edgetran.api import FinalistsSource
from edgetran.api.wire import CLAIM
from edgetran.records import RecordError
from edgetran.runner.chain import Chain
from edgetran.runner.finalist_rows import measurable_rows
from edgetran.runner.folder import RunFolder
from edgetran.runner.prior_results import DependencyError, PriorResults
from edgetran.search import SearchError, read_result
from edgetran_workers.pod_paths import PodPaths
from edgetran_workers.storage import RemoteFolder
from edgetran_workers.work import Work, read_profiles


def prior_results(work: Work, chain: Chain, paths: PodPaths) -> PriorResults:
    """What other runs have done for this one.

    Raises:
        DependencyError: something is missing or cannot be used.
        StorageError: the storage of the search does not answer.
    """
    if chain.finalists_of is not None:
        return PriorResults(finalists=_finalists(work, chain.finalists_of, paths))
    with tempfile.TemporaryDirectory(prefix="edgetran-inputs-") as folder:
        profiles = read_profiles(work, chain, Path(folder))
    return PriorResults(profiles, None if chain.searched is None else _search(work, chain, paths))


def base_of(chain: Chain, paths: PodPaths) -> Path:
    """Where paths in the resources begin: in the task's data, else in the storage."""
    main = chain.setting or chain.refinement
    apart = main is not None and main.spec.data is not None
    return paths.data if apart else paths.storage


def device_of(chain: Chain, prior: PriorResults) -> str:
    """Name of the device that a refinement is for; empty for other work.

    Raises:
        DependencyError: the search has no winner.
    """
    if prior.search is not None:
        return _winner(chain, prior.search)[1]
    refinement = chain.refinement
    return (
        "" if refinement is None or refinement.spec.device is None else refinement.spec.device.name
    )


def _search(work: Work, chain: Chain, paths: PodPaths) -> RunFolder:
    """The run's folder of the search whose winner is refined, as far as it is needed."""
    assert chain.searched is not None  # noqa: S101 - the caller has asked
    folder, remote = _kept(work, chain.searched.label, paths)
    if remote is not None:
        remote.restore(lambda name: name.endswith((".jsonl", "/trial.json")))
        checkpoint, _ = _winner(chain, folder)
        inside = (folder.search_checkpoints / checkpoint).relative_to(folder.path).as_posix()
        remote.restore(lambda name: name.startswith(f"{inside}/"))
    return folder


def _finalists(work: Work, source: FinalistsSource, paths: PodPaths) -> RunFolder:
    """The run's folder whose finalists are measured: its result and their artefacts."""
    folder, remote = _kept(work, f"{source.kind}/{source.name}", paths)
    if remote is not None:
        remote.restore(lambda name: name == folder.result.name)
        if folder.complete:
            result = folder.read_result()
            told = [row["artifact"]["path"] for row in measurable_rows(result).values()]
            places = tuple(f"{PurePosixPath(path).parent}/" for path in told)
            remote.restore(lambda name: name.startswith(places))
    return folder


def _kept(work: Work, label: str, paths: PodPaths) -> tuple[RunFolder, RemoteFolder | None]:
    """The folder of a run that is built on, and where it is to be fetched from, if it is."""
    if work.search is None:
        raise DependencyError(f"{label}: work.json does not say where its run is")
    if work.search.storage == CLAIM:
        path = paths.search / work.search.folder
        if not path.is_dir():
            raise DependencyError(f"{label}: there is no folder {path}")
        return RunFolder(path), None
    # A path that stays the same: trials are known by it.
    path = Path(tempfile.gettempdir(), "edgetran-search", work.search.folder)
    return RunFolder(path), RemoteFolder(work.search.storage, work.search.folder, path)


def _winner(chain: Chain, folder: RunFolder) -> tuple[str, str]:
    """Checkpoint and device of the search's winner."""
    label = "" if chain.searched is None else chain.searched.label
    try:
        best = read_result(folder.trials).best
    except (SearchError, RecordError, OSError) as error:
        raise DependencyError(f"{label}: {error}") from None
    if best is None:
        raise DependencyError(f"{label}: it has no winner")
    trial, evaluation = best
    return trial.checkpoint or "", evaluation.candidate.device
