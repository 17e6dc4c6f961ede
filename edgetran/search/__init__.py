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
from edgetran.search.methods import METHODS, make_method
from edgetran.search.objective import Objective, Range, Weights
from edgetran.search.pareto import costs, hypervolume, pareto_front
from edgetran.search.problem import InfeasibleSearchError, Problem, make_problem
from edgetran.search.spaces import FiniteSpace, HardwarePredictor, PairSpace, SearchSpace

__all__ = [
    "HARDWARE_MEASURES",
    "MEASURES",
    "METHODS",
    "Bound",
    "Candidate",
    "Constraints",
    "FiniteSpace",
    "HardwarePredictor",
    "InfeasibleSearchError",
    "Measures",
    "Method",
    "Objective",
    "Observation",
    "PairSpace",
    "Problem",
    "Proposal",
    "Range",
    "SearchError",
    "SearchSpace",
    "Weights",
    "costs",
    "hypervolume",
    "make_method",
    "make_problem",
    "pareto_front",
]
