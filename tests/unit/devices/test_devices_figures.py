"""Figures say where they come from, and why they are missing; nothing is silently not a number."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetran.devices import Figure, FigureError, HardwareFigures, Workload
from edgetran.devices.names import unknown_name

sources = st.sampled_from(["measured", "predicted", "simulated", "counted"])
finite = st.floats(allow_nan=False, allow_infinity=False)
figures = st.one_of(
    st.builds(Figure, finite, st.just("ms"), sources, st.none() | finite),
    st.builds(lambda s, r: Figure.missing("W", s, r), sources, st.text(min_size=1)),
)


@given(figures)
def test_a_figure_survives_json(figure):
    assert Figure.from_dict(json.loads(json.dumps(figure.to_dict()))) == figure


@given(figures, figures, figures)
def test_hardware_figures_survive_json(latency, energy, peak):
    given_figures = HardwareFigures(latency, energy, peak)
    data = json.loads(json.dumps(given_figures.to_dict()))
    assert HardwareFigures.from_dict(data) == given_figures


def test_infeasible_figures_carry_their_reason_everywhere():
    infeasible = HardwareFigures.infeasible("simulated", "no memory")
    assert not infeasible.feasible
    for figure in (infeasible.latency_ms, infeasible.energy_mj, infeasible.peak_power_w):
        assert (figure.value, figure.reason) == (None, "no memory")
    assert HardwareFigures.from_dict(infeasible.to_dict()) == infeasible


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Figure(None, "ms", "measured"), "needs a reason"),
        (lambda: Figure(math.nan, "ms", "measured"), "not finite"),
        (lambda: Figure(1.0, "ms", "measured", math.inf), "std: inf is not finite"),
        (lambda: Figure(1.0, "ms", "guessed"), '"guessed": supported values: "measured"'),
        (lambda: Figure.from_dict({"value": 1.0, "unit": "ms"}), "source: missing"),
        (lambda: HardwareFigures.from_dict({}), "latency_ms: missing"),
        (
            lambda: HardwareFigures(*[Figure(1.0, "ms", "measured")] * 3, feasible=False),
            "need a reason",
        ),
        (lambda: Workload(0, 64), "batch_size: Invalid value: 0: must be"),
        (lambda: Workload(1, 64.0), "sequence_length: Invalid value: 64: must be a whole number"),
        (lambda: Workload(True, 64), "batch_size: Invalid value: true"),
        (
            lambda: Workload.from_dict({"batch_size": 1}),
            "workload.sequence_length: Required value",
        ),
        (lambda: Workload.from_dict({"batchsize": 1}), '"batchsize": supported values: '),
    ],
)
def test_what_cannot_be_is_refused(build, words):
    with pytest.raises(FigureError) as caught:
        build()
    assert words in str(caught.value)


def test_a_workload_survives_json():
    workload = Workload(8, 128, vocab_size=4096, num_labels=3)
    assert Workload.from_dict(json.loads(json.dumps(workload.to_dict()))) == workload


def test_a_name_near_none_gets_the_list_alone():
    assert str(unknown_name("engine", "zzz", ["torch"])) == (
        'engine: Unsupported value: "zzz": supported values: "torch"'
    )
