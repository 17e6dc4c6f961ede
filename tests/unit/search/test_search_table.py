"""A table of anybody's is searched through one door, and bad input is refused before it harms."""

import json
import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetran.search import InfeasibleSearchError, SearchError, make

ROWS = 120


def arrays(rows=ROWS, seed=3):
    """Accuracy peaks inside, latency spans three decades, one feature means nothing."""
    x = np.random.default_rng(seed).uniform(size=(rows, 4))
    accuracy = 0.9 - 0.5 * ((x[:, :2] - 0.6) ** 2).sum(axis=1)
    return x, accuracy, 10 ** (3 * x[:, 1])


X, ACCURACY, LATENCY = arrays()
TABLE = {"features": X, "measures": {"latency": LATENCY}}
BOTH = {"accuracy": 0.7, "latency": 0.3}


def run(search, count, accuracy=ACCURACY):
    asked = []
    for _ in range(count):
        for row in search.ask(1):
            search.tell(row, accuracy[row])
            asked.append(row)
    return asked


def scalar(rows):
    span = np.log(LATENCY.max() / LATENCY.min())
    return 0.7 * ACCURACY[rows] + 0.3 * (1 - np.log(LATENCY[rows] / LATENCY.min()) / span)


def test_the_best_row_of_a_smooth_table_is_found_in_few_evaluations():
    found = [
        max(scalar(run(make("bayesian", TABLE, objective=BOTH, seed=seed, initial=6), 20)))
        for seed in range(3)
    ]
    order = np.sort(scalar(np.arange(ROWS)))
    assert min(found) >= order[-2]


@pytest.mark.parametrize("method", ["bayesian", "random", "local", "evolution", "nsga2"])
def test_rows_are_asked_for_once_until_there_are_none(method):
    x, accuracy, latency = arrays(12)
    table = {"features": x, "measures": {"latency": latency}}
    search = make(method, table, objective=BOTH, seed=0, initial=3)
    assert sorted(run(search, 12, accuracy)) == list(range(12))
    assert search.ask(3) == []


def test_a_frame_a_mapping_of_columns_and_arrays_are_the_same_table():
    frame = pd.DataFrame(X, columns=list("abcd")).assign(latency_ms=LATENCY, accuracy=ACCURACY)
    columns = {name: frame[name].to_numpy() for name in "abcd"} | {"latency_ms": LATENCY}
    asked = [
        run(make("bayesian", table, objective=BOTH, seed=1, initial=4), 7)
        for table in (TABLE, frame, columns)
    ]
    assert asked[0] == asked[1] == asked[2]


def test_rows_go_by_the_names_that_the_table_gives_them():
    frame = pd.DataFrame(
        {"width": [8, 16, 32], "kind": ["conv", "attention", "conv"], "device": ["pi", "pi", "nx"]},
        index=["small", "middle", "large"],
    )
    search = make("random", frame, seed=0)
    assert set(search.ask(3)) == {"small", "middle", "large"}
    search.tell("large", {"accuracy": 0.7})
    search.tell("small", 0.6)
    assert search.best == ("large", {"accuracy": 0.7})


def test_a_floor_of_accuracy_is_climbed_to_and_then_kept():
    x, accuracy, latency = arrays(600)
    floor = float(np.quantile(accuracy, 0.85))
    search = make(
        "bayesian",
        {"features": x, "measures": {"latency": latency}},
        objective=BOTH,
        constraints={"accuracy": {"min": floor}, "latency": {"max": 500}},
        initial=6,
    )
    asked = run(search, 26, accuracy)
    assert all(latency[row] <= 500 for row in asked)
    assert np.mean(accuracy[asked[6:]] >= floor) >= 0.45
    row, measures = search.best
    feasible = [each for each in asked if accuracy[each] >= floor]
    assert row in feasible
    value = lambda each: 0.7 * accuracy[each] - 0.3 * np.log(latency[each]) / np.log(500)  # noqa: E731
    assert value(row) == pytest.approx(max(map(value, feasible)), abs=0.01)
    assert measures["accuracy"] >= floor


