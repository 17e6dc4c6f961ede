"""The costs that `edgetran.space` counts are those of the models that `edgetran.models` builds."""

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from edgetran.models import FlexiBertConfig, FlexiBertForSequenceClassification
from edgetran.models.heads import BLOCK
from edgetran.space import (
    HEAD_TYPES,
    Architecture,
    DesignSpace,
    Layer,
    macs,
    parameter_count,
    sampling,
)

pytestmark = pytest.mark.integration

TINY = DesignSpace.preset("tiny")
GROWN = Architecture(
    (
        Layer(96, ("sa_sdp", "sa_wma", "c_9", "l_dct", "c_5"), 20, (200, 56)),
        Layer(72, ("l_dft",), 24, (100,)),
    )
)


def build(architecture):
    config = FlexiBertConfig.from_architecture(architecture, vocab_size=300, num_labels=3)
    return FlexiBertForSequenceClassification(config).eval()


def counted_macs(architecture, sequence_length, batch_size):
    model = build(architecture)
    ids = torch.ones(batch_size, sequence_length, dtype=torch.long)
    counter = FlopCounterMode(display=False)
    # The counter does not see into the fused attention of a CPU.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
    return counter.get_total_flops() / 2


@pytest.mark.parametrize(
    "architecture", [GROWN, *sampling.sample(TINY, 12, np.random.default_rng(0), "lhs")]
)
def test_a_built_model_has_the_parameters_that_were_counted(architecture):
    built = sum(parameter.numel() for parameter in build(architecture).parameters())
    assert built == parameter_count(architecture, vocab_size=300, num_labels=3)


@pytest.mark.parametrize("head", [head for head in HEAD_TYPES if not head.startswith("c_")])
def test_a_built_model_multiplies_as_often_as_was_counted(head):
    architecture = Architecture(
        (
            Layer(64, (head,) * 4, 16, (128, 96)),
            Layer(96, (head, "sa_sdp"), 40, (64,)),
        )
    )
    assert counted_macs(architecture, 24, 2) == macs(architecture, 24, 2, num_labels=3)


@pytest.mark.parametrize("head", ["c_5", "c_9", "c_13"])
def test_a_convolution_multiplies_more_often_by_its_padding_alone(head):
    architecture = Architecture((Layer(64, (head,) * 4, 16, (128,)),))
    counted = macs(architecture, 32, 2, num_labels=3)
    built = counted_macs(architecture, 32, 2)
    # The band of a block of b positions is b − 1 wider than the span.
    padding = 2 * 32 * 4 * 16 * (BLOCK - 1)
    assert counted <= built <= counted + padding
