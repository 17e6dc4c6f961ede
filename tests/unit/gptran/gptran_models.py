"""A small model with every kind of head, and batches for it."""

from __future__ import annotations

import torch

from edgetran.models import FlexiBertConfig, FlexiBertForSequenceClassification
from edgetran.space import Architecture, Layer
from edgetran.training.encoding import Batch

ARCHITECTURE = Architecture(
    (
        Layer(48, ("c_5", "sa_sdp", "l_dct", "sa_wma"), 12, (40, 24)),
        Layer(48, ("sa_sdp", "c_9", "l_dft"), 16, (64,)),
    )
)


def build(architecture=ARCHITECTURE, seed=0):
    torch.manual_seed(seed)
    config = FlexiBertConfig.from_architecture(
        architecture, vocab_size=60, max_position_embeddings=16, initializer_range=0.2
    )
    return FlexiBertForSequenceClassification(config).eval()


def batches(count=3, size=8, seed=1):
    generator = torch.Generator().manual_seed(seed)
    result = []
    for _ in range(count):
        ids = torch.randint(1, 60, (size, 12), generator=generator)
        mask = torch.ones_like(ids)
        mask[::2, 9:] = 0
        labels = torch.randint(0, 2, (size,), generator=generator)
        result.append(Batch(ids, mask, torch.zeros_like(ids), labels, torch.arange(size)))
    return result


def inputs():
    """One batch as the model's arguments."""
    return batches()[0].inputs(torch.device("cpu"))