def test_while_nothing_is_feasible_the_nearest_says_what_it_misses():
    search = make("random", TABLE, constraints={"accuracy": {"min": 0.99}}, seed=0)
    run(search, 5)
    assert search.best is None
    assert "accuracy 0.8" in search.nearest
    assert "below the minimum 0.99, missed by" in search.nearest


def test_a_bound_on_what_the_table_does_not_have_is_learned():
    memory = 100 * X[:, 0]
    search = make("bayesian", TABLE, constraints={"memory": {"max": 50}}, seed=0, initial=5)
    asked = []
    for _ in range(20):
        (row,) = search.ask(1)
        search.tell(row, {"accuracy": ACCURACY[row], "memory": memory[row]})
        asked.append(row)
    assert np.mean(memory[asked[5:]] <= 50) > 0.6
    with pytest.raises(SearchError, match="memory: not reported for"):
        search.tell(search.ask(1)[0], 0.5)


@pytest.mark.parametrize(
    ("rule", "right"),
    [
        ({"pick": "budget", "budget": {"latency": 30.0}}, lambda m: m["latency"] <= 30),
        ({"pick": "knee"}, lambda m: 1 < m["latency"] < 900),
    ],
)
def test_a_front_is_sought_and_one_point_of_it_is_picked(rule, right):
    objective = {"pareto": ["accuracy", "latency"], **rule}
    search = make("bayesian", TABLE, objective=objective, seed=0, initial=5)
    run(search, 20)
    front = search.pareto
    rows = [row for row, _ in front]
    assert all(
        not (ACCURACY[b] >= ACCURACY[a] and LATENCY[b] < LATENCY[a]) for a in rows for b in rows
    )
    assert len(front) > 3
    assert search.best in front
    assert right(search.best[1])


def test_the_front_is_reached_sooner_than_by_chance():
    def volume(method, seed):
        objective = {"pareto": ["accuracy", "latency"]}
        search = make(method, TABLE, objective=objective, seed=seed, initial=5)
        run(search, 18)
        points = sorted((m["latency"], m["accuracy"]) for _, m in search.pareto)
        ends = pairwise([*points, (1000.0, 0.0)])
        return sum(a * np.log10(right / left) for (left, a), (right, _) in ends)

    seeds = range(3)
    assert np.mean([volume("bayesian", s) for s in seeds]) > np.mean(
        [volume("random", s) for s in seeds]
    )


@pytest.mark.parametrize("method", ["bayesian", "evolution"])
def test_a_search_that_is_loaded_goes_on_as_the_saved_one(method):
    saved = make(method, TABLE, objective=BOTH, seed=0, initial=4)
    run(saved, 6)
    pending = saved.ask(2)
    saved.tell_failure(pending[0])
    state = json.loads(json.dumps(saved.state_dict()))
    loaded = make(method, TABLE, objective=BOTH, seed=0, initial=4)
    loaded.load_state_dict(state)
    assert loaded.state_dict() == saved.state_dict()
    assert loaded.ask(2) == saved.ask(2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"table": {"features": X + 1, "measures": {"latency": LATENCY}}}, "another table"),
        ({"objective": "accuracy"}, "another objective"),
        ({"seed": 5}, r"state\.seed: Unsupported value: 0: supported values: 5"),
        ({"method": "random"}, r'state\.method: Unsupported value: "bayesian"'),
    ],
)
def test_the_state_of_another_search_is_refused(change, said):
    first = {"method": "bayesian", "table": TABLE, "objective": BOTH, "seed": 0}
    search = make(**first)
    run(search, 2)
    other = make(**(first | change))
    with pytest.raises(SearchError, match=said):
        other.load_state_dict(search.state_dict())
    assert other.ask(1)


@pytest.mark.parametrize(
    "state",
    [
        {"search": None},
        {"search": {"version": 1, "method": "bayesian", "seed": 0}},
        {"search": {"version": 1, "method": "bayesian", "seed": 0, "observations": 3}},
    ],
)
def test_a_state_that_was_cut_is_refused_and_changes_nothing(state):
    search = make("bayesian", TABLE, objective=BOTH)
    run(search, 3)
    before = search.state_dict()
    with pytest.raises(SearchError, match="state"):
        search.load_state_dict(before | state)
    assert search.state_dict() == before


