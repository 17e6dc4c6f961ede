"""What the parts of EdgeTran agree on stands once, and what one tells another is bounded."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edgetran.api import wire
from edgetran.api.wire import Steps, StorageOrder, Termination, WorkerSummary, WorkOrder

ROOT = Path(__file__).resolve().parents[3]
OF_OTHERS_TOO = {"COMPONENT_LABEL", "ALLOW_COMMANDS"}
"""A label that others' pods have, and an option that `edgetran run` has."""
FACTS = {
    value
    for name, value in vars(wire).items()
    if name.isupper() and name not in OF_OTHERS_TOO and isinstance(value, str)
    if any(char in value for char in "/.-_")
}
"""Names that are so much our own that they can mean nothing else."""


def literals(path: Path) -> Iterator[str]:
    """The strings of a module that are no docstrings."""
    tree = ast.parse(path.read_text())
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def test_every_fact_stands_once() -> None:
    assert len(FACTS) > 20
    again = {
        (str(path.relative_to(ROOT)), text)
        for folder in ("edgetran", "operator", "workers")
        for path in (ROOT / folder).rglob("*.py")
        if path != Path(wire.__file__)
        for text in literals(path)
        if text in FACTS
    }
    assert again == set()


@given(st.integers(0, 10**15 - 1), st.integers(1, 10**15 - 1))
def test_steps_survive_being_written(done: int, total: int) -> None:
    assert Steps.read(str(Steps(done, total))) == (done, total)


@pytest.mark.parametrize(
    "text", ["", "3", "3/", "/4", "-1/4", "a/b", "1/2/3", f"1/{10**15}", None, 7]
)
def test_other_texts_tell_of_no_steps(text: object) -> None:
    assert Steps.read(text) is None


def test_no_steps_at_all_are_no_progress() -> None:
    assert str(Steps(0, 0)) == ""


def test_a_summary_survives_json() -> None:
    summary = WorkerSummary(
        kind="ProfilingJob",
        progress="1/2",
        status={"measured": 1},
        metrics={"last_latency_ms": 2.5},
    )
    assert WorkerSummary.read(summary.to_dict()) == summary


@pytest.mark.parametrize(
    "wrong",
    [
        {"message": "x" * 1025},
        {"message": 7},
        {"progress": "1" * 33},
        {"timeLeftSeconds": -1},
        {"timeLeftSeconds": float("nan")},
        {"status": [1]},
        {"status": {str(number): 0 for number in range(65)}},
        {"metrics": {"latency": "quick"}},
        {"finished": "yes"},
        {"session": -1},
    ],
)
def test_of_a_summary_what_is_wrong_is_left_out_and_the_rest_is_taken(wrong: dict) -> None:
    told = WorkerSummary.read({"stage": "measure", "of": "a newer version"} | wrong)
    assert told == WorkerSummary(stage="measure")


def test_a_termination_message_without_a_message_is_none_of_ours() -> None:
    with pytest.raises(ValidationError):
        Termination.read({"reason": "Succeeded"})


@pytest.mark.parametrize(
    "folder", ["/etc", "../x", "lab/../../x", "lab", "lab/.x", "a/" + "b" * 600]
)
def test_a_run_is_kept_below_its_storage(folder: str) -> None:
    with pytest.raises(ValidationError):
        WorkOrder(folder=folder, results="x-pj-results", namespace="lab")


def test_a_refused_address_is_not_repeated() -> None:
    with pytest.raises(ValidationError) as refusal:
        StorageOrder(uri="s3://key:secret@bucket")
    assert "secret" not in str(refusal.value.errors(include_input=False))
