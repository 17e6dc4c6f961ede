"""The search methods by name: those of this package, and those that others install.

A method of somebody else's is a strategy (see `edgetran.search.asktell.Strategy`) that an installed
package names in the group `edgetran.search_methods` of its entry points:

    [project.entry-points."edgetran.search_methods"]
    annealing = "my_package.annealing:Annealing"

Its name is then valid wherever a method is named. What it raises when it is called is told as the
reason why it cannot be used, so a method may ask for a package that is not there.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from inspect import signature
from typing import Any, Final

from edgetran.api.field_errors import unsupported
from edgetran.search.asktell import Method, Strategy
from edgetran.search.candidates import SearchError
from edgetran.search.constraints import Constraints
from edgetran.search.objective import Objective
from edgetran.search.problem import Problem
from edgetran.search.spaces import SearchSpace

GROUP: Final = "edgetran.search_methods"
"""The group of entry points that names the methods of other packages."""

DEFAULT_METHOD: Final = "bayesian"
"""The method that is used where none is named; `benchmarks/search.py` compares it with others."""

_STRATEGIES: Final = {
    "bayesian": "edgetran.search.methods.bayesian:BayesianOptimisation",
    "boschcode": "edgetran.search.methods.boschcode:Boschcode",
    "random": "edgetran.search.methods.random_search:RandomSearch",
    "local": "edgetran.search.methods.local:LocalSearch",
    "evolution": "edgetran.search.methods.evolution:RegularisedEvolution",
    "nsga2": "edgetran.search.methods.nsga2:NSGA2",
}

_EXTRAS: Final = {
    "optuna-tpe": ("optuna", "edgetran.search.methods.optuna_samplers:tpe"),
    "optuna-nsga2": ("optuna", "edgetran.search.methods.optuna_samplers:nsga2"),
    "optuna-nsga3": ("optuna", "edgetran.search.methods.optuna_samplers:nsga3"),
    "optuna-gp": ("optuna", "edgetran.search.methods.optuna_samplers:gaussian_process"),
}
"""Methods of this package that need another one, with its name."""

METHODS: Final = tuple(_STRATEGIES)
"""Names of the methods of this package."""


def installed_methods() -> tuple[str, ...]:
    """Names of all methods: those of this package, then those that others install, sorted."""
    others = {entry.name for entry in entry_points(group=GROUP)}
    others |= {name for name, (package, _) in _EXTRAS.items() if find_spec(package) is not None}
    return METHODS + tuple(sorted(others - set(METHODS)))


def check_method(name: str) -> None:
    """See to it that a method is installed, before anything long begins.

    Raises:
        SearchError: it is not; names those that are.
    """
    if name not in _STRATEGIES:
        _factory(name)


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
        name: one of `installed_methods()`.
        space: where to search.
        objective: what to maximise.
        constraints: what the winner must satisfy.
        seed: source of all randomness: the same seed and tells give the same proposals.
        initial: number of candidates to begin with, the same for every method.
        options: keyword arguments of the strategy, e.g. `population` of `evolution`.

    Raises:
        SearchError: an unknown name or option.

    Example:
        >>> method = make_method("bayesian", space, objective=objective, seed=0)
        >>> for candidate in method.ask(2):
        ...     method.tell(candidate, evaluate(candidate))
    """
    problem = Problem(space, objective, constraints or Constraints())
    return Method(name, problem, make_strategy(name, **options), seed=seed, initial=initial)


def make_strategy(name: str, **options: Any) -> Strategy:
    """The strategy of the method called `name`.

    Raises:
        SearchError: an unknown name or option.
    """
    factory = _factory(name)
    allowed = tuple(signature(factory).parameters)
    for option in options:
        if option not in allowed:
            raise SearchError(f"method {name}: {unsupported(option, allowed)}")
    try:
        return factory(**options)
    except ImportError as error:
        raise SearchError(f"method {name}: {error}") from None


def _factory(name: str) -> Callable[..., Strategy]:
    package, place = _EXTRAS.get(name, (None, _STRATEGIES.get(name)))
    if package is not None and find_spec(package) is None:
        raise SearchError(
            f"method: {unsupported(name, installed_methods())}; this one needs the extra "
            f"{package} (pip install 'edgetran[{package}]')"
        )
    if place is not None:
        module, _, attribute = place.partition(":")
        factory: Callable[..., Strategy] = getattr(import_module(module), attribute)
        return factory
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            try:
                found: Callable[..., Strategy] = entry.load()
                return found
            except (ImportError, AttributeError) as error:
                raise SearchError(f"method {name}: {entry.value} cannot be used: {error}") from None
    raise SearchError(f"method: {unsupported(name, installed_methods())}")