@pytest.mark.parametrize(
    ("id_", "measures", "said"),
    [
        (999, 0.5, "id: Not found: 999: the table has no such row"),
        ([1], 0.5, "the table has no such row"),
        (3, math.nan, "accuracy: Invalid value: nan: must be a finite number, of 3"),
        (3, math.inf, "accuracy: Invalid value: inf: must be a finite number, of 3"),
        (3, 87.3, r"accuracy: Invalid value: 87\.3: must be a score of at most 1"),
        (3, "good", 'accuracy: Invalid value: "good": must be a finite number'),
        (3, {"latency": 1.0}, "must be what the table says of 3"),
        (3, {}, "accuracy: not reported for 3; report a failure with tell_failure"),
    ],
)
def test_what_cannot_be_told_is_refused_and_the_next_ask_is_as_before(id_, measures, said):
    search, untouched = (make("bayesian", TABLE, objective=BOTH, initial=2) for _ in range(2))
    run(search, 4)
    run(untouched, 4)
    with pytest.raises(SearchError, match=said):
        search.tell(id_, measures)
    assert search.ask(2) == untouched.ask(2)


def test_rows_that_are_told_of_beforehand_take_the_place_of_the_first_ones():
    search, told = (make("bayesian", TABLE, objective=BOTH, initial=8) for _ in range(2))
    for row in range(60):
        told.tell(row, ACCURACY[row])
    assert told.ask(1) != search.ask(1)
    assert scalar(told.ask(1))[0] > np.quantile(scalar(np.arange(ROWS)), 0.8)


def test_a_tell_may_be_repeated_but_not_contradicted():
    search = make("random", TABLE)
    (row,) = search.ask(1)
    search.tell(row, 0.5)
    search.tell(row, 0.5)
    with pytest.raises(SearchError, match="was reported before with other measures"):
        search.tell(row, 0.6)
    with pytest.raises(SearchError, match="reported before"):
        search.tell_failure(row)
    assert search.best[1]["accuracy"] == 0.5


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"features": X[:, 0]}, r"shape \(120,\); must be of shape \(rows, columns\)"),
        (TABLE | {"features": np.where(X > 0.99, np.nan, X)}, "nan in row .*, column"),
        ({"features": [["a", "b"]]}, "not a matrix of numbers"),
        ({"features": np.empty((0, 3))}, "has no rows"),
        (TABLE | {"device": ["pi"]}, "device: 1 given for 120 rows"),
        (TABLE | {"id": [1] * ROWS}, r"table\.id: Duplicate value: 1"),
        ({"features": X, "measures": {"latency": LATENCY[:5]}}, r"latency: .*\(5,\)"),
        ({"features": X, "measures": {"latency": -LATENCY}}, "latency: -.* in row 0"),
        ({"features": X, "measures": {"latency": LATENCY * np.nan}}, "latency: nan in row 0"),
        (
            {"features": X, "measure": {}},
            'Unsupported value: "measure": supported values: "features"',
        ),
        ({"features": X}, 'objective: Not found: "latency": the table has'),
        ({"latency": LATENCY}, "no columns of features"),
        (X, "a ndarray; must be a DataFrame"),
    ],
)
def test_a_table_that_cannot_be_is_refused_in_one_sentence(table, said):
    with pytest.raises(SearchError, match=said) as told:
        make("bayesian", table, objective=BOTH)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "annealing"}, 'supported values: "bayesian", "boschcode", "random"'),
        ({"pool": -3}, "pool: Invalid value: -3: must be a whole number of at least 1"),
        ({"grid": 3}, 'method bayesian: Unsupported value: "grid": supported values: "pool"'),
        ({"initial": -1}, "initial: Invalid value: -1: must be at least 0"),
        ({"objective": {"accuracy": 0.0}}, "must have at least one above 0"),
        ({"objective": {"accuracy": -1}}, r"weights\.accuracy: Invalid value: -1: must be"),
        ({"objective": {"pareto": ["latency"]}}, "accuracy and one or more costs"),
        (
            {"objective": {"pareto": ["accuracy", "latency"], "pick": "best"}},
            'pick: Unsupported value: "best"',
        ),
        (
            {"objective": {"pareto": ["accuracy", "latency"], "pick": "budget"}},
            "Required value: must be set with pick budget",
        ),
        (
            {"objective": {"weights": BOTH, "scales": 1}},
            'Unsupported value: "scales": supported values: "weights"',
        ),
        ({"constraints": {"latency": {"most": 3}}}, "must be a mapping with min, max or both"),
        (
            {"constraints": {"latency": {"min": 5, "max": 3}}},
            "min: Invalid value: 5: must be at most max, 3",
        ),
    ],
)
def test_a_wish_that_cannot_be_is_refused_in_one_sentence(options, said):
    given_ = {"method": "bayesian", "table": TABLE, "objective": BOTH} | options
    with pytest.raises(SearchError, match=said):
        make(**given_)


