import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from space_strategies import architectures, design_spaces, spaces_with_members

from edgetran.space import HEAD_TYPES, Architecture, DesignSpace, DesignSpaceError, Layer, embedding
from edgetran.space.ranking import (
    multiset_count,
    rank_multiset,
    rank_word,
    unrank_multiset,
    unrank_word,
    word_count,
)

FLEXIBERT = DesignSpace.preset("flexibert-2.0")
TINY = DesignSpace.preset("tiny")
SMALL = DesignSpace(
    num_layers=(2, 1),
    hidden_sizes=(12, 9),
    num_heads=(1, 2),
    head_types=("c_5", "sa_sdp"),
    feed_forward_widths=(16, 8),
    max_stack=2,
)

PUBLISHED = Path(__file__).parents[4] / "shared" / "data" / "protran"
INLINE = {
    "layers": [1, 2],
    "hiddenSizes": [64],
    "heads": [2],
    "headTypes": ["sa_sdp", "c_5"],
    "feedForwardWidths": [128, 256],
}


def test_the_published_space_has_its_published_size():
    assert FLEXIBERT.cardinality() == sum(
        (4 * 258 * 21805) ** layers for layers in (2, 4, 6, 8, 10, 12)
    )
    assert f"{FLEXIBERT.cardinality() / 10**88:.3f}e88" == "1.686e88"


def test_the_tiny_space_is_what_the_quickstart_says():
    assert TINY.num_layers == (2, 3, 4)
    assert TINY.hidden_sizes == (64, 128, 192)
    assert TINY.num_heads == (2, 4)
    assert TINY.head_types == HEAD_TYPES
    assert TINY.feed_forward_widths == (128, 256, 512)
    assert TINY.max_stack == 2
    assert TINY.cardinality() == sum((3 * 12 * (28 + 210)) ** layers for layers in (2, 3, 4))


