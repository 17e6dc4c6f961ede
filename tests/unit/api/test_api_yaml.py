"""YAML is read as Kubernetes reads it, and mistakes in it are told by file and line."""

import pytest
import yaml

from edgetran.api import SpecError, load_resources, load_text
from edgetran.api.yaml_text import read_text, write_text

GOOD = """\
apiVersion: edgetran.io/v1alpha1
kind: ProfilingJob
metadata: {name: a}
spec:
  device: {name: here, host: true}
  designSpace: {preset: tiny}
"""


def error(text, source="f.yaml"):
    with pytest.raises(SpecError) as caught:
        load_text(text, source)
    return str(caught.value)


def value(text):
    return read_text(f"x: {text}")[0].data["x"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5e-4", 5e-4),
        ("1E3", 1000.0),
        ("-1.5e+2", -150.0),
        ("0.10", 0.1),
        (".5", 0.5),
        ("1_000", 1000),
        ("0x10", 16),
        ("012", 12),
        ("yes", True),
        ("off", False),
        ("~", None),
        ("", None),
        ("2026-01-31", "2026-01-31"),
        ("1:30", "1:30"),
        ("'5e-4'", "5e-4"),
        ("e4", "e4"),
        ("<<", "<<"),
    ],
)
def test_scalars_mean_what_they_mean_to_kubectl(text, expected):
    read = value(text)
    assert read == expected
    assert type(read) is type(expected)


@pytest.mark.parametrize(
    "text", ["5e-4", "true", "null", "012", "1_0", "", "~", "a: b", "#x", "é\n\t", "- a", "0x1f"]
)
def test_text_survives_writing_and_reading(text):
    assert read_text(write_text([{"x": text}]))[0].data == {"x": text}


@pytest.mark.parametrize("number", [0, -3, 10**20, 5e-4, 1e-5, 1e22, 123456.789, -0.0])
def test_numbers_survive_writing_and_reading(number):
    read = read_text(write_text([{"x": number}]))[0].data["x"]
    assert read == number
    assert type(read) is type(number)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: [1,\nb: 2", 2, "not YAML"),
        ("a: 1\nb: 2\na: 3", 3, "duplicate key 'a'"),
        ("a: {x: 1, x: 2}", 1, "duplicate key 'x'"),
        ("a: 1\n\tb: 2", 2, "not YAML"),
        ("a: !!python/object/apply:os.system [ls]", 1, "not YAML"),
        ("a: 1\nb: !mine x", 2, "not YAML"),
        ("a: *nowhere", 1, "undefined alias"),
        ("? [a]\n: b", 1, "a key is not text"),
        ("a: 1\n---\nb: {", 3, "not YAML"),
        ("a: " + "9" * 5000, 1, "not a number of a sensible size"),
        ("a: 1\nb: .nan", 1, "Invalid value: nan: must be a finite number"),
        ("1: 2", 1, "Invalid value: 1: must be text, as every key"),
        ("a: !!binary aGk=", 1, "the tag 'tag:yaml.org,2002:binary' is not"),
        ("a: !!timestamp 0001-01-01 00:00:00 +23:59", 1, "2002:timestamp' is not"),
        ("a: 1\nb: !!bool maybe", 2, "not true or false: 'maybe'"),
        ('a: "\\U00110000"', 1, "not YAML"),
        ("a: &a [*a]", 1, "nested more than 50 deep"),
        ("a: 1\nb: \x00", 2, "is not allowed in YAML"),
    ],
)
def test_what_is_not_plain_yaml_is_told_by_line(text, line, words):
    message = error(text)
    assert message.startswith(f"f.yaml:{line}: "), message
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize(("text", "line"), [("é: 1\nb: \x07", 2), ("a: 1\nb: \ud800", 2)])
def test_a_character_that_no_yaml_has_is_told_by_line(text, line):
    message = error(text)
    assert message.startswith(f"f.yaml:{line}: the character "), message
    assert "is not allowed in YAML" in message


@pytest.mark.parametrize("text", ["a: [1, x]\n---\nb: {c: 0.5}\n", "a: &x [1]\nb: *x\n"])
def test_without_libyaml_the_same_is_read(monkeypatch, text):
    with_it = [each.data for each in read_text(text)]
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    assert [each.data for each in read_text(text)] == with_it


def test_documents_that_grow_without_bound_are_refused():
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
        for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert "more than 100000 values" in error(bomb)
    assert "more than 100000 values" in error(f"a: [{'1,' * 250_000}]")
    assert "nest" in error("[" * 5000)
    assert "allowed are" in error("x" * 5_000_000)


def test_several_documents_are_read_and_empty_ones_skipped():
    resources = load_text(f"---\n{GOOD}---\n---\n# nothing\n---\n{GOOD.replace(': a}', ': b}')}")
    assert [resource.name for resource in resources] == ["a", "b"]
    assert resources[0].source == "<text>"


@pytest.mark.parametrize("text", ["", "---\n---\n", "# only a comment\n"])
def test_a_file_without_resources_is_refused(text):
    assert "no resource was given; allowed is one or more of ProfilingJob" in error(text)


def test_a_document_that_is_no_resource_is_told_by_line():
    assert error(f"{GOOD}---\n- 1\n").startswith("f.yaml:8: Invalid value: [1 entry]: must be")


def test_problems_of_all_documents_and_files_are_told_together(tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD.replace("tiny", "big"))
    (tmp_path / "b.yml").write_text(GOOD.replace("host: true", "hots: true"))
    (tmp_path / "c.txt").write_text("not read: [")
    with pytest.raises(SpecError) as caught:
        load_resources(tmp_path)
    first, second, *_ = str(caught.value).splitlines()
    assert first.startswith(f"{tmp_path}/a.yaml: ProfilingJob/a: spec.designSpace.preset: Unsupp")
    assert second.startswith(f"{tmp_path}/b.yml: ProfilingJob/a: spec.device.hots: Forbidden: unk")


def test_files_that_cannot_be_read_are_told_together(tmp_path):
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"a: \xe9")
    with pytest.raises(SpecError) as caught:
        load_resources(tmp_path / "absent.yaml", latin, "nul\0byte")
    absent, not_utf8, nul = str(caught.value).splitlines()
    assert absent == (
        f"{tmp_path}/absent.yaml: No such file or directory; allowed is a YAML file or a folder "
        "of them"
    )
    assert "not UTF-8 text" in not_utf8
    assert "null byte" in nul
