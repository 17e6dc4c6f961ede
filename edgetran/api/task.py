"""The task that architectures are trained and judged on, and how they are trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from edgetran.api.base import ApiModel
from edgetran.api.rules import Path, Rule, exactly_one, not_together
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


def _test_needs_validation(model: Any) -> Iterator[tuple[Path, str]]:
    if model.test is not None and model.validation is None:
        yield ("test",), "given without validation"


class TaskFiles(ApiModel):
    """CSV, TSV or JSON lines with a text, perhaps a second one, and a label in each row."""

    train: FilePath = Field(
        description="File to train on; where it is the only one, a fixed tenth of it each becomes "
        "validation and test data."
    )
    validation: FilePath | None = Field(None, description="File to select on.")
    test: FilePath | None = Field(
        None,
        description="File that is touched once, at the end; a part of the training file where "
        "omitted.",
    )
    format: Literal["auto", "csv", "tsv", "jsonl"] = Field(
        "auto", description="Format of the files; auto goes by their endings."
    )
    text_column: ColumnName = Field("text", description="Column of the text.")
    text2_column: ColumnName | None = Field(
        None, description="Column of a second text, for tasks on pairs."
    )
    label_column: ColumnName = Field("label", description="Column of the class or number.")
    labels: Literal["auto", "classes", "numbers"] = Field(
        "auto",
        description="Whether labels are classes or numbers to be predicted; auto takes numbers "
        "that are not whole, or more than 20 different ones, as numbers.",
    )

    RULES = (
        Rule(
            name="testOnlyWithValidation",
            fields=("test", "validation"),
            allowed="test only together with validation",
            check=_test_needs_validation,
            cel="!has(self.test) || has(self.validation)",
        ),
    )


class TokenizerSource(ApiModel):
    """The tokenizer: one that exists, or one made from the task's texts."""

    folder: FilePath | None = Field(None, description="Folder of a transformers tokenizer.")
    vocab_size: Annotated[int, Field(ge=64, le=262_144)] | None = Field(
        None, description="Size of a WordPiece vocabulary to be trained on the task."
    )

    RULES = (exactly_one("folder", "vocab_size"),)


class MaxExamples(ApiModel):
    """How many examples of each part are used at most."""

    train: Annotated[int, Field(ge=1, le=10**9)] | None = Field(
        None, description="Examples to train on; all where omitted."
    )
    validation: Annotated[int, Field(ge=1, le=10**9)] | None = Field(
        None, description="Examples to select on; all where omitted."
    )
    test: Annotated[int, Field(ge=1, le=10**9)] | None = Field(
        None, description="Examples of the final test; all where omitted."
    )


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
        TokenizerSource(vocab_size=4096),
        description="The tokenizer; a WordPiece one of 4096 entries trained on the task where "
        "omitted.",
    )
    max_length: Annotated[int, Field(ge=4, le=8192)] = Field(
        128, description="Tokens that a text is cut to."
    )
    max_examples: MaxExamples | None = Field(None, description="Use only a part of the data.")
    split_seed: Seed = Field(0, description="Seed of the split into train, validation and test.")

    RULES = (
        exactly_one("name", "folder", "files", "hub"),
        Rule(
            name="glueTaskOnlyWithFolder",
            fields=("glue_task", "folder"),
            allowed="glueTask only together with folder",
            check=lambda task: (
                [(("glueTask",), "given without folder")]
                if task.glue_task is not None and task.folder is None
                else []
            ),
            cel="!has(self.glueTask) || has(self.folder)",
        ),
    )


class Training(ApiModel):
    """How one model is trained: AdamW with linear warm-up and decay."""

    epochs: Annotated[float, Field(gt=0, le=1000)] | None = Field(
        None,
        description="Passes over the training data; 3 where epochs, steps and maxSeconds are all "
        "omitted.",
    )
    steps: Annotated[int, Field(ge=1, le=10**8)] | None = Field(
        None, description="Optimizer steps, in place of epochs."
    )
    max_seconds: Annotated[float, Field(gt=0, le=31_536_000)] | None = Field(
        None, description="Seconds after which training ends, whatever epochs or steps say."
    )
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(
        5e-4, description="Highest learning rate."
    )
    batch_size: Annotated[int, Field(ge=1, le=65536)] = Field(32, description="Examples per step.")
    weight_decay: Annotated[float, Field(ge=0, le=1)] = Field(0.01, description="Weight decay.")
    warmup: Annotated[float, Field(ge=0, le=1)] = Field(
        0.06, description="Part of training in which the learning rate rises."
    )
    masked_lm_steps: Annotated[int, Field(ge=0, le=10**8)] = Field(
        0, description="Masked-language-model steps on the task's texts before fine-tuning."
    )

    RULES = (not_together("epochs", "steps"),)
