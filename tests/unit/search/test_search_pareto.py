import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgetran.devices import Figure, HardwareFigures
from edgetran.search import Measures, costs, hypervolume, pareto_front
from edgetran.search.pareto import crowding_distances, dominates, non_dominated_ranks


def points(max_rows=8, most_axes=5, unknown=False):
    values = st.integers(0, 6).map(float)
    if unknown:
        values = st.one_of(values, st.just(np.nan))
    return st.integers(1, most_axes).flatmap(
        lambda m: hnp.arrays(
            np.float64, st.tuples(st.integers(0, max_rows), st.just(m)), elements=values
        )
    )


@given(points(unknown=True))
def test_a_point_is_on_the_front_exactly_if_nothing_dominates_it(cloud):
    front = set(pareto_front(cloud))
    for i, point in enumerate(cloud):
        assert (i in front) == (not any(dominates(cloud[[j]], point)[0] for j in range(len(cloud))))


@given(points(unknown=True))
def test_some_point_of_the_front_dominates_each_point_off_it(cloud):
    front = pareto_front(cloud)
    for i in set(range(len(cloud))) - set(front):
        assert dominates(cloud[front], cloud[i]).any()


@given(points(unknown=True), st.randoms())
def test_the_front_does_not_depend_on_the_order(cloud, random):
    order = list(range(len(cloud)))
    random.shuffle(order)
    assert {order[i] for i in pareto_front(cloud[order])} == set(pareto_front(cloud))


def test_a_missing_reading_puts_nothing_on_the_front():
    cloud = np.array([[1.0, 5.0], [1.0, np.nan], [2.0, np.nan], [0.5, np.nan]])
    assert pareto_front(cloud) == [0, 3]


@given(points())
def test_ranks_peel_the_front(cloud):
    ranks = non_dominated_ranks(cloud)
    assert set(np.flatnonzero(ranks == 0)) == set(pareto_front(cloud))
    for i, j in itertools.permutations(range(len(cloud)), 2):
        if dominates(cloud[[i]], cloud[j])[0]:
            assert ranks[i] < ranks[j]


def test_crowding_prefers_the_extremes_and_the_lonely():
    cloud = np.array([[0.0, 10.0], [1.0, 9.0], [2.0, 8.0], [7.0, 3.0], [10.0, 0.0]])
    distances = crowding_distances(cloud)
    assert np.isinf(distances[[0, 4]]).all()
    assert distances[3] > distances[2] > distances[1]


def counted(cloud, reference):
    """Hypervolume by counting the unit cells of an integer grid."""
    cells = itertools.product(*(range(int(r)) for r in reference))
    return sum(any((point <= np.array(cell)).all() for point in cloud) for cell in cells)


@settings(max_examples=60, deadline=None)
@given(points(most_axes=4))
def test_hypervolume_equals_the_count_of_dominated_cells(cloud):
    reference = np.full(cloud.shape[1], 6.0)
    assert hypervolume(cloud, reference) == pytest.approx(counted(cloud, reference))


@settings(deadline=None)
@given(points(), st.data())
def test_hypervolume_never_falls_when_a_point_is_added(cloud, data):
    reference = np.full(cloud.shape[1], 7.0)
    point = data.draw(hnp.arrays(np.float64, cloud.shape[1], elements=st.floats(0, 8)))
    grown = hypervolume(np.vstack([cloud, point]), reference)
    before = hypervolume(cloud, reference)
    assert grown >= before - 1e-9
    covered = (cloud <= point).all(axis=1).any()
    if not covered and (point < reference).all():
        assert grown > before


@settings(deadline=None)
@given(points())
def test_only_the_front_counts_in_the_hypervolume(cloud):
    reference = np.full(cloud.shape[1], 7.0)
    front = cloud[pareto_front(cloud)]
    assert hypervolume(front, reference) == pytest.approx(hypervolume(cloud, reference))


def test_points_unknown_or_beyond_the_reference_add_nothing():
    reference = np.array([2.0, 2.0])
    assert hypervolume(np.array([[np.nan, 0.0], [2.0, 0.0], [0.0, 3.0]]), reference) == 0
    assert hypervolume(np.zeros((0, 2)), reference) == 0


def test_sixty_points_of_four_costs_take_no_time():
    cloud = np.random.default_rng(0).random((60, 4))
    assert 0 < hypervolume(cloud, np.ones(4)) < 1


def test_costs_turn_accuracy_round_and_unknown_into_nan():
    hardware = HardwareFigures(
        Figure(5.0, "ms", "measured"),
        Figure.missing("mJ", "measured", "no power source"),
        Figure(2.0, "W", "measured"),
    )
    measures = Measures(Figure(0.9, "", "measured"), hardware, 100)
    expected = [[-0.9, 5.0, np.nan, 2.0, 100.0]]
    np.testing.assert_array_equal(costs([measures]), expected)
