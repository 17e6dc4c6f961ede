"""Strategic merge of pods, as kubectl does it."""

import copy

from hypothesis import given
from hypothesis import strategies as st

from edgetran_operator.resources.merge import strategic_merge

POD = {
    "nodeSelector": {"a": "1"},
    "tolerations": [{"key": "board"}],
    "containers": [
        {
            "name": "worker",
            "image": "x",
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "args": ["--one", "--two"],
            "volumeMounts": [{"name": "tmp", "mountPath": "/scratch"}],
        }
    ],
    "volumes": [{"name": "tmp", "emptyDir": {}}],
}

scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=4)
plain = st.recursive(
    scalars,
    lambda below: (
        st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=4), below, max_size=3)
    ),
    max_leaves=12,
)


def test_containers_env_and_volumes_are_merged_by_name():
    patch = {
        "containers": [
            {"name": "worker", "env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]},
            {"name": "sidecar", "image": "y"},
        ],
        "volumes": [{"name": "tmp", "emptyDir": {"medium": "Memory"}}],
    }
    merged = strategic_merge(POD, patch)
    worker, sidecar = merged["containers"]
    assert worker["image"] == "x"
    assert {each["name"]: each["value"] for each in worker["env"]} == {"A": "1", "B": "3", "C": "4"}
    assert sidecar == {"name": "sidecar", "image": "y"}
    assert merged["volumes"] == [{"name": "tmp", "emptyDir": {"medium": "Memory"}}]


def test_mounts_are_merged_by_path():
    mount = {"name": "other", "mountPath": "/scratch", "readOnly": True}
    merged = strategic_merge(POD, {"containers": [{"name": "worker", "volumeMounts": [mount]}]})
    assert merged["containers"][0]["volumeMounts"] == [mount]


def test_tolerations_are_appended_once():
    patch = {"tolerations": [{"key": "mine"}, {"key": "board"}]}
    assert strategic_merge(POD, patch)["tolerations"] == [{"key": "board"}, {"key": "mine"}]


def test_other_lists_are_replaced_and_null_takes_away():
    patch = {"containers": [{"name": "worker", "args": ["--three"]}], "nodeSelector": None}
    merged = strategic_merge(POD, patch)
    assert merged["containers"][0]["args"] == ["--three"]
    assert "nodeSelector" not in merged


def test_directives_replace_and_delete():
    patch = {
        "nodeSelector": {"$patch": "replace", "b": "2"},
        "volumes": [{"name": "tmp", "$patch": "delete"}],
    }
    merged = strategic_merge(POD, patch)
    assert merged["nodeSelector"] == {"b": "2"}
    assert merged["volumes"] == []


def test_directives_and_nulls_never_reach_the_pod():
    merged = strategic_merge({}, {"securityContext": {"$patch": "replace", "runAsUser": None}})
    assert merged == {"securityContext": {}}


@given(plain, plain)
def test_neither_side_is_changed_and_a_patch_applied_twice_changes_nothing_more(base, patch):
    before = copy.deepcopy((base, patch))
    once = strategic_merge(base, patch)
    assert strategic_merge(once, patch) == once
    assert (base, patch) == before


@given(st.dictionaries(st.text(max_size=4), plain, max_size=4))
def test_an_empty_patch_changes_nothing(base):
    assert strategic_merge(base, {}) == base
