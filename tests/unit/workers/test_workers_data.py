"""Paths in a resource begin in the data where that lies apart from the storage."""

import hashlib
from pathlib import Path

from edgetran.api import load_text
from edgetran.records import read_records
from edgetran.runner.folder import RunFolder
from edgetran.runner.inputs import RunInputs
from edgetran.runner.part import plan_part
from edgetran_workers.inputs import base_of
from edgetran_workers.pod_paths import PodPaths

SEARCH = """
apiVersion: edgetran.io/v1alpha1
kind: CoDesignSearch
metadata: {name: s}
spec:
  task: {files: {train: train.csv}}
  designSpace: {preset: tiny}
  devices: [{name: pi, simulation: raspberry-pi-4-cpu}]
  DATA
"""
REFINEMENT = """
apiVersion: edgetran.io/v1alpha1
kind: GPTranRun
metadata: {name: g}
spec: {searchRef: {name: s}}
"""


def pod(root: Path) -> PodPaths:
    paths = PodPaths(storage=root / "storage", data=root / "data")
    for folder in (paths.storage, paths.data):
        folder.mkdir()
        (folder / "train.csv").write_text(f"text,label\n{folder.name},a\n")
    return paths


def search(data: str = ""):
    (made,) = load_text(SEARCH.replace("DATA", data))
    return made


def read(chain, paths: PodPaths) -> str:
    """The hash of the file that the run reads."""
    folder = RunFolder(paths.storage / "run")
    RunInputs(folder, chain, base_of(chain, paths)).keep()
    (record,) = read_records(folder.inputs)
    return record["files"]["train"]


def test_a_search_reads_its_files_from_the_data_and_else_from_the_storage(tmp_path):
    paths = pod(tmp_path)
    assert base_of(plan_part(search(), ()), paths) == paths.storage
    for data in ("data: {claim: {name: c}}", "data: {configMap: {name: c}}"):
        assert base_of(plan_part(search(data), ()), paths) == paths.data
    apart = plan_part(search("data: {claim: {name: c}}"), ())
    content = (paths.data / "train.csv").read_bytes()
    assert read(apart, paths) == hashlib.sha256(content).hexdigest()


def test_a_refinement_reads_the_files_of_its_search_where_that_does(tmp_path):
    paths = pod(tmp_path)
    (refinement,) = load_text(REFINEMENT)
    for made, base in ((search(), "storage"), (search("data: {claim: {name: c}}"), "data")):
        assert base_of(plan_part(refinement, (made,)), paths) == tmp_path / base
