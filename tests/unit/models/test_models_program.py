"""What other formats are made of is the model itself, for texts of one length."""

import pytest
import torch

from edgetran.models import FlexiBertConfig, FlexiBertForSequenceClassification, export_program
from edgetran.space import Architecture

HEADS = ["sa_sdp_8", "sa_wma_8", "sa_wma_8", "l_dft_8", "l_dct_8", "c_5_8", "c_9_8"]
EVERY_HEAD = Architecture.from_model_dict(
    {"l": 2, "h": [56, 32], "f": [[40], [24, 48]], "o": [HEADS, HEADS]}
)
LENGTH, POSITIONS = 12, 20


@pytest.mark.parametrize("positions", ["absolute", "relative_key"])
def test_a_program_of_every_head_type_computes_what_the_model_does(positions, tmp_path):
    torch.manual_seed(0)
    config = FlexiBertConfig.from_architecture(
        EVERY_HEAD,
        vocab_size=50,
        max_position_embeddings=POSITIONS,
        position_embedding_type=positions,
    )
    model = FlexiBertForSequenceClassification(config).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    path = export_program(model, tmp_path / "model.pt2", LENGTH)
    program = torch.export.load(path).module()
    generator = torch.Generator().manual_seed(1)
    for tokens in (3, LENGTH):
        inputs = {
            "input_ids": torch.randint(0, 50, (1, LENGTH), generator=generator),
            "attention_mask": (torch.arange(LENGTH)[None] < tokens).long(),
            "token_type_ids": torch.zeros(1, LENGTH, dtype=torch.int64),
        }
        with torch.no_grad():
            expected = model(**{name: each[:, :tokens] for name, each in inputs.items()}).logits
            torch.testing.assert_close(program(**inputs), expected, atol=1e-5, rtol=1e-4)
    assert all(torch.equal(model.state_dict()[name], old) for name, old in before.items())
    operators = {str(node.target) for node in torch.export.load(path).graph.nodes}
    assert not [name for name in operators if "fft" in name or "complex" in name]
