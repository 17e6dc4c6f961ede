"""Every method keeps the same ask/tell contract; the clever ones beat random search."""

import json

import numpy as np
import pytest
from search_cases import WORKLOAD, analytic_devices, evaluate

from edgetran.devices import Figure
from edgetran.search import (
    METHODS,
    Bound,
    Candidate,
    Constraints,
    FiniteSpace,
    Front,
    PairSpace,
    Proposal,
    SearchError,
    check_method,
    installed_methods,
    make_method,
    make_problem,
)
from edgetran.search.asktell import spread_out
from edgetran.search.methods import boschcode
from edgetran.space import Architecture, DesignSpace, feature_matrix, sampling

CHEAP = {"boschcode": {"pool": 32}, "bayesian": {"pool": 32}}


@pytest.fixture(autouse=True)
def _short_training(request, monkeypatch):
    """The contract does not depend on how well the networks are fitted."""
    if "slow" not in request.keywords:
        monkeypatch.setattr(boschcode, "_STEPS", 20)


@pytest.fixture(scope="module")
def problem(pair_space):
    return make_problem(pair_space, samples=256)


def method_for(name, problem, *, seed=0, initial=4):
    return make_method(
        name,
        problem.space,
        objective=problem.objective,
        constraints=problem.constraints,
        seed=seed,
        initial=initial,
        **CHEAP.get(name, {}),
    )


def step(method, n=2):
    """Ask, evaluate on every device, tell."""
    space = method.problem.space
    asked = method.ask(n)
    for candidate in asked:
        for sibling in space.siblings(candidate):
            method.tell(sibling, evaluate(space, sibling))
    return asked


@pytest.mark.parametrize("name", METHODS)
def test_proposals_are_new_distinct_and_respect_what_is_pending(name, problem):
    method = method_for(name, problem)
    key = problem.space.key
    seen = {key(candidate) for _ in range(3) for candidate in step(method)}
    first, second = method.ask(2), method.ask(2)
    asked = [key(candidate) for candidate in (*first, *second)]
    assert len(seen) == 6
    assert len(set(asked)) == 4
    assert not seen & set(asked)


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_and_tells_give_the_same_proposals(name, problem):
    one, two, other = (method_for(name, problem, seed=seed) for seed in (0, 0, 1))
    for _ in range(3):
        step(one)
        step(two)
        step(other)
    third = one.ask(2)
    assert third == two.ask(2)
    assert third != other.ask(2)


@pytest.mark.parametrize("name", METHODS)
def test_a_restored_method_goes_on_as_the_saved_one(name, problem):
    saved = method_for(name, problem)
    for _ in range(3):
        step(saved)
    pending = saved.ask(1)
    saved.tell_failure(saved.ask(1)[0])
    restored = method_for(name, problem)
    restored.restore(json.loads(json.dumps(saved.state())))
    assert restored.state() == saved.state()
    after = saved.ask(2)
    assert restored.ask(2) == after
    assert pending[0] not in after


@pytest.mark.parametrize("name", METHODS)
def test_every_proposal_is_feasible(name, pair_space):
    constraints = Constraints(latency_ms=Bound(maximum=6.0), parameters=Bound(maximum=600_000))
    tight = make_problem(pair_space, constraints=constraints, samples=256)
    method = method_for(name, tight)
    for _ in range(4):
        for candidate in step(method):
            (known,) = pair_space.known([candidate])
            assert constraints.violations(known) == ()


@pytest.mark.parametrize("name", METHODS)
def test_a_failure_is_no_data_point_and_never_comes_back(name, problem):
    method = method_for(name, problem, initial=2)
    failed = set()
    for _ in range(4):
        (candidate,) = method.ask(1)
        assert problem.space.key(candidate) not in failed
        method.tell_failure(candidate)
        failed.add(problem.space.key(candidate))
    assert method.observations == []


@pytest.mark.parametrize("name", METHODS)
def test_a_space_is_used_up_and_then_nothing_is_proposed(name):
    small = DesignSpace((1, 2), (64,), (2,), ("sa_sdp", "l_dft"), (128,), 1)
    space = PairSpace(small, analytic_devices(), WORKLOAD)
    method = method_for(name, make_problem(space))
    keys = [space.key(candidate) for _ in range(8) for candidate in step(method, 2)]
    everything = {architecture.graph_hash for architecture in sampling.sample(small, 99, rng())}
    assert len(keys) == len(set(keys))
    assert set(keys) == everything
    assert method.ask(2) == []


@pytest.mark.parametrize("name", METHODS)
def test_a_table_is_searched_too(name, table):
    method = method_for(name, make_problem(table))
    asked = [candidate for _ in range(4) for candidate in step(method)]
    assert len({table.key(candidate) for candidate in asked}) == 8


@pytest.mark.parametrize("name", METHODS)
def test_every_method_begins_with_the_same_spread_out_design(name, problem):
    method = method_for(name, problem, initial=4)
    assert method.ask(4) == spread_out(problem, 4, 0)


