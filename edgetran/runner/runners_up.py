"""The next best of a search, made ready to be measured where its winner loses to the baseline.

Whether a winner is as good as predicted shows on its board alone, and there nothing is left to make
another artefact from: so those that may take its place are scored while their search concludes.
"""

from __future__ import annotations

from edgetran.runner.chain import Chain
from edgetran.runner.finalist_rows import RUNNER_UP
from edgetran.runner.finals import Finalist
from edgetran.runner.folder import RunFolder
from edgetran.runner.training_history import TrainingHistory
from edgetran.search import SearchResult


def runners_up(
    chain: Chain, folder: RunFolder, search: SearchResult | None, measured_here: frozenset[str]
) -> dict[str, tuple[int, Finalist]]:
    """The next best and the numbers of their trials, by `runnerUp1` and so on.

    None where the winner is measured by the same run, or never: on a simulated device, or on
    whatever node a pod gets; where it is refined first, or has no baseline to lose to.
    """
    if chain.search is None or search is None or search.best is None:
        return {}
    spec, device = chain.search.spec, search.best[1].candidate.device
    on_a_board = any(each.name == device and each.node_selector for each in spec.devices)
    if spec.refine or spec.baseline is None or not on_a_board or device in measured_here:
        return {}
    found: dict[str, tuple[int, Finalist]] = {}
    for trial, _ in search.runners_up(spec.verification.candidates - 1):
        checkpoint = folder.search_checkpoints / (trial.checkpoint or "")
        if trial.checkpoint is None or not checkpoint.is_dir():
            continue
        finalist = Finalist(
            title=f"Next best (trial {trial.number})",
            device=device,
            checkpoint=checkpoint,
            history=TrainingHistory.of_trial(trial, search.trials, folder.search_checkpoints),
        )
        found[f"{RUNNER_UP}{len(found) + 1}"] = trial.number, finalist
    return found
