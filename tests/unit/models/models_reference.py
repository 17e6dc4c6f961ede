"""A plain, slow FlexiBERT, written from the formulas with loops over examples, heads and positions.

It reads the parameters of a real model, in float64, so that gradients reach the same parameters.
"""

import math

import torch
from torch.nn import functional

from edgetran.models import FlexiBertConfig
from edgetran.models.layout import HeadLayout
from edgetran.space import HEAD_TYPES, Architecture, Layer


def build(model_class, architecture, *, seed=0, noise=0.1, **settings):
    """A model in evaluation mode whose biases and LayerNorms are not the initial constants."""
    settings = {"vocab_size": 40, "max_position_embeddings": 40, **settings}
    torch.manual_seed(seed)
    model = model_class(FlexiBertConfig.from_architecture(architecture, **settings)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * noise)
    return model


def draw_batch(seed=0, batch=3, length=9, vocab_size=40):
    """Token ids, a mask with padding at the right of all but the first example, token types."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, vocab_size, (batch, length), generator=generator)
    lengths = torch.randint(1, length + 1, (batch,), generator=generator)
    lengths[0] = length
    mask = (torch.arange(length) < lengths[:, None]).long()
    return ids, mask, torch.randint(0, 2, (batch, length), generator=generator)


EVERY_TYPE = Architecture(
    (
        Layer(16, ("c_9", "sa_sdp", "l_dct", "c_5", "sa_wma", "l_dft", "c_13"), 3, (20,)),
        Layer(24, ("sa_wma", "c_5", "sa_wma", "c_5"), 6, (12, 18)),
        Layer(24, HEAD_TYPES, 2, (8, 8, 8)),
    )
)


def encode(model, ids, mask, token_types):
    """Last hidden states of the encoder, one example after the other: list of (S, h)."""
    config = model.config
    layers = config.to_architecture().layers
    embeddings = model.embeddings
    results = []
    for b in range(len(ids)):
        keep = mask[b].bool()
        hidden = embeddings.word_embeddings.weight.double()[ids[b]]
        hidden = hidden + embeddings.token_type_embeddings.weight.double()[token_types[b]]
        if config.position_embedding_type == "absolute":
            hidden = hidden + embeddings.position_embeddings.weight.double()[: len(hidden)]
        hidden = _norm(hidden, embeddings.LayerNorm)
        for layer, module in zip(layers, model.layers, strict=True):
            mixed = _attention(module.attention, layer, hidden, keep, config)
            hidden = _norm(hidden + mixed, module.attention.LayerNorm)
            value = hidden
            for dense in module.feed_forward.dense[:-1]:
                value = functional.gelu(_linear(value, dense))
            value = _linear(value, module.feed_forward.dense[-1])
            hidden = _norm(hidden + value, module.feed_forward.LayerNorm)
            if hasattr(module, "projection"):
                hidden = _linear(hidden, module.projection)
        results.append(hidden)
    return results


def classify(model, ids, mask, token_types):
    """Logits of a sequence classifier, (B, num_labels)."""
    encoder = model.flexibert
    pooled = [
        torch.tanh(_linear(hidden[0], encoder.pooler))
        for hidden in encode(encoder, ids, mask, token_types)
    ]
    return torch.stack([_linear(value, model.classifier) for value in pooled])


def _linear(x, linear):
    return x @ linear.weight.double().T + linear.bias.double()


def _norm(x, norm):
    centred = x - x.mean(-1, keepdim=True)
    deviation = (centred.square().mean(-1, keepdim=True) + norm.eps).sqrt()
    return centred / deviation * norm.weight.double() + norm.bias.double()


def _attention(attention, layer, hidden, keep, config):
    layout, d = HeadLayout.of(layer), layer.head_dim
    rows = attention.query_key_value
    output = attention.output.weight.double()
    total = attention.output.bias.double().expand(hidden.shape)

    def project(block):
        part = slice(block * d, (block + 1) * d)
        return hidden @ rows.weight.double()[part].T + rows.bias.double()[part]

    for head, head_type in enumerate(layer.head_types):
        slot, query_slot = layout.slots[head], layout.query_slot(head)
        value = project(2 * layout.num_queries + slot)
        if head_type in ("l_dft", "l_dct"):
            mixed = _transform(value * keep[:, None], head_type, config.transform_length)
        else:
            query, key = project(query_slot), project(layout.num_queries + query_slot)
            if head_type.startswith("sa"):
                mixed = _scores(attention.scores, layout, head, query, key, value, keep)
            else:
                weights = attention.convolution
                mixed = _convolution(weights, layout, head, query, key, value, keep)
        total = total + mixed @ output[:, slot * d : (slot + 1) * d].T
    return total


def _scores(weights, layout, head, query, key, value, keep):
    d = layout.head_dim
    slot = layout.weighting_slot(head)
    if slot is not None:
        query = query @ weights.weighting.double()[slot]
    result = []
    for i in range(len(query)):
        scores = []
        for j in range(len(key)):
            score = query[i] @ key[j]
            if weights.distances:  # R[i − j]
                row = weights.distances - 1 - (i - j)
                score = score + query[i] @ weights.distance_embeddings.double()[row]
            scores.append(score / math.sqrt(d) if keep[j] else score.new_tensor(-math.inf))
        result.append(torch.stack(scores).softmax(0) @ value)
    return torch.stack(result)


def _transform(value, head_type, length):
    size = len(value)
    padded = functional.pad(value, (0, 0, 0, length - size))
    if head_type == "l_dft":
        return torch.fft.fft2(padded, norm="ortho").real[:size]
    return _dct(_dct(padded).T).T[:size]


def _dct(x):
    """Orthonormal DCT-II over the first axis."""
    n = len(x)
    positions = torch.arange(n, dtype=torch.float64)
    rows = []
    for u in range(n):
        scale = math.sqrt((1 if u == 0 else 2) / n)
        rows.append((torch.cos(math.pi * (2 * positions + 1) * u / (2 * n)) @ x) * scale)
    return torch.stack(rows)


def _convolution(weights, layout, head, query, key, value, keep):
    slot = layout.convolution_slot(head)
    k, first = layout.spans[slot], layout.first_tap(slot)
    taps = slice(first, first + k)
    depthwise = weights.depthwise.double()[taps]
    value = value @ weights.value.double()[slot] + weights.value_bias.double()[slot]
    result = []
    for s in range(len(query)):
        around = [
            (j, s + j - k // 2)
            for j in range(k)
            if 0 <= s + j - k // 2 < len(query) and keep[s + j - k // 2]
        ]
        separable = sum((depthwise[j] * key[t] for j, t in around), torch.zeros_like(key[0]))
        separable = separable @ weights.pointwise.double()[slot]
        separable = (separable + weights.pointwise_bias.double()[slot]) * query[s]
        kernel = weights.kernel.double()[taps] @ separable + weights.kernel_bias.double()[taps]
        kernel = kernel.softmax(0)
        result.append(sum((kernel[j] * value[t] for j, t in around), torch.zeros_like(value[0])))
    return torch.stack(result)
