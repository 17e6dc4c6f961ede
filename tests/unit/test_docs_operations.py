"""What the pages for administrators and developers claim is so."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

from edgetran.api import TERMINAL, ConditionType, Reason

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
SECURITY = (ROOT / "docs" / "security.md").read_text()
EXTENDING = (ROOT / "docs" / "extending.md").read_text()


def cells(text: str, heading: str) -> list[list[str]]:
    """Rows of the table whose first heading is `heading`."""
    table = text.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    return [
        [cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines()[2:]
    ]


def test_every_reason_is_explained_once() -> None:
    rows = cells(OPERATIONS, "Reason")
    assert [row[0].strip("`") for row in rows] == [str(reason) for reason in Reason]
    for name, where, meaning in rows:
        assert where, name
        assert len(meaning) > 4, name


def test_every_condition_is_explained() -> None:
    names = {
        name for row in cells(OPERATIONS, "Condition") for name in re.findall("`(.+?)`", row[0])
    }
    assert names == {str(each) for each in ConditionType}


def test_exit_statuses_that_are_not_tried_again_are_these() -> None:
    said = re.search(r"Exit statuses (.*?) are not tried again", OPERATIONS)
    assert said is not None
    assert {int(number) for number in re.findall(r"\d+", said[1])} == {int(c) for c in TERMINAL}


def test_every_allowance_is_named_with_what_it_opens() -> None:
    values = yaml.safe_load((ROOT / "charts" / "edgetran" / "values.yaml").read_text())
    named = [row[0].strip("`").removeprefix("workers.allow.") for row in cells(SECURITY, "Value")]
    assert named == list(values["workers"]["allow"])


def test_every_attack_names_tests_that_exist() -> None:
    rows = cells(SECURITY, "Attack")
    assert len(rows) > 10
    files = {path.name: path for path in (ROOT / "tests").rglob("test_*.py")}
    for attack, stopped_by, shown_by in rows:
        assert stopped_by, attack
        text = ""
        shown = 0
        for name in re.findall(r"`([\w/]+(?:\.py)?)`", shown_by):
            if name.endswith(".py"):
                text = files[name.rpartition("/")[2]].read_text()
            else:
                shown += 1
                assert f"def {name}(" in text, f"{attack}: {name}"
        assert shown, attack


def test_what_the_operators_token_can_do_is_told_of_every_right() -> None:
    helpers = (ROOT / "charts" / "edgetran" / "templates" / "_helpers.tpl").read_text()
    rules = helpers.split('define "edgetran.rules"')[1].split("{{- /*")[0]
    given = {
        name.partition("/")[0].strip()
        for listed in re.findall(r"resources: \[(.*?)\]", rules)
        for name in listed.split(",")
    }
    told = SECURITY.split("### What the operator's token can do")[1].split("\n## ")[0].lower()
    kinds = {"profilingjobs", "codesignsearches", "gptranruns"}
    words = {"persistentvolumeclaims": "claims"}
    assert {name for name in given - kinds if words.get(name, name) not in told} == set()
    assert "the three kinds" in told


def test_every_file_and_name_to_change_exists() -> None:
    made = set(re.findall(r"is\s+`(\S+\.py)`:\n\n   ```python", EXTENDING))
    assert len(made) == 2
    for path in re.findall(r"`((?:edgetran|operator|workers)/[\w/.]+\.(?:py|yaml))`", EXTENDING):
        assert "NAME" in path or path in made or (ROOT / path).is_file(), path
    for path, names in re.findall(
        r"^\d+\. `(edgetran/\S+\.py)`(?:, |: )((?:`\w+`(?:, )?)+)", EXTENDING, re.M
    ):
        text = (ROOT / path).read_text()
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"\b{name}\b", text), f"{path}: {name}"


def test_the_example_runs_as_it_stands(tmp_path: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", EXTENDING, re.M | re.S)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
