"""Which story a resource's work has."""

from __future__ import annotations

from edgetran.api import CoDesignSearch, GPTranRun, ProfilingJob, Resource
from edgetran.runner import translate
from edgetran.runner.chain import Chain
from edgetran_workers.profiling_story import ProfilingStory
from edgetran_workers.refinement_story import RefinementStory
from edgetran_workers.search_story import SearchStory
from edgetran_workers.summary import Story


def story_of(chain: Chain, resource: Resource) -> Story:
    """What the work on `resource`, a part of `chain`, tells of itself."""
    if isinstance(resource, ProfilingJob):
        return ProfilingStory(resource)
    if isinstance(resource, CoDesignSearch):
        return SearchStory(resource)
    assert isinstance(resource, GPTranRun)  # noqa: S101 - there are three kinds
    budgets = None if chain.setting is None else chain.setting.spec.constraints
    return RefinementStory(translate.gptran_plan(resource.spec, budgets, resource.spec.seed))
