"""What the schema of a server without CEL lets through, the operator answers, in the same words."""

import copy
import time
from pathlib import Path

import pytest
import yaml
from bad_resources import PJ, PROFILING_JOB, RUN, by_hand, changed, generated
from cluster_fixtures import wait_until
from kubernetes.client import ApiException
from operator_process import operator

from edgetran.api import KINDS, SpecError, parse_resource

ROOT = Path(__file__).resolve().parents[2]
GROUP = "/apis/edgetran.io/v1alpha1"

pytestmark = pytest.mark.integration


def address(kind, namespace, name=""):
    place = f"{GROUP}/namespaces/{namespace}/{KINDS[kind].PLURAL}"
    return f"{place}/{name}" if name else place


def conditions(resource):
    found = resource.get("status", {}).get("conditions", [])
    return {each["type"]: each for each in found}


@pytest.fixture(scope="module")
def namespace(api_server):
    return api_server.namespace("bad")


@pytest.fixture(scope="module")
def running(api_server, namespace, tmp_path_factory):
    settings = {"namespaces": [namespace]}
    folder = tmp_path_factory.mktemp("operator")
    with operator(api_server.kubeconfig, folder, settings) as process:
        yield process


def schemas():
    definitions = [
        yaml.load(file.read_text(), yaml.CSafeLoader) for file in (ROOT / "crds").glob("*.yaml")
    ]
    return {
        each["spec"]["names"]["kind"]: each["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for each in definitions
    }


@pytest.fixture(scope="module")
def accepted(api_server, namespace):
    """Bad resources that the server took, with what the models say of them."""
    found = []
    for number, bad in enumerate(by_hand() + generated(schemas(), 150)):
        document = copy.deepcopy(bad.document)
        if bad.unknown or bad.place.startswith("metadata"):
            continue
        document["metadata"]["name"] = f"bad-{number}"
        try:
            created = api_server.call("POST", address(document["kind"], namespace), document)
        except ApiException:
            continue
        with pytest.raises(SpecError) as caught:
            parse_resource(created)
        found.append((document["kind"], f"bad-{number}", caught.value.problems))
    return found


def test_each_is_stalled_with_the_words_of_validate(api_server, namespace, running, accepted):
    assert len(accepted) > 20

    def unanswered():
        missing = []
        for kind, name, problems in accepted:
            found = conditions(api_server.call("GET", address(kind, namespace, name)))
            stalled = found.get("Stalled", {})
            if (stalled.get("status"), stalled.get("reason")) != ("True", "SpecInvalid"):
                missing.append((name, found))
                continue
            assert problems[0].message[:500] in stalled["message"]
            assert problems[0].path in stalled["message"]
            assert found["Succeeded"]["status"] == "False"
            assert found.get("Reconciling", {}).get("status", "False") == "False"
        return missing

    deadline = time.monotonic() + 60
    while (left := unanswered()) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert left == []
    assert running.alive
    assert running.crashes() == []


def test_nothing_is_made_for_them_and_nothing_is_asked_again(
    api_server, namespace, running, accepted
):
    for path in ("/apis/batch/v1/namespaces/{}/jobs", "/api/v1/namespaces/{}/serviceaccounts"):
        assert api_server.call("GET", path.format(namespace))["items"] == []
    time.sleep(2)
    before = len(api_server.audited())
    time.sleep(5)
    mine = [
        event
        for event in api_server.audited()[before:]
        if "python" in event.get("userAgent", "").lower() and event["verb"] not in ("watch", "list")
    ]
    assert [event["requestURI"] for event in mine] == []


def test_mending_the_spec_ends_the_stall(api_server, namespace, running):
    document = changed(PROFILING_JOB, "spec.device.precision", "fp16")
    document["metadata"]["name"] = "mended"
    path = address(PJ, namespace, "mended")
    api_server.call("POST", address(PJ, namespace), document)

    def stalled():
        found = conditions(api_server.call("GET", path)).get("Stalled", {})
        return found.get("reason") if found.get("status") == "True" else None

    wait_until(lambda: stalled() == "SpecInvalid", "it is refused")
    api_server.call("PATCH", path, {"spec": {"device": {"precision": "fp32"}}})
    # There is no node here, which is the cluster's fault and no longer the spec's.
    wait_until(lambda: stalled() == "NoMatchingNode", "it is no longer refused")


def test_references_in_a_circle_are_told(api_server, namespace, running):
    for name, other in (("ring-a", "ring-b"), ("ring-b", "ring-a"), ("ring-c", "ring-c")):
        document = changed(PROFILING_JOB, "spec.warmStartFrom", [{"name": other}])
        document["metadata"]["name"] = name
        api_server.call("POST", address(PJ, namespace), document)

    def messages():
        found = [
            conditions(api_server.call("GET", address(PJ, namespace, name))).get("Stalled", {})
            for name in ("ring-a", "ring-b", "ring-c")
        ]
        return [each.get("message", "") for each in found if each.get("status") == "True"]

    wait_until(lambda: len(messages()) == 3, "all three are answered")
    assert all("circle" in message for message in messages()), messages()


def test_a_resource_of_another_namespace_is_not_found(api_server, namespace, running):
    elsewhere = api_server.namespace("elsewhere")
    search = {
        "apiVersion": "edgetran.io/v1alpha1",
        "kind": "CoDesignSearch",
        "metadata": {"name": "far"},
        "spec": {
            "task": {"name": "movie-reviews"},
            "designSpace": {"preset": "tiny"},
            "devices": [{"name": "a", "simulation": "nvidia-a100"}],
            "storage": {"newClaim": {"size": "1Gi"}},
        },
    }
    api_server.call("POST", address("CoDesignSearch", elsewhere), search)
    document = changed(RUN, "spec.searchRef.name", "far")
    document["metadata"]["name"] = "reaches-out"
    document["spec"]["storage"] = {"newClaim": {"size": "1Gi"}}
    api_server.call("POST", address("GPTranRun", namespace), document)

    def answer():
        path = address("GPTranRun", namespace, "reaches-out")
        return conditions(api_server.call("GET", path))

    wait_until(lambda: any(e["reason"] == "DependencyMissing" for e in answer().values()), "told")
    told = [each for each in answer().values() if each["reason"] == "DependencyMissing"]
    assert any(
        'Not found: "far": no CoDesignSearch of this name' in each["message"] for each in told
    )
