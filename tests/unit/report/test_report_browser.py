"""The report in a real browser: no console message, every plot drawn, nothing too wide."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome", "chrome")
     if (found := shutil.which(name))),
    None,
)  # fmt: skip
SIZES = [(1280, 900), (390, 844)]

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium found: apt-get install chromium"),
]


@dataclass(frozen=True)
class Visit:
    """What a browser made of a page: its DOM after the scripts, and its console."""

    dom: str
    console: tuple[str, ...]

    def drawn(self) -> int:
        """Number of plots that plotly has drawn points into."""
        return len(re.findall(r'<div class="plot js-plotly-plot"', self.dom))


def visit(path: Path, width: int = 1280, height: int = 900) -> Visit:
    """Open a page in a headless Chromium of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
                "--no-first-run", "--disable-background-networking", "--disable-component-update",
                "--disable-sync", "--hide-scrollbars", f"--user-data-dir={profile}",
                "--enable-logging=stderr", "--v=0", "--virtual-time-budget=10000",
                f"--window-size={width},{height}", "--dump-dom", path.as_uri(),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )  # fmt: skip
        try:
            dom, log = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            pytest.fail("Chromium did not end within 120 s")
    assert process.returncode == 0, log
    return Visit(dom, tuple(line for line in log.splitlines() if "CONSOLE" in line))


def with_script(page: Path, script: str, target: Path, *, policy: bool) -> Path:
    """A copy of the page that also runs a script, with or without the page's policy."""
    text = page.read_text()
    if not policy:
        text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    target.write_text(text.replace("</body>", f"<script>{script}</script></body>"))
    return target


@pytest.mark.parametrize("name", ["full", "bare", "profile"])
def test_plots_are_drawn_without_a_console_message(run_folder, name):
    page = run_folder(name) / "report.html"
    places = len(re.findall(r'<div class="plot" id=', page.read_text()))
    seen = visit(page)
    assert seen.console == ()
    assert places > 0
    assert seen.drawn() == places
    assert seen.dom.count('class="main-svg"') >= places
    assert "var(--d0)" not in "".join(re.findall(r'<path class="point"[^>]*>', seen.dom))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_page_is_as_wide_as_the_window(run_folder, tmp_path, width, height):
    script = """
      const root = document.documentElement;
      const far = [...document.querySelectorAll("main *")]
        .filter((each) => !each.closest(".scroll, pre, nav"))
        .filter((each) => each.getBoundingClientRect().right > root.clientWidth + 1)
        .map((each) => each.tagName + "." + each.getAttribute("class"));
      const words = [innerWidth, root.scrollWidth - root.clientWidth, ...far.slice(0, 5)];
      parent.postMessage(words.join(" "), "*");
    """
    later = f"setTimeout(() => {{ {script} }}, 1500)"
    page = run_folder("full") / "report.html"
    with_script(page, later, tmp_path / "page.html", policy=False)
    # A headless window is at least 500 pixels wide; a frame can be narrower.
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<!doctype html><iframe src="page.html" width="{width}" height="{height}" '
        'style="border: 0"></iframe><script>'
        'addEventListener("message", (event) => { document.body.dataset.said = event.data; });'
        "</script>"
    )
    seen = visit(frame, 1400, 1000)
    assert re.search(r'data-said="([^"]*)"', seen.dom)[1] == f"{width} 0"
    assert seen.console == ()


def test_the_check_sees_an_error_of_a_script(run_folder, tmp_path):
    page = run_folder("profile") / "report.html"
    wrong = "throw new Error('planted')"
    seen = visit(with_script(page, wrong, tmp_path / "page.html", policy=False))
    assert any("planted" in line for line in seen.console)


def test_the_policy_refuses_a_foreign_script(run_folder, tmp_path):
    page = run_folder("profile") / "report.html"
    foreign = "document.body.dataset.foreign = 'ran'"
    seen = visit(with_script(page, foreign, tmp_path / "page.html", policy=True))
    assert "data-foreign" not in seen.dom
    assert any("Content Security Policy" in line for line in seen.console)


def test_a_column_title_sorts_the_trials(run_folder, tmp_path):
    script = """
      const table = document.querySelector("#trials table");
      const button = [...table.querySelectorAll("button")]
        .find((each) => each.textContent === "Latency");
      const values = () => [...table.tBodies[0].rows].map((row) => row.cells[4].dataset.sort);
      button.click();
      document.body.dataset.up = values().join(" ");
      button.click();
      document.body.dataset.down = values().join(" ");
    """
    page = run_folder("full") / "report.html"
    seen = visit(with_script(page, script, tmp_path / "page.html", policy=False))
    up, down = (
        [float(value) for value in re.search(rf'data-{name}="([^"]*)"', seen.dom)[1].split()]
        for name in ("up", "down")
    )
    assert len(up) == len(down) == 13  # the failed trial has no latency and stands last
    assert up == sorted(up)
    assert down == sorted(down, reverse=True)
