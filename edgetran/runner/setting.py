"""The task of a run, as all its trials see it."""

from __future__ import annotations

from dataclasses import dataclass

from edgetran.devices import Workload
from edgetran.training import EncodedTask, TrialSpec


@dataclass(frozen=True)
class TaskSetting:
    """The task as trials see it.

    Attributes:
        trial: a trial's specification but for its architecture, seed and output.
        data: the task, loaded and tokenised.
        workload: what the devices run, with the task's vocabulary and labels.
    """

    trial: TrialSpec
    data: EncodedTask
    workload: Workload
