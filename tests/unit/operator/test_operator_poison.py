"""One object of one tenant never stops the operator for the others."""

import asyncio
import base64
import json
import logging
import os
import tracemalloc

import pytest
from aiohttp import web
from kubernetes.aio import client as api
from operator_scene import EVIL, Scene, child
from operator_world import spec_of
from poison import Server, brackets, deep, serve, until

from edgetran_operator.app import run_operator
from edgetran_operator.kube.border import read_object
from edgetran_operator.kube.cache import EVENTS_KEPT, SPEC_BYTES, Key
from edgetran_operator.kube.client import ApiError, Client, retry_after
from edgetran_operator.kube.informers import Informer, Source
from edgetran_operator.kube.pauses import LAST_SECONDS, Pauses
from edgetran_operator.metrics.collector import StateCollector
from edgetran_operator.settings import Settings
from edgetran_operator.snapshot import PartView, PodView, WorkerView, WorkFiles

GOOD = Key("ProfilingJob", "ns", "good")
SPEC = spec_of("ProfilingJob")


def ended(message):
    state = {"terminated": {"exitCode": 1, "message": message, "reason": "Error"}}
    return {"phase": "Failed", "containerStatuses": [{"name": "worker", "state": state}]}


JOB = ("jobs", "{}-pj-worker", {"spec": {}})
POD = ("pods", "{}-pj-worker-abc", {"spec": {}, "status": {"phase": "Running"}})
PART = ("configmaps", "{}-pj-results-0", {"data": {"part.json": '{"records": 3}'}})
WORK = ("configmaps", "{}-pj-spec", {"data": {"resource.yaml": "{}"}})
ABOUT = {"kind": "Job", "name": "evil-pj-worker", "uid": "u"}
FAILURES = "edgetran.io/failures-before"

POISONS = {
    "part of brackets": ("ConfigMaps", PART, {"data": {"part.json": brackets(100_000)}}),
    "summary of brackets": ("ConfigMaps", PART, {"data": {"summary.json": brackets(100_000)}}),
    "summary that is deep": ("ConfigMaps", PART, {"data": {"summary.json": deep()}}),
    "summary with surrogates": ("ConfigMaps", PART, {"data": {"summary.json": '{"a":"\\ud800"}'}}),
    "summary with NaN": ("ConfigMaps", PART, {"data": {"summary.json": '{"a": NaN}'}}),
    "summary that is large": ("ConfigMaps", PART, {"data": {"summary.json": f'["{"x" * 10**5}"]'}}),
    "files that are large": ("ConfigMaps", WORK, {"data": {"resource.yaml": "x" * 10**6}}),
    "data that are no texts": ("ConfigMaps", WORK, {"data": {"resource.yaml": 5}}),
    "5,000 digits": ("Jobs", JOB, {"metadata": child(annotations={FAILURES: "9" * 5000})}),
    "job that is deep": ("Jobs", JOB, {"spec": deep()}),
    "job with surrogates": ("Jobs", JOB, {"spec": '{"a":"\\ud800"}'}),
    "conditions that are texts": ("Jobs", JOB, {"status": {"conditions": ["x"]}}),
    "time that is none": ("Pods", POD, {"metadata": child(creationTimestamp="soon")}),
    "2,000 brackets at the end": ("Pods", POD, {"status": ended(brackets(2000))}),
    "4,096 brackets at the end": ("Pods", POD, {"status": ended(brackets(4096))}),
    "digits at the end": ("Pods", POD, {"status": ended('{"message": ' + "9" * 4000 + "}")}),
    "pod that is deep": ("Pods", POD, {"spec": deep()}),
    "number that is none": ("Pods", POD, {"spec": '{"a": 1e999}'}),
}


@pytest.fixture
def scene():
    found = Scene()
    found.server.put("profilingjobs", "evil", spec=SPEC)
    found.server.put("profilingjobs", "good", spec=SPEC)
    return found


def said(caplog):
    return [each.message for each in caplog.records if "cannot be read" in each.message]


