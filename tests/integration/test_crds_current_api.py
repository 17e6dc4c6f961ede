"""The custom resources on the API of a current Kubernetes: what its server stores and refuses."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
import yaml
from bad_resources import CDS, GOOD, GPT, PJ, changed
from cluster_fixtures import held_cluster, wait_until
from crd_judge import crd_server_folder
from kubernetes import config
from kubernetes.client import ApiException

from edgetran.api import KINDS, parse_resource

ROOT = Path(__file__).resolve().parents[2]
GROUP = "/apis/edgetran.io/v1alpha1"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"

pytestmark = pytest.mark.integration


class Api:
    """Requests to a server that has no API but that of custom resources."""

    def __init__(self, kubeconfig: Path) -> None:
        client = config.new_client_from_config(config_file=str(kubeconfig))
        self._server = client.configuration.host
        self._requests = client.rest_client.pool_manager

    def call(self, method, path, body=None, content="application/json", *, accept=None, **query):
        answer = self._requests.request(
            method,
            f"{self._server}{path}?{urlencode(query)}",
            body=None if body is None else json.dumps(body),
            headers={"Content-Type": content, "Accept": accept or "application/json"},
        )
        if answer.status >= 400:
            raise ApiException(http_resp=answer)
        return json.loads(answer.data)

    def refused(self, *arguments, status=422, **query):
        with pytest.raises(ApiException) as caught:
            self.call(*arguments, **query)
        assert caught.value.status == status
        return json.loads(caught.value.body)["message"]


@pytest.fixture(scope="module")
def api(tmp_path_factory) -> Iterator[Api]:
    crd_server_folder()
    with held_cluster(tmp_path_factory.mktemp("crd-server"), "crds-only") as server:
        found = Api(server.kubeconfig)
        for file in sorted((ROOT / "crds").glob("*.yaml")):
            found.call("POST", DEFINITIONS, yaml.load(file.read_text(), yaml.CSafeLoader))
        for kind in KINDS:
            wait_until(lambda kind=kind: served(found, kind), f"{kind} is served")
        yield found


def served(api, kind):
    try:
        return api.call("GET", address(kind))
    except ApiException:
        return None


def address(kind, name="", part=""):
    place = f"{GROUP}/namespaces/default/{KINDS[kind].PLURAL}"
    return "/".join(filter(None, (place, name, part)))


def named(kind, name, **spec):
    document = copy.deepcopy(GOOD[kind])
    document["metadata"] = {"name": name}
    document["spec"].update(spec)
    return document


def test_it_is_a_current_release(api):
    version = api.call("GET", "/version")
    assert int(version["minor"]) >= 36


def test_definitions_are_established_without_a_complaint(api):
    for kind in KINDS:
        name = f"{KINDS[kind].PLURAL}.edgetran.io"
        conditions = {
            each["type"]: each["status"]
            for each in api.call("GET", f"{DEFINITIONS}/{name}")["status"]["conditions"]
        }
        assert conditions["NamesAccepted"] == conditions["Established"] == "True"
        assert conditions.get("NonStructuralSchema", "False") == "False"


@pytest.mark.parametrize("kind", KINDS)
def test_a_life_of_a_resource(api, kind):
    """Created, read, updated, patched, its status written, deleted."""
    created = api.call("POST", address(kind), named(kind, "life"))
    assert parse_resource(created).spec == parse_resource(named(kind, "life")).spec
    assert created["spec"]["backoffLimit"] == 3
    created["spec"]["backoffLimit"] = 5
    updated = api.call("PUT", address(kind, "life"), created)
    assert (updated["spec"]["backoffLimit"], updated["metadata"]["generation"]) == (5, 2)
    stale = api.refused("PUT", address(kind, "life"), created, status=409)
    assert "the object has been modified" in stale
    patched = api.call("PATCH", address(kind, "life"), {"spec": {"suspend": True}}, MERGE)
    assert patched["spec"]["suspend"] is True
    status = {"status": {"progress": "1/2"}, "spec": {"suspend": False}}
    written = api.call("PATCH", address(kind, "life", "status"), status, MERGE)
    assert written["status"]["progress"] == "1/2"
    assert written["spec"]["suspend"] is True
    assert written["metadata"]["generation"] == patched["metadata"]["generation"]
    said = api.refused(
        "PATCH", address(kind, "life", "status"), {"status": {"progress": "x"}}, MERGE
    )
    assert "status.progress" in said
    api.call("DELETE", address(kind, "life"))
    assert api.refused("GET", address(kind, "life"), status=404)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_field_is_dropped_or_refused_where_kubectl_asks(api, kind):
    document = named(kind, "unknown", devise="pi")
    assert "devise" not in api.call("POST", address(kind), document)["spec"]
    document["metadata"]["name"] = "strict"
    said = api.refused("POST", address(kind), document, status=400, fieldValidation="Strict")
    assert 'unknown field "spec.devise"' in said


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_running_job_cannot_change_is_refused_in_our_words(api, kind):
    api.call("POST", address(kind), named(kind, "fixed"))
    said = api.refused("PATCH", address(kind, "fixed"), {"spec": {"seed": 7}}, MERGE)
    assert "seed is immutable" in said


def test_rules_that_span_fields_are_the_servers(api):
    searched = named(CDS, "rules", search={"maxTrials": 3, "parallelTrials": 4})
    assert "parallelTrials must be at most maxTrials" in api.refused("POST", address(CDS), searched)
    both = changed(named(GPT, "rules"), "spec.model", "m")
    assert "must set exactly one of" in api.refused("POST", address(GPT), both)
    asked = named(CDS, "local", ray={"address": "a:1"})
    assert "address may only be set with mode cluster" in api.refused("POST", address(CDS), asked)


@pytest.mark.parametrize("kind", KINDS)
def test_server_side_apply_keeps_each_managers_fields(api, kind):
    mine = {**named(kind, "applied"), "apiVersion": "edgetran.io/v1alpha1", "kind": kind}
    path = address(kind, "applied")
    first = api.call("PATCH", path, mine, APPLY, fieldManager="me")
    again = api.call("PATCH", path, mine, APPLY, fieldManager="me")
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    other = {
        "apiVersion": mine["apiVersion"],
        "kind": kind,
        "metadata": {"name": "applied"},
        "spec": {"backoffLimit": 9},
    }
    theirs = api.call("PATCH", path, other, APPLY, fieldManager="other")
    assert theirs["spec"]["backoffLimit"] == 9
    mine["spec"]["backoffLimit"] = 4
    said = api.refused("PATCH", path, mine, APPLY, status=409, fieldManager="me")
    assert "conflict" in said
    forced = api.call("PATCH", path, mine, APPLY, fieldManager="me", force="true")
    assert forced["spec"]["backoffLimit"] == 4


def test_conditions_are_a_map_by_type_for_those_who_apply(api):
    api.call("POST", address(PJ), named(PJ, "conditions"))
    path = address(PJ, "conditions", "status")
    for manager, type_ in (("edgetran", "Succeeded"), ("queue", "QuotaReserved")):
        condition = {
            "type": type_,
            "status": "True",
            "reason": "Yes",
            "message": "It is.",
            "lastTransitionTime": "2026-01-31T12:00:00Z",
        }
        body = {
            "apiVersion": "edgetran.io/v1alpha1",
            "kind": PJ,
            "metadata": {"name": "conditions"},
            "status": {"conditions": [condition]},
        }
        stored = api.call("PATCH", path, body, APPLY, fieldManager=manager)
    assert {each["type"] for each in stored["status"]["conditions"]} == {
        "Succeeded",
        "QuotaReserved",
    }


def test_the_definitions_can_be_replaced_by_themselves_while_resources_exist(api):
    api.call("POST", address(GPT), named(GPT, "kept"))
    for kind in KINDS:
        path = f"{DEFINITIONS}/{KINDS[kind].PLURAL}.edgetran.io"
        api.call("PUT", path, api.call("GET", path))
    assert api.call("GET", address(GPT, "kept"))["spec"]["backoffLimit"] == 3


def test_tables_have_our_columns(api):
    api.call("POST", address(PJ), named(PJ, "table"))
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    table = api.call("GET", address(PJ), accept=accept)
    names = [column["name"] for column in table["columnDefinitions"]]
    assert names[:4] == ["Name", "Succeeded", "Progress", "Latency-ms"]
