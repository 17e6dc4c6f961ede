"""Search of architecture and device: objective, constraints, Pareto front, methods, the loop."""

from edgetran.search.asktell import Method, Observation, Proposal
from edgetran.search.candidates import (
    HARDWARE_MEASURES,
    MEASURES,
    Candidate,
    Measures,
    SearchError,
)
from edgetran.search.constraints import Bound, Constraints
from edgetran.search.logs import PROPOSALS_NAME, read_result, read_trials
from edgetran.search.loop import Pool, SearchFailedError, run_search
from edgetran.search.methods import METHODS, make_method
from edgetran.search.objective import Objective, Range, Weights
from edgetran.search.pareto import costs, hypervolume, pareto_front
from edgetran.search.plan import SearchPlan
from edgetran.search.problem import InfeasibleSearchError, Problem, make_problem
from edgetran.search.result import SearchResult, front_hypervolume
from edgetran.search.spaces import FiniteSpace, PairSpace, SearchSpace
from edgetran.search.trials import Evaluation, PlannedTrial, Trial

__all__ = [
    "HARDWARE_MEASURES",
    "MEASURES",
    "METHODS",
    "PROPOSALS_NAME",
    "Bound",
    "Candidate",
    "Constraints",
    "Evaluation",
    "FiniteSpace",
    "InfeasibleSearchError",
    "Measures",
    "Method",
    "Objective",
    "Observation",
    "PairSpace",
    "PlannedTrial",
    "Pool",
    "Problem",
    "Proposal",
    "Range",
    "SearchError",
    "SearchFailedError",
    "SearchPlan",
    "SearchResult",
    "SearchSpace",
    "Trial",
    "Weights",
    "costs",
    "front_hypervolume",
    "hypervolume",
    "make_method",
    "make_problem",
    "pareto_front",
    "read_result",
    "read_trials",
    "run_search",
]