@pytest.mark.parametrize("poison", POISONS)
@pytest.mark.parametrize("by", ["list", "watch"])
def test_a_poisoned_object_is_passed_over_and_said_and_the_others_go_on(scene, poison, by, caplog):
    collection, made, members = POISONS[poison]

    async def script(scene):
        if by == "watch":
            scene.put(made, **members)
        scene.put(made, GOOD)
        await until(lambda: scene.views(object, GOOD))
        await until(lambda: scene.count(collection) == 1)
        for _ in range(3):  # the same version again
            text = scene.server.objects[made[0], "ns", made[1].format("evil")]
            scene.server.tell(made[0], "MODIFIED", text)
        scene.server.drop(made[0], made[1].format("good"))
        await until(lambda: not scene.views(object, GOOD))
        assert scene.count(collection) == 1
        (sentence,) = said(caplog)
        assert f"ns/{made[1].format('evil')}" in sentence
        assert len(sentence) < 400

    if by == "list":
        scene.put(made, **members)
    scene.play(script)


@pytest.mark.parametrize("made", [JOB, POD], ids=["job", "pod"])
def test_what_was_known_of_an_object_that_is_poison_now_is_forgotten(scene, made):
    """Nothing is decided by what may be long past; once it can be read it is known again."""

    async def script(scene):
        assert scene.views(object)
        scene.put(made, spec=deep())
        await until(lambda: not scene.views(object))
        scene.put(made)
        await until(lambda: scene.views(object))

    scene.put(made)
    scene.play(script)


def test_a_summary_that_is_poison_now_is_not_the_one_before(scene):
    async def script(scene):
        (view,) = scene.views(PartView)
        assert view.summary.progress == "1/2"
        scene.put(PART, data={"part.json": '{"records": 3}', "summary.json": deep()})
        await until(lambda: scene.views(PartView)[0].summary is None)
        (view,) = scene.views(PartView)
        assert view.used
        assert view.problem[0] == "TooDeep"

    scene.put(PART, data={"summary.json": '{"progress": "1/2"}'})
    scene.play(script)


def test_a_termination_message_of_brackets_is_kept_as_a_text_and_cut(scene):
    async def script(scene):
        (view,) = scene.views(PodView)
        assert view.phase == "Failed"
        assert set(view.message) == {"["}
        assert len(view.message) <= 2048

    scene.put(POD, status=ended(brackets(4096)))
    scene.play(script)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ('{"podTemplate":' + deep() + "}", "deeper than 64 levels"),
        ('{"podTemplate": "\\ud800"}', "surrogates"),
        (json.dumps({"podTemplate": "x" * SPEC_BYTES}), f"must have at most {SPEC_BYTES}"),
    ],
    ids=["deep", "surrogates", "large"],
)
def test_a_resource_that_cannot_be_read_is_told_so_and_keeps_its_status(scene, spec, why):
    async def script(scene):
        seen = scene.controller.gatherer.snapshot(EVIL, {})
        assert why in seen.problem
        assert seen.status == {"failures": 2}
        assert scene.controller.gatherer.snapshot(GOOD, {}).problem is None

    scene.server.put("profilingjobs", "evil", spec=spec, status={"failures": 2})
    scene.play(script)


def test_a_board_is_not_given_away_while_its_jobs_spec_cannot_be_read(scene):
    async def script(scene):
        before = scene.controller.boards._claim(EVIL)
        text = scene.server.body(
            "profilingjobs", "evil", spec=deep(), metadata={"resourceVersion": "99"}
        )
        scene.controller.observe_resource("ProfilingJob", read_object(text.encode()))
        assert scene.cache.resources[EVIL].unreadable
        assert scene.controller.boards._claim(EVIL).selector == before.selector

    scene.play(script)


def test_the_whole_operator_lives_with_a_template_that_is_1500_levels_deep(tmp_path, caplog):
    """Those that were there, and one that comes later."""
    server = Server()
    host = {"device": {"name": "h", "host": True}, "designSpace": {"preset": "tiny"}}

    def poison(name):
        server.put("profilingjobs", name, spec='{"podTemplate":' + deep() + "}")
        return ("profilingjobs", name)

    async def script():
        stop = asyncio.Event()
        settings = Settings(namespaces=("ns",), metrics_port=-1, probe_port=-1)
        operator = asyncio.create_task(run_operator(settings, server.kubeconfig(tmp_path), stop))
        try:
            await until(lambda: first in server.written)
            await until(lambda: server.count("profilingjobs", watch=True))
            later = poison("later")
            server.tell("profilingjobs", "MODIFIED", brackets(100_000))
            server.put("profilingjobs", "good", spec=host)
            await until(lambda: later in server.written)
            await until(lambda: ("profilingjobs", "good") in server.written)
            assert not operator.done()
            for place in (first, later):
                reasons = {each["reason"] for each in server.written[place]["conditions"]}
                assert reasons == {"SpecInvalid"}
        finally:
            stop.set()
            await asyncio.wait_for(operator, 60)

    first = poison("first")
    with caplog.at_level(logging.WARNING):
        serve(server, script)
    assert len([each for each in said(caplog) if "ns/first" in each]) == 1


