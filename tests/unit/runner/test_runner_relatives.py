"""The profile of a given model covers what pruning may make of it."""

from __future__ import annotations

import numpy as np

from edgetran.runner.model_import import LEAST_WIDTH, RELATIVES, relatives
from edgetran.space import Architecture, encoder_parameters

MINILM = Architecture.homogeneous(num_layers=6, hidden_size=384, num_heads=12, feed_forward=[1536])


def test_relatives_span_all_sizes_from_the_given_model_to_the_smallest_child():
    found = relatives(MINILM, seed=0)
    assert len({each.graph_hash for each in found}) == RELATIVES
    assert found[0] == MINILM
    sizes = np.array([encoder_parameters(each) for each in found]) / encoder_parameters(MINILM)
    for low, high in ((0.02, 0.1), (0.1, 0.25), (0.25, 0.5), (0.5, 1.0)):
        assert ((sizes >= low) & (sizes < high)).sum() >= 2, (low, high, sizes)
    widths = [width for each in found for layer in each.layers for width in layer.feed_forward]
    assert min(widths) == LEAST_WIDTH
    assert min(layer.num_heads for each in found for layer in each.layers) == 1


def test_relatives_are_the_same_for_the_same_seed():
    assert relatives(MINILM, seed=3) == relatives(MINILM, seed=3)
    assert relatives(MINILM, seed=3) != relatives(MINILM, seed=4)


def test_a_model_already_at_the_floors_has_kin_too():
    tiny = Architecture.homogeneous(num_layers=1, hidden_size=32, num_heads=1, feed_forward=[32])
    assert len(relatives(tiny, seed=0)) >= 4
