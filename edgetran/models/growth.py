"""Growth that preserves the function: a grown child starts by computing what its parent does.

New heads enter with zero output columns and new feed-forward units with zero outgoing weights.

A new feed-forward matrix passes its input on through GELU: as the pair (x, −x), because
gelu(x) − gelu(−x) = x exactly, which needs twice the units; or, where x are activations of the
matrix before (never below −0.17), as x + 6, because gelu(x + 6) − 6 = x to 2·10⁻⁸.

A new layer has zero attention and feed-forward outputs. Its LayerNorms would normalise again
what the LayerNorm before them has scaled and shifted, so that scale and shift move behind the
new layer: what it then receives is normalised already and passes unchanged.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, cast

import torch
from torch import nn

from edgetran.models.alignment import (
    FORBIDDEN,
    Alignment,
    LayerAlignment,
    best_alignment,
    matching,
)
from edgetran.models.layout import HeadLayout
from edgetran.models.modeling import (
    FlexiBertFeedForward,
    FlexiBertLayer,
    FlexiBertModel,
    FlexiBertPreTrainedModel,
)
from edgetran.space import Layer

SHIFT = 6.0
"""Beyond this GELU is the identity to 2·10⁻⁸; a larger shift would cost float32 digits."""

GELUS = ("gelu", "gelu_new", "gelu_pytorch_tanh")
"""Activations with g(x) − g(−x) = x."""

Step = Literal["take", "pair", "pair_next", "shift"]


class GrowthError(ValueError):
    """Why a child cannot compute what its parent does."""


def align_growth(
    parent_model: FlexiBertPreTrainedModel, child_model: FlexiBertPreTrainedModel
) -> Alignment:
    """The alignment under which the child contains the parent.

    Raises:
        GrowthError: when there is none, with the reason.
    """
    _check_models(parent_model, child_model)
    parent, child = (m.config.to_architecture() for m in (parent_model, child_model))

    def score(source: Layer, layer: Layer) -> tuple[int, LayerAlignment]:
        shared, aligned = matching(source, layer)
        plan = plan_stack(source, layer)
        if plan is None or _layer_obstacle(source, layer):
            return FORBIDDEN, aligned
        return shared, LayerAlignment(None, aligned.heads, plan.sources)

    widths = [parent.layers[0].hidden_size, *(layer.hidden_size for layer in child.layers)]

    def may_be_new(index: int) -> bool:
        """Only a layer of the width of what it receives can pass it on unchanged."""
        same: bool = widths[index] == widths[index + 1]
        return same

    alignment = best_alignment(parent, child, score, may_be_new)
    continued = {layer.parent for layer in alignment.layers}
    for i, aligned in enumerate(alignment.layers):
        if aligned.parent is not None:
            reason = _layer_obstacle(parent.layers[aligned.parent], child.layers[i])
        else:
            reason = (
                None
                if may_be_new(i)
                else f"it is new with hidden size {widths[i + 1]}, but receives {widths[i]}"
            )
        if reason:
            raise GrowthError(f"layer {i}: {reason}")
    for j, source in enumerate(parent.layers):
        if j not in continued:
            reasons = {_layer_obstacle(source, layer) for layer in child.layers} - {None}
            raise GrowthError(
                f"no layer of the child contains layer {j} of the parent"
                + "".join(f"; {reason}" for reason in sorted(map(str, reasons)))
            )
    return alignment


def _check_models(
    parent_model: FlexiBertPreTrainedModel, child_model: FlexiBertPreTrainedModel
) -> None:
    parent, child = parent_model.config, child_model.config
    if type(parent_model) is not type(child_model):
        raise GrowthError(
            f"the models differ: {type(parent_model).__name__} and {type(child_model).__name__}"
        )
    for name in (
        "vocab_size",
        "num_labels",
        "transform_length",
        "position_embedding_type",
        "hidden_act",
        "layer_norm_eps",
    ):
        if getattr(parent, name) != getattr(child, name):
            raise GrowthError(
                f"{name} differs: {getattr(parent, name)!r} and {getattr(child, name)!r}"
            )
    if child.hidden_act not in GELUS and parent.architecture["f"] != child.architecture["f"]:
        raise GrowthError(f"hidden_act {child.hidden_act!r} is not a GELU ({', '.join(GELUS)})")
    for name in ("max_position_embeddings", "type_vocab_size"):
        if getattr(parent, name) > getattr(child, name):
            raise GrowthError(f"{name} shrinks to {getattr(child, name)}")


def _layer_obstacle(parent: Layer, child: Layer) -> str | None:
    """Why a child layer cannot compute what a parent layer does; None if it can."""
    if parent.hidden_size != child.hidden_size:
        return f"hidden size {parent.hidden_size} became {child.hidden_size}"
    lacking = Counter(parent.head_types) - Counter(child.head_types)
    if lacking:
        return f"heads {', '.join(sorted(lacking.elements()))} are gone"
    if parent.head_dim != child.head_dim:
        return f"head dimension {parent.head_dim} became {child.head_dim}"
    if plan_stack(parent, child) is None:
        return (
            f"feed-forward {list(child.feed_forward)} cannot pass on what "
            f"{list(parent.feed_forward)} computes: too few or too narrow matrices"
        )
    return None


@dataclass(frozen=True)
class StackPlan:
    """How a child's feed-forward stack contains its parent's.

    Attributes:
        sources: for each child width the parent's width, or None for a new one.
        steps: for each child width `take` (the parent's matrix), `pair` or `shift` (pass on the
            current value) or `pair_next` (pass on what the parent's next matrix computes).
    """

    sources: tuple[int | None, ...]
    steps: tuple[Step, ...]


def plan_stack(parent: Layer, child: Layer) -> StackPlan | None:
    """Find such a plan, one without shifts if there is one; None if there is no plan at all."""
    ours, theirs = child.feed_forward, parent.feed_forward
    best: StackPlan | None = None
    for chosen in combinations(range(len(ours)), min(len(ours), len(theirs))):
        if len(chosen) < len(theirs):
            return None
        sources = tuple(chosen.index(i) if i in chosen else None for i in range(len(ours)))
        steps = _steps(ours, theirs, sources, parent.hidden_size)
        if steps and (best is None or steps.count("shift") < best.steps.count("shift")):
            best = StackPlan(sources, steps)
    return best


def _steps(
    ours: tuple[int, ...], theirs: tuple[int, ...], sources: tuple[int | None, ...], width: int
) -> tuple[Step, ...] | None:
    """Steps for fixed sources, or None where a width is too small."""
    sizes = (width, *theirs, width)
    steps: list[Step] = []
    done, ahead = 0, False  # parent matrices taken; whether the next one is computed already
    for unit, source in zip(ours, sources, strict=True):
        if source is not None:
            if unit < theirs[source]:
                return None
            steps.append("take")
            done, ahead = done + 1, False
        elif unit >= 2 * sizes[done] and not ahead:
            steps.append("pair")
        elif unit >= 2 * sizes[done + 1]:
            steps.append("pair_next")
            ahead = True
        elif done and not ahead and unit >= sizes[done]:
            steps.append("shift")
        else:
            return None
    return tuple(steps)


def contain_parent(
    parent_model: FlexiBertPreTrainedModel,
    child_model: FlexiBertPreTrainedModel,
    alignment: Alignment,
) -> None:
    """Give a child, into which its parent's weights were copied, the parent's function.

    Args:
        parent_model: the trained model.
        child_model: the grown model, changed in place.
        alignment: what `align_growth` found.
    """
    parent, child = (m.config.to_architecture().layers for m in (parent_model, child_model))
    source_model, model = (cast(FlexiBertModel, m.base_model) for m in (parent_model, child_model))
    norm = model.embeddings.LayerNorm
    projection: nn.Linear | None = None
    for i, aligned in enumerate(alignment.layers):
        layer = cast(FlexiBertLayer, model.layers[i])
        if aligned.parent is None:
            _pass_through(layer, norm)
        else:
            source = cast(FlexiBertLayer, source_model.layers[aligned.parent])
            layout = HeadLayout.of(child[i])
            for head, taken in enumerate(aligned.heads):
                if taken is None:
                    first = layout.slots[head] * layout.head_dim
                    layer.attention.output.weight[:, first : first + layout.head_dim] = 0
            plan = plan_stack(parent[aligned.parent], child[i])
            assert plan is not None  # noqa: S101 — align_growth has seen to it
            _contain_stack(source.feed_forward, layer.feed_forward, plan)
            projection = getattr(source, "projection", None)
        if hasattr(layer, "projection") and projection is not None:
            layer.projection.load_state_dict(projection.state_dict())
        norm = layer.feed_forward.LayerNorm


def _pass_through(layer: FlexiBertLayer, before: nn.LayerNorm) -> None:
    """Make a new layer the identity, after moving the scale and shift before it behind it."""
    attention, feed_forward = layer.attention, layer.feed_forward
    for linear in (attention.output, cast(nn.Linear, feed_forward.dense[-1])):
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
    feed_forward.LayerNorm.load_state_dict(before.state_dict())
    for norm in (before, attention.LayerNorm):
        nn.init.ones_(norm.weight)
        nn.init.zeros_(norm.bias)


def _contain_stack(
    parent: FlexiBertFeedForward, child: FlexiBertFeedForward, plan: StackPlan
) -> None:
    """Write a child's stack that computes its parent's.

    The value to carry is read from the child's activations as `read @ activations + offset`;
    units beyond those a step needs keep their incoming weights and are never read.
    """
    sources = [cast(nn.Linear, dense) for dense in parent.dense]
    targets = [cast(nn.Linear, dense) for dense in child.dense]
    matrices = [(dense.weight.double(), dense.bias.double()) for dense in sources]
    width = targets[0].in_features
    read = torch.eye(width, dtype=torch.float64, device=matrices[0][0].device)
    offset = read.new_zeros(width)
    done, ahead = 0, False
    for dense, step in zip(targets, (*plan.steps, "take"), strict=True):
        if step in ("take", "pair_next") and not ahead:
            weight, bias = matrices[done]
            read, offset = weight @ read, weight @ offset + bias
        size = len(offset)
        rows, shifts = read, offset
        if step == "shift":
            shifts = shifts + SHIFT
        elif step != "take":
            rows, shifts = torch.cat([rows, -rows]), torch.cat([shifts, -shifts])
        dense.weight[: len(rows)] = rows.to(dense.weight)
        dense.bias[: len(rows)] = shifts.to(dense.bias)
        read = read.new_zeros(size, dense.out_features)
        read[:, :size] = torch.eye(size, dtype=torch.float64)
        offset = read.new_full((size,), -SHIFT if step == "shift" else 0.0)
        if step in ("pair", "pair_next"):
            read[:, size : 2 * size] = -torch.eye(size, dtype=torch.float64)
        ahead = step == "pair_next"
        done += step == "take"
