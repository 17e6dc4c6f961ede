"""What is served is compared with what was measured, and said plainly."""

import asyncio
import json

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving_world import (
    change_result,
    client_of,
    encoded,
    share_of_good,
    text_input,
    texts_of,
    write_run,
)

from edgetran.artifacts import Form
from edgetran.serving.drift import LEAST_PREDICTIONS, Tolerances, Window, judge
from edgetran.serving.served_model import find_model

FORM = Form("onnxruntime", "fp32")
FAST = 1e-3  # ms at the start; what the made-up run measured is 10 s


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return encoded(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def made(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    return path, write_run(path, data, FORM)


def verdict_on(path, logits, *, latencies=(), start=FAST, tolerances=None):
    window = Window()
    if len(logits):
        window.add(np.asarray(logits, dtype=np.float32))
    window.latencies_ms.extend(latencies)
    return judge(find_model(path), window, start, tolerances or Tolerances())


def statuses(verdict):
    return {check.name: check.status for check in verdict.checks}


def test_the_test_part_itself_is_served_as_measured(made):
    path, judged = made
    verdict = verdict_on(path, judged.logits("test"))
    assert statuses(verdict) == {"latency": "True", "classShares": "True", "confidence": "True"}
    assert (verdict.status, verdict.message.partition(":")[0]) == ("True", "served as measured")
    assert verdict.checks[1].value == 0


def test_texts_of_one_class_alone_are_off(made):
    path, judged = made
    logits = judged.logits("test")
    one = logits[logits.argmax(axis=1) == 0]
    assert 0.3 < share_of_good(judged) < 0.7
    verdict = verdict_on(path, np.concatenate([one] * 5)[:LEAST_PREDICTIONS])
    assert statuses(verdict)["classShares"] == "False"
    assert verdict.status == "False"
    assert verdict.message.startswith("not served as measured: shares of classes: ")
    assert "bad is 100%, on the test part" in verdict.message


def test_a_model_that_is_less_sure_is_off(made):
    path, judged = made
    verdict = verdict_on(path, judged.logits("test") / 50)
    assert statuses(verdict)["classShares"] == "True"
    assert statuses(verdict)["confidence"] == "False"
    assert "mean confidence: 0.5" in verdict.message


def test_of_few_predictions_nothing_is_said(made):
    path, judged = made
    verdict = verdict_on(path, judged.logits("test")[: LEAST_PREDICTIONS - 1])
    assert statuses(verdict) == {
        "latency": "True",
        "classShares": "Unknown",
        "confidence": "Unknown",
    }


def test_only_the_newest_predictions_count(made):
    path, judged = made
    window = Window()
    window.add(np.full((5000, 2), [9, -9], dtype=np.float32))
    for _ in range(7):
        window.add(judged.logits("test"))
    assert judge(find_model(path), window, FAST, Tolerances()).status == "True"


def test_slower_than_measured_is_off_and_faster_never(made):
    path, _ = made
    assert statuses(verdict_on(path, [], start=1.6e4))["latency"] == "False"
    assert statuses(verdict_on(path, [], start=1.4e4))["latency"] == "True"
    slow = verdict_on(path, [], latencies=[2e4] * 30)
    assert slow.status == "False"
    assert "latency: 2e+04 ms, measured on board: 1e+04 ms" in slow.message
    assert verdict_on(path, [], latencies=[2e4] * 29).status == "True"
    loose = Tolerances(latency_ratio=2.0)
    assert verdict_on(path, [], latencies=[2e4] * 30, tolerances=loose).status == "True"


def test_what_was_not_measured_is_not_judged(tmp_path, data):
    latency = {"value": 3.0, "unit": "ms", "source": "predicted"}
    write_run(tmp_path, data, FORM, latency=latency)
    change_result(tmp_path, lambda r: r["winner"].update(testPredictions=None))
    verdict = verdict_on(tmp_path, np.ones((500, 2)))
    assert set(statuses(verdict).values()) == {"Unknown"}
    assert verdict.status == "Unknown"
    assert "on board it is predicted, not measured" in verdict.message


@pytest.mark.parametrize("same", [True, False])
def test_a_latency_of_the_searchs_host_counts_on_a_processor_like_it(same, tmp_path, data):
    latency = {"value": 3.0, "unit": "ms", "source": "simulated"}
    judged = write_run(tmp_path, data, FORM, latency=latency)
    here = {"value": 8e3, "unit": "ms", "source": "measured", "artifact": judged.artifact.sha256}

    def change(result):
        result["exports"] = [{"figures": {"latencyMs": here}}]
        if not same:
            result["host"]["cpu_model"] = "another"

    change_result(tmp_path, change)
    expected = find_model(tmp_path).expected
    assert expected.latency_ms == (8e3 if same else None)
    assert expected.latency_note.startswith("measured on " if same else "on board it is simulated")


def test_a_regression_is_judged_by_its_mean(tmp_path):
    data = encoded(tmp_path / "cache", regression=True)
    judged = write_run(tmp_path / "run", data, FORM)
    logits = judged.logits("test")
    same = verdict_on(tmp_path / "run", logits)
    assert statuses(same) == {"latency": "True", "prediction": "True"}
    moved = verdict_on(tmp_path / "run", logits + logits.std())
    assert statuses(moved)["prediction"] == "False"


def samples(text):
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_tell_what_was_served_beside_what_was_measured(made, data):
    path, judged = made
    texts = texts_of(data)

    async def ask():
        async with client_of(path) as client:
            before = samples(await (await client.get("/metrics")).text())
            body = json.dumps({"inputs": [text_input(*texts)]})
            assert (await client.post("/v2/models/films/infer", data=body)).status == 200
            assert (await client.post("/v2/models/films/infer", data="{")).status == 400
            verdict = await (await client.get("/served-as-measured")).json()
            return before, samples(await (await client.get("/metrics")).text()), verdict

    before, after, verdict = asyncio.run(ask())
    prefix = "edgetran_served"
    good = share_of_good(judged)
    assert (f"{prefix}_class_share_ratio", "good") not in before
    assert after[f"{prefix}_class_share_ratio", "good"] == pytest.approx(good)
    assert after[f"{prefix}_measured_class_share_ratio", "good"] == pytest.approx(good)
    assert after[f"{prefix}_predictions_total", "good"] == round(good * len(texts))
    assert after[f"{prefix}_requests_total", "200"] == 1
    assert after[f"{prefix}_requests_total", "400"] == 1
    assert after[(f"{prefix}_input_tokens_count",)] == len(texts)
    assert after[(f"{prefix}_input_tokens_sum",)] == data.split("test").lengths.sum()
    assert after[(f"{prefix}_confidence_ratio_count",)] == len(texts)
    assert after[(f"{prefix}_measured_latency_seconds",)] == 10
    assert after[f"{prefix}_check_as_measured", "classShares"] == 1
    assert after[(f"{prefix}_as_measured",)] == 1
    assert (f"{prefix}_check_as_measured", "classShares") not in before
    assert verdict["servedAsMeasured"] == "True"
    assert verdict["artifact"] == judged.artifact.sha256