def test_the_initial_design_is_wider_than_chance(problem):
    def least_distance(candidates):
        points = problem.space.encode(candidates)
        gaps = np.linalg.norm(points[:, None] - points[None], axis=2)
        return gaps[np.triu_indices(len(points), 1)].min()

    chance = [least_distance(problem.sample(8, rng(seed))) for seed in range(5)]
    assert least_distance(spread_out(problem, 8, 0)) > max(chance)


def test_the_device_of_the_initial_design_is_the_best_for_each_architecture(problem):
    for candidate in spread_out(problem, 6, 0):
        siblings = problem.space.siblings(candidate)
        values = problem.hardware_values(siblings)
        assert siblings[int(values.argmax())] == candidate


def test_boschcode_says_what_it_expects_and_how_it_came_to_it(problem):
    method = method_for("boschcode", problem)
    for _ in range(4):
        step(method)
    strategies = set()
    for _ in range(6):
        (proposal,) = method.propose(1)
        strategies.add(proposal.strategy)
        assert proposal.predicted_accuracy.source == "predicted"
        assert proposal.predicted_accuracy.std > 0
        assert 0.3 < proposal.predicted_accuracy.value < 1.2
    assert strategies <= {"gobi", "mutation", "pool", "uncertainty", "diversity"}


def test_a_candidate_is_told_of_once_and_with_its_accuracy(problem):
    method = method_for("random", problem)
    (candidate,) = method.ask(1)
    with pytest.raises(SearchError, match="tell_failure"):
        method.tell(candidate, problem.space.known([candidate])[0])
    method.tell(candidate, evaluate(problem.space, candidate))
    with pytest.raises(SearchError, match="reported before"):
        method.tell(candidate, evaluate(problem.space, candidate))


def test_the_incumbent_is_the_best_feasible_one(problem):
    constrained = make_problem(
        problem.space, constraints=Constraints(accuracy=Bound(0.7)), samples=128
    )
    method = method_for("random", constrained)
    for accuracy in (0.65, 0.75, 0.71):
        (candidate,) = method.ask(1)
        known = problem.space.known([candidate])[0]
        method.tell(candidate, known.with_accuracy(Figure(accuracy, "", "measured")))
    best = max(method.observations, key=lambda observation: observation.rank)
    assert best.feasible
    assert best.measures.accuracy.value != 0.65


def test_unknown_methods_and_options_are_refused(problem):
    with pytest.raises(SearchError, match='"grid": supported values: "bayesian", "boschcode"'):
        make_method("grid", problem.space, objective=problem.objective)
    with pytest.raises(
        SearchError, match='method random: Unsupported value: "pool": supported values: none'
    ):
        make_method("random", problem.space, objective=problem.objective, pool=3)
    local, state = method_for("local", problem), method_for("random", problem).state()
    with pytest.raises(
        SearchError, match=r'state\.method: Unsupported value: "random": supported values: "local"'
    ):
        local.restore(state)
    with pytest.raises(SearchError, match="n: Invalid value: -1: must be at least 0"):
        method_for("random", problem).ask(-1)


@pytest.mark.parametrize("name", ["optuna-tpe", "optuna-nsga2", "optuna-nsga3"])
@pytest.mark.parametrize("front", [None, Front(("accuracy", "latency_ms"))])
def test_optunas_samplers_search_a_design_space_and_follow_from_the_seed(name, front, pair_space):
    pytest.importorskip("optuna")
    floor = Constraints(accuracy=Bound(0.6))
    problem = make_problem(pair_space, constraints=floor, front=front, samples=64)
    one, two = (method_for(name, problem, initial=2) for _ in range(2))
    for _ in range(2):
        assert step(one) == step(two)
    (proposal,) = one.propose(1)
    assert proposal.strategy == "sampler"
    assert [proposal.candidate] == two.ask(1)
    assert problem.space.design_space.contains(proposal.candidate.architecture)


class Smallest:
    """A method of somebody else's."""

    minimum_observations = 0

    def suggest(self, knowledge, n, rng):
        drawn = knowledge.problem.sample(8 * n, rng)
        sizes = [measures.parameters for measures in knowledge.problem.space.known(drawn)]
        return [Proposal(drawn[i], "smallest") for i in np.argsort(sizes, kind="stable")]


@pytest.fixture
def plugin(monkeypatch, tmp_path):
    """A package in which somebody names methods of their own, as `pip` leaves it."""
    folder = tmp_path / "somebody-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: somebody\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        "[edgetran.search_methods]\n"
        f"smallest = {__name__}:Smallest\n"
        "broken = no_such_package.methods:Thing\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))


