"""Fixtures of the search's tests: a design space on analytic devices, and a table of it."""

import pytest
from search_cases import WORKLOAD, analytic_devices, make_table

from edgetran.search import FiniteSpace, PairSpace
from edgetran.space import DesignSpace


@pytest.fixture(scope="session")
def tiny() -> DesignSpace:
    return DesignSpace.preset("tiny")


@pytest.fixture(scope="session")
def pair_space(tiny) -> PairSpace:
    return PairSpace(tiny, analytic_devices(), WORKLOAD)


@pytest.fixture(scope="session")
def table(tiny) -> FiniteSpace:
    return make_table(tiny, 300)
