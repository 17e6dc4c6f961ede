import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from space_strategies import architectures, layers, seeds

from edgetran.space import Architecture, ArchitectureError, Layer

BERT_MINI = Architecture.homogeneous(
    num_layers=4, hidden_size=256, num_heads=4, feed_forward=[1024]
)
BERT_BASE = Architecture.homogeneous(
    num_layers=12, hidden_size=768, num_heads=12, feed_forward=[3072]
)


def shuffled(architecture, seed):
    rng = np.random.default_rng(seed)
    return Architecture(
        tuple(
            dataclasses.replace(layer, head_types=tuple(rng.permutation(layer.head_types).tolist()))
            for layer in architecture.layers
        )
    )


def test_the_published_fingerprints_are_reproduced():
    assert BERT_MINI.graph_hash == "40f62e468f3458f8d4a5b49ba1413ce6"
    assert BERT_BASE.graph_hash == "8b20da51c159887b310cabce176da7fb"


@given(architectures, seeds)
def test_the_order_of_heads_is_no_part_of_the_identity(architecture, seed):
    other = shuffled(architecture, seed)
    assert other.graph_hash == architecture.graph_hash
    assert other.canonical_json == architecture.canonical_json
    assert other.canonical() == architecture.canonical()


@given(architectures, architectures)
def test_different_architectures_have_different_identities(one, other):
    if one.canonical() == other.canonical():
        assert one.graph_hash == other.graph_hash
    else:
        assert one.graph_hash != other.graph_hash
        assert one.canonical_json != other.canonical_json


@given(layers, layers)
def test_the_order_of_layers_is_part_of_the_identity(one, other):
    alike = Architecture((one,)).canonical() == Architecture((other,)).canonical()
    one_way, other_way = Architecture((one, other)), Architecture((other, one))
    assert (one_way.graph_hash == other_way.graph_hash) == alike
    assert (one_way.canonical_json == other_way.canonical_json) == alike


def test_far_from_both_ends_the_published_hash_confuses_layers_and_the_json_does_not():
    """Five rounds see about two layers far: a known limit of the published fingerprint."""
    odd = dataclasses.replace(BERT_BASE.layers[0], head_types=("c_5", *("sa_sdp",) * 11))

    def with_odd_layer(place):
        return Architecture((*BERT_BASE.layers[:place], odd, *BERT_BASE.layers[place + 1 :]))

    assert with_odd_layer(5).graph_hash == with_odd_layer(6).graph_hash
    assert with_odd_layer(5).canonical_json != with_odd_layer(6).canonical_json
    assert with_odd_layer(0).graph_hash != with_odd_layer(1).graph_hash


@given(architectures)
def test_the_model_dict_and_the_json_are_exact_round_trips(architecture):
    model_dict = architecture.to_model_dict()
    assert Architecture.from_model_dict(model_dict) == architecture
    assert Architecture.from_model_dict(json.loads(json.dumps(model_dict))) == architecture
    from_json = Architecture.from_model_dict(json.loads(architecture.canonical_json))
    assert from_json == architecture.canonical()
    assert from_json.graph_hash == architecture.graph_hash


@given(architectures)
def test_an_equal_value_is_the_same_key(architecture):
    twin = Architecture.from_model_dict(architecture.to_model_dict())
    assert {architecture: "found"}[twin] == "found"


def test_an_architecture_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        BERT_MINI.layers = ()
    with pytest.raises(dataclasses.FrozenInstanceError):
        BERT_MINI.layers[0].hidden_size = 1


def test_what_growing_and_pruning_make_can_be_represented():
    odd = Architecture(
        (
            Layer(256, ("sa_sdp",) * 3 + ("c_5", "l_dct"), 64, (896,)),
            Layer(384, ("sa_wma",), 32, (1000, 17)),
        )
    )
    assert odd.num_layers == 2
    assert odd.layers[0].num_heads == 5
    assert odd.layers[0].inner_size == 320
    assert odd.layers[0].head_ops[-1] == "l_dct_64"
    assert len(odd.graph_hash) == 32


def test_the_head_dimension_of_a_homogeneous_architecture_is_floored():
    architecture = Architecture.homogeneous(
        num_layers=1, hidden_size=128, num_heads=12, feed_forward=[256], head_type="c_9"
    )
    assert architecture.layers[0].head_dim == 10
    assert architecture.layers[0].inner_size == 120


GOOD = {"l": 1, "h": [128], "f": [[512]], "o": [["sa_sdp_64", "c_5_64"]]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"l": 0}, "l: Invalid value: 0: must be a whole number of at least 1"),
        ({"l": True}, "l: Invalid value: true: must be a whole number"),
        ({"l": "1"}, 'l: Invalid value: "1": must be a whole number'),
        ({"l": 2}, r"h: Invalid value: \[1 entry\]: must have one entry per layer, 2"),
        ({"h": 128}, "h: Invalid value: 128: must be a list"),
        ({"h": [0]}, "layer 0: hidden_size: Invalid value: 0: must be"),
        ({"h": [128.0]}, "layer 0: hidden_size: Invalid value: 128: must be a whole number"),
        ({"f": [[]]}, "layer 0: feed_forward: a layer needs at least one width"),
        ({"f": [512]}, r"f\[0\]: Invalid value: 512: must be a list of widths"),
        ({"f": [[512, -1]]}, "layer 0: feed_forward: Invalid value: -1: must be"),
        ({"o": [[]]}, r"o\[0\]: Invalid value: \[\]: must be a list of heads"),
        ({"o": ["sa_sdp_64"]}, r'o\[0\]: Invalid value: "sa_sdp_64": must be a list of heads'),
        ({"o": [["sa_64"]]}, r'o\[0\]: Invalid value: "sa_64": must be TYPE_DIMENSION'),
        ({"o": [["sa_sdp_x"]]}, r'o\[0\]: Invalid value: "sa_sdp_x": must be TYPE_DIMENSION'),
        ({"o": [["sa_sdp_²"]]}, r'o\[0\]: Invalid value: "sa_sdp_²": must be TYPE_DIMENSION'),
        ({"o": [["sa_sdp_0"]]}, "layer 0: head_dim: Invalid value: 0: must be"),
        ({"o": [[7]]}, r"o\[0\]: Invalid value: 7: must be TYPE_DIMENSION"),
        ({"o": [["sa_sdp_64", "c_5_32"]]}, r"o\[0\]: head dimensions \[32, 64\] differ"),
        ({"p": 1}, 'Unsupported value: "p": supported values: "f", "h", "l", "o"'),
    ],
)
def test_a_wrong_model_dict_is_refused_with_the_place_and_what_it_must_be(change, message):
    with pytest.raises(ArchitectureError, match=message):
        Architecture.from_model_dict(GOOD | change)


def test_a_model_dict_without_a_key_is_refused():
    with pytest.raises(ArchitectureError, match="model dict: Required value: must have f and o"):
        Architecture.from_model_dict({"l": 1, "h": [128]})
    with pytest.raises(ArchitectureError, match=r"must be a mapping with l, h, f, o"):
        Architecture.from_model_dict([1])


def test_no_layers_no_heads_and_unknown_heads_are_refused():
    with pytest.raises(ArchitectureError, match="at least one layer"):
        Architecture(())
    with pytest.raises(ArchitectureError, match="at least one head"):
        Layer(128, (), 64, (512,))
    with pytest.raises(
        ArchitectureError, match='Unsupported value: "c_7": supported values: "sa_sdp",'
    ):
        Layer(128, ("c_7",), 64, (512,))
