"""A profile as one file: what was measured goes from device to device, and nothing else does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiling_world import plan, record

from edgetran.profiling import (
    Profile,
    ProfilingError,
    check_prior,
    export_profile,
    import_profile,
)
from edgetran.records import JsonLog
from edgetran.space import DesignSpace, sampling

ARCHITECTURES = sampling.sample(
    DesignSpace.preset("tiny"), 12, np.random.default_rng(0), method="sobol"
)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    log = JsonLog(tmp_path_factory.mktemp("log") / "board.jsonl")
    for architecture in ARCHITECTURES:
        log.append(record(architecture, plan=plan()).to_dict())
    log.append(record(ARCHITECTURES[0], plan=plan(threads=2)).to_dict())
    return Profile.load(log.path, key=plan().key())


@pytest.fixture(scope="module")
def file(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("file") / "board.json"
    export_profile(profile, path, kind={"board": "Raspberry Pi 4"})
    return path


def test_what_comes_back_predicts_as_what_was_measured_does(profile: Profile, file: Path) -> None:
    found = import_profile(file)
    assert found.key == profile.key
    assert [m.architecture for m in found.measurements] == [
        m.architecture for m in profile.measurements
    ]
    assert [m.figures for m in found.measurements] == [m.figures for m in profile.measurements]
    new = sampling.sample(DesignSpace.preset("tiny"), 5, np.random.default_rng(9))
    np.testing.assert_array_equal(
        found.surrogate.predict(new)[0], profile.surrogate.predict(new)[0]
    )


def test_the_file_says_in_which_conditions_its_records_were_made(file: Path) -> None:
    data = json.loads(file.read_text())
    told = data["conditions"]
    assert (told["engine"], told["precision"], told["threads"]) == ("torch", "fp32", 1)
    assert told["workload"]["sequence_length"] == 64
    assert told["kind"] == {"board": "Raspberry Pi 4"}
    assert len(data["records"]) == len(ARCHITECTURES), "those of other conditions stay at home"
    assert len(data["sha256"]) == 64


def test_another_order_of_keys_is_the_same_file(file: Path, tmp_path: Path) -> None:
    data = json.loads(file.read_text())
    again = tmp_path / "again.json"
    again.write_text(json.dumps(dict(reversed(data.items()))))
    assert import_profile(again).key == import_profile(file).key


def _changed(data: Any, number: int) -> Any:
    """The same with another value at its leaf of that number."""
    leaves: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in list(pairs):
            if isinstance(each, dict | list) and each:
                walk(each)
            else:
                leaves.append((value, key))

    walk(data)
    place, key = leaves[number % len(leaves)]
    place[key] = "changed" if place[key] != "changed" else 0
    return data


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_any_change_of_it_is_found(file: Path, number: int) -> None:
    path = file.with_name(f"changed-{number}.json")
    path.write_text(json.dumps(_changed(json.loads(file.read_text()), number)))
    with pytest.raises(ProfilingError) as error:
        import_profile(path)
    path.unlink()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[: len(text) // 2], "is not an exported profile"),
        (lambda _: "[]", "is not an exported profile"),
        (lambda _: '{"format": "edgetran-profile", "schemaVersion": 9}', "schemaVersion 9 given"),
        (lambda text: text.replace('"threads": 1', '"threads": 3', 1), "its SHA-256"),
    ],
    ids=["cut off", "something else", "of a later version", "changed"],
)
def test_what_is_no_profile_is_refused_in_one_sentence(
    file: Path, tmp_path: Path, change: Callable[[str], str], words: str
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(change(file.read_text()))
    with pytest.raises(ProfilingError, match=words) as error:
        import_profile(path)
    assert str(error.value).startswith(f"{path}: ")


def test_records_that_are_hashed_but_of_other_conditions_are_refused(
    file: Path, tmp_path: Path
) -> None:
    from edgetran.profiling.exchange import _content_sha256

    data = json.loads(file.read_text())
    data["conditions"]["precision"] = "int8"
    data["sha256"] = _content_sha256(data)
    path = tmp_path / "mixed.json"
    path.write_text(json.dumps(data))
    with pytest.raises(ProfilingError, match="not all of its records were made in its conditions"):
        import_profile(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"engine": "onnxruntime"}, "with engine torch, and board is measured with onnxruntime"),
        ({"precision": "int8"}, "with precision fp32, and board is measured with int8"),
    ],
)
def test_a_profile_of_another_setting_is_no_prior(
    file: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(ProfilingError, match=words):
        check_prior(import_profile(file), plan(**changes), "board.json")


def test_a_profile_of_another_device_with_other_threads_is_one(file: Path) -> None:
    check_prior(import_profile(file), plan(device="mine", threads=2), "board.json")
