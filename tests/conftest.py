"""What tests of every kind may ask for, and on which process each of them runs."""

import logging
import os
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings

pytest_plugins = ("cluster_fixtures", "crd_judge")

_BESIDE = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if _BESIDE > 1:  # threads of two processes that wait for each other's cores do half the work
    _cores = len(os.sched_getaffinity(0))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, _cores // _BESIDE)))

os.environ["GODEBUG"] = "asyncpreemptoff=1"
"""Helm's library is Go, and the signals by which Go interrupts its threads end the process where
OpenVINO has computed in int8 before (libhelm_c 0.2.2, OpenVINO 2026.4, a processor with AMX). Go
reads this when a process begins: it is for xdist's; the Makefile says it to the first one."""

_LONGEST = (
    "e2e/test_cluster_",  # one cluster for all of them, and everything else beside them
    "e2e/",
    "test_workers_chain",
    "test_images",
    "test_artifacts_run",
    "test_training_pool",
    "integration/",
)
"""Parts of addresses of tests, those that take longest first: begun last, they would run alone."""


_SHARED = ("cluster", "finished")
"""Fixtures so costly that all who ask for one share it, whatever their files."""


SOAK = "soak"
TIMES = 20
"""How many times as many examples a property is tried with in the profile `soak`."""

# No test is timed: on a busy machine any example may take longer than a deadline.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")
settings.register_profile(
    SOAK,
    max_examples=TIMES * settings.default.max_examples,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


_LOG_LEVEL = logging.getLogger().level


@pytest.fixture(autouse=True)
def _log_level_as_it_was() -> Iterator[None]:
    """A command that runs within the tests' process silences logs for itself alone.

    It may have run in a fixture of a whole file, before this one.
    """
    logging.getLogger().setLevel(_LOG_LEVEL)
    yield
    logging.getLogger().setLevel(_LOG_LEVEL)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep tests together that share what is costly to make, and begin with the longest."""
    if config.getoption("--hypothesis-profile") == SOAK:
        _lengthen({item.obj for item in items if isinstance(item, pytest.Function)})
    for item in items:
        asked = getattr(item, "fixturenames", ())
        shared = next((name for name in _SHARED if name in asked), None)
        item.add_marker(pytest.mark.xdist_group(shared or item.nodeid.partition("::")[0]))
    items.sort(key=_rank)


def _lengthen(tests: Iterable[Any]) -> None:
    """Let properties that say how many examples they take have as many times more, too."""
    for test in filter(is_hypothesis_test, tests):
        own = getattr(test, "_hypothesis_internal_use_settings", settings.default)
        if own.max_examples != settings.default.max_examples:
            test._hypothesis_internal_use_settings = settings(
                own, max_examples=TIMES * own.max_examples
            )


def _rank(item: pytest.Item) -> int:
    """How early a test begins; those of one rank stay in the order of their files."""
    places = (rank for rank, part in enumerate(_LONGEST) if part in item.nodeid)
    return next(places, len(_LONGEST))
