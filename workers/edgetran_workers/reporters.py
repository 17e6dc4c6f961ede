"""Which reporter a resource's work has."""

from __future__ import annotations

from edgetran.api import CoDesignSearch, GPTranRun, ProfilingJob, Resource
from edgetran.runner import translate
from edgetran.runner.chain import Chain
from edgetran_workers.finalists_reporter import FinalistsReporter
from edgetran_workers.profiling_reporter import ProfilingReporter
from edgetran_workers.refinement_reporter import RefinementReporter
from edgetran_workers.search_reporter import SearchReporter
from edgetran_workers.summary import StatusReporter


def reporter_of(chain: Chain, resource: Resource) -> StatusReporter:
    """What the work on `resource`, a part of `chain`, tells of itself."""
    if isinstance(resource, ProfilingJob) and resource.spec.finalists_of is not None:
        return FinalistsReporter(resource)
    if isinstance(resource, ProfilingJob):
        return ProfilingReporter(resource)
    if isinstance(resource, CoDesignSearch):
        return SearchReporter(resource)
    assert isinstance(resource, GPTranRun)  # noqa: S101 - there are three kinds
    budgets = None if chain.setting is None else chain.setting.spec.constraints
    return RefinementReporter(translate.gptran_plan(resource.spec, budgets, resource.spec.seed))
