"""Hypothesis strategies for layers, architectures and design spaces."""

from hypothesis import strategies as st

from edgetran.space import HEAD_TYPES, Architecture, DesignSpace, Layer

sizes = st.integers(1, 1024)
seeds = st.integers(0, 2**32 - 1)

layers = st.builds(
    Layer,
    hidden_size=sizes,
    head_types=st.lists(st.sampled_from(HEAD_TYPES), min_size=1, max_size=6).map(tuple),
    head_dim=st.integers(1, 96),
    feed_forward=st.lists(sizes, min_size=1, max_size=3).map(tuple),
)
"""Any layer, most of them in no design space."""

architectures = st.lists(layers, min_size=1, max_size=5).map(
    lambda layers: Architecture(tuple(layers))
)
"""Any architecture, such as growing and pruning make them."""


def _some(values, max_size):
    return st.lists(values, min_size=1, max_size=max_size, unique=True).map(tuple)


design_spaces = st.builds(
    DesignSpace,
    num_layers=_some(st.integers(1, 5), 3),
    hidden_sizes=_some(st.integers(8, 512), 3),
    num_heads=_some(st.integers(1, 8), 3),
    head_types=_some(st.sampled_from(HEAD_TYPES), 7),
    feed_forward_widths=_some(st.integers(1, 2048), 4),
    max_stack=st.integers(1, 3),
    head_dim=st.none() | st.integers(1, 64),
)
"""Design spaces of up to some 10^22 architectures, values in any order."""


def members(space):
    """Architectures of a design space, heads in any order, every depth equally likely."""
    layer = st.builds(
        lambda hidden, heads, stack: Layer(
            hidden, tuple(heads), space.head_dim_of(hidden, len(heads)), stack
        ),
        st.sampled_from(space.hidden_sizes),
        st.sampled_from(space.num_heads).flatmap(
            lambda n: st.lists(st.sampled_from(space.head_types), min_size=n, max_size=n)
        ),
        st.lists(
            st.sampled_from(space.feed_forward_widths), min_size=1, max_size=space.max_stack
        ).map(tuple),
    )
    return st.sampled_from(space.num_layers).flatmap(
        lambda depth: st.lists(layer, min_size=depth, max_size=depth).map(
            lambda layers: Architecture(tuple(layers))
        )
    )


spaces_with_members = design_spaces.flatmap(lambda space: st.tuples(st.just(space), members(space)))
"""A design space and one of its architectures."""
