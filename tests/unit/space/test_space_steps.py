import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from space_strategies import architectures, design_spaces, members, seeds, spaces_with_members

from edgetran.space import Architecture, DesignSpace, DesignSpaceError, Layer, embedding, steps

FLEXIBERT = DesignSpace.preset("flexibert-2.0")
TINY = DesignSpace.preset("tiny")

MEMBER = Architecture(
    (
        Layer(64, ("sa_sdp", "l_dct"), 32, (128,)),
        Layer(128, ("sa_sdp", "sa_sdp", "c_5", "c_9"), 32, (256, 128)),
    )
)


def with_layer(place, **changes):
    layers = list(MEMBER.layers)
    layers[place] = dataclasses.replace(layers[place], **changes)
    return Architecture(tuple(layers))


def steps_between(one, other):
    """How many choices of the hierarchy differ between two architectures of equal depth."""
    count = 0
    for a, b in zip(one.layers, other.layers, strict=True):
        count += a.hidden_size != b.hidden_size
        missing, new = Counter(a.head_types), Counter(b.head_types)
        common = (missing & new).total()
        if a.num_heads == b.num_heads:
            count += a.num_heads - common
        else:  # one choice, if the smaller mix is part of the larger one
            count += 1 + min(a.num_heads, b.num_heads) - common
        if len(a.feed_forward) == len(b.feed_forward):
            count += sum(x != y for x, y in zip(a.feed_forward, b.feed_forward, strict=True))
        else:
            short, long = sorted((a.feed_forward, b.feed_forward), key=len)
            cuts = [long[:i] + long[i + 1 :] for i in range(len(long))]
            count += 1 if short in cuts else 2
    return count


@pytest.mark.parametrize(
    "neighbour",
    [
        with_layer(0, head_types=("sa_wma", "l_dct")),
        with_layer(0, head_types=("sa_sdp", "sa_sdp")),
        with_layer(0, head_types=("sa_sdp", "l_dft", "l_dct", "c_13"), head_dim=16),
        with_layer(1, head_types=("sa_sdp", "c_9"), head_dim=64),
        with_layer(1, head_types=("sa_sdp", "sa_sdp"), head_dim=64),
        with_layer(0, hidden_size=192, head_dim=96),
        with_layer(0, feed_forward=(512,)),
        with_layer(0, feed_forward=(256, 128)),
        with_layer(0, feed_forward=(128, 512)),
        with_layer(1, feed_forward=(128,)),
        with_layer(1, feed_forward=(256,)),
        with_layer(1, feed_forward=(512, 128)),
        Architecture((MEMBER.layers[0], *MEMBER.layers)),
        Architecture((*MEMBER.layers, MEMBER.layers[0])),
        Architecture((MEMBER.layers[1], *MEMBER.layers)),
    ],
)
def test_every_kind_of_step_is_among_the_neighbours(neighbour):
    assert neighbour.canonical() in steps.neighbours(TINY, MEMBER)


@pytest.mark.parametrize("removed", [0, 1, 2])
def test_a_layer_can_be_removed(removed):
    deep = Architecture((*MEMBER.layers, Layer(192, ("c_13",) * 2, 96, (512,))))
    assert Architecture(
        (*deep.layers[:removed], *deep.layers[removed + 1 :])
    ).canonical() in steps.neighbours(TINY, deep)


@given(members(TINY))
@settings(max_examples=20, deadline=None)
def test_neighbours_are_distinct_members_one_step_away(architecture):
    neighbours = steps.neighbours(TINY, architecture)
    assert len({one.canonical_json for one in neighbours}) == len(neighbours)
    for neighbour in neighbours:
        assert TINY.contains(neighbour)
        if neighbour.num_layers == architecture.num_layers:
            assert steps_between(architecture, neighbour) == 1
        else:
            assert abs(neighbour.num_layers - architecture.num_layers) == 1


@given(members(TINY), st.data())
@settings(max_examples=30, deadline=None)
def test_a_step_within_a_depth_can_be_taken_back(architecture, data):
    within = [
        one
        for one in steps.neighbours(TINY, architecture)
        if one.num_layers == architecture.num_layers
    ]
    neighbour = data.draw(st.sampled_from(within))
    assert architecture.canonical() in steps.neighbours(TINY, neighbour)


