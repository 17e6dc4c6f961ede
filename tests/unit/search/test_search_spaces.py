import numpy as np
import pytest
from search_cases import WORKLOAD, AnalyticDevice, analytic_devices, make_table

from edgetran.search import Candidate, FiniteSpace, Measures, PairSpace, SearchError
from edgetran.space import Architecture, DesignSpace, parameter_count, sampling


@pytest.fixture(params=["pairs", "table"])
def space(request, pair_space, table):
    return pair_space if request.param == "pairs" else table


def test_samples_are_distinct_and_repeatable(space):
    drawn = space.sample(100, np.random.default_rng(1))
    assert len({candidate.identity for candidate in drawn}) == 100
    assert drawn == space.sample(100, np.random.default_rng(1))
    assert {candidate.device for candidate in drawn} == {"slow", "fast"}


def test_steps_stay_in_the_space_and_go_somewhere(space):
    rng = np.random.default_rng(2)
    a, b = space.sample(2, rng)
    near = space.neighbours(a)
    assert near
    assert a.identity not in {candidate.identity for candidate in near}
    for step in (*near, *(space.mutate(a, rng) for _ in range(20)), space.crossover(a, b, rng)):
        space.known([step])  # a table refuses what it has not
        if isinstance(space, PairSpace):
            assert space.design_space.contains(step.architecture)


def test_encodings_are_standardised_and_equal_for_siblings(space):
    drawn = space.sample(300, np.random.default_rng(3))
    encoded = space.encode(drawn)
    assert np.abs(encoded.mean(axis=0)).max() < 0.3
    assert np.abs(encoded.std(axis=0) - 1).max() < 0.4
    siblings = space.siblings(drawn[0])
    assert [sibling.device for sibling in siblings] == ["slow", "fast"]
    assert (space.encode(siblings) == encoded[0]).all()
    assert len({space.key(sibling) for sibling in siblings}) == 1


def test_what_is_known_is_the_predictors_word_and_the_exact_parameter_count(pair_space):
    candidate = pair_space.sample(1, np.random.default_rng(4))[0]
    (known,) = pair_space.known([candidate])
    device = next(d for d in analytic_devices() if d.device == candidate.device)
    assert known.hardware == device.predict([candidate.architecture])[0]
    assert known.parameters == parameter_count(
        candidate.architecture, vocab_size=4096, max_positions=512, num_labels=2
    )
    assert known.accuracy.value is None


def test_a_predictor_is_asked_once_per_architecture(tiny):
    device = AnalyticDevice("only", 1.0, 1.0)
    space = PairSpace(tiny, [device], WORKLOAD)
    drawn = space.sample(50, np.random.default_rng(5))
    for _ in range(3):
        space.known(drawn)
    assert device.calls == 1


def test_a_small_space_is_sampled_to_its_last_pair():
    small = DesignSpace((1,), (64,), (2,), ("sa_sdp", "l_dft"), (128,), 1)
    space = PairSpace(small, analytic_devices(), WORKLOAD)
    assert space.size() == 6
    assert len(space.sample(100, np.random.default_rng(0))) == 6


def test_heads_in_another_order_are_the_same_candidate(pair_space):
    def one(*heads):
        model = {"l": 2, "h": [64] * 2, "f": [[128]] * 2, "o": [list(heads)] * 2}
        return Candidate(Architecture.from_model_dict(model), "slow")

    assert one("sa_sdp_32", "c_5_32").identity == one("c_5_32", "sa_sdp_32").identity


def test_a_table_whose_accuracy_depends_on_the_device_encodes_it(tiny):
    space = make_table(tiny, 20, accuracy_depends_on_device=True)
    siblings = space.siblings(space.candidates[0])
    assert len({space.key(sibling) for sibling in siblings}) == 2
    assert (space.encode(siblings)[0] != space.encode(siblings)[1]).any()


def test_devices_must_be_there_and_have_different_names(tiny, pair_space):
    with pytest.raises(SearchError, match="devices: Required value: must have at least one"):
        PairSpace(tiny, [], WORKLOAD)
    with pytest.raises(SearchError, match='devices: Duplicate value: "a"'):
        PairSpace(tiny, [AnalyticDevice("a", 1, 1), AnalyticDevice("a", 2, 1)], WORKLOAD)
    candidate = Candidate(sampling.sample(tiny, 1, np.random.default_rng(0))[0], "elsewhere")
    with pytest.raises(SearchError, match='"elsewhere": supported values: "slow", "fast"'):
        pair_space.known([candidate])


def test_impossible_tables_are_refused(table):
    rows = list(table.candidates[:3])
    known = table.known(rows)
    with pytest.raises(SearchError, match="no candidates"):
        FiniteSpace([], [], np.zeros((0, 2)))
    with pytest.raises(SearchError, match="numbers must be equal"):
        FiniteSpace(rows, known[:2], np.eye(3))
    with pytest.raises(SearchError, match="given twice"):
        FiniteSpace([rows[0], rows[0]], known[:2], np.eye(2))
    with pytest.raises(SearchError, match="table: has no"):
        table.known([Candidate(rows[0].architecture, "elsewhere")])


def test_candidates_and_measures_survive_json(table):
    candidate = table.candidates[0]
    assert Candidate.from_dict(candidate.to_dict()) == candidate
    (known,) = table.known([candidate])
    assert Measures.from_dict(known.to_dict()) == known
