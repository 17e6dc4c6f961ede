"""The task that architectures are trained and judged on, and how they are trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgetran.api.base import ApiModel
from edgetran.api.rules import exactly_one, only_where
from edgetran.api.scalars import ColumnName, FilePath, Seed

GlueTask = Literal["cola", "sst2", "mrpc", "qqp", "stsb", "mnli", "qnli", "rte", "wnli"]
HubTask = Literal[
    "glue/cola",
    "glue/sst2",
    "glue/mrpc",
    "glue/qqp",
    "glue/stsb",
    "glue/mnli",
    "glue/qnli",
    "glue/rte",
    "glue/wnli",
]


class TaskFiles(ApiModel):
    """Tables with a text, perhaps a second one, and a label in each row."""

    train: FilePath = Field(
        description="CSV, TSV, JSON-lines or Parquet file to train on, by its ending, after which "
        ".gz, .bz2, .xz, .zst or .zip may follow; what validation and test lack is split off by a "
        "hash of the text."
    )
    validation: FilePath | None = Field(None, description="File to select on.")
    test: FilePath | None = Field(None, description="File that is touched once, at the end.")
    text_column: ColumnName = Field("text", description="Column of the text.")
    text2_column: ColumnName = Field(
        "text2",
        description="Column of a second text; text2 is used where it exists, a column of another "
        "name has to exist.",
    )
    label_column: ColumnName = Field("label", description="Column of the class or number.")
    label_kind: Literal["auto", "classification", "regression"] = Field(
        "auto",
        description="Whether labels are classes or numbers to be predicted; auto takes labels "
        "with fractions, or more than 20 different numbers, as numbers.",
    )


class MaskedLm(ApiModel):
    """Masked-language-model training on the task's texts before fine-tuning."""

    steps: Annotated[int, Field(ge=1, le=10**8)] = Field(description="Optimizer steps.")
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(
        5e-4, description="Highest learning rate."
    )
    batch_size: Annotated[int, Field(ge=1, le=65536)] = Field(64, description="Texts per step.")
    probability: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.15, description="Share of tokens to be predicted, drawn afresh in every step."
    )


class TokenizerSource(ApiModel):
    """The tokenizer: one that exists, or one made from the task's texts."""

    folder: FilePath | None = Field(None, description="Folder of a transformers tokenizer.")
    vocab_size: Annotated[int, Field(ge=64, le=262_144)] | None = Field(
        None, description="Size of a WordPiece vocabulary to be trained on the task."
    )

    RULES = (exactly_one("folder", "vocab_size"),)


class TaskSource(ApiModel):
    """A text task: built in, a folder in GLUE's layout, files, or one of the hub."""

    name: Literal["movie-reviews"] | None = Field(
        None, description="A task that is built in: the sentiment of movie-review sentences."
    )
    folder: FilePath | None = Field(
        None, description="Folder with train.tsv, dev.tsv and test.tsv in GLUE's own layout."
    )
    files: TaskFiles | None = Field(None, description="Files of your own.")
    hub: HubTask | None = Field(
        None, description="A task of the Hugging Face hub, where the hub can be reached."
    )
    glue_task: GlueTask | None = Field(
        None,
        description="Which GLUE task the folder holds; taken from the folder's name where omitted.",
    )
    tokenizer: TokenizerSource = Field(
        TokenizerSource(vocab_size=8192),
        description="The tokenizer; a WordPiece one of 8192 entries trained on the task where "
        "omitted.",
    )
    max_length: Annotated[int, Field(ge=4, le=8192)] | None = Field(
        None,
        description="Tokens that a text is cut to; the workload's sequence length where omitted.",
    )
    max_training_examples: Annotated[int, Field(ge=1, le=10**9)] | None = Field(
        None, description="Examples to train on at most; all where omitted."
    )
    split_seed: Seed = Field(0, description="Seed of the split into train, validation and test.")
    overlap: Literal["drop", "keep"] = Field(
        "drop",
        description="What becomes of training examples whose text also stands in validation or "
        "test: drop keeps them out of training, keep trains on them. They are counted either way.",
    )

    RULES = (
        exactly_one("name", "folder", "files", "hub"),
        only_where(
            "glue_task",
            lambda task: task.folder is not None,
            "has(self.folder)",
            "together with folder",
            reads=("folder",),
        ),
    )


class Training(ApiModel):
    """How one model is trained: AdamW with linear warm-up and decay.

    It ends when the first of `epochs`, `steps` and `maxSeconds` is used up; without any, after 3
    epochs. Only without `maxSeconds` does the same seed give the same model.
    """

    epochs: Annotated[float, Field(gt=0, le=1000)] | None = Field(
        None, description="Passes over the training data."
    )
    steps: Annotated[int, Field(ge=1, le=10**8)] | None = Field(
        None, description="Optimizer steps."
    )
    max_seconds: Annotated[float, Field(gt=0, le=31_536_000)] | None = Field(
        None, description="Seconds of training, validation included."
    )
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(
        1e-3, description="Highest learning rate."
    )
    batch_size: Annotated[int, Field(ge=1, le=65536)] = Field(32, description="Examples per step.")
    weight_decay: Annotated[float, Field(ge=0, le=1)] = Field(0.01, description="Weight decay.")
    warmup: Annotated[float, Field(ge=0, le=1)] = Field(
        0.06, description="Share of training in which the learning rate rises."
    )
    max_grad_norm: Annotated[float, Field(gt=0, le=1e6)] = Field(
        1.0, description="L2 norm that gradients are scaled down to."
    )
    label_smoothing: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="Label smoothing of classification."
    )
    evaluations_per_epoch: Annotated[int, Field(ge=1, le=1000)] = Field(
        1, description="Validations per epoch; the best state is kept."
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="Numbers to train in; auto takes bf16 on a GPU and fp32 on a CPU."
    )
    masked_lm: MaskedLm | None = Field(
        None, description="Masked-language-model steps before fine-tuning; none where omitted."
    )