def test_every_member_of_a_space_is_reached_by_steps():
    space = DesignSpace((1, 2), (12, 16), (1, 3), ("sa_sdp", "c_5"), (4, 8), max_stack=2)
    start = embedding.architecture_at(space, 0)
    reached, frontier = {start}, [start]
    while frontier:
        for neighbour in steps.neighbours(space, frontier.pop()):
            if neighbour not in reached:
                reached.add(neighbour)
                frontier.append(neighbour)
    assert len(reached) == space.cardinality() == 72 + 72**2


@given(spaces_with_members, seeds)
@settings(deadline=None)
def test_a_mutation_is_one_of_the_neighbours(space_and_member, seed):
    space, architecture = space_and_member
    assume(space.cardinality() > 1)
    mutant = steps.mutate(space, architecture, np.random.default_rng(seed))
    assert space.contains(mutant)
    assert mutant.graph_hash != architecture.graph_hash
    neighbours = steps.neighbours(space, architecture)
    assert mutant in neighbours


def test_mutation_takes_every_kind_of_step_and_repeats_by_seed():
    rng = np.random.default_rng(0)
    mutants = [steps.mutate(TINY, MEMBER, rng) for _ in range(300)]
    depths = Counter(mutant.num_layers for mutant in mutants)
    assert depths[3] / 300 == pytest.approx(1 / 6, abs=0.08)
    same_depth = [mutant for mutant in mutants if mutant.num_layers == 2]
    for attribute in ("hidden_size", "num_heads", "head_types", "feed_forward"):
        assert any(
            getattr(one.layers[0], attribute) != getattr(MEMBER.layers[0], attribute)
            for one in same_depth
        )
    rng = np.random.default_rng(0)
    assert mutants == [steps.mutate(TINY, MEMBER, rng) for _ in range(300)]


def test_the_deepest_published_architecture_has_some_thousand_neighbours():
    base = Architecture.homogeneous(
        num_layers=12, hidden_size=768, num_heads=12, feed_forward=[3072]
    )
    neighbours = steps.neighbours(FLEXIBERT, base)
    per_layer = 6 + 1 + 3 + 5 + 11  # retyped, 8 heads, hidden size, width, stack
    assert len(neighbours) == 12 * per_layer + 1  # and one with 10 layers
    mixed = embedding.decode(FLEXIBERT, [5, *(3, 257, 21804 - 9000) * 12])
    assert 1000 < len(steps.neighbours(FLEXIBERT, mixed)) < 12_000


def test_the_only_member_of_a_space_has_no_neighbour_and_cannot_be_mutated():
    space = DesignSpace((1,), (8,), (1,), ("sa_sdp",), (4,))
    only = embedding.architecture_at(space, 0)
    assert steps.neighbours(space, only) == []
    with pytest.raises(DesignSpaceError, match="holds one architecture only"):
        steps.mutate(space, only, np.random.default_rng(0))
    assert steps.mutate(space, MEMBER, np.random.default_rng(0)) == only


@given(design_spaces, architectures, seeds)
@settings(deadline=None)
def test_an_outside_architecture_is_brought_inside(space, architecture, seed):
    assume(not space.contains(architecture))
    projected = steps.project(space, architecture)
    assert space.contains(projected)
    assert steps.project(space, projected) == projected
    assert steps.neighbours(space, architecture)[0] == projected.canonical()
    mutant = steps.mutate(space, architecture, np.random.default_rng(seed))
    assert mutant in steps.neighbours(space, architecture)


def test_the_projection_resembles_what_was_outside():
    outside = Architecture(
        (
            Layer(256, ("sa_sdp",) * 3 + ("c_5", "l_dct"), 64, (896,)),
            Layer(256, ("c_5",) * 2, 128, (128, 256, 512)),
        )
    )
    assert steps.project(TINY, outside) == Architecture(
        (
            Layer(192, ("sa_sdp",) * 3 + ("l_dct",), 48, (512,)),
            Layer(192, ("c_5",) * 2, 96, (128, 256)),
        )
    )


def test_a_head_type_that_is_not_allowed_becomes_one_of_its_family():
    space = DesignSpace.from_dict(TINY.to_dict() | {"headTypes": ["l_dft", "c_13", "sa_wma"]})
    projected = steps.project(space, MEMBER)
    assert projected.layers[0].head_types == ("sa_wma", "l_dft")
    assert projected.layers[1].head_types == ("sa_wma", "sa_wma", "c_13", "c_13")
    only_scores = DesignSpace.from_dict(TINY.to_dict() | {"headTypes": ["sa_sdp"]})
    assert steps.project(only_scores, MEMBER).layers[0].head_types == ("sa_sdp", "sa_sdp")
