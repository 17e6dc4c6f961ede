"""Closed-form correction: errors fall, never rise, and vanish where they can."""

from __future__ import annotations

import copy

import pytest
import torch

from edgetran.models import (
    FlexiBertConfig,
    FlexiBertForSequenceClassification,
    PruneMap,
    prune,
)
from edgetran.models.correction import LayerOrigin, correct
from edgetran.space import Architecture, Layer

ARCHITECTURE = Architecture(
    (
        Layer(32, ("sa_sdp", "c_5", "l_dct", "sa_wma"), 8, (48, 24)),
        Layer(32, ("sa_sdp", "sa_sdp", "l_dft"), 8, (64,)),
        Layer(32, ("sa_sdp", "sa_sdp"), 16, (40,)),
    )
)


@pytest.fixture
def parent():
    torch.manual_seed(0)
    config = FlexiBertConfig.from_architecture(
        ARCHITECTURE, vocab_size=60, max_position_embeddings=16, initializer_range=0.3
    )
    return FlexiBertForSequenceClassification(config).eval()


def inputs(count, seed):
    generator = torch.Generator().manual_seed(seed)
    result = []
    for _ in range(count):
        ids = torch.randint(1, 60, (16, 12), generator=generator)
        mask = torch.ones_like(ids)
        mask[::2, 8:] = 0
        result.append({"input_ids": ids, "attention_mask": mask})
    return result


def sources(keep):
    return [LayerOrigin(layer, keep.kept_hidden[layer]) for layer in keep.kept_layers]


EVERYTHING = PruneMap.everything(ARCHITECTURE)
CUTS = {
    "heads": EVERYTHING.without_heads(0, [1, 3]).without_heads(1, [2]),
    "units": EVERYTHING.without_units(0, 0, range(20)).without_units(1, 0, range(0, 64, 2)),
    "layer": EVERYTHING.without_layer(1).without_heads(2, [0]),
    "first layer": EVERYTHING.without_layer(0),
    "channels": EVERYTHING.without_hidden(0, range(6))
    .without_hidden(1, range(6))
    .without_hidden(2, range(6)),
}


@pytest.mark.parametrize("keep", CUTS.values(), ids=CUTS)
def test_every_refitted_map_is_nearer_to_what_the_parent_computes(parent, keep):
    child = prune(parent, keep)
    refits = correct(child, parent, sources(keep), inputs(8, seed=1))
    assert [(r.layer, r.part) for r in refits] == [
        (layer, part)
        for layer in range(len(keep.kept_layers))
        for part in ("attention", "feed_forward")
    ]
    assert all(refit.after <= refit.before for refit in refits)
    assert sum(r.after for r in refits) < 0.95 * sum(r.before for r in refits)


@pytest.mark.parametrize("name", ["heads", "units"])
def test_the_logits_of_other_texts_are_nearer_to_the_parents_too(parent, name):
    keep = CUTS[name]
    child = prune(parent, keep)
    corrected = copy.deepcopy(child)
    correct(corrected, parent, sources(keep), inputs(60, seed=1))

    @torch.no_grad()
    def distance(model):
        return sum(
            float(((model(**x).logits - parent(**x).logits) ** 2).sum()) for x in inputs(8, seed=2)
        )

    assert distance(corrected) < distance(child)


def test_what_can_be_made_up_for_entirely_is(parent):
    with torch.no_grad():  # two heads of one layer that compute the same
        attention = parent.flexibert.layers[2].attention
        rows = attention.query_key_value
        for block in range(3):
            start = 32 * block
            rows.weight[start + 16 : start + 32] = rows.weight[start : start + 16]
            rows.bias[start + 16 : start + 32] = rows.bias[start : start + 16]
    keep = EVERYTHING.without_heads(2, [1])
    child = prune(parent, keep)
    batch = inputs(1, seed=3)[0]
    with torch.no_grad():
        wanted, before = parent(**batch).logits, child(**batch).logits
        correct(child, parent, sources(keep), inputs(12, seed=1), ridge=1e-9)
        after = child(**batch).logits
    assert (before - wanted).abs().max() > 1e-3
    assert (after - wanted).abs().max() < 1e-4


def test_a_child_that_computes_what_its_parent_does_is_left_alone(parent):
    child = prune(parent, EVERYTHING)
    before = {name: value.clone() for name, value in child.state_dict().items()}
    correct(child, parent, sources(EVERYTHING), inputs(4, seed=1))
    for name, value in child.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=1e-4, atol=1e-5)


def test_an_empty_calibration_set_is_refused(parent):
    with pytest.raises(ValueError, match="calibration set: no examples"):
        correct(prune(parent, EVERYTHING), parent, sources(EVERYTHING), [])
