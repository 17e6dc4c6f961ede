"""The journeys of docs/architecture.md name files that exist, and count them right."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "architecture.md").read_text()
JOURNEYS = re.findall(r"^### (An? .*?)\n(.*?)(?=^##)", TEXT, re.MULTILINE | re.DOTALL)


def test_there_are_three():
    assert len(JOURNEYS) == 3


@pytest.mark.parametrize(("title", "text"), JOURNEYS, ids=[title for title, _ in JOURNEYS])
def test_a_journey_counts_files_that_exist_each_once(title, text):
    steps = re.findall(r"^(\d+)\. `([^`]+)`", text, re.MULTILINE)
    files = [file for _, file in steps]
    assert [int(number) for number, _ in steps] == list(range(1, len(steps) + 1))
    assert [file for file in files if not (ROOT / file).is_file()] == []
    assert len(set(files)) == len(files)
    assert f": {len(files)} files" in text