def test_the_published_options_have_their_published_indices():
    def indices(heads, widths):
        layer = Layer(128, tuple(heads), 128 // len(heads), tuple(widths))
        return embedding.encode(FLEXIBERT, Architecture((layer, layer)))[2:4].tolist()

    assert indices(["sa_sdp"] * 2, [256]) == [0, 0]
    assert indices(["sa_sdp"] * 4, [4096]) == [5, 28]
    assert indices(["sa_sdp"] * 8, [256, 256]) == [6, 238]
    assert indices(["sa_sdp"] * 12, [256, 256, 256]) == [42, 3241]
    assert indices(["c_13"] * 12, [4096, 4096, 4096]) == [257, 21804]


def test_the_published_embeddings_are_reproduced():
    mini = Architecture.homogeneous(num_layers=4, hidden_size=256, num_heads=4, feed_forward=[1024])
    base = Architecture.homogeneous(
        num_layers=12, hidden_size=768, num_heads=12, feed_forward=[3072]
    )
    assert embedding.encode(FLEXIBERT, mini).tolist() == [1, *(1, 2, 28) * 4, *(0,) * 24]
    assert embedding.encode(FLEXIBERT, base).tolist() == [5, *(3, 4, 3241) * 12]
    assert embedding.encode(FLEXIBERT, mini).dtype == np.int64


def test_every_published_measurement_has_its_published_embedding():
    if not PUBLISHED.is_dir():
        pytest.skip(f"published measurements are not at {PUBLISHED}")
    rows = [
        json.loads(line)
        for path in sorted(PUBLISHED.glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    assert len(rows) == 586
    for row in rows:
        architecture = Architecture.from_model_dict(row["model_dict"])
        assert embedding.encode(FLEXIBERT, architecture).tolist() == row["embedding"]
        assert embedding.decode(FLEXIBERT, row["embedding"]) == architecture.canonical()


@given(spaces_with_members)
def test_embedding_and_architecture_are_an_exact_round_trip(space_and_member):
    space, architecture = space_and_member
    point = embedding.encode(space, architecture)
    assert point.shape == (1 + 3 * max(space.num_layers),)
    assert embedding.decode(space, point) == architecture.canonical()
    assert space.contains(architecture)
    assert space.why_not(architecture) is None


def test_every_rank_is_another_architecture_and_there_are_as_many_as_counted():
    every = [embedding.architecture_at(SMALL, rank) for rank in range(SMALL.cardinality())]
    assert len(every) == SMALL.cardinality() == 60 + 60**2
    assert len({embedding.encode(SMALL, one).tobytes() for one in every}) == len(every)
    assert len({one.canonical_json for one in every}) == len(every)
    for rank in (-1, SMALL.cardinality()):
        with pytest.raises(
            DesignSpaceError, match=f"rank: Invalid value: {rank}: must be from 0 to 3659"
        ):
            embedding.architecture_at(SMALL, rank)


def test_a_rank_may_have_89_digits():
    last = embedding.architecture_at(FLEXIBERT, FLEXIBERT.cardinality() - 1)
    assert embedding.encode(FLEXIBERT, last).tolist() == [5, *(3, 257, 21804) * 12]


@given(st.integers(1, 5), st.integers(1, 5))
def test_multisets_are_ranked_in_lexicographic_order(size, kinds):
    every = list(itertools.combinations_with_replacement(range(kinds), size))
    assert len(every) == multiset_count(size, kinds)
    for rank, elements in enumerate(every):
        assert rank_multiset(elements, kinds) == rank
        assert unrank_multiset(rank, size, kinds) == elements


@given(st.integers(1, 4), st.integers(1, 4))
def test_words_are_ranked_by_length_then_in_lexicographic_order(letters, longest):
    every = [
        word
        for length in range(1, longest + 1)
        for word in itertools.product(range(letters), repeat=length)
    ]
    assert len(every) == word_count(letters, longest)
    for rank, word in enumerate(every):
        assert rank_word(word, letters) == rank
        assert unrank_word(rank, letters) == word


@given(st.integers(1, 300), st.data())
def test_large_multisets_are_ranked_without_being_enumerated(size, data):
    rank = data.draw(st.integers(0, multiset_count(size, 7) - 1))
    assert rank_multiset(unrank_multiset(rank, size, 7), 7) == rank


@given(design_spaces)
def test_a_design_space_is_plain_data(space):
    assert DesignSpace.from_dict(space.to_dict()) == space
    assert DesignSpace.from_dict(json.loads(json.dumps(space.to_dict()))) == space
    assert hash(DesignSpace.from_dict(space.to_dict())) == hash(space)


@pytest.mark.parametrize("space", [FLEXIBERT, TINY, SMALL])
def test_a_design_space_comes_from_a_yaml_file(space, tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump(space.to_dict()))
    assert DesignSpace.from_yaml(path) == space


def test_the_inline_form_needs_no_head_types_no_stack_and_no_name_and_a_preset_is_named():
    space = DesignSpace.from_dict({key: INLINE[key] for key in INLINE if key != "headTypes"})
    assert (space.head_types, space.max_stack, space.name) == (HEAD_TYPES, 1, "custom")
    assert DesignSpace.from_dict({"preset": "tiny"}) == TINY
    assert TINY.name == "tiny"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"heads": [8], "hiddenSizes": [4]},
            "heads: Invalid value: 8: must be at most the smallest of hiddenSizes, 4",
        ),
        (
            {"heads": [2, 128]},
            "Invalid value: 128: must be at most the smallest of hiddenSizes, 64",
        ),
        ({"heads": []}, r"heads: Invalid value: \[\]: must have at least 1 entry"),
        ({"heads": 4}, "heads: Invalid value: 4: must be a list"),
        ({"heads": [2, "4"]}, 'heads: Invalid value: "4": must be a whole number of at least 1'),
        ({"layers": [2, 2]}, r"layers\[1\]: Duplicate value: 2"),
        ({"layers": [0]}, "layers: Invalid value: 0: must be"),
        ({"layers": [True]}, "layers: Invalid value: true: must be"),
        ({"layers": [10**9]}, "layers: Invalid value: 1000000000: must be at most 1000"),
        ({"hiddenSizes": [64.0]}, "hiddenSizes: Invalid value: 64: must be a whole number"),
        (
            {"headTypes": ["sa"]},
            'headTypes: Unsupported value: "sa": supported values: "sa_sdp", "sa_wma"',
        ),
        ({"headTypes": "sa_sdp"}, 'headTypes: Invalid value: "sa_sdp": must be a list'),
        ({"headTypes": [["sa_sdp"]]}, r"headTypes: Unsupported value: \[1 entry\]"),
        ({"feedForwardWidths": [-1]}, "feedForwardWidths: Invalid value: -1: must be"),
        ({"maxFeedForwardStack": 0}, "maxFeedForwardStack: Invalid value: 0: must be"),
        (
            {"maxFeedForwardStack": 99},
            r"maxFeedForwardStack: Invalid value: 99: must give fewer than 2\^63 stacks",
        ),
        (
            {"heads": [10**10], "hiddenSizes": [10**11], "headTypes": list(HEAD_TYPES)},
            r"heads: Invalid value: 10000000000: must give fewer than 2\^63 mixes",
        ),
        ({"name": 3}, "name: Invalid value: 3: must be text"),
        (
            {"widths": [1]},
            'Unsupported value: "widths": supported values: "preset", "layers", "hiddenSizes"',
        ),
        (
            {"preset": "tiny"},
            "preset: Forbidden: may not be set together with feedForwardWidths, headTypes, ",
        ),
    ],
)
def test_an_impossible_space_is_refused_with_the_place_and_what_is_allowed(change, message):
    with pytest.raises(DesignSpaceError, match=message):
        DesignSpace.from_dict(INLINE | change)


@pytest.mark.parametrize("name", ["huge", "../tiny", ["tiny"], None])
def test_an_unknown_preset_is_refused(name):
    with pytest.raises(DesignSpaceError, match=r'supported values: "flexibert-2\.0", "tiny"'):
        DesignSpace.from_dict({"preset": name})


