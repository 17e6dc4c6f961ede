"""`--set path=value` changes one field, or says why it cannot."""

import pytest

from edgetran.api import KINDS, SpecError, load_text, parse_setting, set_path

SEARCH = {
    "apiVersion": "edgetran.io/v1alpha1",
    "kind": "CoDesignSearch",
    "metadata": {"name": "q"},
    "spec": {
        "task": {"name": "movie-reviews"},
        "designSpace": {"preset": "tiny"},
        "devices": [
            {"name": "here", "host": True},
            {"name": "pi", "simulation": "raspberry-pi-4-cpu"},
        ],
    },
}
TEXT = """\
apiVersion: edgetran.io/v1alpha1
kind: ProfilingJob
metadata: {name: p}
spec: {device: {name: here, host: true}, designSpace: {preset: tiny}}
---
apiVersion: edgetran.io/v1alpha1
kind: CoDesignSearch
metadata: {name: q}
spec:
  task: {name: movie-reviews}
  designSpace: {preset: tiny}
  devices: [{name: here, host: true}]
---
apiVersion: edgetran.io/v1alpha1
kind: CoDesignSearch
metadata: {name: r}
spec:
  task: {name: movie-reviews}
  designSpace: {preset: tiny}
  devices: [{name: here, host: true}]
"""


def at(data, *path):
    for part in path:
        data = data[part]
    return data


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("spec.search.maxTrials=5", ("search", "maxTrials"), 5),
        ("spec.training.learningRate=5e-4", ("training", "learningRate"), 5e-4),
        ("spec.seed=7", ("seed",), 7),
        ("spec.devices[1].precision=int8", ("devices", 1, "precision"), "int8"),
        ("spec.devices[pi].precision=int8", ("devices", 1, "precision"), "int8"),
        ("spec.constraints.latencyMs={max: 5}", ("constraints", "latencyMs"), {"max": 5}),
        ("spec.task={hub: glue/rte}", ("task",), {"hub": "glue/rte"}),
        ("CoDesignSearch:spec.seed=1", ("seed",), 1),
        ("CoDesignSearch.spec.seed=1", ("seed",), 1),
        ("CoDesignSearch/q:spec.seed=1", ("seed",), 1),
        ("cds/q.spec.seed=1", ("seed",), 1),
        (
            "spec.devices[here].nodeSelector[kubernetes.io/arch]=arm64",
            ("devices", 0, "nodeSelector", "kubernetes.io/arch"),
            "arm64",
        ),
        ("spec.podTemplate.spec.hostNetwork=true", ("podTemplate", "spec", "hostNetwork"), True),
        ("spec.task.folder=a=b", ("task", "folder"), "a=b"),
        ("spec.task.name='on'", ("task", "name"), "on"),
    ],
)
def test_a_setting_changes_one_field(setting, path, value):
    before = str(SEARCH)
    assert at(set_path(SEARCH, setting), "spec", *path) == value
    assert str(SEARCH) == before


def test_an_empty_value_takes_the_field_away():
    assert "designSpace" not in set_path(SEARCH, "spec.designSpace=")["spec"]


def test_metadata_can_be_set():
    assert set_path(SEARCH, "metadata.name=other")["metadata"] == {"name": "other"}


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("spec.serch.maxTrials=5", "spec.serch: Forbidden: unknown field; did you mean search or"),
        (
            "spec.search.maxTrial=5",
            "spec.search.maxTrial: Forbidden: unknown field; did you mean maxTrials",
        ),
        ("spec.search.max_trials=5", "did you mean maxTrials"),
        ("spec.seed.deeper=5", "spec.seed.deeper: Forbidden: there is nothing below it"),
        ("spec.devices[2].threads=1", "no such entry; there is an index up to 1 or one of here"),
        ("spec.devices[-1].threads=1", "no such entry"),
        ("spec.devices.threads=1", "spec.devices[threads]: Forbidden: no such entry"),
        ("status.measured=5", "not an assignment; must be [KIND[/NAME]:]PATH=VALUE"),
        ("seed=5", "not an assignment"),
        ("spec.seed", "not an assignment"),
        ("", "not an assignment"),
        ("spec..seed=1", "spec..seed is not a path"),
        ("spec.devices[0=1", "is not a path"),
        ("spec.seed=[", "the value is not YAML"),
        ("spec.seed=.nan", "the value is Invalid value: nan: must be a finite number"),
        ("Job:spec.seed=1", "unknown kind Job"),
        ("GPTRun:spec.seed=1", "did you mean GPTranRun?"),
        ("GPTranRun:spec.seed=1", "there is no GPTranRun; there is CoDesignSearch/q"),
        ("cds/other:spec.seed=1", "there is no CoDesignSearch/other"),
    ],
)
def test_a_setting_that_leads_nowhere_is_refused(setting, words):
    with pytest.raises(SpecError) as caught:
        set_path(SEARCH, setting)
    message = str(caught.value)
    assert message.startswith(f"--set {setting}")
    assert words in message


def test_a_setting_without_a_kind_reaches_every_resource_that_has_the_path():
    job, *searches = load_text(TEXT, settings=["spec.seed=4", "spec.search.maxTrials=9"])
    assert [job.spec.seed, *(search.spec.seed for search in searches)] == [4, 4, 4]
    assert [search.spec.search.max_trials for search in searches] == [9, 9]


def test_a_setting_with_a_name_reaches_one_resource():
    _, first, second = load_text(TEXT, settings=["CoDesignSearch/r:spec.seed=4"])
    assert (first.spec.seed, second.spec.seed) == (0, 4)


def test_settings_apply_in_order_and_their_values_are_checked():
    assert load_text(TEXT, settings=["spec.seed=1", "spec.seed=2"])[0].spec.seed == 2
    with pytest.raises(SpecError, match=r'spec\.seed: Invalid value: "x": must be a whole number'):
        load_text(TEXT, settings=["spec.seed=x"])


def test_all_bad_settings_are_told_at_once():
    with pytest.raises(SpecError) as caught:
        load_text(TEXT, settings=["spec.sed=1", "nonsense", "spec.seed=3"])
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("kind", list(KINDS))
def test_kinds_are_known_by_their_short_names_in_any_case(kind):
    assert parse_setting(f"{kind.upper()}:spec.seed=1").kind == kind
    assert parse_setting(f"{KINDS[kind].SHORT_NAME}:spec.seed=1").kind == kind
