"""Data apart from the storage: one volume, of the resource whose task it is."""

import pytest

from edgetran.api import SpecError, load_text, refused_changes
from edgetran.api.allowances import absolute_paths

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


def search(data):
    (made,) = load_text(SEARCH.replace("DATA", f"data: {data}"))
    return made


def test_it_is_a_claim_or_a_config_map():
    assert search("{claim: {name: c, subPath: a/b}}").spec.data.claim.sub_path == "a/b"
    assert search("{configMap: {name: c}}").spec.data.config_map.name == "c"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{}", "spec.data: Required value: must set exactly one of claim and configMap"),
        (
            "{claim: {name: c}, configMap: {name: c}}",
            "spec.data: Invalid value: {claim, configMap}: must set exactly one",
        ),
        ("{claim: {name: C_}}", "spec.data.claim.name: "),
        (
            "{claim: {name: c, subPath: ../x}}",
            "spec.data.claim.subPath: Invalid value: \"../x\": must be a path with no '..' in it",
        ),
        ("{configMap: {}}", "spec.data.configMap.name: Required value"),
        ("{secret: {name: c}}", "spec.data.secret: Forbidden: unknown field"),
        ("{uri: 's3://b'}", "spec.data.uri: Forbidden: unknown field"),
    ],
)
def test_anything_else_is_refused_with_its_place(given, said):
    with pytest.raises(SpecError) as caught:
        search(given)
    assert said in str(caught.value)


def test_a_folder_of_the_claim_begins_in_it():
    ((path, _),) = absolute_paths(search("{claim: {name: c, subPath: /etc}}"))
    assert path == ("spec", "data", "claim", "subPath")


def test_a_refinement_of_a_search_has_the_data_of_that_one():
    text = """
apiVersion: edgetran.io/v1alpha1
kind: GPTranRun
metadata: {name: g}
spec: {searchRef: {name: s}, data: {claim: {name: c}}}
"""
    with pytest.raises(
        SpecError, match=r"spec\.data: Forbidden: may not be set together with searchRef"
    ):
        load_text(text)


def test_other_data_is_other_work():
    (problem,) = refused_changes(search("{claim: {name: a}}"), search("{claim: {name: b}}"))
    assert problem.path == "spec.data"