def test_a_space_that_is_no_mapping_or_not_whole_is_refused():
    with pytest.raises(DesignSpaceError, match="must be a mapping with preset, or with layers"):
        DesignSpace.from_dict([1])
    with pytest.raises(
        DesignSpaceError, match="Required value: must have heads and feedForwardWidths, or preset"
    ):
        DesignSpace.from_dict({"layers": [1], "hiddenSizes": [64]})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"layers: [1", "space.yaml: not YAML"),
        (b"\xff\xfe\x00", "space.yaml: not YAML"),
        (b"", "space.yaml: design space: Invalid value: null: must be a mapping"),
        (b"!!python/object/apply:os.getcwd []", "space.yaml: not YAML"),
    ],
)
def test_a_file_that_holds_no_space_is_refused_by_name(content, message, tmp_path):
    path = tmp_path / "space.yaml"
    path.write_bytes(content)
    with pytest.raises(DesignSpaceError, match=message):
        DesignSpace.from_yaml(path)


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(DesignSpaceError, match=r"none\.yaml: cannot be read"):
        DesignSpace.from_yaml(tmp_path / "none.yaml")


MEMBER = Architecture((Layer(64, ("sa_sdp", "l_dct"), 32, (128,)),) * 2)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (
            Layer(896, ("sa_sdp", "c_5"), 448, (128,)),
            "hiddenSizes: Unsupported value: 896: supported values: 64, 128",
        ),
        (
            Layer(64, ("sa_sdp",) * 5, 12, (128,)),
            "heads: Unsupported value: 5: supported values: 2, 4",
        ),
        (Layer(64, ("sa_sdp",) * 2, 31, (128,)), "head dimension: Invalid value: 31: must be 32"),
        (
            Layer(64, ("sa_sdp",) * 2, 32, (129,)),
            "feedForwardWidths: Unsupported value: 129: supported values: 128",
        ),
        (
            Layer(64, ("sa_sdp",) * 2, 32, (128,) * 3),
            r"Invalid value: \[3 entries\]: must have at most maxFeedForwardStack widths, 2",
        ),
    ],
)
def test_what_is_outside_is_not_contained_and_not_encoded_and_the_reason_is_said(layer, reason):
    outside = Architecture((MEMBER.layers[0], layer))
    assert not TINY.contains(outside)
    with pytest.raises(DesignSpaceError, match=f"design space tiny: layer 1: .*{reason}"):
        embedding.encode(TINY, outside)


def test_depth_and_head_types_outside_are_not_contained():
    assert TINY.contains(MEMBER)
    assert (
        TINY.why_not(Architecture(MEMBER.layers[:1]))
        == "layers: Unsupported value: 1: supported values: 2, 3, 4"
    )
    without_dct = DesignSpace.from_dict(TINY.to_dict() | {"headTypes": ["sa_sdp"]})
    assert (
        without_dct.why_not(MEMBER)
        == 'layer 0: headTypes: Unsupported value: "l_dct": supported values: "sa_sdp"'
    )


@given(design_spaces, architectures)
def test_contains_and_encode_agree(space, architecture):
    if space.contains(architecture):
        assert (
            embedding.decode(space, embedding.encode(space, architecture))
            == architecture.canonical()
        )
    else:
        with pytest.raises(DesignSpaceError):
            embedding.encode(space, architecture)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, 3, r"embedding\[0\]: Invalid value: 3: must be from 0 to 2"),
        (0, -1, r"embedding\[0\]: Invalid value: -1: must be from 0 to 2"),
        (1, 3, r"embedding\[1\]: Invalid value: 3: must be from 0 to 2"),
        (2, 12, r"embedding\[2\]: Invalid value: 12: must be from 0 to 11"),
        (6, 238, r"embedding\[6\]: Invalid value: 238: must be from 0 to 237"),
        (7, 1, r"embedding\[7\]: Invalid value: 1: must be 0 past the last layer"),
        (3, 0.5, r"embedding\[3\]: Invalid value: 0\.5: must be an integer"),
        (3, math.inf, r"embedding\[3\]: Invalid value: inf: must be an integer"),
        (3, "x", r'embedding\[3\]: Invalid value: "x": must be an integer'),
    ],
)
def test_a_wrong_embedding_is_refused_with_the_place(place, value, message):
    point = embedding.encode(TINY, MEMBER).tolist()
    point[place] = value
    with pytest.raises(DesignSpaceError, match=message):
        embedding.decode(TINY, point)


def test_an_embedding_of_another_length_is_refused():
    with pytest.raises(
        DesignSpaceError, match=r"embedding: Invalid value: \[37 entries\]: must have 13 integers"
    ):
        embedding.decode(TINY, [0] * 37)


def test_importing_the_room_imports_neither_torch_nor_scipy():
    code = (
        "import sys, edgetran.space as s; s.DesignSpace.preset('tiny').cardinality();"
        "print([m for m in ('torch', 'scipy', 'transformers', 'ray') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
