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
from edgetran.search.finalists import Finalists, Pool
from edgetran.search.logs import PROPOSALS_NAME, read_result, read_trials
from edgetran.search.loop import SearchFailedError, run_search
from edgetran.search.methods import (
    DEFAULT_METHOD,
    METHODS,
    check_method,
    installed_methods,
    make_method,
)
from edgetran.search.objective import Front, Objective, Range, Weights
from edgetran.search.pareto import costs, hypervolume, pareto_front
from edgetran.search.picking import pick
from edgetran.search.plan import SearchPlan
from edgetran.search.problem import InfeasibleSearchError, Problem, make_problem
from edgetran.search.result import SearchResult, front_hypervolume, shortfall
from edgetran.search.spaces import FiniteSpace, PairSpace, SearchSpace
from edgetran.search.table import PlainSearch, make
from edgetran.search.trials import (
    FIDELITIES,
    FULL_TRAINING,
    SHARED_WEIGHTS,
    SHORT_TRAINING,
    Evaluation,
    PlannedTrial,
    Trial,
)

__all__ = [
    "DEFAULT_METHOD",
    "FIDELITIES",
    "FULL_TRAINING",
    "HARDWARE_MEASURES",
    "MEASURES",
    "METHODS",
    "PROPOSALS_NAME",
    "SHARED_WEIGHTS",
    "SHORT_TRAINING",
    "Bound",
    "Candidate",
    "Constraints",
    "Evaluation",
    "Finalists",
    "FiniteSpace",
    "Front",
    "InfeasibleSearchError",
    "Measures",
    "Method",
    "Objective",
    "Observation",
    "PairSpace",
    "PlainSearch",
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
    "check_method",
    "costs",
    "front_hypervolume",
    "hypervolume",
    "installed_methods",
    "make",
    "make_method",
    "make_problem",
    "pareto_front",
    "pick",
    "read_result",
    "read_trials",
    "run_search",
    "shortfall",
]