# Memory


class Full(Server):
    """Holds 500 results ConfigMaps of 700 KiB, and cannot leave their bytes out."""

    blob = base64.b64encode(os.urandom(525 * 1024)).decode()

    async def answer(self, request):
        if not request.path.endswith("/configmaps") or "watch" in request.query:
            return await super().answer(request)
        response = web.StreamResponse()
        await response.prepare(request)
        start, size = int(request.query.get("continue", 0)), int(request.query["limit"])
        end = min(500, start + size)
        more = f',"continue":"{end}"' if end < 500 else ""
        await response.write(b'{"items":[')
        for number in range(start, end):
            name, binary = f"evil-pj-results-{number}", {"records.jsonl.gz": self.blob}
            text = self.body("configmaps", name, metadata=child(), binaryData=binary)
            await response.write(("," * (number > start) + text).encode())
        await response.write(f'],"metadata":{{"resourceVersion":"9"{more}}}}}'.encode())
        return response


def test_five_hundred_full_parts_cost_less_than_50_mebibytes(scene):
    scene.server = Full()
    scene.server.put("profilingjobs", "evil", spec=SPEC)
    peaks = []

    async def script(scene):
        parts = scene.views(PartView)
        assert len(parts) == 500
        assert all(part.used for part in parts)
        peaks.append(tracemalloc.get_traced_memory()[1])

    tracemalloc.start()
    try:
        scene.play(script)
    finally:
        tracemalloc.stop()
    assert peaks[0] < 50 * 2**20


def test_of_config_maps_the_metadata_are_watched_and_what_is_needed_is_read(scene):
    scene.server.metadata_only = True

    async def script(scene):
        assert scene.views(PartView)[0].summary.progress == "1/2"
        (work,) = scene.views(WorkFiles)
        assert work.files == {"resource.yaml": "{}"}
        scene.put(PART, data={"summary.json": '{"progress": "2/2"}'})
        await until(lambda: scene.views(PartView)[0].summary.progress == "2/2")
        scene.server.put(
            "configmaps", "evil-pj-results-1", metadata=child(), binaryData={"x": "eA=="}
        )
        await until(lambda: len(scene.views(PartView)) == 2)
        assert scene.views(PartView)[1].used
        scene.server.drop("configmaps", "evil-pj-results-0")
        await until(lambda: len(scene.views(PartView)) == 1)

    scene.put(PART, data={"summary.json": '{"progress": "1/2"}'})
    scene.put(WORK)
    scene.play(script)
    read = [path for method, path, _ in scene.server.asked if path.endswith("results-1")]
    assert read == [], "what a part holds is not needed"


def test_an_empty_part_is_not_used(scene):
    scene.server.metadata_only = True

    async def script(scene):
        assert [part.used for part in scene.views(PartView)] == [False, False]

    for number in (0, 1):
        scene.server.put("configmaps", f"evil-pj-results-{number}", metadata=child())
    scene.play(script)


def test_nothing_is_kept_of_config_maps_that_belong_to_no_resource(scene):
    forged = child(ownerReferences=[{"uid": "another", "controller": True}])
    data = {"resource.yaml": "x" * 10_000}

    async def script(scene):
        (work,) = scene.views(WorkFiles)
        assert work.files == {}
        assert scene.views(PartView, Key("ProfilingJob", "ns", "nobody")) == []
        scene.server.put("configmaps", "evil-pj-spec", metadata=child(), data=data)
        await until(lambda: scene.views(WorkFiles)[0].files == data)

    scene.server.put("configmaps", "evil-pj-spec", metadata=forged, data=data)
    scene.server.put("configmaps", "another-pj-spec", metadata=child(), data=data)
    scene.play(script)


# Pauses


def quiet_source():
    return Source("T", "/x", {}, lambda _: None, lambda _: None, list, lambda *_: None)


def watch_for(server, seconds):
    async def script():
        host = f"http://127.0.0.1:{server.port}"
        client = Client(api.ApiClient(api.Configuration(host=host)))
        informer = Informer(client, quiet_source(), watch_seconds=60)
        server.objects.clear()
        task = asyncio.create_task(informer.run())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.close()

    serve(server, script)