def test_a_method_that_another_package_installs_goes_by_its_name(problem, plugin):
    assert "smallest" in installed_methods()
    method = method_for("smallest", problem, initial=1)
    step(method, 1)
    (proposal,) = method.propose(1)
    assert proposal.strategy == "smallest"
    with pytest.raises(SearchError, match=r"broken: .* cannot be used: No module named"):
        check_method("broken")
    with pytest.raises(SearchError, match=r'supported values: "bayesian", .*"smallest"'):
        check_method("grid")


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("bayesian", {"pool": -1}),
        ("boschcode", {"pool": 0}),
        ("boschcode", {"diversity_share": 2}),
        ("evolution", {"population": 0}),
        ("nsga2", {"crossover": -0.1}),
        ("local", {"restart": 3}),
    ],
)
def test_options_out_of_range_are_refused_when_the_method_is_made(name, option, problem):
    (word,) = option
    with pytest.raises(SearchError, match=f"{word}: Invalid value: .*: must be"):
        make_method(name, problem.space, objective=problem.objective, **option)


def test_what_is_not_of_the_space_is_refused_and_changes_nothing(table, problem):
    method = method_for("bayesian", make_problem(table), initial=2)
    step(method)
    before = method.state()
    stranger = problem.sample(1, rng(99))[0]
    known = problem.space.known([stranger])[0].with_accuracy(Figure(0.5, "", "measured"))
    for refused in (
        lambda: method.tell(stranger, known),
        lambda: method.tell_failure(stranger),
    ):
        with pytest.raises(SearchError, match="table: has no"):
            refused()
    assert method.state() == before
    assert method.ask(1)


def test_an_accuracy_in_percent_is_refused(problem):
    method = method_for("random", problem)
    (candidate,) = method.ask(1)
    known = problem.space.known([candidate])[0]
    with pytest.raises(SearchError, match=r"accuracy: Invalid value: 87\.3: must be a score"):
        method.tell(candidate, known.with_accuracy(Figure(87.3, "", "measured")))


def test_of_what_is_infeasible_that_which_misses_by_less_leads(problem):
    constrained = make_problem(
        problem.space, constraints=Constraints(accuracy=Bound(0.99)), samples=64
    )
    method = method_for("evolution", constrained)
    for _ in range(4):
        step(method)
    best = method.knowledge().incumbents(1)[0]
    accuracies = [o.measures.accuracy.value for o in method.observations]
    assert best.measures.accuracy.value == max(accuracies)


@pytest.mark.parametrize("name", ["bayesian", "boschcode"])
def test_a_floor_of_accuracy_is_met_more_often_than_by_chance(name, pair_space):
    floor = Constraints(accuracy=Bound(0.80))
    problem = make_problem(pair_space, constraints=floor, samples=128)
    chance = np.mean(
        [evaluate(pair_space, c).accuracy.value >= 0.80 for c in problem.sample(200, rng())]
    )
    method = method_for(name, problem, initial=4)
    for _ in range(10):
        step(method)
    told = {o.candidate.architecture: o.measures.accuracy.value for o in method.observations}
    after = list(told.values())[4:]
    assert np.mean([value >= 0.80 for value in after]) > 1.3 * chance


def best_after(name, problem, seed, budget):
    method = make_method(
        name,
        problem.space,
        objective=problem.objective,
        seed=seed,
        initial=6,
        **CHEAP.get(name, {}),
    )
    while len(method.observations) < budget * 2:
        step(method)
    return max(observation.value for observation in method.observations)


@pytest.mark.slow
def test_boschcode_and_bayesian_optimisation_beat_random_search_by_a_margin(problem):
    seeds, budget = range(3), 20
    mean = {
        name: np.mean([best_after(name, problem, seed, budget) for seed in seeds])
        for name in ("random", "boschcode", "bayesian")
    }
    assert mean["boschcode"] > mean["random"] + 0.01
    assert mean["bayesian"] > mean["random"] + 0.01


def test_boschcode_finds_the_best_row_of_a_table_that_varies_in_one_way():
    """40 rows, accuracy rises with width up to a peak; random search would need 20 on average."""
    design = DesignSpace((2,), tuple(range(32, 32 + 40 * 8, 8)), (2,), ("sa_sdp",), (128,), 1)
    pairs = PairSpace(design, analytic_devices()[:1], WORKLOAD)
    shapes = [
        Architecture.homogeneous(num_layers=2, hidden_size=h, num_heads=2, feed_forward=(128,))
        for h in design.hidden_sizes
    ]
    rows = [Candidate(shape, "slow") for shape in shapes]
    space = FiniteSpace(rows, pairs.known(rows), feature_matrix(shapes, 64, 1))
    problem = make_problem(space)

    def measures(candidate):
        width = candidate.architecture.layers[0].hidden_size
        accuracy = 0.9 - ((width - 232) / 300) ** 2
        return space.known([candidate])[0].with_accuracy(Figure(accuracy, "", "measured"))

    best = max(rows, key=lambda row: problem.objective.value(measures(row)))
    method = make_method("boschcode", space, objective=problem.objective, seed=0, initial=4)
    asked = []
    for _ in range(6):
        for candidate in method.ask(2):
            method.tell(candidate, measures(candidate))
            asked.append(candidate)
    assert best in asked


def rng(seed=0):
    return np.random.default_rng(seed)
