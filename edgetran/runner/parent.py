"""The parent of an elastic search: where it lies, whether it can be one, and what its parts are."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgetran import api
from edgetran.api.field_errors import invalid, not_found
from edgetran.runner import translate
from edgetran.runner.hub_model import hub_model, is_hub_name
from edgetran.runner.model_import import given_model
from edgetran.runner.problems import problems_of
from edgetran.space import DesignSpace
from edgetran.training import TaskError

if TYPE_CHECKING:
    from edgetran.models import Checkpoint

_WEIGHTS: Final = "model.safetensors"


def parent_folder(parent: api.ParentModel, base: Path) -> Path:
    """The folder of a parent: the one named, of the hub, or among an installed package's files.

    A name like OWNER/NAME is that of a model of the hub where no such folder is.

    Raises:
        TaskError: no such package, one that does not hold exactly one model, or a model that cannot
            be fetched.
    """
    if parent.model is not None:
        folder = base / parent.model
        missing = not folder.exists() and is_hub_name(parent.model)
        return hub_model(parent.model) if missing else folder
    name = parent.python_package or ""
    try:
        files = metadata.files(name) or []
    except metadata.PackageNotFoundError:
        raise TaskError(
            f"pythonPackage: {not_found(name, 'no such Python package is installed here')}"
        ) from None
    folders = [Path(str(file.locate())).parent for file in files if file.name == _WEIGHTS]
    folders = [folder for folder in folders if (folder / "config.json").is_file()]
    if len(folders) != 1:
        what = f"must hold one folder with config.json and {_WEIGHTS}, and there are {len(folders)}"
        raise TaskError(f"pythonPackage: {invalid(name, what)}")
    return folders[0]


def given_parent(parent: api.ParentModel, base: Path, sequence_length: int) -> Checkpoint:
    """What a parent's folder holds, from its configuration and file sizes alone.

    Raises:
        TaskError: there is no model, or one that cannot be a parent.
    """
    from edgetran.models.elastic_parent import ElasticError, parent_layer

    checkpoint = given_model(parent_folder(parent, base), sequence_length)
    try:
        parent_layer(checkpoint.architecture)
    except ElasticError as error:
        raise TaskError(str(error)) from None
    return checkpoint


def check_tokenizer(parent: Checkpoint, folder: Path) -> None:
    """Refuse a tokenizer that is given beside a parent and is not the parent's.

    Raises:
        TaskError: it is another one, or none can be read.
    """
    from edgetran.training.tokenizer import load_tokenizer, tokenizer_hash

    hashes = {tokenizer_hash(load_tokenizer(each)) for each in (parent.folder, folder)}
    if len(hashes) > 1:
        raise TaskError(
            f"{folder} is another tokenizer than that of the parent, {parent.folder}; allowed is "
            "the parent's, which is taken where none is given"
        )


def parts_of(choices: api.ElasticChoices, parent: Checkpoint) -> DesignSpace:
    """The design space of a parent's parts.

    Raises:
        ElasticError: a choice that is not inside the parent.
    """
    from edgetran.elastic.space import elastic_space

    return elastic_space(
        parent.architecture,
        layers=choices.layers,
        heads=choices.heads,
        head_types=choices.head_types,
        feed_forward_widths=choices.feed_forward_widths,
        hidden_sizes=choices.hidden_sizes,
    )


def inspect_parent(search: api.CoDesignSearch, base: Path) -> Checkpoint:
    """The parent of a search, which can be one and has the parts that are asked for.

    Raises:
        SpecError: it cannot, or has them not.
    """
    parent, choices = search.spec.parent, search.spec.design_space.elastic
    assert parent is not None  # noqa: S101 - the caller has asked
    assert choices is not None  # noqa: S101 - a rule of the spec
    with problems_of(search, "spec.parent"):
        checkpoint = given_parent(parent, base, search.spec.workload.sequence_length)
    with problems_of(search, "spec.designSpace.elastic"):
        parts_of(choices, checkpoint)
    return checkpoint


def design_space_of(spec: api.CoDesignSearchSpec | api.ProfilingJobSpec, base: Path) -> DesignSpace:
    """The design space of a resource, whichever way it is given.

    Raises:
        DesignSpaceError: an impossible combination.
        TaskError, ElasticError: a parent that cannot be one, or parts that it does not have.
    """
    source = spec.design_space
    assert source is not None  # noqa: S101 - the callers have asked
    if source.elastic is None:
        return translate.design_space(source)
    assert spec.parent is not None  # noqa: S101 - a rule of the spec
    parent = given_parent(spec.parent, base, spec.workload.sequence_length)
    return parts_of(source.elastic, parent)
