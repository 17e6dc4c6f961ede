"""Builders of child objects: functions of a run without side effects."""

from edgetran.api.wire import COMPONENTS
from edgetran_operator.resources.access import access
from edgetran_operator.resources.job import made_from, worker_job
from edgetran_operator.resources.network import network_policy
from edgetran_operator.resources.objects import claim, implied_child, results_part
from edgetran_operator.resources.pod import pod_template, worker_pod
from edgetran_operator.resources.ray_job import ray_job
from edgetran_operator.resources.restrict import device_problems, podtemplate_problems
from edgetran_operator.resources.run import Inputs, Run
from edgetran_operator.resources.serving import (
    ServedWinner,
    made_from_of,
    serving_children,
)
from edgetran_operator.resources.work import new_work, work_child

__all__ = [
    "COMPONENTS",
    "Inputs",
    "Run",
    "ServedWinner",
    "access",
    "claim",
    "device_problems",
    "implied_child",
    "made_from",
    "made_from_of",
    "network_policy",
    "new_work",
    "pod_template",
    "podtemplate_problems",
    "ray_job",
    "results_part",
    "serving_children",
    "work_child",
    "worker_job",
    "worker_pod",
]
