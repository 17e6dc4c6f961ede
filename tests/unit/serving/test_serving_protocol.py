"""A served winner speaks the Open Inference Protocol, and answers what its artefact answered."""

import asyncio
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_world import (
    change_result,
    client_of,
    encoded,
    ids_input,
    outputs_of,
    text_input,
    texts_of,
    write_run,
)

from edgetran.artifacts import ArtifactError, Form
from edgetran.devices import EngineError
from edgetran.runner.folder import RunFolderError
from edgetran.serving.protocol import MAX_ROWS, ProtocolError, read_request
from edgetran.serving.served_model import ServingError, find_model
from edgetran.serving.server import FRESH_SECONDS, MAX_WAITING

ROUNDING = 0.01
"""Of logits that are differences of numbers near 3,000; those of two texts differ by more."""

FORMS = [
    Form("onnxruntime", "fp32"),
    Form("onnxruntime", "int8"),
    Form("openvino", "fp32"),
    Form("torch", "int8"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return encoded(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """Folders of runs, with what their winners were judged as, by form."""
    made = {}

    def get(form):
        if form not in made:
            path = tmp_path_factory.mktemp("run")
            made[form] = path, write_run(path, data, form)
        return made[form]

    return get


@pytest.fixture
def run(runs):
    return runs(FORMS[0])[0]


def infer(run, body, *, name="films"):
    """Status and answer to a request."""

    async def ask():
        async with client_of(run) as client:
            response = await client.post(f"/v2/models/{name}/infer", data=json.dumps(body))
            return response.status, await response.json()

    return asyncio.run(ask())


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_texts_get_the_predictions_that_the_artefact_was_scored_with(form, runs, data):
    run, judged = runs(form)
    status, answer = infer(run, {"id": "7", "inputs": [text_input(*texts_of(data))]})
    assert status == 200
    assert (answer["id"], answer["model_name"]) == ("7", "films")
    assert answer["model_version"] == judged.artifact.sha256[:12]
    found, expected = outputs_of(answer), judged.logits("test")
    np.testing.assert_allclose(found["logits"], expected, atol=ROUNDING)
    assert found["label"].tolist() == [("bad", "good")[i] for i in expected.argmax(axis=1)]
    np.testing.assert_allclose(found["probabilities"].sum(axis=1), 1)


def test_token_ids_get_what_their_text_gets(run, data):
    texts = texts_of(data)[:4]
    tokens = data.tokenizer(
        texts, padding=True, truncation=True, max_length=16, return_tensors="np",
        return_token_type_ids=True,
    )  # fmt: skip
    inputs = [ids_input(name, tokens[name]) for name in tokens]
    _, by_ids = infer(run, {"inputs": inputs})
    _, by_text = infer(run, {"inputs": [text_input(*texts)]})
    np.testing.assert_allclose(
        outputs_of(by_ids)["logits"], outputs_of(by_text)["logits"], atol=ROUNDING
    )


def test_only_the_outputs_that_are_wanted_come(run):
    body = {"inputs": [text_input("fine")], "outputs": [{"name": "label"}]}
    assert list(outputs_of(infer(run, body)[1])) == ["label"]


def test_a_nested_list_is_read_as_one_in_a_row(run):
    ids = np.array([[2, 9, 3], [2, 8, 3]])
    nested = {**ids_input("input_ids", ids), "data": ids.tolist()}
    rows = infer(run, {"inputs": [ids_input("input_ids", ids)]})[1]
    assert infer(run, {"inputs": [nested]})[1]["outputs"] == rows["outputs"]


def test_a_regression_is_answered_with_numbers(tmp_path):
    data = encoded(tmp_path / "cache", regression=True)
    judged = write_run(tmp_path / "run", data, Form("onnxruntime", "fp32"))
    _, answer = infer(tmp_path / "run", {"inputs": [text_input(*texts_of(data)[:5])]})
    found = outputs_of(answer)
    assert set(found) == {"prediction", "logits"}
    np.testing.assert_allclose(found["prediction"], judged.logits("test")[:5, 0], atol=ROUNDING)


def test_health_and_metadata_are_at_the_addresses_of_the_protocol(run):
    async def ask():
        async with client_of(run) as client:
            found = {}
            for path in (
                "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/films",
                "/v2/models/films/ready", "/v2/models/other/ready", "/v2/models/other",
            ):  # fmt: skip
                response = await client.get(path)
                found[path] = response.status, await response.json()
            version = found["/v2/models/films"][1]["versions"][0]
            for number in (version, "nix"):
                response = await client.get(f"/v2/models/films/versions/{number}/ready")
                found[f"of {number == version}"] = response.status, await response.json()
            return found

    found = asyncio.run(ask())
    assert found["/v2"][1]["name"] == "edgetran"
    assert found["/v2/health/live"] == (200, {"live": True})
    assert found["/v2/health/ready"] == (200, {"ready": True})
    assert found["/v2/models/films/ready"] == (200, {"name": "films", "ready": True})
    assert found["of True"][0] == 200
    assert found["of False"][0] == 404
    assert found["/v2/models/other/ready"] == (404, {"error": "model 'other': allowed is films"})
    about = found["/v2/models/films"][1]
    assert {each["name"]: each["datatype"] for each in about["inputs"]}["text"] == "BYTES"
    assert {each["name"]: each["shape"] for each in about["outputs"]} == {
        "label": [-1],
        "probabilities": [-1, 2],
        "logits": [-1, 2],
    }


def test_a_model_that_stops_answering_is_not_ready(run):
    def fails():
        raise EngineError("out of memory")

    async def ask():
        async with client_of(run) as client:
            client.model_server._answered -= FRESH_SECONDS
            client.model_server._text_model.answer_sample = fails
            response = await client.get("/v2/health/ready")
            return response.status, await response.json()

    assert asyncio.run(ask()) == (503, {"ready": False, "error": "out of memory"})


IDS = ids_input("input_ids", np.array([[2, 9, 3]]))
REFUSED = {
    "no JSON": ("{", "the request is not JSON"),
    "no inputs": ({}, "inputs: allowed is a list of tensors"),
    "nothing": ({"inputs": []}, "inputs: none given; allowed is text"),
    "another input": ({"inputs": [{**IDS, "name": "pixels"}]}, "inputs: pixels given"),
    "both": ({"inputs": [IDS, text_input("a")]}, "inputs: input_ids, text given"),
    "twice": ({"inputs": [IDS, IDS]}, "inputs[1].name: 'input_ids' is given twice"),
    "no datatype": ({"inputs": [{**IDS, "datatype": "FP32"}]}, "allowed is INT64 or INT32"),
    "no shape": ({"inputs": [{**IDS, "shape": "3"}]}, "shape: '3' given"),
    "another shape": ({"inputs": [{**IDS, "shape": [1, 4]}]}, "3 numbers given; its shape has"),
    "no data": ({"inputs": [{**IDS, "data": None}]}, "binary data are no extension"),
    "words for ids": ({"inputs": [{**IDS, "data": [2, "a", 3]}]}, "data[1]: 'a' given"),
    "ids too large": ({"inputs": [{**IDS, "data": [2, 10**6, 3]}]}, "allowed are numbers from 0"),
    "ids below 0": ({"inputs": [{**IDS, "data": [2, -1, 3]}]}, "allowed are numbers from 0"),
    "too long": (
        {"inputs": [ids_input("input_ids", np.ones((1, 17), int))]},
        "17 tokens given; allowed are up to 16",
    ),
    "no text": ({"inputs": [{**text_input("a"), "data": [7]}]}, "data[0]: 7 given; allowed is"),
    "half a character": ({"inputs": [text_input("\ud800")]}, "half of a character pair"),
    "too many": (
        {"inputs": [text_input(*["a"] * (MAX_ROWS + 1))]},
        f"{MAX_ROWS + 1} texts given; allowed are 1 to {MAX_ROWS}",
    ),
    "none": ({"inputs": [text_input()]}, "0 texts given"),
    "unequal pairs": (
        {"inputs": [text_input("a"), {**text_input("b", "c"), "name": "text_pair"}]},
        "1 texts and 2 second texts given",
    ),
    "hole in the mask": (
        {"inputs": [IDS, ids_input("attention_mask", np.array([[1, 0, 1]]))]},
        "allowed are rows of 1",
    ),
    "unknown output": (
        {"inputs": [IDS], "outputs": [{"name": "mood"}]},
        "outputs[0].name: 'mood' given; allowed are label, probabilities, logits",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_request_gets_one_sentence(case, run):
    body, words = REFUSED[case]
    given_body = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    with pytest.raises(ProtocolError) as refused:
        read_request(given_body, find_model(run))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
TENSORS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["text", "text_pair", "input_ids", "attention_mask"]) | JSON,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | JSON,
        "datatype": st.sampled_from(["BYTES", "INT64", "INT32"]) | JSON,
        "data": st.lists(st.integers(-1, 5) | st.text(), max_size=6) | JSON,
    }
)


@settings(max_examples=300, deadline=None)
@given(
    body=st.fixed_dictionaries({"inputs": st.lists(TENSORS, max_size=3) | JSON, "outputs": JSON})
)
def test_whatever_comes_is_read_or_refused(body, runs):
    try:
        found = read_request(json.dumps(body).encode(), find_model(runs(FORMS[0])[0]))
    except ProtocolError:
        return
    assert found.texts or found.tokens


def test_over_http_a_refusal_is_an_error_of_the_protocol(run):
    assert infer(run, {"inputs": []})[0] == 400
    status, answer = infer(run, {"inputs": [IDS]}, name="other")
    assert (status, answer) == (404, {"error": "model 'other': allowed is films"})
    status, answer = infer(run, {"inputs": [text_input("a" * 2**21)]})
    assert (status, answer) == (413, {"error": f"the request is longer than {2**21} bytes"})


def test_requests_that_the_model_cannot_keep_up_with_are_told_to_come_again(run):
    async def ask():
        async with client_of(run) as client:
            client.model_server._waiting = MAX_WAITING
            body = json.dumps({"inputs": [IDS]})
            response = await client.post("/v2/models/films/infer", data=body)
            return response.status, response.headers["Retry-After"], await response.json()

    status, after, answer = asyncio.run(ask())
    assert (status, after) == (503, "1")
    assert answer == {"error": f"{MAX_WAITING} requests wait already"}


def test_an_artefact_that_was_changed_is_not_served(tmp_path, data):
    judged = write_run(tmp_path, data, Form("onnxruntime", "fp32"))
    with open(judged.artifact.path, "ab") as file:
        file.write(b"x")
    with pytest.raises(ArtifactError, match="it has been changed"):
        find_model(tmp_path)


def test_an_artefact_that_is_another_than_the_result_is_of_is_not_served(tmp_path, data):
    write_run(tmp_path, data, Form("onnxruntime", "fp32"))
    change_result(tmp_path, lambda r: r["winner"]["artifact"].update(sha256="0" * 64))
    with pytest.raises(ServingError, match="not the artefact that was measured"):
        find_model(tmp_path)


def test_a_next_best_that_took_the_winners_place_is_found_by_its_hash(tmp_path, data):
    write_run(tmp_path / "other", data, Form("torch", "fp32"))
    write_run(tmp_path, data, Form("onnxruntime", "fp32"))
    other = json.loads((tmp_path / "other/result.json").read_text())["winner"]
    (tmp_path / "other/artifacts/winner").rename(tmp_path / "artifacts/runnerUp1")
    other["artifact"]["path"] = other["artifact"]["path"].replace("winner", "runnerUp1")
    change_result(tmp_path, lambda result: result.update(runnersUp=[{"trial": 4, **other}]))
    sha256 = other["artifact"]["sha256"]
    assert find_model(tmp_path, artifact=sha256).artifact.sha256 == sha256
    assert find_model(tmp_path).artifact.engine == "onnxruntime"
    assert find_model(tmp_path, artifact="0" * 64).artifact.engine == "onnxruntime"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r.update(winner=None), "this run has no winner"),
        (lambda r: r["winner"].pop("artifact"), "names no artefact"),
        (lambda r: r.pop("workload"), "is not a result of EdgeTran"),
        (lambda r: r["winner"]["testPredictions"].update(classShares=[1.0]), "has 2 labels, and 1"),
    ],
)
def test_a_run_that_cannot_be_served_says_why(change, words, tmp_path, data):
    write_run(tmp_path, data, Form("onnxruntime", "fp32"))
    change_result(tmp_path, change)
    with pytest.raises(ServingError, match=words):
        find_model(tmp_path)


def test_a_folder_of_nothing_and_one_without_tokenizer_are_told(tmp_path, data):
    with pytest.raises(RunFolderError, match="no such folder"):
        find_model(tmp_path / "nix")
    write_run(tmp_path, data, Form("onnxruntime", "fp32"))
    (tmp_path / "model" / "tokenizer.json").unlink()
    with pytest.raises(ServingError, match=r"holds no tokenizer\.json"):
        find_model(tmp_path)


def test_requests_at_the_same_time_get_their_own_answers(runs, data):
    run, judged = runs(FORMS[0])

    async def ask():
        async with client_of(run) as client:

            async def one(text):
                body = json.dumps({"inputs": [text_input(text)]})
                async with client.post("/v2/models/films/infer", data=body) as response:
                    return outputs_of(await response.json())["logits"][0]

            return await asyncio.gather(*(one(text) for text in texts_of(data)[:40]))

    found = asyncio.run(ask())
    np.testing.assert_allclose(np.array(found), judged.logits("test")[:40], atol=ROUNDING)
