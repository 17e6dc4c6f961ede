"""`kubectl edgetran logs NAME --trial 7`: what came of a trial, its place, what was said then."""

import base64
import gzip
import json

import pytest

from edgetran.api.wire import PART_KEY
from edgetran.kubectl.cluster import NotFoundError
from edgetran.kubectl.trial_log import trial_lines
from edgetran.runner.published import encode

SEARCH = {"kind": "CoDesignSearch", "metadata": {"name": "s", "namespace": "ns"}}
POD = "s-cds-worker-x"


def record(number, **more):
    return {
        "number": number,
        "state": "succeeded",
        "device": "pi",
        "proposed_by": "bayesian/ucb",
        "started": "2026-03-01T12:00:10+00:00",
        "finished": "2026-03-01T12:00:20+00:00",
        "training_seconds": 9.5,
        "attempts": 1,
        "place": POD,
        "error": None,
        **more,
    }


def line(second, message):
    time = f"2026-03-01T12:00:{second:02}+00:00"
    return json.dumps({"time": time, "level": "info", "message": message})


class Cluster:
    """A cluster with one search, what it published, and the pods that are left."""

    def __init__(self, *trials, pods=(POD,)):
        lines = b"".join(encode("trials.jsonl", json.dumps(each).encode()) for each in trials)
        self.part = base64.b64encode(gzip.compress(lines)).decode() if trials else ""
        self.names = pods

    def config_map(self, name):
        known = name == "s-cds-results-0" and self.part
        return {"binaryData": {PART_KEY: self.part}} if known else None

    def pods(self, selector):
        assert "edgetran.io/name=s" in selector
        spec = {"nodeName": "server", "containers": [{"name": "worker"}]}
        return [{"metadata": {"name": name}, "spec": spec} for name in self.names]

    def log(self, pod, container):
        assert (pod, container) == (POD, "worker")
        return iter([line(5, "before"), line(12, "epoch 1"), "no JSON", line(30, "after")])


def test_a_trial_tells_what_came_of_it_its_place_and_its_part_of_the_log():
    lines = list(trial_lines(Cluster(record(6), record(7)), SEARCH, 7))
    assert lines[0] == "trial 7: succeeded, for pi, proposed by bayesian/ucb"
    assert f"ran in pod {POD}, node server, from 2026-03-01T12:00:10" in lines[1]
    assert lines[2:] == ["2026-03-01 12:00:12 epoch 1", "no JSON"]


def test_lines_stay_as_they_were_written_on_request():
    lines = list(trial_lines(Cluster(record(7)), SEARCH, 7, raw=True))
    assert lines[2] == line(12, "epoch 1")


def test_a_failed_trial_says_why_and_a_pod_that_is_gone_is_told():
    failed = record(7, state="failed", error="the loss is not finite")
    lines = list(trial_lines(Cluster(failed, pods=()), SEARCH, 7))
    assert lines[0].startswith("trial 7: failed: the loss is not finite")
    assert lines[-1] == "its pod is gone, and its log with it"


def test_a_trial_of_an_earlier_version_has_no_place():
    lines = list(trial_lines(Cluster(record(7, place="")), SEARCH, 7))
    assert "of a place that is not known" in lines[1]
    assert lines[-1] == "so there is no log"


def test_a_pod_of_somebody_else_is_not_asked_for_its_log():
    lines = list(trial_lines(Cluster(record(7, place="victim")), SEARCH, 7))
    assert lines[-1] == "its pod is gone, and its log with it"


@pytest.mark.parametrize(
    ("trials", "said"), [((), "none has so far"), ((record(0), record(3)), "0 to 3 have so far")]
)
def test_a_trial_that_has_not_ended_says_which_have(trials, said):
    with pytest.raises(NotFoundError, match=f"trial 7 has not ended; {said}"):
        list(trial_lines(Cluster(*trials), SEARCH, 7))


def test_only_a_search_has_trials():
    with pytest.raises(NotFoundError, match="has no trials"):
        list(trial_lines(Cluster(), {**SEARCH, "kind": "GPTranRun"}, 7))