class Plain(Server):
    """Lists nothing at /x."""

    def _discovery(self, path):
        asked = self.asked[-1][2]
        empty = {"metadata": {"resourceVersion": "1"}, "items": []}
        return empty if path == "/x" and "watch" not in asked else super()._discovery(path)


def test_a_watch_that_ends_at_once_is_asked_for_again_after_pauses_that_grow():
    server = Plain()
    server.ends_watches = True
    watch_for(server, 3)
    assert 2 <= server.count("x", watch=True) <= 6
    assert server.count("x", watch=False) == 1, "a list is not needed for it"


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_says_when_to_come_again_is_not_asked_before(status):
    server = Plain()
    server.refuse["/x"] = (status, {"Retry-After": "30"})
    watch_for(server, 3)
    assert len(server.asked) == 1


def test_pauses_double_up_to_half_a_minute_and_begin_anew():
    pauses = Pauses()
    taken = [pauses.next() for _ in range(12)]
    assert 0.25 <= taken[0] <= 0.5
    assert LAST_SECONDS / 2 <= taken[-1] <= LAST_SECONDS
    assert pauses.longest
    assert pauses.next(at_least=60) >= 60
    pauses.reset()
    assert pauses.next() <= 0.5


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5), ("-5", 0), ("nan", 0), ("1e400", 0), ("9" * 5000, 0), ("99999", 300), ("x", 0)],
)
def test_retry_after_is_a_bounded_number_of_seconds_whatever_it_says(text, seconds):
    assert retry_after(text) == seconds


def test_retry_after_may_be_a_date():
    assert retry_after("Fri, 31 Dec 9998 23:59:59 GMT") == 300
    assert retry_after("Fri, 31 Dec 1999 23:59:59 GMT") == 0


def test_a_write_that_was_refused_for_now_says_when_it_may_be_tried_again(scene):
    async def script(scene):
        path = "/api/v1/namespaces/ns/configmaps/x"
        scene.server.refuse[path] = (429, {"Retry-After": "17"})
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
        with pytest.raises(ApiError) as caught:
            await scene.controller.client.apply(body, "ns")
        assert caught.value.retry_after == 17
        assert caught.value.passes
        assert scene.controller.queue.retry(GOOD, caught.value.retry_after) >= 17

    scene.play(script)


# Events


def test_events_are_believed_for_their_own_namespace_alone(scene):
    worker = WorkerView("Job", "evil-pj-worker", "u")

    def event(name, where, **about):
        scene.server.put(
            "events",
            name,
            where,
            involvedObject={**ABOUT, **about},
            message=json.dumps(f"of {name}"),
        )

    async def script(scene):
        event("foreign", "elsewhere", namespace="ns")
        event("without", "ns")
        event("other-way", "ns", namespace="elsewhere")
        event("own", "ns", namespace="ns")
        await until(lambda: scene.cache.no_pod(worker, EVIL))
        assert scene.cache.events(None) == {("ns", "own")}
        assert scene.cache.no_pod(worker, EVIL) == "of own"
        scene.server.drop("events", "own")
        await until(lambda: not scene.cache.events(None))

    event("default", "default")
    scene.play(script)


def test_of_many_events_the_newest_few_are_kept(scene):
    worker = WorkerView("Job", "evil-pj-worker", "u")

    async def script(scene):
        assert len(scene.cache.events(None)) == EVENTS_KEPT
        assert scene.cache.no_pod(worker, EVIL).startswith("49")
        assert len(scene.cache.no_pod(worker, EVIL)) <= 1024

    for number in range(50):
        scene.server.put(
            "events",
            f"e{number}",
            involvedObject={**ABOUT, "namespace": "ns"},
            message=json.dumps(f"{number} {'x' * 5000}"),
        )
    scene.put(JOB)
    scene.play(script)


# Metrics


def test_a_status_that_makes_no_sense_costs_no_other_resources_metrics(scene):
    async def script(scene):
        for metric in StateCollector(scene.controller).collect():
            if metric.name == "edgetran_resource_failures":
                named = {sample.labels["name"]: sample.value for sample in metric.samples}
        assert named == {"good": 1}

    scene.server.put("profilingjobs", "good", spec=SPEC, status={"failures": 1})
    scene.server.put("profilingjobs", "evil", spec=SPEC, status={"failures": 0, "errors": [5]})
    scene.play(script)
