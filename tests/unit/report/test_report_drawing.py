"""Architectures are drawn whole and inside their frames; numbers and words read well."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetran.devices import Figure
from edgetran.report import wording
from edgetran.report.drawing import draw, head_types
from edgetran.space import HEAD_TYPES, Architecture, Layer

layers = st.builds(
    Layer,
    hidden_size=st.sampled_from((64, 128, 256, 768)),
    head_types=st.lists(st.sampled_from(HEAD_TYPES), min_size=1, max_size=20).map(tuple),
    head_dim=st.just(32),
    feed_forward=st.lists(st.integers(16, 4096), min_size=1, max_size=4).map(tuple),
)
architectures = st.lists(layers, min_size=1, max_size=12).map(lambda x: Architecture(tuple(x)))


@given(architectures)
def test_every_head_and_feed_forward_lies_in_its_layer(architecture):
    drawing = draw("Winner", architecture)
    assert len(drawing.layers) == architecture.num_layers
    below = 0.0
    for drawn, layer in zip(drawing.layers, architecture.layers, strict=True):
        frame = drawn.frame
        assert frame.y > below
        below = frame.y + frame.height
        kinds = [box.kind for box in drawn.boxes]
        assert kinds == [*layer.head_types, *["ff"] * len(layer.feed_forward)]
        for box in drawn.boxes:
            assert frame.x <= box.x
            assert box.x + box.width <= frame.x + frame.width + 1e-6
            assert frame.y <= box.y
            assert box.y + box.height <= frame.y + frame.height + 1e-6
    assert below < drawing.height


@given(architectures)
def test_wider_feed_forwards_have_longer_bars(architecture):
    bars = [
        (int(box.label), box.width)
        for drawn in draw("x", architecture).layers
        for box in drawn.boxes
        if box.kind == "ff"
    ]
    bars.sort()
    widths = [width for _, width in bars]
    assert widths == sorted(widths)


def test_only_changed_layers_are_marked():
    before = Architecture.homogeneous(num_layers=3, hidden_size=64, num_heads=2, feed_forward=[128])
    middle = replace(before.layers[1], feed_forward=(96,))
    after = Architecture((before.layers[0], middle, before.layers[2]))
    changed = [layer.changed for layer in draw("x", after, before=before).layers]
    assert changed == [False, True, False]
    assert not any(layer.changed for layer in draw("x", before, before=before).layers)


def test_the_legend_names_the_types_that_occur():
    architecture = Architecture((Layer(64, ("l_dct", "sa_sdp"), 32, (64,)),))
    assert [kind for kind, _, _ in head_types([architecture])] == ["sa_sdp", "l_dct"]
    assert set(wording.HEAD_NAMES) == set(HEAD_TYPES)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "—"), (0, "0"), (0.0123, "0.0123"), (2.5, "2.50"), (123.4, "123"),
        (4567.8, "4,568"), (8_737_920, "8.74 M"), (123_456_789, "123 M"), (2.5e9, "2.50 G"),
    ],
)  # fmt: skip
def test_numbers_keep_three_digits(value, text):
    assert wording.number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "—"), (4.25, "4.2 s"), (75, "75 s"), (312, "5 min 12 s"), (7260, "2 h 01 min")],
)
def test_durations_have_a_fitting_unit(seconds, text):
    assert wording.seconds_text(seconds) == text


def test_a_ratio_needs_both_values():
    assert wording.ratio_text(2.0, 4.0) == "0.50×"
    assert wording.ratio_text(None, 4.0) == wording.ratio_text(2.0, 0.0) == "—"


def test_a_figure_is_shown_with_its_unit():
    assert wording.measure_text("latencyMs", Figure(2.5, "ms", "measured")) == "2.50 ms"
    assert wording.measure_text("parameters", Figure(1234567.0, "", "counted")) == "1,234,567"
    assert wording.measure_text("energyMj", Figure.missing("mJ", "measured", "why")) == "—"
