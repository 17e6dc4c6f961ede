"""Builders of child objects: functions of a run without side effects."""

from edgetran_operator.children.access import access
from edgetran_operator.children.claim import claim
from edgetran_operator.children.implied import implied_child
from edgetran_operator.children.job import made_from, worker_job
from edgetran_operator.children.network import network_policy
from edgetran_operator.children.pod import pod_template, worker_pod
from edgetran_operator.children.ray_job import ray_job
from edgetran_operator.children.restrict import device_problems, podtemplate_problems
from edgetran_operator.children.results import results_part
from edgetran_operator.children.run import COMPONENTS, Inputs, Run
from edgetran_operator.children.work import new_work, work_child

__all__ = [
    "COMPONENTS",
    "Inputs",
    "Run",
    "access",
    "claim",
    "device_problems",
    "implied_child",
    "made_from",
    "network_policy",
    "new_work",
    "pod_template",
    "podtemplate_problems",
    "ray_job",
    "results_part",
    "work_child",
    "worker_job",
    "worker_pod",
]
