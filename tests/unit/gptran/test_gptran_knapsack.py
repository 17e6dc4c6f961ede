"""The knapsack: its answers against brute force."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetran.gptran import knapsack
from edgetran.gptran.knapsack import Group, solve

NUMBERS = st.integers(0, 12)


@st.composite
def problems(draw):
    measures = draw(st.integers(1, 3))
    groups = []
    for _ in range(draw(st.integers(1, 4))):
        size = draw(st.integers(1, 4))
        costs = draw(
            st.lists(
                st.lists(NUMBERS, min_size=measures, max_size=measures),
                min_size=size,
                max_size=size,
            )
        )
        losses = draw(st.lists(NUMBERS, min_size=size, max_size=size))
        groups.append(Group(np.array(costs, float), np.array(losses, float)))
    limits = np.array(draw(st.lists(st.integers(0, 40), min_size=measures, max_size=measures)))
    return groups, limits.astype(float)


def all_answers(groups, limits):
    for choice in product(*(range(len(group.losses)) for group in groups)):
        picked = list(zip(groups, choice, strict=True))
        if (sum(group.costs[i] for group, i in picked) <= limits).all():
            yield choice, sum(group.losses[i] for group, i in picked)


@given(problems())
@settings(max_examples=300, deadline=None)
def test_no_choice_within_the_limits_has_a_smaller_loss(problem):
    groups, limits = problem
    answers = dict(all_answers(groups, limits))
    found = solve(groups, limits)
    if found is None:
        assert not answers
    else:
        assert answers[found] == min(answers.values())


@given(problems())
@settings(max_examples=200, deadline=None)
def test_an_answer_that_exists_is_found_and_keeps_the_limits_however_coarse_the_grid(problem):
    groups, limits = problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(knapsack, "MOST_STATES", 3)
        patch.setattr(knapsack, "_EXACT_COMPARISONS", 2)
        found = solve(groups, limits)
    answers = dict(all_answers(groups, limits))
    if len(limits) == 1:
        assert (found is None) == (not answers)
    assert found is None or found in answers


def test_many_large_groups_are_solved_near_the_bound_of_the_continuous_problem():
    rng = np.random.default_rng(3)
    groups = []
    for _ in range(12):
        kept = np.linspace(0.02, 1, 200)
        groups.append(Group(kept[:, None], rng.uniform(0.5, 2) * (1 - kept) ** 2))
    limit = np.array([6.0])
    found = solve(groups, limit)
    loss = sum(g.losses[i] for g, i in zip(groups, found, strict=True))
    scales = np.array([g.losses[0] / 0.98**2 for g in groups])
    continuous = 6.0**2 / (1 / scales).sum()  # Lagrange: what is removed is inverse to the scale
    assert sum(g.costs[i, 0] for g, i in zip(groups, found, strict=True)) <= 6.0
    assert loss <= continuous * 1.02
