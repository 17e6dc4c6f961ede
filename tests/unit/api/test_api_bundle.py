"""References between resources lead somewhere, to the right kind, and never in a circle."""

import pytest

from edgetran.api import (
    CoDesignSearch,
    GPTranRun,
    ProfilingJob,
    SpecError,
    load_bundle,
    load_text,
    resolve,
)


def job(name="p", device="{name: here, host: true, threads: 2}", extra=""):
    return f"""\
apiVersion: edgetran.io/v1alpha1
kind: ProfilingJob
metadata: {{name: {name}}}
spec:
  device: {device}
  designSpace: {{preset: tiny}}
  {extra}
"""


def search(name="s", profile="p", device="host: true, threads: 2", extra=""):
    return f"""\
apiVersion: edgetran.io/v1alpha1
kind: CoDesignSearch
metadata: {{name: {name}}}
spec:
  task: {{name: movie-reviews}}
  designSpace: {{preset: tiny}}
  devices:
    - {{name: pi, simulation: raspberry-pi-4-cpu}}
    - {{name: here, {device}, profileRef: {{name: {profile}}}}}
  {extra}
"""


def run(name="g", of="s"):
    return f"""\
apiVersion: edgetran.io/v1alpha1
kind: GPTranRun
metadata: {{name: {name}}}
spec: {{searchRef: {{name: {of}}}}}
"""


def bundle(*documents):
    return resolve(load_text("---\n".join(documents), "f.yaml"))


def error(*documents):
    with pytest.raises(SpecError) as caught:
        bundle(*documents)
    return str(caught.value)


def test_resources_come_after_those_that_they_refer_to():
    chain = bundle(run(), search(), job("q", extra="warmStartFrom: [{name: p}]"), job())
    assert [resource.label for resource in chain.resources] == [
        "ProfilingJob/p",
        "ProfilingJob/q",
        "CoDesignSearch/s",
        "GPTranRun/g",
    ]
    found = chain.get("CoDesignSearch", "s")
    assert isinstance(found, CoDesignSearch)
    assert [resource.name for resource in chain.dependencies(found)] == ["p"]
    assert [resource.name for resource in chain.of_kind(GPTranRun)] == ["g"]
    assert len(chain.of_kind(ProfilingJob)) == 2
    with pytest.raises(KeyError):
        chain.get("ProfilingJob", "s")


@pytest.mark.parametrize(
    ("documents", "line"),
    [
        (
            [search()],
            (
                'f.yaml: CoDesignSearch/s: spec.devices[1].profileRef.name: Not found: "p": no '
                "ProfilingJob of this name was given with it"
            ),
        ),
        (
            [search(profile="hots"), job("host")],
            (
                'spec.devices[1].profileRef.name: Not found: "hots": no ProfilingJob of this name '
                "was given with it; did you mean host? There is host"
            ),
        ),
        (
            [run(of="p"), job()],
            (
                'spec.searchRef.name: Not found: "p": no CoDesignSearch of this name was given '
                "with it (p is a ProfilingJob)"
            ),
        ),
        (
            [search(profile="s")],
            "no ProfilingJob of this name was given with it (s is a CoDesignSearch)",
        ),
        ([job(), job()], 'metadata.name: Duplicate value: "p", given already in f.yaml'),
        (
            [job(extra="warmStartFrom: [{name: p}]")],
            (
                "spec.warmStartFrom[0].name: Forbidden: references in a circle: ProfilingJob/p → "
                "ProfilingJob/p"
            ),
        ),
        (
            [search(device="host: true"), job()],
            (
                "spec.devices[1].threads: Required value: must be the same as in ProfilingJob/p, "
                "which has 2"
            ),
        ),
        (
            [search(device="nodeSelector: {a: b}, threads: 2"), job()],
            (
                'spec.devices[1].nodeSelector: Invalid value: "a=b": must be the same as in '
                "ProfilingJob/p, which has none"
            ),
        ),
        (
            [search(extra="workload: {sequenceLength: 64}"), job()],
            (
                "spec.workload.sequenceLength: Invalid value: 64: must be the same as in "
                "ProfilingJob/p, which has 128"
            ),
        ),
    ],
)
def test_a_reference_that_leads_nowhere_is_told(documents, line):
    assert line in error(*documents)


def test_a_warm_start_needs_the_same_workload():
    other = job("q", extra="workload: {batchSize: 8}\n  warmStartFrom: [{name: p}]")
    assert "ProfilingJob/q: spec.workload.batchSize: Invalid value: 8: must be the same" in error(
        job(), other
    )


def test_a_circle_of_three_is_told_once():
    text = error(
        job("a", extra="warmStartFrom: [{name: b}]"),
        job("b", extra="warmStartFrom: [{name: c}]"),
        job("c", extra="warmStartFrom: [{name: a}]"),
        job("d", extra="warmStartFrom: [{name: a}]"),
    )
    assert text.count("circle") == 1
    assert "ProfilingJob/a → ProfilingJob/b → ProfilingJob/c → ProfilingJob/a" in text


def test_references_stay_within_a_namespace():
    elsewhere = job().replace("name: p}", "name: p, namespace: other}")
    assert "(p is a ProfilingJob in namespace other)" in error(search(), elsewhere)
    assert bundle(job(), elsewhere).get("ProfilingJob", "p", "other").metadata.namespace == "other"


def test_two_kinds_may_share_a_name():
    assert len(bundle(job("x"), search("x", profile="x"), run("x", of="x")).resources) == 3


def test_a_long_chain_is_no_trouble():
    jobs = [job("j0")] + [
        job(f"j{i}", extra=f"warmStartFrom: [{{name: j{i - 1}}}]") for i in range(1, 1500)
    ]
    assert bundle(*reversed(jobs)).resources[0].name == "j0"


def test_a_wrong_document_is_not_also_told_as_missing(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_text("---\n".join([job().replace("tiny", "big"), search(), run(of="nowhere")]))
    with pytest.raises(SpecError) as caught:
        load_bundle(path)
    first, second = str(caught.value).splitlines()
    assert "ProfilingJob/p: spec.designSpace.preset" in first
    assert 'GPTranRun/g: spec.searchRef.name: Not found: "nowhere": no CoDesignSearch' in second


def test_a_bundle_is_read_from_several_files_with_settings(tmp_path):
    (tmp_path / "a.yaml").write_text(job())
    (tmp_path / "b.yaml").write_text(search())
    read = load_bundle(tmp_path / "b.yaml", tmp_path / "a.yaml", settings=["spec.seed=5"])
    assert [resource.spec.seed for resource in read.resources] == [5, 5]
    assert read.resources[0].source.endswith("a.yaml")
