"""A worker's part of a chain: what it does itself, and what it is given."""

import pytest

from edgetran.api import SpecError, load_text
from edgetran.runner.folder import RunFolder
from edgetran.runner.part import plan_part
from edgetran.runner.tracker import tracker_of_chain

TEXT = """
apiVersion: edgetran.io/v1alpha1
kind: ProfilingJob
metadata: {name: rpi}
spec:
  device: {name: raspberry, nodeSelector: {edgetran.io/device: raspberry}}
  designSpace: {preset: tiny}
  workload: {sequenceLength: 16}
---
apiVersion: edgetran.io/v1alpha1
kind: CoDesignSearch
metadata: {name: s}
spec:
  task: {name: movie-reviews}
  designSpace: {preset: tiny}
  workload: {sequenceLength: 16}
  devices:
    - {name: board, nodeSelector: {edgetran.io/device: raspberry}, profileRef: {name: rpi}}
    - {name: jetson, nodeSelector: {edgetran.io/device: jetson}}
    - {name: simulated, simulation: raspberry-pi-4-cpu}
  refine: {cycles: 2}
  ray: {mode: kuberay}
  seed: 3
---
apiVersion: edgetran.io/v1alpha1
kind: GPTranRun
metadata: {name: s-again}
spec: {searchRef: {name: s}, seed: 5}
"""
JOB, SEARCH, REFINEMENT = load_text(TEXT)


def changed(resource, text, to):
    (new,) = load_text(text_of(resource).replace(text, to))
    return new


def text_of(resource):
    return next(part for part in TEXT.split("---") if f"kind: {resource.kind}" in part)


def test_a_profiling_job_measures_where_its_worker_runs():
    chain = plan_part(JOB, ())
    assert chain.jobs == (JOB,)
    assert (chain.search, chain.refinement, chain.task, chain.name) == (None, None, None, "rpi")


def test_a_search_leaves_its_refinement_to_another_worker_and_knows_its_profiles():
    chain = plan_part(SEARCH, (JOB,))
    assert chain.search is SEARCH
    assert chain.refinement is None
    assert [job.name for job in chain.jobs] == ["rpi", "s-jetson"]
    by_device = {device.name: chain.job_for(device) for device in chain.devices}
    assert by_device["board"] is JOB
    assert by_device["jetson"].name == "s-jetson"
    assert by_device["simulated"] is None


def test_a_given_job_stands_for_the_one_that_the_search_implies():
    own = changed(JOB, "{name: rpi}", "{name: s-jetson}")
    chain = plan_part(SEARCH, (JOB, own))
    assert chain.job_for(chain.devices[1]) is own


def test_a_refinement_takes_task_and_devices_from_its_search_and_keeps_its_own_name():
    chain = plan_part(REFINEMENT, (JOB, SEARCH))
    assert (chain.name, chain.seed) == ("s-again", 5)
    assert chain.search is None
    assert chain.searched is SEARCH
    assert chain.task == SEARCH.spec.task
    assert chain.devices == SEARCH.spec.devices
    assert chain.resources == (JOB, SEARCH, REFINEMENT)


@pytest.mark.parametrize(
    ("resource", "given", "message"),
    [
        (SEARCH, (), r"CoDesignSearch/s: spec\.devices\[0\]\.profileRef\.name: Not found: \"rpi\""),
        (REFINEMENT, (JOB,), r'spec\.searchRef\.name: Not found: "s": no CoDesignSearch'),
        (REFINEMENT, (SEARCH,), r'CoDesignSearch/s: .*Not found: "rpi": no ProfilingJob'),
    ],
)
def test_a_reference_to_what_was_not_given_is_refused(resource, given, message):
    with pytest.raises(SpecError, match=message):
        plan_part(resource, given)


def test_what_can_be_done_nowhere_is_refused_in_a_cluster_too():
    simulated = changed(
        JOB, "nodeSelector: {edgetran.io/device: raspberry}", "simulation: raspberry-pi-4-cpu"
    )
    with pytest.raises(SpecError, match=r"spec\.device\.simulation: Forbidden: .*use nodeSelector"):
        plan_part(simulated, ())
    wrong = changed(SEARCH, "raspberry-pi-4-cpu}", "raspberry-pi-4-cpu, precision: bf16}")
    with pytest.raises(
        SpecError, match=r"spec\.devices\[2\]\.precision: Unsupported value: \"bf16\""
    ):
        plan_part(wrong, (JOB,))


def tracked(resource, name="mlflow.lan"):
    (made,) = load_text(text_of(resource), settings=[f"spec.tracking.mlflow.uri=http://{name}"])
    return made


@pytest.mark.parametrize("resource", [SEARCH, REFINEMENT])
def test_a_worker_shows_trials_to_no_server_that_is_not_allowed(resource):
    given = (JOB,) if resource is SEARCH else (JOB, SEARCH)
    with pytest.raises(SpecError, match=r"spec\.tracking\.mlflow\.uri: .*allow\.trackers"):
        plan_part(tracked(resource), given, trackers=("http://mlflow.lan.example.com",))
    assert plan_part(tracked(resource), given, trackers=("http://mlflow.lan",)).resources


def test_a_refinement_is_not_shown_where_another_ones_search_is(tmp_path):
    """Of the search that a worker is given nobody has asked whether its server is allowed."""
    folder = RunFolder(tmp_path)
    chain = plan_part(REFINEMENT, (JOB, tracked(SEARCH, "elsewhere.example.com")))
    assert tracker_of_chain(chain, folder) is None
    chain = plan_part(tracked(REFINEMENT), (JOB, SEARCH), trackers=("http://mlflow.lan",))
    assert tracker_of_chain(chain, folder) is not None
