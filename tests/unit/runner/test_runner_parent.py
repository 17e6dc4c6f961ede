"""A parent is found in a folder or among a package's files, and is one that has parts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from edgetran import api
from edgetran.models import FlexiBertConfig, FlexiBertForSequenceClassification
from edgetran.runner.parent import design_space_of, given_parent, parent_folder
from edgetran.space import Architecture, Layer
from edgetran.training import TaskError

ALIKE = Architecture.homogeneous(num_layers=4, hidden_size=32, num_heads=4, feed_forward=[64])


def write(folder: Path, architecture: Architecture = ALIKE) -> Path:
    torch.manual_seed(0)
    config = FlexiBertConfig.from_architecture(
        architecture, vocab_size=50, max_position_embeddings=32
    )
    FlexiBertForSequenceClassification(config).save_pretrained(folder)
    return folder


def package(site: Path, name: str, folders: list[str]) -> None:
    """An installed package whose files are models; importing it would fail."""
    root = site / name.replace("-", "_")
    root.mkdir(parents=True)
    (root / "__init__.py").write_text("raise SystemExit('imported')\n")
    for folder in folders:
        write(root / folder)
    info = site / f"{root.name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    files = [path.relative_to(site) for path in root.rglob("*") if path.is_file()]
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))


def test_a_packages_model_is_found_and_none_of_its_code_runs(tmp_path, monkeypatch):
    package(tmp_path, "some-model", ["deep/model"])
    monkeypatch.syspath_prepend(str(tmp_path))
    source = api.ParentModel(python_package="some-model")
    assert parent_folder(source, Path("base")) == tmp_path / "some_model" / "deep" / "model"
    assert given_parent(source, Path("base"), 16).architecture == ALIKE
    assert "some_model" not in sys.modules


@pytest.mark.parametrize(("folders", "count"), [([], 0), (["a", "b"], 2)])
def test_a_package_with_no_or_several_models_is_refused(tmp_path, monkeypatch, folders, count):
    package(tmp_path, "some-models", folders)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(TaskError, match=f"must hold one folder .* there are {count}"):
        parent_folder(api.ParentModel(python_package="some-models"), Path())


def test_a_folder_is_taken_from_the_base(tmp_path):
    write(tmp_path / "given")
    assert given_parent(api.ParentModel(model="given"), tmp_path, 16).folder == tmp_path / "given"


@pytest.mark.parametrize(
    ("architecture", "words"),
    [
        (Architecture((ALIKE.layers[0], Layer(32, ("sa_sdp",), 8, (64,)))), "its layers differ"),
        (Architecture((Layer(32, ("sa_sdp", "l_dft"), 16, (64,)),)), "heads of type l_dft"),
    ],
)
def test_a_model_that_has_no_parts_is_refused(tmp_path, architecture, words):
    write(tmp_path / "given", architecture)
    with pytest.raises(TaskError, match=f"parent: .*{words}"):
        given_parent(api.ParentModel(model="given"), tmp_path, 16)


def test_a_job_measures_the_parts_that_the_search_chooses_from(tmp_path):
    write(tmp_path / "given")
    search = api.load_text(
        """
apiVersion: edgetran.io/v1alpha1
kind: CoDesignSearch
metadata: {name: parts}
spec:
  task: {name: movie-reviews}
  parent: {model: given}
  designSpace: {elastic: {layers: [2, 4], headTypes: [sa_sdp, c_9]}}
  workload: {sequenceLength: 16}
  devices: [{name: here, host: true}]
  storage: {uri: "s3://bucket/folder"}
"""
    )[0]
    assert isinstance(search, api.CoDesignSearch)
    (job,) = api.implied_profiling_jobs(search).values()
    assert job.spec.storage == search.spec.storage  # where the parent lies
    space = design_space_of(job.spec, tmp_path)
    assert space == design_space_of(search.spec, tmp_path)
    assert (space.num_layers, space.num_heads, space.head_dim) == ((2, 4), (1, 2, 3, 4), 8)
    assert (space.feed_forward_widths, space.hidden_sizes) == ((16, 32, 48, 64), (32,))
