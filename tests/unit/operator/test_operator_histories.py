"""Any history of users, controllers, workers and outages: what holds at every moment of it."""

import itertools
from typing import Any

from hypothesis import HealthCheck, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from operator_world import World, check_status, spec_of

from edgetran_operator.kube.cache import Key

KEYS = [
    Key("ProfilingJob", "ns", "p"),
    Key("ProfilingJob", "other", "p"),
    Key("ProfilingJob", "ns", "s-pi"),
    Key("CoDesignSearch", "ns", "s"),
    Key("GPTranRun", "ns", "r"),
    Key("GPTranRun", "ns", "s-refine"),
]
EXIT_CODES = [1, 10, 11, 12, 13, 14, 15, 16, 137, 143]

keys = strategies.sampled_from(KEYS)


class Histories(RuleBasedStateMachine):
    """Rules are what happens around the operator; after each, it comes to rest."""

    @initialize()
    def begin(self) -> None:
        self.world = World()
        self.ended: dict[str, tuple[str, str]] = {}

    def _there(self, key: Key) -> bool:
        return key in self.world.objects

    @rule(
        key=strategies.sampled_from([KEYS[0], KEYS[1], KEYS[3], KEYS[4]]),
        suspend=strategies.booleans(),
        deadline=strategies.sampled_from([None, 50]),
        backoff=strategies.integers(0, 2),
        refine=strategies.booleans(),
        ttl=strategies.sampled_from([None, 100]),
    )
    def apply(
        self,
        key: Key,
        suspend: bool,
        deadline: int | None,
        backoff: int,
        refine: bool,
        ttl: int | None,
    ) -> None:
        changes: dict[str, Any] = {"suspend": suspend, "backoffLimit": backoff}
        if deadline is not None:
            changes["activeDeadlineSeconds"] = deadline
        if ttl is not None:
            changes["ttlSecondsAfterFinished"] = ttl
        if refine and key.kind == "CoDesignSearch":
            changes["refine"] = {}
        self.world.apply(key.kind, key.name, spec_of(key.kind, **changes), key.namespace)

    @rule(key=keys, seed=strategies.sampled_from([0, 1, -1]))
    def edit(self, key: Key, seed: int) -> None:
        if self._there(key):
            self.world.change(key, seed=seed)

    @rule(key=keys)
    def delete(self, key: Key) -> None:
        if self._there(key):
            self.world.delete(key.kind, key.name, key.namespace)

    @rule(name=strategies.sampled_from(["a", "b"]), device=strategies.sampled_from(["pi", "x"]))
    def node(self, name: str, device: str) -> None:
        self.world.node(name, device=device)

    @rule(name=strategies.sampled_from(["a", "b"]))
    def silent_node(self, name: str) -> None:
        if ("Node", "", name) in self.world.objects:
            self.world.node(name, device="pi", ready=False)

    @rule(name=strategies.sampled_from(["a", "b"]))
    def remove_node(self, name: str) -> None:
        if ("Node", "", name) in self.world.objects:
            self.world.remove_node(name)

    @rule()
    def start_pods(self) -> None:
        self.world.start_pods()

    @rule(key=keys, finished=strategies.booleans())
    def report(self, key: Key, finished: bool) -> None:
        short = {"ProfilingJob": "pj", "CoDesignSearch": "cds", "GPTranRun": "gpt"}[key.kind]
        if ("ConfigMap", key.namespace, f"{key.name}-{short}-results-0") in self.world.objects:
            self.world.report(key, finished=finished)

    @rule(key=keys)
    def finish(self, key: Key) -> None:
        if self.world.job_of(key) is not None:
            self.world.start_pods()
            self.report(key, finished=True)
            self.world.end_pod(key, 0)

    @rule(key=keys, code=strategies.sampled_from(EXIT_CODES))
    def fail(self, key: Key, code: int) -> None:
        if self.world.job_of(key) is not None:
            self.world.start_pods()
            self.world.end_pod(key, code, "x", "it failed")

    @rule(data=strategies.data())
    def delete_child(self, data: strategies.DataObject) -> None:
        places = sorted(
            place for place in self.world.objects if place[0] in ("ConfigMap", "Job", "Pod")
        )
        if places:
            kind, namespace, name = data.draw(strategies.sampled_from(places))
            self.world.delete(kind, name, namespace)

    @rule(seconds=strategies.integers(1, 200))
    def wait(self, seconds: int) -> None:
        self.world.wait(seconds)

    @rule()
    def restart(self) -> None:
        self.world.restart_operator()

    @precondition(lambda self: hasattr(self, "world"))
    @invariant()
    def comes_to_rest_and_all_is_well(self) -> None:
        world = self.world
        world.settle()
        calls = world.calls
        world.settle()
        assert world.calls == calls, "a second look changes nothing"
        for key in world.existing():
            status = world.status(key)
            if not status:
                continue
            check_status(status)
            uid = world.objects[key]["metadata"]["uid"]
            assert status["observedGeneration"] == world.objects[key]["metadata"]["generation"]
            if "completionTime" in status:
                end = (world.says(key, "Succeeded")[0], status["completionTime"])
                assert self.ended.setdefault(uid, end) == end, "an end is the end"
                job = world.job_of(key)
                assert job is None or job["spec"]["parallelism"] == 0 or job["status"]["conditions"]
            else:
                assert uid not in self.ended
            if world.says(key, "Suspended")[0] == "True":
                assert world.job_of(key) is None or world.job_of(key)["status"]["conditions"]
        self._one_measurement_per_board()

    def _one_measurement_per_board(self) -> None:
        nodes = [
            body["spec"]["nodeName"]
            for place, body in self.world.objects.items()
            if place[0] == "Pod"
            and body["status"]["phase"] == "Running"
            and body["metadata"]["labels"].get("edgetran.io/measuring") == "true"
        ]
        crowded = [name for name, group in itertools.groupby(sorted(nodes)) if len([*group]) > 1]
        assert not crowded


Histories.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestHistories = Histories.TestCase
