"""The HTML report holds everything of the run, escaped, in one file that fetches nothing."""

from __future__ import annotations

import json
import re
import shutil
import sys
from html.parser import HTMLParser

import pytest
from report_world import BASELINE

from edgetran.report import ReportError, write_report
from edgetran.report.reading import read_run
from edgetran.search import read_trials


class Page(HTMLParser):
    """Elements and visible text of a page; what stands in script and style apart."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = tag

    def handle_endtag(self, tag):
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts.append(data)
        elif not self._inside:
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def page(run_folder):
    return lambda name: Page((run_folder(name) / "report.html").read_text())


def test_nothing_is_fetched_from_anywhere(page):
    for name in ("full", "bare", "profile"):
        for tag, attributes in page(name).elements:
            for attribute in ("src", "href", "data", "action", "poster"):
                target = attributes.get(attribute) or "#"
                assert target.startswith(("#", "data:")), (tag, target)
        policy = next(
            attributes["content"]
            for tag, attributes in page(name).elements
            if attributes.get("http-equiv") == "Content-Security-Policy"
        )
        assert "default-src 'none'" in policy
        assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]


def test_plotly_is_inlined_once(page):
    scripts = page("full").scripts
    assert sum(len(script) > 1_000_000 for script in scripts) == 1


def test_text_of_a_run_never_becomes_html(page):
    hostile = page("bare")
    allowed = {"figures", None}
    assert len([1 for tag, _ in hostile.elements if tag == "script"]) == 3
    assert all(a.get("id") in allowed for tag, a in hostile.elements if tag == "script")
    assert not any(tag in ("img", "b") for tag, _ in hostile.elements)
    assert not any(name.startswith("on") for _, a in hostile.elements for name in a)
    assert hostile.words.count("<script>alert('x')</script>") >= 4  # shown as text instead
    figures = json.loads(hostile.scripts[0])
    for plot in figures.values():
        for trace in plot["data"]:
            for text in [trace.get("name", ""), *(trace.get("text") or [])]:
                assert "<script" not in text
                assert "<img" not in text


def test_headline_and_comparison_show_the_result(page, run_folder):
    result = json.loads((run_folder("full") / "result.json").read_text())
    words = page("full").words
    for row in (result["winner"], result["baseline"]):
        figures = row["figures"]
        assert f"{figures['accuracy']['value']:.4f} measured" in words
        assert f"{figures['parameters']['value']:,.0f} counted" in words
        assert f"{figures['latencyMs']['value']:.2f} ms simulated" in words
        assert f"{row['onHost']['latencyMs']['value']:.2f} ms measured" in words
    ratio = result["winner"]["figures"]["latencyMs"]["value"]
    ratio /= result["baseline"]["figures"]["latencyMs"]["value"]
    assert f"{ratio:.2f}×" in words


def test_every_trial_is_in_the_table_and_in_the_plots(page, run_folder):
    trials = read_trials(run_folder("full") / "trials.jsonl")
    full = page("full")
    failed = [trial for trial in trials if not trial.succeeded]
    assert failed
    assert failed[0].error in full.words
    for trial in trials:
        assert f"{trial.number}" in full.words
        if trial.evaluation is not None:
            assert f"{trial.evaluation.measures.parameters:,}" in full.words
    figures = json.loads(full.scripts[0])
    latency = figures["plot-0"]["data"]
    points = [x for trace in latency if trace["mode"] == "markers" for x in trace["x"]]
    shown = sum(len(trial.evaluations) for trial in trials)
    assert len(points) == shown + 2  # and the winner and the baseline


def test_simulated_devices_are_marked_wherever_they_are_named(page):
    full = page("full")
    legends = {
        trace["name"]
        for plot in json.loads(full.scripts[0]).values()
        for trace in plot["data"]
        if "name" in trace
    }
    assert {"raspberry-pi-4 (simulated)", "jetson-nano (simulated)", "this-host"} <= legends
    assert re.search(r"raspberry-pi-4 sim", full.words)
    assert "simulated by an analytic model" in full.words


def test_the_front_rises_with_cost(page):
    for index in range(3):
        plot = json.loads(page("full").scripts[0])[f"plot-{index}"]
        front = next(trace for trace in plot["data"] if trace["name"] == "Pareto front")
        assert front["x"] == sorted(front["x"])
        assert front["y"] == sorted(front["y"])


def test_unknown_energy_is_a_dash_with_its_reason(page):
    words = page("bare").words
    assert "no power source: /sys/class/powercap has no readable energy counter" in words
    assert "Energy — no power source" in words


def test_gptran_and_both_architectures_are_shown(page):
    full = page("full")
    for text in ("Before GPTran", "After GPTran", "changed", "layer 1: add a c_5 head",
                 "out of memory", "2.0 is better than the root"):  # fmt: skip
        assert text in full.words
    bare = page("bare").words
    assert "Steps of GPTran" not in bare
    assert "The winner’s architecture" in bare


def test_conditions_of_measurement_are_told(page):
    words = page("profile").words
    for text in ("Governors performance performance", "Temperatures (x86_pkg_temp) 47 °C 55.5 °C",
                 "Turbo yes yes", "A processor @ 2.90GHz", "13 of 14 measurements",
                 "Load average 0.4 1.9", "the window was shorter than 5 s"):  # fmt: skip
        assert text in words


def test_a_profile_alone_has_no_empty_sections(page):
    ids = {a.get("id") for _, a in page("profile").elements}
    assert {"devices", "conditions", "spec"} <= ids
    assert not ids & {"front", "trials", "architecture", "gptran", "use"}


def test_the_snippets_name_the_model_of_the_run(page):
    assert 'from_pretrained("model")' in page("full").words
    assert 'InferenceSession("model.onnx")' in page("full").words


def test_a_log_that_cannot_be_read_is_a_note(run_folder, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run_folder("full"), folder)
    (folder / "trials.jsonl").write_text('{"schema_version": 99}\n')
    shutil.rmtree(folder / "profiles")
    words = Page(write_report(folder).read_text()).words
    assert "trials.jsonl: " in words
    assert "99" in words


def test_a_folder_without_a_result_is_refused(tmp_path):
    with pytest.raises(ReportError, match=r"result\.json: missing"):
        write_report(tmp_path)
    (tmp_path / "result.json").write_text('{"schemaVersion": 2}')
    with pytest.raises(ReportError, match="schemaVersion 2 given; allowed is 1"):
        write_report(tmp_path)
    (tmp_path / "result.json").write_text("[]")
    with pytest.raises(ReportError, match="not the result of a run"):
        write_report(tmp_path)


@pytest.mark.parametrize("package", ["plotly", "jinja2"])
def test_a_missing_package_names_the_extra(run_folder, monkeypatch, package):
    for name in [n for n in sys.modules if n.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "edgetran\[report\]"'):
        write_report(run_folder("profile"))


def test_predictions_never_see_the_measurement_that_they_are_compared_with(run_folder):
    from dataclasses import replace

    from edgetran.profiling import Profile
    from edgetran.report.prediction import held_out

    profile = read_run(run_folder("bare")).profiles.popitem()[1]
    first, *rest = profile.measurements
    wild = replace(first, latency_ms=first.latency_ms.scaled(1.5))
    before = held_out(profile)[0].points[0]
    after = held_out(Profile(profile.key, (wild, *rest)))[0].points[0]
    assert after.measured == pytest.approx(1.5 * before.measured)
    assert after.predicted == pytest.approx(before.predicted)


def test_finalists_that_the_profile_does_not_hold_are_predicted_by_its_surrogate(run_folder):
    from edgetran.report.prediction import held_out

    run = read_run(run_folder("full"))
    points = held_out(run.profiles["this-host"], run.finals["this-host"])[0].points
    finalists = [point for point in points if point.finalist]
    known = {m.architecture.graph_hash for m in run.profiles["this-host"].measured}
    assert BASELINE in [point.architecture for point in finalists]
    assert not known & {point.architecture.graph_hash for point in finalists}
