"""The search methods by name; each is a strategy in a module of its own."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from inspect import signature
from typing import Any, Final

from edgetran.search.asktell import Method, Strategy
from edgetran.search.candidates import SearchError
from edgetran.search.constraints import Constraints
from edgetran.search.objective import Objective
from edgetran.search.problem import Problem
from edgetran.search.spaces import SearchSpace

_STRATEGIES: Final = {
    "boschcode": ("edgetran.search.methods.boschcode", "Boschcode"),
    "random": ("edgetran.search.methods.random_search", "RandomSearch"),
    "local": ("edgetran.search.methods.local", "LocalSearch"),
    "evolution": ("edgetran.search.methods.evolution", "RegularisedEvolution"),
    "nsga2": ("edgetran.search.methods.nsga2", "NSGA2"),
    "bayesian": ("edgetran.search.methods.bayesian", "BayesianOptimisation"),
}

METHODS: Final = tuple(_STRATEGIES)
"""Names of the methods."""


def make_method(
    name: str,
    space: SearchSpace,
    *,
    objective: Objective,
    constraints: Constraints | None = None,
    seed: int = 0,
    initial: int = 6,
    **options: Any,
) -> Method:
    """The method called `name` on a space.

    Args:
        name: one of `METHODS`.
        space: where to search.
        objective: what to maximise.
        constraints: what the winner must satisfy.
        seed: source of all randomness: the same seed and tells give the same proposals.
        initial: number of spread-out candidates to begin with, the same for every method.
        options: keyword arguments of the strategy, e.g. `population` of `evolution`.

    Raises:
        SearchError: an unknown name or option.

    Example:
        >>> method = make_method("boschcode", space, objective=objective, seed=0)
        >>> for candidate in method.ask(2):
        ...     method.tell(candidate, evaluate(candidate))
    """
    if name not in _STRATEGIES:
        raise SearchError(f"method: {name!r} given; allowed are {', '.join(METHODS)}")
    module, attribute = _STRATEGIES[name]
    factory: Callable[..., Strategy] = getattr(import_module(module), attribute)
    allowed = tuple(signature(factory).parameters)
    for option in options:
        if option not in allowed:
            known = f"allowed are {', '.join(allowed)}" if allowed else "it has no options"
            raise SearchError(f"method {name}: {option!r} given; {known}")
    problem = Problem(space, objective, constraints or Constraints())
    return Method(name, problem, factory(**options), seed=seed, initial=initial)