def test_bounds_that_no_row_meets_are_found_before_anything_is_asked():
    with pytest.raises(InfeasibleSearchError, match=r"latency max 0\.5: the least is 1"):
        make("bayesian", TABLE, objective=BOTH, constraints={"latency": {"max": 0.5}})


def test_rows_of_one_accuracy_are_told_of_together_and_judged_on_each_device():
    table = {
        "features": [[1.0], [1.0], [2.0], [2.0]],
        "device": ["slow", "fast"] * 2,
        "measures": {"latency": [9.0, 1.0, 90.0, 10.0]},
    }
    search = make("random", table, objective=BOTH, accuracy_depends_on_device=False)
    search.tell(0, 0.8)
    assert search.best == (1, {"accuracy": 0.8, "latency": 1.0})
    search.tell(1, 0.8)
    (row,) = search.ask(4)
    assert row in (2, 3)


@pytest.mark.parametrize("columns", [1, 3, 130])
def test_constant_repeated_and_many_columns_do_no_harm(columns):
    x = np.repeat(np.random.default_rng(0).integers(0, 3, size=(20, columns)), 2, axis=0)
    x = np.column_stack([x, np.full(40, 7.0)]).astype(float)
    table = {"features": x, "measures": {"latency": np.ones(40)}}
    search = make("bayesian", table, objective=BOTH, initial=3)
    accuracy = np.full(40, 0.5)
    assert len(set(run(search, 12, accuracy))) == 12


def test_intervals_cover_what_they_claim_and_are_not_wide_for_safety():
    rng = np.random.default_rng(0)
    inside = {0.68: [], 0.90: []}
    for seed in range(6):
        x, accuracy, _ = arrays(140, seed)
        accuracy = accuracy + 0.01 * rng.normal(size=len(accuracy))
        search = make("random", {"features": x}, seed=seed)
        for row in range(40):
            search.tell(row, accuracy[row])
        rest = list(range(40, 140))
        mean, std = search.predict(rest)
        errors = np.abs(accuracy[rest] - mean) / std
        for level, width in ((0.68, 0.994), (0.90, 1.645)):
            inside[level] += (errors <= width).tolist()
    assert 0.63 < np.mean(inside[0.68]) < 0.88
    assert 0.85 < np.mean(inside[0.90]) < 0.985


@settings(max_examples=12, deadline=None)
@given(
    st.integers(2, 30),
    st.integers(1, 5),
    st.floats(0, 12),
    st.integers(0, 5),
)
def test_any_table_of_numbers_is_searched_to_its_end(rows, columns, decades, seed):
    rng = np.random.default_rng(seed)
    table = {
        "features": rng.integers(0, 3, size=(rows, columns)) * 10.0**decades,
        "measures": {"latency": 10.0 ** (decades * rng.uniform(-1, 1, size=rows))},
    }
    search = make("bayesian", table, objective=BOTH, seed=seed, initial=2)
    asked = run(search, min(rows, 8), rng.uniform(size=rows))
    assert len(set(asked)) == min(rows, 8)
